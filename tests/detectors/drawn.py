"""Pictures drawn for the tests: fractal noise, which is textured as photographs are."""

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a coloured picture with detail at every scale, `uint8` `(H, W, 3)`."""
    rng = np.random.default_rng(seed)
    total: Any = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        size = 2 ** (octave + 2)
        small = rng.normal(size=(size, size, 3)).astype(np.float32)
        layer = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        total = total + layer / 1.6**octave
    total = total + rng.normal(size=total.shape) * 0.05
    return np.asarray((total - total.min()) / np.ptp(total) * 255, np.uint8)


def encoded(pixels: np.ndarray, form: str = "JPEG", **options: object) -> bytes:
    """Return the picture as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """Return the picture as a careless decoder leaves it: every pixel four times."""
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width // 2 * 2, height // 2 * 2), interpolation=cv2.INTER_NEAREST)
