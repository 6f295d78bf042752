"""Turn the bytes of an `ImageFile` into pixels, by the cheapest reader that can.

A JPEG goes through libjpeg-turbo, at a fraction of its size where a small picture is enough;
everything else through Pillow, one reader chosen by content. Limits are checked before
anything is allocated, Pillow's own limit is off, and a large picture is converted in bands, so
that the file, its pixels and one band are all that lies in memory.

A file that lacks part of its picture gives no pixels. A file whose picture is whole but whose
coding has faults, as any viewer would show it, gives pixels and a remark in `image.flaws`.
"""

import functools
import io
import logging
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from counterproof.containers import UNEXAMINED
from counterproof.convert import BAND_PIXELS, averaging, fit, to_rgb, upright
from counterproof.decode_faults import (
    READER_FAULTS,
    check_memory,
    check_size,
    fault_of,
    read_error,
)
from counterproof.decode_jpeg import decode_jpeg
from counterproof.decode_rare import (
    decode_jxl,
    decode_preview,
    decode_wide_tiff,
    is_wide_tiff,
    preview_turn,
    quiet_stderr,
)
from counterproof.errors import ImageError
from counterproof.findings import FileInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Pixels = NDArray[np.uint8]

__all__ = [
    "describe",
    "exif",
    "luminance",
    "pixels",
    "stored",
    "upright",
]

Image.MAX_IMAGE_PIXELS = None  # ours is checked first, with one clear error
logging.getLogger("PIL").addHandler(logging.NullHandler())  # no last resort to standard error

READERS = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "avif": "AVIF",
    "heic": "HEIF",
    "heif": "HEIF",
}

# Bytes per pixel in Pillow's memory; every other mode takes 4.
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
# Further bytes per pixel that a reader takes while it decodes, rounded up from peaks measured
# on pictures of 40 megapixels; a test repeats it on smaller ones.
_READER_BYTES = {"webp": 12, "avif": 8, "heic": 8, "heif": 8, "gif": 1, "tiff": 3}
_UPRIGHT_BY_READER = ("tiff", "heic", "heif", "jxl")
_RAW = ("raw", "dng")
_INVERSE = {6: 8, 8: 6}


@functools.cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )


@functools.cache
def _one_thread() -> None:
    """Keep readers to one thread: a scan runs one worker per core."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _open(image: "ImageFile") -> Image.Image:
    """Open with Pillow, lazily; check the limits before anything is allocated."""
    reader = READERS.get(image.format)
    if image.format in UNEXAMINED:
        what = f"the content of {image.format} files is not examined"
        raise ImageError("not_examined", f"{image.name}: {what}")
    if reader is None:
        cause = "unsupported" if image.format else "unknown_format"
        what = f"{image.format} pictures are not decoded" if image.format else "not a picture"
        raise ImageError(cause, f"{image.name}: {what}; expected {', '.join(sorted(READERS))}")
    found = image.metadata
    if found.endless and image.format != "gif":  # of which only the first frame is read
        raise read_error(image, "damaged", found.damage)
    check_size(image, found.width, found.height)
    if image.format in ("avif", "heic", "heif"):
        # these readers decode, or copy, the whole file when they open it
        check_memory(image, 2 * len(image.data) + found.width * found.height)
    if reader == "HEIF":
        _register_heif()
    elif reader == "AVIF":
        _one_thread()
    elif reader == "TIFF" and image.exif_directories is None:
        raise read_error(image, "damaged", found.damage or "its directory is malformed")
    try:
        return _open_stream(image, reader)
    except ImageError:
        if image.format != "png":
            raise
        # text or a profile that Pillow refuses is no reason not to see the picture
        return _open_stream(image, reader, _essential_png(image.data))


def _open_stream(image: "ImageFile", reader: str, data: bytes | None = None) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream = image.stream() if data is None else io.BytesIO(data)
            picture = Image.open(stream, formats=(reader,))
    except UnidentifiedImageError as err:
        reason = image.metadata.damage or f"expected a readable {image.format}"
        raise read_error(image, "damaged", reason) from err
    except READER_FAULTS as err:
        raise fault_of(image, err) from err
    check_size(image, *picture.size)
    return picture


def _essential_png(data: bytes) -> bytes:
    """Return a PNG with only the chunks that make its still picture."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


def exif(image: "ImageFile") -> Image.Exif:
    """Load EXIF tags with Pillow; see `ImageFile.exif`."""
    tags = Image.Exif()
    found = image.exif_directories
    if found is None:
        return tags
    tags.endian, tags.bigtiff = found.order, found.big
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags.load_from_fp(io.BytesIO(found.data), found.first)
        except READER_FAULTS:
            return Image.Exif()
        for tag in list(tags):
            try:
                tags[tag]
                if tag in (0x8769, 0x8825):
                    tags.get_ifd(tag)
            except READER_FAULTS:
                del tags[tag]
    return tags


def describe(image: "ImageFile") -> FileInfo:
    """Read what the file is from its headers; see `ImageFile.info`."""
    found = image.metadata
    width, height, frames, mode = found.width, found.height, found.frames, found.mode
    alpha, turned = found.alpha, image.orientation >= 5
    if image.format in _RAW and image.preview is not None:
        # the sizes in a raw file are those of its first directory, often a thumbnail's
        shown = image.preview.metadata
        width, height, mode, frames = shown.width, shown.height, shown.mode, 1
        turned = preview_turn(image) >= 5
        if image.preview.orientation >= 5:
            width, height = height, width
    if image.format in READERS and image.format != "jpeg":
        try:
            picture = _open(image)
        except ImageError:
            pass
        else:
            width, height = picture.size
            turned = turned and image.format not in _UPRIGHT_BY_READER
            mode = picture.mode
            alpha = alpha or "A" in picture.getbands() or "transparency" in picture.info
            frames = frames or int(getattr(picture, "n_frames", 1))
    if turned:
        width, height = height, width
    planes = list(found.planes)
    if any(b"GDepth:" in block.data for block in image.blocks("xmp", "xmp_extended")):
        planes.append("depth")
    if image.exif_directories and image.exif_directories.thumbnail():
        planes.append("thumbnail")
    return FileInfo(
        format=found.format,
        mime=found.mime,
        bytes=len(image.data),
        width=width,
        height=height,
        frames=min(frames, image.limits.max_frames),
        mode=mode,
        bit_depth=found.bit_depth,
        alpha=alpha,
        orientation=image.orientation,
        planes=tuple(planes[:64]),
    )


def pixels(image: "ImageFile", max_side: int | None) -> "Pixels":
    """Decode the first frame to upright RGB; see `ImageFile.pixels`."""
    _check_side(max_side)
    orientation = 1 if image.format in _UPRIGHT_BY_READER else image.orientation
    if image.format in _RAW:
        array: Pixels | None = decode_preview(image, max_side)
        orientation = preview_turn(image)
    elif image.format == "jxl":
        array = decode_jxl(image)
    else:
        array = decode_jpeg(image, max_side, "RGB") if image.format == "jpeg" else None
    if array is None:
        array = _decode(image, max_side, orientation)
    array = upright(_shrink(array, max_side, image), orientation)
    array.setflags(write=False)
    return array


def luminance(image: "ImageFile", max_side: int) -> "Pixels":
    """Decode the first frame to upright grey; see `ImageFile.luminance`."""
    _check_side(max_side)
    array = decode_jpeg(image, max_side, "GRAY") if image.format == "jpeg" else None
    if array is None:
        return np.asarray(Image.fromarray(image.pixels(max_side)).convert("L"))
    array = upright(_shrink(array[:, :, 0], max_side, image), image.orientation)
    array.setflags(write=False)
    return array


def _check_side(max_side: int | None) -> None:
    if max_side is not None and max_side < 1:
        raise ValueError(f"expected max_side of at least 1, got {max_side}")


def _decode(image: "ImageFile", max_side: int | None, orientation: int) -> "Pixels":
    if is_wide_tiff(image):
        return decode_wide_tiff(image)
    picture = _open(image)
    if image.format == "jpeg" and max_side:
        picture.draft(None, fit(picture.size, max_side))
    check_memory(image, _decode_bytes(image, picture, max_side, orientation))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _load(picture)
            return to_rgb(picture, max_side)
    except READER_FAULTS as err:
        raise fault_of(image, err) from err


def _load(picture: Image.Image) -> None:
    if picture.format != "TIFF":
        picture.load()
        return
    # Pillow turns a TIFF upright as it loads, also by what its XMP says; only the tag counts
    picture.info.pop("xmp", None)
    with quiet_stderr():
        picture.load()


def _decode_bytes(
    image: "ImageFile", picture: Image.Image, max_side: int | None, orientation: int
) -> float:
    """Estimate what decoding takes: file, Pillow's pixels, its reader, one band, the result."""
    width, height = picture.size
    per_pixel = _STORED_BYTES.get(picture.mode, 4) + _READER_BYTES.get(image.format, 0)
    if image.format == "tiff" and image.orientation > 1:
        per_pixel += _STORED_BYTES.get(picture.mode, 4)
    factor = averaging(picture.size, max_side)
    result = 3 * width * height / factor**2 * (2 if orientation > 1 else 1)
    band = min(width * height, max(BAND_PIXELS, width * factor))
    copies = 2 if image.format in ("avif", "heic", "heif", "webp") else 1
    return copies * len(image.data) + per_pixel * width * height + 16 * band + result


def _shrink(array: "Pixels", max_side: int | None, image: "ImageFile") -> "Pixels":
    if max_side is None:
        return array
    height, width = array.shape[:2]
    target = fit((width, height), max_side)
    found = image.metadata
    if image.format == "jpeg" and max(found.width, found.height) > max_side:
        target = fit((found.width, found.height), max_side)  # decoded sizes are rounded up
    if target == (width, height):
        return array
    import cv2

    return np.asarray(cv2.resize(array, target, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def stored(image: "ImageFile") -> "NDArray[Any]":
    """Decode the first frame as stored; see `ImageFile.stored`."""
    picture = _open(image)
    check_memory(image, _decode_bytes(image, picture, None, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _load(picture)
            array: NDArray[Any] = np.array(picture)
    except READER_FAULTS as err:
        raise fault_of(image, err) from err
    if image.format == "tiff":  # Pillow has turned it upright
        return upright(array, _INVERSE.get(image.orientation, image.orientation))
    return array
