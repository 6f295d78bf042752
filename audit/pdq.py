"""The PDQ hash of a picture: what platforms and desks exchange lists of.

256 bits of the low frequencies of the luminance, and a quality from 0 to 100 that says how much
there is to hash. Below 50 a hash says nothing and is not compared.

Source: "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (Facebook,
2019), sections on PDQ; radius 31 and quality 50 are its recommendations.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["MIN_QUALITY", "PDQ", "RADIUS_BITS", "Pdq", "pdq"]

PDQ = "pdq"
RADIUS_BITS = 31
MIN_QUALITY = 50
READ_SIDE = 512
"""Longest side in pixels at which a picture is read: hashes move by a few bits, as they do
between any two readers of JPEG."""
_SIDE = 64
_LOW = 16


@dataclass(frozen=True, slots=True)
class Pdq:
    """A hash as 64 hex digits, and its quality from 0 to 100."""

    value: str
    quality: int


def pdq(pixels: "NDArray[np.uint8]") -> Pdq:
    """Hash a picture.

    Args:
        pixels: RGB, shape (H, W, 3).
    """
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    luma = (pixels.astype(np.float32) * weights).sum(axis=2, dtype=np.float32)
    height, width = luma.shape
    for _ in range(2):
        luma = _average(luma, _window(width))
        luma = _average(luma.T, _window(height)).T
    rows = ((np.arange(_SIDE) + 0.5) * height / _SIDE).astype(int)
    columns = ((np.arange(_SIDE) + 0.5) * width / _SIDE).astype(int)
    small = luma[np.ix_(rows, columns)].astype(np.float32)
    cosines = _cosines()
    low = cosines @ small @ cosines.T
    middle = np.partition(low, low.size // 2 - 1, axis=None)[low.size // 2 - 1]
    bits = (low > middle).ravel()[::-1]  # the last coefficient is the highest bit
    return Pdq(np.packbits(bits).tobytes().hex(), _quality(small))


def _window(side: int) -> int:
    return (side + 2 * _SIDE - 1) // (2 * _SIDE)


def _average(luma: "Floats", window: int) -> "Floats":
    """Average along the rows over a window, cut off at the edges."""
    width = luma.shape[1]
    ahead = (window + 2) // 2
    ends = np.minimum(np.arange(width) + ahead, width)
    starts = np.maximum(np.arange(width) - (window - ahead), 0)
    sums = np.zeros((luma.shape[0], width + 1))
    np.cumsum(luma, axis=1, dtype=np.float64, out=sums[:, 1:])
    return np.asarray((sums[:, ends] - sums[:, starts]) / (ends - starts), dtype=np.float32)


def _quality(small: "Floats") -> int:
    down = ((small[:-1] - small[1:]) * 100 / 255).astype(int)
    across = ((small[:, :-1] - small[:, 1:]) * 100 / 255).astype(int)
    return min(100, int((np.abs(down).sum() + np.abs(across).sum()) / 90))


@cache
def _cosines() -> "Floats":
    frequency = np.arange(1, _LOW + 1)[:, None]
    place = np.arange(_SIDE)[None, :]
    scale = np.sqrt(2 / _SIDE)
    cosines = scale * np.cos(np.pi / 2 / _SIDE * frequency * (2 * place + 1))
    return np.asarray(cosines, dtype=np.float32)
