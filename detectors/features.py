"""Features of a picture's tiles, from the network that ships with the project.

The network is EfficientNet-Lite0, trained on ImageNet by its authors, its upper half trained
further by `finetune`; means and deviations of its activations at four depths, and the mean of
its last layer, describe each tile. It runs in onnxruntime, so that a new head can be trained
without torch.

Source: Tan and Le, EfficientNet, arXiv 1905.11946; weights of the EfficientNet-Lite release
(Google, Apache-2.0). Which depths: `docs/detectors.md`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof import weights
from counterproof.detectors.deliveries import at_random
from counterproof.detectors.tiles import MIN_SIDE, READING_SIDE, cut
from counterproof.errors import ImageError
from counterproof.images import ImageFile

__all__ = [
    "HEAD",
    "MODEL",
    "PARTS",
    "WIDTH",
    "TileTable",
    "delivered_tiles",
    "describe",
    "extract",
    "open_picture",
    "parts",
]

MODEL = "detectors/lite0"
HEAD = "lite0-head.npz"
"""Beside the network: `weight` of each feature in its logit, and `usual`, the mean features of
tiles that it was trained on. Both `float32`, shape `(WIDTH,)`."""

PARTS = {"details": 48, "texture": 80, "patterns": 224, "shapes": 384, "whole": 1280}
"""Depths whose activations are pooled, by what a value there can see, and how many features each
has, in order: after an eighth, a quarter, half and three quarters of the network, and its end."""

WIDTH = sum(PARTS.values())
"""Features of one tile."""

TILES = 6
"""Tiles of one delivery in training. Scanning may look at more."""

Delivery = Callable[[Image.Image, np.random.Generator], Image.Image]


@dataclass(frozen=True, slots=True)
class TileTable:
    """Features of tiles, and whose they are.

    Attributes:
        features: `float16`, shape `(N, WIDTH)`.
        picture: index of the picture in the list given, shape `(N,)`.
        delivery: number of the delivery: 0 is the first named, shape `(N,)`.
    """

    features: NDArray[np.float16]
    picture: NDArray[np.int64]
    delivery: NDArray[np.int64]


def describe(tiles: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features and logits of tiles.

    Args:
        tiles: `uint8` RGB, shape `(N, 224, 224, 3)`.

    Returns:
        Features, shape `(N, WIDTH)`, and logits of *machine-made*, shape `(N,)`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    features, logits = weights.open(MODEL).session.run(None, {"tiles": tiles})
    return features, logits


def parts(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each of `PARTS` adds to the logit, mean over tiles, against a usual tile.

    Args:
        features: of tiles, as `describe` returns them, shape `(N, WIDTH)`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    head = np.load(weights.open(MODEL).path.with_name(HEAD))
    adds = (features.mean(0) - head["usual"]) * head["weight"]
    starts = np.cumsum([0, *PARTS.values()])[:-1]
    return np.asarray(np.add.reduceat(adds, starts), np.float32)


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


def delivered_tiles(
    pictures: Sequence[Path],
    deliveries: Sequence[Delivery],
    *,
    seed: int = 0,
    most: int = TILES,
    skipped: Callable[[Path, ImageError], None] | None = None,
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield the tiles of pictures, each in several deliveries.

    A picture that cannot be read yields nothing, nor does a delivery that is too small.

    Args:
        pictures: files.
        deliveries: what happens to each picture before tiles are cut.
        seed: the deliveries of a picture depend on it and on the picture's place in the list.
        most: tiles of one delivery.
        skipped: told of each picture that cannot be read; without it the error is raised.

    Yields:
        Place of the picture, place of the delivery, tiles `uint8` RGB `(N, SIDE, SIDE, 3)`.

    Raises:
        ImageError: if a picture cannot be read and `skipped` is not given.
    """
    for number, path in enumerate(pictures):
        try:
            picture = open_picture(path)
        except ImageError as err:
            if skipped is None:
                raise
            skipped(path, err)
            continue
        rng = np.random.default_rng([seed, number])
        for index, deliver in enumerate(deliveries):
            delivered = np.asarray(deliver(picture, rng))
            if min(delivered.shape[:2]) >= MIN_SIDE:
                yield number, index, cut(delivered, most).pixels


def extract(
    pictures: Sequence[Path],
    deliveries: Sequence[Delivery] = (at_random,),
    *,
    seed: int = 0,
    most: int = TILES,
    skipped: Callable[[Path, ImageError], None] | None = None,
) -> TileTable:
    """Describe the tiles of pictures; arguments and errors are those of `delivered_tiles`.

    Takes about 6 ms of CPU a tile.
    """
    found: list[NDArray[Any]] = []
    whose: list[tuple[int, int]] = []
    looks = delivered_tiles(pictures, deliveries, seed=seed, most=most, skipped=skipped)
    for number, index, tiles in looks:
        found.append(describe(tiles)[0].astype(np.float16))
        whose += [(number, index)] * len(tiles)
    table = np.array(whose, np.int64).reshape(-1, 2)
    rows = np.concatenate(found) if found else np.empty((0, WIDTH), np.float16)
    return TileTable(rows, table[:, 0], table[:, 1])
