import numpy as np

from counterproof.audit.error_levels import error_levels


def test_what_was_saved_as_often_stays_dark_and_new_detail_is_bright() -> None:
    rng = np.random.default_rng(3)
    pixels = np.full((128, 192, 3), 120, np.uint8)
    pixels[32:96, 48:112] = rng.integers(0, 256, (64, 64, 3))
    drawn = error_levels(pixels, 96)
    assert drawn.shape == (64, 96, 3)
    assert drawn.dtype == np.uint8
    assert drawn[20:44, 28:52].mean() > 100
    assert drawn[:8].max() == 0
    assert error_levels(pixels, 1000).shape == pixels.shape
