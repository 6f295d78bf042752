"""Walk the segments of a JPEG, with its further pictures, for metadata.

Sources: ITU-T T.81 annex B; CIPA DC-007 (MPF); EXIF 2.32 §4.7.2 (FlashPix segments); XMP part 3 for
where packets live.
"""

import struct
from collections.abc import Iterator

from counterproof.blocks import Block, Damaged, Notes, note_trailer

__all__ = ["EXIF_START", "XMP_START", "mpf_entries", "walk_jpeg"]

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CODINGS = {
    0xC0: "baseline",
    0xC1: "extended",
    0xC2: "progressive",
    0xC3: "lossless",
    0xC9: "arithmetic",
    0xCA: "arithmetic",
    0xCB: "lossless",
}
EXIF_START = b"Exif\0\0"
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_JPEG_APPS: dict[int, tuple[tuple[bytes, str], ...]] = {
    0xE1: ((EXIF_START, "exif"), (XMP_START, "xmp"), (_XMP_EXTENDED, "xmp_extended")),
    0xE2: ((b"ICC_PROFILE\0", "icc"), (b"MPF\0", "mpf"), (b"FPXR\0", "flashpix")),
    0xEB: ((b"JP", "c2pa"),),
    0xED: ((b"Photoshop 3.0\0", "iptc"),),
    0xFE: ((b"", "comment"),),
}


def walk_jpeg(notes: Notes) -> None:
    """List the metadata blocks of a JPEG, and its further pictures."""
    data = notes.data
    at, end = 2, len(data)
    notes.frames = 1
    while True:
        notes.step()
        if at + 4 > end:
            raise notes.cut(f"truncated after {end:,} bytes, before the picture data")
        if data[at] != 0xFF:
            # decoders skip to the next marker, and so do we
            notes.flaw(f"expected a marker at byte {at:,}")
            at = _next_marker(data, at)
            if at < 0:
                raise Damaged(notes.damage)
            continue
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if marker == 0xDA:
            break
        if marker == 0xD9:
            raise notes.cut("ends before the picture data")
        length = (data[at + 2] << 8) | data[at + 3]
        if length < 2:
            raise Damaged(f"segment at byte {at:,} has an impossible length")
        if at + 2 + length > end:
            raise notes.cut(f"segment at byte {at:,} reaches past the end", at + 2 + length)
        if marker in _SOF and not notes.coding:
            _frame_header(notes, at, marker)
        for signature, kind in _JPEG_APPS.get(marker, ()):
            if data.startswith(signature, at + 4):
                start = at + 4 + len(signature)
                notes.add(kind, at, length + 2, data[start : at + 2 + length])
                break
        at += 2 + length
    further = _mpf(notes)
    if data.endswith(b"\xff\xd9") or data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return
    first = data.find(b"\xff\xd9", at)
    if first < 0:
        raise notes.cut(f"truncated after {end:,} bytes, before the end of the picture")
    stop = max([first + 2, *further])
    if stop > end:
        raise notes.cut(f"truncated after {end:,} bytes, inside a further picture", stop)
    note_trailer(notes, stop)


def _next_marker(data: bytes, at: int) -> int:
    """Return where the next marker begins, or -1."""
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        if data[at + 1] not in (0x00, 0xFF):
            return at
        at += 1
    return -1


def _frame_header(notes: Notes, at: int, marker: int) -> None:
    depth, height, width, count = struct.unpack_from(">BHHB", notes.data, at + 4)
    notes.coding = _CODINGS.get(marker, "hierarchical")
    notes.width, notes.height, notes.bit_depth = width, height, depth
    notes.mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(count, "")
    factors = [notes.data[at + 11 + 3 * index] for index in range(count)]
    across = max((factor >> 4 for factor in factors), default=1) or 1
    down = max((factor & 15 for factor in factors), default=1) or 1
    if notes.coding in ("progressive", "arithmetic"):
        area = sum((factor >> 4) * (factor & 15) for factor in factors)
        notes.coded_samples = width * height * area // (across * down)


_MP_ENTRIES = 0xB002  # the tag that lists the pictures
_MPF_PLANES = {0x010001: "preview", 0x010002: "preview", 0x020001: "panorama"}
_MPF_PLANES |= {0x020002: "disparity", 0x020003: "view"}


def mpf_entries(index: Block) -> Iterator[tuple[int, int, int]]:
    """Yield type, start and length in the file of each picture but the first of an MPF index.

    Raises:
        struct.error: where the index is cut off or defective.

    Source: CIPA DC-007 §5.2.3.3.
    """
    data, base = index.data, index.offset + 8  # offsets count from the TIFF header in the segment
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    for place in range(at + 2, at + 2 + 12 * min(count, 16), 12):
        tag, _, number, where = struct.unpack_from(order + "HHII", data, place)
        if tag != _MP_ENTRIES:
            continue
        for entry in range(where, where + min(number, 4096), 16):
            kind, length, offset = struct.unpack_from(order + "III", data, entry)
            if offset:  # the first picture has none
                yield kind & 0xFFFFFF, base + offset, length


def _mpf(notes: Notes) -> list[int]:
    """Note the further pictures of a multi-picture file; return where each of them ends."""
    block = next((item for item in notes.blocks if item.kind == "mpf"), None)
    if block is None or len(block.data) < 10:
        return []
    ends: list[int] = []
    try:
        for kind, start, length in mpf_entries(block):
            ends.append(start + length)
            notes.planes.append(_plane(notes, kind, start))
    except struct.error:
        notes.flaw("its index of further pictures is defective")
    return ends


def _plane(notes: Notes, kind: int, at: int) -> str:
    """Name one further picture: by its type, else by what its own metadata says."""
    if name := _MPF_PLANES.get(kind):
        return name
    head = notes.data[at : at + 16_384].lower()
    if b"hdrgm:" in head or b"hdrgainmap" in head or b"urn:iso:std:iso:ts:21496" in head:
        return "gain_map"
    return "depth" if b"depth" in head else "view"
