"""How well scores tell two classes apart, with intervals over whole sources.

The headline is the mean over sources of machine-made pictures (with at least `LEAST`) of the
area under the ROC curve against all photographs: a large source counts no more than a small
one. Intervals resample whole sources, since pictures of one source are alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEAST",
    "Interval",
    "average_precision",
    "calibration_error",
    "errors_of_the_surest",
    "headline",
    "per_source",
    "reliability",
    "resampled",
    "roc_area",
    "source_mean",
    "true_positive_rate",
    "wilson",
]

LEAST = 20
"""Pictures that a source needs to be given an area of its own."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def roc_area(photographs: Floats, machine_made: Floats) -> float:
    """Return the chance that a machine-made picture scores above a photograph, ties half.

    Source: Mann-Whitney U; Hanley and McNeil, Radiology 143, 1982.
    """
    if not len(photographs) or not len(machine_made):
        return float("nan")
    ordered = np.sort(photographs)
    below = np.searchsorted(ordered, machine_made, "left")
    upto = np.searchsorted(ordered, machine_made, "right")
    return float((below + upto).mean() / 2 / len(photographs))


def per_source(scores: Floats, labels: Flags, sources: Names) -> dict[str, float]:
    """Return the area of each machine-made source with at least `LEAST` pictures."""
    photographs = scores[~labels]
    found = {}
    for name in sorted(set(sources[labels])):
        own = scores[labels & (sources == name)]
        if len(own) >= LEAST:
            found[str(name)] = roc_area(photographs, own)
    return found


def source_mean(scores: Floats, labels: Flags, sources: Names) -> float:
    """Return the mean of `per_source`; nan if no source is large enough."""
    found = per_source(scores, labels, sources)
    return float(np.mean(list(found.values()))) if found else float("nan")


def headline(labels: Flags, sources: Names) -> Callable[[Floats, Flags, Names], float]:
    """Return the measure that a set is large enough for.

    That is `source_mean`, or the area over all pictures where no source of machine-made
    pictures has `LEAST`.
    """
    _, counts = np.unique(sources[labels], return_counts=True)
    if counts.max(initial=0) >= LEAST:
        return source_mean
    return lambda scores, own, _: roc_area(scores[~own], scores[own])


def average_precision(scores: Floats, labels: Flags) -> float:
    """Return the mean precision over the ranks of the machine-made pictures, ties in order."""
    ranked = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def true_positive_rate(scores: Floats, labels: Flags, false_positive_rate: float) -> float:
    """Return the share of machine-made pictures above the level that few photographs pass.

    Args:
        scores: higher means machine-made, shape `(N,)`.
        labels: whether machine-made, shape `(N,)`.
        false_positive_rate: share of the photographs allowed above the level, 0 to 1.
    """
    photographs = np.sort(scores[~labels])[::-1]
    allowed = int(false_positive_rate * len(photographs))
    return float((scores[labels] > photographs[min(allowed, len(photographs) - 1)]).mean())


def reliability(chances: Floats, labels: Flags, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return for each equal-width bin that holds pictures what was stated and what was seen.

    Both classes are weighed alike.

    Returns:
        Mean probability stated, share that was machine-made, number of pictures.
    """
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    place = np.minimum((chances * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        inside = place == number
        if inside.any():
            mass = weights[inside].sum()
            stated = float((weights[inside] * chances[inside]).sum() / mass)
            seen = float((weights[inside] * labels[inside]).sum() / mass)
            found.append((stated, seen, int(inside.sum())))
    return found


def calibration_error(chances: Floats, labels: Flags, bins: int = 10) -> float:
    """Return the expected calibration error, both classes weighed alike, equal-width bins.

    Source: Naeini et al., AAAI 2015.
    """
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    place = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = [abs((weights * (chances - labels))[place == number].sum()) for number in range(bins)]
    return float(sum(gaps))


def errors_of_the_surest(scores: Floats, labels: Flags) -> tuple[float, ...]:
    """Return the error when only the surest tenth is answered, two tenths, … all.

    The middle is the level at which both classes are mistaken equally often; the surest lie
    farthest from it, in ranks of their own side. Both classes are weighed alike.
    """
    ordered = np.sort(scores)
    candidates = ordered[:: max(1, len(ordered) // 500)]
    missed = np.searchsorted(np.sort(scores[labels]), candidates, "right") / labels.sum()
    wrong = 1 - np.searchsorted(np.sort(scores[~labels]), candidates, "right") / (~labels).sum()
    middle = candidates[int(np.argmin(np.abs(missed - wrong)))]
    above = scores > middle
    rank = np.argsort(np.argsort(scores)) / max(1, len(scores) - 1)
    cut = float((~above).mean())
    sure = np.where(above, (rank - cut) / max(1 - cut, 1e-9), (cut - rank) / max(cut, 1e-9))
    order = np.argsort(-sure, kind="stable")
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())[order]
    mistakes = weights * (above != labels)[order]
    shares = (np.arange(1, 11) * len(scores) / 10).round().astype(int).clip(1)
    return tuple(float(mistakes[:count].sum() / weights[:count].sum()) for count in shares)


def resampled(
    measure: Callable[[Floats, Flags, Names], float],
    scores: Floats,
    labels: Flags,
    sources: Names,
    *,
    draws: int = 200,
    seed: int = 0,
) -> Interval:
    """Return a measure with its bootstrap interval over whole sources.

    A source drawn twice counts as two sources. Draws in which the measure is undefined are
    left out.
    """
    rng = np.random.default_rng(seed)
    groups = [
        (label, np.flatnonzero((sources == name) & (labels == label)))
        for label in (False, True)
        for name in sorted(set(sources[labels == label]))
    ]
    values = []
    for _ in range(draws):
        rows, names = [], []
        for label in (False, True):
            own = [where for kind, where in groups if kind is label]
            for turn, pick in enumerate(rng.integers(len(own), size=len(own))):
                rows.append(own[pick])
                names.append(np.full(len(own[pick]), f"{label}{turn}"))
        index = np.concatenate(rows)
        value = measure(scores[index], labels[index], np.concatenate(names))
        if np.isfinite(value):
            values.append(value)
    low, high = np.quantile(values, (0.025, 0.975)) if values else (np.nan, np.nan)
    return Interval(measure(scores, labels, sources), float(low), float(high))


def wilson(hits: int, count: int) -> Interval:
    """Return a share with its 95 % Wilson interval. Source: Wilson, JASA 22, 1927."""
    if not count:
        return Interval(float("nan"), 0.0, 1.0)
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half /= 1 + z * z / count
    return Interval(share, float(max(0, middle - half)), float(min(1, middle + half)))
