"""Embed a constant with invisible-watermark's method `dwtDct`, to have something to read.

It is of the tests only: a mark that says whose model made a picture is that model's to write.
Test modules load it with `runpy`, since they are no package.
"""

from typing import Any

import cv2
import numpy as np

STEP = 36


def embed(pixels: Any, bits: str, order: str = "bgr") -> Any:
    """Return a marked copy of a picture, `uint8` RGB, shape `(H, W, 3)`.

    Args:
        pixels: the picture.
        bits: the constant as text of 0 and 1.
        order: `bgr` as the library expects, `rgb` with red and blue in each other's place.
    """
    there, back = (
        (cv2.COLOR_RGB2YUV, cv2.COLOR_YUV2RGB)
        if order == "bgr"
        else (cv2.COLOR_BGR2YUV, cv2.COLOR_YUV2BGR)
    )
    yuv = cv2.cvtColor(np.ascontiguousarray(pixels), there)
    rows, columns = pixels.shape[0] // 8, pixels.shape[1] // 8
    u = yuv[: rows * 8, : columns * 8, 1].astype(np.float64)
    # [row, 2 pixels, column, 2 pixels] → low-pass of the Haar wavelet
    low = u.reshape(rows * 4, 2, columns * 4, 2).sum(axis=(1, 3)) / 2
    squares = low.reshape(rows, 4, columns, 4).swapaxes(1, 2).reshape(-1, 16)
    place = squares[:, 1:].argmax(axis=1) + 1
    at = np.arange(len(squares))
    wanted = np.array([int(bits[i % len(bits)]) for i in at])
    largest = squares[at, place]
    change = np.zeros_like(squares)
    change[at, place] = (largest // STEP + 0.25 + 0.5 * wanted) * STEP - largest
    spread = change.reshape(rows, columns, 4, 4).swapaxes(1, 2).reshape(rows * 4, columns * 4)
    # a change of the low-pass by 1 is a change of its four pixels by 1/2
    u += np.repeat(np.repeat(spread / 2, 2, axis=0), 2, axis=1)
    yuv[: rows * 8, : columns * 8, 1] = np.clip(np.rint(u), 0, 255)
    return cv2.cvtColor(yuv, back)
