"""Walk the containers of image files and list their metadata blocks, without decoding.

Every walk is bounded by the bytes in hand, never by what a length field promises, and stops
at the first thing it cannot follow: what was listed until then is kept, `damage` says why it
stopped. Offsets and lengths are of the file, so that coverage of a signature can be stated.

Sources: JPEG ITU-T T.81 annex B; PNG third edition §5 and §11; WebP RFC 9649; GIF89a §17-26;
TIFF 6.0 §2; ISO/IEC 14496-12 (boxes) and 23008-12 (items); XMP part 3 for where packets live.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Block", "Container", "sniff", "walk"]

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@dataclass(frozen=True, slots=True)
class Block:
    """One metadata block as it lies in the file.

    Attributes:
        kind: `exif` (from the TIFF header on), `xmp`, `xmp_extended`, `icc`, `iptc`
            (Photoshop resources), `text` (with `key`), `comment`, `c2pa`, `mpf`, `trailer`.
        offset: of the whole block in the file, header included.
        length: of the whole block, header included.
        data: the payload, without the container's header and signature.
        key: keyword of a `text` block.
    """

    kind: str
    offset: int
    length: int
    data: bytes
    key: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """What a walk found.

    Attributes:
        format: lower-case name by content, empty if unknown.
        mime: media type.
        width: as stored, before orientation; 0 where only a decoder can tell.
        height: as stored, before orientation; 0 where only a decoder can tell.
        blocks: in file order.
        damage: why the walk stopped early; empty if it reached the end.
    """

    format: str
    mime: str
    width: int = 0
    height: int = 0
    blocks: tuple[Block, ...] = ()
    damage: str = ""


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
}

_BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"hevc": "heic",
    b"heim": "heic",
    b"heis": "heic",
    b"mif1": "heif",
    b"msf1": "heif",
    b"heif": "heif",
}


def sniff(data: bytes) -> str:
    """Name the image format by its first bytes; empty if it is none that we know."""
    head = data[:32]
    if head[:2] == b"\xff\xd8":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:2] == b"BM" and len(data) > 26:
        return "bmp"
    if head[4:8] == b"ftyp":
        end = min(struct.unpack(">I", head[:4])[0], 256)
        for at in (8, *range(16, end, 4)):
            if (name := _BRANDS.get(data[at : at + 4])) and (at == 8 or name != "heif"):
                # the major brand mif1 says only "some image": look for the codec behind it
                if name == "heif" and (found := _codec_brand(data[16:end])):
                    return found
                return name
        return ""
    if head[:12] == b"\0\0\0\x0cJXL \r\n\x87\n" or head[:2] == b"\xff\x0a":
        return "jxl"
    if b"<svg" in data[:4096]:
        return "svg"
    return ""


def _codec_brand(compatible: bytes) -> str:
    for at in range(0, len(compatible) - 3, 4):
        if (name := _BRANDS.get(compatible[at : at + 4])) and name != "heif":
            return name
    return ""


def walk(data: bytes, max_block_bytes: int = 16 * 2**20) -> Container:
    """List the metadata blocks of one file.

    Args:
        data: the whole file.
        max_block_bytes: largest block after decompression; a larger one is listed cut short.
    """
    name = sniff(data)
    blocks: list[Block] = []
    size, damage = (0, 0), ""
    if walker := _WALKERS.get(name):
        found = walker(data, max_block_bytes)
        try:
            for item in found:
                if isinstance(item, Block):
                    blocks.append(item)
                elif isinstance(item, str):
                    damage = item
                    break
                else:
                    size = item
        except (struct.error, IndexError, zlib.error, UnicodeDecodeError) as err:
            damage = f"{name} structure ends early or is malformed ({type(err).__name__})"
    if name == "tiff" and any(block.kind == "dng" for block in blocks):
        name = "dng"
    blocks = [block for block in blocks if block.kind != "dng"]
    mime = _MIMES.get(name, "application/octet-stream")
    return Container(name, mime, *size, tuple(blocks), damage)


# A walker yields blocks, one (width, height), and at most one last string: the damage.
_Walk = Iterator["Block | tuple[int, int] | str"]

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_JPEG_APPS: dict[int, tuple[tuple[bytes, str], ...]] = {
    0xE1: ((_EXIF, "exif"), (_XMP, "xmp"), (_XMP_EXTENDED, "xmp_extended")),
    0xE2: ((b"ICC_PROFILE\0", "icc"), (b"MPF\0", "mpf")),
    0xEB: ((b"JP", "c2pa"),),
    0xED: ((b"Photoshop 3.0\0", "iptc"),),
    0xFE: ((b"", "comment"),),
}


def _walk_jpeg(data: bytes, _limit: int) -> _Walk:
    at, end = 2, len(data)
    while True:
        if at + 4 > end:
            yield f"truncated after {end:,} bytes, before the image data"
            return
        if data[at] != 0xFF:
            yield f"expected a marker at byte {at:,}"
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        if marker == 0xDA:
            break
        if marker == 0xD9:
            yield "ends before the image data"
            return
        length = (data[at + 2] << 8) | data[at + 3]
        if length < 2 or at + 2 + length > end:
            yield f"segment at byte {at:,} reaches past the end of the file"
            return
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, at + 5)
            yield (width, height)
        for signature, kind in _JPEG_APPS.get(marker, ()):
            if data.startswith(signature, at + 4):
                start = at + 4 + len(signature)
                yield Block(kind, at, length + 2, data[start : at + 2 + length])
                break
        at += 2 + length
    # The last end marker is the picture's, or that of a picture appended to it (MPF).
    last = data.rfind(b"\xff\xd9")
    if last < at:
        yield f"truncated: no end of image in {end:,} bytes"
    elif last + 2 < end and any(data[last + 2 :]):
        yield Block("trailer", last + 2, end - last - 2, data[last + 2 : last + 2 + 2**16])


def _walk_png(data: bytes, limit: int) -> _Walk:
    at, end = 8, len(data)
    while at + 12 <= end:
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > end:
            yield f"chunk {name!r} at byte {at:,} reaches past the end of the file"
            return
        body = data[at + 8 : at + 8 + length] if name not in (b"IDAT", b"fdAT") else b""
        if name == b"IHDR":
            yield struct.unpack_from(">II", body)
        elif name == b"IEND":
            if any(data[at + 12 :]):
                tail = end - at - 12
                yield Block("trailer", at + 12, tail, data[at + 12 : at + 12 + 2**16])
            return
        elif name == b"eXIf":
            yield Block("exif", at, length + 12, body.removeprefix(_EXIF))
        elif name == b"caBX":
            yield Block("c2pa", at, length + 12, body)
        elif name == b"iCCP":
            yield Block("icc", at, length + 12, _inflate(body.partition(b"\0")[2][1:], limit))
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            key, text = _png_text(name, body, limit)
            kind = "xmp" if key == "XML:com.adobe.xmp" else "text"
            yield Block(kind, at, length + 12, text, key)
        at += 12 + length
    yield f"truncated after {end:,} bytes: no IEND chunk"


def _png_text(name: bytes, body: bytes, limit: int) -> tuple[str, bytes]:
    key, _, rest = body.partition(b"\0")
    if name == b"zTXt":
        rest = _inflate(rest[1:], limit)
    elif name == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]  # language, translated keyword
        if compressed:
            rest = _inflate(rest, limit)
    if name != b"iTXt":
        rest = rest.decode("latin-1").encode("utf-8") if not _is_utf8(rest) else rest
    return key.decode("latin-1"), rest[:limit]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _inflate(data: bytes, limit: int) -> bytes:
    return zlib.decompressobj().decompress(data, limit)


def _walk_webp(data: bytes, _limit: int) -> _Walk:
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    kinds = {b"EXIF": "exif", b"XMP ": "xmp", b"_PMX": "xmp", b"ICCP": "icc", b"C2PA": "c2pa"}
    at, sized = 12, False
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if body + length > len(data):
            yield f"chunk {name!r} at byte {at:,} reaches past the end of the file"
            return
        if name == b"VP8X":
            sized = True
            yield (
                1 + int.from_bytes(data[body + 4 : body + 7], "little"),
                1 + int.from_bytes(data[body + 7 : body + 10], "little"),
            )
        elif name == b"VP8 " and not sized:
            width, height = struct.unpack_from("<HH", data, body + 6)
            yield (width & 0x3FFF, height & 0x3FFF)
        elif name == b"VP8L" and not sized:
            bits = struct.unpack_from("<I", data, body + 1)[0]
            yield (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif kind := kinds.get(name):
            payload = data[body : body + length]
            yield Block(kind, at, length + 8, payload.removeprefix(_EXIF))
        at = body + length + (length & 1)
    if len(data) > end + 1 and any(data[end : end + 2**16]):
        yield Block("trailer", end, len(data) - end, data[end : end + 2**16])
    elif struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        yield f"truncated after {len(data):,} bytes"


def _walk_gif(data: bytes, limit: int) -> _Walk:
    yield struct.unpack_from("<HH", data, 6)
    at, end = 13, len(data)
    if data[10] & 0x80:
        at += 3 << ((data[10] & 7) + 1)
    while at < end:
        start, kind = at, data[at]
        if kind == 0x3B:
            if any(data[at + 1 :]):
                yield Block("trailer", at + 1, end - at - 1, data[at + 1 : at + 1 + 2**16])
            return
        if kind == 0x21:
            label, at = data[at + 1], at + 2
            body, at = _gif_blocks(data, at, limit)
            if label == 0xFE:
                yield Block("comment", start, at - start, body)
            elif label == 0xFF and body.startswith(b"XMP DataXMP"):
                # the packet lies raw, not in sub-blocks; a 258-byte "magic trailer" ends it
                raw = data[start + 14 : at]
                yield Block("xmp", start, at - start, raw[: raw.rfind(b">") + 1])
            elif label == 0xFF and body.startswith(b"C2PA_GIF"):
                yield Block("c2pa", start, at - start, body[11:])
            elif label == 0xFF and body.startswith(b"ICCRGBG1012"):
                yield Block("icc", start, at - start, body[11:])
        elif kind == 0x2C:
            flags = data[at + 9]
            at += 10 + ((3 << ((flags & 7) + 1)) if flags & 0x80 else 0) + 1
            _, at = _gif_blocks(data, at, 0)
        else:
            yield f"expected a block at byte {at:,}"
            return
    yield f"truncated after {end:,} bytes: no trailer"


def _gif_blocks(data: bytes, at: int, limit: int) -> tuple[bytes, int]:
    """Join sub-blocks up to `limit` bytes; return them and the offset behind the terminator."""
    parts, kept = [], 0
    while (length := data[at]) != 0:
        if kept < limit:
            parts.append(data[at + 1 : at + 1 + length])
            kept += length
        at += 1 + length
    return b"".join(parts), at + 1


_TIFF_KINDS = {700: "xmp", 33723: "iptc", 34377: "iptc", 34675: "icc", 0xCD41: "c2pa"}
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_SIZES |= {16: 8, 17: 8, 18: 8}
_MAX_IFDS = 1_000


def _walk_tiff(data: bytes, limit: int) -> _Walk:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    word, entry_size = ("Q", 20) if big else ("I", 12)
    counter = "Q" if big else "H"
    inline = 8 if big else 4
    (ifd,) = struct.unpack_from(order + word, data, 8 if big else 4)
    yield Block("exif", 0, len(data), data)  # the file is its own EXIF structure
    seen: set[int] = set()
    size: dict[int, int] = {}
    while ifd and ifd not in seen and len(seen) < _MAX_IFDS:
        seen.add(ifd)
        (count,) = struct.unpack_from(order + counter, data, ifd)
        at = ifd + struct.calcsize(counter)
        if count > 65_535 or at + count * entry_size > len(data):
            yield f"directory at byte {ifd:,} reaches past the end of the file"
            return
        for _ in range(count):
            tag, kind, number = struct.unpack_from(order + "HH" + word, data, at)
            length = number * _TIFF_SIZES.get(kind, 1)
            where = at + entry_size - inline
            if tag in (256, 257) and tag not in size:
                short = kind == 3
                (size[tag],) = struct.unpack_from(order + ("H" if short else "I"), data, where)
                if len(size) == 2:
                    yield (size[256], size[257])
            elif tag == 50706:
                yield Block("dng", at, entry_size, b"")
            elif name := _TIFF_KINDS.get(tag):
                if length > inline:
                    (where,) = struct.unpack_from(order + word, data, where)
                if where + length > len(data):
                    yield f"{name} block at byte {where:,} reaches past the end of the file"
                    return
                yield Block(name, where, length, data[where : where + min(length, limit)])
            at += entry_size
        if at + struct.calcsize(word) > len(data):
            break
        (ifd,) = struct.unpack_from(order + word, data, at)
        if ifd >= len(data):
            yield f"directory at byte {ifd:,} lies past the end of the file"
            return


def _walk_bmp(data: bytes, _limit: int) -> _Walk:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        yield struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
        yield (abs(width), abs(height))


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (type, offset, start of the body, end of the box)."""
    while at + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else at + length
        if stop < body or stop > end:
            yield b"", at, body, end
            return
        yield name, at, body, stop
        at = stop


def _walk_bmff(data: bytes, limit: int) -> _Walk:
    for name, at, body, stop in _boxes(data, 0, len(data)):
        if name == b"":
            yield f"box at byte {at:,} reaches past the end of the file"
            return
        if name == b"uuid":
            if data[body : body + 16] == C2PA_UUID:
                yield Block("c2pa", at, stop - at, data[body + 16 : stop])
            elif data[body : body + 16] == XMP_UUID:
                yield Block("xmp", at, stop - at, data[body + 16 : min(stop, body + 16 + limit)])
        elif name == b"jumb":
            yield Block("c2pa", at, stop - at, data[body:stop])
        elif name == b"xml ":
            yield Block("xmp", at, stop - at, data[body : min(stop, body + limit)])
        elif name in (b"Exif", b"exif"):
            yield Block("exif", at, stop - at, data[body + 4 : stop].removeprefix(_EXIF))
        elif name == b"meta":
            yield from _walk_items(data, body + 4, stop, limit)


def _walk_items(data: bytes, start: int, end: int, limit: int) -> _Walk:
    """List the Exif and XMP items, and the size, of one `meta` box (ISO/IEC 14496-12 §8.11)."""
    kinds: dict[int, str] = {}
    places: dict[int, tuple[int, int]] = {}
    idat = 0
    size = (0, 0)
    for name, _, body, stop in _boxes(data, start, end):
        if name == b"iinf":
            kinds = _item_kinds(data, body, stop)
        elif name == b"idat":
            idat = body
        elif name == b"iprp":
            for kind, _, inner, inner_stop in _boxes(data, body, stop):
                if kind == b"ipco":
                    for prop, _, where, _ in _boxes(data, inner, inner_stop):
                        if prop == b"ispe":
                            size = max(size, struct.unpack_from(">II", data, where + 4))
    for name, _, body, _ in _boxes(data, start, end):
        if name == b"iloc":
            places = _item_places(data, body, idat)
    if size != (0, 0):
        yield size
    for item, kind in kinds.items():
        at, length = places.get(item, (0, 0))
        if not length or at + length > len(data):
            continue
        payload = data[at : at + min(length, limit)]
        if kind == "exif" and len(payload) > 8:
            skip = struct.unpack_from(">I", payload)[0]  # exif_tiff_header_offset
            payload = payload[4 + min(skip, len(payload)) :]
        yield Block(kind, at, length, payload)


def _item_kinds(data: bytes, at: int, end: int) -> dict[int, str]:
    kinds: dict[int, str] = {}
    version = data[at]
    first = at + (6 if version == 0 else 8)
    for name, _, body, stop in _boxes(data, first, end):
        if name != b"infe" or data[body] < 2:
            continue
        wide = data[body] >= 3
        (item,) = struct.unpack_from(">I" if wide else ">H", data, body + 4)
        rest = body + (10 if wide else 8)
        kind = data[rest : rest + 4]
        if kind == b"Exif":
            kinds[item] = "exif"
        elif kind == b"mime" and b"application/rdf+xml" in data[rest:stop]:
            kinds[item] = "xmp"
    return kinds


def _item_places(data: bytes, at: int, idat: int) -> dict[int, tuple[int, int]]:
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    offset_size, length_size = sizes >> 12, sizes >> 8 & 15
    base_size, index_size = sizes >> 4 & 15, (sizes & 15) if version else 0
    at += 6

    def number(width: int) -> int:
        nonlocal at
        value = int.from_bytes(data[at : at + width], "big")
        at += width
        return value

    places: dict[int, tuple[int, int]] = {}
    for _ in range(number(4 if version == 2 else 2)):
        if at >= len(data):
            break
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # data reference
        base = number(base_size)
        for index in range(number(2)):
            number(index_size)
            offset, length = number(offset_size), number(length_size)
            if index == 0 and method < 2:
                places[item] = (base + offset + (idat if method == 1 else 0), length)
            if at >= len(data):
                break
    return places


def _walk_svg(data: bytes, limit: int) -> _Walk:
    at = data.find(b"c2pa:manifest")
    if at >= 0:
        yield Block("c2pa", at, 0, b"")
    at = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", at)
    if 0 <= at < end:
        yield Block("xmp", at, end + 12 - at, data[at : min(end + 12, at + limit)])


def _walk_jxl(data: bytes, limit: int) -> _Walk:
    if data[:2] != b"\xff\x0a":
        yield from _walk_bmff(data, limit)


_WALKERS: dict[str, Callable[[bytes, int], _Walk]] = {
    "jpeg": _walk_jpeg,
    "png": _walk_png,
    "webp": _walk_webp,
    "gif": _walk_gif,
    "tiff": _walk_tiff,
    "bmp": _walk_bmp,
    "avif": _walk_bmff,
    "heic": _walk_bmff,
    "heif": _walk_bmff,
    "jxl": _walk_jxl,
    "svg": _walk_svg,
}
