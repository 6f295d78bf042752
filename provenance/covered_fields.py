"""Which of a picture's stated facts the signature covers: capture time, place, camera.

Metadata can lie in a range that a credential's hash leaves out, and then be changed without
anybody's noticing. For each fact this says in which carriers it stands and whether the bytes of
each are signed: the value's own bytes, and whatever leads to them, since a pointer that can be
changed can be led elsewhere.

Sources: C2PA 2.4 §18.5 to 18.7 (hash assertions and their exclusions); EXIF 2.32 §4.6.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterproof.blocks import Block
    from counterproof.images import ImageFile

__all__ = ["FACTS", "block_coverage", "covered_facts"]

FACTS = ("captured_at", "gps", "camera")
"""What people read off a photograph beside the picture itself."""

_TAGS: dict[str, tuple[tuple[str, int], ...]] = {
    "captured_at": (("exif", 0x9003), ("exif", 0x9004), ("exif", 0x9011), ("exif", 0x9291)),
    "gps": tuple(("gps", tag) for tag in (1, 2, 3, 4, 5, 6, 7, 29)),
    "camera": (("ifd0", 0x010F), ("ifd0", 0x0110), ("exif", 0xA433), ("exif", 0xA434)),
}
_XMP: dict[str, tuple[bytes, ...]] = {
    "captured_at": (b"exif:DateTimeOriginal", b"photoshop:DateCreated", b"xmp:CreateDate"),
    "gps": (b"exif:GPSLatitude", b"exif:GPSLongitude"),
    "camera": (b"tiff:Make", b"tiff:Model", b"aux:Lens", b"aux:SerialNumber"),
}
# Keys of texts in video and sound (QuickTime File Format, "QuickTime Metadata Keys").
_TEXTS: dict[str, tuple[str, ...]] = {
    "captured_at": ("com.apple.quicktime.creationdate", "date", "IDIT"),
    "gps": ("com.apple.quicktime.location.ISO6709", "location", "location-eng"),
    "camera": ("com.apple.quicktime.make", "com.apple.quicktime.model"),
}
_STATED: dict[str, tuple[str, ...]] = {
    "captured_at": ("exif:DateTimeOriginal", "EXIF:DateTimeOriginal"),
    "gps": ("exif:GPSLatitude", "EXIF:GPSLatitude"),
    "camera": ("tiff:Make", "tiff:Model", "EXIF:Make", "EXIF:Model"),
}
_ASSERTIONS = ("stds.exif", "c2pa.metadata", "cawg.metadata", "stds.schema-org")
# Which metadata the boxes hold that a hash over boxes may leave out by name.
_BOXES = {
    "APP1": ("exif", "xmp", "xmp_extended"),
    "APP2": ("icc", "mpf", "flashpix"),
    "APP13": ("iptc",),
    "COM": ("comment",),
    "eXIf": ("exif",),
    "EXIF": ("exif",),
    "XMP ": ("xmp",),
    "iTXt": ("xmp", "text"),
    "tEXt": ("text",),
    "zTXt": ("text",),
    "iCCP": ("icc",),
    "ICCP": ("icc",),
}
_WHOLE = ("/meta", "/mdat", "/moov", "/idat")  # where AVIF and HEIC keep metadata

Range = tuple[int, int]


def block_coverage(
    image: "ImageFile", beyond: Iterable[Range], paths: Iterable[str]
) -> list[dict[str, Any]]:
    """List the metadata blocks outside the credential, each with what the hash covers of it.

    Args:
        image: the picture.
        beyond: `(start, length)` of ranges that no hash covers, the credential's own left out.
        paths: names of boxes that are left out.

    Returns:
        `kind`, `offset`, `length` and `covered` (`signed`, `partly`, `not_covered`) of each.
    """
    beyond, paths = list(beyond), list(paths)
    found = []
    for block in image.metadata.blocks:
        if block.kind == "c2pa" or block.length >= len(image.data):
            continue
        lost = sum(size for _, size in _overlaps((block.offset, block.length), beyond))
        covered = "signed" if not lost else "partly" if lost < block.length else "not_covered"
        if _left_out(block.kind, paths):
            covered = "not_covered"
        found.append(
            {
                "kind": block.kind,
                "offset": block.offset,
                "length": block.length,
                "covered": covered,
            }
        )
    return found


def covered_facts(
    image: "ImageFile",
    assertions: Mapping[str, Any],
    beyond: Iterable[Range],
    paths: Iterable[str],
) -> dict[str, dict[str, Any]]:
    """Say of capture time, place and camera whether the signature covers what states them.

    Args:
        image: the picture.
        assertions: label → content of the active manifest's assertions.
        beyond: `(start, length)` of ranges that no hash covers.
        paths: names of boxes that are left out.

    Returns:
        For each of `FACTS` that is stated anywhere, `state` (`signed`, or `not_covered` where
        any carrier in the file is not) and `carriers`, each with `where` (`exif`, `xmp`, `text`,
        `credential`) and its own `state`.
    """
    beyond, paths = list(beyond), list(paths)
    found: dict[str, dict[str, Any]] = {}
    for name in FACTS:
        carriers = [
            *_in_exif(image, name, beyond, paths),
            *_in_xmp(image, name, beyond, paths),
            *_in_texts(image, name, beyond, paths),
        ]
        if any(_states(data, name) for label, data in assertions.items() if _is_stated(label)):
            carriers.append({"where": "credential", "state": "signed"})
        if carriers:
            lost = any(item["state"] == "not_covered" for item in carriers)
            found[name] = {"state": "not_covered" if lost else "signed", "carriers": carriers}
    return found


def _overlaps(block: Range, beyond: Iterable[Range]) -> Iterator[Range]:
    start, end = block[0], block[0] + block[1]
    for low, size in beyond:
        first, last = max(start, low), min(end, low + size)
        if first < last:
            yield first, last - first


def _left_out(kind: str, paths: Iterable[str]) -> bool:
    return any(path.startswith(_WHOLE) or kind in _BOXES.get(path, ()) for path in paths)


def _in_exif(
    image: "ImageFile", name: str, beyond: list[Range], paths: list[str]
) -> Iterator[dict[str, str]]:
    exif, blocks = image.exif_directories, image.blocks("exif")
    if exif is None or not blocks:
        return
    entries = [entry for place, tag in _TAGS[name] if (entry := exif.entry(place, tag)) is not None]
    if not entries:
        return
    lost = _left_out("exif", paths)
    whole = image.format in ("tiff", "dng", "raw")
    pieces = [(0, 0, len(image.data))] if whole else list(_pieces(image, blocks))
    values = [
        (entry.at, entry.length)
        for place in exif.directories.values()
        for entry in place.entries.values()
    ]
    for at, start, size in pieces:
        for low, length in _overlaps((start, size), beyond):
            inside = (at + low - start, length)  # in bytes from the TIFF header on
            value = any(next(_overlaps((e.at, e.length), [inside]), None) for e in entries)
            # in a TIFF file pixels lie between the directories: only values are looked at
            lost = lost or value or (not whole and _is_structure(inside, values))
    yield {"where": "exif", "state": "not_covered" if lost else "signed"}


def _pieces(image: "ImageFile", blocks: Iterable["Block"]) -> Iterator[tuple[int, int, int]]:
    """Yield where EXIF lies: bytes from its TIFF header on, where that is in the file, length."""
    at = 0
    for block in blocks if image.format == "jpeg" else list(blocks)[:1]:
        start = image.data.find(block.data[:256], block.offset, block.offset + block.length)
        yield at, (start if start >= 0 else block.offset), len(block.data)
        at += len(block.data)


def _is_structure(inside: Range, values: list[Range]) -> bool:
    """Tell whether a range holds more than values: headers, directories, pointers."""
    at, end = inside[0], inside[0] + inside[1]
    for low, size in sorted(values):
        if low > at:
            break
        at = max(at, low + size)
        if at + 1 == end and at & 1:
            at += 1  # a value of odd length is padded
        if at >= end:
            return False
    return at < end


def _in_xmp(
    image: "ImageFile", name: str, beyond: list[Range], paths: list[str]
) -> Iterator[dict[str, str]]:
    for block in image.blocks("xmp", "xmp_extended"):
        if any(word in block.data for word in _XMP[name]):
            lost = _left_out(block.kind, paths)
            lost = lost or next(_overlaps((block.offset, block.length), beyond), None) is not None
            yield {"where": "xmp", "state": "not_covered" if lost else "signed"}


def _in_texts(
    image: "ImageFile", name: str, beyond: list[Range], paths: list[str]
) -> Iterator[dict[str, str]]:
    for block in image.blocks("text"):
        if block.key in _TEXTS[name]:
            lost = _left_out(block.kind, paths)
            lost = lost or next(_overlaps((block.offset, block.length), beyond), None) is not None
            yield {"where": "text", "state": "not_covered" if lost else "signed"}


def _is_stated(label: str) -> bool:
    return label.startswith(_ASSERTIONS)


def _states(data: Any, name: str) -> bool:
    return isinstance(data, Mapping) and any(key in data for key in _STATED[name])
