"""Write a TIFF file anew with its pages and nothing else.

Kept of each page: the coded strips or tiles byte for byte, the tags that a reader needs to show
them, colour profile and orientation. Reduced copies, further directories, EXIF, GPS, XMP, IPTC,
makers' own tags and whatever no directory names go.

Sources: TIFF 6.0 §2 and §8; BigTIFF design (2004); TIFF Technical Note 2 (JPEG in TIFF).
"""

import struct

from counterproof.tiff import Directory, Entry, pages

__all__ = ["strip_tiff"]

_KEPT = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 274, 277, 278, 282, 283, 284, 292, 293, 296, 301, 317}
    | {318, 319, 320, 322, 323, 332, 334, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 34675}
)
_CHUNKS = ((273, 279), (324, 325))  # places and lengths of strips, of tiles
_REDUCED = 1  # bit of NewSubfileType
_OLD_JPEG = 6
_LONG, _LONG8 = 4, 16
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


def strip_tiff(data: bytes) -> bytes:
    """Return the file with its pages and nothing else.

    Raises:
        ValueError: if the structure is damaged, or pictures are coded in a way not handled here.
        struct.error: if it ends too early.
    """
    order, big, directories = pages(data)
    shown = [page for page in directories if not _first(data, order, page, 254, 0) & _REDUCED]
    if not shown:
        raise ValueError("no page")
    word = "Q" if big else "I"
    mark = b"II" if order == "<" else b"MM"
    out = bytearray(mark + struct.pack(order + "H", 43 if big else 42))
    if big:
        out += struct.pack(order + "HH", 8, 0)
    link = len(out)
    out += struct.pack(order + word, 0)
    for page in shown:
        out += b"\0" * (-len(out) % 8)
        at, directory = _page(data, order, big, page, out)
        struct.pack_into(order + word, out, link, at)
        out += directory
        link = len(out) - struct.calcsize(word)
    return bytes(out)


def _page(data: bytes, order: str, big: bool, page: Directory, out: bytearray) -> tuple[int, bytes]:
    """Append a page's values and picture; return where its directory goes, and the directory."""
    if _first(data, order, page, 259, 1) == _OLD_JPEG:
        raise ValueError("an old form of JPEG in TIFF")
    word, inline = ("Q", 8) if big else ("I", 4)
    tags: dict[int, tuple[int, int, bytes]] = {}
    for tag, entry in page.entries.items():
        if tag in _KEPT:
            tags[tag] = (entry.kind, entry.count, data[entry.at : entry.at + entry.length])
    chunked = False
    for places, lengths in _CHUNKS:
        if places in page.entries and lengths in page.entries:
            starts = _numbers(data, order, page.entries[places])
            sizes = _numbers(data, order, page.entries[lengths])
            if len(starts) != len(sizes):
                raise ValueError("as many places as lengths are expected")
            new = []
            for start, size in zip(starts, sizes, strict=True):
                if start + size > len(data):
                    raise ValueError("a strip reaches past the end")
                new.append(len(out) if size else 0)
                out += data[start : start + size]
                out += b"\0" * (len(out) & 1)
                if len(out) > 2 * len(data) + 65_536:
                    raise ValueError("its pages share their picture data")
            kind = _LONG8 if big else _LONG
            tags[places] = (kind, len(new), struct.pack(f"{order}{len(new)}{word}", *new))
            tags[lengths] = (kind, len(new), struct.pack(f"{order}{len(new)}{word}", *sizes))
            chunked = True
    if not chunked:
        raise ValueError("a page without a picture")
    entries = bytearray()
    for tag in sorted(tags):
        kind, count, value = tags[tag]
        if len(value) > inline:
            out += b"\0" * (-len(out) % 8)
            where = struct.pack(order + word, len(out))
            out += value
        else:
            where = value.ljust(inline, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, kind, count) + where
    out += b"\0" * (-len(out) % 8)
    head = struct.pack(order + ("Q" if big else "H"), len(tags))
    return len(out), head + bytes(entries) + struct.pack(order + word, 0)


def _numbers(data: bytes, order: str, entry: Entry) -> tuple[int, ...]:
    letter = _LETTERS.get(entry.kind)
    if letter is None:
        raise ValueError("places are written in no whole numbers")
    return struct.unpack_from(f"{order}{entry.count}{letter}", data, entry.at)


def _first(data: bytes, order: str, page: Directory, tag: int, default: int) -> int:
    entry = page.entries.get(tag)
    if entry is None or entry.kind not in _LETTERS:
        return default
    return _numbers(data, order, entry)[0]
