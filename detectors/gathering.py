"""Describes labelled pictures in several deliveries, once: shards in a folder, so it resumes.

What describes a picture is given; `spectral_features.describe` is one. The frozen network has
its own, which cuts tiles first (`training.gather`).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors.features import open_picture
from counterproof.detectors.samples import Sample
from counterproof.detectors.tiles import MIN_SIDE
from counterproof.errors import ImageError

__all__ = ["Delivery", "Rows", "gather"]

SHARD = 100
"""Pictures whose rows are kept in one file: about half a minute of CPU."""

Delivery = Callable[[Image.Image, np.random.Generator], Image.Image]


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each delivery of each picture that could be read.

    Attributes:
        values: shape `(N, …)`.
        picture: index of the picture in the list given, shape `(N,)`.
        delivery: number of the delivery, shape `(N,)`.
    """

    values: NDArray[Any]
    picture: NDArray[np.int64]
    delivery: NDArray[np.int64]


def gather(
    samples: Sequence[Sample],
    describe: Callable[[NDArray[np.uint8]], NDArray[Any]],
    deliveries: Sequence[Delivery],
    folder: Path,
    *,
    name: str,
    seed: int = 0,
    told: Callable[[str], None] = lambda text: None,
) -> Rows:
    """Return rows for every picture and delivery, making only those that the folder lacks.

    Args:
        samples: pictures.
        describe: turns `uint8` RGB pixels of shape `(H, W, 3)` into an array.
        deliveries: what happens to each picture first; a view below `MIN_SIDE` has no row.
        folder: keeps one file for each `SHARD` pictures; made if missing.
        name: of what is described, with its version: rows of another name are not taken up.
        seed: of the deliveries.
        told: gets a line for each shard, and for each picture that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(samples), SHARD):
        part = samples[start : start + SHARD]
        paths = "\n".join(str(sample.path) for sample in part)
        key = f"{name}\n{seed}\n{start}\n{len(deliveries)}\n{paths}"
        file = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        if not file.exists():
            rows = _shard(part, describe, deliveries, [seed, start], told)
            partial = file.with_suffix(".part.npz")
            np.savez(partial, values=rows.values, picture=rows.picture, delivery=rows.delivery)
            partial.replace(file)
        with np.load(file) as kept:
            if len(kept["picture"]):
                parts.append((kept["values"], kept["picture"] + start, kept["delivery"]))
        told(f"{min(start + SHARD, len(samples))} of {len(samples)} pictures described ({name})")
    if not parts:
        return Rows(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _shard(
    part: Sequence[Sample],
    describe: Callable[[NDArray[np.uint8]], NDArray[Any]],
    deliveries: Sequence[Delivery],
    seed: list[int],
    told: Callable[[str], None],
) -> Rows:
    values, whose = [], []
    for number, sample in enumerate(part):
        try:
            picture = open_picture(sample.path)
        except ImageError as err:
            told(f"skipped {err}")
            continue
        rng = np.random.default_rng([*seed, number])
        for index, deliver in enumerate(deliveries):
            view = np.asarray(deliver(picture, rng))
            if min(view.shape[:2]) >= MIN_SIDE:
                values.append(describe(view))
                whose.append((number, index))
    table = np.array(whose, np.int64).reshape(-1, 2)
    return Rows(np.array(values), table[:, 0], table[:, 1])
