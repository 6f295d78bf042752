"""The pictures that watermarks are measured on, and how far two pictures differ."""

import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from watermark_attacks import Pixels, within

from counterproof.provenance import watermark_plane

LIST = Path(__file__).with_name("watermark_scenes.csv")
ORIGINALS = Path(__file__).with_name("watermark_originals.csv")


def load(path: Path) -> Pixels | None:
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if data is None else np.ascontiguousarray(data[..., ::-1])


def scenes(folder: Path, listed: Path = LIST, edge: int = 0) -> Iterator[tuple[str, Pixels]]:
    """Yield name and pixels of the listed pictures that the folder holds, reduced to an edge."""
    with listed.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (pixels := load(folder / row["name"])) is not None:
                yield row["name"], within(pixels, edge) if edge else pixels


def ssim(a: Pixels, b: Pixels) -> float:
    """Return the mean SSIM of the luma, Gaussian window of 11 px and sigma 1.5."""

    def window(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    x, y = (watermark_plane.luma(p).astype(np.float64) for p in (a, b))
    mx, my = window(x), window(y)
    vx, vy, both = window(x * x) - mx * mx, window(y * y) - my * my, window(x * y) - mx * my
    above = (2 * mx * my + 6.5025) * (2 * both + 58.5225)
    return float(np.mean(above / ((mx * mx + my * my + 6.5025) * (vx + vy + 58.5225))))


def smooth_rms(original: Pixels, marked: Pixels) -> float | None:
    """Return the rms change where the luma hardly varies over 17 px; None without such a place."""
    gray = watermark_plane.luma(original).astype(np.float32)
    mean = cv2.blur(gray, (9, 9))
    deviation = np.sqrt(np.maximum(cv2.blur(gray * gray, (9, 9)) - mean * mean, 0))
    smooth = cv2.erode((deviation < 2).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if smooth.sum() < 1000:
        return None
    change = marked.astype(np.float32) - original
    return float(np.sqrt((change[smooth] ** 2).mean()))


def pictures(folders: list[Path]) -> Iterator[tuple[Path, Pixels]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (pixels := load(path)) is not None:
                yield path, pixels
