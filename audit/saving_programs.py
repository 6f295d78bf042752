"""Which program, or which maker's cameras, lay a file out as this one is laid out.

A JPEG's order of parts and its tables, and the sizes of a PNG's chunks, are the writer's choice.
The tables below hold what was seen, with how often; docs/benchmarks.md, "Who saved a file last",
has the sets. What is not among them has no answer.

Sources: quality of the Independent JPEG Group's library: ITU-T T.81 annex K.1, K.2 and `jcparam.c`
of libjpeg 6b (`jpeg_quality_scaling`); program and camera layouts: files that name their writer,
counted on 2026-11-29; that libjpeg begins with JFIF and writes one table a segment: `jcmarker.c`.
"""

import functools
import re
import struct
from dataclasses import dataclass

from counterproof.jpeg_structure import JpegStructure

__all__ = ["CAMERAS", "Program", "camera_files", "jpeg_program", "library_quality", "png_program"]

# T.81 tables K.1 and K.2, in rows.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


@dataclass(frozen=True, slots=True)
class Program:
    """What a file's structure tells of the program that wrote it.

    Attributes:
        name: `libjpeg`, `imageio`, `photoshop`, `lightroom`, `adobe` (one of them or another of
            that house), `mozjpeg`, `lavc`; of a PNG `libpng`, `pillow`, `imageio`, `gdiplus`. The
            catalogue has each as `saver.<name>`.
        quality: as the program counts it, where the tables tell; else None.
    """

    name: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One layout of one maker's cameras.

    Attributes:
        make: what EXIF's Make begins with, in capitals.
        layout: as in `JpegStructure.layout`.
        library_tables: whether the tables are those of the IJG's library at some quality.
        files: how many files of that make had it.
        models: of how many models.
    """

    make: str
    layout: str
    library_tables: bool
    files: int
    models: int


CAMERAS = (
    Seen("APPLE", "DQT2 DRI SOF0 DHT4", False, 34, 6),
    Seen("CANON", "DQT2 SOF0 DHT4", False, 18, 5),
    Seen("CANON", "DHT4 DQT2 SOF0", False, 1, 1),
    Seen("CASIO", "DQT2 DHT4 SOF0", False, 12, 2),
    Seen("CASIO", "DQT2 DHT4 SOF0", True, 1, 1),
    Seen("CASIO", "DQT2 SOF0 DHT4", False, 6, 2),
    Seen("FUJIFILM", "DQT3 DRI SOF0 DHT4", False, 8, 3),
    Seen("MINOLTA", "DQT3 DHT4 SOF0", False, 1, 1),
    Seen("NIKON", "DQT2 SOF0 DHT4", False, 104, 6),
    Seen("NIKON", "DQT3 DHT4 SOF0", False, 4, 1),
    Seen("OLYMPUS", "DQT2 SOF0 DHT4 DRI", False, 2, 2),
    Seen("OLYMPUS", "DQT3 DHT4 DRI SOF0", False, 2, 1),
    Seen("SONY", "DQT2 DHT4 SOF0", False, 24, 4),
    Seen("SONY", "DQT2 DHT4 SOF0", True, 10, 3),
)
"""What was seen in files whose metadata agree that a camera wrote them, size and time included.

Left out: layouts that programs have as well, where the tables are the library's. Go's encoder
(`image/jpeg/writer.go`) writes `DQT2 SOF0 DHT4`, and whatever puts EXIF in front of a file of
libjpeg's writes the layout of many phones.
"""

_LIBJPEG = re.compile(r"(Adobe )?(DQT1 )+(SOF0( DHT1)+|SOF2( DHT1)*)( DRI)?")
_MOZJPEG = re.compile(r"DQT2 SOF2( DHT\d)+")
_IMAGEIO = re.compile(r"SOF[02]( DHT1)+( DQT1)+( DRI)?")
_PHOTOSHOP = re.compile(r"Adobe DQT[12] SOF[02]( DRI)?( DHT\d)+")
_LIGHTROOM = re.compile(r"DQT2 DRI Adobe SOF0 DHT4")


def jpeg_program(found: JpegStructure) -> Program | None:
    """Name the program that lays a JPEG out as this one; None where none of those known does.

    libjpeg is named only where it begins as that library does by itself, with JFIF, and has its
    tables: with other tables the picture may have been rewritten without coding it anew.
    """
    if _LIGHTROOM.fullmatch(found.layout):
        return Program("lightroom")
    if _PHOTOSHOP.fullmatch(found.layout):
        if found.web_quality is not None:
            return Program("photoshop", found.web_quality)
        if found.photoshop_quality is not None:
            return Program("photoshop", found.photoshop_quality)
        return Program("adobe")
    if found.comment.startswith((b"Lavc", b"Lavf")) and found.first != "Exif":
        return Program("lavc")
    if _IMAGEIO.fullmatch(found.layout):
        return Program("imageio")
    if found.first != "JFIF":
        return None
    if _MOZJPEG.fullmatch(found.layout) and not found.standard_huffman:
        return Program("mozjpeg")
    quality = library_quality(found)
    if quality is not None and _LIBJPEG.fullmatch(found.layout):
        return Program("libjpeg", quality)
    return None


def camera_files(found: JpegStructure, make: str) -> Seen | None:
    """Return what was seen of this maker's cameras, if this file is laid out and coded so."""
    if found.first != "Exif" or not found.standard_huffman or found.comment:
        return None
    library = library_quality(found) is not None
    for seen in CAMERAS:
        if (
            make.upper().startswith(seen.make)
            and found.layout == seen.layout
            and library is seen.library_tables
        ):
            return seen
    return None


def library_quality(found: JpegStructure) -> int | None:
    """Return the IJG quality, 1 to 100, that gives all the tables; None if none does."""
    if set(found.tables) not in ({0}, {0, 1}):
        return None
    return _library_tables().get(tuple(found.tables[number] for number in sorted(found.tables)))


@functools.cache
def _library_tables() -> dict[tuple[tuple[int, ...], ...], int]:
    """Return luma alone, and luma with chroma, in zigzag order → quality."""
    order = _zigzag()
    found: dict[tuple[tuple[int, ...], ...], int] = {}
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        luma = tuple(_scaled(_LUMA[place], scale) for place in order)
        chroma = tuple(_scaled(_CHROMA[place], scale) for place in order)
        found[(luma,)] = found[(luma, chroma)] = quality
    return found


def _scaled(step: int, percent: int) -> int:
    return min(255, max(1, (step * percent + 50) // 100))


def _zigzag() -> list[int]:
    """Return the place in rows of each step in zigzag order (T.81 figure A.6)."""
    places = [(row, column) for row in range(8) for column in range(8)]
    places.sort(key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
    return [8 * row + column for row, column in places]


_CHUNK = struct.Struct(">I4s")
_MAX_CHUNKS = 1000
_FULL = {8192: "libpng", 65536: "pillow"}  # default sizes of a full IDAT chunk


def png_program(data: bytes) -> Program | None:
    """Name the program that parts a PNG's pixels as this one; None where none known does.

    The size of full chunks shows only in a picture that needs more than one.
    """
    at = 8
    names: list[bytes] = []
    sizes: list[int] = []
    while at + 12 <= len(data) and len(names) < _MAX_CHUNKS and len(sizes) < 3:
        length, name = _CHUNK.unpack_from(data, at)
        if name == b"IDAT":
            sizes.append(length)
        elif sizes:
            break
        else:
            names.append(name)
        at += 12 + length
    if b"iDOT" in names:
        return Program("imageio")
    if len(sizes) < 2 or (len(sizes) > 2 and sizes[0] != sizes[1]):
        return None
    if sizes[0] == 65445 and names[1:4] == [b"sRGB", b"gAMA", b"pHYs"]:
        return Program("gdiplus")
    full = _FULL.get(sizes[0], "")
    return Program(full) if full else None
