"""Put an XMP packet into the file of a picture without touching its pixels.

Sources: XMP part 3 (JPEG §1.1.3, PNG §1.1.5, GIF §1.1.2, TIFF §1.1.7); RFC 9649 (WebP);
`xmp_bmff` for AVIF and HEIC.
"""

import struct
import zlib
from collections.abc import Callable

from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.provenance.xmp_bmff import Unfit, insert_packet

__all__ = ["Unplaceable", "packet_of", "place"]

_JPEG_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MAX = 65_533 - len(_JPEG_SIGNATURE)
_PNG_KEYWORD = b"XML:com.adobe.xmp"
_GIF_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
_XMP_TAG = 700


class Unplaceable(Exception):
    """A container cannot take the packet; `reason` is a short stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def packet_of(image: ImageFile) -> bytes:
    """Return the XMP packet that a picture has; empty without one."""
    found = image.blocks("xmp")
    return found[0].data if found else b""


def place(image: ImageFile, packet: bytes) -> bytes:
    """Return the file with this packet in place of the first one that it has.

    Raises:
        Unplaceable: `container` if we cannot write into the format, `size` if the packet is
            too large for it.
        ImageError: if the file's structure is damaged.
    """
    writer = _WRITERS.get(image.format)
    if writer is None:
        raise Unplaceable("container")
    try:
        return writer(image, packet)
    except (struct.error, IndexError, ValueError, OverflowError) as err:
        raise ImageError("damaged", f"{image.name}: its structure cannot be followed") from err


def _without(image: ImageFile) -> tuple[bytes, int | None]:
    """Return the file without its first packet, and where that lay."""
    found = image.blocks("xmp")
    if not found:
        return image.data, None
    start, stop = found[0].offset, found[0].offset + found[0].length
    return image.data[:start] + image.data[stop:], start


def _jpeg(image: ImageFile, packet: bytes) -> bytes:
    if len(packet) > _JPEG_MAX:
        raise Unplaceable("size")
    data, _ = _without(image)
    at = 2
    while data[at] == 0xFF and (
        data[at + 1] == 0xE0 or (data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0")
    ):
        at += 2 + ((data[at + 2] << 8) | data[at + 3])
    body = _JPEG_SIGNATURE + packet
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return _moved_pictures(image, data[:at] + segment + data[at:])


def _moved_pictures(image: ImageFile, data: bytes) -> bytes:
    """Correct where a multi-picture file says its further pictures lie, if a packet moved.

    Offsets count from the index itself, so only a packet that lay behind it matters.
    Source: CIPA DC-007 §5.2.3.3.
    """
    index = next(iter(image.blocks("mpf")), None)
    old = next(iter(image.blocks("xmp")), None)
    if index is None or old is None or old.offset < index.offset:
        return data
    base = index.offset + 8 + len(data) - len(image.data) + old.length
    order = "<" if data[base : base + 2] == b"II" else ">"
    out = bytearray(data)
    (at,) = struct.unpack_from(order + "I", data, base + 4)
    (count,) = struct.unpack_from(order + "H", data, base + at)
    for place_ in range(base + at + 2, base + at + 2 + 12 * min(count, 16), 12):
        tag, _, number, where = struct.unpack_from(order + "HHII", data, place_)
        if tag != 0xB002:
            continue
        for entry in range(base + where, base + where + min(number, 4096), 16):
            (offset,) = struct.unpack_from(order + "I", data, entry + 8)
            if offset:
                struct.pack_into(order + "I", out, entry + 8, offset - old.length)
    return bytes(out)


def _png(image: ImageFile, packet: bytes) -> bytes:
    data, _ = _without(image)
    at = 8
    while data[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
        at += 12 + struct.unpack_from(">I", data, at)[0]
        if at + 12 > len(data):
            raise ValueError("no picture data")
    body = b"iTXt" + _PNG_KEYWORD + b"\0\0\0\0\0" + packet
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:at] + chunk + data[at:]


def _webp(image: ImageFile, packet: bytes) -> bytes:
    data, _ = _without(image)
    end = 8 + struct.unpack_from("<I", image.data, 4)[0]
    old = image.blocks("xmp")[:1]
    end -= sum(item.length + (item.length & 1) for item in old)
    if old and old[0].length & 1:  # the padding byte lay behind the block
        data = data[: old[0].offset] + data[old[0].offset + 1 :]
    body, rest = data[12:end], data[end:]
    if body[:4] == b"VP8X":
        body = body[:8] + bytes([body[8] | 0x04]) + body[9:]
    else:
        found = image.metadata
        flags = 0x04 | (0x10 if found.alpha else 0)
        size = (found.width - 1).to_bytes(3, "little") + (found.height - 1).to_bytes(3, "little")
        body = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size + body
    body += b"XMP " + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + rest


def _gif(image: ImageFile, packet: bytes) -> bytes:
    data, at = _without(image)
    if at is None:
        at = 13 + ((3 << ((data[10] & 7) + 1)) if data[10] & 0x80 else 0)
    block = b"\x21\xff\x0bXMP DataXMP" + packet + _GIF_TRAILER
    return b"GIF89a" + data[6:at] + block + data[at:]


def _tiff(image: ImageFile, packet: bytes) -> bytes:
    """Append a new first directory that names the packet; the old one is left behind unused."""
    data = image.data
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    number, word, entry_bytes, first_at = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (first,) = struct.unpack_from(order + word, data, first_at)
    (count,) = struct.unpack_from(order + number, data, first)
    start = first + struct.calcsize(number)
    stop = start + count * entry_bytes
    if stop + struct.calcsize(word) > len(data):
        raise ValueError("the first directory reaches past the end")
    entries = [data[at : at + entry_bytes] for at in range(start, stop, entry_bytes)]
    entries = [item for item in entries if struct.unpack_from(order + "H", item)[0] != _XMP_TAG]
    padded = data + b"\0" * (-len(data) % 8)
    directory_at = len(padded) + len(packet) + (-len(packet) % 8)
    if not big and directory_at + 12 * (count + 2) > 0xFFFFFFFF:
        raise Unplaceable("size")
    entries.append(struct.pack(order + "HH" + 2 * word, _XMP_TAG, 1, len(packet), len(padded)))
    entries.sort(key=lambda item: int(struct.unpack_from(order + "H", item)[0]))
    directory = struct.pack(order + number, len(entries)) + b"".join(entries)
    directory += data[stop : stop + struct.calcsize(word)]
    out = padded + packet + b"\0" * (-len(packet) % 8) + directory
    head = struct.pack(order + word, directory_at)
    return out[:first_at] + head + out[first_at + len(head) :]


def _bmff(image: ImageFile, packet: bytes) -> bytes:
    before = len(image.blocks("xmp"))
    try:
        data = insert_packet(image.data, packet)
    except Unfit as err:
        raise Unplaceable("container") from err
    after = ImageFile.open(data, name=image.name, limits=image.limits)
    if len(after.blocks("xmp")) != max(before, 1) or after.blocks("xmp")[0].data != packet:
        raise Unplaceable("container")  # such as a packet in a box of its own
    return data


_WRITERS: dict[str, Callable[[ImageFile, bytes], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "avif": _bmff,
    "heic": _bmff,
    "heif": _bmff,
}
