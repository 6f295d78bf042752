"""Tiles: never squashed, inside the picture, the same at every call."""

import numpy as np
import pytest

from counterproof.detectors.tiles import MIN_SIDE, SIDE, count, cut


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width"), [(128, 128), (200, 900), (224, 224), (448, 448), (1000, 1500), (2048, 130)]
)
@pytest.mark.parametrize("most", [1, 2, 6, 8])
def test_tiles_fit_the_picture_and_the_limit(height: int, width: int, most: int) -> None:
    tiles = cut(noise(height, width), most)
    assert tiles.pixels.shape[1:] == (SIDE, SIDE, 3)
    assert 1 <= len(tiles.pixels) <= most
    assert len(tiles.pixels) == count(height, width, most)
    assert len(tiles.boxes) == len(tiles.pixels)
    x, y, w, h = tiles.boxes.T
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + w <= width).all()
    assert (y + h <= height).all()


def test_a_large_picture_is_seen_at_several_scales() -> None:
    edges = set(cut(noise(1800, 1800), 8).boxes[:, 2].tolist())
    assert edges == {SIDE, 2 * SIDE, 4 * SIDE, 8 * SIDE}


def test_native_tiles_are_the_pixels_themselves() -> None:
    picture = noise(400, 400)
    tiles = cut(picture, 4)
    x, y, w, h = tiles.boxes[0]
    assert np.array_equal(tiles.pixels[0], picture[y : y + h, x : x + w])


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 128 pixels"):
        cut(noise(MIN_SIDE - 1, 500))
