"""What stops a decoder, in one clear error: limits on size and memory, and faults of readers."""

import struct
from typing import TYPE_CHECKING

from counterproof.errors import ImageError

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["READER_FAULTS", "check_memory", "check_size", "fault_of", "read_error", "reason_of"]

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


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


def read_error(image: "ImageFile", cause: str, reason: str) -> ImageError:
    """Make an error; a file that ends too early says so, whatever its reader made of it."""
    found = image.metadata
    if found.truncated and cause in ("damaged", "truncated"):
        whole = f" of {_megabytes(found.expected_bytes)}" if found.expected_bytes else ""
        cause, reason = "truncated", f"truncated after {_megabytes(len(image.data))}{whole}"
    return ImageError(cause, f"{image.name}: {reason}")


def reason_of(err: BaseException) -> str:
    """Return what a reader said, on one line; its kind where it said nothing."""
    return " ".join(str(err).split()) or type(err).__name__


def fault_of(image: "ImageFile", err: BaseException) -> ImageError:
    """Make an error of what a reader raised."""
    reason = reason_of(err)
    if isinstance(err, MemoryError):
        return read_error(
            image, "too_many_pixels", "its decoder asked for more memory than there is"
        )
    if "ecurity limit" in reason:
        return read_error(image, "unsupported", f"its decoder refuses it: {reason}")
    return read_error(image, "truncated" if "runcat" in reason else "damaged", reason)


def check_size(image: "ImageFile", width: int, height: int) -> None:
    """Raise ImageError if a picture has more pixels, or a longer side, than the limits allow."""
    if max(width, height) > _MAX_SIDE:
        what = f"a side of {max(width, height):,} pixels; the limit is {_MAX_SIDE:,}"
        raise ImageError("too_many_pixels", f"{image.name}: {what}")
    if width * height > image.limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"{image.name}: {width:,} × {height:,} pixels; the limit is "
            f"{image.limits.max_pixels:,}",
        )


def check_memory(image: "ImageFile", count: float) -> None:
    """Raise ImageError if decoding takes more bytes than the limits allow."""
    limit = image.limits.max_decode_bytes
    if count > limit:
        raise ImageError(
            "too_many_pixels",
            f"{image.name}: decoding takes {count / 2**20:,.0f} MiB; the limit is "
            f"{limit / 2**20:,.0f} MiB",
        )
