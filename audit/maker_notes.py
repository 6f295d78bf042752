"""Serial numbers and owners' names in the notes that cameras' makers keep in EXIF.

Of each maker only the tags that tell one camera or person from another are known here. A note is
a TIFF directory behind a header of the maker's own; offsets count from the EXIF block or from the
note. Encrypted parts (most of Sony's) are not read.

Source: tag numbers and headers as documented by ExifTool, "Tag Names", Canon, Nikon, Olympus,
Panasonic, Pentax, FujiFilm, Apple, Reconyx, https://exiftool.org/TagNames/ (facts only).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from counterproof.tiff import Exif

__all__ = ["read_maker_note"]

_MAKER_NOTE = 0x927C
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4}
_MAX_ENTRIES = 512
# Values of which only a part is the number: tag → first byte, behind its last byte.
_PARTS = {0x4019: (0, 5), 0x0215: (16, 20)}


@dataclass(frozen=True, slots=True)
class _Maker:
    """How a maker's note begins, and which of its tags name a camera or a person.

    Attributes:
        header: first bytes of the note; empty for none.
        skip: where its directory begins, from the start of the note.
        base: offsets count from here, from the start of the note; None: from the EXIF block's.
        order: byte order; empty: that of the EXIF block.
        tags: tag → kind and name.
    """

    header: bytes
    skip: int
    base: int | None
    order: str
    tags: dict[int, tuple[str, str]]


_CANON = {
    0x0009: ("person", "OwnerName"),
    0x000C: ("serial", "SerialNumber"),
    0x0096: ("serial", "InternalSerialNumber"),
    0x4019: ("serial", "LensSerialNumber"),
}
_NIKON = {0x001D: ("serial", "SerialNumber"), 0x00A0: ("serial", "SerialNumber")}
_OLYMPUS = {0x0101: ("serial", "SerialNumber"), 0x0102: ("serial", "InternalSerialNumber")}
_OLYMPUS |= {0x0202: ("serial", "LensSerialNumber"), 0x0302: ("serial", "ExtenderSerialNumber")}
_PANASONIC = {
    0x0025: ("serial", "InternalSerialNumber"),
    0x0052: ("serial", "LensSerialNumber"),
    0x0065: ("person", "Title"),
    0x0066: ("person", "BabyName"),
    0x0067: ("place", "Location"),
    0x006D: ("place", "City"),
    0x006F: ("place", "Landmark"),
}
_PENTAX = {0x0229: ("serial", "SerialNumber"), 0x0215: ("serial", "InternalSerialNumber")}
_FUJI = {0x0010: ("serial", "InternalSerialNumber")}
_APPLE = {
    0x000B: ("identifier", "BurstUUID"),
    0x0011: ("identifier", "ContentIdentifier"),
    0x0015: ("identifier", "ImageUniqueID"),
    0x0020: ("identifier", "ImageCaptureRequestID"),
}
_MAKERS = (
    _Maker(b"Panasonic\0\0\0", 12, None, "", _PANASONIC),
    _Maker(b"OLYMP\0", 8, None, "", {}),  # before 2008
    _Maker(b"OLYMPUS\0II", 12, 0, "<", {}),
    _Maker(b"OLYMPUS\0MM", 12, 0, ">", {}),
    _Maker(b"OM SYSTEM\0\0\0II", 16, 0, "<", {}),
    _Maker(b"PENTAX \0II", 10, 0, "<", _PENTAX),
    _Maker(b"PENTAX \0MM", 10, 0, ">", _PENTAX),
    _Maker(b"AOC\0", 6, None, "", _PENTAX),
    _Maker(b"FUJIFILM", 12, 0, "<", _FUJI),
    _Maker(b"Apple iOS\0", 14, 0, ">", _APPLE),
)


def read_maker_note(exif: Exif) -> Iterator[tuple[str, str, bytes]]:
    """Yield kind (`serial`, `person`, `place`, `identifier`), name and value; () if unknown."""
    entry = exif.entry("exif", _MAKER_NOTE)
    if entry is None or entry.length < 18:
        return
    data, at, note = exif.data, entry.at, exif.data[entry.at : entry.at + entry.length]
    make = exif.text("ifd0", 0x010F).lower()
    try:
        if note.startswith(b"RECONYXH2\0") or note[:2] == b"\x01\xf1":
            yield from _reconyx(note)
        elif note.startswith(b"Nikon\0\x02"):
            order = "<" if note[10:12] == b"II" else ">"
            (first,) = struct.unpack_from(order + "I", note, 14)
            yield from _tags(data, at + 10 + first, at + 10, order, _NIKON)
        elif found := next((item for item in _MAKERS if note.startswith(item.header)), None):
            base = 0 if found.base is None else at + found.base
            start, order = at + found.skip, found.order or exif.order
            yield from _tags(data, start, base, order, found.tags)
            if b"OLYMP" in found.header or b"OM SYSTEM" in found.header:
                yield from _olympus(data, start, base, order)
        elif make.startswith("canon"):
            yield from _tags(data, at, 0, exif.order, _CANON)
        elif make.startswith("nikon"):
            yield from _tags(data, at, 0, exif.order, _NIKON)
    except struct.error:
        return


def _entries(data: bytes, at: int, base: int, order: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield tag, place and bytes of each value of a directory."""
    (count,) = struct.unpack_from(order + "H", data, at)
    for place in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        tag, kind, number, offset = struct.unpack_from(order + "HHII", data, place)
        length = number * _SIZES.get(kind, 0)
        where = place + 8 if length <= 4 else base + offset
        if 0 < length <= 4096 and where + length <= len(data):
            yield tag, where, data[where : where + length]


def _tags(
    data: bytes, at: int, base: int, order: str, wanted: dict[int, tuple[str, str]]
) -> Iterator[tuple[str, str, bytes]]:
    for tag, _, value in _entries(data, at, base, order):
        if tag in wanted:
            first, last = _PARTS.get(tag, (0, len(value)))
            if value[first:last].strip(b"\0 \xff"):
                yield (*wanted[tag], value[first:last])


def _olympus(data: bytes, at: int, base: int, order: str) -> Iterator[tuple[str, str, bytes]]:
    """Read the equipment directory (0x2010): where its value points to, or its value itself."""
    for tag, where, value in _entries(data, at, base, order):
        if tag == 0x2010:
            pointed = len(value) == 4
            start = base + struct.unpack(order + "I", value)[0] if pointed else where
            yield from _tags(data, start, base, order, _OLYMPUS)


def _reconyx(note: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Read a trail camera's fixed layout: serial number and the owner's label, UTF-16."""
    if note[:2] == b"\x01\xf1":  # HyperFire: 16-bit words, from word 0x2a and 0x56 on
        yield "serial", "SerialNumber", note[0x2A:0x48]
        if label := note[0x56:0x6C].partition(b"\0")[0].strip():
            yield "person", "UserLabel", label
    else:
        yield "serial", "SerialNumber", note[0x7E:0x9C]
