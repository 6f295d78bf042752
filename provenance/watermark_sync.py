"""Find the plane in a picture that was cropped, scaled, turned, flipped, stretched or inverted.

The pilots are 32 lines in the spectrum, at known places relative to one another. Two searches
find them: over scale and rotation (a correlation of log-polar spectra) and, for pictures that
stand upright or on their side, over both scales at once (a sum over the lines for every pair).
Each candidate is then judged by the pilots' *phases*, which also give the position: block by
block, so that a full affine map can be fitted. Nothing here depends on a key.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from counterproof.provenance.watermark_code import FULL
from counterproof.provenance.watermark_plane import (
    PILOT_PHASES,
    PILOTS,
    Floats,
    Geometry,
    Gray,
    shrink,
)

__all__ = ["Candidate", "candidates", "shows_pilots"]

EDGES = (640, 1024)
"""Long edges in pixels at which to search: pilots of a picture pasted small into a page lie
beyond the finest frequency of the first, those of a small crop show better in it."""

REFINE = 6.2
"""Score from which a candidate is fitted a second time; half of the unmarked pictures reach 6.4,
one in a thousand 8."""

_RADII = np.hypot(PILOTS[:, 0], PILOTS[:, 1])
_LOWEST, _HIGHEST = float(_RADII.min()), float(_RADII.max())


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A place where the plane may lie.

    Attributes:
        score: agreement of the pilots' phases, in standard deviations of chance.
        geometry: of the plane in the picture.
        inverted: whether the picture is a negative.
    """

    score: float
    geometry: Geometry
    inverted: bool


def candidates(gray: Gray, *, most: int = 4) -> Iterator[list[Candidate]]:
    """Yield the best places for the plane, one list for each working size, best first."""
    done = 0
    for edge in EDGES:
        work = shrink(gray, edge)
        if min(work.shape) < 32 or (done and max(work.shape) < 1.3 * done):
            continue
        done = max(work.shape)
        ratio = np.array([gray.shape[1] / work.shape[1], gray.shape[0] / work.shape[0]])
        centre = np.array([(gray.shape[1] - 1) / 2, (gray.shape[0] - 1) / 2])
        found = []
        for score, matrix, offset, inverted in _search(work, most):
            geometry = Geometry(matrix * ratio[:, None] / FULL.chips, offset * ratio + centre)
            found.append(Candidate(score, geometry, inverted))
        yield found


_Fit = tuple[float, NDArray[np.float64], NDArray[np.float64], bool]


def _search(work: Gray, most: int) -> list[_Fit]:
    even = _even_out(work)
    if not even.any():
        return []  # a picture of one colour
    lines, even, bins = _lines(even)
    maps = [np.eye(2) * max(work.shape), *_stretched(lines, bins, max(work.shape))]
    maps += _turned(lines, bins)
    maps = [matrix for matrix in maps if shows_pilots(matrix)]
    starts = sorted((_start(even, matrix) for matrix in maps), key=lambda start: -start.score)
    fits = [_fit(start) for start in starts[:most]]
    fits = [_fit(_start(even, fit[1])) if fit[0] > REFINE else fit for fit in fits]
    return sorted(fits, key=lambda fit: -fit[0])


def shows_pilots(matrix: NDArray[np.float64]) -> bool:
    """Tell whether any pilot is coarse enough to be seen in the pixels under a map.

    Args:
        matrix: from the plane, in units of its long edge, to pixels.
    """
    frequency = np.abs(PILOTS @ np.linalg.inv(matrix)).max(1)
    return float(frequency.min()) < 0.5


# -- spectrum ---------------------------------------------------------------------------------


def _even_out(work: Gray) -> Floats:
    """Remove slow changes and divide by local contrast."""
    values = work.astype(np.float32)
    values -= cv2.GaussianBlur(values, (0, 0), 4.0, borderType=cv2.BORDER_REFLECT)
    contrast = cv2.blur(values * values, (15, 15), borderType=cv2.BORDER_REFLECT)
    return np.clip(values / (np.sqrt(np.maximum(contrast, 0)) + 1.5), -2, 2)


def _lines(even: Floats) -> tuple[Floats, Floats, tuple[int, int]]:
    """Return how much each frequency stands out, and the picture with its spectrum evened.

    Returns:
        Power over the mean power around it, at most 10, rows from minus half their number,
        columns from -PAD; the whitened picture, of unit variance; and the transform's periods
        in y and x, up to `FINER` times the picture's height and width.
    """
    height, width = even.shape
    finer = FINER if max(even.shape) <= EDGES[0] else 1.3
    rows, columns = (int(scipy.fft.next_fast_len(round(finer * n), real=True)) for n in even.shape)
    taper = [
        np.clip(np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (0.06 * n), 0, 1)
        for n in (height, width)
    ]
    tapered = even * np.outer(*taper).astype(np.float32)
    spectrum = scipy.fft.rfft2(tapered, s=(rows, columns))
    power = spectrum.real**2 + spectrum.imag**2
    around = cv2.blur(power, (25, 25), borderType=cv2.BORDER_REFLECT_101)
    spectrum /= around + np.float32(0.02 * around.mean() + 1e-9)
    white = scipy.fft.irfft2(spectrum, s=(rows, columns))[:height, :width]
    # rows from -rows/2 on; the left half of a real picture's spectrum repeats the right one, so
    # a margin of it is enough
    power = np.roll(power, rows // 2, 0)
    wide = np.zeros((rows, power.shape[1] + PAD), np.float32)
    wide[:, PAD:] = power
    mirrored = np.roll(power[::-1], 1 - rows % 2, 0)
    wide[:, :PAD] = mirrored[:, PAD:0:-1]
    around = cv2.blur(wide, (15, 15), borderType=cv2.BORDER_REFLECT)
    lines = np.minimum(wide / (around + 1e-9), 10)
    bins = rows, columns
    return np.asarray(lines, np.float32), np.asarray(white / (white.std() + 1e-9), np.float32), bins


PAD, FINER = 16, 1.6


# -- upright or on its side, stretched --------------------------------------------------------

_SCALES = np.exp(np.arange(math.log(0.4), math.log(3.3), 0.01))
_STRETCHES = np.exp(np.arange(-12, 13) * 0.01)


@cache
def _hypotheses() -> tuple[Floats, Floats, Floats]:
    """Return maps in units of the working long edge, and where they put the pilots' lines.

    Returns:
        Maps, shape `(n, 2, 2)`; and frequencies in cycles per long edge, x not negative and y,
        shape `(32, n)` each.
    """
    sizes = np.stack(np.meshgrid(_SCALES, np.sqrt(_STRETCHES), indexing="ij"), -1).reshape(-1, 2)
    across, down = sizes[:, 0] * sizes[:, 1], sizes[:, 0] / sizes[:, 1]
    zero = np.zeros_like(across)
    maps = []
    for flip in (1, -1):
        maps.append(np.stack([flip * across, zero, zero, down], -1))
        maps.append(np.stack([zero, across, flip * down, zero], -1))
    matrices = np.concatenate(maps).reshape(-1, 2, 2)
    frequency = PILOTS @ np.linalg.inv(matrices)
    frequency = np.where(frequency[..., :1] < 0, -frequency, frequency)
    x, y = (np.ascontiguousarray(frequency[..., axis].T, np.float32) for axis in (0, 1))
    return np.asarray(matrices, np.float32), x, y


@lru_cache(maxsize=8)
def _places(width: int, bins: tuple[int, int], long_edge: int) -> NDArray[np.intp]:
    """Return flat indices into `_lines` of each pilot under each hypothesis, 0 if outside.

    Args:
        width: of the array.
        bins: the transform's periods in y and x, in pixels.
        long_edge: of the picture, in pixels.
    """
    _, x, y = _hypotheses()
    column = np.rint(x * np.float32(bins[1] / long_edge)).astype(np.intp) + PAD
    row = np.rint(y * np.float32(bins[0] / long_edge)).astype(np.intp) + bins[0] // 2
    lost = (column >= width - 2) | (row < 2) | (row >= bins[0] - 2)
    return np.where(lost, 0, row * width + column)


def _stretched(lines: Floats, bins: tuple[int, int], long_edge: int) -> list[NDArray[np.float64]]:
    """Return maps under which the pilots' lines stand out, first for plain scales alone."""
    matrices = _hypotheses()[0]
    lines[0, 0] = lines.mean()
    places = _places(lines.shape[1], bins, long_edge)
    standing = lines.ravel().take(places).sum(0)
    plain = np.arange(len(standing)) % len(_STRETCHES) == len(_STRETCHES) // 2
    # maps of one way up are neighbours in this array, and none is near one of another way up
    ways = np.abs(matrices).max(1).reshape(4, -1, 2)
    found: list[NDArray[np.float64]] = []
    for some, most in ((plain, 4), (np.ones_like(plain), 3)):
        left = np.where(some, standing, -1)
        for _ in range(most):
            best = int(left.argmax())
            found.append(matrices[best].astype(np.float64) * long_edge)
            way, place = divmod(best, ways.shape[1])
            sizes = ways[way]
            near = np.abs(sizes - sizes[place]) < 0.03 * sizes[place].max()
            close = way * ways.shape[1] + np.flatnonzero(near[:, 0] & near[:, 1])
            left[close], standing[close] = -1, -1
    return found


# -- turned -----------------------------------------------------------------------------------

_ANGLES, _STEP, _FIRST = 360, 0.008, 0.02
_RADIUS_STEPS = int(math.log(0.34 / _FIRST) / _STEP)
_WIDTH = 480


@lru_cache(maxsize=8)
def _polar_maps(bins: tuple[int, int]) -> tuple[Floats, Floats]:
    angle = np.arange(_ANGLES) * np.pi / _ANGLES - np.pi / 2
    radius = _FIRST * np.exp(np.arange(_RADIUS_STEPS) * _STEP)
    column = radius * bins[1] * np.cos(angle)[:, None] + PAD
    row = radius * bins[0] * np.sin(angle)[:, None] + bins[0] // 2
    return column.astype(np.float32), row.astype(np.float32)


@cache
def _polar_templates() -> list[NDArray[np.complex64]]:
    """Return the conjugate transform of the pilots' log-polar picture, plain and mirrored."""
    found = []
    for flip in (1, -1):
        angle = np.arctan2(PILOTS[:, 1], flip * PILOTS[:, 0]) % np.pi / np.pi * _ANGLES
        radius = np.log(_RADII / _LOWEST) / _STEP
        template = np.zeros((_ANGLES, _WIDTH), np.float32)
        for a, r in zip(angle, radius, strict=True):
            for i in (math.floor(a), math.floor(a) + 1):
                for j in (math.floor(r), math.floor(r) + 1):
                    template[i % _ANGLES, j] += (1 - abs(a - i)) * (1 - abs(r - j))
        found.append(np.conj(scipy.fft.rfft2(template)))
    return found


def _turned(lines: Floats, bins: tuple[int, int], most: int = 5) -> list[NDArray[np.float64]]:
    """Return maps of scale, rotation and mirroring under which the pilots' lines stand out."""
    # angles are half a degree apart: wider lines are not missed between them
    wider = np.asarray(cv2.blur(lines, (3, 3)), np.float32)
    polar = cv2.remap(wider, *_polar_maps(bins), cv2.INTER_LINEAR)
    polar -= polar.mean(0, keepdims=True)
    wide = np.zeros((_ANGLES, _WIDTH), np.float32)
    wide[:, :_RADIUS_STEPS] = polar
    transform = scipy.fft.rfft2(wide)
    last = _RADIUS_STEPS - int(math.log(_HIGHEST / _LOWEST) / _STEP)
    found: list[tuple[float, NDArray[np.float64]]] = []
    for flip, template in zip((1.0, -1.0), _polar_templates(), strict=True):
        match = scipy.fft.irfft2(transform * template, s=(_ANGLES, _WIDTH))[:, :last]
        match /= match.std(0, keepdims=True) + 1e-6
        for _ in range(most):
            turn, step = divmod(int(match.argmax()), last)
            angle = turn * np.pi / _ANGLES - np.pi / 2
            size = _LOWEST / (_FIRST * math.exp(step * _STEP))
            cosine, sine = math.cos(angle) * size, math.sin(angle) * size
            matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([flip, 1.0])
            found.append((float(match[turn, step]), matrix))
            match[np.arange(turn - 4, turn + 5) % _ANGLES, max(0, step - 4) : step + 5] = -9
    found.sort(key=lambda item: -item[0])
    return [matrix for _, matrix in found[:most]]


# -- position by phase ------------------------------------------------------------------------


class _Start(NamedTuple):
    """Pilots measured block by block under one map, and the position at which most agree."""

    score: float
    inverse: NDArray[np.float64]
    place: NDArray[np.float64]
    shift: NDArray[np.float64]
    phasors: NDArray[np.complex64]
    inverted: bool


def _start(even: Floats, matrix: NDArray[np.float64]) -> _Start:
    """Find the position under a map from plane, in units of its long edge, to centred pixels."""
    waves, x, y = _blocks(even, PILOTS @ np.linalg.inv(matrix))
    size = np.abs(waves)
    waves = waves / np.maximum(1.0, size / (2.5 * size.mean() + 1e-9))
    starts = []
    for half, phasors in ((1, waves), (-1, np.conj(waves))):
        # half a turn makes every line its own conjugate
        phasors = phasors * np.exp(-1j * PILOT_PHASES)[:, None].astype(np.complex64)
        shift, peak = _shift(phasors.sum(1))
        score = abs(peak) / math.sqrt(float((np.abs(phasors) ** 2).sum()) / 2 + 1e-12)
        inverse = np.asarray(np.linalg.inv(half * matrix), np.float64)
        place = np.stack([x, y], 1) @ inverse.T
        signed = -phasors if peak < 0 else phasors
        starts.append(_Start(score, inverse, place, shift, signed, peak < 0))
    return max(starts, key=lambda start: start.score)


def _fit(start: _Start) -> _Fit:
    """Fit a full affine map to the pilots' phases by iterated, trimmed least squares.

    Returns:
        Score, fitted matrix, position in centred pixels, and whether inverted.
    """
    _, inverse, place, shift, turned, inverted = start
    # phase of pilot u in block b: -2π u·(shift + bend @ place_b)
    basis = np.column_stack([np.ones(len(place)), place])
    slope = np.concatenate(
        [(PILOTS[:, axis, None, None] * basis).reshape(-1, 3) for axis in (0, 1)], axis=1
    )
    flat = turned.ravel()
    strength = np.abs(flat)
    solution = np.array([shift[0], 0, 0, shift[1], 0, 0])
    stiff = np.diag([0, 150.0, 150, 0, 150, 150])
    for _ in range(6):
        angle = np.angle(flat * np.exp(2j * np.pi * (slope @ solution)))
        weight = strength * (np.abs(angle) < 1.8)
        weighted = slope * weight[:, None]
        normal = slope.T @ weighted + stiff * weight.mean() + 1e-9 * np.eye(6)
        change = np.linalg.solve(normal, weighted.T @ (angle / (-2 * np.pi)))
        solution = solution + change
        if np.abs(change).max() < 1e-6:
            break
    aligned = flat * np.exp(2j * np.pi * (slope @ solution))
    score = float(aligned.real.sum() / math.sqrt(float((strength**2).sum()) / 2 + 1e-12))
    bend = np.array([solution[1:3], solution[4:6]])
    fitted = np.asarray(np.linalg.inv(inverse - bend @ inverse), np.float64)
    return score, fitted, fitted @ solution[[0, 3]], inverted


def _shift(sums: NDArray[np.complex64]) -> tuple[NDArray[np.float64], float]:
    """Return the shift, in long edges, at which all pilots agree best, and how well."""
    n = 384
    cos_x, sin_x, cos_y, sin_y = _coarse_waves(n)
    real, imag = sums.real[:, None], sums.imag[:, None]
    # The pilots' sum at the rows k and -k is even - odd and even + odd. A product over so few
    # lines is half the work of a transform of the whole grid.
    even = cos_x @ (real * cos_y - imag * sin_y)
    odd = sin_x @ (real * sin_y + imag * cos_y)
    row, column = divmod(int((np.abs(even) + np.abs(odd)).argmax()), n)
    best = np.array([-row if even[row, column] * odd[row, column] > 0 else row, column]) % n
    # between the points of this grid the finest pilots turn by a third of their period
    waves_x, waves_y, steps = _fine_waves(n)
    turned = sums * np.exp(2j * np.pi / n * (PILOTS @ best))
    finer = (waves_y * turned @ waves_x).real
    row, column = divmod(int(np.abs(finer).argmax()), len(steps))
    shift = (best + np.array([steps[column], steps[row]])) / n
    return shift - np.round(shift), float(finer[row, column])


@cache
def _coarse_waves(n: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return cosine and sine of the pilots' turns at each of n places.

    Returns:
        For x at the first half of the places, shape `(n / 2 + 1, 32)`; for y, `(32, n)`.
    """
    x = 2 * np.pi / n * np.outer(np.arange(n // 2 + 1), PILOTS[:, 0])
    y = 2 * np.pi / n * np.outer(PILOTS[:, 1], np.arange(n))
    cos_x, sin_x, cos_y, sin_y = (f(a).astype(np.float32) for a in (x, y) for f in (np.cos, np.sin))
    return cos_x, sin_x, cos_y, sin_y


@cache
def _fine_waves(n: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128], Any]:
    """Return the pilots' turns in x `(32, 7)` and y `(7, 32)` within a step of 1/n; the steps."""
    steps = np.linspace(-0.6, 0.6, 7)
    x, y = (np.exp(2j * np.pi / n * np.outer(steps, PILOTS[:, axis])) for axis in (0, 1))
    return x.T, y, steps


def _blocks(
    even: Floats, frequency: NDArray[np.float64], along: int = 6
) -> tuple[NDArray[np.complex64], NDArray[np.float64], NDArray[np.float64]]:
    """Measure some frequencies in each block of a grid, `along` blocks on the long edge.

    Returns:
        Amplitudes, shape `(32, blocks)`, and the blocks' centres x and y in centred pixels.
    """
    height, width = even.shape
    cuts, waves, centres = [], [], []
    for n, f in ((width, frequency[:, 0]), (height, frequency[:, 1])):
        place = np.arange(n) - (n - 1) / 2
        angle = (-2 * np.pi * np.outer(place, f)).astype(np.float32)
        waves.append((np.cos(angle) + 1j * np.sin(angle)).astype(np.complex64))
        cut = np.linspace(0, n, max(2, round(along * n / max(even.shape))) + 1).astype(int)
        cuts.append(cut)
        centres.append((cut[:-1] + cut[1:] - 1) / 2 - (n - 1) / 2)
    columns = []
    for start, end in zip(cuts[0][:-1], cuts[0][1:], strict=True):
        # one real product for real and imaginary parts
        part = even[:, start:end] @ waves[0][start:end].view(np.float32)
        columns.append(np.add.reduceat(part.view(np.complex64) * waves[1], cuts[1][:-1], axis=0))
    sums = np.stack(columns, 1)  # [rows of blocks, columns of blocks, 32]
    x, y = np.meshgrid(*centres)
    return sums.reshape(-1, sums.shape[2]).T, x.ravel(), y.ravel()
