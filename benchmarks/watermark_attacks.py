"""What platforms and people do to a picture: the changes under which a watermark is measured.

Every change takes `uint8` RGB of shape `(H, W, 3)` and a generator, and returns the same kind.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, np.random.Generator], Pixels]


def coded(pixels: Pixels, quality: int, suffix: str = ".jpg") -> Pixels:
    setting = cv2.IMWRITE_JPEG_QUALITY if suffix == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    data = cv2.imencode(suffix, pixels[..., ::-1], [setting, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def sized(pixels: Pixels, width: float, height: float) -> Pixels:
    size = max(1, round(width)), max(1, round(height))
    way = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=way), np.uint8)


def scaled(pixels: Pixels, factor: float, back: bool = False) -> Pixels:
    height, width = pixels.shape[:2]
    made = sized(pixels, width * factor, height * factor)
    return sized(made, width, height) if back else made


def within(pixels: Pixels, long_edge: int) -> Pixels:
    factor = long_edge / max(pixels.shape[:2])
    return scaled(pixels, factor) if factor < 1 else pixels


def cropped(pixels: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    height, width = (int(n * area**0.5) for n in pixels.shape[:2])
    top = int(rng.integers(0, pixels.shape[0] - height + 1))
    left = int(rng.integers(0, pixels.shape[1] - width + 1))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def turned(pixels: Pixels, degrees: float) -> Pixels:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)), np.uint8)


def rounded(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def noisy(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return rounded(pixels + rng.normal(0, sigma, pixels.shape))


def screenshot(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    small = scaled(pixels, 0.8)
    height, width = small.shape[:2]
    top, low, left, right = rng.uniform(0.01, 0.04, 4)
    part = small[int(height * top) : height - int(height * low)]
    return coded(part[:, int(width * left) : width - int(width * right)], 80)


def page(pixels: Pixels) -> Pixels:
    edge = cv2.BORDER_CONSTANT
    small = scaled(pixels, 0.7)
    made = cv2.copyMakeBorder(small, 60, 200, 40, 300, edge, value=(40, 40, 40))
    return coded(np.asarray(made, np.uint8), 80)


def palette(pixels: Pixels) -> Pixels:
    few = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    return np.array(few.convert("RGB"))


def gamma(pixels: Pixels, power: float) -> Pixels:
    return np.asarray(cv2.LUT(pixels, rounded(255 * (np.arange(256) / 255) ** power)), np.uint8)


CHANGES: dict[str, Change] = {
    "none": lambda p, r: p,
    **{f"jpeg {q}": lambda p, r, q=q: coded(p, q) for q in (90, 75, 50, 30)},  # type: ignore[misc]
    "webp 80": lambda p, r: coded(p, 80, ".webp"),
    **{f"resize {f}": lambda p, r, f=f: scaled(p, f) for f in (0.75, 0.5, 0.33, 1.5)},  # type: ignore[misc]
    **{
        f"resize {f} and back": lambda p, r, f=f: scaled(p, f, True)  # type: ignore[misc]
        for f in (0.75, 0.5, 0.33, 1.5)
    },
    **{
        f"crop to {round(100 * a)} %": lambda p, r, a=a: cropped(p, a, r)  # type: ignore[misc]
        for a in (0.9, 0.75, 0.5, 0.25, 0.1)
    },
    **{f"rotate {d}": lambda p, r, d=d: turned(p, d) for d in (1, 5, 17)},  # type: ignore[misc]
    "rotate 90": lambda p, r: np.ascontiguousarray(np.rot90(p)),
    "flip": lambda p, r: np.ascontiguousarray(p[:, ::-1]),
    "invert": lambda p, r: 255 - p,
    "aspect +10 %": lambda p, r: sized(p, p.shape[1] * 1.1, p.shape[0]),
    "aspect -10 %": lambda p, r: sized(p, p.shape[1] * 0.9, p.shape[0]),
    "aspect +5 %": lambda p, r: sized(p, p.shape[1] * 1.05, p.shape[0]),
    "blur 1": lambda p, r: blurred(p, 1),
    "blur 2": lambda p, r: blurred(p, 2),
    "noise 5": lambda p, r: noisy(p, 5, r),
    "noise 10": lambda p, r: noisy(p, 10, r),
    "brightness +20 %": lambda p, r: rounded(p * 1.2),
    "brightness -20 %": lambda p, r: rounded(p * 0.8),
    "contrast +20 %": lambda p, r: rounded((p - 128.0) * 1.2 + 128),
    "contrast -20 %": lambda p, r: rounded((p - 128.0) * 0.8 + 128),
    "gamma 0.8": lambda p, r: gamma(p, 0.8),
    "gamma 1.25": lambda p, r: gamma(p, 1.25),
    "sharpen": lambda p, r: rounded(2.0 * p - blurred(p, 1.5)),
    "palette": lambda p, r: palette(p),
    "social 1080 jpeg 75": lambda p, r: coded(within(p, 1080), 75),
    "social 640 jpeg 70": lambda p, r: coded(within(p, 640), 70),
    "screenshot": screenshot,
    "in a page": lambda p, r: page(p),
    "half size jpeg 50": lambda p, r: coded(scaled(p, 0.5), 50),
    "0.4 MP, half size jpeg 50": lambda p, r: coded(
        scaled(p, 0.5 * min(1.0, (0.4e6 / (p.shape[0] * p.shape[1])) ** 0.5)), 50
    ),
    "crop to 50 % jpeg 75": lambda p, r: coded(cropped(p, 0.5, r), 75),
    "crop to 25 % jpeg 75": lambda p, r: coded(cropped(p, 0.25, r), 75),
}
"""Name → change. The list of issue 4, and three harder combinations."""
