"""The canonical plane: where a mark lies, how it is drawn into a picture and read off again.

The plane is a square of `chips` × `chips` little cells, the chips, centred on the marked
picture, `chips` of them along its long edge; so the mark of a picture and of any resized copy
are the same thing. Each chip carries plus or minus one code bit. In the full profile 32 fixed
sinusoids, the pilots, lie over the chips: they say nothing, and tell where the plane is.

Coordinates: a chip's centre has the *centred chip coordinates* (j + ½ - n/2, i + ½ - n/2),
x first; one of the picture's pixels has its index, x first. `Geometry` is the affine map from
the former to the latter.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from counterproof.provenance.watermark_code import Layout, Profile

__all__ = [
    "PILOTS",
    "PILOT_PHASES",
    "Field",
    "Floats",
    "Geometry",
    "Gray",
    "draw_chips",
    "draw_pilots",
    "inside",
    "luma",
    "pilot_score",
    "sample",
    "shrink",
    "soft_bits",
    "upright",
    "whiten",
]

Gray = NDArray[np.uint8]
Floats = NDArray[np.float32]

# fmt: off
_PILOTS = (
    (131, 37, 4), (-31, 105, 163), (52, 18, 142), (-41, 118, 121), (75, 34, 47), (-40, 94, 237),
    (121, 60, 217), (-45, 85, 90), (83, 52, 21), (-57, 90, 64), (91, 63, 107), (-77, 109, 43),
    (53, 45, 195), (-89, 106, 120), (63, 57, 18), (-75, 78, 56), (60, 63, 25), (-93, 85, 232),
    (47, 59, 146), (-66, 52, 182), (43, 61, 137), (-111, 76, 17), (67, 109, 33), (-106, 64, 175),
    (55, 112, 39), (-84, 45, 116), (32, 70, 212), (-98, 43, 7), (31, 91, 73), (-117, 42, 190),
    (26, 88, 156), (-85, 24, 154),
)
# fmt: on

PILOTS: NDArray[np.float64] = np.array([(u, v) for u, v, _ in _PILOTS], np.float64)
"""Cycles along the long edge, in x and y, of each pilot; shape `(32, 2)`.

Spread evenly over angle, 55 to 138 cycles, away from the axes so that their logarithms can be
searched; drawn once at random within these bounds.
"""

PILOT_PHASES: NDArray[np.float64] = 2 * np.pi / 256 * np.array([phase for *_, phase in _PILOTS])
"""Phase in radians of each pilot's cosine at the centre of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Affine map from centred chip coordinates to pixel coordinates: `matrix @ c + offset`.

    Attributes:
        matrix: shape `(2, 2)`, pixels per chip.
        offset: shape `(2,)`, pixel coordinates of the plane's centre.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def pixels_per_chip(self) -> float:
        """Geometric mean over both axes."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Values on a rectangle of the plane's chips.

    Attributes:
        values: shape `(rows, columns)`.
        top: first row of the plane that it covers.
        left: first column of the plane that it covers.
    """

    values: Floats
    top: int
    left: int


def luma(pixels: NDArray[np.uint8]) -> Gray:
    """Return Y' of BT.601 of an RGB picture, `uint8`, shape `(H, W)`."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def shrink(gray: Gray, long_edge: int) -> Gray:
    """Reduce a picture by area averaging; a smaller one is returned as it is."""
    height, width = gray.shape
    factor = long_edge / max(height, width)
    if factor >= 1:
        return gray
    size = max(1, round(width * factor)), max(1, round(height * factor))
    while factor < 0.5:  # halving is cheap, and an odd last row is nothing at this size
        gray = gray[: height // 2 * 2, : width // 2 * 2]
        height, width, factor = height // 2, width // 2, factor * 2
        gray = np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def upright(shape: tuple[int, int], profile: Profile) -> Geometry:
    """Return where the plane lies in an unchanged or merely resized picture of this shape."""
    height, width = shape
    scale = max(height, width) / profile.chips
    return Geometry(np.eye(2) * scale, np.array([(width - 1) / 2, (height - 1) / 2]))


def sample(gray: Gray, geometry: Geometry, profile: Profile) -> Field | None:
    """Read the picture off at the chips; outside it, a reflection that `soft_bits` masks.

    Returns:
        Luma at the chips of the smallest rectangle of the plane that covers the picture;
        None if the picture covers less than 16 chips in either direction.
    """
    height, width = gray.shape
    n = profile.chips
    matrix, offset = geometry.matrix, geometry.offset
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5]])
    corners = np.vstack([corners, [[width - 0.5, height - 0.5]]])
    chips = (corners - offset) @ np.linalg.inv(matrix).T + n / 2
    left, top = (int(v) for v in np.clip(np.ceil(chips.min(0) - 1e-6), 0, n))
    right, bottom = (int(v) for v in np.clip(np.floor(chips.max(0) + 1e-6), 0, n))
    if right - left < 16 or bottom - top < 16:
        return None
    # bring the picture near the chips' own resolution first: that is the anti-alias filter
    reduction = geometry.pixels_per_chip / 1.25
    if reduction > 1.28:
        size = max(8, round(width / reduction)), max(8, round(height / reduction))
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        ratio = np.array([size[0] / width, size[1] / height])
        matrix, offset = matrix * ratio[:, None], (offset + 0.5) * ratio - 0.5
    first = np.array([left + 0.5 - n / 2, top + 0.5 - n / 2])
    warp = np.column_stack([matrix, matrix @ first + offset])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(
        gray.astype(np.float32),
        warp,
        (right - left, bottom - top),
        flags=flags,
        borderMode=cv2.BORDER_REFLECT,
    )
    return Field(np.asarray(values, np.float32), top, left)


def inside(shape: tuple[int, ...], geometry: Geometry, field: Field, chips: int) -> Floats:
    """Return 1 for the chips of the field that lie in the picture, else 0."""
    height, width = shape[:2]
    x = np.arange(field.values.shape[1]) + field.left + 0.5 - chips / 2
    y = (np.arange(field.values.shape[0]) + field.top + 0.5 - chips / 2)[:, None]
    m, t = geometry.matrix, geometry.offset
    if m[0, 1] == m[1, 0] == 0:
        wide, tall = m[0, 0] * x + t[0], m[1, 1] * y + t[1]
        within = ((tall > -0.5) & (tall < height - 0.5)) * ((wide > -0.5) & (wide < width - 0.5))
        return np.asarray(within, np.float32)
    across, down = m[0, 0] * x + m[0, 1] * y + t[0], m[1, 0] * x + m[1, 1] * y + t[1]
    within = (across > -0.5) & (across < width - 0.5) & (down > -0.5) & (down < height - 0.5)
    return np.asarray(within, np.float32)


def whiten(values: Floats) -> Floats:
    """Turn luma on the chips into a field in which the mark stands out from the picture.

    Removes slow changes, divides by the local contrast, cuts off outliers, then divides the
    spectrum by its own smoothed power: what a picture has much of counts little.
    """
    high = values - cv2.GaussianBlur(values, (0, 0), 3.0, borderType=cv2.BORDER_REFLECT)
    power = cv2.GaussianBlur(high * high, (0, 0), 2.5, borderType=cv2.BORDER_REFLECT)
    even = np.clip(high / (np.sqrt(np.maximum(power, 0)) + 1), -2.5, 2.5)
    rows, columns = even.shape
    padded = scipy.fft.next_fast_len(rows), scipy.fft.next_fast_len(columns, real=True)
    spectrum = scipy.fft.rfft2(even, s=padded)
    density = spectrum.real**2 + spectrum.imag**2
    smooth = cv2.blur(density, (9, 9), borderType=cv2.BORDER_REFLECT)
    spectrum /= smooth / (smooth.mean() + np.float32(1e-9)) + np.float32(0.4)
    return np.asarray(scipy.fft.irfft2(spectrum, s=padded)[:rows, :columns], np.float32)


def soft_bits(field: Field, chips: Layout, code_bits: int) -> Floats:
    """Add up what each code bit's chips say; positive means bit 0."""
    rows, columns = field.values.shape
    part = np.s_[field.top : field.top + rows, field.left : field.left + columns]
    said = (field.values * chips.sign[part]).ravel()
    return np.bincount(chips.bit[part].ravel(), said, code_bits).astype(np.float32)


def pilot_score(field: Field, chips: int) -> float:
    """Tell how surely the pilots lie in this field where they should, in standard deviations.

    Negative for a picture that was inverted.
    """
    across, down = _waves(field.values.shape, field.top, field.left, chips)
    # one real product for real and imaginary parts
    sums = ((field.values @ across.view(np.float32)).view(np.complex64) * down).sum(0)
    size = np.abs(sums) + 1e-9
    sums = sums / np.maximum(size, 1e-9) * np.minimum(size, 2.5 * size.mean())
    aligned = (sums * np.exp(-1j * PILOT_PHASES)).real.sum()
    return float(aligned / np.sqrt((np.abs(sums) ** 2).sum() / 2 + 1e-12))


@lru_cache(maxsize=32)
def _waves(
    shape: tuple[int, ...], top: int, left: int, chips: int
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return the pilots' conjugate waves over a field's columns and rows, `(n, 32)` each."""
    found = []
    for n, first, axis in ((shape[1], left, 0), (shape[0], top, 1)):
        place = (np.arange(n) + first + 0.5 - chips / 2) / chips
        wave = np.exp(-2j * np.pi * np.outer(place, PILOTS[:, axis]))
        found.append(np.asarray(wave, np.complex64))
    return found[0], found[1]


def draw_chips(plane: Floats, shape: tuple[int, int]) -> Floats:
    """Draw a plane of chip values over a picture of this shape, bicubic, long edge to long edge."""
    height, width = shape
    chips = len(plane)
    # a picture with fewer pixels than chips is drawn larger, then averaged down
    finer = max(1, math.ceil(chips / max(height, width) - 1e-9))
    tall, wide = height * finer, width * finer
    scale = max(tall, wide) / chips
    shift = chips / 2 - 0.5
    warp = np.array(
        [
            [1 / scale, 0, shift - (wide - 1) / 2 / scale],
            [0, 1 / scale, shift - (tall - 1) / 2 / scale],
        ]
    )
    drawn = cv2.warpAffine(
        plane,
        warp,
        (wide, tall),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    if finer > 1:
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(drawn, np.float32)


@lru_cache(maxsize=8)
def draw_pilots(shape: tuple[int, int]) -> Floats:
    """Draw the pilots over a picture of this shape; each has amplitude 1."""
    height, width = shape
    long_edge = max(height, width)
    x = (np.arange(width) - (width - 1) / 2) / long_edge
    y = (np.arange(height) - (height - 1) / 2) / long_edge
    across = 2 * np.pi * np.outer(x, PILOTS[:, 0])
    down = 2 * np.pi * np.outer(y, PILOTS[:, 1]) + PILOT_PHASES
    # cos(a + b) = cos a cos b - sin a sin b, as one real product
    left = np.hstack([np.cos(down), -np.sin(down)]).astype(np.float32)
    right = np.hstack([np.cos(across), np.sin(across)]).astype(np.float32)
    drawn: Floats = left @ right.T
    drawn.flags.writeable = False
    return drawn
