"""What frequencies and noise of a picture say, as named numbers: no network, no training.

Square crops are measured at native size and at half scale. Each number has a family, and each
family its source, so that a trained detector can say in words what it goes by. Format, size and
quantisation tables are never looked at.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, rfft2

__all__ = ["FAMILIES", "NAMES", "VERSION", "WIDTH", "describe", "family", "in_words"]

VERSION = 1
"""Raised whenever a number changes its meaning."""

CROP = 256
"""Longest edge of a crop in pixels; smaller pictures are cut to a multiple of 16."""

CROPS = 4
"""Most crops of one scale, spread evenly. Their numbers are averaged."""

LEAST = 64
"""Edge below which the half scale is left out: its numbers are then those of native size."""

FAMILIES = {
    "noise_spectrum": (
        "power of the noise residual by frequency",
        "Corvi et al., Intriguing properties of synthetic images, CVPR workshops 2023",
    ),
    "luma_spectrum": (
        "power of the brightness by frequency",
        "Durall, Keuper and Keuper, Watch your up-convolution, CVPR 2020",
    ),
    "direction": (
        "fine detail along the axes beside fine detail along the diagonals",
        "Corvi et al. 2023, as above",
    ),
    "peaks": (
        "peaks and holes of the spectrum where something repeats every 2, 4, 8 or 16 pixels",
        "Zhang, Karaman and Chang, Detecting and simulating artifacts in GAN fake images, 2019",
    ),
    "moments": (
        "how the noise residual is distributed",
        "Lyu and Farid, How realistic is photorealistic, IEEE TSP 53, 2005",
    ),
    "neighbours": (
        "how far the noise of near pixels goes together",
        "Popescu and Farid, Exposing digital forgeries by detecting traces of resampling, 2005",
    ),
    "evenness": (
        "how evenly noise is spread over the picture",
        "Mahdian and Saic, Using noise inconsistencies for blind image forensics, 2009",
    ),
    "brightness_noise": (
        "how noise changes with brightness, as a sensor's does",
        "Foi et al., Practical Poissonian-Gaussian noise modeling, IEEE TIP 17, 2008",
    ),
    "cosines": (
        "mean size of each frequency of 8×8 cosine blocks",
        "Giudice, Guarnera and Battiato, Fighting deepfakes by detecting GAN DCT anomalies, 2021",
    ),
    "pairs": (
        "which small noise values stand side by side",
        "Fridrich and Kodovský, Rich models for steganalysis, IEEE TIFS 7, 2012",
    ),
    "colours": (
        "how the noise of red, green and blue goes together",
        "Li et al., Identification of deep network generated images using disparities in color "
        "components, 2020",
    ),
    "clipping": (
        "how many values lie at black or white",
        "McCloskey and Albright, Detecting GAN-generated imagery using color cues, 2018",
    ),
    "mosaic": (
        "whether every second pixel differs, as a sensor's colour filter leaves it",
        "Gallagher and Chen, Image authentication by detecting traces of demosaicing, 2008",
    ),
    "blocks": (
        "steps at the borders of blocks",
        "Fan and de Queiroz, Identification of bitmap compression history, IEEE TIP 12, 2003",
    ),
}
"""What each family of numbers measures, in words, and its source."""

_RINGS = 20
_PERIODS = (2, 4, 8, 16)
_LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 3), (3, 0), (0, 4), (0, 8))
_TINY = 1e-3
_BROAD = (0, 16, 48, 96, 160, 224, 256)
"""Borders of the brightness ranges in which noise is measured."""


def describe(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the numbers of a picture, in the order of `NAMES`, shape `(WIDTH,)`.

    About 60 ms of CPU, whatever the picture's size.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, at least 64 pixels a side.

    Raises:
        ValueError: if the picture is smaller.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST:
        raise ValueError(f"expected at least {LEAST} pixels a side, got {width}×{height}")
    native = _scale(pixels)
    half = native
    if min(height, width) >= 2 * LEAST:
        small = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        half = _scale(small)
    values = [value for _, value in native]
    values += [value for name, value in half if _family(name) not in _NATIVE_ONLY]
    return np.nan_to_num(np.array(values, np.float32), posinf=0, neginf=0)


def in_words(name: str) -> str:
    """Return what a number measures, in words."""
    scale, rest = name.split(".", 1)
    where = {"native": "at full size", "half": "at half size"}[scale]
    return f"{FAMILIES[_family(rest)][0]}, {where} ({rest.split('.', 1)[1].replace('_', ' ')})"


def family(name: str) -> str:
    """Return the family of a number of `NAMES`."""
    return _family(name.split(".", 1)[1])


_NATIVE_ONLY = ("mosaic", "blocks", "clipping")


def _family(name: str) -> str:
    return name.split(".", 1)[0]


def _scale(pixels: NDArray[Any]) -> list[tuple[str, float]]:
    """Measure up to `CROPS` crops of one size and average them."""
    side = min(CROP, *pixels.shape[:2]) // 16 * 16
    rows = [dict(_crop(crop)) for crop in _crops(pixels, side)]
    return [(name, float(np.mean([row[name] for row in rows]))) for name in rows[0]]


def _crops(pixels: NDArray[Any], side: int) -> Iterator[NDArray[Any]]:
    """Yield crops on the 8-pixel grid, so that blocks of a JPEG stay in step."""
    height, width = pixels.shape[:2]
    down = min(2, height // side)
    across = min(CROPS // down, max(1, width // side))
    for row, column in itertools.product(range(down), range(across)):
        y = _place(height - side, row, down)
        x = _place(width - side, column, across)
        yield pixels[y : y + side, x : x + side]


def _place(room: int, turn: int, turns: int) -> int:
    place = room // 2 if turns == 1 else round(room * turn / (turns - 1))
    return place // 8 * 8


def _crop(crop: NDArray[Any]) -> Iterator[tuple[str, float]]:
    colours = crop.astype(np.float32)
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    noise = luma - cv2.medianBlur(luma, 3)
    yield from _spectra(luma, noise)
    yield from _moments(noise)
    yield from _spread(luma, noise)
    yield from _cosines(luma)
    yield from _pairs(luma)
    yield from _colours(crop, colours)
    yield from _mosaic(colours)
    yield from _blocks(luma)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where in the spectrum of a square crop the numbers are taken; flat indices.

    Attributes:
        ring: of each frequency, shape `(side * side,)`.
        count: frequencies of each ring.
        flat, steep, slanted: fine detail along both axes, and along the diagonals.
        lattices: for each period those on the axes and those elsewhere.
    """

    ring: NDArray[np.int64]
    count: NDArray[np.int64]
    flat: NDArray[np.int64]
    steep: NDArray[np.int64]
    slanted: NDArray[np.int64]
    lattices: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]


@lru_cache(maxsize=16)
def _places(side: int) -> _Places:
    line = np.abs(np.fft.fftfreq(side))
    down, across = line[:, None], line[None, :]
    far = np.hypot(down, across)
    ring = np.minimum(far / 0.5 * _RINGS, _RINGS).astype(np.int64).ravel()
    fine = far > 0.25
    taken = np.zeros((side, side), bool)
    taken[0, 0] = True
    lattices = {}
    for period in _PERIODS:
        steps = np.arange(0, side, side // period)
        lattice = np.zeros((side, side), bool)
        lattice[np.ix_(steps, steps)] = True
        lattice &= ~taken
        taken |= lattice
        on_axis = lattice.copy()
        on_axis[1:, 1:] = False
        lattices[period] = (np.flatnonzero(on_axis), np.flatnonzero(lattice & ~on_axis))
    return _Places(
        ring,
        np.bincount(ring),
        np.flatnonzero(fine & (down < 0.08)),
        np.flatnonzero(fine & (across < 0.08)),
        np.flatnonzero(fine & (np.abs(down - across) < 0.08)),
        lattices,
    )


def _spectra(luma: NDArray[Any], noise: NDArray[Any]) -> Iterator[tuple[str, float]]:
    places = _places(len(luma))
    for name, values in (("noise_spectrum", noise), ("luma_spectrum", luma)):
        power = _log_power(values)
        profile = (np.bincount(places.ring, power.ravel()) / places.count)[:_RINGS]
        middle = profile.mean()
        yield f"{name}.level", float(middle)
        for number, value in enumerate(profile):
            yield f"{name}.ring_{number}_of_{_RINGS}", float(value - middle)
        if name == "noise_spectrum":
            yield from _directions(power, places)
            yield from _peaks(power, places)


def _log_power(values: NDArray[Any]) -> NDArray[np.float32]:
    side = len(values)
    window = np.hanning(side).astype(np.float32)
    half = rfft2((values - values.mean()) * window[:, None] * window)
    power = np.log((half.real**2 + half.imag**2) / side**2 + _TINY)
    # A real picture's other half is this one, turned by 180 degrees.
    other = np.roll(power[::-1, side // 2 - 1 : 0 : -1], 1, axis=0)
    return np.asarray(np.concatenate([power, other], 1), np.float32)


def _directions(power: NDArray[Any], places: _Places) -> Iterator[tuple[str, float]]:
    values = power.ravel()
    flat, steep = values[places.flat].mean(), values[places.steep].mean()
    axes = (flat + steep) / 2
    yield "direction.axes_to_diagonals", float(axes - values[places.slanted].mean())
    yield "direction.across_to_down", float(abs(flat - steep))


def _peaks(power: NDArray[Any], places: _Places) -> Iterator[tuple[str, float]]:
    """Measure how far the lattice of each period stands out of its surroundings."""
    around = np.fft.ifftshift(cv2.medianBlur(np.fft.fftshift(power), 5))
    excess = (power - around).ravel()
    for period, (on_axes, elsewhere) in places.lattices.items():
        yield f"peaks.every_{period}_on_axes", float(excess[on_axes].mean())
        yield f"peaks.every_{period}_elsewhere", float(excess[elsewhere].mean())
    yield "peaks.strongest", _high_quantile(excess, 0.9995)


def _high_quantile(values: NDArray[Any], share: float) -> float:
    """Return `np.quantile(values, share)`, sorting only what may lie above it."""
    place = share * (len(values) - 1)
    above = len(values) - int(place)
    tops = values.reshape(-1, 64).max(1)  # each is a value, so the rank of none is overstated
    if above > len(tops):
        return float(np.quantile(values, share))
    least = np.partition(tops, -above)[-above]
    highest = np.sort(values[values >= least])[-above:]
    part = place - int(place)
    return float(highest[0] * (1 - part) + highest[1] * part)


def _moments(noise: NDArray[Any]) -> Iterator[tuple[str, float]]:
    spread = float(noise.std())
    scaled = (noise - noise.mean()) / (spread + _TINY)
    yield "moments.log_deviation", float(np.log(spread + 0.05))
    squared = scaled * scaled
    yield "moments.log_kurtosis", float(np.log((squared * squared).mean() + 0.1))
    yield "moments.skewness", float((squared * scaled).mean())
    yield "moments.share_of_zeros", float((np.abs(noise) < 0.5).mean())
    variance = float(squared.mean()) + _TINY
    side = len(scaled)
    for down, across in _LAGS:
        product = scaled[: side - down, : side - across] * scaled[down:, across:]
        yield f"neighbours.{down}_down_{across}_across", float(product.mean() / variance)


def _spread(luma: NDArray[Any], noise: NDArray[Any]) -> Iterator[tuple[str, float]]:
    blocks = _in_blocks(noise)
    strength = np.log(blocks.std((1, 2)) + 0.05)
    middle = float(np.median(strength))
    for share in (5, 25, 75, 95):
        yield f"evenness.percentile_{share}", float(np.percentile(strength, share) - middle)
    bright = _in_blocks(luma).mean((1, 2))
    for low, high in itertools.pairwise(_BROAD):
        inside = strength[(bright >= low) & (bright < high)]
        value = float(np.median(inside)) - middle if len(inside) >= 8 else 0.0
        yield f"brightness_noise.from_{low}_to_{high}", value
    smooth = strength <= np.percentile(strength, 50)
    apart = bright[smooth].std() * strength[smooth].std()
    goes = (bright[smooth] - bright[smooth].mean()) * (strength[smooth] - strength[smooth].mean())
    yield "brightness_noise.smooth_parts", float(goes.mean() / (apart + _TINY))


def _in_blocks(values: NDArray[Any]) -> NDArray[Any]:
    high = len(values) // 8
    return values.reshape(high, 8, high, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def _cosines(luma: NDArray[Any]) -> Iterator[tuple[str, float]]:
    size = np.log(np.abs(dctn(_in_blocks(luma), axes=(1, 2), norm="ortho")).mean(0) + 0.02)
    places = [(u, v) for u in range(8) for v in range(u, 8) if (u, v) != (0, 0)]
    values = np.array([(size[u, v] + size[v, u]) / 2 for u, v in places])
    for (u, v), value in zip(places, values - values.mean(), strict=True):
        yield f"cosines.{u}_and_{v}", float(value)


def _pairs(luma: NDArray[Any]) -> Iterator[tuple[str, float]]:
    """Count neighbouring second differences, rounded to steps of 2 and cut at ±2 steps."""
    shares = np.zeros((5, 5))
    for values in (luma, luma.T):
        second = values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:]
        steps = np.clip(np.rint(second / 2), -2, 2).astype(np.int64) + 2
        shares += np.bincount((steps[:, :-1] * 5 + steps[:, 1:]).ravel(), minlength=25).reshape(
            5, 5
        )
    shares /= shares.sum()
    folded = (shares + shares.T + shares[::-1, ::-1] + shares.T[::-1, ::-1]) / 4
    for a in range(3):
        for b in range(a, 5 - a):
            yield f"pairs.{a - 2}_beside_{b - 2}", float(np.log(folded[a, b] + 1e-4))


def _colours(crop: NDArray[Any], colours: NDArray[Any]) -> Iterator[tuple[str, float]]:
    planes = [plane - cv2.medianBlur(plane, 3) for plane in cv2.split(colours)]
    spread = [_deviation(plane) + 0.05 for plane in planes]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        together = float((planes[first] * planes[second]).mean())
        yield (
            f"colours.{'rgb'[first]}_with_{'rgb'[second]}",
            together / (spread[first] * spread[second]),
        )
    yield "colours.red_to_green", float(np.log(spread[0] / spread[1]))
    yield "colours.blue_to_green", float(np.log(spread[2] / spread[1]))
    shades = cv2.split(cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb))
    fine = [float(np.log(_deviation(cv2.Laplacian(x, cv2.CV_32F)) + 0.05)) for x in shades]
    coarse = [float(np.log(_deviation(x) + 0.05)) for x in shades]
    yield "colours.red_difference_to_luma", fine[1] - fine[0]
    yield "colours.blue_difference_to_luma", fine[2] - fine[0]
    yield "colours.red_difference_fine_to_coarse", fine[1] - coarse[1]
    yield "colours.blue_difference_fine_to_coarse", fine[2] - coarse[2]
    yield "clipping.white", float(np.log((crop >= 254).mean() + 1e-4))
    yield "clipping.black", float(np.log((crop <= 1).mean() + 1e-4))


def _deviation(values: NDArray[Any]) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0])


_CROSS = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32) / 4


def _mosaic(colours: NDArray[Any]) -> Iterator[tuple[str, float]]:
    for number, name in enumerate(("red", "green", "blue")):
        size = np.abs(cv2.filter2D(colours[..., number], -1, _CROSS))
        phases = np.array([[size[i::2, j::2].mean() for j in (0, 1)] for i in (0, 1)]) + 0.05
        crossed = (phases[0, 0] + phases[1, 1]) / (phases[0, 1] + phases[1, 0])
        yield f"mosaic.{name}_checkered", float(abs(np.log(crossed)))
        yield f"mosaic.{name}_widest", float(np.log(phases.max() / phases.min()))


def _blocks(luma: NDArray[Any]) -> Iterator[tuple[str, float]]:
    for name, values in (("upright", luma), ("level", luma.T)):
        steps = np.abs(values[:, 1:] - values[:, :-1]).mean(0)
        phases = np.array([steps[number::8].mean() for number in range(8)]) + 0.05
        yield f"blocks.{name}", float(np.log(phases.max() / np.median(phases)))


def _all_names() -> tuple[str, ...]:
    flat = _scale(np.zeros((LEAST, LEAST, 3), np.uint8))
    native = [f"native.{name}" for name, _ in flat]
    half = [f"half.{name}" for name, _ in flat if _family(name) not in _NATIVE_ONLY]
    return (*native, *half)


NAMES = _all_names()
"""Names of the numbers: scale, family, and what is measured."""

WIDTH = len(NAMES)
