"""Square tiles of a picture at several scales: what a detector sees of it.

A picture is never squashed. It is halved again and again; from each size come tiles spread
evenly over it, so that fine texture and the whole scene are both seen, whatever size the
picture was delivered in. Training and scanning cut tiles with this one function.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_SIDE", "READING_SIDE", "SIDE", "Tiles", "count", "cut"]

SIDE = 224
"""Edge of a tile in pixels. Source: the input size of EfficientNet-Lite0."""

MIN_SIDE = 128
"""Shorter edge below which a picture is too small to judge."""

READING_SIDE = 2048
"""Longer edge that a picture is reduced to before tiles are cut, so that cost has a cap."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of one picture, finest scale first.

    Attributes:
        pixels: `uint8` RGB, shape `(N, SIDE, SIDE, 3)`.
        boxes: for each tile x, y, width, height in pixels of the picture that was cut,
            shape `(N, 4)`.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.int64]


def cut(picture: NDArray[Any], most: int = 8) -> Tiles:
    """Cut at most `most` tiles, the same ones at every call.

    Args:
        picture: `uint8` RGB, shape `(H, W, 3)`, its shorter edge at least `MIN_SIDE` pixels.
        most: largest number of tiles, at least 1; scales share it evenly.

    Raises:
        ValueError: if the picture is smaller, or `most` is below 1.
    """
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE or most < 1:
        raise ValueError(
            f"expected a picture of at least {MIN_SIDE} pixels a side and most >= 1, "
            f"got {width}×{height} and most {most}"
        )
    levels = [_padded(picture)]
    while min(levels[-1].shape[:2]) >= 2 * SIDE:
        h, w = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
    levels = levels[-most:]
    pixels, boxes = [], []
    for level, share in zip(levels, _shares(len(levels), most), strict=True):
        scale = height / level.shape[0] if level.shape[0] < height else 1.0
        for y, x in _places(level.shape[0], level.shape[1], share):
            pixels.append(level[y : y + SIDE, x : x + SIDE])
            left, top = round(x * scale), round(y * scale)
            edge = round(SIDE * scale)
            boxes.append((left, top, min(edge, width - left), min(edge, height - top)))
    return Tiles(np.stack(pixels), np.array(boxes, np.int64))


def count(height: int, width: int, most: int = 8) -> int:
    """Return how many tiles `cut` makes of a picture of this size."""
    sizes = [(max(height, SIDE), max(width, SIDE))]
    while min(sizes[-1]) >= 2 * SIDE:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    sizes = sizes[-most:]
    shares = _shares(len(sizes), most)
    return sum(len(_places(*size, share)) for size, share in zip(sizes, shares, strict=True))


def _shares(scales: int, most: int) -> list[int]:
    """Share tiles evenly among scales, the finest first."""
    return [most // scales + (i < most % scales) for i in range(scales)]


def _padded(picture: NDArray[Any]) -> NDArray[Any]:
    """Mirror a small picture at its right and lower edge until a tile fits."""
    down, right = (max(0, SIDE - edge) for edge in picture.shape[:2])
    if not down and not right:
        return picture
    return np.pad(picture, ((0, down), (0, right), (0, 0)), mode="reflect")


def _places(height: int, width: int, share: int) -> list[tuple[int, int]]:
    """Return upper left corners of at most `share` tiles, spread evenly, overlapping little."""
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    while rows * columns > share:
        if rows >= columns:
            rows -= 1
        else:
            columns -= 1
    return list(itertools.product(_spread(height, rows), _spread(width, columns)))


def _spread(length: int, count: int) -> list[int]:
    room = length - SIDE
    if count == 1:
        return [room // 2]
    return [round(room * i / (count - 1)) for i in range(count)]
