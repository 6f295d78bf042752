"""Walk TIFF directories, of a file or of an EXIF block, under bounds.

The directories of an honest file do not share values, so all values together are never longer
than the file. Libraries that load every value at once can be made to take gigabytes from a
small file that breaks this; `exif_directories` refuses it before they see it.

Sources: TIFF 6.0 §2; BigTIFF design (2004); EXIF 2.32 §4.6; DNG 1.7 chapter 4
(PhotometricInterpretation).
"""

import contextlib
import struct
from dataclasses import dataclass

from counterproof.blocks import Damaged, Notes

__all__ = [
    "Directory",
    "Entry",
    "Exif",
    "clean",
    "exif_directories",
    "join_exif",
    "pages",
    "tile_offsets",
    "walk_tiff",
]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
# 9 is signed; some writers use it for offsets
_INTEGERS = {1: "B", 3: "H", 4: "I", 9: "I", 13: "I", 16: "Q", 18: "Q"}
_KINDS = {700: "xmp", 33723: "iptc", 34377: "iptc", 34675: "icc", 0xCD41: "c2pa"}
_MAX_IFDS = 10_000
_MAX_SUB_IFDS = 200
_MAX_ENTRIES = 65_535
_MAX_STRIPS = 500_000
_MAKERS_OWN = (b"RO", b"RS", b"U\0")  # Olympus and Panasonic: TIFF but for this number
_CFA, _LINEAR_RAW = 32803, 34892


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its type, number of values, and where they lie in the data."""

    kind: int
    count: int
    at: int
    length: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory (IFD): its tags by number, and the offset of the next; 0 for none."""

    entries: dict[int, Entry]
    next: int


@dataclass(frozen=True, slots=True)
class _Layout:
    order: str
    big: bool
    first: int


def _layout(data: bytes) -> _Layout:
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    version = data[2:4] if order == "<" else data[3:1:-1]
    if not order or version not in (b"*\0", b"+\0", *_MAKERS_OWN) or len(data) < 8:
        raise Damaged("expected a TIFF header")
    big = version == b"+\0"
    if len(data) < (16 if big else 8):
        raise Damaged("ends inside its TIFF header")
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    return _Layout(order, big, first)


def _read(data: bytes, layout: _Layout, offset: int) -> Directory:
    """Read one directory; entries whose values lie outside the data are left out."""
    size = len(data)
    word, width, inline = ("Q", 20, 8) if layout.big else ("I", 12, 4)
    head = 8 if layout.big else 2
    if offset + head > size:
        raise Damaged(f"directory at byte {offset:,} lies past the end of the file")
    (count,) = struct.unpack_from(layout.order + ("Q" if layout.big else "H"), data, offset)
    at = offset + head
    if count > _MAX_ENTRIES or at + count * width > size:
        raise Damaged(f"directory at byte {offset:,} reaches past the end of the file")
    entries: dict[int, Entry] = {}
    end = at + count * width
    pattern = struct.Struct(f"{layout.order}HH{word}{word}")
    for tag, kind, number, value in pattern.iter_unpack(data[at:end]):
        at += width
        length = number * _SIZES.get(kind, 0)
        where = at - inline if length <= inline else value
        if length and where + length <= size and tag not in entries:
            entries[tag] = Entry(kind, number, where, length)
    following = 0
    if end + (8 if layout.big else 4) <= size:
        (following,) = struct.unpack_from(layout.order + word, data, end)
    return Directory(entries, following)


@dataclass(frozen=True, slots=True)
class Exif:
    """The directories of one EXIF block, by name, and readers of their values.

    Attributes:
        data: from the TIFF header on.
        order: `<` or `>`.
        big: whether it is BigTIFF.
        first: offset of the first directory.
        directories: `ifd0`, `ifd1` (the thumbnail's), `exif`, `gps`, `interop`: those there are.
    """

    data: bytes
    order: str
    big: bool
    first: int
    directories: dict[str, Directory]

    def entry(self, directory: str, tag: int) -> Entry | None:
        """Return where a tag lies; None if there is none."""
        found = self.directories.get(directory)
        return found.entries.get(tag) if found else None

    def integer(self, directory: str, tag: int) -> int | None:
        """Return the first value of an integer tag; None if there is none."""
        entry = self.entry(directory, tag)
        return None if entry is None else _integer(self.data, self.order, entry)

    def text(self, directory: str, tag: int, max_chars: int = 200) -> str:
        """Return an ASCII tag as one line without control characters; empty if there is none."""
        entry = self.entry(directory, tag)
        if entry is None or entry.kind not in (1, 2, 7, 129):
            return ""
        raw = self.data[entry.at : entry.at + min(entry.length, 8 * max_chars)]
        raw = raw.partition(b"\0")[0]
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
        return clean(value, max_chars)

    def thumbnail(self) -> bytes:
        """Return the embedded JPEG thumbnail (EXIF 2.32 §4.5.5); empty if there is none."""
        start, length = self.integer("ifd1", 0x0201), self.integer("ifd1", 0x0202)
        if not start or not length or start + length > len(self.data):
            return b""
        found = self.data[start : start + length]
        return found if found[:2] == b"\xff\xd8" else b""


def clean(value: str, max_chars: int = 200) -> str:
    r"""Return one line of text: no control characters, spaces joined, at most `max_chars`.

    >>> clean("  Canon\x00\x1b[31m  EOS ")
    'Canon [31m EOS'
    """
    value = "".join(char if char.isprintable() else " " for char in value[: 8 * max_chars])
    return " ".join(value.split())[:max_chars].strip()


def _integer(data: bytes, order: str, entry: Entry) -> int | None:
    letter = _INTEGERS.get(entry.kind)
    if letter is None or not entry.count:
        return None
    (value,) = struct.unpack_from(order + letter, data, entry.at)
    return int(value)


def exif_directories(data: bytes) -> Exif:
    """Read the directories of one EXIF block or TIFF file.

    Args:
        data: from the TIFF header on.

    Raises:
        Damaged: if there is no first directory, or the values claim more than the data holds.
    """
    layout = _layout(data)
    found = {"ifd0": _read(data, layout, layout.first)}
    exif = Exif(data, layout.order, layout.big, layout.first, found)
    pointers = (("exif", "ifd0", 0x8769), ("gps", "ifd0", 0x8825), ("interop", "exif", 0xA005))
    for name, parent, tag in pointers:
        if (offset := exif.integer(parent, tag)) is not None:
            try:
                found[name] = _read(data, layout, offset)
            except Damaged:
                continue
    if following := found["ifd0"].next:
        with contextlib.suppress(Damaged):
            found["ifd1"] = _read(data, layout, following)
    total = sum(e.length for d in found.values() for e in d.entries.values())
    # a pointer that leads back to a directory already read doubles it, harmlessly
    if total > 2 * len(data) + 65_536:
        raise Damaged(f"tags claim {total:,} bytes of {len(data):,}")
    return exif


def pages(data: bytes) -> tuple[str, bool, list[Directory]]:
    """Read the directories of all pages of a TIFF file.

    Returns:
        Byte order (`<` or `>`), whether it is BigTIFF, and the directories in order.

    Raises:
        ValueError: if the header or a directory is malformed, or the pages form a loop.
    """
    try:
        layout = _layout(data)
        seen: dict[int, Directory] = {}
        offset = layout.first
        while offset:
            if offset in seen or len(seen) >= _MAX_IFDS:
                raise Damaged("its pages form a loop")
            seen[offset] = _read(data, layout, offset)
            offset = seen[offset].next
    except Damaged as err:
        raise ValueError(str(err)) from err
    return layout.order, layout.big, list(seen.values())


def join_exif(parts: dict[str, bytes]) -> Exif:
    """Join directories that a file keeps apart, each with a TIFF header of its own, into one.

    Args:
        parts: name of the directory (`ifd0`, `exif`, `gps`) → its TIFF structure.

    Raises:
        Damaged: if there is no `ifd0`, or one of them cannot be read.
    """
    joined = exif_directories(parts.get("ifd0", b""))
    data, found = joined.data, {"ifd0": joined.directories["ifd0"]}
    for name, part in parts.items():
        other = exif_directories(part)
        if name == "ifd0" or other.order != joined.order:
            continue
        moved = {
            tag: Entry(e.kind, e.count, e.at + len(data), e.length)
            for tag, e in other.directories["ifd0"].entries.items()
        }
        found[name] = Directory(moved, 0)
        data += part
    return Exif(data, joined.order, joined.big, joined.first, found)


def tile_offsets(data: bytes) -> frozenset[int]:
    """Return where the tiles of a TIFF file begin, and strips where a page has several.

    Raises:
        Damaged: if it is no TIFF file.
    """
    layout = _layout(data)
    found: set[int] = set()
    pending, seen = [layout.first], set[int]()
    while pending and len(seen) < _MAX_SUB_IFDS:
        offset = pending.pop()
        if not offset or offset in seen:
            continue
        seen.add(offset)
        try:
            directory = _read(data, layout, offset)
        except Damaged:
            continue
        pending.append(directory.next)
        if (entry := directory.entries.get(330)) and entry.count <= 64:
            pending += _values(data, layout, entry)
        for tag in (273, 324):
            entry = directory.entries.get(tag)
            if entry and (tag == 324 or entry.count > 1) and entry.count <= _MAX_STRIPS:
                found.update(_values(data, layout, entry))
    return frozenset(found)


def walk_tiff(notes: Notes) -> None:
    """List the metadata blocks and the pages of one TIFF file."""
    data = notes.data
    layout = _layout(data)
    notes.add("exif", 0, len(data), data)  # the file is its own EXIF structure
    seen: set[int] = set()
    offset = layout.first
    notes.frames = 0
    raw = False
    while offset and offset not in seen:
        if len(seen) >= _MAX_IFDS:
            raise Damaged(f"more than {_MAX_IFDS:,} pages; the rest was not looked at")
        seen.add(offset)
        try:
            directory = _read(data, layout, offset)
        except Damaged as err:
            raise notes.cut(str(err)) from None
        notes.step(1 + len(directory.entries))
        if not notes.frames:
            _first_page(notes, layout, directory)
        notes.frames += 1
        for tag, kind in _KINDS.items():
            if entry := directory.entries.get(tag):
                payload = data[entry.at : entry.at + min(entry.length, notes.max_block_bytes)]
                notes.add(kind, entry.at, entry.length, payload)
        raw = raw or _is_raw(notes, layout, directory, seen)
        offset = directory.next
    if raw and notes.format == "tiff":
        notes.format = "raw"
    elif offset in seen:
        notes.flaw("its pages form a loop")


def _first_page(notes: Notes, layout: _Layout, directory: Directory) -> None:
    def value(tag: int, default: int = 0) -> int:
        entry = directory.entries.get(tag)
        found = _integer(notes.data, layout.order, entry) if entry else None
        return default if found is None else found

    notes.width, notes.height = value(256), value(257)
    notes.bit_depth = value(258, 1)
    if 50706 in directory.entries:  # DNGVersion
        notes.format = "dng"
    _strips(notes, layout, directory)


def _strips(notes: Notes, layout: _Layout, directory: Directory) -> None:
    """Note a file that ends before the last strip or tile that it names."""
    for places, lengths in ((273, 279), (324, 325)):
        at, size = directory.entries.get(places), directory.entries.get(lengths)
        if not at or not size or not 0 < at.count == size.count <= _MAX_STRIPS:
            continue
        notes.step(at.count // 64)
        ends = [
            start + length
            for start, length in zip(
                _values(notes.data, layout, at), _values(notes.data, layout, size), strict=False
            )
        ]
        if ends and (last := max(ends)) > len(notes.data):
            notes.truncated, notes.expected_bytes = True, last
            notes.flaw(f"ends before its picture data does, which reaches byte {last:,}")


def _values(data: bytes, layout: _Layout, entry: Entry) -> tuple[int, ...]:
    letter = _INTEGERS.get(entry.kind)
    if letter is None:
        return ()
    return struct.unpack_from(f"{layout.order}{entry.count}{letter}", data, entry.at)


def _is_raw(notes: Notes, layout: _Layout, directory: Directory, seen: set[int]) -> bool:
    """Tell whether a directory or one of its sub-directories holds a sensor's mosaic."""
    pending = [directory]
    if entry := directory.entries.get(330):
        for offset in _values(notes.data, layout, entry)[:64]:
            if offset not in seen:
                try:
                    pending.append(_read(notes.data, layout, offset))
                except Damaged:
                    continue
    for item in pending:
        notes.step(len(item.entries) // 16)
        if found := item.entries.get(262):
            value = _integer(notes.data, layout.order, found)
            if value in (_CFA, _LINEAR_RAW):
                return True
    return False
