"""Recipes of `counterproof detectors train`: gather, hold out, calibrate, save.

Each recipe keeps what it made of the pictures in the folder, so that the same command goes on
where it stopped, and writes the model, `training.json` (levels and figures) and
`held-out.jsonl` (scores by a model that saw no picture of the source).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import training
from counterproof.detectors.card import figures
from counterproof.detectors.ensemble import stack
from counterproof.detectors.features import HEAD
from counterproof.detectors.gathering import Rows, gather
from counterproof.detectors.samples import Sample, balance, folds
from counterproof.detectors.training import DELIVERIES, SMALL, WHOLE, Recipe
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.detectors.residual import Residual

__all__ = [
    "backbone",
    "ensemble",
    "held_out_rows",
    "levels_of",
    "network",
    "residual",
    "spectral",
    "write",
]

Told = Callable[[str], None]
Scores = dict[int, NDArray[np.float64]]


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


def network(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, steps: int = 0
) -> Outcome:
    """Train on the pretrained network: its upper half and a head, or the head alone.

    Args:
        samples: the table.
        folder: where the network, `lite0.onnx`, and what leads to it go.
        recipe: folds and seed.
        told: gets a line now and then.
        steps: of training the upper half, which needs torch; 0 leaves the network that ships as
            it is and trains its head.

    Raises:
        UserError: if no picture can be read.
    """
    learner: training.Learner
    if steps:
        from counterproof.detectors import finetune

        kept = finetune.gather(samples, folder / "features", recipe.seed, told=told)
        tuning = finetune.Tuning(steps=steps, seed=recipe.seed)
        learner, table = (
            finetune.Tuner(kept, samples, folder / "features", tuning, told),
            kept.table,
        )
    else:
        table = training.gather(samples, folder / "features", recipe.seed, told=told)
        learner = training.HeadLearner(table, samples)
    readable = np.bincount(table.picture, minlength=len(samples)) > 0
    if not readable.any():
        raise UserError("expected at least one readable picture")
    scores = training.held_out(learner, samples, readable, recipe)
    made = learner.fit(np.flatnonzero(readable).tolist())
    (folder / "lite0.onnx").write_bytes(made.onnx())
    weight, usual = made.head()
    np.savez(folder / HEAD, weight=weight, usual=usual)
    return write(folder, "lite0.onnx", samples, scores, recipe)


def spectral(samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told) -> Outcome:
    """Train `Spectral`: 0.3 s of CPU a picture for the numbers, then under a minute."""
    from counterproof.detectors.spectral import Spectral
    from counterproof.detectors.spectral_features import VERSION, describe

    rows = gather(
        samples,
        describe,
        DELIVERIES,
        folder / "numbers",
        name=f"spectral {VERSION}",
        seed=recipe.seed,
        told=told,
    )
    scores = held_out_rows(rows, samples, recipe, lambda: Spectral(seed=recipe.seed))
    labels, given = _spread(rows, samples)
    made = Spectral(seed=recipe.seed).fit(rows.values, labels, given)
    made.save(folder / "spectral.onnx")
    strongest = [f"goes by: {item.words} ({item.weight:.2f})" for item in made.strongest_[:6]]
    return write(folder, "spectral.onnx", samples, scores, recipe, strongest)


def backbone(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, name: str, weights: Path
) -> Outcome:
    """Train a head on a network of torchvision with the user's weights, see `backbone.Backbone`.

    Args:
        samples: the table.
        folder: where `backbone.onnx` and what leads to it go.
        recipe: folds and seed.
        told: gets a line now and then.
        name: of the network, as torchvision calls it.
        weights: its state dictionary.
    """
    from counterproof.detectors.backbone import Backbone, of_torchvision

    net = of_torchvision(name, weights)
    made = Backbone(net, seed=recipe.seed)
    rows = gather(
        samples,
        made.describe,
        DELIVERIES,
        folder / "numbers",
        name=f"{name} {hashlib.sha256(weights.read_bytes()).hexdigest()}",
        seed=recipe.seed,
        told=told,
    )
    scores = held_out_rows(rows, samples, recipe, lambda: Backbone(net, seed=recipe.seed))
    labels, given = _spread(rows, samples)
    made.fit(rows.values, labels, given)
    made.save(folder / "backbone.onnx")
    return write(folder, "backbone.onnx", samples, scores, recipe)


def residual(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, steps: int
) -> Outcome:
    """Train `Residual` once for each group of held-out sources, and once on everything.

    Each training keeps its state in a folder of its own, and each group its scores, so that a
    run that was stopped goes on. About 1.5 s of CPU a step.
    """
    from counterproof.detectors.residual import Residual

    fold = folds(samples, recipe.folds, recipe.seed)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds + 1):
        held = [sample for sample, own in zip(samples, fold, strict=True) if own == turn]
        kept = [sample for sample, own in zip(samples, fold, strict=True) if own != turn]
        place = folder / (f"fold-{turn}" if held else "all")
        made = Residual(steps=steps, seed=recipe.seed, folder=place)
        told(f"training {turn + 1} of {recipe.folds + 1}")
        made.fit(
            [sample.path for sample in kept],
            [sample.machine_made for sample in kept],
            balance(kept),
            told,
        )
        if held:
            rows = gather(
                held,
                partial(_score, made),
                DELIVERIES,
                place / "scores",
                name=f"residual {hashlib.sha256(made.onnx_).hexdigest()}",
                seed=recipe.seed,
                told=told,
            )
            own = np.flatnonzero(fold == turn)[rows.picture]
            for number, column in scores.items():
                inside = rows.delivery == number
                column[own[inside]] = rows.values[inside]
    made.save(folder / "residual.onnx")
    return write(folder, "residual.onnx", samples, scores, recipe)


def _score(made: "Residual", pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array(made.score_pixels(pixels), np.float32)


def ensemble(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, members: Sequence[Path]
) -> Outcome:
    """Stack models that other recipes trained on the same table, from their held-out scores.

    Args:
        samples: the table.
        folder: where `ensemble.json` goes.
        recipe: folds and seed; the weights of each fold come from the other folds.
        told: gets a line.
        members: folders of the recipes' `held-out.jsonl`.

    Raises:
        UserError: if a member is missing or was trained on other pictures.
    """
    if len(members) < 2:
        raise UserError("expected at least two --member FOLDER for the recipe ensemble")
    columns = [_read_scores(member / "held-out.jsonl", samples) for member in members]
    labels = np.array([sample.machine_made for sample in samples], bool)
    fold = folds(samples, recipe.folds, recipe.seed)
    joined: Scores = {}
    for delivery in range(len(DELIVERIES)):
        table = np.stack([column[delivery] for column in columns], 1)
        seen = np.isfinite(table).all(1)
        scores = np.full(len(samples), np.nan)
        for turn in range(recipe.folds):
            kept, held = np.flatnonzero(seen & (fold != turn)), seen & (fold == turn)
            own = balance([samples[i] for i in kept.tolist()])
            weight, bias = stack(table[kept], labels[kept], own)
            scores[held] = table[held] @ weight + bias
        joined[delivery] = scores
    whole = np.stack([_mean(column, WHOLE) for column in columns], 1)
    seen = np.isfinite(whole).all(1)
    given = balance([samples[i] for i in np.flatnonzero(seen).tolist()])
    weight, bias = stack(whole[seen], labels[seen], given)
    shares = {str(member): float(value) for member, value in zip(members, weight, strict=True)}
    content = {"kind": "counterproof.stack/1", "members": shares, "bias": bias}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stack.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    remarks = [f"weight of {member}: {value:.3f}" for member, value in shares.items()]
    told(f"stacked {len(members)} members on {int(seen.sum())} held-out pictures")
    return write(folder, "stack.json", samples, joined, recipe, remarks)


def held_out_rows(
    rows: Rows, samples: Sequence[Sample], recipe: Recipe, make: Callable[[], Any]
) -> Scores:
    """Score each row by a model that saw no picture of its source.

    Args:
        rows: what describes the pictures.
        samples: the pictures.
        recipe: folds and seed.
        make: returns an untrained estimator that takes such rows.

    Returns:
        For each delivery the logits, shape `(N,)`; nan where a picture has no such row.
    """
    if not len(rows.values):
        raise UserError("expected at least one readable picture")
    fold = folds(samples, recipe.folds, recipe.seed)
    labels = np.array([sample.machine_made for sample in samples], bool)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds):
        kept = np.flatnonzero(fold != turn)
        given = np.zeros(len(samples))
        given[kept] = balance([samples[i] for i in kept.tolist()])
        used = given[rows.picture] > 0
        picture = rows.picture[used]
        share = given[picture] / np.bincount(picture, minlength=len(samples))[picture]
        made = make().fit(rows.values[used], labels[picture], share)
        held = np.flatnonzero(fold[rows.picture] == turn)
        found = made.decision_function(rows.values[held])
        for number, column in scores.items():
            own = rows.delivery[held] == number
            column[rows.picture[held[own]]] = found[own]
    return scores


def _spread(rows: Rows, samples: Sequence[Sample]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return label and weight of each row; the rows of a picture share its weight."""
    labels = np.array([sample.machine_made for sample in samples], bool)
    counts = np.bincount(rows.picture, minlength=len(samples))
    return labels[rows.picture], balance(samples)[rows.picture] / counts[rows.picture]


def _mean(scores: Scores, deliveries: Sequence[int]) -> NDArray[np.float64]:
    return np.asarray(np.mean([scores[number] for number in deliveries], 0))


def levels_of(scores: Scores, samples: Sequence[Sample], recipe: Recipe) -> dict[str, float]:
    """Return the levels for whole and small pictures, set on held-out scores."""
    found = training.calibrate(_mean(scores, WHOLE), samples, recipe)
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


def _read_scores(path: Path, samples: Sequence[Sample]) -> Scores:
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
