"""Write marked files so that nobody ever sees half of one."""

import contextlib
import os
import tempfile
from pathlib import Path

from counterproof.errors import UserError

__all__ = ["check_free", "write_new", "write_pair"]


def check_free(target: Path, sidecar: bool) -> None:
    """Check that no file would be replaced.

    Raises:
        UserError: if one would be.
    """
    for path in (target, *([target.with_suffix(".c2pa")] if sidecar else [])):
        if path.exists():
            raise UserError(f"{path}: exists already; name another folder, or overwrite")


def write_pair(target: Path, data: bytes, sidecar: bytes | None, overwrite: bool) -> None:
    """Write a marked picture, and before it its sidecar: no picture is there without its manifest.

    Each file appears whole or not at all.

    Raises:
        UserError: if a file cannot be written, or exists and may not be replaced.
    """
    if sidecar is not None:
        _write(target.with_suffix(".c2pa"), sidecar, overwrite)
    _write(target, data, overwrite)


def write_new(target: Path, data: bytes) -> None:
    """Write one file, which appears whole or not at all.

    Raises:
        UserError: if it cannot be written, or exists.
    """
    _write(target, data, overwrite=False)


def _write(path: Path, data: bytes, overwrite: bool) -> None:
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".marking-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        if overwrite:
            os.replace(temporary, path)
            temporary = ""
        else:
            _rename_new(temporary, path)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _rename_new(temporary: str, path: Path) -> None:
    """Give a file its name unless the name is taken, also by another process meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(17, "File exists") from None
        os.replace(temporary, path)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
