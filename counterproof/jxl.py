"""Walk JPEG XL files: size and orientation from the codestream, metadata from the boxes.

Sources: ISO/IEC 18181-1 annex D (size and image metadata headers), 18181-2 (boxes).
"""

from counterproof.blocks import Notes
from counterproof.bmff import boxes, walk_bmff

__all__ = ["walk_jxl"]

_HEADER_BYTES = 64
# width as a multiple of height, by the three bits that follow the height
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIZE_BITS = (9, 13, 18, 30)


def walk_jxl(notes: Notes) -> None:
    """List the metadata blocks of one JPEG XL file, and what its codestream says of it."""
    data = notes.data
    stream = data[:_HEADER_BYTES]
    notes.orientation = 1
    if data[4:8] == b"JXL ":
        walk_bmff(notes)
        stream, packed = b"", False
        for name, _, body, stop in boxes(notes, 0, len(data)):
            if name in (b"jxlc", b"jxlp") and len(stream) < _HEADER_BYTES:
                start = body + (4 if name == b"jxlp" else 0)
                stream += data[start : min(stop, start + _HEADER_BYTES)]
            packed = packed or name == b"brob"
        if packed:
            notes.flaw("its compressed metadata are not read")
    if stream[:2] == b"\xff\x0a" and len(stream) > 4:
        _header(notes, stream[2:])
    elif not notes.damage:
        raise notes.cut(f"truncated after {len(data):,} bytes, before the picture data")


def _header(notes: Notes, stream: bytes) -> None:
    value, at = int.from_bytes(stream, "little"), 0

    def bits(count: int) -> int:
        nonlocal at
        found = value >> at & ((1 << count) - 1)
        at += count
        return found

    small = bits(1)

    def side() -> int:
        return 8 * (bits(5) + 1) if small else bits(_SIZE_BITS[bits(2)]) + 1

    notes.height = side()
    if ratio := bits(3):
        over, under = _RATIOS[ratio]
        notes.width = notes.height * over // under
    else:
        notes.width = side()
    if not bits(1) and bits(1):  # not all defaults, and extra fields
        notes.orientation = bits(3) + 1
