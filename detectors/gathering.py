"""Describes labelled pictures in several deliveries, once: shards in a folder, so it resumes.

What describes a view is given: the frozen network, numbers of spectra, or what a trained model
says of it. All see the same views, since chance depends on the picture and the seed alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors.deliveries import DELIVERIES, Delivery
from counterproof.detectors.samples import Sample
from counterproof.detectors.tiles import MIN_SIDE, READING_SIDE
from counterproof.errors import ImageError
from counterproof.images import ImageFile

__all__ = ["Describe", "Rows", "described", "joined", "open_picture", "shards"]

SHARD = 200
"""Pictures whose rows are kept in one file."""

Describe = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Turns a view, `uint8` RGB `(H, W, 3)`, into rows, shape `(n, …)`: one, or one for each tile."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """What describes deliveries of pictures.

    Attributes:
        values: shape `(N, …)`.
        picture: index of each row's picture in the list given, shape `(N,)`.
        delivery: number of its delivery: 0 is the first named, shape `(N,)`.
    """

    values: NDArray[Any]
    picture: NDArray[np.int64]
    delivery: NDArray[np.int64]


def open_picture(path: Path) -> Image.Image:
    """Open one training or test picture under the limits of a scan, upright, RGB.

    Raises:
        ImageError: if it cannot be decoded, or is smaller than `MIN_SIDE`.
    """
    pixels = ImageFile.open(path).pixels(max_side=READING_SIDE)
    if min(pixels.shape[:2]) < MIN_SIDE:
        size = f"{pixels.shape[1]}×{pixels.shape[0]}"
        message = f"{path}: expected at least {MIN_SIDE} pixels a side, got {size}"
        raise ImageError("unsupported", message)
    return Image.fromarray(pixels)


def described(
    pictures: Sequence[Path],
    describe: Describe,
    deliveries: Sequence[Delivery] = DELIVERIES,
    *,
    seed: int = 0,
    skipped: Callable[[ImageError], None] | None = None,
) -> Rows:
    """Describe deliveries of pictures.

    A picture that cannot be read has no row, nor has a view below `MIN_SIDE`.

    Args:
        pictures: files.
        describe: what says something of a view.
        deliveries: what happens to each picture first.
        seed: the deliveries of a picture depend on it and on the picture's place in the list.
        skipped: told of each picture that cannot be read; without it the error is raised.

    Raises:
        ImageError: if a picture cannot be read and `skipped` is not given.
    """
    values, whose = [], []
    for number, path in enumerate(pictures):
        try:
            picture = open_picture(Path(path))
        except ImageError as err:
            if skipped is None:
                raise
            skipped(err)
            continue
        rng = np.random.default_rng([seed, number])
        for index, deliver in enumerate(deliveries):
            view = np.asarray(deliver(picture, rng))
            if min(view.shape[:2]) >= MIN_SIDE:
                rows = describe(view)
                values.append(rows)
                whose += [(number, index)] * len(rows)
    table = np.array(whose, np.int64).reshape(-1, 2)
    return Rows(np.concatenate(values or [np.empty(0)]), table[:, 0], table[:, 1])


def shards(
    samples: Sequence[Sample],
    describe: Describe,
    folder: Path,
    *,
    name: str,
    deliveries: Sequence[Delivery] = DELIVERIES,
    seed: int = 0,
    told: Told = lambda text: None,
) -> Iterator[Rows]:
    """Yield rows for every picture and delivery, making only those that the folder lacks.

    Args:
        samples: pictures.
        describe: what says something of a view.
        folder: keeps two files for each `SHARD` pictures; made if missing.
        name: of what is described, with its version: rows of another name are not taken up.
        deliveries: what happens to each picture first.
        seed: of the deliveries.
        told: gets a line for each shard, and for each picture that cannot be read.

    Yields:
        Rows of `SHARD` pictures, their values mapped from the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(samples), SHARD):
        paths = [sample.path for sample in samples[start : start + SHARD]]
        named = "\n".join(map(str, paths))
        key = hashlib.sha256(f"{name}\n{seed}\n{start}\n{len(deliveries)}\n{named}".encode())
        file = folder / f"{key.hexdigest()[:16]}.npy"
        whose = file.with_suffix(".npz")
        if not whose.exists():
            rows = described(
                paths,
                describe,
                deliveries,
                seed=seed + start,
                skipped=lambda err: told(f"skipped {err}"),
            )
            partial = file.with_suffix(".part.npy")
            np.save(partial, rows.values)
            partial.replace(file)
            partial = file.with_suffix(".part.npz")
            np.savez(partial, picture=rows.picture, delivery=rows.delivery)
            partial.replace(whose)
        with np.load(whose) as kept:
            values = np.load(file, mmap_mode="r")
            yield Rows(values, kept["picture"] + start, kept["delivery"])
        told(f"{start + len(paths)} of {len(samples)} pictures described ({name})")


def joined(parts: Iterable[Rows]) -> Rows:
    """Return the rows of all parts that have any, in memory."""
    own = [part for part in parts if len(part.picture)]
    if not own:
        return Rows(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    return Rows(
        np.concatenate([part.values for part in own]),
        np.concatenate([part.picture for part in own]),
        np.concatenate([part.delivery for part in own]),
    )
