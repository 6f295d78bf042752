"""The figures that go into a detector's card: measured on sources that training never saw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import measures
from counterproof.detectors.deliveries import WHOLE
from counterproof.detectors.detector import probability
from counterproof.detectors.measures import Interval
from counterproof.detectors.samples import Sample

__all__ = ["COMMAND", "figures"]

COMMAND = "counterproof detectors train TABLE -o FOLDER"

_SETS = {
    "whole": "whole pictures, saved once and delivered once at random",
    "crop": "crops of at most 288 pixels, recompressed",
}


def figures(
    samples: Sequence[Sample],
    held_out: Mapping[int, NDArray[np.float64]],
    thresholds: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Measure held-out scores, as the entries `metrics` of a card.

    Args:
        samples: the pictures.
        held_out: for each delivery the scores, shape `(N,)`; nan where there is none.
        thresholds: see `training.calibrate`.
    """
    labels = np.array([sample.machine_made for sample in samples], bool)
    sources = np.array([sample.source for sample in samples])
    crop = held_out[max(held_out)]
    whole = np.nanmean(np.stack([held_out[number] for number in WHOLE]), 0)
    once = held_out[WHOLE[-1]]
    found: list[dict[str, Any]] = []

    def add(name: str, value: Interval, n: int, of: str) -> None:
        found.append(
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
        reached = measures.resampled(_found_at_5, own, flags, names)
        add(f"found_at_5_{of}", reached, int(flags.sum()), of)
    seen = np.isfinite(whole)
    error = measures.resampled(
        lambda own, flags, names: measures.calibration_error(_chances(own, thresholds), flags),
        whole[seen],
        labels[seen],
        sources[seen],
    )
    add("calibration_error", error, int(seen.sum()), "whole")
    photographs = once[np.isfinite(once) & ~labels]
    accused = int((photographs > thresholds["accuse"]).sum())
    add(
        "photographs_accused", measures.wilson(accused, len(photographs)), len(photographs), "whole"
    )
    makes = once[np.isfinite(once) & labels]
    caught = int((makes > thresholds["accuse"]).sum())
    add("machine_made_accused", measures.wilson(caught, len(makes)), len(makes), "whole")
    return found


def _found_at_5(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], sources: NDArray[np.str_]
) -> float:
    return measures.true_positive_rate(scores, labels, 0.05)


def _chances(scores: NDArray[np.float64], thresholds: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([probability(value, thresholds) for value in scores])
