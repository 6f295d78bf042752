"""Whether a file still looks as its camera wrote it, by what its metadata say of one another.

A camera writes size, time, preview and its own name in one go, and they agree. A program that
changes the picture later renews some of them and leaves others. What disagrees shows that the file
was saved again after capture; it does not show that anything in the picture was changed, and all of
it can be written by anyone.

Sources: EXIF 2.32 §4.6.4 to 4.6.6 (DateTime is the time of last change, DateTimeOriginal that of
capture; PixelXDimension and PixelYDimension are those of the coded picture); XMP part 2 §1.2.2.2
(history of a resource). Names of programs: our own list of common ones, not complete.
"""

import datetime as dt
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterproof.images import ImageFile
    from counterproof.tiff import Exif

__all__ = ["disagreements", "has_capture_data"]

_MAKE, _SOFTWARE, _CHANGED = 0x010F, 0x0131, 0x0132
_TAKEN, _WIDTH, _HEIGHT = 0x9003, 0xA002, 0xA003
_LATER = dt.timedelta(minutes=10)  # a long exposure with its processing ends sooner
_MOMENT = re.compile(r"(\d{4})[:\-](\d\d)[:\-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_EDITORS = re.compile(
    r"photoshop|lightroom|gimp|paint\.net|paint shop|affinity|pixelmator|snapseed|picasa|canva|"
    r"picsart|facetune|meitu|vsco|darktable|rawtherapee|capture one|luminar|photoscape|"
    r"imagemagick|graphicsmagick|irfanview|xnview|acdsee|krita|photopea|polarr|fotor|pixlr|"
    r"photo editor|photos editor|corel|aperture|iphoto|acorn|nik collection|topaz|instagram",
    re.IGNORECASE,
)
_COMPARED = 256  # pixels a side
_ASPECT = 0.06  # of difference: previews have bars, and sides that are whole numbers


def has_capture_data(image: "ImageFile") -> bool:
    """Tell whether a camera left its name and a time of capture, which others can disagree with."""
    exif = image.exif_directories
    return bool(exif and exif.text("ifd0", _MAKE) and exif.text("exif", _TAKEN))


def disagreements(image: "ImageFile") -> Iterator[str]:
    """Yield what does not fit a file as its camera wrote it.

    Yields:
        `size` (the stored size is not the picture's), `time` (changed after capture),
        `program` (an editor names itself), `history` (steps of editing are listed),
        `preview` (the preview has another shape, and shows something else).
    """
    exif = image.exif_directories
    if exif is None:
        return
    width, height = image.metadata.width, image.metadata.height
    stored = exif.integer("exif", _WIDTH), exif.integer("exif", _HEIGHT)
    if all(stored) and sorted(side or 0 for side in stored) != sorted((width, height)):
        yield "size"
    taken = _moment(exif.text("exif", _TAKEN))
    changed = _moment(exif.text("ifd0", _CHANGED))
    if taken and changed and changed - taken > _LATER:
        yield "time"
    if _EDITORS.search(exif.text("ifd0", _SOFTWARE)):
        yield "program"
    if any(b"stEvt:softwareAgent" in block.data for block in image.blocks("xmp", "xmp_extended")):
        yield "history"
    if _preview_differs(exif, width, height) and not _shows_the_same(image, exif.thumbnail()):
        yield "preview"


def _preview_differs(exif: "Exif", width: int, height: int) -> bool:
    """Tell whether the preview is wider or narrower than the picture, bars aside."""
    from counterproof.containers import walk

    data = exif.thumbnail()
    small = walk(data, 1 << 16) if data else None
    if small is None or not (small.width and small.height and width and height):
        return False
    own, other = width / height, small.width / small.height
    if min(abs(other - 4 / 3), abs(other - 3 / 2), abs(other - 3 / 4)) < 0.04:
        return False  # EXIF asks for 160 × 120, whatever the picture's shape
    return abs(own / other - 1) > _ASPECT and abs(own * other - 1) > _ASPECT


def _shows_the_same(image: "ImageFile", preview: bytes) -> bool:
    """Tell whether a preview of another shape shows the picture, squeezed or cut by the camera."""
    from counterproof.audit.facts import compare_thumbnail
    from counterproof.errors import ImageError
    from counterproof.images import ImageFile

    try:
        views = image.luminance(_COMPARED), ImageFile.open(preview).luminance(_COMPARED)
    except ImageError:
        return False
    differs, compared = compare_thumbnail(*views, image.orientation)
    return bool(compared) and not differs


def _moment(text: str) -> dt.datetime | None:
    found = _MOMENT.fullmatch(text)
    try:
        return dt.datetime(*(int(part) for part in found.groups())) if found else None  # type: ignore[arg-type]
    except ValueError:
        return None
