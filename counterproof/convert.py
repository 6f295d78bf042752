"""Bring every stored layout of pixels to upright 8-bit RGB.

A large picture is converted in bands, and averaged as it goes where a small one is enough, so
that no second copy of it lies in memory. 16 bits and more keep their range of tones.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["BAND_PIXELS", "averaging", "fit", "to_rgb", "upright", "wide_to_rgb"]

BAND_PIXELS = 4_000_000
"""Pixels of a picture that are converted at once."""


def averaging(size: tuple[int, int], max_side: int | None) -> int:
    """Return by how much a large picture is averaged, band by band, before the exact resize."""
    if max_side is None or size[0] * size[1] <= BAND_PIXELS:
        return 1
    return max(1, max(size) // (4 * max_side))


def to_rgb(picture: Image.Image, max_side: int | None) -> "Pixels":
    """Convert any mode to RGB, in bands; a wide range of values keeps its range."""
    width, height = picture.size
    factor = averaging(picture.size, max_side)
    rows = factor * max(1, BAND_PIXELS // (width * factor))
    top = _top(picture, rows)
    if rows >= height and factor == 1:
        return _band_to_rgb(picture, top)
    result = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    for y in range(0, height, rows):
        band = _band_to_rgb(picture.crop((0, y, width, min(height, y + rows))), top)
        if factor > 1:
            band = np.asarray(Image.fromarray(band).reduce(factor))
        result[y // factor : y // factor + len(band)] = band
    return result


def _top(picture: Image.Image, rows: int) -> float:
    """Return the value that becomes white: 65,535, or the largest that there is.

    Floating-point pictures are nominally 0 to 1 (TIFF Technical Note 3, 2005); a larger range
    is kept by scaling it down. Integers of 32 bits likewise, from 16 bits.
    """
    if picture.mode.startswith("I;16"):
        return 65_535.0
    if picture.mode not in ("I", "F"):
        return 255.0
    top = 0.0
    for y in range(0, picture.height, rows):
        box = (0, y, picture.width, min(picture.height, y + rows))
        values = np.asarray(picture.crop(box), dtype=np.float64)
        values = values[np.isfinite(values)]
        top = max(top, float(values.max(initial=0.0)))
    if picture.mode == "F":
        return max(top, 1.0)
    return 255.0 if top <= 255 else max(top, 65_535.0)


def _band_to_rgb(picture: Image.Image, top: float) -> "Pixels":
    """Convert one band; transparency goes over white."""
    if picture.mode[:1] == "I" or picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, dtype=np.float32), nan=0.0)
        grey = np.rint(values.clip(0, top) * (255.0 / top)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "LAB":
        picture = _lab_to_rgb(picture)
    if "A" in picture.getbands() or "a" in picture.mode or "transparency" in picture.info:
        if picture.mode == "La":
            picture = picture.convert("LA")
        picture = picture.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(canvas, picture)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    found = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return picture if found is None else found


def wide_to_rgb(values: "NDArray[Any]") -> "Pixels":
    """Convert integers or floats of 32 bits and more, grey `(H, W)` or RGB `(H, W, 3)`.

    The whole range is kept: what is larger than white (1 for floats, 65,535 for integers)
    scales the picture down.
    """
    levels = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = max(float(levels.max(initial=0.0)), 1.0 if values.dtype.kind == "f" else 65_535.0)
    array = np.rint(levels.clip(0, top) * (255.0 / top)).astype(np.uint8)
    return array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2)


def fit(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Return the size whose longest side is at most `max_side`."""
    width, height = size
    longest = max(size)
    if longest <= max_side:
        return size
    scale = max_side / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def upright(array: "NDArray[Any]", orientation: int) -> "NDArray[Any]":
    """Apply EXIF orientation (EXIF 2.32 §4.6.4, tag 0x0112)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
