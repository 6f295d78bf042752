"""The figures that go into a detector's card: measured on sources that training never saw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import measures
from counterproof.detectors.detector import probability
from counterproof.detectors.measures import Interval
from counterproof.detectors.samples import Sample
from counterproof.detectors.training import WHOLE, Trained

__all__ = ["COMMAND", "held_out_figures"]

COMMAND = "counterproof detectors train TABLE -o FOLDER"

_SETS = {
    "whole": "whole pictures, saved once and delivered once at random",
    "crop": "crops of at most 288 pixels, recompressed",
}


def held_out_figures(samples: Sequence[Sample], made: Trained) -> list[dict[str, Any]]:
    """Measure held-out scores, as the entries `metrics` of a card."""
    labels = np.array([sample.machine_made for sample in samples], bool)
    sources = np.array([sample.source for sample in samples])
    crop = made.scores[max(made.scores)]
    whole = np.nanmean(np.stack([made.scores[number] for number in WHOLE]), 0)
    once = made.scores[WHOLE[-1]]
    figures = []

    def add(name: str, value: Interval, n: int, of: str) -> None:
        figures.append(
            {
                "name": name,
                "value": round(value.value, 4),
                "low": round(value.low, 4),
                "high": round(value.high, 4),
                "n": n,
                "set": f"held-out sources, {_SETS[of]}",
                "command": COMMAND,
            }
        )

    for of, scores in (("whole", whole), ("crop", crop)):
        seen = np.isfinite(scores)
        own, flags, names = scores[seen], labels[seen], sources[seen]
        area = measures.resampled(measures.source_mean, own, flags, names)
        add(f"source_area_{of}", area, int(seen.sum()), of)
        found = measures.resampled(_found_at_5, own, flags, names)
        add(f"found_at_5_{of}", found, int(flags.sum()), of)
    seen = np.isfinite(whole)
    error = measures.resampled(
        lambda own, flags, names: measures.calibration_error(_chances(own, made.thresholds), flags),
        whole[seen],
        labels[seen],
        sources[seen],
    )
    add("calibration_error", error, int(seen.sum()), "whole")
    photographs = once[np.isfinite(once) & ~labels]
    accused = int((photographs > made.thresholds["accuse"]).sum())
    add(
        "photographs_accused", measures.wilson(accused, len(photographs)), len(photographs), "whole"
    )
    makes = once[np.isfinite(once) & labels]
    reached = int((makes > made.thresholds["accuse"]).sum())
    add("machine_made_accused", measures.wilson(reached, len(makes)), len(makes), "whole")
    return figures


def _found_at_5(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], sources: NDArray[np.str_]
) -> float:
    return measures.true_positive_rate(scores, labels, 0.05)


def _chances(scores: NDArray[np.float64], thresholds: dict[str, float]) -> NDArray[np.float64]:
    return np.array([probability(value, thresholds) for value in scores])
