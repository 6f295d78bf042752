"""How a JPEG's lightness was coded: its quantisation steps, and its own samples, not turned.

Sources: ITU-T T.81 §A.3.3 (transform of blocks), §B.2.4.1 (tables).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ZIGZAG", "Coding", "block_coefficients", "coding_of", "luma_steps"]

ZIGZAG = (
    (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0), (4, 0), (3, 1),
)  # fmt: skip
"""The lowest frequencies but the mean, (vertical, horizontal), in the order of the zigzag."""


@dataclass(frozen=True, slots=True)
class Coding:
    """What the file holds of lightness.

    Attributes:
        steps: quantisation steps, shape `(8, 8)`, row = vertical frequency.
        luma: samples as stored, not turned, `uint8`, shape `(H, W)`.
        clipped: where a colour was near its end, so that coding cut it off; shape `(H, W)`.
    """

    steps: "NDArray[np.int64]"
    luma: "NDArray[np.uint8]"
    clipped: "NDArray[np.bool_]"


_NEAR_END = 10  # of 0 to 255: what JPEG swings beyond the end is cut off on decoding


def luma_steps(image: ImageFile) -> list[int] | None:
    """Return the 64 luma steps in rows, or None if this is no JPEG of three colours or grey."""
    from PIL import Image

    from counterproof.decode_faults import READER_FAULTS

    if image.format != "jpeg":
        return None
    try:
        opened = Image.open(image.stream(), formats=("JPEG",))
        if opened.mode not in ("RGB", "L"):
            return None
        tables, layers = opened.quantization, opened.layer  # type: ignore[attr-defined]
        return [int(step) for step in tables[layers[0][3]]]
    except READER_FAULTS:
        return None


def coding_of(image: ImageFile) -> Coding | None:
    """Read steps and samples; None if the picture is no whole JPEG of three colours or grey.

    Raises:
        ImageError: if it is larger than the limits.
    """
    import numpy as np

    from counterproof.decode_jpeg import jpeg_pixels

    steps = luma_steps(image)
    if steps is None or min(steps) < 1:
        return None
    image.pixels()  # under the limits of the house, and kept
    info = image.metadata
    try:
        luma = jpeg_pixels(image.data, info.width, info.height, 1.0, "GRAY")[:, :, 0]
        rgb = jpeg_pixels(image.data, info.width, info.height)
    except ValueError:
        return None
    clipped = (rgb.min(axis=2) <= _NEAR_END) | (rgb.max(axis=2) >= 255 - _NEAR_END)
    return Coding(np.array(steps, np.int64).reshape(8, 8), luma, clipped)


def block_coefficients(luma: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """Transform blocks of 8 × 8 and return the frequencies of `ZIGZAG`.

    Args:
        luma: shape `(8 R, 8 C)`.

    Returns:
        Shape `(R, C, 11)`, orthonormal, so that a step of the table is a step here.
    """
    import numpy as np

    k, n = np.arange(8)[:, None], np.arange(8)[None]
    basis = (np.cos((2 * n + 1) * k * np.pi / 16) / 2).astype(np.float32)  # [k, n]
    basis[0] /= np.sqrt(2)
    height, width = luma.shape
    blocks = luma.reshape(height // 8, 8, width // 8, 8).astype(np.float32)
    down = np.einsum("kn,rncm->rkcm", basis, blocks, optimize=True)
    both = down @ basis.T  # [R, k, C, l]
    return np.stack([both[:, v, :, u] for v, u in ZIGZAG], axis=2)
