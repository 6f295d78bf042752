"""All metadata of one picture as flat fields, so that two pictures can be compared by them.

EXIF, XMP, IPTC-IIM, texts and comments, the colour profile: each tag or property becomes one
`Field` with a value for people. Values that are long or binary stand as their length and the
first digits of their SHA-256; coordinates are compared but never written out.

Sources: EXIF 2.32 §4.6 (tags), IPTC-IIM 4.2 §1.6 (datasets), Photoshop file format (resource
0x0404), XMP part 1.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof import xmp
from counterproof.audit.facts import icc_name
from counterproof.tiff import Entry, Exif, clean

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["Change", "Field", "compare_fields", "fields_of", "photoshop_resource"]

GROUPS = ("exif", "gps", "xmp", "iptc", "text", "icc", "credential", "other")

_MAX_FIELDS = 2_000
_MAX_TEXT = 200
_MAX_NUMBERS = 8
_POINTERS = frozenset({0x8769, 0x8825, 0xA005, 0x014A, 0x0111, 0x0117, 0x0144, 0x0145})
_POINTERS |= frozenset({0x0201, 0x0202, 0x02BC, 0x83BB, 0x8649, 0x8773, 0xCD41, 0xEA1C})
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q"}
_SIZES = {"B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4, "f": 4, "d": 8, "Q": 8}
_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://ns.google.com/photos/1.0/camera/": "GCamera",
    "http://ns.google.com/photos/1.0/creations/": "GCreations",
}
_IPTC = {
    (2, 5): "ObjectName",
    (2, 15): "Category",
    (2, 25): "Keywords",
    (2, 40): "SpecialInstructions",
    (2, 55): "DateCreated",
    (2, 60): "TimeCreated",
    (2, 62): "DigitalCreationDate",
    (2, 63): "DigitalCreationTime",
    (2, 65): "OriginatingProgram",
    (2, 80): "By-line",
    (2, 85): "By-lineTitle",
    (2, 90): "City",
    (2, 92): "Sub-location",
    (2, 95): "Province-State",
    (2, 101): "Country",
    (2, 105): "Headline",
    (2, 110): "Credit",
    (2, 115): "Source",
    (2, 116): "CopyrightNotice",
    (2, 120): "Caption-Abstract",
    (2, 122): "Writer-Editor",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One tag, property or text.

    Attributes:
        group: one of `GROUPS`.
        name: as the standard of the group calls it.
        value: for people; one line.
        digest: of the value as stored or read: equal values have equal digests.
    """

    group: str
    name: str
    value: str
    digest: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field that the original and the copy do not share.

    Attributes:
        kind: `added`, `removed` or `changed`.
        group: of the field.
        name: of the field.
        before: value in the original; empty if added.
        after: value in the copy; empty if removed.
    """

    kind: str
    group: str
    name: str
    before: str = ""
    after: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the change as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def compare_fields(original: "ImageFile", copy: "ImageFile") -> tuple[list[Change], int]:
    """Return what differs between the metadata of two pictures, and how many fields are equal."""
    first, second = ({(f.group, f.name): f for f in fields_of(item)} for item in (original, copy))
    changes, equal = [], 0
    for key in sorted(set(first) | set(second), key=lambda key: (GROUPS.index(key[0]), key[1])):
        before, after = first.get(key), second.get(key)
        if before is None and after is not None:
            changes.append(Change("added", *key, "", after.value))
        elif after is None and before is not None:
            changes.append(Change("removed", *key, before.value, ""))
        elif before is not None and after is not None and before.digest != after.digest:
            changes.append(Change("changed", *key, before.value, after.value))
        else:
            equal += 1
    return changes, equal


def fields_of(image: "ImageFile") -> list[Field]:
    """List the metadata of one picture, at most `_MAX_FIELDS` fields; decodes no pixels."""
    found: list[Field] = []
    names: dict[tuple[str, str], int] = {}
    for item in _all(image):
        key = (item.group, item.name)
        names[key] = count = names.get(key, 0) + 1
        if count > 1:
            item = Field(item.group, f"{item.name} ({count})", item.value, item.digest)
        found.append(item)
        if len(found) >= _MAX_FIELDS:
            break
    return found


def _all(image: "ImageFile") -> Iterator[Field]:
    if image.exif_directories:
        yield from _exif(image)
    for packet in xmp.packets(image, [b""]):
        yield from _xmp(packet)
    for block in image.blocks("iptc"):
        yield from _iptc(block.data)
    for block in image.blocks("text"):
        yield _text("text", clean(block.key, 60) or "text", block.data)
    for block in image.blocks("comment"):
        yield _text("text", "comment", block.data)
    if image.icc:
        name = icc_name(image.icc)
        yield Field("icc", "profile", _binary(image.icc, name), _digest(image.icc))
    stores = image.blocks("c2pa")
    if stores:
        data = b"".join(block.data for block in stores)
        yield Field("credential", "manifest store", _binary(data), _digest(data))
    if image.sidecar is not None:
        value = _binary(image.sidecar)
        yield Field("credential", "sidecar", value, _digest(image.sidecar))
    for kind in ("mpf", "flashpix", "trailer"):
        for block in image.blocks(kind):
            data = block.data or image.data[block.offset : block.offset + block.length]
            yield Field("other", kind, _binary(data), _digest(data))


def _digest(value: Any) -> str:
    data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "backslashreplace")
    return hashlib.sha256(data).hexdigest()


def _binary(data: bytes, name: str = "") -> str:
    text = f"{len(data):,} B, SHA-256 {_digest(data)[:12]}…"
    return f"{name} ({text})" if name else text


def _text(group: str, name: str, data: bytes) -> Field:
    try:
        value = data.decode("utf-8")
    except UnicodeDecodeError:
        value = data.decode("latin-1")
    return Field(group, name, clean(value, _MAX_TEXT), _digest(data))


def _exif(image: "ImageFile") -> Iterator[Field]:
    from PIL import ExifTags

    exif = image.exif_directories
    assert exif is not None
    is_tiff = image.format in ("tiff", "dng", "raw")
    for place, directory in exif.directories.items():
        if place == "ifd1" and is_tiff:
            continue  # a second page, not a thumbnail's tags
        known = ExifTags.GPSTAGS if place == "gps" else ExifTags.TAGS
        prefix = {"ifd1": "Thumbnail:", "interop": "Interop:"}.get(place, "")
        for tag, entry in sorted(directory.entries.items()):
            if tag in _POINTERS or (is_tiff and place == "ifd0" and _is_layout(tag)):
                continue
            name = f"{prefix}{known.get(tag, f'0x{tag:04X}')}"
            yield _tag(exif, place, name, entry)
    if thumbnail := exif.thumbnail():
        yield Field("exif", "Thumbnail", _binary(thumbnail), _digest(thumbnail))


def _is_layout(tag: int) -> bool:
    return 254 <= tag <= 266 or 273 <= tag <= 284 or 317 <= tag <= 347 or 512 <= tag <= 532


def _tag(exif: Exif, place: str, name: str, entry: Entry) -> Field:
    raw = exif.data[entry.at : entry.at + entry.length]
    if place == "gps":
        value = _value(exif, entry, raw)
        # where a picture was taken is compared, and left out of pages that people pass on
        private = name in ("GPSLatitude", "GPSLongitude", "GPSDestLatitude", "GPSDestLongitude")
        return Field("gps", name, "…" if private else clean(str(value), _MAX_TEXT), _digest(value))
    value = _value(exif, entry, raw)
    shown = _binary(value) if isinstance(value, bytes) else clean(str(value), _MAX_TEXT)
    return Field("exif", name, shown, _digest(value))


def _value(exif: Exif, entry: Entry, raw: bytes) -> str | bytes:
    """Read a value: text, numbers, fractions; bytes where it is none of these."""
    if entry.kind in (2, 129):
        return _plain(raw)
    if entry.kind in (5, 10):
        pattern = exif.order + ("II" if entry.kind == 5 else "ii")
        parts = [
            struct.unpack_from(pattern, raw, at)
            for at in range(0, min(len(raw) // 8, _MAX_NUMBERS) * 8, 8)
        ]
        return " ".join(f"{a / b:.6g}" if b else f"{a}/{b}" for a, b in parts)
    if entry.kind in _FORMATS and not (entry.kind == 1 and entry.count > _MAX_NUMBERS):
        code = _FORMATS[entry.kind]
        count = min(len(raw) // _SIZES[code], entry.count, 64)
        numbers = struct.unpack_from(f"{exif.order}{count}{code}", raw)
        return " ".join(f"{number:.6g}" if code in "fd" else str(number) for number in numbers)
    if entry.kind == 7 and raw[:8] in (b"ASCII\0\0\0", b"UNICODE\0"):
        from counterproof.exif_text import decode_user_comment

        return decode_user_comment(raw[:4096], little_endian=exif.order == "<")
    if raw and len(raw) <= 64 and all(32 <= byte < 127 for byte in raw.rstrip(b"\0")):
        return _plain(raw)
    return raw


def _plain(raw: bytes) -> str:
    raw = raw.rstrip(b"\0 ")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _xmp(packet: "xmp.Packet") -> Iterator[Field]:
    for name, values in packet.properties.items():
        if values:
            shown = clean("; ".join(values), _MAX_TEXT)
            if "GPSL" in name[1]:
                shown = "…"
            yield Field("xmp", _xmp_name(name), shown, _digest(values))
    for name, structures in packet.fields.items():
        if structures:
            rows = [sorted((_xmp_name(key), item) for key, item in s.items()) for s in structures]
            text = "; ".join(f"{key}={', '.join(item)}" for row in rows for key, item in row)
            yield Field("xmp", f"{_xmp_name(name)} {{}}", clean(text, _MAX_TEXT), _digest(rows))


def _xmp_name(name: "xmp.Name") -> str:
    namespace, local = name
    prefix = _PREFIXES.get(namespace) or namespace.rstrip("/#").rpartition("/")[2]
    return clean(f"{prefix}:{local}", 80)


def _iptc(data: bytes) -> Iterator[Field]:
    """List the datasets of an IIM stream, bare or inside Photoshop resources."""
    stream = photoshop_resource(data, 0x0404) if b"8BIM" in data[:64] else data
    at, count = 0, 0
    while at + 5 <= len(stream) and stream[at] == 0x1C and count < 500:
        number, dataset, size = struct.unpack_from(">BBH", stream, at + 1)
        if size & 0x8000:
            return  # an extended dataset: larger than any text
        value = stream[at + 5 : at + 5 + size]
        name = _IPTC.get((number, dataset), f"{number}:{dataset:03d}")
        if (number, dataset) != (2, 0):  # the version of the record
            yield _text("iptc", name, value)
        at += 5 + size
        count += 1


def photoshop_resource(data: bytes, wanted: int) -> bytes:
    """Return one Photoshop image resource; empty if there is none."""
    at = data.find(b"8BIM")
    while at >= 0 and at + 12 <= len(data) and data[at : at + 4] == b"8BIM":
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = data[at + 6]
        start = at + 6 + name + 1 + ((name + 1) & 1)
        if start + 4 > len(data):
            break
        (size,) = struct.unpack_from(">I", data, start)
        if number == wanted:
            return data[start + 4 : start + 4 + size]
        at = start + 4 + size + (size & 1)
    return b""
