"""Sets the detector's levels on a user's own photographs, by split conformal prediction.

A photograph's score is compared with those of the photographs given: its p-value is the share
of them that score at least as high, counted with itself. The accusing level is the lowest
score whose p-value is at most the share allowed, so that of further photographs *like those
given* no more than that share lies beyond it, on average over such sets. Small pictures are
ranked among small ones. The library crepes computes the p-values; what a scan uses are the
levels alone.

Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Boström,
crepes, COPA 2022; for categories of their own: Vovk et al., Mondrian confidence machine, 2003.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors.detector import FEW_TILES, look
from counterproof.detectors.levels import OwnLevels
from counterproof.detectors.samples import Sample, balance, folds
from counterproof.detectors.scope import outside
from counterproof.detectors.tiles import READING_SIDE
from counterproof.errors import ImageError, MissingExtra, UserError
from counterproof.images import ImageFile

__all__ = ["Scored", "calibrated", "conformal_level", "first_looks"]

KEPT = 2.5
"""Share of photographs beyond the level that further looks must keep, in shares that the first
may pass. Source: `training.calibrate`, the bundled levels."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """First looks at pictures within the detector's scope.

    Attributes:
        samples: the pictures.
        scores: of each, shape `(N,)`.
        small: whether each is judged as a small one, shape `(N,)`.
        outside: how many pictures lie outside the scope.
        skipped: what could not be read, a sentence each.
    """

    samples: tuple[Sample, ...]
    scores: Floats
    small: NDArray[np.bool_]
    outside: int
    skipped: tuple[str, ...]


def first_looks(
    samples: Sequence[Sample], told: Callable[[str], None] = lambda text: None
) -> Scored:
    """Score pictures as a scan first sees them. About 0.1 s of CPU each."""
    kept, scores, small, skipped = [], [], [], []
    beyond = 0
    for number, sample in enumerate(samples):
        try:
            image = ImageFile.open(sample.path)
            pixels = image.pixels(max_side=READING_SIDE)
            if outside(image, pixels) is not None:
                beyond += 1
                continue
        except ImageError as err:
            skipped.append(str(err))
            continue
        seen = look(pixels)
        kept.append(sample)
        scores.append(seen.score)
        small.append(len(seen.logits) <= FEW_TILES)
        if (number + 1) % 100 == 0:
            told(f"{number + 1} of {len(samples)} pictures scored")
    return Scored(tuple(kept), np.array(scores), np.array(small, bool), beyond, tuple(skipped))


def conformal_level(scores: Floats, share: float) -> float | None:
    """Return the score beyond which at most `share` of like scores lie.

    None if there are too few: below 1 / share − 1 no level can promise it.
    """
    try:
        from crepes import ConformalClassifier
    except ImportError as err:
        raise MissingExtra("calibration (crepes)", "train") from err
    ordered = np.sort(scores)
    beyond = np.nextafter(ordered, np.inf)
    ranks = ConformalClassifier()
    ranks.fit(ordered)
    chances = ranks.predict_p(beyond[:, None], smoothing=False)[:, 0]
    enough = np.flatnonzero(chances <= share)
    return float(ordered[enough[0]]) if len(enough) else None


def calibrated(
    found: Scored,
    card: Mapping[str, float],
    model_sha256: str,
    *,
    accused_share: float,
    missed_share: float,
) -> tuple[OwnLevels, list[str]]:
    """Set levels on first looks.

    Args:
        found: photographs, and machine-made pictures if there are any.
        card: the bundled thresholds; they stay where there are too few pictures.
        model_sha256: of the model, `Weights.version`.
        accused_share: share of photographs that may lie beyond the accusing level, 0 to 0.5.
        missed_share: share of machine-made pictures below the clearing level, 0 to 0.5.

    Returns:
        The levels, and sentences on what could not be set.

    Raises:
        UserError: if there are too few photographs for any level.
        MissingExtra: without crepes.
    """
    labels = np.array([sample.machine_made for sample in found.samples], bool)
    remarks: list[str] = []
    thresholds = dict(card)
    used = made = 0
    for prefix, kind, inside in (("", "larger", ~found.small), ("small_", "small", found.small)):
        photographs = found.scores[inside & ~labels]
        accuse = conformal_level(photographs, accused_share) if len(photographs) else None
        keep = conformal_level(photographs, KEPT * accused_share) if len(photographs) else None
        if accuse is None or keep is None:
            remarks.append(
                f"{len(photographs)} {kind} photographs: too few for {accused_share:.1%}; "
                "their bundled levels stay"
            )
            continue
        thresholds |= {f"{prefix}accuse": accuse, f"{prefix}keep": keep}
        used += len(photographs)
        other = found.scores[inside & labels]
        clear = conformal_level(-other, missed_share) if len(other) else None
        if clear is None:
            remarks.append(
                f"{len(other)} {kind} machine-made pictures: the bundled clearing level and "
                "probabilities stay"
            )
            thresholds[f"{prefix}clear"] = min(card[f"{prefix}clear"], keep)
        else:
            thresholds[f"{prefix}clear"] = min(-clear, keep)
            thresholds |= _probabilities(found, inside, prefix)
            made += len(other)
    if not used:
        raise UserError("; ".join(remarks))
    accused, held = _held_out(found, labels, accused_share)
    today = dt.datetime.now(dt.UTC).date().isoformat()
    own = OwnLevels(model_sha256, thresholds, accused_share, used, made, accused, held, today)
    return own, remarks


def _probabilities(found: Scored, inside: NDArray[np.bool_], prefix: str) -> dict[str, float]:
    """Fit slope and offset of the probability. Source: Platt, 1999."""
    from sklearn.linear_model import LogisticRegression

    own = [sample for sample, here in zip(found.samples, inside, strict=True) if here]
    labels = [sample.machine_made for sample in own]
    line = LogisticRegression(C=1e6)
    line.fit(found.scores[inside][:, None], labels, sample_weight=balance(own))
    slope = float(line.coef_[0, 0])
    if slope <= 0:
        return {}
    return {f"{prefix}slope": slope, f"{prefix}offset": float(line.intercept_[0])}


def _held_out(found: Scored, labels: NDArray[np.bool_], share: float) -> tuple[int, int]:
    """Count photographs beyond levels that were set without their source.

    Returns:
        Accused, and how many could be asked; 0, 0 with a single source.
    """
    chosen = np.flatnonzero(~labels).tolist()
    photographs = [found.samples[i] for i in chosen]
    scores, small = found.scores[chosen], found.small[chosen]
    sources = len({sample.source for sample in photographs})
    if sources < 2:
        return 0, 0
    fold = folds(photographs, min(5, sources), seed=0, labels=(False,))
    accused = held = 0
    for turn in range(min(5, sources)):
        for kind in (small, ~small):
            others, own = scores[kind & (fold != turn)], scores[kind & (fold == turn)]
            level = conformal_level(others, share) if len(others) else None
            if level is not None:
                accused += int((own > level).sum())
                held += len(own)
    return accused, held
