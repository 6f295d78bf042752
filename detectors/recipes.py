"""Recipes of `counterproof detectors train`: gather, hold out, calibrate, save.

Each recipe keeps what it made of the pictures in the folder, so that the same command goes on
where it stopped, and writes the model, `training.json` (levels and figures) and
`held-out.jsonl` (scores by a model that saw no picture of the source).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from counterproof import weights
from counterproof.detectors.deliveries import DELIVERIES, WHOLE
from counterproof.detectors.ensemble import stack
from counterproof.detectors.features import HEAD, MODEL, SPECTRAL, WIDTH
from counterproof.detectors.gathering import Describe, Rows, joined, shards
from counterproof.detectors.held_out import (
    Outcome,
    Scores,
    held_out_rows,
    mean_over,
    read_scores,
    spread,
    write,
)
from counterproof.detectors.samples import Sample, balance, folds
from counterproof.detectors.training import Recipe
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.detectors.residual import Residual

__all__ = [
    "backbone",
    "both",
    "default",
    "described_twice",
    "ensemble",
    "residual",
    "spectral",
    "tuned",
]

SHARE = 0.5
"""What a logit of the spectral detector counts beside one of the network. Not fitted fold by fold:
shares of 0.3 to 0.8 are alike, and levels need one scale. Source: docs/detectors.md, what moved
it."""

Told = Callable[[str], None]


def default(samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told) -> Outcome:
    """Train what ships: a head on the bundled network, and what a spectral detector adds to it.

    About 0.5 s of CPU a picture for its features, then a minute; no torch.

    Args:
        samples: the table.
        folder: where the head, `lite0-head.npz`, what spectra and noise add to its logit,
            `lite0-spectral.onnx`, and what leads to them go.
        recipe: folds and seed.
        told: gets a line now and then.

    Raises:
        UserError: if no picture can be read.
    """
    from counterproof.detectors.head import Head

    features, numbers = described_twice(samples, folder, recipe, told)
    scores = held_out_rows(features, samples, recipe, lambda: Head(seed=recipe.seed), power=0)
    labels, given = spread(features, samples, power=0)
    head = Head(seed=recipe.seed).fit(features.values, labels, given)
    head.save(folder / HEAD)
    return _with_spectral(samples, folder, recipe, scores, numbers, HEAD)


def described_twice(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told
) -> tuple[Rows, Rows]:
    """Return features of the network, and spectral numbers, of the same views.

    Raises:
        UserError: if no picture can be read.
    """
    name, describe = both()
    rows = _described(samples, describe, folder / "views", name, recipe, told)
    return (
        replace(rows, values=rows.values[:, :WIDTH]),
        replace(rows, values=rows.values[:, WIDTH:]),
    )


def both() -> tuple[str, Describe]:
    """Return what `default` describes a view by: a name with versions, and the function."""
    from counterproof.detectors.head import Head
    from counterproof.detectors.spectral_features import VERSION, describe

    head = Head()
    return (
        f"network {weights.open(MODEL).sha256[:12]}, spectral {VERSION}",
        lambda view: np.concatenate([head.describe(view), describe(view)])[None],
    )


def tuned(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, steps: int
) -> Outcome:
    """Train as `default`, but the upper half of the network as well; needs torch.

    Args:
        samples: the table.
        folder: as for `default`; the network that was trained, `lite0.onnx`, too.
        recipe: folds and seed.
        told: gets a line now and then.
        steps: of training the upper half.

    Raises:
        UserError: if no picture can be read.
    """
    from counterproof.detectors import finetune

    numbers = _numbers(samples, folder, recipe, told)
    kept = finetune.gather(samples, folder / "features", recipe.seed, told=told)
    tuning = finetune.Tuning(steps=steps, seed=recipe.seed)
    tuner = finetune.Tuner(kept, samples, folder / "features", tuning, told)
    fold = folds(samples, recipe.folds, recipe.seed)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    readable = np.bincount(kept.table.picture, minlength=len(samples)) > 0
    for turn in range(recipe.folds):
        made = tuner.fit(np.flatnonzero((fold != turn) & readable).tolist())
        held = np.flatnonzero((fold == turn) & readable)
        for number, column in made.scores(held.tolist(), len(samples)).items():
            scores[number][held] = column[held]
    made = tuner.fit(np.flatnonzero(readable).tolist())
    network = made.onnx()
    (folder / "lite0.onnx").write_bytes(network)
    made.head(hashlib.sha256(network).hexdigest()).save(folder / HEAD)
    return _with_spectral(samples, folder, recipe, scores, numbers, "lite0.onnx")


def _with_spectral(
    samples: Sequence[Sample],
    folder: Path,
    recipe: Recipe,
    by_tiles: Scores,
    numbers: Rows,
    model: str,
) -> Outcome:
    """Train a spectral detector beside a model that is already written, and join both."""
    from counterproof.detectors.spectral import Spectral, scaled

    by_numbers = held_out_rows(numbers, samples, recipe, lambda: Spectral(seed=recipe.seed))
    scores = {number: by_tiles[number] + SHARE * by_numbers[number] for number in by_tiles}
    labels, given = spread(numbers, samples)
    made = Spectral(seed=recipe.seed).fit(numbers.values, labels, given)
    (folder / SPECTRAL).write_bytes(scaled(made.onnx_, SHARE))
    return write(folder, model, samples, scores, recipe)


def _numbers(samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told) -> Rows:
    """Return the spectral numbers of each delivery of each picture."""
    from counterproof.detectors.spectral_features import VERSION, describe

    return _described(
        samples,
        lambda view: describe(view)[None],
        folder / "numbers",
        f"spectral {VERSION}",
        recipe,
        told,
    )


def _described(
    samples: Sequence[Sample],
    describe: Describe,
    folder: Path,
    name: str,
    recipe: Recipe,
    told: Told,
) -> Rows:
    """Return the rows of `gathering.shards`; at least one picture must be readable."""
    rows = joined(shards(samples, describe, folder, name=name, seed=recipe.seed, told=told))
    if not len(rows.picture):
        raise UserError("expected at least one readable picture")
    return rows


def spectral(samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told) -> Outcome:
    """Train `Spectral`: 0.15 s of CPU a picture for the numbers, then under a minute."""
    from counterproof.detectors.spectral import Spectral

    rows = _numbers(samples, folder, recipe, told)
    scores = held_out_rows(rows, samples, recipe, lambda: Spectral(seed=recipe.seed))
    labels, given = spread(rows, samples)
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
    rows = _described(
        samples,
        lambda view: made.describe(view)[None],
        folder / "numbers",
        f"{name} {hashlib.sha256(weights.read_bytes()).hexdigest()}",
        recipe,
        told,
    )
    scores = held_out_rows(rows, samples, recipe, lambda: Backbone(net, seed=recipe.seed))
    labels, given = spread(rows, samples)
    made.fit(rows.values, labels, given)
    made.save(folder / "backbone.onnx")
    return write(folder, "backbone.onnx", samples, scores, recipe)


def residual(
    samples: Sequence[Sample], folder: Path, recipe: Recipe, told: Told, steps: int
) -> Outcome:
    """Train `Residual` once for each group of held-out sources, and once on everything.

    Patches are cut once, 0.2 s of CPU and 300 kB a picture. Each training keeps its state in a
    folder of its own, and each group its scores, so that a run that was stopped goes on.
    """
    from counterproof.detectors.residual import PAIR, PATCH, PATCHES, Residual, paired, patches

    cut: dict[int, NDArray[np.uint8]] = {}
    for part in shards(
        samples,
        patches,
        folder / "patches",
        name=f"patches {PATCHES} {PATCH}",
        deliveries=PAIR,
        seed=recipe.seed,
        told=told,
    ):
        cut |= paired(part)
    if not cut:
        raise UserError("expected at least one readable picture")
    fold = folds(samples, recipe.folds, recipe.seed)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds + 1):
        held = [sample for sample, own in zip(samples, fold, strict=True) if own == turn]
        chosen = [i for i in cut if fold[i] != turn]
        kept = [samples[i] for i in chosen]
        place = folder / (f"fold-{turn}" if held else "all")
        made = Residual(steps=steps, seed=recipe.seed, folder=place)
        told(f"training {turn + 1} of {recipe.folds + 1}")
        made.fit(
            [cut[i] for i in chosen],
            [sample.machine_made for sample in kept],
            balance(kept),
            told,
        )
        if held:
            rows = _described(
                held,
                partial(_score, made),
                place / "scores",
                f"residual {hashlib.sha256(made.onnx_).hexdigest()}",
                recipe,
                told,
            )
            own = np.flatnonzero(fold == turn)[rows.picture]
            for number, column in scores.items():
                inside = rows.delivery == number
                column[own[inside]] = rows.values[inside]
    made.save(folder / "residual.onnx")
    return write(folder, "residual.onnx", samples, scores, recipe)


def _score(made: "Residual", pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array([made.score_pixels(pixels)], np.float32)


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
    columns = [read_scores(member / "held-out.jsonl", samples) for member in members]
    scores, weight, bias = _stacked(columns, samples, recipe)
    shares = {str(member): float(value) for member, value in zip(members, weight, strict=True)}
    content = {"kind": "counterproof.stack/1", "members": shares, "bias": bias}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stack.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    remarks = [f"weight of {member}: {value:.3f}" for member, value in shares.items()]
    told(f"stacked {len(members)} members")
    return write(folder, "stack.json", samples, scores, recipe, remarks)


def _stacked(
    columns: Sequence[Scores], samples: Sequence[Sample], recipe: Recipe
) -> tuple[Scores, NDArray[np.float64], float]:
    """Weigh held-out scores of several models.

    Args:
        columns: of each model.
        samples: the pictures.
        recipe: folds and seed.

    Returns:
        Joined scores, each with weights that come from other folds; then the weights, shape
        `(M,)`, and the bias that all held-out scores of whole pictures give.
    """
    labels = np.array([sample.machine_made for sample in samples], bool)
    fold = folds(samples, recipe.folds, recipe.seed)
    whole = np.stack([mean_over(column, WHOLE) for column in columns], 1)
    seen = np.isfinite(whole).all(1)

    def weighed(chosen: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        given = balance([samples[i] for i in chosen.tolist()])
        return stack(whole[chosen], labels[chosen], given)

    joined = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds):
        weight, bias = weighed(np.flatnonzero(seen & (fold != turn)))
        held = fold == turn
        for number, scores in joined.items():
            table = np.stack([column[number] for column in columns], 1)
            scores[held] = table[held] @ weight + bias
    return joined, *weighed(np.flatnonzero(seen))
