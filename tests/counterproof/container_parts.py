"""Parts of image files, made by hand, and small whole ones."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'


def encode(kind: str, size: tuple[int, int] = (32, 24), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def tags() -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "Maker"
    found[0x0110] = "Model 1"
    found.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    found.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    return found


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: bytes) -> bytes:
    data = encode("PNG")
    return data[:33] + b"".join(chunks) + data[33:]
