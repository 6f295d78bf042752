"""What the file says of itself, and whether its stored thumbnail shows the same picture.

Facts are copied from metadata that anyone can write: they are evidence of nothing. Strings are
one line of at most 200 characters without control characters.
"""

import datetime as dt
import re
import struct
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.containers import UNEXAMINED, Block, sniff
from counterproof.errors import ImageError
from counterproof.findings import Basis, Claim, Fact, Finding, Severity
from counterproof.images import ImageFile
from counterproof.perceptual import SMALL_SIDE
from counterproof.settings import Limits
from counterproof.tiff import clean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "SMALL_SIDE",
    "FileAnalyzer",
    "compare_thumbnail",
    "extension_remark",
    "has_readable_metadata",
    "icc_name",
]

_EXTENSIONS = {
    "jpeg": ("jpg", "jpeg", "jpe", "jfif", "jif", "mpo"),
    "png": ("png", "apng"),
    "webp": ("webp",),
    "gif": ("gif",),
    "tiff": ("tif", "tiff"),
    "dng": ("dng",),
    "bmp": ("bmp", "dib"),
    "avif": ("avif", "avifs"),
    "heic": ("heic", "heics", "heif", "heifs", "hif"),
    "heif": ("heif", "heifs", "heic", "hif"),
    "jxl": ("jxl",),
    "svg": ("svg",),
    "jp2": ("jp2", "j2k", "jpx", "jpf", "j2c", "jpc"),
    "psd": ("psd", "psb"),
    "exr": ("exr",),
    "mp4": ("mp4", "m4v", "3gp", "3g2", "f4v", "cmfv", "m4s"),
    "mov": ("mov", "qt", "mp4", "m4v"),
    "avi": ("avi",),
    "m4a": ("m4a", "m4b", "mp4"),
    "mp3": ("mp3",),
    "flac": ("flac",),
    "ogg": ("ogg", "oga", "ogv", "opus", "spx"),
    "mkv": ("mkv", "mka", "mk3d"),
    "webm": ("webm",),
    "wav": ("wav", "wave"),
    "pdf": ("pdf", "ai"),
    "raw": (
        *("cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "srf", "orf", "rw2", "raf", "pef"),
        *("srw", "x3f", "mrw", "3fr", "erf", "kdc", "dcr", "rwl", "iiq"),
    ),
}
_FORMAT_OF = {ending: name for name, endings in _EXTENSIONS.items() for ending in endings}
# Tags that describe the layout of a TIFF file, not where its picture comes from.
_LAYOUT_TAGS = frozenset(range(254, 270)) | frozenset({273, 277, 278, 279, 282, 283, 284, 296})
_LAYOUT_TAGS |= frozenset({292, 293, 317, 318, 319, 320, 322, 323, 324, 325, 330, 338, 339})
_LAYOUT_TAGS |= frozenset({529, 530, 531, 532, 347, 512, 513, 514})


# QuickTime File Format, "QuickTime Metadata Keys".
_APPLE = "com.apple.quicktime."
_RECORDED = {f"{_APPLE}make": "camera.make", f"{_APPLE}model": "camera.model"}
_RECORDED |= {f"{_APPLE}software": "software", f"{_APPLE}creationdate": "captured_at"}
_PLACES = (f"{_APPLE}location.ISO6709", "location", "location-eng")


class FileAnalyzer(Analyzer):
    """States camera, software, time and other facts, and damage to the file."""

    name: ClassVar[str] = "file"
    prefixes: ClassVar[tuple[str, ...]] = ("file",)
    stage: ClassVar[Stage] = Stage.QUICK
    version: ClassVar[str] = "3"

    def analyze(self, image: ImageFile) -> Iterable[Observation]:
        """Yield facts, `file.partial` and `file.thumbnail.differs`.

        Raises:
            ImageError: if neither pixels nor metadata can be read.
        """
        yield from _facts(image)
        if kind := UNEXAMINED.get(image.format):
            yield from self._unexamined(image, kind)
            return
        try:
            small = image.luminance(SMALL_SIDE)
        except ImageError as err:
            if not has_readable_metadata(image):
                raise
            yield from _damage(image)
            yield Finding(
                self.name,
                "file.partial",
                severity=Severity.LOW,
                details={"cause": err.cause, "message": _without_name(image, err)},
            )
            return
        yield from _damage(image)
        if image.preview is not None:
            info = image.info
            details = {"width": info.width, "height": info.height}
            yield Finding(self.name, "file.preview.only", details=details)
        yield from self._thumbnail(image, small)

    def _unexamined(self, image: ImageFile, kind: str) -> Iterable[Observation]:
        """Say of a video, a sound or a document that only what describes it was read."""
        if image.metadata.damage and not has_readable_metadata(image):
            cause = "truncated" if image.metadata.truncated else "damaged"
            raise ImageError(cause, f"{image.name}: {image.metadata.damage}")
        yield from _damage(image)
        details = {"kind": kind, "format": image.format}
        yield Finding(self.name, "file.content.unexamined", details=details)

    def _thumbnail(self, image: ImageFile, small: "NDArray[np.uint8]") -> Iterable[Finding]:
        found = image.exif_directories.thumbnail() if image.exif_directories else b""
        if not found:
            return
        try:
            thumbnail = ImageFile.open(found, limits=_THUMBNAIL_LIMITS).luminance(SMALL_SIDE)
        except ImageError:
            return  # it cannot be shown, so nobody is misled by it
        differs, details = compare_thumbnail(small, thumbnail, image.orientation)
        if differs:
            yield Finding(
                self.name,
                "file.thumbnail.differs",
                claim=Claim.EDITED,
                basis=Basis.HEURISTIC,
                severity=Severity.LOW,
                details=details,
            )


_THUMBNAIL_LIMITS = Limits(max_pixels=4_000_000, max_decode_bytes=64 * 2**20)


def has_readable_metadata(image: ImageFile) -> bool:
    """Tell whether anything but pixels can be read: a tag, a packet, a comment, a credential."""
    for block in image.blocks("xmp", "iptc", "text", "comment", "c2pa"):
        marks = {"xmp": b"<", "iptc": b"8BIM" if b"8BIM" in block.data[:64] else b"\x1c"}
        if block.data.strip(b"\0 \t\r\n") and marks.get(block.kind, b"") in block.data:
            return True
        if block.kind == "c2pa" and image.format == "svg":
            return True  # its bytes are read by the credential reader
    found = image.exif_directories
    if found is None:
        return False
    first = set(found.directories["ifd0"].entries)
    if image.format in ("tiff", "dng", "raw"):
        first -= _LAYOUT_TAGS
    return bool(first)


def extension_remark(path: str, format: str) -> str:
    """Say that a file's name ends as another format; empty if it does not.

    >>> extension_remark("a/b.PNG", "jpeg")
    'named .png, is jpeg'
    >>> extension_remark("a/b.jpg", "jpeg")
    ''
    """
    ending = PurePath(path).suffix[1:].lower()
    if not ending or not format or _FORMAT_OF.get(ending, format) == format:
        return ""
    if ending in _EXTENSIONS.get(format, ()):
        return ""
    if format == "tiff" and _FORMAT_OF[ending] in ("raw", "dng"):
        return ""  # most camera originals are TIFF files, and some can only be told by their maker
    return f"named .{ending}, is {format}"


def _facts(image: ImageFile) -> Iterable[Fact]:
    exif = image.exif_directories
    if exif:
        for name, directory, tag in (
            ("camera.make", "ifd0", 0x010F),
            ("camera.model", "ifd0", 0x0110),
            ("camera.lens", "exif", 0xA434),
            ("software", "ifd0", 0x0131),
        ):
            if text := exif.text(directory, tag):
                yield Fact(name, text)
        if when := _moment(exif.text("exif", 0x9003), exif.text("exif", 0x9011)):
            yield Fact("captured_at", when)
    if not (exif and exif.text("ifd0", 0x0131)):
        for block in image.blocks("text"):
            if block.key == "Software" and (text := clean(block.data.decode("utf-8", "replace"))):
                yield Fact("software", text)
                break
    yield from _recorded_facts(image)
    yield Fact("gps.present", _has_coordinates(image))
    if name := icc_name(image.icc):
        yield Fact("icc.name", name)
    trailers = image.blocks("trailer")
    if trailers:
        yield Fact("trailer.bytes", sum(block.length for block in trailers))
        yield Fact("trailer.kind", _trailer_kind(image, trailers[0]))


_STARTS = (
    (b"PK\3\4", "zip"),
    (b"Rar!\x1a\7", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
)
_SAMSUNG_END = b"SEFT"


def _trailer_kind(image: ImageFile, block: Block) -> str:
    """Name what bytes behind the picture begin as: a format, a packed folder, or `unknown`."""
    if image.data.rstrip(b"\0").endswith(_SAMSUNG_END):
        return "samsung"
    for start, name in _STARTS:
        if block.data.startswith(start):
            return name
    return sniff(block.data) or "unknown"


def _recorded_facts(image: ImageFile) -> Iterable[Fact]:
    """State what a video or a sound says of the device that recorded it."""
    if image.format not in UNEXAMINED:
        return
    for block in image.blocks("text"):
        name = _RECORDED.get(block.key)
        text = clean(block.data[:1024].decode("utf-8", "replace")) if name else ""
        if name == "captured_at":
            try:
                text = dt.datetime.fromisoformat(text).isoformat()
            except ValueError:
                continue
        if name and text:
            yield Fact(name, text)


def _damage(image: ImageFile) -> Iterable[Fact]:
    """State what is wrong with the file's structure or coding, decoded or not."""
    found = [image.metadata.damage, *image.flaws]
    if text := "; ".join(clean(reason) for reason in found if reason):
        yield Fact("file.damage", text[:200])


def _has_coordinates(image: ImageFile) -> bool:
    gps = image.exif_directories.directories.get("gps") if image.exif_directories else None
    if gps and {2, 4} <= set(gps.entries):
        return True
    if any(block.key in _PLACES and block.data.strip() for block in image.blocks("text")):
        return True
    return any(b"exif:GPSLatitude" in block.data for block in image.blocks("xmp"))


_MOMENT = re.compile(r"(\d{4})[:\-](\d\d)[:\-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")


def _moment(text: str, offset: str) -> str:
    """Return an EXIF time as ISO 8601, as written: local, with its offset if it has one."""
    found = _MOMENT.fullmatch(text)
    if not found:
        return ""
    try:
        moment = dt.datetime(*(int(part) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return ""
    return moment.isoformat() + (offset if _OFFSET.fullmatch(offset) else "")


def icc_name(profile: bytes) -> str:
    """Return the description of a colour profile; empty if there is none (ICC.1:2022 §9.2.41)."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for index in range(min(count, 100)):
            name, at, length = struct.unpack_from(">4sII", profile, 132 + 12 * index)
            if name != b"desc":
                continue
            body = profile[at : at + min(length, 4096)]
            if body[:4] == b"desc":  # profile version 2
                (size,) = struct.unpack_from(">I", body, 8)
                return clean(body[12 : 12 + size].partition(b"\0")[0].decode("ascii", "replace"))
            if body[:4] == b"mluc":
                size, start = struct.unpack_from(">II", body, 20)
                return clean(body[start : start + size].decode("utf-16-be", "replace"))
    except struct.error:
        pass
    return ""


def _without_name(image: ImageFile, err: ImageError) -> str:
    """Return the message without the file's name: the same bytes must give the same record."""
    return str(err).removeprefix(f"{image.name}: ")[:400]


_GRID = 32
_MIN_CORRELATION, _FAIR_CORRELATION = 0.92, 0.96
_MIN_SPREAD = 3.0
_CELL_LEVELS, _CELL_RATIO, _CELL_FLOOR = 20.0, 6.0, 8.0
_MANY_LEVELS = 50.0


def compare_thumbnail(
    small: "NDArray[np.uint8]", thumbnail: "NDArray[np.uint8]", orientation: int = 1
) -> tuple[bool, dict[str, Any]]:
    """Tell whether a thumbnail shows something else than the picture.

    Both are brought to 32 × 32 grey values. Bars at the edges of the thumbnail, a thumbnail
    cut to another shape, and one that a program forgot to turn with the picture are tried;
    the best fit counts. They differ if they correlate below 0.92; below 0.96 while one cell of
    the 8 × 8 grid differs by more than 50 grey levels; or if one cell differs by more than 20,
    and far more than the median cell does. Cells are compared after brightness and contrast
    are matched: what counts is that one part was changed.

    Args:
        small: the upright picture, grey.
        thumbnail: grey, as stored.
        orientation: of the picture, EXIF; the thumbnail's is the same.

    Returns:
        Whether they differ, and `correlation`, `largest_difference` (grey levels) and `box`
        (`[x, y, w, h]` of the most different cell, as fractions of the upright picture).

    Source: thresholds measured on 38 distinct camera thumbnails (correlation at least 0.96,
    largest cell at most 14): none flagged. With one change made to the picture, flagged are
    crops to 90 % of the area 0.95, to 80 % and less 1.0, an object of 3 % of the area put in
    1.0, as much blackened 0.97, smoothed away 0.45; none by gamma 0.5 to 2, contrast 0.5 to 2,
    conversion to grey or turning, 0.03 by blur, 0.24 by keeping the red channel alone.
    """
    import numpy as np

    from counterproof.convert import upright

    picture, stored = small, upright(thumbnail, orientation)
    if min(picture.std(), stored.std()) < _MIN_SPREAD or min(*picture.shape, *stored.shape) < 8:
        return False, {}
    best, pair = -2.0, None
    for turns in (0, 1, 3, 2):
        turned = np.ascontiguousarray(np.rot90(stored, turns), dtype=np.uint8)
        for one, other in _alignments(picture, turned):
            grids = (_grid(one), _grid(other))
            if (fit := _correlation(*grids)) > best:
                best, pair = fit, grids
        if best >= 0.98:
            break
    assert pair is not None
    slope, level = np.polyfit(pair[1].ravel(), pair[0].ravel(), 1)
    rest = pair[0] - (slope * pair[1] + level)
    cells = np.sqrt((rest.reshape(8, 4, 8, 4) ** 2).mean(axis=(1, 3)))  # [row, column]
    largest, median = float(cells.max()), float(np.median(cells))
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    differs = (
        best < _MIN_CORRELATION
        or (best < _FAIR_CORRELATION and largest > _MANY_LEVELS)
        or (largest > _CELL_LEVELS and largest > _CELL_RATIO * median + _CELL_FLOOR)
    )
    return differs, {
        "correlation": round(best, 3),
        "largest_difference": round(largest, 1),
        "box": [int(column) / 8, int(row) / 8, 1 / 8, 1 / 8],
    }


def _alignments(
    picture: "NDArray[np.uint8]", stored: "NDArray[np.uint8]"
) -> "Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]":
    """Yield the ways in which cameras fit a picture into a thumbnail of another shape."""
    yield picture, stored
    shape, other = picture.shape[1] / picture.shape[0], stored.shape[1] / stored.shape[0]
    if abs(shape / other - 1) > 0.02:
        yield picture, _middle(stored, shape)  # bars above and below, or at the sides
        yield _middle(picture, other), stored  # cut to the thumbnail's shape


def _middle(grey: "NDArray[np.uint8]", shape: float) -> "NDArray[np.uint8]":
    """Cut the middle part that is `shape` times as wide as it is high."""
    height, width = grey.shape
    if width / height > shape:
        kept = max(1, round(height * shape))
        return grey[:, (width - kept) // 2 :][:, :kept]
    kept = max(1, round(width / shape))
    return grey[(height - kept) // 2 :][:kept]


def _grid(grey: "NDArray[np.uint8]") -> "NDArray[np.float64]":
    import cv2
    import numpy as np

    size = (_GRID, _GRID)
    small = cv2.resize(np.ascontiguousarray(grey), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float64)


def _correlation(one: "NDArray[np.float64]", other: "NDArray[np.float64]") -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float((one * one).sum() * (other * other).sum()) ** 0.5
    return float((one * other).sum()) / scale if scale else 0.0
