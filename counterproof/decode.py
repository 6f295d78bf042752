"""Turn the bytes of an `ImageFile` into pixels, by the cheapest reader that can.

A JPEG goes through libjpeg-turbo, at a fraction of its size where a small picture is enough;
everything else through Pillow, one reader chosen by content. Limits are checked before
anything is allocated, Pillow's own limit is off, and a large picture is converted in bands, so
that the file, its pixels and one band are all that lies in memory.

A file that lacks part of its picture gives no pixels. A file whose picture is whole but whose
coding has faults, as any viewer would show it, gives pixels and a remark in `image.flaws`.
"""

import contextlib
import functools
import io
import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from counterproof.containers import UNEXAMINED
from counterproof.convert import BAND_PIXELS, averaging, fit, to_rgb, upright, wide_to_rgb
from counterproof.errors import ImageError
from counterproof.findings import FileInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Pixels = NDArray[np.uint8]

__all__ = [
    "READER_FAULTS",
    "describe",
    "exif",
    "jpeg_pixels",
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
READER_FAULTS = (
    ArithmeticError,
    AttributeError,
    AssertionError,
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
"""What Pillow's readers are known to raise on hostile files."""

_MAX_SIDE = 1_000_000  # readers work by rows: 100 million rows of one pixel take half a minute
# Bytes per pixel in Pillow's memory; every other mode takes 4.
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
# Further bytes per pixel that a reader takes while it decodes, rounded up from peaks measured
# on pictures of 40 megapixels; a test repeats it on smaller ones.
_READER_BYTES = {"webp": 12, "avif": 8, "heic": 8, "heif": 8, "gif": 1, "tiff": 3}
_SAMPLE_BYTES = 2  # of a coefficient that a progressive JPEG keeps until its last scan
_MAX_SCANNED = 6_000_000_000  # coefficients that all scans of a progressive JPEG may visit: 10 s
_UPRIGHT_BY_READER = ("tiff", "heic", "heif", "jxl")
_RAW = ("raw", "dng")
_JXL_BYTES = 24  # per pixel: libjxl works in 32-bit floats, three channels, and the result
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


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


def _error(image: "ImageFile", cause: str, reason: str) -> ImageError:
    """Make an error; a file that ends too early says so, whatever its reader made of it."""
    found = image.metadata
    if found.truncated and cause in ("damaged", "truncated"):
        whole = f" of {_megabytes(found.expected_bytes)}" if found.expected_bytes else ""
        cause, reason = "truncated", f"truncated after {_megabytes(len(image.data))}{whole}"
    return ImageError(cause, f"{image.name}: {reason}")


def _reason(err: BaseException) -> str:
    return " ".join(str(err).split()) or type(err).__name__


def _fault(image: "ImageFile", err: BaseException) -> ImageError:
    reason = _reason(err)
    if isinstance(err, MemoryError):
        return _error(image, "too_many_pixels", "its decoder asked for more memory than there is")
    if "ecurity limit" in reason:
        return _error(image, "unsupported", f"its decoder refuses it: {reason}")
    return _error(image, "truncated" if "runcat" in reason else "damaged", reason)


def _check_size(image: "ImageFile", width: int, height: int) -> None:
    if max(width, height) > _MAX_SIDE:
        what = f"a side of {max(width, height):,} pixels; the limit is {_MAX_SIDE:,}"
        raise ImageError("too_many_pixels", f"{image.name}: {what}")
    if width * height > image.limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"{image.name}: {width:,} × {height:,} pixels; the limit is "
            f"{image.limits.max_pixels:,}",
        )


def _check_memory(image: "ImageFile", count: float) -> None:
    limit = image.limits.max_decode_bytes
    if count > limit:
        raise ImageError(
            "too_many_pixels",
            f"{image.name}: decoding takes {count / 2**20:,.0f} MiB; the limit is "
            f"{limit / 2**20:,.0f} MiB",
        )


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
        raise _error(image, "damaged", found.damage)
    _check_size(image, found.width, found.height)
    if image.format in ("avif", "heic", "heif"):
        # these readers decode, or copy, the whole file when they open it
        _check_memory(image, 2 * len(image.data) + found.width * found.height)
    if reader == "HEIF":
        _register_heif()
    elif reader == "AVIF":
        _one_thread()
    elif reader == "TIFF" and image.exif_directories is None:
        raise _error(image, "damaged", found.damage or "its directory is malformed")
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
        raise _error(image, "damaged", reason) from err
    except READER_FAULTS as err:
        raise _fault(image, err) from err
    _check_size(image, *picture.size)
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
        turned = _preview_turn(image) >= 5
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
        array: Pixels | None = _preview(image, max_side)
        orientation = _preview_turn(image)
    elif image.format == "jxl":
        array = _jxl(image)
    else:
        array = _jpeg(image, max_side, "RGB") if image.format == "jpeg" else None
    if array is None:
        array = _decode(image, max_side, orientation)
    array = upright(_shrink(array, max_side, image), orientation)
    array.setflags(write=False)
    return array


def _preview(image: "ImageFile", max_side: int | None) -> "Pixels":
    """Decode the preview of a raw file, as it is stored: the raw data are not developed."""
    if image.preview is None:
        what = f"{image.format} files are not developed, and it holds no preview"
        raise _error(image, "unsupported", what)
    try:
        array = image.preview.pixels(max_side)
    except ImageError as err:
        reason = str(err).removeprefix(f"{image.preview.name}: ")
        raise ImageError(err.cause, f"{image.name}: its preview: {reason}") from err
    image.flaws.extend(f"preview: {flaw}" for flaw in image.preview.flaws)
    return array


def _preview_turn(image: "ImageFile") -> int:
    """Return how a preview still has to be turned: not at all where it says so itself."""
    preview = image.preview
    stated = preview is not None and preview.exif_directories is not None
    return 1 if stated else image.orientation


def _jxl(image: "ImageFile") -> "Pixels":
    """Decode JPEG XL to 8 bits, upright, with the optional reader; transparency goes over white."""
    try:
        import pylibjxl
    except ImportError as err:
        what = "JPEG XL pictures are decoded with an extra: pip install 'counterproof[jxl]'"
        raise ImageError("unsupported", f"{image.name}: {what}") from err
    try:
        found = pylibjxl.probe(image.data)
        width, height = int(found["width"]), int(found["height"])
        _check_size(image, width, height)
        _check_memory(image, len(image.data) + _JXL_BYTES * width * height)
        array: NDArray[Any] = pylibjxl.decode(image.data)
    except READER_FAULTS as err:
        raise _fault(image, err) from err
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] in (2, 4):
        alpha = array[:, :, -1:].astype(np.uint16)
        over = array[:, :, :-1] * alpha + 255 * (255 - alpha) + 127
        array = (over // 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def luminance(image: "ImageFile", max_side: int) -> "Pixels":
    """Decode the first frame to upright grey; see `ImageFile.luminance`."""
    _check_side(max_side)
    array = _jpeg(image, max_side, "GRAY") if image.format == "jpeg" else None
    if array is None:
        return np.asarray(Image.fromarray(image.pixels(max_side)).convert("L"))
    array = upright(_shrink(array[:, :, 0], max_side, image), image.orientation)
    array.setflags(write=False)
    return array


def _check_side(max_side: int | None) -> None:
    if max_side is not None and max_side < 1:
        raise ValueError(f"expected max_side of at least 1, got {max_side}")


def _jpeg(image: "ImageFile", max_side: int | None, space: str) -> "Pixels | None":
    """Decode a JPEG at the smallest size that is at least `max_side`; None if Pillow must."""
    found = image.metadata
    _check_size(image, found.width, found.height)
    if found.coding in ("lossless", "hierarchical") or found.bit_depth not in (0, 8):
        what = f"{found.bit_depth}-bit {found.coding} JPEG"
        raise ImageError("unsupported", f"{image.name}: {what} pictures are not decoded")
    if not found.width or not found.height:
        raise _error(image, "damaged", found.damage or "no frame header with a size")
    scale = min(1.0, max_side / max(found.width, found.height)) if max_side else 1.0
    _check_memory(image, len(image.data) + _jpeg_bytes(image, scale))
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
        reason = _reason(err)
    if found.truncated:
        try:  # only the end marker may be missing
            array = jpeg_pixels(image.data + b"\xff\xd9", found.width, found.height, scale, space)
        except ValueError:
            raise _error(image, "truncated", reason) from None
        image.flaws.append("no end of image marker")
        return array
    if "remature end" in reason:
        raise _error(image, "truncated", "its picture data end before the picture does")
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


def _decode(image: "ImageFile", max_side: int | None, orientation: int) -> "Pixels":
    if _is_wide_tiff(image):
        return _decode_wide_tiff(image)
    picture = _open(image)
    if image.format == "jpeg" and max_side:
        picture.draft(None, fit(picture.size, max_side))
    _check_memory(image, _decode_bytes(image, picture, max_side, orientation))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _load(picture)
            return to_rgb(picture, max_side)
    except READER_FAULTS as err:
        raise _fault(image, err) from err


def _is_wide_tiff(image: "ImageFile") -> bool:
    """Tell whether a TIFF holds colours of 32 bits or more, or floats of 64, which Pillow lacks."""
    found = image.exif_directories
    if image.format != "tiff" or found is None or image.metadata.bit_depth < 32:
        return False
    bands = found.integer("ifd0", 277) or 1
    return bands in (3, 4) or (bands == 1 and image.metadata.bit_depth == 64)


def _decode_wide_tiff(image: "ImageFile") -> "Pixels":
    import cv2

    found = image.metadata
    _check_size(image, found.width, found.height)
    _check_memory(image, len(image.data) + 5 * found.width * found.height * found.bit_depth)
    try:
        with _quiet_stderr():
            data = np.frombuffer(image.data, np.uint8)
            values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as err:
        raise _fault(image, err) from err
    if values is None or values.size == 0:
        raise _error(image, "damaged", found.damage or "expected a readable tiff")
    rgb = values if values.ndim == 2 else values[:, :, 2::-1]  # from BGR
    return upright(wide_to_rgb(rgb), image.orientation)


def _load(picture: Image.Image) -> None:
    if picture.format != "TIFF":
        picture.load()
        return
    # Pillow turns a TIFF upright as it loads, also by what its XMP says; only the tag counts
    picture.info.pop("xmp", None)
    with _quiet_stderr():
        picture.load()


_stderr_lock = threading.Lock()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
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
    _check_memory(image, _decode_bytes(image, picture, None, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _load(picture)
            array: NDArray[Any] = np.array(picture)
    except READER_FAULTS as err:
        raise _fault(image, err) from err
    if image.format == "tiff":  # Pillow has turned it upright
        return upright(array, _INVERSE.get(image.orientation, image.orientation))
    return array
