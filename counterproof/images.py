"""One picture under limits, read once, with cached views.

Arrays at every border are `uint8` RGB of shape `(H, W, 3)`, upright (EXIF orientation
applied). An `ImageFile` knows nothing of findings.
"""

import hashlib
import io
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof.containers import Block, Container, walk
from counterproof.errors import ImageError
from counterproof.findings import FileInfo
from counterproof.settings import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

__all__ = ["ImageFile"]


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
        if sidecar is None and beside != path and beside.is_file():
            sidecar = _read(beside, limits.max_bytes)
        return cls(data, name or str(path), limits, sidecar)

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
    def exif(self) -> "Image.Exif":
        """EXIF tags of the first EXIF block; empty if there is none or it is malformed."""
        from PIL import Image

        exif = Image.Exif()
        for block in self.blocks("exif"):
            try:
                exif.load(b"Exif\0\0" + block.data)
            except Exception:
                exif = Image.Exif()
            break
        return exif

    @cached_property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8; 1 where none is stored or the value is bad."""
        value = self.exif.get(0x0112, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @cached_property
    def info(self) -> FileInfo:
        """What the file is. Reads headers, decodes no pixels.

        Raises:
            ImageError: if no reader knows the format or the header is broken.
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
            ImageError: if the picture is damaged, unknown, or larger than the limits.
        """
        if max_side not in self._pixels:
            from counterproof import decode

            self._pixels[max_side] = decode.pixels(self, max_side)
        return self._pixels[max_side]

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

    def release(self) -> None:
        """Forget decoded pixels, to keep memory flat."""
        self._pixels.clear()


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
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise ImageError("unsupported", f"{path}: expected a file, got a folder or device")
        if info.st_size > max_bytes:
            raise ImageError(
                "too_large", f"{path}: {info.st_size:,} bytes; the limit is {max_bytes:,}"
            )
        try:
            data = file.read(max_bytes + 1)
        except OSError as err:
            raise ImageError("damaged", f"{path}: {err.strerror}") from err
    if not data:
        raise ImageError("empty", f"{path}: expected an image, got 0 bytes")
    if len(data) > max_bytes:
        raise ImageError("too_large", f"{path}: more than the limit of {max_bytes:,} bytes")
    return data
