"""Where exports go: a file that appears whole or not at all, stdout, or a stream.

A file is written under a temporary name in its own folder and takes its name when all is
written, so that a reader never meets half of one and a failed run leaves the old one alone.
`-` is stdout.
"""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

from counterproof.errors import UserError
from counterproof.findings import Record, Relation
from counterproof.text import Catalogue, catalogue

__all__ = ["Target", "Writer", "json_bytes", "open_atomically", "write_failed"]

Target: TypeAlias = str | os.PathLike[str] | IO[bytes]
"""A path, `-` for stdout, or a binary stream, which stays open."""


def write_failed(name: str, err: OSError) -> UserError:
    """Make the one line that says a file could not be written, and what to do."""
    what = err.strerror or str(err)
    todo = (
        "free some space or choose another folder"
        if err.errno == errno.ENOSPC
        else ("choose a folder that exists and that you may write to")
    )
    return UserError(f"{name}: cannot write: {what}; {todo}")


@contextmanager
def open_atomically(target: Target) -> Iterator[IO[bytes]]:
    """Open a binary stream whose file appears whole or not at all.

    Raises:
        UserError: if the file cannot be written, for want of space or permission.
    """
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    if os.fspath(target) == "-":
        sys.stdout.flush()
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as err:
            raise write_failed("stdout", err) from err
        return
    path = Path(os.path.realpath(target))
    name = os.fspath(target)
    in_place = path.exists() and not path.is_file()  # a device or pipe keeps its place
    part = path if in_place else path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        if not in_place:
            os.replace(part, path)
    except OSError as err:
        # An error from within the block may be about another file: that one names itself.
        if err.filename not in (None, str(part), str(path)):
            raise
        raise write_failed(name, err) from err
    finally:
        if not in_place:
            part.unlink(missing_ok=True)


class Writer:
    """Takes records in order and closes the file around them.

    Use as a context manager: an exception inside leaves no file. `close` may be given what
    belongs to the whole scan; the context closes without it otherwise.
    """

    def __init__(self, target: Target, words: Catalogue | None = None) -> None:
        self.words = words or catalogue("en")
        self._opened = open_atomically(target)
        self._target = target
        self.stream = self._opened.__enter__()
        self._open = True
        self._guard(self.begin)

    def begin(self) -> None:
        """Write what comes before the first record."""

    def put(self, record: Record) -> None:
        """Write one record."""
        raise NotImplementedError

    def end(self, relations: Iterable[Relation], info: dict[str, Any]) -> None:
        """Write what comes after the last record."""

    def write(self, record: Record) -> None:
        """Write one record.

        Raises:
            UserError: if the disk is full.
        """
        self._guard(self.put, record)

    def close(self, relations: Iterable[Relation] = (), info: dict[str, Any] | None = None) -> None:
        """Finish the file and let it appear under its name.

        Args:
            relations: what holds between the pictures; only sarif carries them.
            info: JSON values about the whole scan; only sarif carries them.
        """
        if self._open:
            self._guard(self.end, relations, info or {})
            self._open = False
            self._opened.__exit__(None, None, None)

    def abort(self, err: BaseException | None = None) -> None:
        """Leave no file."""
        if self._open:
            self._open = False
            err = err or RuntimeError("aborted")
            try:
                self._opened.__exit__(type(err), err, err.__traceback__)
            except BaseException as raised:
                if raised is not err:
                    raise

    def _guard(self, do: Callable[..., None], *args: Any) -> None:
        """Run one step; whatever goes wrong leaves no file and reaches the caller."""
        try:
            do(*args)
        except BaseException as err:
            self.abort(err)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if err is not None:
            self.abort(err)
        else:
            self.close()


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """Write JSON as UTF-8; a half surrogate becomes its escape, not-a-number becomes null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
