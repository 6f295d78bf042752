"""What to look at: files, folders, globs and lists, in a stable order.

A folder is walked depth first, names sorted by their bytes, links to folders not followed. In
a folder, a file is a picture if its name or its first bytes say so; a file that is named is
always looked at. Names may be of any encoding.
"""

import glob
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from counterproof.containers import sniff
from counterproof.errors import UserError

__all__ = ["IMAGE_SUFFIXES", "Ref", "Shard", "expand", "read_list"]

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "tif", "tiff", "bmp", "dib"),
        *("avif", "avifs", "heic", "heif", "hif", "jxl", "svg", "dng"),
        *("cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "srf", "orf", "rw2", "raf", "pef"),
        *("srw", "x3f", "mrw", "3fr", "erf", "kdc", "dcr", "rwl", "iiq"),
        *("mp4", "m4v", "mov", "qt", "avi", "m4a", "mp3", "wav", "flac", "pdf"),
    )
)
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Ref:
    """One thing to look at.

    Attributes:
        path: as the system names it (undecodable bytes as surrogates).
        problem: `cause: message` if it is known beforehand that it cannot be read.
    """

    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`, 1-based: every path belongs to exactly one part."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `i/n`.

        Raises:
            UserError: if it is not two numbers with 1 ≤ i ≤ n.
        """
        first, _, second = text.partition("/")
        if first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second):
            return cls(int(first), int(second))
        raise UserError(f"expected a shard i/n with 1 ≤ i ≤ n, got {text!r}")

    def holds(self, path: str) -> bool:
        """Tell whether a path belongs to this part; adding files moves none of the others."""
        return zlib.crc32(os.fsencode(path)) % self.count == self.index - 1


def expand(paths: Iterable[str], shard: Shard | None = None) -> Iterator[Ref]:
    """Yield what the given paths name, in the order given; each folder's content sorted.

    A path that does not exist yields a `Ref` with its problem, so that the rest goes on.
    """
    for path in paths:
        for ref in _expand_one(path):
            if shard is None or shard.holds(ref.path):
                yield ref


def _expand_one(path: str) -> Iterator[Ref]:
    if os.path.isdir(path):
        yield from _walk(path)
    elif os.path.lexists(path):
        yield Ref(path)
    elif _GLOB & set(path) and (matches := sorted(glob.glob(path, recursive=True))):
        for match in matches:
            yield from _expand_one(match)
    else:
        yield Ref(path, f"missing: {path}: no such file or folder")


def _walk(folder: str) -> Iterator[Ref]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as err:
        yield Ref(folder, f"folder_forbidden: {folder}: {err.strerror}")
        return
    for entry in found:
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            is_file = entry.is_file()
        except OSError:
            continue
        if is_folder:
            yield from _walk(entry.path)
        elif is_file and _is_picture(entry.path):
            yield Ref(entry.path)


def _is_picture(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix == ".c2pa":
        return False  # a sidecar belongs to the picture beside it
    try:
        with open(path, "rb", buffering=0) as file:
            return sniff(file.read(32)) not in ("", "bmp")
    except OSError:
        return False


def read_list(name: str) -> list[str]:
    """Read paths from a file, or from standard input for `-`.

    One path a line, or separated by NUL bytes where there are any; a `.parquet` file gives
    its column `path`.

    Raises:
        UserError: if the list cannot be read.
        MissingExtra: if a Parquet list needs an extra.
    """
    if name.endswith(".parquet"):
        from counterproof.audit.exports import read_paths_parquet

        return list(read_paths_parquet(Path(name)))
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as err:
        raise UserError(f"{name}: cannot read the list of files: {err.strerror}") from err
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]
