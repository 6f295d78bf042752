"""Put an XMP packet into an AVIF or HEIC file as an item, without touching its pictures.

The packet goes into a new `mdat` box at the end. `meta` names it, grows by that, and every place
in the file that lies behind `meta` and is named in `iloc` moves along.

Sources: ISO/IEC 14496-12 §8.11 (`meta`, `iloc`, `iinf`, `iref`), 23008-12 §A.3 (XMP as an item of
type `mime` that describes the primary item, `cdsc`).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Unfit", "boxes", "insert_packet", "item_bytes", "settle"]

_CONTENT = b"application/rdf+xml\0"
_MAX_BOXES = 100_000


class Unfit(Exception):
    """The file's structure leaves no place for a packet that we can be sure of."""


def insert_packet(data: bytes, packet: bytes) -> bytes:
    """Return the file with this packet as its XMP item, instead of the one that it has.

    Raises:
        Unfit: if the file is a sequence, or its items are placed in a way not handled here.
        ValueError: if the structure is damaged.
        struct.error: if it ends too early.
    """
    start, body, stop = _meta_of(data)
    meta = _Meta.read(data, body, stop)
    number = meta.packet_item()
    added = number is None
    if number is None:
        number = meta.add_item()
    # offsets do not change the size of `iloc`, so one pass gives the size of `meta`
    meta.place(number, 0, len(packet), fresh=added)
    grown = len(meta.write()) - (stop - start)
    meta.move(stop, grown)
    meta.place(number, len(data) + grown + 8, len(packet), fresh=False)
    out = data[:start] + meta.write() + data[stop:]
    return out + struct.pack(">I4s", len(packet) + 8, b"mdat") + packet


def settle(data: bytes) -> bytes:
    """Return the file with every item placed as c2pa-rs 0.91 can follow it.

    Of items inside `idat`, as in every tiled HEIC, it moves the wrong bytes when it signs, and
    the picture is lost. They are copied into an `mdat` box at the end; not a byte of any item
    changes.

    Raises:
        Unfit: as for `insert_packet`.
        ValueError: if the structure is damaged.
        struct.error: if it ends too early.
    """
    start, body, stop = _meta_of(data)
    meta = _Meta.read(data, body, stop)
    inside = [item for item in meta.places if item.method & 15]
    if not inside:
        return data
    held = item_bytes(data)
    if any(item.method & 15 != 1 or item.number > 0xFFFF for item in inside):
        raise Unfit("items are made of other items")
    for item in inside:
        item.method = 0
    meta.version, meta.sizes = 0, (*meta.sizes[:3], 0)
    for item in inside:
        meta.place(item.number, 0, len(held[item.number]), fresh=False)
    grown = len(meta.write()) - (stop - start)
    at = len(data) + grown + 8
    others = [item for item in meta.places if item not in inside]
    meta.move(stop, grown, others)
    for item in inside:
        meta.place(item.number, at, len(held[item.number]), fresh=False)
        at += len(held[item.number])
    out = data[:start] + meta.write() + data[stop:]
    copied = b"".join(held[item.number] for item in inside)
    return out + struct.pack(">I4s", len(copied) + 8, b"mdat") + copied


def item_bytes(data: bytes) -> dict[int, bytes]:
    """Return the bytes of each item of a still picture.

    Raises:
        Unfit: as for `insert_packet`.
        ValueError: if the structure is damaged, or an item reaches past the end.
        struct.error: if it ends too early.
    """
    _, body, stop = _meta_of(data)
    meta = _Meta.read(data, body, stop)
    inside = meta.inner_data()
    found: dict[int, bytes] = {}
    total = 0
    for item in meta.places:
        source = (data, inside)[item.method & 15] if item.method & 15 < 2 else b""
        parts = []
        for _, offset, length in item.extents:
            at = item.base + offset
            if at + length > len(source):
                raise ValueError(f"item {item.number} reaches past the end")
            parts.append(source[at : at + length if length else len(source)])
            total += len(parts[-1])
            if total > 2 * len(data) + 65_536:
                raise ValueError("its items share their bytes")
        found[item.number] = b"".join(parts)
    return found


def _meta_of(data: bytes) -> tuple[int, int, int]:
    """Return where the one `meta` box of a still picture starts, its body, and where it ends."""
    top = list(boxes(data, 0, len(data)))
    names = [name for name, *_ in top]
    if names.count(b"meta") != 1 or b"moov" in names or b"moof" in names:
        raise Unfit("not a still picture")
    if data[top[-1][1] : top[-1][1] + 4] == b"\0\0\0\0":
        raise Unfit("the last box has no end of its own")
    _, start, body, stop = top[names.index(b"meta")]
    return start, body, stop


def boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (type, offset, start of the body, end of the box) of each box.

    Raises:
        ValueError: at a box that reaches past the end, or after 100,000 boxes.
    """
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else at + length
        if stop > end or stop < body:
            raise ValueError(f"box at byte {at} reaches past the end")
        yield name, at, body, stop
        at = stop
    raise ValueError("too many boxes")


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


@dataclass(slots=True)
class _Place:
    """Where one item lies: an entry of `iloc`."""

    number: int
    method: int
    reference: int
    base: int
    extents: list[list[int]]  # index, offset, length


class _Meta:
    """A `meta` box whose item tables can be changed."""

    def __init__(self, head: bytes, parts: list[tuple[bytes, bytes]]) -> None:
        self.head = head  # version and flags
        self.parts = parts  # boxes as (type, whole box); tables that change are kept apart
        self.places: list[_Place] = []
        self.sizes = (4, 4, 0, 0)
        self.version = 0
        self.flags = b"\0\0\0"
        self.primary = 0
        self._read_primary()
        self._read_places()

    @classmethod
    def read(cls, data: bytes, body: int, stop: int) -> "_Meta":
        parts = [(name, data[at:end]) for name, at, _, end in boxes(data, body + 4, stop)]
        names = [name for name, _ in parts]
        if any(names.count(name) != 1 for name in (b"pitm", b"iinf", b"iloc")):
            raise Unfit("no items")
        return cls(data[body : body + 4], parts)

    def _part(self, name: bytes) -> bytes:
        return next((whole for kind, whole in self.parts if kind == name), b"")

    def _set(self, name: bytes, whole: bytes) -> None:
        self.parts = [(kind, whole if kind == name else old) for kind, old in self.parts]

    def _read_primary(self) -> None:
        box = self._part(b"pitm")
        (self.primary,) = struct.unpack_from(">I" if box[8] else ">H", box, 12)

    def _read_places(self) -> None:
        box = self._part(b"iloc")
        self.version, self.flags = box[8], box[9:12]
        sizes = struct.unpack_from(">H", box, 12)[0]
        index = (sizes & 15) if self.version else 0
        self.sizes = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, index)
        at = 14

        def take(width: int) -> int:
            nonlocal at
            if at + width > len(box):
                raise ValueError("iloc ends early")
            value = int.from_bytes(box[at : at + width], "big")
            at += width
            return value

        wide = 4 if self.version == 2 else 2
        for _ in range(take(wide)):
            number = take(wide)
            method = take(2) if self.version else 0
            reference, base = take(2), take(self.sizes[2])
            extents = [
                [take(self.sizes[3]), take(self.sizes[0]), take(self.sizes[1])]
                for _ in range(take(2))
            ]
            self.places.append(_Place(number, method, reference, base, extents))

    def _entries(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield number, type and detail of each item."""
        box = self._part(b"iinf")
        for name, _, body, stop in boxes(box, 14 if box[8] == 0 else 16, len(box)):
            if name != b"infe" or box[body] < 2:
                continue
            wide = box[body] >= 3
            (number,) = struct.unpack_from(">I" if wide else ">H", box, body + 4)
            rest = body + (10 if wide else 8)
            yield number, box[rest : rest + 4], box[rest + 4 : stop]

    def packet_item(self) -> int | None:
        """Return the item that holds the picture's XMP; None without one."""
        for number, kind, detail in self._entries():
            if kind == b"mime" and _CONTENT[:-1] in detail:
                _, _, rest = detail.partition(_CONTENT)
                if rest.strip(b"\0"):
                    raise Unfit("its XMP is compressed")
                return number
        return None

    def add_item(self) -> int:
        """Name a new XMP item that describes the primary one; return its number."""
        known = {number for number, *_ in self._entries()} | {item.number for item in self.places}
        number = max(known, default=0) + 1
        if number > 0xFFFF:
            raise Unfit("too many items")
        entry = b"\x02\0\0\0" + struct.pack(">HH", number, 0) + b"mime" + b"\0" + _CONTENT
        box = self._part(b"iinf")
        wide = box[8] != 0
        pattern, rest = (">I", 16) if wide else (">H", 14)
        (count,) = struct.unpack_from(pattern, box, 12)
        body = box[8:12] + struct.pack(pattern, count + 1) + box[rest:] + _box(b"infe", entry)
        self._set(b"iinf", _box(b"iinf", body))
        links = self._part(b"iref")
        wide = bool(links and links[8])
        link = struct.pack(">IHI" if wide else ">HHH", number, 1, self.primary)
        if links:
            self._set(b"iref", _box(b"iref", links[8:] + _box(b"cdsc", link)))
        else:
            self.parts.append((b"iref", _box(b"iref", b"\0\0\0\0" + _box(b"cdsc", link))))
        return number

    def place(self, number: int, offset: int, length: int, *, fresh: bool) -> None:
        """Say where an item's bytes lie: in one piece, counted from the start of the file."""
        if fresh:
            self.places.append(_Place(number, 0, 0, 0, [[0, 0, 0]]))
        item = next((item for item in self.places if item.number == number), None)
        if item is None or item.reference:
            raise Unfit("an item lies outside the file")
        item.method, item.base, item.extents = 0, 0, [[0, offset, length]]
        if self.sizes[2] >= 4:
            # where there is a base, c2pa-rs 0.91 moves it and, if it is 0, the offset as well
            item.base, item.extents = offset, [[0, 0, length]]

    def inner_data(self) -> bytes:
        """Return what lies in the `idat` box; empty without one."""
        return self._part(b"idat")[8:]

    def move(self, behind: int, by: int, items: "list[_Place] | None" = None) -> None:
        """Move every place in the file, or those of some items, that lies behind an offset."""
        for item in self.places if items is None else items:
            if item.method & 15 or item.reference:
                continue
            if item.base:
                if item.base >= behind:
                    item.base += by
                elif any(item.base + extent[1] >= behind for extent in item.extents):
                    raise Unfit("an item's pieces lie on both sides")
                continue
            for extent in item.extents:
                if extent[1] >= behind:
                    extent[1] += by

    def write(self) -> bytes:
        """Return the whole box."""
        self._set(b"iloc", self._write_places())
        return _box(b"meta", self.head + b"".join(whole for _, whole in self.parts))

    def _write_places(self) -> bytes:
        offset_size, length_size, base_size, index_size = self.sizes
        wide = 4 if self.version == 2 else 2

        def put(value: int, width: int) -> bytes:
            if value >> (8 * width):
                raise Unfit("a place does not fit into its field")
            return value.to_bytes(width, "big")

        sizes = offset_size << 12 | length_size << 8 | base_size << 4 | index_size
        out = [bytes([self.version]), self.flags, put(sizes, 2), put(len(self.places), wide)]
        for item in self.places:
            out.append(put(item.number, wide))
            if self.version:
                out.append(put(item.method, 2))
            out += [put(item.reference, 2), put(item.base, base_size), put(len(item.extents), 2)]
            for index, offset, length in item.extents:
                out += [put(index, index_size), put(offset, offset_size), put(length, length_size)]
        return _box(b"iloc", b"".join(out))
