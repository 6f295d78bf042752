"""Noise levels: a part whose finest detail is much stronger or weaker than the rest's.

Noise of a sensor depends on lightness and else is much alike all over a photograph. In smooth
blocks the spread of the finest diagonal detail is taken for it, and compared with the middle of all
smooth blocks of like lightness; where dense blocks differ by a factor, that part is reported.

It is the weakest method here: texture looks like noise, phones smooth faces and skies, and lenses
blur. So it needs a picture whose noise is seen in most smooth blocks, and moves no status.

Sources: J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding
64(2), 1996 (the filter); B. Mahdian, S. Saic, "Using noise inconsistencies for blind image
forensics", Image and Vision Computing 27(10), 2009 (blocks of like noise). Thresholds: chosen and
measured as docs/benchmarks.md, "Altered pictures", says.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BLOCK", "FACTOR", "MIN_SIDE", "NoiseLevels", "find_other_noise"]

MIN_SIDE = 400
BLOCK = 16
_BINS = 6  # of lightness
_BLUR = 2.0  # pixels; what is left then is detail
_SMOOTH = 0.5  # share of the blocks, those with the least coarse detail, that are taken
_LEAST_NOISE = 0.7  # grey values; below it, coding or smoothing has taken the noise away
_MIN_NOISY = 0.8  # share of smooth blocks that must show so much
_MIN_BLOCKS = 200
FACTOR = 6.0  # between a part's noise and the rest's: lower ones stand in many photographs
_MIN_REGION = 60  # blocks
_NEAR_END = 12  # of 0 to 255


@dataclass(frozen=True, slots=True)
class NoiseLevels:
    """What was found.

    Attributes:
        applies: whether the picture shows noise in enough smooth blocks.
        level: noise of the picture, in grey values.
        factor: noise of the strongest part over that of the rest; 0 if none.
        mask: one value per block of 16 pixels; None if none.
    """

    applies: bool
    level: float = 0.0
    factor: float = 0.0
    mask: Any = None


def find_other_noise(luma: "NDArray[np.float32]") -> NoiseLevels:
    """Look for parts with another noise level.

    Args:
        luma: 0 to 255, shape `(H, W)`, at the picture's own size.
    """
    import cv2
    import numpy as np

    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    luma = luma[: rows * BLOCK, : columns * BLOCK]
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    fine = np.abs(cv2.filter2D(luma, -1, kernel))
    noise = np.median(_blocks(fine, rows, columns), axis=2) / 0.6745
    soft = cv2.GaussianBlur(luma, (0, 0), _BLUR)
    # what noise itself leaves after the blur is no detail: a share of 1 / (4 π σ²)
    left = noise**2 / (4 * np.pi * _BLUR**2)
    detail = np.sqrt(np.maximum(_blocks(soft, rows, columns).var(axis=2) - 1.5 * left, 0))
    light = _blocks(luma, rows, columns).mean(axis=2)
    inside = (light > _NEAR_END) & (light < 255 - _NEAR_END)
    if inside.sum() < _MIN_BLOCKS:
        return NoiseLevels(False)
    smooth = inside & (detail <= np.quantile(detail[inside], _SMOOTH))
    if (noise[smooth] > _LEAST_NOISE).mean() < _MIN_NOISY:
        return NoiseLevels(False)
    edges = np.quantile(light[smooth], np.arange(1, _BINS) / _BINS)
    kinds = np.digitize(light, edges)
    alike = [noise[smooth & (kinds == k)] for k in range(_BINS)]
    # few tones leave some kinds empty: no part of them can be told
    usual = np.array([np.median(part) if part.size else np.nan for part in alike])
    ratio = noise / np.maximum(usual[kinds], 0.1)
    level = float(np.median(noise[smooth]))
    mask = np.zeros((rows, columns), np.uint8)
    best = 0.0
    for other in (ratio > FACTOR, ratio < 1 / FACTOR):
        part = cv2.morphologyEx((other & smooth).astype(np.uint8), cv2.MORPH_CLOSE, _square(3))
        count, labels, _, _ = cv2.connectedComponentsWithStats(part, connectivity=4)
        for label in range(1, count):
            there = (labels == label) & other & smooth
            if int(there.sum()) < _MIN_REGION:
                continue
            mask[labels == label] = 1
            middle = float(np.median(ratio[there]))
            best = max(best, middle, 1 / max(middle, 1e-3))
    if not mask.any():
        return NoiseLevels(True, level)
    return NoiseLevels(True, level, min(best, 99.0), mask)


def _blocks(plane: Any, rows: int, columns: int) -> Any:
    return (
        plane.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, BLOCK**2)
    )


def _square(side: int) -> Any:
    import numpy as np

    return np.ones((side, side), np.uint8)
