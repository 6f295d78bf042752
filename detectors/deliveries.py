"""What happens to a picture between its maker and the person who looks: resized, recompressed.

Both classes go through the same deliveries, in training and in evaluation, so that format,
size and compression say nothing about the label.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

__all__ = [
    "DELIVERIES",
    "SMALL",
    "TREATMENTS",
    "WHOLE",
    "Delivery",
    "at_random",
    "recompress",
    "within",
]

Delivery = Callable[[Image.Image, np.random.Generator], Image.Image]
"""What happens to a picture; the generator is the only source of chance."""

_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def recompress(
    image: Image.Image, quality: int, *, webp: bool = False, chroma: int = 2
) -> Image.Image:
    """Return the picture after one lossy save.

    Args:
        image: RGB.
        quality: 1 to 100.
        webp: as WebP instead of JPEG.
        chroma: sampling of JPEG, 0 for 4:4:4, 2 for 4:2:0.
    """
    file = io.BytesIO()
    if webp:
        image.save(file, "WEBP", quality=quality, method=0)
    else:
        image.save(file, "JPEG", quality=quality, subsampling=chroma)
    file.seek(0)
    return Image.open(file).convert("RGB")


def within(
    image: Image.Image, side: int, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Return the picture reduced so that its longer edge is at most `side` pixels."""
    longer = max(image.size)
    if longer <= side:
        return image
    size = (
        max(1, round(image.width * side / longer)),
        max(1, round(image.height * side / longer)),
    )
    return image.resize(size, resample)


def at_random(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Deliver a picture once or twice: perhaps cut or resized, then recompressed.

    Args:
        image: RGB.
        rng: the only source of chance; the same state gives the same bytes.
    """
    for _ in range(1 + int(rng.random() < 0.5)):
        if rng.random() < 0.25:
            image = _cut(image, rng)
        if rng.random() < 0.7:
            side = int(np.exp(rng.uniform(np.log(512), np.log(1600))))
            image = within(image, side, _FILTERS[rng.integers(3)])
        if rng.random() < 0.15:
            scale = rng.uniform(1.0, 1.4)
            if max(image.size) * scale <= 2048:
                size = (round(image.width * scale), round(image.height * scale))
                image = image.resize(size, _FILTERS[rng.integers(3)])
        image = recompress(
            image,
            int(rng.integers(45, 97)),
            webp=bool(rng.random() < 0.2),
            chroma=int(rng.choice([0, 2])),
        )
    return image


def _cut(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (max(min(256, edge), round(edge * rng.uniform(0.5, 1))) for edge in image.size)
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _as_found(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return recompress(image, 93, chroma=0)


def _small_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = min(288, image.width), min(288, image.height)
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    cropped = image.crop((left, top, left + width, top + height))
    return recompress(cropped, int(rng.integers(50, 96)))


DELIVERIES: tuple[Delivery, ...] = (_as_found, at_random, at_random, _small_crop)
"""What happens to each picture in training, the same for both classes: saved once more at
high quality, delivered twice at random, and a small crop."""

WHOLE = (0, 1)
"""Deliveries on which held-out scores of whole pictures are measured."""

SMALL = 3
"""Delivery on which levels for pictures of few tiles are set: they vary more."""


def _native_crop(image: Image.Image) -> Image.Image:
    """Return the middle, at most 288 pixels a side: the same size and aspect for both classes."""
    width, height = min(288, image.width), min(288, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _half(image: Image.Image) -> Image.Image:
    size = (max(1, image.width // 2), max(1, image.height // 2))
    return image.resize(size, Image.Resampling.BICUBIC)


def _screenshot(image: Image.Image) -> Image.Image:
    """Shown at 0.8 of its size by a browser, captured without loss."""
    size = (max(1, round(image.width * 0.8)), max(1, round(image.height * 0.8)))
    return image.resize(size, Image.Resampling.BILINEAR)


TREATMENTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as delivered": lambda image: image,
    "native crop": _native_crop,
    "half scale": _half,
    "JPEG 90": lambda image: recompress(image, 90),
    "JPEG 70": lambda image: recompress(image, 70),
    "JPEG 50": lambda image: recompress(image, 50),
    "JPEG 40": lambda image: recompress(image, 40),
    "WebP 80": lambda image: recompress(image, 80, webp=True),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "screenshot": _screenshot,
    "social": lambda image: recompress(within(image, 1080), 75),
}
"""The named deliveries that an evaluation reports one by one."""
