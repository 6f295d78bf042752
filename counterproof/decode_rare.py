"""Kinds that Pillow does not read: camera raw by its preview, JPEG XL, TIFF of wide samples."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.convert import upright, wide_to_rgb
from counterproof.decode_faults import (
    READER_FAULTS,
    check_memory,
    check_size,
    fault_of,
    read_error,
)
from counterproof.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Pixels = NDArray[np.uint8]

__all__ = [
    "decode_jxl",
    "decode_preview",
    "decode_wide_tiff",
    "is_wide_tiff",
    "preview_turn",
    "quiet_stderr",
]

_JXL_BYTES = 24  # per pixel: libjxl works in 32-bit floats, three channels, and the result


def decode_preview(image: "ImageFile", max_side: int | None) -> "Pixels":
    """Decode the preview of a raw file, as it is stored: the raw data are not developed."""
    if image.preview is None:
        what = f"{image.format} files are not developed, and it holds no preview"
        raise read_error(image, "unsupported", what)
    try:
        array = image.preview.pixels(max_side)
    except ImageError as err:
        reason = str(err).removeprefix(f"{image.preview.name}: ")
        raise ImageError(err.cause, f"{image.name}: its preview: {reason}") from err
    image.flaws.extend(f"preview: {flaw}" for flaw in image.preview.flaws)
    return array


def preview_turn(image: "ImageFile") -> int:
    """Return how a preview still has to be turned: not at all where it says so itself."""
    preview = image.preview
    stated = preview is not None and preview.exif_directories is not None
    return 1 if stated else image.orientation


def decode_jxl(image: "ImageFile") -> "Pixels":
    """Decode JPEG XL to 8 bits, upright, with the optional reader; transparency goes over white."""
    try:
        import pylibjxl
    except ImportError as err:
        what = "JPEG XL pictures are decoded with an extra: pip install 'counterproof[jxl]'"
        raise ImageError("unsupported", f"{image.name}: {what}") from err
    try:
        found = pylibjxl.probe(image.data)
        width, height = int(found["width"]), int(found["height"])
        check_size(image, width, height)
        check_memory(image, len(image.data) + _JXL_BYTES * width * height)
        array: NDArray[Any] = pylibjxl.decode(image.data)
    except READER_FAULTS as err:
        raise fault_of(image, err) from err
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] in (2, 4):
        alpha = array[:, :, -1:].astype(np.uint16)
        over = array[:, :, :-1] * alpha + 255 * (255 - alpha) + 127
        array = (over // 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def is_wide_tiff(image: "ImageFile") -> bool:
    """Tell whether a TIFF holds colours of 32 bits or more, or floats of 64, which Pillow lacks."""
    found = image.exif_directories
    if image.format != "tiff" or found is None or image.metadata.bit_depth < 32:
        return False
    bands = found.integer("ifd0", 277) or 1
    return bands in (3, 4) or (bands == 1 and image.metadata.bit_depth == 64)


def decode_wide_tiff(image: "ImageFile") -> "Pixels":
    """Decode such a TIFF with OpenCV, its tones brought to 8 bits, upright."""
    import cv2

    found = image.metadata
    check_size(image, found.width, found.height)
    check_memory(image, len(image.data) + 5 * found.width * found.height * found.bit_depth)
    try:
        with quiet_stderr():
            data = np.frombuffer(image.data, np.uint8)
            values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as err:
        raise fault_of(image, err) from err
    if values is None or values.size == 0:
        raise read_error(image, "damaged", found.damage or "expected a readable tiff")
    rgb = values if values.ndim == 2 else values[:, :, 2::-1]  # from BGR
    return upright(wide_to_rgb(rgb), image.orientation)


_stderr_lock = threading.Lock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep libtiff, which writes past Python, from writing to the person's terminal."""
    with _stderr_lock:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error to keep quiet
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
