"""What a file holds beside its picture: bytes behind the end, and small pictures inside.

A program that overwrites a longer file without cutting it leaves the rest of the old picture
behind the end of the new one; small views made before a crop show what the crop took away.

Sources: JPEG ITU-T T.81 annex B; PNG third edition §5; Photoshop file format (resource
0x040C); XMP part 2 §1.2.2.3 (thumbnails); CVE-2023-21036 for remains of cropped pictures.
"""

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from counterproof.audit.metadata_fields import photoshop_resource
from counterproof.audit.strip_bmff import thumbnails, unknown_from
from counterproof.jpeg_container import mpf_entries

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = [
    "Remains",
    "Small",
    "further_pictures",
    "jpeg_end",
    "jpegs_in",
    "remains",
    "small_pictures",
]

_MAX_SMALL = 24
_MAX_JPEG = 8 * 2**20
_MIN_JPEG = 200  # a JPEG of one pixel; shorter runs only look like one
_PHOTOSHOP_THUMBNAILS = (0x040C, 0x0409)  # the second, of version 4, swaps red and blue
_MPF_PREVIEWS = (0x010001, 0x010002)  # "large thumbnail", for a screen of VGA or full HD
_MAX_XMP_IMAGE = 4 * 2**20
_XMP_IMAGE = re.compile(
    rb"(?:xmpGImg|xapGImg|GImage):image\s*(?:=\s*[\"']|>)([A-Za-z0-9+/=&#xA;\s]+)"
)


@dataclass(frozen=True, slots=True)
class Remains:
    """Bytes behind the end of a picture that belong to nothing the file names.

    Attributes:
        offset: where they begin.
        length: in bytes.
        picture: whether they hold coded picture data, so that something may be recovered.
    """

    offset: int
    length: int
    picture: bool


@dataclass(frozen=True, slots=True)
class Small:
    """A small picture as a file; from `exif`, `makernote`, `xmp`, `item` … as named below."""

    where: str
    data: bytes


def jpeg_end(data: bytes) -> int:
    """Return where the first picture of a JPEG file ends, behind its end marker; 0 if nowhere.

    Follows segments by their lengths and scans by their markers, so that an end marker inside a
    thumbnail is not taken for the picture's.
    """
    at, end = 2, len(data)
    while 0 <= at < end - 1:
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
            continue
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if at + 4 > end:
            return 0
        at += 2 + ((data[at + 2] << 8) | data[at + 3])
        if marker == 0xDA:  # the scan's data: up to the next marker that is none of its own
            while 0 <= (at := data.find(b"\xff", at)) < end - 1:
                if data[at + 1] not in (0x00, 0xFF) and not 0xD0 <= data[at + 1] <= 0xD7:
                    break
                at += 1
    return 0


def remains(image: "ImageFile") -> Remains | None:
    """Find what lies behind the end of a picture; None for nothing, or for padding.

    Further pictures that a multi-picture index names are no remains.
    """
    data = image.data
    if image.format == "jpeg":
        start = jpeg_end(data)
        if not start or image.blocks("mpf"):
            start = _behind_named(image)
    else:
        start = _behind_named(image)
    if not start:
        return None
    rest = data[start:]
    if not rest.strip(b"\0\xff\r\n "):
        return None
    return Remains(start, len(rest), _holds_picture(rest))


def _behind_named(image: "ImageFile") -> int:
    if image.format in ("avif", "heic", "heif"):
        return unknown_from(image.data)
    found = image.blocks("trailer")
    return found[0].offset if found else 0


def _holds_picture(rest: bytes) -> bool:
    """Tell whether remains hold picture data: a picture's start, or its end without a start."""
    if b"\xff\xd8\xff" in rest or b"\x89PNG\r\n\x1a\n" in rest or b"ftypheic" in rest:
        return True
    if rest[4:8] == b"mpvd" or b"ftypmp4" in rest[:256]:
        return True  # the film of a motion photo
    tail = rest.rstrip(b"\0")
    if tail.endswith(b"\xff\xd9"):
        return rest.count(b"\xff\x00") >= 4 or len(rest) > 256
    return b"IDAT" in rest or tail.endswith(b"IEND\xaeB`\x82")


def small_pictures(image: "ImageFile") -> list[Small]:
    """Return the small views of the picture that the file holds, at most 24.

    EXIF thumbnails, previews in makers' notes, Photoshop's and XMP's thumbnails, previews of
    multi-picture files and of FlashPix segments, thumbnails of HEIC and AVIF.
    """
    found: list[Small] = []
    thumbnail = image.exif_directories.thumbnail() if image.exif_directories else b""
    if thumbnail:
        found.append(Small("exif", thumbnail))
    if image.format not in ("tiff", "dng", "raw"):  # there EXIF is the whole file
        notes = image.exif_data.replace(thumbnail, b"") if thumbnail else image.exif_data
        found += [Small("makernote", data) for data in jpegs_in(notes)]
    for block in image.blocks("iptc"):
        for number in _PHOTOSHOP_THUMBNAILS:
            resource = photoshop_resource(block.data, number)
            if resource[28:30] == b"\xff\xd8":
                found.append(Small("photoshop", resource[28:]))
    for block in image.blocks("xmp", "xmp_extended"):
        for match in _XMP_IMAGE.finditer(block.data[:_MAX_XMP_IMAGE]):
            text = re.sub(rb"&#x[Aa];|\s", b"", match[1])
            try:
                data = base64.b64decode(text)
            except binascii.Error:
                continue
            if data[:2] == b"\xff\xd8":
                found.append(Small("xmp", data))
    found += [Small("mpf", data) for kind, data in further_pictures(image) if kind in _MPF_PREVIEWS]
    found += [Small("flashpix", data) for data in jpegs_in(_flashpix(image))]
    if image.format in ("avif", "heic", "heif"):
        found += [Small("item", data) for data in thumbnails(image.data)]
    return found[:_MAX_SMALL]


def _flashpix(image: "ImageFile") -> bytes:
    """Join the streams that FlashPix segments carry: cameras put a larger preview there.

    Source: EXIF 2.32 §4.7.2: version, type (2 for a piece of a stream), its number, its offset.
    """
    pieces = [block.data for block in image.blocks("flashpix") if block.data[1:2] == b"\x02"]
    return b"".join(piece[8:] for piece in sorted(pieces, key=lambda piece: piece[2:8]))


def jpegs_in(data: bytes) -> list[bytes]:
    """Return the JPEG files that lie whole in some bytes, one inside another not counted."""
    found: list[bytes] = []
    at = data.find(b"\xff\xd8\xff")
    for _ in range(4 * _MAX_SMALL):
        if at < 0 or len(found) >= _MAX_SMALL:
            break
        length = jpeg_end(data[at : at + _MAX_JPEG])
        if length > _MIN_JPEG:
            found.append(data[at : at + length])
        at = data.find(b"\xff\xd8\xff", at + max(length, 3))
    return found


def further_pictures(image: "ImageFile") -> list[tuple[int, bytes]]:
    """Return type and bytes of each further picture that a multi-picture index names."""
    found: list[tuple[int, bytes]] = []
    index = next(iter(image.blocks("mpf")), None)
    if index is None:
        return found
    try:
        for kind, start, length in islice(mpf_entries(index), _MAX_SMALL):
            picture = image.data[start : start + length]
            if picture[:2] == b"\xff\xd8":
                found.append((kind, picture))
    except struct.error:
        return found
    return found
