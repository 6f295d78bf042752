"""Write an AVIF or HEIC file anew with the items of its picture and nothing else.

Kept: the primary item, what it is made of (tiles of a grid), its transparency, and of their
properties those that a decoder needs. Thumbnails, depth and gain maps, EXIF, XMP, further
pictures, names of items and everything outside `meta` and its items go.

Sources: ISO/IEC 14496-12 §8.11 (`meta`, `iinf`, `iloc`, `iref`, `iprp`); 23008-12 §6 (items of
pictures, derived and auxiliary ones); AV1 Image File Format §2 (properties).
"""

import struct
from dataclasses import dataclass, field

from counterproof.provenance.xmp_bmff import Unfit, boxes, item_bytes

__all__ = [
    "Items",
    "colour_primaries",
    "hides_part",
    "read_items",
    "strip_bmff",
    "thumbnails",
    "unknown_from",
]

_PICTURES = (b"av01", b"hvc1", b"grid", b"iden")
_PROPERTIES = frozenset(
    b"ispe pixi av1C hvcC colr irot imir pasp clap auxC a1op a1lx lsel clli mdcv".split()
)
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_MAX_THUMBNAILS = 8
_PADDING = 16
_KNOWN = frozenset(b"ftyp meta mdat free skip wide uuid idat pdin styp jumb".split())


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    hidden: bool = False
    properties: list[tuple[int, bool]] = field(default_factory=list)  # number, essential


@dataclass(slots=True)
class Items:
    """What a still picture's `meta` box says."""

    primary: int
    items: dict[int, _Item]
    links: list[tuple[bytes, int, list[int]]]
    properties: list[bytes]  # whole boxes; numbers count from 1


def hides_part(data: bytes) -> bool:
    """Tell whether the file shows only a part of its picture and holds more of it (`clap`).

    Up to 16 rows or columns are what fills the last block of a codec, and count as nothing.

    Source: ISO/IEC 14496-12 §12.1.4.
    """
    try:
        found = read_items(data)
        item = found.items.get(found.primary, _Item())
        held = {
            box[4:8]: box for number, _ in item.properties if (box := found.properties[number - 1])
        }
        if b"clap" not in held or b"ispe" not in held:
            return False
        w, w_part, h, h_part = struct.unpack_from(">4I", held[b"clap"], 8)
        width, height = struct.unpack_from(">II", held[b"ispe"], 12)
        return bool(width - w / w_part > _PADDING or height - h / h_part > _PADDING)
    except (Unfit, ArithmeticError, ValueError, IndexError, struct.error):
        return False


def colour_primaries(data: bytes) -> int:
    """Return the number of the picture's colour primaries, 2 (unspecified) where none is given.

    Source: ISO/IEC 14496-12 §12.1.5 (`colr` of type `nclx`), ITU-T H.273 table 2.
    """
    try:
        found = read_items(data)
        for number, _ in found.items.get(found.primary, _Item()).properties:
            box = found.properties[number - 1]
            if box[4:12] == b"colrnclx":
                return int(struct.unpack_from(">H", box, 12)[0])
    except (Unfit, ValueError, IndexError, struct.error):
        pass
    return 2


def unknown_from(data: bytes) -> int:
    """Return where the first box lies that belongs to no still picture; 0 if there is none.

    A sequence has boxes of its own, and is not judged.
    """
    at = 0
    try:
        for name, at, _, stop in boxes(data, 0, len(data)):
            if name in (b"moov", b"moof"):
                return 0
            if name not in _KNOWN:
                return at
            at = stop
    except (ValueError, struct.error):
        return at
    return at if at < len(data) else 0


def thumbnails(data: bytes) -> list[bytes]:
    """Return the thumbnails of the picture, each as a file of its own; none if damaged."""
    try:
        found = read_items(data)
        return [
            strip_bmff(data, source)
            for name, source, targets in found.links
            if name == b"thmb" and found.primary in targets and source in found.items
        ][:_MAX_THUMBNAILS]
    except (Unfit, ValueError, IndexError, struct.error):
        return []


def strip_bmff(data: bytes, shown: int = 0) -> bytes:
    """Return the file with its picture and nothing else.

    Args:
        data: the file.
        shown: number of the item that is the picture; the primary one if 0.

    Raises:
        Unfit: if it is a sequence, or its picture is laid together from others.
        ValueError: if the structure is damaged.
        struct.error: if it ends too early.
    """
    found, held = read_items(data), item_bytes(data)
    found.primary = shown or found.primary
    kept = _needed(found)
    for number in kept:
        if number not in held:
            raise ValueError(f"item {number} lies nowhere")
        if found.items[number].kind not in _PICTURES:
            kind = found.items[number].kind.decode("latin-1")
            raise Unfit(f"its picture holds an item of type {kind!r}")
    ftyp = next(data[at:stop] for name, at, _, stop in boxes(data, 0, len(data)) if name == b"ftyp")
    sizes = [len(held[number]) for number in kept]
    head = ftyp + _meta(found, kept, sizes, 0)
    start = len(head) + 8
    body = b"".join(held[number] for number in kept)
    return ftyp + _meta(found, kept, sizes, start) + _box(b"mdat", body)


def _needed(found: Items) -> list[int]:
    """Return the primary item and what it is made of, then its transparency."""
    kept: list[int] = []

    def take(number: int) -> None:
        if number in kept or number not in found.items:
            return
        kept.append(number)
        for name, source, targets in found.links:
            if name == b"dimg" and source == number:
                for target in targets:
                    take(target)
            elif name == b"auxl" and number in targets and _is_alpha(found, source):
                take(source)

    take(found.primary)
    return kept


def _is_alpha(found: Items, number: int) -> bool:
    item = found.items.get(number, _Item())
    held = [found.properties[place - 1] for place, _ in item.properties]
    return any(box[4:8] == b"auxC" and box[12:].startswith(_ALPHA) for box in held)


def _meta(found: Items, kept: list[int], sizes: list[int], start: int) -> bytes:
    """Return a `meta` box for the kept items, whose bytes lie in order from `start` on."""
    used = sorted(
        {
            number
            for item in kept
            for number, _ in found.items[item].properties
            if found.properties[number - 1][4:8] in _PROPERTIES
        }
    )
    new = {number: place for place, number in enumerate(used, 1)}
    entries, places, uses = [], [], []
    for number, size in zip(kept, sizes, strict=True):
        item = found.items[number]
        flags = 1 if item.hidden else 0
        entry = struct.pack(">IHH", 0x02000000 | flags, number, 0) + item.kind + b"\0"
        entries.append(_box(b"infe", entry))
        places.append(struct.pack(">HHHII", number, 0, 1, start, size))
        start += size
        mine = [(new[place], need) for place, need in item.properties if place in new]
        uses.append(
            struct.pack(">HB", number, len(mine))
            + b"".join(struct.pack(">H", place | (0x8000 if need else 0)) for place, need in mine)
        )
    links = b"".join(
        _box(name, struct.pack(f">HH{len(targets)}H", source, len(targets), *targets))
        for name, source, targets in found.links
        if name in (b"dimg", b"auxl", b"prem") and source in kept and set(targets) <= set(kept)
    )
    handler = b"\0" * 8 + b"pict" + b"\0" * 13
    properties = b"".join(found.properties[number - 1] for number in used)
    parts = [
        _box(b"hdlr", handler),
        _box(b"pitm", b"\0" * 4 + struct.pack(">H", found.primary)),
        _box(b"iloc", b"\0" * 4 + struct.pack(">HH", 0x4400, len(kept)) + b"".join(places)),
        _box(b"iinf", b"\0" * 4 + struct.pack(">H", len(kept)) + b"".join(entries)),
        _box(b"iref", b"\0" * 4 + links) if links else b"",
        _box(
            b"iprp",
            _box(b"ipco", properties)
            + _box(b"ipma", struct.pack(">II", 1, len(kept)) + b"".join(uses)),
        ),
    ]
    return _box(b"meta", b"\0" * 4 + b"".join(parts))


def read_items(data: bytes) -> Items:
    """Read what the `meta` box of a still picture says of its items.

    Raises:
        Unfit: if it is a sequence, or there are no items.
        ValueError: if the structure is damaged.
        struct.error: if it ends too early.
    """
    top = {name: (body, stop) for name, _, body, stop in boxes(data, 0, len(data))}
    if b"meta" not in top or b"moov" in top:
        raise Unfit("not a still picture")
    body, stop = top[b"meta"]
    parts = {name: (first, end) for name, _, first, end in boxes(data, body + 4, stop)}
    if not {b"pitm", b"iinf", b"iprp"} <= set(parts):
        raise Unfit("no items")
    at, _ = parts[b"pitm"]
    (primary,) = struct.unpack_from(">I" if data[at] else ">H", data, at + 4)
    if primary > 0xFFFF:
        raise Unfit("too many items")
    found = Items(primary, {}, [], [])
    at, end = parts[b"iinf"]
    for name, _, first, _ in boxes(data, at + (8 if data[at] else 6), end):
        if name == b"infe" and data[first] >= 2:
            wide = data[first] >= 3
            (number,) = struct.unpack_from(">I" if wide else ">H", data, first + 4)
            rest = first + (10 if wide else 8)
            hidden = bool(data[first + 3] & 1)
            found.items[number] = _Item(data[rest : rest + 4], hidden)
    if b"iref" in parts:
        at, end = parts[b"iref"]
        letter = "I" if data[at] else "H"
        for name, _, first, _ in boxes(data, at + 4, end):
            source, count = struct.unpack_from(f">{letter}H", data, first)
            where = first + struct.calcsize(f">{letter}H")
            targets = struct.unpack_from(f">{count}{letter}", data, where)
            found.links.append((name, source, list(targets)))
    for name, _, first, end in boxes(data, *parts[b"iprp"]):
        if name == b"ipco":
            found.properties = [data[a:z] for _, a, _, z in boxes(data, first, end)]
        elif name == b"ipma":
            _read_uses(data, first, end, found)
    for item in found.items.values():
        item.properties = [use for use in item.properties if 0 < use[0] <= len(found.properties)]
    return found


def _read_uses(data: bytes, at: int, end: int, found: Items) -> None:
    """Read which item has which properties (`ipma`)."""
    wide_item, wide_use = data[at] > 0, data[at + 3] & 1
    (count,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(count):
        if at >= end:
            return
        (number,) = struct.unpack_from(">I" if wide_item else ">H", data, at)
        at += 4 if wide_item else 2
        uses, at = data[at], at + 1
        for _ in range(uses):
            value = int.from_bytes(data[at : at + 1 + wide_use], "big")
            at += 1 + wide_use
            top = 0x8000 if wide_use else 0x80
            if number in found.items:
                found.items[number].properties.append((value & (top - 1), bool(value & top)))


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body
