"""The order in which a JPEG's parts stand before its picture data, and the tables in them.

Standards leave both to the writer, so they differ between cameras and programs, and a program that
saves a picture again puts its own in place of those that were there. Nothing is decoded; the walk
ends at the first scan and never leaves the bytes in hand.

Sources: ITU-T T.81 annex B (segments), annex K.3 (typical Huffman tables); JFIF 1.02; Exif 2.32
§4.5.5 (APP1 stands right behind the start of image); resource 0x0406 and segment `Ducky` as
ExifTool's `Photoshop.pm` and `APP12.pm` describe them.
"""

import struct
from dataclasses import dataclass, field

__all__ = ["JpegStructure", "read_structure"]

_MAX_SEGMENTS = 4096
_SCAN, _END = 0xDA, 0xD9
_TABLES, _HUFFMAN, _INTERVAL, _COMMENT = 0xDB, 0xC4, 0xDD, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NAMES = ((b"JFIF\0", "JFIF"), (b"Exif\0\0", "Exif"), (b"Adobe", "Adobe"))

# T.81 tables K.3 to K.6, each as its 16 counts and its values.
_DC_LUMA = bytes.fromhex("00010501010101010100000000000000") + bytes(range(12))
_DC_CHROMA = bytes.fromhex("00030101010101010101010000000000") + bytes(range(12))
_AC_LUMA = bytes.fromhex(
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282"
    "090a161718191a25262728292a3435363738393a434445464748494a535455565758595a"
    "636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4"
    "a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3"
    "e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA = bytes.fromhex(
    "00020102040403040705040400010277"
    "0001020311040521310612415107617113223281081442 91a1b1c109233352f0156272d10a"
    "162434e125f11718191a262728292a35363738393a434445464748494a53545556575859"
    "5a636465666768696a737475767778797a82838485868788898a92939495969798999aa2"
    "a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2"
    "e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa".replace(" ", "")
)
_STANDARD = {0x00: _DC_LUMA, 0x01: _DC_CHROMA, 0x10: _AC_LUMA, 0x11: _AC_CHROMA}


@dataclass(slots=True)
class JpegStructure:
    """What stands before the first scan.

    Attributes:
        first: the first segment: `JFIF`, `Exif`, `Adobe`, `APP` (another), or empty for none.
        layout: tables, frame, interval and Adobe's segment in their order, as
            `DQT2 SOF0 DHT4`: a number behind DQT and DHT counts the tables in that segment.
        tables: quantisation steps by table number, 64 each in the order of the zigzag.
        sampling: factors of each component in hexadecimal, such as `22,11,11`.
        standard_huffman: whether all Huffman tables are the typical ones of the standard.
        jfif: version, as 0x0101; 0 without that segment.
        photoshop_quality: 0 to 12, as Photoshop notes it; None without it.
        web_quality: 0 to 100, as *Save for Web* notes it; None without it.
        comment: the first comment, at most 64 bytes.
    """

    first: str = ""
    layout: str = ""
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sampling: str = ""
    standard_huffman: bool = True
    jfif: int = 0
    photoshop_quality: int | None = None
    web_quality: int | None = None
    comment: bytes = b""

    @property
    def planes(self) -> int:
        """How many components the frame has; 0 without a frame."""
        return self.sampling.count(",") + 1 if self.sampling else 0


def read_structure(data: bytes) -> JpegStructure | None:
    """Read what stands before the first scan; None if it is no JPEG or defective there."""
    found, parts = JpegStructure(), []
    try:
        for marker, body in _segments(data):
            part = _read(found, marker, body)
            if not found.first:
                found.first = part if part in ("JFIF", "Exif", "Adobe") else "APP"
            if part.startswith(("DQT", "DHT", "SOF", "DRI", "Adobe")):
                parts.append(part)
    except (struct.error, IndexError):
        return None
    found.layout = " ".join(parts)
    return found if found.sampling else None


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Return marker and body of each segment before the first scan.

    Raises:
        IndexError: if there is no such scan, or something else than segments before it.
    """
    at = 2
    found: list[tuple[int, bytes]] = []
    if data[:2] != b"\xff\xd8":
        raise IndexError
    while len(found) < _MAX_SEGMENTS:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        marker, length = data[at + 1], (data[at + 2] << 8) | data[at + 3]
        if data[at] != 0xFF or marker == _END or length < 2 or at + 2 + length > len(data):
            raise IndexError
        if marker == _SCAN:
            return found
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    raise IndexError


def _read(found: JpegStructure, marker: int, body: bytes) -> str:
    """Note what one segment holds; return its name."""
    if marker == _TABLES:
        return f"DQT{_quantisation(found, body)}"
    if marker == _HUFFMAN:
        return f"DHT{_huffman(found, body)}"
    if marker == _INTERVAL:
        return "DRI"
    if marker == _COMMENT:
        found.comment = found.comment or body[:64]
        return "COM"
    if marker in _FRAMES:
        found.sampling = ",".join(f"{body[7 + 3 * index]:02x}" for index in range(body[5]))
        return f"SOF{marker - 0xC0}"
    if marker == 0xE0 and body.startswith(b"JFIF\0"):
        (found.jfif,) = struct.unpack_from(">H", body, 5)
    elif marker == 0xEC and body.startswith(b"Ducky"):
        tag, length, value = struct.unpack_from(">HHI", body, 5)
        found.web_quality = value if (tag, length) == (1, 4) and value <= 100 else None
    elif marker == 0xED and (at := body.find(b"8BIM\x04\x06")) >= 0:
        name = 1 + body[at + 6]  # of the resource, padded to an even length
        (level,) = struct.unpack_from(">h", body, at + 10 + name + (name & 1))
        found.photoshop_quality = level + 4 if -4 <= level <= 8 else None
    return next((name for start, name in _NAMES if body.startswith(start)), f"APP{marker & 15}")


def _quantisation(found: JpegStructure, body: bytes) -> int:
    at, count = 0, 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        steps = struct.unpack_from(">64H" if wide else ">64B", body, at + 1)
        found.tables[number] = steps
        at += 129 if wide else 65
        count += 1
    return count


def _huffman(found: JpegStructure, body: bytes) -> int:
    at, count = 0, 0
    while at < len(body):
        size = 16 + sum(body[at + 1 : at + 17])
        if body[at + 1 : at + 1 + size] != _STANDARD.get(body[at]):
            found.standard_huffman = False
        at += 1 + size
        count += 1
    return count
