"""The steps of training on a pretrained network: features, held-out scores, calibration.

What learns is a `Learner`: `HeadLearner` here, which needs no torch, or `finetune.Tuner`;
`recipes.network` runs the steps. Features are kept in a folder as they are made, so that a run
that was stopped goes on. No step needs a GPU.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof import weights
from counterproof.detectors.deliveries import at_random, recompress
from counterproof.detectors.features import MODEL, TileTable, extract
from counterproof.detectors.head import fit_tiles
from counterproof.detectors.network_file import with_head
from counterproof.detectors.samples import Sample, balance, folds

__all__ = [
    "DELIVERIES",
    "Fitted",
    "FittedHead",
    "HeadLearner",
    "Learner",
    "Recipe",
    "Shard",
    "calibrate",
    "gather",
    "held_out",
    "mean_logits",
    "shards",
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
        folds: groups of whole sources that are held out in turn.
        seed: of deliveries and folds.
        accused_share: share of held-out photographs that may pass the accusing level.
        missed_share: share of held-out machine-made pictures below the clearing level.
    """

    folds: int = 5
    seed: int = 0
    accused_share: float = 0.02
    missed_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the samples whose features are kept together.

    Attributes:
        start: index of its first sample.
        paths: of its pictures.
        key: of its files; depends on paths, deliveries and seed.
    """

    start: int
    paths: list[Path]
    key: str


def shards(samples: Sequence[Sample], seed: int) -> list[Shard]:
    """Divide samples into parts of `SHARD` pictures."""
    parts = []
    for start in range(0, len(samples), SHARD):
        paths = [sample.path for sample in samples[start : start + SHARD]]
        named = "\n".join(map(str, paths))
        key = hashlib.sha256(f"{seed}\n{len(DELIVERIES)}\n{named}".encode()).hexdigest()[:16]
        parts.append(Shard(start, paths, key))
    return parts


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
    for shard in shards(samples, seed):
        file = folder / f"{shard.key}.npz"
        if not file.exists():
            table = extract(
                shard.paths,
                DELIVERIES,
                seed=seed + shard.start,
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
            tables.append((kept["features"], kept["picture"] + shard.start, kept["delivery"]))
        told(f"{shard.start + len(shard.paths)} of {len(samples)} pictures described")
    return TileTable(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))


class Fitted(Protocol):
    """A trained detector."""

    def scores(self, wanted: Sequence[int], count: int) -> dict[int, NDArray[np.float64]]:
        """Return the mean logits of the wanted samples for each delivery.

        Args:
            wanted: indices of samples.
            count: of all samples.

        Returns:
            For each delivery, shape `(count,)`; nan where a sample was not wanted or has no
            tiles.
        """
        ...

    def onnx(self) -> bytes:
        """Return the network as a file."""
        ...

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weight of each feature, and the features of a usual tile: `(WIDTH,)`."""
        ...


class Learner(Protocol):
    """What can train a detector on a part of the samples that it holds."""

    def fit(self, chosen: Sequence[int]) -> Fitted:
        """Train on the samples of these indices."""
        ...


@dataclass(frozen=True, slots=True)
class HeadLearner:
    """Fits a linear head on features of the network that ships; needs no torch.

    Attributes:
        table: features of all samples.
        samples: labelled pictures.
        penalty: see `head.fit_tiles`.
    """

    table: TileTable
    samples: Sequence[Sample]
    penalty: float = 3e-3

    def fit(self, chosen: Sequence[int]) -> "FittedHead":
        """Train on the samples of these indices."""
        labels = np.array([sample.machine_made for sample in self.samples])
        given = np.zeros(len(self.samples))
        given[list(chosen)] = balance([self.samples[i] for i in chosen])
        return FittedHead(*fit_tiles(self.table, labels, given, penalty=self.penalty), self.table)


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head, one weight for each feature, and the features that it may be asked about."""

    weight: NDArray[np.float64]
    bias: float
    table: TileTable

    def scores(self, wanted: Sequence[int], count: int) -> dict[int, NDArray[np.float64]]:
        """Return mean logits, see `Fitted`."""
        rows = np.flatnonzero(np.isin(self.table.picture, wanted))
        logits = self.table.features[rows] @ self.weight + self.bias
        return mean_logits(logits, self.table.picture[rows], self.table.delivery[rows], count)

    def onnx(self) -> bytes:
        """Return the network that ships, with this head."""
        shipped = weights.open(MODEL).path.read_bytes()
        return with_head(shipped, self.weight, self.bias)

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weight of each feature, and the features of a usual tile."""
        usual = self.table.features.mean(0, dtype=np.float32)
        return self.weight.astype(np.float32), usual


def mean_logits(
    logits: NDArray[Any], picture: NDArray[np.int64], delivery: NDArray[np.int64], count: int
) -> dict[int, NDArray[np.float64]]:
    """Return the mean logit of each picture's tiles for each delivery; nan where there is none.

    Args:
        logits: of tiles, shape `(N,)`.
        picture: index of each tile's picture, shape `(N,)`.
        delivery: number of each tile's delivery, shape `(N,)`.
        count: number of pictures.
    """
    found = {}
    for number in range(len(DELIVERIES)):
        own = delivery == number
        tiles = np.bincount(picture[own], minlength=count)
        with np.errstate(invalid="ignore"):
            found[number] = np.bincount(picture[own], logits[own], count) / tiles
    return found


def held_out(
    learner: Learner, samples: Sequence[Sample], readable: NDArray[np.bool_], recipe: Recipe
) -> dict[int, NDArray[np.float64]]:
    """Score each picture by a detector that saw no picture of its source.

    Args:
        learner: holds the samples.
        samples: labelled pictures.
        readable: which of them have tiles, shape `(N,)`.
        recipe: says how many folds.

    Returns:
        For each delivery the mean logits, shape `(N,)`; nan where a picture has no tiles.
    """
    fold = folds(samples, recipe.folds, recipe.seed)
    scores = {number: np.full(len(samples), np.nan) for number in range(len(DELIVERIES))}
    for turn in range(recipe.folds):
        fitted = learner.fit(np.flatnonzero((fold != turn) & readable).tolist())
        own = np.flatnonzero((fold == turn) & readable)
        for number, column in fitted.scores(own.tolist(), len(samples)).items():
            scores[number][own] = column[own]
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
