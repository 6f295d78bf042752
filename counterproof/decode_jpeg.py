"""JPEG to pixels through libjpeg-turbo, at the smallest size that is large enough."""

from typing import TYPE_CHECKING

from counterproof.decode_faults import check_memory, check_size, read_error, reason_of
from counterproof.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Pixels = NDArray[np.uint8]

__all__ = ["decode_jpeg", "jpeg_pixels"]

_SAMPLE_BYTES = 2  # of a coefficient that a progressive JPEG keeps until its last scan
_MAX_SCANNED = 6_000_000_000  # coefficients that all scans of a progressive JPEG may visit: 10 s


def decode_jpeg(image: "ImageFile", max_side: int | None, space: str) -> "Pixels | None":
    """Decode a JPEG at the smallest size that is at least `max_side`; None if Pillow must."""
    found = image.metadata
    check_size(image, found.width, found.height)
    if found.coding in ("lossless", "hierarchical") or found.bit_depth not in (0, 8):
        what = f"{found.bit_depth}-bit {found.coding} JPEG"
        raise ImageError("unsupported", f"{image.name}: {what} pictures are not decoded")
    if not found.width or not found.height:
        raise read_error(image, "damaged", found.damage or "no frame header with a size")
    scale = min(1.0, max_side / max(found.width, found.height)) if max_side else 1.0
    check_memory(image, len(image.data) + _jpeg_bytes(image, scale))
    if found.coded_samples > _MAX_SCANNED // 1000:
        scans = image.data.count(b"\xff\xda")
        if scans * found.coded_samples > _MAX_SCANNED:
            what = f"{scans:,} scans of {found.width:,} × {found.height:,} pixels"
            raise ImageError("too_many_pixels", f"{image.name}: {what}; nobody writes that many")
    if found.mode == "CMYK":
        return None
    try:
        return jpeg_pixels(image.data, found.width, found.height, scale, space)
    except ValueError as err:
        reason = reason_of(err)
    if found.truncated:
        try:  # only the end marker may be missing
            array = jpeg_pixels(image.data + b"\xff\xd9", found.width, found.height, scale, space)
        except ValueError:
            raise read_error(image, "truncated", reason) from None
        image.flaws.append("no end of image marker")
        return array
    if "remature end" in reason:
        raise read_error(image, "truncated", "its picture data end before the picture does")
    image.flaws.append(reason)
    return None


def _jpeg_bytes(image: "ImageFile", scale: float) -> float:
    """Estimate what decoding takes besides the file: the result, turned, and coefficients."""
    found = image.metadata
    # libjpeg-turbo scales by eighths; the result is at most one step larger than asked for
    step = min(1.0, scale + 0.125) if scale < 1 else 1.0
    result = 3 * found.width * found.height * step * step
    if found.mode == "CMYK":
        result *= 4 / 3 + 1
    return result * (2 if image.orientation > 1 else 1) + _SAMPLE_BYTES * found.coded_samples


def jpeg_pixels(
    data: bytes, width: int, height: int, scale: float = 1.0, space: str = "RGB"
) -> "Pixels":
    """Decode one JPEG at least `scale` times its size, in the precise way at full size.

    Returns:
        Shape `(h, w, 3)`; `(h, w, 1)` for the space `GRAY`.

    Raises:
        ValueError: if its coding has any fault, or it is CMYK.
    """
    import simplejpeg

    array: Pixels = simplejpeg.decode_jpeg(
        data,
        space,
        fastdct=scale < 1,
        fastupsample=scale < 1,
        min_width=max(1, int(width * scale)) if scale < 1 else 0,
        min_height=max(1, int(height * scale)) if scale < 1 else 0,
        strict=True,
    )
    return array
