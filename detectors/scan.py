"""The detector as an analyzer: what a scan says of signs that a model made the picture.

It accuses only within its scope and only when the answer holds under re-delivery
(`detector.synthetic`, statistical, with its calibrated probability). One that flips is
`detector.unstable`. Every picture gets `detector.scope`, which lists what was never tested,
so that silence is not read as a clean bill.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import cv2
import numpy as np

from counterproof import weights
from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.detectors import levels as own_levels
from counterproof.detectors.detector import (
    Answer,
    Opinion,
    judge,
    levels,
    probability,
    reasons,
    strongest_scale,
)
from counterproof.detectors.features import MODEL
from counterproof.detectors.scope import UNTESTED, outside
from counterproof.detectors.tiles import READING_SIDE
from counterproof.findings import Basis, Blob, Claim, Finding, Severity
from counterproof.images import ImageFile
from counterproof.settings import Settings

__all__ = ["DetectorAnalyzer"]

MAP = "detector-map.png"
MAP_SIDE = 512


class DetectorAnalyzer(Analyzer):
    """Looks for signs in the pixels that a model made the picture."""

    name: ClassVar[str] = "detector"
    prefixes: ClassVar[tuple[str, ...]] = ("detector",)
    stage: ClassVar[Stage] = Stage.STANDARD
    timeout_s: ClassVar[float] = 30.0
    version: ClassVar[str] = "4"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.model = weights.open(MODEL)
        self.own: own_levels.OwnLevels | None = None
        if settings.detector_levels is not None:
            self.own = own_levels.load(
                settings.detector_levels, self.model.version, self.model.card.thresholds
            )

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The user's own levels, or those of the card."""
        return self.model.card.thresholds if self.own is None else self.own.thresholds

    def digest(self) -> str:
        """The model, and the levels in use."""
        return f"{self.model.version} {sorted(self.thresholds.items())}"

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield `detector.scope`, and at most one accusation."""
        pixels = image.pixels(max_side=READING_SIDE)
        reason = outside(image, pixels)
        if reason is not None:
            yield self._scope({"abstained": True, "reason": reason.value})
            return
        opinion = judge(pixels, self.thresholds)
        card = self.model.card
        limits = levels(len(opinion.first.logits), self.thresholds)
        first = round(opinion.first.score, 3)
        details: dict[str, Any] = {"score": first, "answer": opinion.answer.value}
        if opinion.answer in (Answer.ACCUSED, Answer.UNSTABLE):
            details |= {
                "looks": [round(look, 3) for look in opinion.looks],
                "threshold": round(limits["accuse"], 3),
                "model": f"{card.name} {card.version}",
            }
            if opinion.answer is Answer.ACCUSED:
                yield Blob(MAP, "image/png", _map(pixels, opinion))
                chance = probability(float(np.mean(opinion.looks)), limits)
                yield Finding(
                    self.name,
                    "detector.synthetic",
                    Claim.SYNTHETIC,
                    Basis.STATISTICAL,
                    Severity.MEDIUM,
                    probability=round(chance, 3),
                    evidence=(MAP,),
                    details=details
                    | {"goes_by": reasons(opinion), "strongest_at": strongest_scale(opinion)}
                    | self._error_rate(),
                )
            else:
                yield Finding(
                    self.name,
                    "detector.unstable",
                    Claim.SYNTHETIC,
                    Basis.STATISTICAL,
                    details=details,
                )
        yield self._scope({"abstained": False, **details})

    def _scope(self, details: dict[str, Any]) -> Finding:
        return Finding(
            self.name,
            "detector.scope",
            basis=Basis.STATISTICAL,
            details=details | {"not_tested": list(UNTESTED)},
        )

    def _error_rate(self) -> dict[str, Any]:
        """Of 1,000 held-out photographs, how many were accused; with the upper 95 % bound."""
        if self.own is not None:
            return own_levels.as_metric(self.own)
        for metric in self.model.card.metrics:
            if metric.name == "photographs_accused":
                return {
                    "accused_of_1000": round(metric.value * 1000),
                    "accused_of_1000_at_most": round(metric.high * 1000),
                }
        return {}


def _map(pixels: np.ndarray[Any, Any], opinion: Opinion) -> bytes:
    """Draw the tiles' mean logit over the picture, darker where it looks less machine-made."""
    from PIL import Image

    height, width = pixels.shape[:2]
    total = np.zeros((height, width), np.float32)
    count = np.zeros((height, width), np.float32)
    for (x, y, w, h), logit in zip(opinion.first.tiles.boxes, opinion.first.logits, strict=True):
        total[y : y + h, x : x + w] += logit
        count[y : y + h, x : x + w] += 1
    mean = float(opinion.first.logits.mean())
    heat = np.clip(np.where(count > 0, total / np.maximum(count, 1), mean) / 8 + 0.5, 0, 1)
    scale = min(1.0, MAP_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = small.mean(2, keepdims=True)
    strength = cv2.resize(heat.astype(np.float32), size)[:, :, None]
    tint = np.array([196, 122, 20], np.float32)
    drawn = grey * (1 - 0.6 * strength) + tint * 0.6 * strength
    file = io.BytesIO()
    Image.fromarray(drawn.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
