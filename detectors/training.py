"""What every recipe shares: its settings, levels from held-out scores, those scores as a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors.samples import Sample, balance

__all__ = ["Recipe", "calibrate", "write_scores"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        folds: groups of whole sources that are held out in turn.
        seed: of deliveries and folds.
        accused_share: share of held-out photographs that may pass the accusing level.
        missed_share: share of held-out machine-made pictures below the clearing level.
    """

    folds: int = 5
    seed: int = 0
    accused_share: float = 0.02
    missed_share: float = 0.1


def calibrate(
    scores: NDArray[np.float64], samples: Sequence[Sample], recipe: Recipe
) -> dict[str, float]:
    """Fit probabilities and levels on held-out scores.

    Levels are quantiles of held-out scores with the correction of split conformal prediction,
    each source weighed as in training. Source: Vovk et al., Algorithmic Learning in a Random
    World, 2005; Platt, 1999.

    Returns:
        `slope`, `offset` of the probability; `accuse`, `keep` and `clear`, levels of the mean
        logit.
    """
    from sklearn.linear_model import LogisticRegression

    seen = np.flatnonzero(np.isfinite(scores)).tolist()
    labels = np.array([samples[i].machine_made for i in seen])
    weights = balance([samples[i] for i in seen])
    values = scores[seen]
    line = LogisticRegression(C=1e6).fit(values[:, None], labels, sample_weight=weights)

    def level(of: NDArray[np.bool_], share: float) -> float:
        order = np.argsort(values[of])
        mass = np.cumsum(weights[of][order])
        wanted = share * (mass[-1] + mass[-1] / len(order))
        return float(values[of][order][min(np.searchsorted(mass, wanted), len(order) - 1)])

    return {
        "slope": float(line.coef_[0, 0]),
        "offset": float(line.intercept_[0]),
        "accuse": level(~labels, 1 - recipe.accused_share),
        "keep": level(~labels, 1 - 2.5 * recipe.accused_share),
        "clear": level(labels, recipe.missed_share),
    }


def write_scores(
    path: Path, samples: Sequence[Sample], scores: dict[int, NDArray[np.float64]]
) -> None:
    """Write held-out scores as one JSON object a line, for plots and second opinions."""
    with path.open("w", encoding="utf-8") as file:
        for number, sample in enumerate(samples):
            row = {
                "file": str(sample.path),
                "machine_made": sample.machine_made,
                "source": sample.source,
                "generator": sample.generator,
                "scores": {
                    str(delivery): round(float(column[number]), 4)
                    for delivery, column in scores.items()
                    if np.isfinite(column[number])
                },
            }
            file.write(json.dumps(row) + "\n")
