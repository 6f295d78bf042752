"""Pictures coded in every way that is read, made when a test asks for one."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def scene(width: int = 60, height: int = 40) -> Pixels:
    """A picture without any symmetry, smooth enough to survive lossy coding."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = 255 * (x < width / 3) * (y < height / 2)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def near(one: Pixels, other: Pixels, levels: float = 12.0) -> bool:
    """Tell whether two pictures show the same, but for coding loss."""
    if one.shape != other.shape:
        return False
    return float(np.abs(one.astype(float) - other.astype(float)).mean()) < levels


ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 95}),
    "jpeg progressive": ("JPEG", {"quality": 95, "progressive": True}),
    "png": ("PNG", {}),
    "webp lossy": ("WEBP", {"quality": 95}),
    "webp lossless": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "tiff": ("TIFF", {}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff jpeg": ("TIFF", {"compression": "jpeg", "quality": 95}),
    "bmp": ("BMP", {}),
    "avif": ("AVIF", {"quality": 95}),
}


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks)


def chunk(name: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + check


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """One little-endian directory right behind the header."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = b"II*\0" + struct.pack("<I", 8)
    return header + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)
