"""The text tags of an EXIF block, decoded by their character codes, each with its place.

Source: EXIF 2.32 (CIPA DC-008) §4.6; XP tags: Windows GDI+ property tags, UTF-16LE.
"""

from dataclasses import dataclass

from counterproof.tiff import Exif

__all__ = ["ExifText", "decode_user_comment", "read_exif_text"]

TAGS = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x927C: "MakerNote",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9D: "XPAuthor",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
_MAX_TEXT_BYTES = 2 * 2**20
_MAX_NOTE_BYTES = 256  # a maker's note is binary; only a short one can be text
_TEXT_KINDS = (1, 2, 6, 7)  # TIFF types of one byte


@dataclass(frozen=True, slots=True)
class ExifText:
    """One text tag.

    Attributes:
        name: of the tag, as in `TAGS`.
        text: decoded, without the terminator.
        offset: of the value, in bytes from the start of the EXIF block's TIFF header.
    """

    name: str
    text: str
    offset: int


def read_exif_text(exif: Exif) -> tuple[ExifText, ...]:
    """Return the text tags of the first directory and of the Exif directory, in their order."""
    found: list[ExifText] = []
    for name in ("ifd0", "exif"):
        directory = exif.directories.get(name)
        for tag, entry in directory.entries.items() if directory else ():
            if (key := TAGS.get(tag)) is None or entry.kind not in _TEXT_KINDS:
                continue
            if key == "MakerNote" and entry.length > _MAX_NOTE_BYTES:
                continue
            raw = exif.data[entry.at : entry.at + min(entry.length, _MAX_TEXT_BYTES)]
            if text := _decode(key, raw, exif.order):
                found.append(ExifText(key, text, entry.at))
    return tuple(found)


def _decode(name: str, raw: bytes, order: str) -> str:
    if name == "UserComment":
        return decode_user_comment(raw, little_endian=order == "<")
    if name.startswith("XP"):
        return raw[: len(raw) & ~1].decode("utf-16-le", "replace").rstrip("\0").strip()
    return _plain(raw)


def decode_user_comment(raw: bytes, *, little_endian: bool = False) -> str:
    r"""Decode a UserComment by its character code; guess only where it names none.

    Writers put UTF-16 of either order behind `UNICODE`, whatever the file's own order is: the
    order under which more characters are Latin wins, the file's order breaks a tie.

    Args:
        raw: the value with its 8-byte character code.
        little_endian: byte order of the EXIF block.

    >>> decode_user_comment(b"ASCII\0\0\0Hello")
    'Hello'
    >>> decode_user_comment(b"UNICODE\0" + "日".encode("utf-16-be"))
    '日'
    """
    code, rest = raw[:8], raw[8:]
    if code in (b"ASCII\0\0\0", b"\0\0\0\0\0\0\0\0"):
        return _plain(rest)
    if code == b"UNICODE\0":
        return _utf16(rest, little_endian)
    if code == b"JIS\0\0\0\0\0":
        return rest.decode("iso2022_jp", "replace").rstrip("\0").strip()
    return _plain(raw)


def _utf16(raw: bytes, little_endian: bool) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace").rstrip("\0").strip()
    sample = raw[:4096]
    if b"\0" not in sample and len(sample) > 8 and sample.isascii():
        return _plain(raw)  # eight-bit text behind a wrong character code
    little = sample[1::2].count(0)
    big = sample[0::2].count(0)
    order = little_endian if little == big else little > big
    codec = "utf-16-le" if order else "utf-16-be"
    return raw[: len(raw) & ~1].decode(codec, "replace").rstrip("\0").strip()


def _plain(raw: bytes) -> str:
    raw = raw.partition(b"\0")[0] if b"\0" in raw.rstrip(b"\0") else raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()
