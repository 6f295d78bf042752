"""How strongly a mark may be drawn where: little on smooth areas, more in texture.

Amplitudes are grey levels (rms) of the luma. In colour pictures the change of luma is spread
over red, green and blue in proportion to what each contributes to it: the smallest change of
the pixels that changes the luma by so much. Grey pictures stay grey.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from counterproof.provenance.watermark_plane import Floats

__all__ = ["STRENGTHS", "Strength", "add", "channel_gains", "mask"]

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class Strength:
    """What a mark may cost.

    Attributes:
        usual_db: PSNR of a textured picture, before its margin is known.
        least_db: PSNR below which no picture falls.
        target_db: margin over what reading needs, of a spoiled copy.
        more_db: by how much a picture may be marked stronger than usual to have this margin.
        smooth: amplitude on smooth areas, in grey levels rms.
        textured: how much more at a local standard deviation of 9 grey levels.
        smoothest: change of red, green and blue (rms) on smooth areas that no margin is worth;
            rounding comes on top. Source: 0.7 levels with it, the worst of `watermark.py recover`.
    """

    usual_db: float
    least_db: float
    target_db: float
    more_db: float
    smooth: float
    textured: float
    smoothest: float


STRENGTHS = {
    ("full", "standard"): Strength(42.2, 40.5, 1.5, 2.5, smooth=0.55, textured=2.2, smoothest=0.65),
    ("full", "subtle"): Strength(44.9, 43.3, -0.4, 2.0, smooth=0.5, textured=1.7, smoothest=0.65),
    ("small", "standard"): Strength(
        40.5, 36.0, 3.5, 8.0, smooth=0.8, textured=2.6, smoothest=math.inf
    ),
    ("small", "subtle"): Strength(
        42.0, 38.0, 1.0, 6.0, smooth=0.7, textured=2.2, smoothest=math.inf
    ),
}
"""By profile and strength. A small picture has few pixels to carry a mark and is seen small."""


def mask(gray: Floats, strength: Strength) -> tuple[Floats, Floats]:
    """Return the amplitude that the mark should have at each pixel, and the highest it may have.

    The first is in proportion, before the whole mark is scaled to its PSNR and margin; the second
    holds after it. Local contrast is taken over 5 px, then the least of its neighbourhood, so that
    the smooth side of an edge stays smooth; less in black and white, where clipping would tint.
    """
    mean = cv2.blur(gray, (5, 5))
    deviation = np.sqrt(np.maximum(cv2.blur(gray * gray, (5, 5)) - mean * mean, 0))
    deviation = np.minimum(deviation, 1.2 * cv2.blur(deviation, (7, 7)))
    calm = cv2.blur(cv2.erode(deviation, np.ones((5, 5), np.uint8)), (5, 5))
    rise = np.clip((calm - 1) / 8, 0, 3.5)
    amplitude = strength.smooth + strength.textured * cv2.pow(rise, 0.7)
    dark = 0.8 + 0.2 * np.clip(mean / 60, 0, 1)
    ends = np.clip((262 - mean) / 20, 0.35, 1) * np.clip((mean + 8) / 16, 0.5, 1)
    highest = strength.smoothest * cv2.pow(np.maximum(calm / 2, 1), 4)
    return np.asarray(amplitude * dark * ends, np.float32), np.asarray(highest, np.float32)


def channel_gains(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return by how much R, G and B change when the luma changes by 1."""
    for part in (pixels[::16, ::16], pixels):  # most colour pictures show it at a glance
        red, green, blue = cv2.split(np.ascontiguousarray(part))
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            break
    else:
        return np.ones(3)
    return np.asarray(_LUMA / (_LUMA**2).sum(), np.float64)


def add(
    pixels: NDArray[np.uint8], residual: Floats, gains: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Add a residual of luma, drawn at any size, to a picture; values saturate at 0 and 255.

    Args:
        pixels: RGB, shape `(H, W, 3)`.
        residual: grey levels, stretched to the picture's size.
        gains: as `channel_gains` returns them.
    """
    height, width = pixels.shape[:2]
    # an eighth of a grey level as the step keeps this on bytes, which is what makes it cheap
    coded = np.clip(np.rint(residual * 8) + 128, 0, 255).astype(np.uint8)
    if coded.shape != (height, width):
        coded = np.asarray(cv2.resize(coded, (width, height), interpolation=cv2.INTER_CUBIC))
    changes = []
    for gain in gains:
        levels = np.rint((np.arange(256) - 128) / 8 * gain) + 128
        changes.append(cv2.LUT(coded, np.clip(levels, 0, 255).astype(np.uint8)))
    return np.asarray(cv2.addWeighted(pixels, 1, cv2.merge(changes), 1, -128), np.uint8)
