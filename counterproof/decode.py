"""Turn the bytes of an `ImageFile` into pixels, by the cheapest reader that can.

Pillow reads every format (HEIC through pi-heif); a JPEG that is wanted small goes through
libjpeg-turbo's scaled decode. Pillow's own pixel limit is off because ours is checked first.
"""

import functools
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from counterproof.errors import ImageError
from counterproof.findings import FileInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Pixels = NDArray[np.uint8]

__all__ = ["describe", "pixels", "stored"]

Image.MAX_IMAGE_PIXELS = None  # ours is checked first, with one clear error

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
# What Pillow's readers are known to raise on hostile files.
_READER_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
_DEPTHS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I": 32, "F": 32}


@functools.cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


def _open(image: "ImageFile") -> Image.Image:
    """Open with Pillow, lazily; check the limits before anything is allocated."""
    if image.format in ("heic", "heif"):
        _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(image.stream(), formats=_FORMATS)
    except UnidentifiedImageError as err:
        cause = "damaged" if image.format else "unknown_format"
        what = f"a readable {image.format}" if image.format else "an image"
        raise ImageError(cause, f"{image.name}: expected {what}, no reader accepts it") from err
    except _READER_FAULTS as err:
        raise ImageError("damaged", f"{image.name}: {_reason(err)}") from err
    count = picture.width * picture.height
    if count > image.limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"{image.name}: {picture.width:,} × {picture.height:,} pixels; "
            f"the limit is {image.limits.max_pixels:,}",
        )
    return picture


def _reason(err: BaseException) -> str:
    return str(err).strip() or type(err).__name__


def describe(image: "ImageFile") -> FileInfo:
    """Read what the file is from its headers.

    Raises:
        ImageError: if no reader knows the format or the header is broken.
    """
    found = image.metadata
    picture = _open(image)
    width, height = picture.size
    if image.orientation >= 5:
        width, height = height, width
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = min(int(getattr(picture, "n_frames", 1)), image.limits.max_frames)
        except _READER_FAULTS:
            frames = 1
    return FileInfo(
        format=found.format or (picture.format or "").lower(),
        mime=found.mime,
        bytes=len(image.data),
        width=width,
        height=height,
        frames=frames,
        mode=picture.mode,
        bit_depth=_DEPTHS.get(picture.mode, 8),
        alpha="A" in picture.getbands() or "transparency" in picture.info,
        orientation=image.orientation,
    )


def pixels(image: "ImageFile", max_side: int | None) -> "Pixels":
    """Decode the first frame to upright RGB; see `ImageFile.pixels`."""
    if max_side is not None and max_side < 1:
        raise ValueError(f"expected max_side of at least 1, got {max_side}")
    array = None
    if image.format == "jpeg" and max_side is not None:
        array = _scaled_jpeg(image, max_side)
    if array is None:
        array = _decode(image)
    array = _shrink(array, max_side)
    array = _upright(array, image.orientation)
    array.setflags(write=False)
    return array


def _scaled_jpeg(image: "ImageFile", max_side: int) -> "Pixels | None":
    """Decode a JPEG at the smallest size that is at least `max_side`; None if it is odd."""
    import simplejpeg

    width, height = image.metadata.width, image.metadata.height
    if width * height > image.limits.max_pixels:
        _open(image)  # says so
    longest = max(width, height)
    scale = min(1.0, max_side / longest) if longest else 1.0
    try:
        array: Pixels = simplejpeg.decode_jpeg(
            image.data,
            "RGB",
            fastdct=True,
            fastupsample=True,
            min_width=max(1, int(width * scale)),
            min_height=max(1, int(height * scale)),
            strict=True,
        )
    except ValueError:
        return None  # CMYK, or damaged: Pillow decides
    return array


def _decode(image: "ImageFile") -> "Pixels":
    picture = _open(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _to_rgb(picture)
    except _READER_FAULTS as err:
        cause = "truncated" if "truncat" in str(err) else "damaged"
        raise ImageError(cause, f"{image.name}: {_reason(err)}") from err


def _to_rgb(picture: Image.Image) -> "Pixels":
    """Convert any mode to RGB; 16 bit and float keep their range, alpha goes over white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float32)
        top = float(values.max(initial=0.0))
        scale = 255.0 / (65535.0 if 255.0 < top <= 65535.0 else max(top, 255.0))
        grey = (values * scale).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(canvas, picture)
    return np.array(picture.convert("RGB"))


def _shrink(array: "Pixels", max_side: int | None) -> "Pixels":
    height, width = array.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return array
    import cv2

    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _upright(array: "Pixels", orientation: int) -> "Pixels":
    """Apply EXIF orientation (EXIF 2.32 §4.6.4, tag 0x0112)."""
    if orientation in (2, 4, 5, 7):
        array = array[:, ::-1] if orientation in (2, 5, 7) else array[::-1]
    if orientation == 3:
        array = array[::-1, ::-1]
    elif orientation in (5, 8):
        array = np.rot90(array, 1)
    elif orientation in (6, 7):
        array = np.rot90(array, -1)
    return np.ascontiguousarray(array)


def stored(image: "ImageFile") -> "NDArray[Any]":
    """Decode the first frame as stored; see `ImageFile.stored`."""
    picture = _open(image)
    try:
        return np.array(picture)
    except _READER_FAULTS as err:
        raise ImageError("damaged", f"{image.name}: {_reason(err)}") from err
