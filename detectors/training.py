"""Trains the detector: features, held-out scores, calibration, the final head, its card.

Every step can be read in `train`. Features are kept in a folder as they are made, so that a
run that was stopped goes on; with them the rest takes minutes. No step needs a GPU or torch.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors.deliveries import at_random, recompress
from counterproof.detectors.features import WIDTH, TileTable, extract
from counterproof.detectors.head import fit_tiles, picture_scores
from counterproof.detectors.samples import Sample, balance, folds
from counterproof.errors import UserError

__all__ = [
    "DELIVERIES",
    "Recipe",
    "Trained",
    "calibrate",
    "gather",
    "held_out",
    "train",
    "write_scores",
]

SHARD = 200
"""Pictures whose features are kept in one file."""


def _as_found(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return recompress(image, 93, chroma=0)


def _small_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = min(288, image.width), min(288, image.height)
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    cropped = image.crop((left, top, left + width, top + height))
    return recompress(cropped, int(rng.integers(50, 96)))


DELIVERIES = (_as_found, at_random, at_random, _small_crop)
"""What happens to each picture in training, the same for both classes: saved once more at
high quality, delivered twice at random, and a small crop."""

WHOLE = (0, 1)
"""Deliveries on which held-out scores of whole pictures are measured."""

SMALL = 3
"""Delivery on which levels for pictures of few tiles are set: they vary more."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        penalty: of the head, see `head.fit_tiles`.
        folds: groups of whole sources that are held out in turn.
        seed: of deliveries and folds.
        accused_share: share of held-out photographs that may pass the accusing level.
        missed_share: share of held-out machine-made pictures below the clearing level.
    """

    penalty: float = 3e-3
    folds: int = 5
    seed: int = 0
    accused_share: float = 0.02
    missed_share: float = 0.1


def gather(
    samples: Sequence[Sample],
    folder: Path,
    seed: int,
    *,
    told: Callable[[str], None] = lambda text: None,
) -> TileTable:
    """Return the features of samples, making only those that the folder lacks.

    Args:
        samples: pictures.
        folder: keeps one file for each `SHARD` pictures; made if missing.
        seed: of the deliveries.
        told: gets a line for each shard, and for each picture that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for start in range(0, len(samples), SHARD):
        part = [sample.path for sample in samples[start : start + SHARD]]
        names = "\n".join(map(str, part))
        key = hashlib.sha256(f"{seed}\n{len(DELIVERIES)}\n{names}".encode()).hexdigest()[:16]
        file = folder / f"{key}.npz"
        if not file.exists():
            table = extract(
                part,
                DELIVERIES,
                seed=seed + start,
                skipped=lambda path, err: told(f"skipped {err}"),
            )
            partial = file.with_suffix(".part.npz")
            np.savez(
                partial,
                features=table.features,
                picture=table.picture,
                delivery=table.delivery,
            )
            partial.replace(file)
        with np.load(file) as kept:
            tables.append((kept["features"], kept["picture"] + start, kept["delivery"]))
        told(f"{min(start + SHARD, len(samples))} of {len(samples)} pictures described")
    return TileTable(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))


def held_out(
    table: TileTable, samples: Sequence[Sample], recipe: Recipe
) -> dict[int, NDArray[np.float64]]:
    """Score each picture by a head that saw no picture of its source.

    Returns:
        For each delivery the mean logits, shape `(N,)`; nan where a picture has no tiles.
    """
    labels = np.array([sample.machine_made for sample in samples])
    fold = folds(samples, recipe.folds, recipe.seed)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds):
        given = np.zeros(len(samples))
        kept = np.flatnonzero(fold != turn).tolist()
        given[kept] = balance([samples[i] for i in kept])
        weight, bias = fit_tiles(table, labels, given, penalty=recipe.penalty)
        for number, column in scores.items():
            found = picture_scores(table, len(samples), weight, bias, number)
            column[fold == turn] = found[fold == turn]
    return scores


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


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made.

    Attributes:
        weight: of each feature, shape `(WIDTH,)`.
        bias: added to the sum.
        thresholds: see `calibrate`; those for pictures of few tiles begin with `small_`.
        scores: held-out mean logits for each delivery.
        used: the samples that could be read, as indices.
    """

    weight: NDArray[np.float64]
    bias: float
    thresholds: dict[str, float]
    scores: dict[int, NDArray[np.float64]]


def train(table: TileTable, samples: Sequence[Sample], recipe: Recipe) -> Trained:
    """Measure on held-out sources, calibrate there, then fit on everything.

    Raises:
        UserError: if there are too few sources, or no picture could be read.
    """
    if not len(table.features) or table.features.shape[1] != WIDTH:
        raise UserError("expected at least one readable picture")
    scores = held_out(table, samples, recipe)
    whole = np.nanmean(np.stack([scores[number] for number in WHOLE]), 0)
    thresholds = calibrate(whole, samples, recipe)
    small = calibrate(scores[SMALL], samples, recipe)
    thresholds |= {f"small_{name}": value for name, value in small.items()}
    labels = np.array([sample.machine_made for sample in samples])
    readable = np.bincount(table.picture, minlength=len(samples)) > 0
    given = np.where(readable, balance(samples), 0.0)
    weight, bias = fit_tiles(table, labels, given, penalty=recipe.penalty)
    return Trained(weight, bias, thresholds, scores)


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
