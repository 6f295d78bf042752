"""Which pictures the detector may judge at all: photographs, large enough, not ruined.

It was calibrated on still photographs in colour. Of anything else its score means nothing, so
it abstains and says why.
"""

from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from counterproof.detectors.tiles import MIN_SIDE
from counterproof.images import ImageFile

__all__ = ["UNTESTED", "Outside", "flat_share", "outside", "quantisation"]

FLAT_SHARE = 0.6
"""Share of flat blocks from which a picture counts as a graphic. Of 90 photographs of the training
set about 5 in 100 lie above it, mostly goods on white; of 90 machine-made pictures none."""

FLAT_RANGE = 2
"""Grey levels that the pixels of a flat 8×8 block may span."""

COARSEST = 50.0
"""Mean luma quantisation step, first two rows of the table but its mean value, from which a JPEG
counts as heavily compressed: just above quality 31 of the Independent JPEG Group's tables."""

UNTESTED = ("face_swap", "inpainting", "unseen_generators", "video_frames", "recaptured_screens")
"""What the detector was never tested on; each has its words in the catalogue."""


class Outside(StrEnum):
    """Why a picture lies outside what the detector was calibrated for."""

    SMALL = "small"
    ANIMATED = "animated"
    GREY = "grey"
    GRAPHIC = "graphic"
    COMPRESSED = "compressed"


def outside(image: ImageFile, pixels: NDArray[np.uint8]) -> Outside | None:
    """Say why the detector abstains on a picture, or None if it may judge.

    Args:
        image: the file.
        pixels: its upright `uint8` RGB view, shape `(H, W, 3)`.
    """
    if min(pixels.shape[:2]) < MIN_SIDE:
        return Outside.SMALL
    if image.info.frames > 1 and image.info.format in ("gif", "webp", "png", "avif"):
        return Outside.ANIMATED
    small = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA).astype(np.int16)
    if float(np.ptp(small, axis=2).mean()) < 1.5:
        return Outside.GREY
    if flat_share(pixels) > FLAT_SHARE:
        return Outside.GRAPHIC
    if _coarseness(image) > COARSEST:
        return Outside.COMPRESSED
    return None


def flat_share(pixels: NDArray[Any]) -> float:
    """Return the share of 8×8 blocks that span at most `FLAT_RANGE` grey levels, 0 to 1."""
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    high, wide = luma.shape[0] // 8, luma.shape[1] // 8
    blocks = luma[: high * 8, : wide * 8].reshape(high, 8, wide, 8)
    span = blocks.max((1, 3)).astype(np.int16) - blocks.min((1, 3))
    return float((span <= FLAT_RANGE).mean())


def quantisation(image: ImageFile) -> list[int]:
    """Return the 64 luma steps of a JPEG, lowest frequency first; empty for other formats."""
    if image.format != "jpeg":
        return []
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(image.stream()) as opened:
            tables = getattr(opened, "quantization", {})
    except (OSError, UnidentifiedImageError, ValueError):
        return []
    table: list[int] = list(next(iter(tables.values()), []))
    return table if len(table) == 64 else []


def _coarseness(image: ImageFile) -> float:
    """Return the mean luma quantisation step of a JPEG's first two rows; 0 for other formats."""
    table = quantisation(image)
    return float(np.mean(table[1:16])) if table else 0.0
