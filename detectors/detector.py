"""The bundled detector: one look at a picture, and more looks before it accuses.

A look adds what spectra and noise of the picture say to the mean over its tiles of what the
network says. Only a picture that would be accused is looked at again, after it was rescaled and
recompressed in several ways: an answer that flips does not count.
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
from counterproof.detectors.features import (
    MODEL,
    PARTS,
    bundled_head,
    describe,
    families,
    parts,
)
from counterproof.detectors.tiles import MIN_SIDE, SIDE, Tiles, cut

__all__ = [
    "Answer",
    "Look",
    "Opinion",
    "again",
    "judge",
    "levels",
    "look",
    "probability",
    "reasons",
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
class Look:
    """What the detector sees in one view of a picture.

    Attributes:
        tiles: of the view.
        logits: of those tiles by the network, shape `(N,)`.
        features: of those tiles, shape `(N, WIDTH)`.
        added: what spectra and noise add to the mean logit.
        families: what each family of spectral numbers adds, against a usual picture.
    """

    tiles: Tiles
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    added: float
    families: Mapping[str, float]

    @property
    def score(self) -> float:
        """Mean logit of the tiles, and what is added."""
        return float(self.logits.mean()) + self.added


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the detector makes of one picture within its scope.

    Attributes:
        answer: after all looks.
        first: the first look.
        looks: score of each look, the first one first.
    """

    answer: Answer
    first: Look
    looks: tuple[float, ...]


def look(pixels: NDArray[np.uint8], most: int = MOST_TILES) -> Look:
    """Look at a view of a picture. About 75 ms of CPU.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, at least `MIN_SIDE` a side.
        most: largest number of tiles.

    Raises:
        WeightsError: if a bundled model is missing or altered.
    """
    tiles = cut(pixels, most)
    features = describe(tiles.pixels)
    return Look(tiles, bundled_head().logits(features), features, *families(pixels))


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

    About 75 ms of CPU for the first look, 0.4 s more for an accusation.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, within the detector's scope.
        thresholds: levels to go by; None for those of the bundled card.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    first = look(pixels)
    limits = levels(len(first.logits), thresholds or weights.open(MODEL).card.thresholds)
    if first.score <= limits["accuse"]:
        answer = Answer.CLEARED if first.score < limits["clear"] else Answer.UNDECIDED
        return Opinion(answer, first, (first.score,))
    looks = (first.score, *(look(view).score for view in again(pixels)))
    steady = sum(score > limits["keep"] for score in looks) / len(looks) >= STABLE_SHARE
    stands = steady and float(np.mean(looks)) > limits["accuse"]
    return Opinion(Answer.ACCUSED if stands else Answer.UNSTABLE, first, looks)


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
    """Name what speaks most for *machine-made*, the strongest first.

    That is a part of the network, which says only how large the details are that it goes by, or
    a family of spectral numbers. One is named if it gives at least an eighth of all that speaks
    for it. Which pixels those are, the map of the tiles shows.

    Returns:
        Names of `features.PARTS` and `spectral_features.FAMILIES`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    depths = zip(PARTS, parts(opinion.first.features).tolist(), strict=True)
    adds = {name: value for name, value in (*depths, *opinion.first.families.items()) if value > 0}
    total = sum(adds.values())
    return [name for name in sorted(adds, key=lambda n: -adds[n]) if adds[name] >= total / 8]


def strongest_scale(opinion: Opinion) -> str:
    """Say at which size of the picture the tiles accuse most: `full`, `half` or `smaller`."""
    first = opinion.first
    scale = np.maximum(first.tiles.boxes[:, 2:].max(1) / SIDE, 1.0).round()
    means = {float(value): first.logits[scale == value].mean() for value in np.unique(scale)}
    return {1.0: "full", 2.0: "half"}.get(max(means, key=lambda value: means[value]), "smaller")
