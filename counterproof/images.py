"""One picture under limits, read once, with cached views.

Arrays at every border are `uint8` RGB of shape `(H, W, 3)`, upright (EXIF orientation
applied). An `ImageFile` knows nothing of findings.
"""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from counterproof.blocks import Block, Container, Damaged
from counterproof.containers import walk
from counterproof.errors import ImageError
from counterproof.findings import FileInfo
from counterproof.settings import Limits
from counterproof.tiff import Exif, exif_directories, join_exif

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

__all__ = ["ImageFile"]

_Made = TypeVar("_Made")


class ImageFile:
    """One picture: its bytes, its metadata blocks, and views that are made when asked for.

    Open with `ImageFile.open`. Nothing is decoded before a view is asked for, and each view
    is kept while the picture is in hand.

    Attributes:
        name: path or other name, for messages.
        data: the whole file.
        sidecar: bytes of the `.c2pa` file beside it, or None.
        limits: what the picture may cost.
    """

    def __init__(self, data: bytes, name: str, limits: Limits, sidecar: bytes | None) -> None:
        self.data = data
        self.name = name
        self.limits = limits
        self.sidecar = sidecar
        self._pixels: dict[int | None, Pixels] = {}
        self._luminance: dict[int, Pixels] = {}
        self._made: dict[Hashable, Any] = {}

    @classmethod
    def open(
        cls,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        limits: Limits | None = None,
        sidecar: bytes | None = None,
    ) -> "ImageFile":
        """Read one picture.

        Args:
            source: a path, or the bytes of a file.
            name: for messages; the path by default.
            limits: what it may cost; the defaults of `Limits` if None.
            sidecar: bytes of a C2PA manifest store kept outside the file. For a path, the
                file of the same name with suffix `.c2pa` is read by default.

        Raises:
            ImageError: if it is missing, not a regular file, empty, or larger than the limit.
        """
        limits = limits or Limits()
        if isinstance(source, bytes):
            if not source:
                raise ImageError("empty", f"{name or 'picture'}: expected an image, got 0 bytes")
            return cls(source, name or "bytes", limits, sidecar)
        path = Path(source)
        data = _read(path, limits.max_bytes)
        beside = path.with_suffix(".c2pa")
        image = cls(data, name or str(path), limits, sidecar)
        if sidecar is None and beside != path and beside.is_file():
            try:
                image.sidecar = _read(beside, limits.max_bytes)
            except ImageError as err:
                image.flaws.append(f"its sidecar could not be read ({err.cause})")
        return image

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def sidecar_sha256(self) -> str:
        """SHA-256 of the sidecar, hex; empty without one."""
        return hashlib.sha256(self.sidecar).hexdigest() if self.sidecar else ""

    @cached_property
    def metadata(self) -> Container:
        """The container's format, stored size and raw metadata blocks."""
        return walk(self.data, self.limits.max_block_bytes)

    @property
    def format(self) -> str:
        """Format by content: `jpeg`, `png`, …; empty if unknown."""
        return self.metadata.format

    def blocks(self, *kinds: str) -> list[Block]:
        """Return the metadata blocks of these kinds, in file order."""
        return [block for block in self.metadata.blocks if block.kind in kinds]

    @cached_property
    def exif_data(self) -> bytes:
        """EXIF from the TIFF header on, of a TIFF file the file itself; empty without any."""
        found = self.blocks("exif")
        if self.format == "jpeg" and len(found) > 1:
            # more than 64 KiB goes into several segments, joined by every reader
            return b"".join(block.data for block in found)
        return found[0].data if found else b""

    @cached_property
    def exif_directories(self) -> Exif | None:
        """Where the EXIF tags lie, read in microseconds; None without EXIF or if malformed."""
        parts = {block.key: block.data for block in self.blocks("exif") if block.key}
        try:
            if parts:  # Canon's CR3 keeps the directories apart
                return join_exif(parts)
            return exif_directories(self.exif_data) if self.exif_data else None
        except Damaged:
            return None

    @cached_property
    def preview(self) -> "ImageFile | None":
        """Of a camera raw file, the largest JPEG in it, which stands for the picture."""
        from counterproof.raw import find_preview

        found = find_preview(self.data) if self.format in ("raw", "dng") else None
        if found is None:
            return None
        data = self.data[found.offset : found.offset + found.length]
        return ImageFile(data, f"{self.name}: preview", self.limits, None)

    @cached_property
    def exif(self) -> "Image.Exif":
        """EXIF tags, as Pillow's `getexif` gives them; empty if there are none or malformed."""
        from counterproof import decode

        return decode.exif(self)

    @cached_property
    def orientation(self) -> int:
        """EXIF orientation as stored, 1 to 8; 1 where none is stored or the value is bad.

        In AVIF and HEIC the container's own turn and mirror count, never EXIF
        (ISO/IEC 23000-22 §7.3.6.7 and 7.3.9).
        """
        if self.metadata.orientation:
            return self.metadata.orientation
        directories = self.exif_directories
        value = directories.integer("ifd0", 0x0112) if directories else None
        return value if value is not None and 1 <= value <= 8 else 1

    @cached_property
    def icc(self) -> bytes:
        """The colour profile, joined from its segments; empty without one."""
        found = self.blocks("icc")
        if self.format != "jpeg":
            return found[0].data if found else b""
        # each segment begins with its number and their count (ICC.1:2022 annex B.4)
        return b"".join(block.data[2:] for block in sorted(found, key=lambda b: b.data[:1]))

    @cached_property
    def flaws(self) -> list[str]:
        """What was wrong with a file that could be read nevertheless; `pixels` adds to it."""
        return []

    @cached_property
    def info(self) -> FileInfo:
        """What the file is. Reads headers, decodes no pixels.

        Of a file that no reader opens, what its container says; never raises.
        """
        from counterproof import decode

        return decode.describe(self)

    def pixels(self, max_side: int | None = None) -> "Pixels":
        """Decode the first frame.

        Args:
            max_side: longest side of the result in pixels; a smaller picture is not
                enlarged. A JPEG is then decoded at a fraction of its size.

        Returns:
            `uint8` RGB, shape `(H, W, 3)`, upright. Read-only.

        Raises:
            ImageError: if the picture is damaged, cut short, of a format that is not read, or
                larger than the limits. A view is the whole picture or none: half a picture
                would be hashed and judged as if it were one.
        """
        if max_side not in self._pixels:
            from counterproof import decode

            self._pixels[max_side] = decode.pixels(self, max_side)
        return self._pixels[max_side]

    def luminance(self, max_side: int) -> "Pixels":
        """Decode the first frame to grey, for hashing: of a JPEG without touching its colours.

        Args:
            max_side: longest side of the result in pixels, as for `pixels`.

        Returns:
            ITU-R BT.601 luma, `uint8`, shape `(H, W)`, upright. Read-only.

        Raises:
            ImageError: as for `pixels`.
        """
        if max_side not in self._luminance:
            from counterproof import decode

            self._luminance[max_side] = decode.luminance(self, max_side)
        return self._luminance[max_side]

    def stored(self) -> "NDArray[Any]":
        """Decode the first frame as stored: own mode, depth and alpha, no orientation.

        Raises:
            ImageError: as for `pixels`.
        """
        from counterproof import decode

        return decode.stored(self)

    def stream(self) -> io.BytesIO:
        """Return a fresh binary stream over the file, for libraries that want one."""
        return io.BytesIO(self.data)

    def once(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """Return what `make` makes of this picture, made for the first that asks for it.

        For a reading that several rooms need, such as that of the credential.

        Args:
            key: names the reading and all that it depends on besides the picture.
            make: makes it; what it raises is raised, and it is tried again when asked again.
        """
        if key not in self._made:
            self._made[key] = make()
        made: _Made = self._made[key]
        return made

    def release(self) -> None:
        """Forget decoded pixels and what was made of them, to keep memory flat."""
        self._pixels.clear()
        self._luminance.clear()
        self._made.clear()


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        # O_NONBLOCK so that a named pipe cannot hang the open; regular files ignore it.
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except FileNotFoundError as err:
        raise ImageError("missing", f"{path}: no such file") from err
    except OSError as err:
        raise ImageError("forbidden", f"{path}: {err.strerror}") from err
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        os.close(handle)
        raise ImageError("unsupported", f"{path}: expected a file, got a folder or device")
    with os.fdopen(handle, "rb") as file:
        if info.st_size > max_bytes:
            raise ImageError(
                "too_large", f"{path}: {info.st_size:,} bytes; the limit is {max_bytes:,}"
            )
        try:
            data = file.read(info.st_size + 1)  # a file that grows meanwhile is cut here
        except OSError as err:
            raise ImageError("damaged", f"{path}: {err.strerror}") from err
    if not data:
        raise ImageError("empty", f"{path}: expected an image, got 0 bytes")
    if len(data) > info.st_size:
        raise ImageError("damaged", f"{path}: it grew while it was being read; try again")
    return data
