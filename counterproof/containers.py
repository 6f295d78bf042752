"""Walk the containers of image files and list their metadata blocks, without decoding.

Every walk is bounded by the bytes in hand, never by what a length field promises, and stops
at the first thing it cannot follow: what was listed until then is kept, `damage` says why it
stopped. Offsets and lengths are of the file, so that coverage of a signature can be stated.
JPEG is walked in `jpeg_container`, PNG in `png_container`, TIFF and EXIF directories in `tiff`,
boxes of AVIF and HEIC in `bmff`, video and sound in `media`, documents in `pdf`, camera raw
files in `raw`.

Sources: WebP RFC 9649; GIF89a §17-26; XMP part 3 for where packets live.
"""

import re
import struct
from collections.abc import Callable

from counterproof.blocks import Block, Container, Damaged, Notes, note_trailer
from counterproof.bmff import walk_bmff
from counterproof.jpeg_container import EXIF_START, walk_jpeg
from counterproof.jxl import walk_jxl
from counterproof.media import (
    flac_start,
    is_mpeg_audio,
    walk_flac,
    walk_mp3,
    walk_mp4,
    walk_riff,
)
from counterproof.pdf import walk_pdf
from counterproof.png_container import walk_png
from counterproof.raw import walk_raw
from counterproof.tiff import walk_tiff

__all__ = ["UNEXAMINED", "Block", "Container", "sniff", "walk"]

UNEXAMINED = {
    "mp4": "video",
    "mov": "video",
    "avi": "video",
    "m4a": "sound",
    "mp3": "sound",
    "flac": "sound",
    "wav": "sound",
    "pdf": "document",
    "svg": "drawing",
}
"""Formats of which metadata and credentials are read and the content is not, by kind."""

_MIMES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "dng": "image/x-adobe-dng",
    "bmp": "image/bmp",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jxl": "image/jxl",
    "svg": "image/svg+xml",
    "jp2": "image/jp2",
    "psd": "image/vnd.adobe.photoshop",
    "exr": "image/x-exr",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "wav": "audio/wav",
    "pdf": "application/pdf",
}

_BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"hevc": "heic",
    b"hevx": "heic",
    b"heim": "heic",
    b"heis": "heic",
    b"mif1": "heif",
    b"mif2": "heif",
    b"msf1": "heif",
    b"heif": "heif",
    b"crx ": "raw",
    b"qt  ": "mov",
    b"M4A ": "m4a",
    b"M4B ": "m4a",
}
_VIDEO_BRANDS: tuple[bytes, ...] = (
    *(b"iso", b"mp4", b"mp7", b"avc", b"M4V", b"3g", b"f4v", b"dash", b"cmf", b"MSNV"),
    *(b"XAVC", b"mmp4", b"msdh"),
)
_MATROSKA = b"\x1a\x45\xdf\xa3"  # EBML (RFC 8794); its DocType is element 0x4282
_MOVIE_ATOMS = (b"moov", b"mdat", b"wide")  # of a QuickTime file older than file types
# Formats that are named, so that a message can name them; nothing reads their pixels.
_NAMED = (
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"8BPS", "psd"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"IIRO", "raw"),
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"IIU\0", "raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "raw"),
    (b"FOVb", "raw"),
    (b"\0MRM", "raw"),
    (b"\x76\x2f\x31\x01", "exr"),
    (b"%PDF-", "pdf"),
    (b"OggS", "ogg"),
)


def sniff(data: bytes) -> str:
    """Name the image format by its first bytes; empty if it is none that we know."""
    head = data[:32]
    if head[:2] == b"\xff\xd8":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12], "")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "raw" if head[8:10] == b"CR" and head[:4] == b"II*\0" else "tiff"
    if head[:2] == b"BM" and len(data) > 26:
        return "bmp"
    if head[4:8] == b"ftyp":
        return _brand(data)
    for start, name in _NAMED:
        if head.startswith(start):
            return name
    if head[4:8] in _MOVIE_ATOMS:
        return "mov"
    if head[:4] == _MATROSKA:
        return "webm" if b"\x42\x82\x84webm" in data[:64] else "mkv"
    if flac_start(data) >= 0:
        return "flac"
    if head[:3] == b"ID3" or is_mpeg_audio(data):
        return "mp3"
    text = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<" and re.search(rb"<(?:\w+:)?svg[\s>]", text):
        return "svg"
    return ""


def _brand(data: bytes) -> str:
    """Name a file by its major brand; by the codec behind it where that says "some image"."""
    end = min(struct.unpack_from(">I", data)[0], 256)
    brands = [data[at : at + 4] for at in (8, *range(16, end - 3, 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    if not names:
        return "mp4" if any(brand.startswith(_VIDEO_BRANDS) for brand in brands) else ""
    if names[0] == "heif":
        return next((name for name in names if name in ("avif", "heic")), "heif")
    return names[0]


def walk(data: bytes, max_block_bytes: int = 16 * 2**20) -> Container:
    """List the metadata blocks of one file.

    Args:
        data: the whole file.
        max_block_bytes: largest block after decompression; a larger one is listed cut short.
            All blocks together are at most four times as large.
    """
    notes = Notes(data, max_block_bytes)
    notes.format = sniff(data)
    if walker := _WALKERS.get(notes.format):
        try:
            walker(notes)
        except Damaged as err:
            notes.flaw(str(err))
        except (struct.error, IndexError):
            notes.truncated = True
            notes.flaw(f"{notes.format} structure ends early after {len(data):,} bytes")
    return Container(
        format=notes.format,
        mime=_MIMES.get(notes.format, "application/octet-stream"),
        width=notes.width,
        height=notes.height,
        blocks=tuple(notes.blocks),
        damage=notes.damage,
        truncated=notes.truncated,
        endless=notes.endless,
        expected_bytes=notes.expected_bytes,
        frames=notes.frames,
        bit_depth=notes.bit_depth,
        mode=notes.mode,
        coding=notes.coding,
        orientation=notes.orientation,
        alpha=notes.alpha,
        planes=tuple(notes.planes),
        coded_samples=notes.coded_samples,
        has_content=notes.has_content,
    )


_WEBP_KINDS = {b"EXIF": "exif", b"XMP ": "xmp", b"_PMX": "xmp", b"ICCP": "icc", b"C2PA": "c2pa"}


def _walk_webp(notes: Notes) -> None:
    data = notes.data
    promised = 8 + struct.unpack_from("<I", data, 4)[0]
    end = min(len(data), promised)
    at, extended, frames = 12, False, 0
    notes.bit_depth = 8
    while at + 8 <= end:
        notes.step()
        name, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if body + length > len(data):
            reason = f"chunk {name.decode('latin-1')!r} at byte {at:,} reaches past the end"
            raise notes.cut(reason, max(promised, body + length))
        if name == b"VP8X":
            extended = True
            notes.alpha = bool(data[body] & 0x10)
            notes.width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            notes.height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif name == b"ANMF":
            frames += 1
        elif name == b"VP8 " and not extended:
            width, height = struct.unpack_from("<HH", data, body + 6)
            notes.width, notes.height = width & 0x3FFF, height & 0x3FFF
        elif name == b"VP8L" and not extended:
            bits = struct.unpack_from("<I", data, body + 1)[0]
            notes.width, notes.height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
            notes.alpha = bool(bits >> 28 & 1)
        elif kind := _WEBP_KINDS.get(name):
            payload = data[body : body + min(length, notes.max_block_bytes + len(EXIF_START))]
            notes.add(kind, at, length + 8, payload.removeprefix(EXIF_START))
        at = body + length + (length & 1)
    notes.frames = max(1, frames)
    if promised > len(data) + 1:
        raise notes.cut(f"truncated after {len(data):,} bytes", promised)
    note_trailer(notes, max(at, end))


def _walk_gif(notes: Notes) -> None:
    data = notes.data
    notes.width, notes.height = struct.unpack_from("<HH", data, 6)
    notes.bit_depth = 8
    at, end = 13, len(data)
    if data[10] & 0x80:
        at += 3 << ((data[10] & 7) + 1)
    while at < end:
        notes.step()
        start, kind = at, data[at]
        if kind == 0x3B:
            return note_trailer(notes, at + 1)
        if kind == 0x21:
            label, at = data[at + 1], at + 2
            body, at = _gif_blocks(notes, at, notes.max_block_bytes)
            if label == 0xF9:
                notes.alpha = notes.alpha or bool(body[:1] and body[0] & 1)
            elif label == 0xFE:
                notes.add("comment", start, at - start, body)
            elif label == 0xFF and body.startswith(b"XMP DataXMP"):
                # the packet lies raw, not in sub-blocks; a 258-byte "magic trailer" ends it
                raw = data[start + 14 : min(at, start + 14 + notes.max_block_bytes)]
                notes.add("xmp", start, at - start, raw.partition(b"\x01\xff\xfe")[0])
            elif label == 0xFF and body.startswith(b"C2PA_GIF"):
                notes.add("c2pa", start, at - start, body[11:])
            elif label == 0xFF and body.startswith(b"ICCRGBG1012"):
                notes.add("icc", start, at - start, body[11:])
        elif kind == 0x2C:
            notes.frames += 1
            flags = data[at + 9]
            at += 10 + ((3 << ((flags & 7) + 1)) if flags & 0x80 else 0) + 1
            _, at = _gif_blocks(notes, at, 0)
        else:
            raise Damaged(f"expected a block at byte {at:,}")
    raise notes.cut(f"truncated after {end:,} bytes: no trailer")


def _gif_blocks(notes: Notes, at: int, limit: int) -> tuple[bytes, int]:
    """Join sub-blocks up to `limit` bytes; return them and the offset behind the terminator."""
    data, parts, kept, count = notes.data, [], 0, 0
    while (length := data[at]) != 0:
        if kept < limit:
            parts.append(data[at + 1 : at + 1 + length])
            kept += length
        at += 1 + length
        count += 1
        if count == 4096:
            notes.step(count // 6)  # sub-blocks are cheap, and an honest file has many
            count = 0
    return b"".join(parts), at + 1


def _walk_bmp(notes: Notes) -> None:
    data = notes.data
    promised, _, start, header = struct.unpack_from("<IIII", data, 2)
    notes.frames = 1
    if header == 12:
        notes.width, notes.height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack_from("<iiHHI", data, 18)
        notes.width, notes.height = abs(width), abs(height)
    notes.bit_depth = min(bits, 8)
    rows = (notes.width * bits + 31) // 32 * 4 * notes.height
    if packed in (0, 3) and start + rows > len(data):
        raise notes.cut(f"truncated after {len(data):,} bytes", start + rows)
    if packed not in (0, 3) and promised > len(data):
        notes.flaw(f"{len(data):,} bytes, where its header says {promised:,}")


def _walk_svg(notes: Notes) -> None:
    data = notes.data
    at = data.find(b"c2pa:manifest")
    if at >= 0:
        notes.add("c2pa", at, 0, b"")
    at = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", at)
    if 0 <= at < end:
        notes.add("xmp", at, end + 12 - at, data[at : min(end + 12, at + notes.max_block_bytes)])


def _walk_boxes(notes: Notes) -> None:
    if notes.data[4:8] in (b"ftyp", b"JXL ", b"jP  "):
        walk_bmff(notes)


_WALKERS: dict[str, Callable[[Notes], None]] = {
    "jpeg": walk_jpeg,
    "png": walk_png,
    "webp": _walk_webp,
    "gif": _walk_gif,
    "tiff": walk_tiff,
    "bmp": _walk_bmp,
    "avif": _walk_boxes,
    "heic": _walk_boxes,
    "heif": _walk_boxes,
    "jxl": walk_jxl,
    "jp2": _walk_boxes,
    "svg": _walk_svg,
    "raw": walk_raw,
    "mp4": walk_mp4,
    "mov": walk_mp4,
    "m4a": walk_mp4,
    "avi": walk_riff,
    "wav": walk_riff,
    "mp3": walk_mp3,
    "flac": walk_flac,
    "pdf": walk_pdf,
}
