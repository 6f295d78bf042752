"""What a file holds beside its picture: bytes behind the end, and small pictures inside.

A program that overwrites a longer file without cutting it leaves the rest of the old picture
behind the end of the new one; small views made before a crop show what the crop took away.

Sources: JPEG ITU-T T.81 annex B; PNG third edition §5; Photoshop file format (resource
0x040C); XMP part 2 §1.2.2.3 (thumbnails); CVE-2023-21036 for remains of cropped pictures.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterproof.audit.metadata_fields import photoshop_resource

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["Remains", "Small", "jpeg_end", "remains", "small_pictures"]

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
    """A small picture inside the metadata: `exif`, `photoshop` or `xmp`, and its JPEG."""

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
    found = image.blocks("trailer")
    return found[0].offset if found else 0


def _holds_picture(rest: bytes) -> bool:
    """Tell whether remains hold picture data: a picture's start, or its end without a start."""
    if b"\xff\xd8\xff" in rest or b"\x89PNG\r\n\x1a\n" in rest or b"ftypheic" in rest:
        return True
    tail = rest.rstrip(b"\0")
    if tail.endswith(b"\xff\xd9"):
        return rest.count(b"\xff\x00") >= 4 or len(rest) > 256
    return b"IDAT" in rest or tail.endswith(b"IEND\xaeB`\x82")


def small_pictures(image: "ImageFile") -> list[Small]:
    """Return the small views of the picture that its metadata holds, JPEG each."""
    found: list[Small] = []
    if image.exif_directories and (data := image.exif_directories.thumbnail()):
        found.append(Small("exif", data))
    for block in image.blocks("iptc"):
        for number in (0x040C,):
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
    return found
