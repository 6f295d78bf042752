"""The 256-bit perceptual hash: what stays the same of a picture when it is coded or scaled."""

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]

__all__ = ["DCT256", "SMALL_SIDE", "dct256", "detail", "square"]

DCT256 = "counterproof.dct256.1"

SMALL_SIDE = 128
"""Longest side in pixels of the one small view that the quick stage decodes."""

_SIDE = 64
_FREQUENCIES = 16


def square(grey: "Grey") -> "NDArray[np.float64]":
    """Bring a grey picture to 64 × 64, by averaging where it is larger."""
    import cv2

    way = cv2.INTER_AREA if min(grey.shape) >= _SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (_SIDE, _SIDE), interpolation=way), dtype=np.float64)


def dct256(grey: "NDArray[np.float64]") -> str:
    """Return the 256-bit hash `counterproof.dct256.1`.

    Of the 64 × 64 luminance (ITU-R BT.601, from the upright picture at 128 pixels), the
    discrete cosine transform (type II) at the 16 × 16 lowest frequencies without the mean's
    row and column; each bit says whether its coefficient is above their median. Bits run by
    rising vertical, then horizontal frequency, first bit highest, written as 64 hex digits.

    Args:
        grey: luminance, shape (64, 64).

    Source: the layout of PDQ (Facebook, "The TMK+PDQF Video-Hashing Algorithm and the PDQ
    Image-Hashing Algorithm", 2019, §3) without its filter; the values are not comparable.
    """
    cosines = _cosines()
    low = cosines @ grey @ cosines.T  # [vertical frequency, horizontal frequency]
    middle = low.size // 2
    median = np.partition(low, (middle - 1, middle), axis=None)[middle - 1 : middle + 1].mean()
    return np.packbits(low > median).tobytes().hex()


@functools.cache
def _cosines() -> "NDArray[np.float64]":
    frequency = np.arange(1, _FREQUENCIES + 1)[:, None]
    place = np.arange(_SIDE)[None, :]
    return np.asarray(np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)))


def detail(grey: "NDArray[np.float64]") -> float:
    """Return the mean difference between neighbours, in grey levels: 0 for an even surface.

    A clear sky has about 0.5, a photograph typically 9 (median of 1,816).

    Args:
        grey: luminance, shape (64, 64).
    """
    across = np.abs(grey[:, 1:] - grey[:, :-1]).mean()
    down = np.abs(grey[1:] - grey[:-1]).mean()
    return float(across + down) / 2
