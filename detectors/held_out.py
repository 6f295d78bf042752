"""What every recipe does after it described its pictures: hold out sources, set levels, write.

A score counts only if the model behind it saw no picture of the source.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import training
from counterproof.detectors.card import figures
from counterproof.detectors.deliveries import DELIVERIES, SMALL, WHOLE
from counterproof.detectors.gathering import Rows
from counterproof.detectors.samples import Sample, balance, folds
from counterproof.detectors.training import Recipe
from counterproof.errors import UserError

__all__ = [
    "Outcome",
    "Scores",
    "held_out_rows",
    "levels_of",
    "mean_over",
    "read_scores",
    "spread",
    "write",
]

Scores = dict[int, NDArray[np.float64]]
"""For each delivery the logits of the samples, shape `(N,)`; nan where there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a recipe made.

    Attributes:
        files: what was written.
        thresholds: see `training.calibrate`; those of small pictures begin with `small_`.
        metrics: figures on held-out sources, as in a card.
        remarks: sentences for the terminal.
    """

    files: tuple[Path, ...]
    thresholds: dict[str, float]
    metrics: list[dict[str, Any]]
    remarks: tuple[str, ...]


def held_out_rows(
    rows: Rows,
    samples: Sequence[Sample],
    recipe: Recipe,
    make: Callable[[], Any],
    *,
    power: float = 0.5,
    asked: Rows | None = None,
) -> Scores:
    """Score each row by a model that saw no picture of its source.

    Args:
        rows: what describes the pictures, for training.
        samples: the pictures.
        recipe: folds and seed.
        make: returns an untrained estimator that takes such rows.
        power: see `samples.balance`.
        asked: rows to score, of any deliveries of those pictures; None for those above.

    Returns:
        For each delivery of `asked` the logits, shape `(N,)`; nan where a picture has no such row.

    Raises:
        UserError: if there is no row.
    """
    if not len(rows.values):
        raise UserError("expected at least one readable picture")
    asked = rows if asked is None else asked
    fold = folds(samples, recipe.folds, recipe.seed)
    labels = np.array([sample.machine_made for sample in samples], bool)
    count = max(len(DELIVERIES), int(asked.delivery.max(initial=0)) + 1)
    scores = {number: np.full(len(samples), np.nan) for number in range(count)}
    for turn in range(recipe.folds):
        kept = np.flatnonzero(fold != turn)
        given = np.zeros(len(samples))
        given[kept] = balance([samples[i] for i in kept.tolist()], power)
        used = given[rows.picture] > 0
        picture = rows.picture[used]
        share = given[picture] / np.bincount(picture, minlength=len(samples))[picture]
        made = make().fit(rows.values[used], labels[picture], share)
        held = np.flatnonzero(fold[asked.picture] == turn)
        found = made.decision_function(asked.values[held])
        for number, column in scores.items():
            own = asked.delivery[held] == number
            column[asked.picture[held[own]]] = found[own]
    return scores


def spread(
    rows: Rows, samples: Sequence[Sample], power: float = 0.5
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return label and weight of each row; the rows of a picture share its weight."""
    labels = np.array([sample.machine_made for sample in samples], bool)
    counts = np.bincount(rows.picture, minlength=len(samples))
    return labels[rows.picture], balance(samples, power)[rows.picture] / counts[rows.picture]


def mean_over(scores: Scores, deliveries: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean score of each sample over some deliveries, shape `(N,)`."""
    return np.asarray(np.mean([scores[number] for number in deliveries], 0))


def levels_of(scores: Scores, samples: Sequence[Sample], recipe: Recipe) -> dict[str, float]:
    """Return the levels for whole and small pictures, set on held-out scores."""
    found = training.calibrate(mean_over(scores, WHOLE), samples, recipe)
    small = training.calibrate(scores[SMALL], samples, recipe)
    return found | {f"small_{name}": value for name, value in small.items()}


def write(
    folder: Path,
    model: str,
    samples: Sequence[Sample],
    scores: Scores,
    recipe: Recipe,
    remarks: Sequence[str] = (),
) -> Outcome:
    """Write levels, figures and held-out scores beside a model that was saved."""
    thresholds = levels_of(scores, samples, recipe)
    metrics = figures(samples, scores, thresholds)
    content = {"thresholds": thresholds, "metrics": metrics}
    (folder / "training.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    training.write_scores(folder / "held-out.jsonl", samples, scores)
    names = (model, "training.json", "held-out.jsonl")
    return Outcome(tuple(folder / name for name in names), thresholds, metrics, tuple(remarks))


def read_scores(path: Path, samples: Sequence[Sample]) -> Scores:
    """Read what `training.write_scores` wrote, in the order of samples."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = {row["file"]: row["scores"] for row in map(json.loads, lines)}
        own = [rows[str(sample.path)] for sample in samples]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UserError(f"{path}: expected held-out scores of the same table: {err!r}") from err
    return {
        number: np.array([row.get(str(number), np.nan) for row in own], float)
        for number in range(len(DELIVERIES))
    }
