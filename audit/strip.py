"""Write a picture's file anew with its picture and nothing else that could lead to a person.

Kept: the coded picture byte for byte, colour profile, gamma, transparency, animation, orientation,
and the labels that say a model had a part in it. Everything else goes: EXIF, XMP, IPTC, texts,
comments, thumbnails, further pictures, the credential (`redact` signs anew), what lies behind the
end. A list of what stays cannot miss what a list of what goes would. TIFF is in `strip_tiff`, AVIF
and HEIC in `strip_bmff`.

Sources: JPEG ITU-T T.81 annex B, JFIF 1.02; PNG third edition §11; WebP RFC 9649; GIF89a §17-26;
EXIF 2.32 §4.5.5 (thumbnails).
"""

import struct
import zlib
from collections.abc import Callable

from counterproof.audit.embedded import jpeg_end
from counterproof.audit.strip_bmff import hides_part, strip_bmff
from counterproof.audit.strip_tiff import strip_tiff
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.provenance import aigc, label_writer
from counterproof.provenance.iptc import EXTENSION
from counterproof.provenance.texts import read_texts
from counterproof.provenance.xmp_bmff import Unfit
from counterproof.provenance.xmp_place import Unplaceable, place
from counterproof.xmp import Name, packets

__all__ = ["FORMATS", "check_format", "strip"]

FORMATS = ("jpeg", "png", "webp", "gif", "tiff", "avif", "heic", "heif")
"""Formats whose files are written anew."""

_KEPT_LABELS: tuple[Name, ...] = (
    (EXTENSION, "DigitalSourceType"),
    (EXTENSION, "AISystemUsed"),
    (EXTENSION, "AISystemVersionUsed"),
    (aigc.NAMESPACE, "AIGC"),
    (label_writer.PLUS, "DataMining"),
)
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT cICP mDCV cLLI bKGD pHYs "
    b"acTL fcTL fdAT".split()
)
_WEBP_KEPT = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_GIF_KEPT = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
_JFIF_HEAD = b"JFIF\0"


def check_format(image: ImageFile) -> None:
    """Check that a picture's file can be written anew.

    Raises:
        ImageError: `unsupported` for another format than those of `FORMATS`.
    """
    if image.format not in _WRITERS:
        what = image.format or "of no known format"
        raise ImageError(
            "unsupported",
            f"{image.name}: expected {', '.join(FORMATS)} to redact; the file is {what}; "
            "convert it first",
        )


def strip(image: ImageFile, source_type: str = "", thumbnail: bytes = b"") -> bytes:
    """Return the file with its picture, its labels of model work, and nothing else.

    Args:
        image: the picture, in one of `FORMATS`.
        source_type: last word of an IPTC digital source type to write where the file has none:
            what its other traces admitted.
        thumbnail: a JPEG of at most 60,000 bytes to put into the EXIF of a JPEG.

    Raises:
        ImageError: `unsupported` for another format, `damaged` where it cannot be followed.
    """
    check_format(image)
    writer = _WRITERS[image.format]
    try:
        data = _jpeg(image, thumbnail) if thumbnail else writer(image)
    except Unfit as err:
        raise ImageError(
            "unsupported", f"{image.name}: expected a still picture alone: {err}; convert it first"
        ) from err
    except (struct.error, IndexError, ValueError) as err:
        raise ImageError("damaged", f"{image.name}: its structure cannot be followed") from err
    labels = _labels(image)
    if source_type:
        labels[EXTENSION, "DigitalSourceType"] = label_writer.SOURCE_TYPES + source_type
    if labels:
        packet, _ = label_writer.merge(b"", labels)
        try:
            data = place(ImageFile.open(data, name=image.name, limits=image.limits), packet)
        except Unplaceable as err:
            raise ImageError(
                "unsupported",
                f"{image.name}: its label of model work finds no place in the copy ({err.reason}); "
                "convert it first",
            ) from err
    return data


def _labels(image: ImageFile) -> dict[Name, str]:
    """Read the labels that are kept, wherever the file has them."""
    found: dict[Name, str] = {}
    for packet in packets(image, [name.encode() for _, name in _KEPT_LABELS], _KEPT_LABELS):
        for name in _KEPT_LABELS:
            if values := packet.get(*name):
                found.setdefault(name, values[0])
    for text in read_texts(image):
        known = text.key == "AIGC" or (
            '"ContentProducer"' in text.value and '"Label"' in text.value
        )
        if known and text.value.startswith("{") and len(text.value) < 4096:
            found.setdefault((aigc.NAMESPACE, "AIGC"), text.value)
    return found


def _exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    """Return an EXIF block that holds the orientation, a thumbnail, and nothing else."""
    head = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    if not thumbnail:
        return head + b"\0" * 4
    first = 26 + 2 + 3 * 12 + 4
    tags = struct.pack("<HHIHH", 0x0103, 3, 1, 6, 0)  # JPEG
    tags += struct.pack("<HHII", 0x0201, 4, 1, first)
    tags += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    return head + struct.pack("<IH", 26, 3) + tags + b"\0" * 4 + thumbnail


def _jpeg(image: ImageFile, thumbnail: bytes = b"") -> bytes:
    data = image.data
    end = jpeg_end(data)
    if not end:
        raise ValueError("no end marker")
    parts, at = [b"\xff\xd8"], 2
    if image.orientation != 1 or thumbnail:
        body = b"Exif\0\0" + _exif(image.orientation, thumbnail)
        parts.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    while True:
        if data[at] != 0xFF:
            raise ValueError("expected a marker")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        stop = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        segment = data[at:stop]
        if marker == 0xE0 and segment[4:9] == _JFIF_HEAD and len(segment) >= 18:
            parts.append(b"\xff\xe0\0\x10" + segment[4:16] + b"\0\0")  # without its thumbnail
        elif _is_needed(marker, segment):
            parts.append(segment)
        at = stop
    return b"".join(parts) + data[at:end]


def _is_needed(marker: int, segment: bytes) -> bool:
    """Tell whether decoders need a segment: all but applications' own, and comments."""
    if marker == 0xE2:
        return segment[4:16] == b"ICC_PROFILE\0"
    if marker == 0xEE:
        return segment[4:9] == b"Adobe"
    return not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _png(image: ImageFile) -> bytes:
    data, parts, at = image.data, [image.data[:8]], 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        stop = at + 12 + length
        if stop > len(data):
            raise ValueError("reaches past the end")
        if name in _PNG_KEPT:
            parts.append(data[at:stop])
        if name == b"IHDR" and image.orientation != 1:
            body = b"eXIf" + _exif(image.orientation)
            size, check = struct.pack(">I", len(body) - 4), struct.pack(">I", zlib.crc32(body))
            parts.append(size + body + check)
        if name == b"IEND":
            return b"".join(parts)
        at = stop


def _webp(image: ImageFile) -> bytes:
    data, parts, at = image.data, [], 12
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        stop = at + 8 + length + (length & 1)
        if name == b"VP8X":
            body = bytearray(data[at:stop])
            body[8] &= ~0x0C  # no EXIF, no XMP
            if image.orientation != 1:
                body[8] |= 0x08
            parts.append(bytes(body))
        elif name in _WEBP_KEPT:
            parts.append(data[at:stop])
        at = stop
    if image.orientation != 1:
        block = _exif(image.orientation)
        parts.append(b"EXIF" + struct.pack("<I", len(block)) + block)
    body_ = b"".join(parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body_)) + b"WEBP" + body_


def _gif(image: ImageFile) -> bytes:
    data = image.data
    at = 13 + ((3 << ((data[10] & 7) + 1)) if data[10] & 0x80 else 0)
    parts = [data[:at]]
    while data[at] != 0x3B:
        start = at
        if data[at] == 0x21:
            label, at = data[at + 1], _behind_blocks(data, at + 2)
            kept = label == 0xF9  # how a frame is shown
            if label == 0xFF:  # how often frames repeat, colour profile
                kept = data[start + 3 : start + 14] in _GIF_KEPT
        elif data[at] == 0x2C:
            colours = (3 << ((data[at + 9] & 7) + 1)) if data[at + 9] & 0x80 else 0
            at, kept = _behind_blocks(data, at + 10 + colours + 1), True
        else:
            raise ValueError("expected a block")
        if kept:
            parts.append(data[start:at])
    return b"".join(parts) + b";"


def _behind_blocks(data: bytes, at: int) -> int:
    """Return where a chain of sub-blocks ends."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _tiff(image: ImageFile) -> bytes:
    return strip_tiff(image.data)


def _bmff(image: ImageFile) -> bytes:
    if hides_part(image.data):
        raise Unfit("it shows only a part of what it holds (clean aperture)")
    return strip_bmff(image.data)


_WRITERS: dict[str, Callable[[ImageFile], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "avif": _bmff,
    "heic": _bmff,
    "heif": _bmff,
}
