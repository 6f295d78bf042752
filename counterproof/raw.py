"""Camera raw files: the preview that the camera stored in them, and where their metadata lies.

The sensor's data are not developed: two programs would make two pictures of them. What is looked
at is the largest JPEG in the file, which is what the camera's own screen showed. It is found by
its marks, in raw files of every maker, whether or not their directories are known.

Sources: JPEG ITU-T T.81 annex B; DNG 1.7; Canon CR3 as github.com/lclevy/canon_cr3
describes it: the `uuid` box with CMT1, CMT2 and CMT4; Fujifilm RAF as exiftool reads it: offset and
length of the preview at bytes 84 and 88.
"""

import struct
from dataclasses import dataclass

from counterproof.blocks import Damaged, Notes
from counterproof.bmff import XMP_UUID, boxes
from counterproof.tiff import tile_offsets, walk_tiff

__all__ = ["Preview", "find_preview", "walk_raw"]

CANON_UUID = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_CANON_BLOCKS = {b"CMT1": "ifd0", b"CMT2": "exif", b"CMT4": "gps"}
_FUJI = b"FUJIFILMCCD-RAW"
_SHOWN = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; raw data are often lossless JPEG
_MAX_CANDIDATES = 64
_MAX_SEGMENTS = 200
_MIN_SIDE = 32


@dataclass(frozen=True, slots=True)
class Preview:
    """A JPEG inside a raw file.

    Attributes:
        offset: in the file, in bytes.
        length: in bytes.
        width: in pixels, as stored.
        height: in pixels, as stored.
    """

    offset: int
    length: int
    width: int
    height: int


def find_preview(data: bytes) -> Preview | None:
    """Find the largest JPEG in a raw file, by pixels; None if there is none.

    Tiles of compressed raw data are passed over. At most 64 places are looked at.
    """
    tiles = _tiles(data)
    best: Preview | None = None
    at = data.find(b"\xff\xd8\xff")
    for _ in range(_MAX_CANDIDATES):
        if at < 0:
            break
        found = None if at in tiles else _jpeg_at(data, at)
        if found and (best is None or found.width * found.height > best.width * best.height):
            best = found
        at = data.find(b"\xff\xd8\xff", at + (found.length if found else 3))
    return best


def _tiles(data: bytes) -> frozenset[int]:
    try:
        return tile_offsets(data)
    except Damaged:
        return frozenset()


def _jpeg_at(data: bytes, start: int) -> Preview | None:
    """Read the headers of a JPEG; None if it is none that a picture reader shows."""
    at, width, height = start + 2, 0, 0
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        marker, length = data[at + 1], (data[at + 2] << 8) | data[at + 3]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            end = data.find(b"\xff\xd9", at)
            whole = min(width, height) >= _MIN_SIDE and end > 0
            return Preview(start, end + 2 - start, width, height) if whole else None
        if length < 2 or (0xC0 <= marker <= 0xCF and marker not in (*_SHOWN, 0xC4, 0xC8, 0xCC)):
            return None
        if marker in _SHOWN:
            if at + 9 > len(data) or data[at + 4] != 8:
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
        at += 2 + length
    return None


def walk_raw(notes: Notes) -> None:
    """List the metadata blocks of one raw file."""
    data = notes.data
    if data[4:8] == b"ftyp":
        _canon(notes)
    elif data.startswith(_FUJI):
        _fuji(notes)
    elif data[:2] in (b"II", b"MM") and data[:3] != b"II\x1a":  # Canon's CRW is no TIFF
        walk_tiff(notes)
    notes.format = "dng" if notes.format == "dng" else "raw"


def _canon(notes: Notes) -> None:
    data, limit = notes.data, notes.max_block_bytes
    for name, at, body, stop in boxes(notes, 0, len(data)):
        if name == b"uuid" and data[body : body + 16] == XMP_UUID:
            notes.add("xmp", at, stop - at, data[body + 16 : min(stop, body + 16 + limit)])
        elif name == b"moov":
            for inner, _, first, last in boxes(notes, body, stop):
                if inner == b"uuid" and data[first : first + 16] == CANON_UUID:
                    _canon_blocks(notes, first + 16, last)


def _canon_blocks(notes: Notes, start: int, end: int) -> None:
    data = notes.data
    for name, at, body, stop in boxes(notes, start, end):
        if key := _CANON_BLOCKS.get(name):
            payload = data[body : min(stop, body + notes.max_block_bytes)]
            notes.add("exif", at, stop - at, payload, key)


def _fuji(notes: Notes) -> None:
    """Take the metadata of the preview for those of the file."""
    from counterproof.containers import walk

    start, length = struct.unpack_from(">II", notes.data, 84)
    preview = notes.data[start : start + length]
    if preview[:2] != b"\xff\xd8":
        raise Damaged(f"no preview at byte {start:,}, where its header says")
    for block in walk(preview, notes.max_block_bytes).blocks:
        if block.kind != "trailer":
            notes.add(block.kind, start + block.offset, block.length, block.data, block.key)
