"""Double quantisation: a part that lacks the traces of the picture's earlier JPEG.

A picture that is saved as JPEG twice, on the same grid, has a comb in the histogram of each
coefficient: values that the first step could not give are missing. A part put in between shows no
comb, since it was not on the grid the first time. For each of the low frequencies the first step is
sought that explains the histogram best, against the histogram that one JPEG would have given; each
block then votes for *once* or *twice*, and where dense blocks vote *once*, that part is reported.

The histogram of one JPEG is estimated from the same picture cut four pixels off the grid, for
blocks of like activity apart: a smooth block has few values, and would else vote by its smoothness.
Blocks near white, black or a saturated colour are left out, since decoding cut their values off,
and a picture whose dark, middle and light parts tell different stories is not judged: its tones
were changed as a whole.

Sources: Z. Lin, J. He, X. Tang, C.-K. Tang, "Fast, automatic and fine-grained tampered JPEG image
detection via DCT coefficient analysis", Pattern Recognition 42(11), 2009 (votes by blocks);
T. Bianchi, A. De Rosa, A. Piva, "Improved DCT coefficient analysis for forgery localization in JPEG
images", ICASSP 2011 (histogram of the shifted picture, likelihood of the first step). Classes of
activity and both guards are ours. Thresholds: chosen and measured as docs/benchmarks.md, "Altered
pictures", says.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from counterproof.audit.jpeg_coding import ZIGZAG, Coding, block_coefficients

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["MIN_SCORE", "MIN_SIDE", "DoubleJpeg", "find_once_coded"]

MIN_SIDE = 256
_MAX_FIRST = 40  # largest first step that is sought
_MAX_VALUE = 60  # larger quantised values are taken for this one
_CLASSES = 3  # of activity, and of lightness
_ROUNDING = 0.45  # spread of a coefficient by rounding pixels and colours between both steps
_ROUNDS = 5  # of the search for the share of blocks that were coded twice
_FLOOR = 1e-4  # chance of any value, so that none is impossible
_MIN_GAIN = 0.12  # nats a block by which two steps must explain a frequency better than one
_MIN_TWICE = 0.5  # share of the blocks that two steps must explain, by one frequency
_MIN_SHARE = 0.85  # the same, in the middle of all frequencies that tell
_MIN_FREQUENCIES = 4
_MIN_TOLD = 0.25  # of the picture, in blocks that can tell anything
_MIN_BLOCKS_TOLD = 400
_MAX_VOTE = 4.0  # nats that one frequency of one block may give
_WINDOW = 5  # blocks
_ONCE = 0.5  # mean vote, in nats, of a block that was coded once
_MIN_REGION = 40  # blocks
MIN_SCORE = 2.0
_MAX_ONCE_OF_CLASS = 0.5  # share of the dark, the middle or the light blocks that vote once
_LEAST_COMB = 8.0  # nats by which a region must be explained better, beside those of chance
_MIN_COMBS = 3
_FLAT = 3  # grey values between the darkest and lightest pixel of a block that tells nothing


@dataclass(frozen=True, slots=True)
class DoubleJpeg:
    """What was found.

    Attributes:
        applies: whether the picture as a whole was coded twice on one grid, coarser the first
            time, so that a part can stand out.
        gain: by how many nats a block two steps explain a frequency better than one, in the mean
            of eleven; what tells a picture that was saved twice from one that was saved once.
        first: the first steps that were found, 0 where none, in the order of the zigzag.
        score: mean vote for *once* of the strongest region, in nats per block; 0 if none.
        blocks: of that region.
        votes: for *once*, in nats, of the strongest region, also if it is too weak to be reported.
        mask: of all regions, one value per block; None if none.
        boxes: `(x, y, w, h)` in pixels as stored.
    """

    applies: bool
    gain: float = 0.0
    first: tuple[int, ...] = ()
    score: float = 0.0
    blocks: int = 0
    votes: float = 0.0
    mask: Any = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _First:
    """The best first step of one frequency: 0 if none, and the vote of each value by class."""

    step: int
    gain: float = 0.0
    share: float = 0.0
    votes: Any = None  # [class, value + _MAX_VALUE], nats for *once*


@dataclass(frozen=True, slots=True)
class _Model:
    """Chances of each value of one frequency, `[class, value]`: coded once, or after each step."""

    once: Any
    steps: tuple[int, ...]
    twice: tuple[Any, ...]


def find_once_coded(coding: Coding) -> DoubleJpeg:
    """Look for parts that were coded once in a picture that was coded twice."""
    import cv2
    import numpy as np

    luma = coding.luma
    rows, columns = luma.shape[0] // 8 - 1, luma.shape[1] // 8 - 1
    aligned = block_coefficients(luma[: 8 * rows, : 8 * columns])
    shifted = block_coefficients(luma[4 : 8 * rows + 4, 4 : 8 * columns + 4])
    told = _told(coding, rows, columns)
    if told.sum() < max(_MIN_BLOCKS_TOLD, _MIN_TOLD * told.size):
        return DoubleJpeg(False)
    kinds = _classes(np.abs(shifted).sum(2), told)
    votes = np.zeros((rows, columns), np.float32)
    first, gains, shares, tables, models = [], [], [], [], []
    for number, (v, u) in enumerate(ZIGZAG):
        step = int(coding.steps[v, u])
        values = np.rint(aligned[..., number] / step).clip(-_MAX_VALUE, _MAX_VALUE).astype(int)
        best, model = _first_step(values[told], shifted[..., number][told], kinds[told], step)
        first.append(best.step)
        gains.append(best.gain)
        tables.append(values)
        models.append(model)
        if best.step:
            shares.append(best.share)
            votes[told] += best.votes[kinds[told], values[told] + _MAX_VALUE]
    gain = float(np.mean(gains))
    if len(shares) < _MIN_FREQUENCIES or np.median(shares) < _MIN_SHARE:
        return DoubleJpeg(False, gain, tuple(first))
    share = cv2.blur(told.astype(np.float32), (_WINDOW, _WINDOW))
    mean = cv2.blur(votes, (_WINDOW, _WINDOW)) / np.maximum(share, 0.3)
    once = mean > _ONCE
    light = luma[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    lightness = _classes(light, told)
    if any(once[told & (lightness == kind)].mean() > _MAX_ONCE_OF_CLASS for kind in range(3)):
        return DoubleJpeg(False, gain, tuple(first))
    found = _regions(once, votes, told)
    if found.mask is not None and _has_comb((found.mask > 0) & told, tables, models, kinds):
        return DoubleJpeg(False, gain, tuple(first))
    return replace(found, gain=gain, first=tuple(first))


def _has_comb(there: Any, tables: list[Any], models: list[_Model], kinds: Any) -> bool:
    """Tell whether what voted *once* shows a comb after all, of other steps.

    So it is where tones were changed as a whole: dark and light parts were stretched unlike.
    """
    number = int(there.sum())
    found = 0
    for values, model in zip(tables, models, strict=True):
        gain, _, _ = _best(_seen(values[there], kinds[there]), model)
        found += gain > max(_MIN_GAIN, _LEAST_COMB / number)
    return found >= _MIN_COMBS


def _regions(once: Any, votes: Any, told: Any) -> DoubleJpeg:
    import cv2
    import numpy as np

    mask = np.zeros(once.shape, np.uint8)
    best, blocks, strongest, boxes = 0.0, 0, 0.0, []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        once.astype(np.uint8), connectivity=4
    )
    for label in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[label])
        there = (labels == label) & told
        number = int(there.sum())
        strongest = max(strongest, float(votes[there].sum()))
        if area < _MIN_REGION or number < _MIN_REGION // 2:
            continue
        score = float(votes[there].mean())
        if score < MIN_SCORE:
            continue
        mask[labels == label] = 1
        boxes.append((8 * x, 8 * y, 8 * w, 8 * h))
        if score * number > best * blocks:
            best, blocks = score, number
    if not boxes:
        return DoubleJpeg(True, votes=strongest)
    return DoubleJpeg(
        True,
        score=best,
        blocks=blocks,
        votes=strongest,
        mask=mask,
        boxes=tuple(boxes[:16]),
    )


def _told(coding: Coding, rows: int, columns: int) -> Any:
    """Return which blocks can tell anything: not flat, and no colour cut off."""
    area = (slice(0, 8 * rows), slice(0, 8 * columns))
    pixels = coding.luma[area].reshape(rows, 8, columns, 8)
    flat = pixels.max(axis=(1, 3)) - pixels.min(axis=(1, 3)) <= _FLAT
    clipped = coding.clipped[area].reshape(rows, 8, columns, 8).any(axis=(1, 3))
    return ~flat & ~clipped


def _classes(values: Any, told: Any) -> Any:
    """Part blocks into thirds."""
    import numpy as np

    edges = np.quantile(values[told], np.arange(1, _CLASSES) / _CLASSES)
    return np.digitize(values, edges)


def _first_step(values: Any, shifted: Any, kinds: Any, step: int) -> "tuple[_First, _Model]":
    """Find the first step that explains the values best, if any does so better than none."""
    import numpy as np

    smooth = [_density(shifted[kinds == c], step) for c in range(_CLASSES)]
    once = np.stack([_floored(_values_once(density, step)) for density in smooth])
    steps = [first for first in range(max(2, step // 2), _MAX_FIRST + 1) if first != step]
    twice = [
        np.stack([_floored(_values_twice(density, first, step)) for density in smooth])
        for first in steps
    ]
    model = _Model(once, tuple(steps), tuple(twice))
    gain, share, number = _best(_seen(values, kinds), model)
    if gain < _MIN_GAIN:
        return _First(0, gain), model
    votes = np.log(once / twice[number]).clip(-_MAX_VOTE, _MAX_VOTE).astype(np.float32)
    return _First(steps[number], gain, share, votes), model


def _seen(values: Any, kinds: Any) -> "Floats":
    """Count the values, class by class."""
    import numpy as np

    size = 2 * _MAX_VALUE + 1
    return np.stack(
        [np.bincount(values[kinds == c] + _MAX_VALUE, minlength=size) for c in range(_CLASSES)]
    ).astype(np.float64)


def _best(seen: "Floats", model: _Model) -> tuple[float, float, int]:
    """Find the best first step.

    Returns:
        By how many nats a block it explains more than none, for which share of the blocks, and
        its number; 0, 0 and −1 if there is none.
    """
    import numpy as np

    total, best, held, number = max(1.0, float(seen.sum())), 0.0, 0.0, -1
    for candidate, twice in enumerate(model.twice):
        share = 0.9
        for _ in range(_ROUNDS):
            belongs = share * twice / (share * twice + (1 - share) * model.once)
            share = float(np.clip((seen * belongs).sum() / total, 0.01, 0.995))
        mixed = share * twice + (1 - share) * model.once
        gain = float((seen * np.log(mixed / model.once)).sum() / total)
        if gain > best and share >= _MIN_TWICE:
            best, held, number = gain, share, candidate
    return best, held, number


def _density(shifted: Any, step: int) -> "Floats":
    """Return how coefficients spread off the grid, one value a unit, centred; even by nature."""
    import numpy as np

    most = int((_MAX_VALUE + 0.5) * step)
    whole = np.rint(shifted).astype(int).clip(-most, most)
    counts = np.bincount(whole + most, minlength=2 * most + 1).astype(float)
    counts += counts[::-1]
    bell = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    smooth = np.convolve(counts, bell / bell.sum(), "same") + 1e-3
    return np.asarray(smooth / smooth.sum(), np.float64)


def _floored(chances: "Floats") -> "Floats":
    import numpy as np

    whole = chances / chances.sum()
    return np.asarray(whole * (1 - _FLOOR) + _FLOOR / len(whole), np.float64)


def _values_once(density: "Floats", step: int) -> "Floats":
    import numpy as np

    most = len(density) // 2
    values = np.rint(np.arange(-most, most + 1) / step).clip(-_MAX_VALUE, _MAX_VALUE).astype(int)
    counts = np.bincount(values + _MAX_VALUE, weights=density, minlength=2 * _MAX_VALUE + 1)
    return np.asarray(counts, np.float64)


def _values_twice(density: "Floats", first: int, step: int) -> "Floats":
    """Return the chance of each value after one step, rounding of pixels, and the other step."""
    import numpy as np
    from scipy.special import ndtr

    most = len(density) // 2
    numbers = np.rint(np.arange(-most, most + 1) / first).astype(int)
    lowest = int(numbers.min())
    weights = np.bincount(numbers - lowest, weights=density)
    centres = (np.arange(len(weights)) + lowest) * float(first)
    chances = np.zeros(2 * _MAX_VALUE + 1)
    for offset in (-1, 0, 1, 2):
        value = np.floor(centres / step).astype(int) + offset
        upper = ndtr(((value + 0.5) * step - centres) / _ROUNDING)
        lower = ndtr(((value - 0.5) * step - centres) / _ROUNDING)
        np.add.at(
            chances,
            value.clip(-_MAX_VALUE, _MAX_VALUE) + _MAX_VALUE,
            weights * (upper - lower),
        )
    return chances
