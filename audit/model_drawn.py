"""Let a model draw the pictures of its audit, from Python. A stopped drawing goes on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Draw = Callable[[int, int], NDArray[np.uint8]]

__all__ = ["draw_into"]

_BATCH = 50


def draw_into(
    draw: "Draw", folder: str | os.PathLike[str], count: int, advance: Callable[[str], None]
) -> Path:
    """Draw what is missing of a folder of pictures, as PNG files.

    Args:
        draw: takes a number of pictures and a seed; returns `uint8` RGB, shape (N, H, W, 3), the
            same ones for the same seed. `Sampler.sample` of this project is one.
        folder: of the pictures; made if it is missing.
        count: pictures that it holds at the end, numbered from 0.
        advance: called with each path that is drawn.

    Raises:
        UserError: if count is under 2, or the callable returns anything else.
    """
    import cv2

    if count < 2:
        raise UserError(f"expected a count of 2 or more pictures to draw, got {count}")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        paths = [place / f"{number:06d}.png" for number in numbers]
        if all(path.is_file() for path in paths):
            continue
        # the seed is the number of the first: a run that was stopped draws the same ones
        for path, picture in zip(paths, _checked(draw(len(paths), first), len(paths)), strict=True):
            data = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))[1]
            partial = path.with_suffix(".partial")
            partial.write_bytes(data.tobytes())
            os.replace(partial, path)
            advance(str(path))
    return place


def _checked(made: Any, count: int) -> "NDArray[np.uint8]":
    table = np.asarray(made)
    if table.dtype != np.uint8 or table.ndim != 4 or table.shape[::3] != (count, 3):
        raise UserError(
            f"expected {count} pictures, uint8 RGB of shape ({count}, H, W, 3), from the model, "
            f"got {table.dtype} of shape {table.shape}"
        )
    return table
