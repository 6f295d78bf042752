"""The bundled detector: one look at a picture, and more looks before it accuses.

The first look scores the tiles of the picture as it is. Only one that would be accused is
looked at again after it was rescaled and recompressed in several ways: an answer that flips
does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof import weights
from counterproof.detectors.deliveries import recompress, within
from counterproof.detectors.features import MODEL, PARTS, describe, parts
from counterproof.detectors.tiles import MIN_SIDE, SIDE, Tiles, cut

__all__ = [
    "Answer",
    "Opinion",
    "again",
    "judge",
    "levels",
    "probability",
    "reasons",
    "score",
    "strongest_scale",
]

MOST_TILES = 8
"""Tiles of one look. Source: docs/detectors.md, what the cap costs."""

FEW_TILES = 4
"""Tiles up to which a picture is judged as a small one: both sides below 448 pixels."""

STABLE_SHARE = 0.8
"""Least share of looks that must accuse for an accusation to stand."""


class Answer(StrEnum):
    """What the detector says."""

    ACCUSED = "accused"
    UNSTABLE = "unstable"
    UNDECIDED = "undecided"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the detector makes of one picture within its scope.

    Attributes:
        answer: after all looks.
        score: mean logit of the first look's tiles.
        looks: mean logit of each look, the first one first.
        tiles: of the first look.
        logits: of those tiles, shape `(N,)`.
        features: of those tiles, shape `(N, WIDTH)`.
    """

    answer: Answer
    score: float
    looks: tuple[float, ...]
    tiles: Tiles
    logits: NDArray[np.float32]
    features: NDArray[np.float32]


def score(pixels: NDArray[np.uint8], most: int = MOST_TILES) -> tuple[Tiles, NDArray[np.float32]]:
    """Return the tiles of a picture and the logit of *machine-made* for each.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, at least `MIN_SIDE` a side.
        most: largest number of tiles.
    """
    tiles = cut(pixels, most)
    return tiles, describe(tiles.pixels)[1]


def again(pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return the picture as five further deliveries would show it, always the same ones."""
    image = Image.fromarray(pixels)
    longer = max(image.size)
    three_quarters = within(image, max(1, round(longer * 0.75)), Image.Resampling.LANCZOS)
    left, top = image.width // 20, image.height // 20
    inner = image.crop((left, top, image.width - left, image.height - top))
    deliveries = [
        recompress(image, 75),
        recompress(image, 80, webp=True),
        recompress(three_quarters, 85),
        recompress(inner, 90),
        recompress(within(image, min(1080, round(longer * 0.9))), 70),
    ]
    return [np.asarray(item) for item in deliveries if min(item.size) >= MIN_SIDE]


def judge(pixels: NDArray[np.uint8], thresholds: Mapping[str, float] | None = None) -> Opinion:
    """Look at a picture, and again if it would be accused.

    About 50 ms of CPU for the first look, 0.3 s more for an accusation.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, within the detector's scope.
        thresholds: levels to go by; None for those of the bundled card.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    tiles = cut(pixels, MOST_TILES)
    features, logits = describe(tiles.pixels)
    limits = levels(len(logits), thresholds or weights.open(MODEL).card.thresholds)
    first = float(logits.mean())
    if first <= limits["accuse"]:
        answer = Answer.CLEARED if first < limits["clear"] else Answer.UNDECIDED
        return Opinion(answer, first, (first,), tiles, logits, features)
    looks = (first, *(float(score(view)[1].mean()) for view in again(pixels)))
    accusing = sum(look > limits["keep"] for look in looks) / len(looks)
    stable = accusing >= STABLE_SHARE and float(np.mean(looks)) > limits["accuse"]
    answer = Answer.ACCUSED if stable else Answer.UNSTABLE
    return Opinion(answer, first, looks, tiles, logits, features)


def levels(tiles: int, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Return the levels and the calibration for a picture of so many tiles.

    A mean of few tiles varies more, so it must lie further out before it counts.
    """
    prefix = "small_" if tiles <= FEW_TILES else ""
    names = ("slope", "offset", "accuse", "keep", "clear")
    return {name: thresholds[prefix + name] for name in names}


def probability(logit: float, limits: Mapping[str, float]) -> float:
    """Return the calibrated probability of *machine-made*, where both classes are as frequent.

    Source: Platt, Probabilistic outputs for support vector machines, 1999; its two numbers are
    fitted on held-out sources and stand in the card.
    """
    return float(1 / (1 + np.exp(-(limits["slope"] * logit + limits["offset"]))))


def reasons(opinion: Opinion) -> list[str]:
    """Name the parts of the network that speak most for *machine-made*, the strongest first.

    A part is named if it gives at least a quarter of all that speaks for it. Which pixels those
    are, the map of the tiles shows; a part says only how large the details are that it goes by.

    Returns:
        Names of `features.PARTS`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    adds = parts(opinion.features)
    total = float(adds[adds > 0].sum())
    names = list(PARTS)
    return [names[i] for i in np.argsort(-adds) if adds[i] > 0 and adds[i] >= total / 4]


def strongest_scale(opinion: Opinion) -> str:
    """Say at which size of the picture the tiles accuse most: `full`, `half` or `smaller`."""
    scale = np.maximum(opinion.tiles.boxes[:, 2:].max(1) / SIDE, 1.0).round()
    means = {float(value): opinion.logits[scale == value].mean() for value in np.unique(scale)}
    return {1.0: "full", 2.0: "half"}.get(max(means, key=lambda value: means[value]), "smaller")
