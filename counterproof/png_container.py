"""Walk the chunks of a PNG for metadata, also what ImageMagick writes as hexadecimal text.

Source: PNG third edition §5 and §11.
"""

import binascii
import struct

from counterproof.blocks import Notes, note_trailer
from counterproof.jpeg_container import EXIF_START, XMP_START

__all__ = ["walk_png"]

_PNG_CHUNK = struct.Struct(">I4s")


def walk_png(notes: Notes) -> None:
    """List the metadata blocks of a PNG."""
    data = notes.data
    at, end = 8, len(data)
    notes.frames = 1
    while at + 12 <= end:
        notes.step()
        length, name = _PNG_CHUNK.unpack_from(data, at)
        stop = at + 12 + length
        if stop > end:
            reason = f"chunk {name.decode('latin-1')!r} at byte {at:,} reaches past the end"
            raise notes.cut(reason, stop)
        if name == b"IHDR":
            if not notes.width:
                notes.width, notes.height, notes.bit_depth = struct.unpack_from(
                    ">IIB", data, at + 8
                )
                notes.alpha = data[at + 17] in (4, 6)
        elif name == b"IEND":
            return note_trailer(notes, stop)
        elif name == b"tRNS":
            notes.alpha = True
        elif name == b"acTL":
            (notes.frames,) = struct.unpack_from(">I", data, at + 8)
        elif name not in (b"IDAT", b"fdAT"):
            _png_metadata(notes, name, at, length)
        at = stop
    raise notes.cut(f"truncated after {end:,} bytes: no IEND chunk")


def _png_metadata(notes: Notes, name: bytes, at: int, length: int) -> None:
    body = notes.data[at + 8 : at + 8 + min(length, 4 * notes.max_block_bytes)]
    if name == b"eXIf":
        notes.add("exif", at, length + 12, body.removeprefix(EXIF_START))
    elif name == b"caBX":
        notes.add("c2pa", at, length + 12, body)
    elif name == b"iCCP":
        notes.add("icc", at, length + 12, notes.inflate(body.partition(b"\0")[2][1:]))
    elif name in (b"tEXt", b"zTXt", b"iTXt"):
        key, text = _png_text(notes, name, body)
        kind = "xmp" if key == "XML:com.adobe.xmp" else "text"
        notes.add(kind, at, length + 12, text, key)
        if key.startswith("Raw profile type "):
            _raw_profile(notes, key[17:].strip().lower(), at, length + 12, text)


def _png_text(notes: Notes, name: bytes, body: bytes) -> tuple[str, bytes]:
    key, _, rest = body.partition(b"\0")
    if name == b"zTXt":
        rest = notes.inflate(rest[1:])
    elif name == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]  # language, translated keyword
        if compressed:
            rest = notes.inflate(rest)
    if name != b"iTXt" and not _is_utf8(rest):
        rest = rest.decode("latin-1").encode("utf-8")
    return key.decode("latin-1"), rest


def _raw_profile(notes: Notes, name: str, offset: int, length: int, text: bytes) -> None:
    """Note a block that ImageMagick wrote as hexadecimal text, under its own kind."""
    _, _, rest = text.lstrip().partition(b"\n")
    _, _, digits = rest.partition(b"\n")
    try:
        raw = binascii.unhexlify(b"".join(digits.split()))
    except (binascii.Error, ValueError):
        return
    if raw.startswith(XMP_START):
        notes.add("xmp", offset, length, raw[len(XMP_START) :])
    elif name == "xmp":
        notes.add("xmp", offset, length, raw)
    elif name in ("exif", "app1"):
        notes.add("exif", offset, length, raw.removeprefix(EXIF_START))
    elif name in ("iptc", "8bim"):
        notes.add("iptc", offset, length, raw.removeprefix(b"Photoshop 3.0\0"))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
