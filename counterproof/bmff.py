"""Walk ISO base media files (AVIF, HEIC, JPEG XL in a container): boxes and image items.

Sources: ISO/IEC 14496-12 (boxes, `iloc` §8.11.3), 23008-12 (`iinf`, `ipma`, `iref`, `irot`,
`imir`, auxiliary pictures), C2PA 2.2 appendix A.5 (the `uuid` box), XMP part 3 §1.2.7.1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from counterproof.blocks import Notes

__all__ = ["boxes", "walk_bmff"]

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"Exif\0\0"
_CODED = frozenset(
    {b"av01", b"hvc1", b"hev1", b"grid", b"iovl", b"iden", b"jpeg", b"avc1", b"vvc1", b"j2k1"}
    | {b"unci"}
)
# What the URN of an auxiliary picture says it is, by a part of it that all makers share.
_AUXILIARY = (
    (b"alpha", "alpha"),
    (b":depth", "depth"),
    (b"hdrgainmap", "gain_map"),
    (b"auxid:1", "alpha"),
    (b"auxid:2", "depth"),
    (b"matte", "matte"),
)


def boxes(notes: Notes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (type, offset, start of the body, end of the box) of each box.

    Raises:
        Damaged: at a box that reaches past the end.
    """
    data = notes.data
    while at + 8 <= end:
        notes.step()
        length, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else at + length
        if stop > end:
            reason = f"box {name.decode('latin-1')!r} at byte {at:,} reaches past the end"
            raise notes.cut(reason, stop if end == len(data) else 0)
        if stop < body:
            raise notes.cut(f"box at byte {at:,} has an impossible length")
        yield name, at, body, stop
        at = stop


def walk_bmff(notes: Notes) -> None:
    """List the metadata blocks of one file, and what its primary item says of the picture."""
    data, limit, moving = notes.data, notes.max_block_bytes, False
    for name, at, body, stop in boxes(notes, 0, len(data)):
        if name == b"uuid":
            kind = {C2PA_UUID: "c2pa", XMP_UUID: "xmp"}.get(data[body : body + 16])
            if kind:
                notes.add(kind, at, stop - at, data[body + 16 : min(stop, body + 16 + limit)])
        elif name == b"jumb":
            notes.add("c2pa", at, stop - at, data[body : min(stop, body + limit)])
        elif name == b"xml ":
            notes.add("xmp", at, stop - at, data[body : min(stop, body + limit)])
        elif name in (b"Exif", b"exif"):
            payload = data[body + 4 : min(stop, body + 4 + limit)]
            notes.add("exif", at, stop - at, payload.removeprefix(_EXIF))
        elif name == b"meta" and notes.format in ("avif", "heic", "heif"):
            _Items(notes, body + 4, stop).report()
        elif name == b"moov":
            moving = True
    if moving:
        notes.frames = 0  # a sequence: only a decoder can tell


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    hidden: bool = False
    detail: bytes = b""
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, int, int]] = field(default_factory=list)


class _Items:
    """The items of one `meta` box."""

    def __init__(self, notes: Notes, start: int, end: int) -> None:
        self.notes = notes
        self.items: dict[int, _Item] = {}
        self.links: list[tuple[bytes, int, list[int]]] = []
        self.primary = -1
        self.data_at = 0
        parts: dict[bytes, tuple[int, int]] = {}
        for name, _, body, stop in boxes(notes, start, end):
            parts.setdefault(name, (body, stop))
        self.data_at = parts.get(b"idat", (0, 0))[0]
        readers = (
            (b"pitm", self._read_primary),
            (b"iinf", self._read_kinds),
            (b"iloc", self._read_places),
            (b"iref", self._read_links),
            (b"iprp", self._read_properties),
        )
        for name, reader in readers:
            if name in parts:
                reader(*parts[name])

    def _item(self, number: int) -> _Item:
        self.notes.step()
        return self.items.setdefault(number, _Item())

    def _read_primary(self, at: int, _end: int) -> None:
        wide = self.notes.data[at] > 0
        (self.primary,) = struct.unpack_from(">I" if wide else ">H", self.notes.data, at + 4)

    def _read_kinds(self, at: int, end: int) -> None:
        data = self.notes.data
        first = at + (6 if data[at] == 0 else 8)
        for name, _, body, stop in boxes(self.notes, first, end):
            if name != b"infe" or data[body] < 2:
                continue
            wide = data[body] >= 3
            (number,) = struct.unpack_from(">I" if wide else ">H", data, body + 4)
            rest = body + (10 if wide else 8)
            item = self._item(number)
            item.kind, item.hidden = data[rest : rest + 4], bool(data[body + 3] & 1)
            item.detail = data[rest + 4 : min(stop, rest + 1_000)]

    def _read_places(self, at: int, end: int) -> None:
        data = self.notes.data
        version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
        offset_size, length_size = sizes >> 12, sizes >> 8 & 15
        base_size, index_size = sizes >> 4 & 15, (sizes & 15) if version else 0
        at += 6

        def number(width: int) -> int:
            nonlocal at
            value = int.from_bytes(data[at : at + width], "big")
            at += width
            return value

        for _ in range(number(4 if version == 2 else 2)):
            if at >= end:
                break
            item = self._item(number(4 if version == 2 else 2))
            method = number(2) & 15 if version else 0
            number(2)  # data reference
            base = number(base_size)
            for _ in range(number(2)):
                self.notes.step()
                number(index_size)
                offset, length = number(offset_size), number(length_size)
                if at > end:
                    break
                if method < 2:
                    place = base + offset + (self.data_at if method == 1 else 0)
                    item.extents.append((place, length))

    def _read_links(self, at: int, end: int) -> None:
        data = self.notes.data
        pattern = ">I" if data[at] else ">H"
        width = struct.calcsize(pattern)
        for name, _, body, stop in boxes(self.notes, at + 4, end):
            (source,) = struct.unpack_from(pattern, data, body)
            (count,) = struct.unpack_from(">H", data, body + width)
            targets = []
            for place in range(
                body + width + 2, min(stop, body + width + 2 + count * width), width
            ):
                self.notes.step()
                targets.append(struct.unpack_from(pattern, data, place)[0])
            self.links.append((name, source, targets))

    def _read_properties(self, at: int, end: int) -> None:
        data, known = self.notes.data, [(b"", 0, 0)]
        for name, _, body, stop in boxes(self.notes, at, end):
            if name == b"ipco":
                known += [(p, b, s) for p, _, b, s in boxes(self.notes, body, stop)]
            elif name == b"ipma":
                wide_item, wide_index = data[body] > 0, data[body + 3] & 1
                (count,) = struct.unpack_from(">I", data, body + 4)
                place = body + 8
                for _ in range(count):
                    if place >= stop:
                        break
                    (number,) = struct.unpack_from(">I" if wide_item else ">H", data, place)
                    place += 4 if wide_item else 2
                    item, links = self._item(number), data[place]
                    place += 1
                    for _ in range(links):
                        if wide_index:
                            index = struct.unpack_from(">H", data, place)[0] & 0x7FFF
                        else:
                            index = data[place] & 0x7F
                        place += 2 if wide_index else 1
                        if 0 < index < len(known):
                            item.properties.append(known[index])

    def report(self) -> None:
        """Note blocks and traits."""
        notes = self.notes
        if primary := self.items.get(self.primary):
            self._describe(primary)
        self._planes()
        for number, item in self.items.items():
            kind = ""
            if item.kind == b"Exif":
                kind = "exif"
            elif item.kind == b"mime" and b"application/rdf+xml" in item.detail:
                kind = "xmp"
            if kind and item.extents:
                self._add(kind, number, item)
        tiles = {target for name, _, targets in self.links if name == b"dimg" for target in targets}
        further = {source for name, source, _ in self.links if name in (b"thmb", b"auxl")}
        shown = [
            number
            for number, item in self.items.items()
            if number == self.primary
            or (item.kind in _CODED and not item.hidden and number not in tiles | further)
        ]
        notes.frames = max(1, len(shown))

    def _add(self, kind: str, number: int, item: _Item) -> None:
        notes = self.notes
        parts, room = [], notes.max_block_bytes
        for at, length in item.extents:
            length = length or len(notes.data) - at
            if at + length > len(notes.data):
                notes.truncated = True
                notes.expected_bytes = max(notes.expected_bytes, at + length)
                notes.flaw(f"{kind} item {number} reaches past the end of the file")
                return
            parts.append(notes.data[at : at + min(length, room)])
            room -= len(parts[-1])
        payload = b"".join(parts)
        if kind == "exif" and len(payload) > 8:
            skip = struct.unpack_from(">I", payload)[0]  # exif_tiff_header_offset
            payload = payload[4 + min(skip, len(payload)) :].removeprefix(_EXIF)
        at, end = item.extents[0][0], max(place + length for place, length in item.extents)
        notes.add(kind, at, end - at, payload)

    def _describe(self, item: _Item) -> None:
        notes, data = self.notes, self.notes.data
        turn, mirror = 0, -1
        for name, at, stop in item.properties:
            if name == b"ispe":
                notes.width, notes.height = struct.unpack_from(">II", data, at + 4)
            elif name == b"pixi" and at + 5 < stop:
                notes.bit_depth = data[at + 5]
            elif name == b"av1C" and not notes.bit_depth:
                flags = data[at + 2]
                notes.bit_depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
            elif name == b"hvcC" and not notes.bit_depth:
                notes.bit_depth = 8 + (data[at + 17] & 7)
            elif name == b"irot":
                turn = data[at] & 3
            elif name == b"imir":
                mirror = data[at] & 1
        notes.orientation = _ORIENTATIONS[turn, mirror]

    def _planes(self) -> None:
        notes, data = self.notes, self.notes.data
        for name, source, _ in self.links:
            item = self.items.get(source, _Item())
            if name == b"thmb":
                notes.planes.append("thumbnail")
            elif name == b"auxl":
                urn = b""
                for kind, at, stop in item.properties:
                    if kind == b"auxC":
                        urn = data[at + 4 : min(stop, at + 200)]
                plane = next((word for part, word in _AUXILIARY if part in urn), "auxiliary")
                if plane == "alpha":
                    notes.alpha = True
                else:
                    notes.planes.append(plane)
        notes.planes += ["gain_map" for item in self.items.values() if item.kind == b"tmap"]


# (anticlockwise quarter turns, mirror axis or -1) → EXIF orientation; turned first, then
# mirrored: axis 0 swaps top and bottom, axis 1 left and right (ISO/IEC 23008-12 §6.5.10, 6.5.12)
_ORIENTATIONS = {
    (0, -1): 1,
    (1, -1): 8,
    (2, -1): 3,
    (3, -1): 6,
    (0, 0): 4,
    (0, 1): 2,
    (1, 0): 5,
    (1, 1): 7,
    (2, 0): 2,
    (2, 1): 4,
    (3, 0): 7,
    (3, 1): 5,
}
