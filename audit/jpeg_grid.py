"""Block grids: a part whose JPEG history does not fit the rest.

JPEG works in blocks of 8 × 8 pixels. A picture that was ever saved as JPEG shows the grid of these
blocks, also when it is saved without loss later; a part that was moved in from another JPEG shows
a grid of its own, in 63 of 64 cases shifted. For each pixel, the grid under which its block has
the most zeros among its DCT coefficients gets a vote; where votes for one foreign grid are denser
than chance allows, that part is reported.

Source: T. Nikoukhah, J. Anger, M. Colom, J.-M. Morel, R. Grompone von Gioi, "ZERO: a Local JPEG
Grid Origin Detector Based on the Number of DCT Zeros and its Applications in Image Forensics",
IPOL 11, 2021, §2 (votes, number of false alarms). Regions are grown here on cells of 8 × 8 pixels,
which the paper does not do.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MIN_SIDE", "Grid", "find_foreign_grid"]

MIN_SIDE = 128
_ZERO = 0.5  # a coefficient that rounds to none
_MAX_LOG_NFA = -4.0  # of the picture's own grid: at most one of 10,000 pictures of noise
_MAX_FOREIGN = -12.0  # of a foreign region; textures are no noise: see docs/benchmarks.md
_MIN_LEAD = 1.5  # of the picture's grid over the next: after scaling, the grid drifts
_MAX_KINDS = 2  # more foreign grids are a scaled picture's own, not parts put in
_MIN_BLOCKS = 12
_MIN_DENSITY = 0.25  # of the votes in a region's cells
_BAND_ROWS = 512


@dataclass(frozen=True, slots=True)
class Grid:
    """What was found.

    Attributes:
        main: `(x, y)` of the picture's grid, 0 to 7 each; None if it shows none, or several as
            after scaling: then a foreign grid cannot be told either.
        foreign: `(x, y)` of the strongest foreign grid; None if there is none.
        log_nfa: log10 of how many regions so dense noise would show; 0 if none was found.
        mask: of the foreign regions, shape `(H // 8, W // 8)`; None if there are none.
        boxes: of the foreign regions, `(x, y, w, h)` in pixels.
    """

    main: tuple[int, int] | None
    foreign: tuple[int, int] | None = None
    log_nfa: float = 0.0
    mask: Any = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def find_foreign_grid(luma: "NDArray[np.float32]") -> Grid:
    """Look for regions whose block grid is not the picture's.

    Args:
        luma: shape `(H, W)`, at the picture's own size: scaling moves every grid.
    """
    import cv2
    import numpy as np

    votes = _votes(luma)
    height, width = votes.shape
    counts = np.bincount(votes[votes >= 0], minlength=64)
    first = int(counts.argmax())
    tests = 2 * np.log10(float(height) * width) + np.log10(64)
    blocks = height * width // 64
    if tests + _log_tail(int(counts[first]) // 64, blocks) > _MAX_LOG_NFA:
        return Grid(None)
    main = (first % 8, first // 8)
    rows, columns = height // 8, width // 8
    cells = votes[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    if counts[first] < _MIN_LEAD * np.partition(counts, -2)[-2]:
        return Grid(None)
    best, foreign, boxes, kinds = 0.0, -1, [], set()
    mask = np.zeros((rows, columns), np.uint8)
    for number in range(64):
        if number == first or counts[number] < 64 * _MIN_BLOCKS:
            continue
        share = (cells == number).mean(axis=(1, 3))  # [row, column]
        dense = (cv2.blur(share, (3, 3)) > _MIN_DENSITY).astype(np.uint8)
        found, labels, stats, _ = cv2.connectedComponentsWithStats(dense, connectivity=4)
        for label in range(1, found):
            x, y, w, h = (int(value) for value in stats[label, :4])
            inside = share[y : y + h, x : x + w]
            voting = int(inside[labels[y : y + h, x : x + w] == label].sum())
            if voting < _MIN_BLOCKS:
                continue
            nfa = tests + _log_tail(voting, max(w * h, voting))
            if nfa < _MAX_FOREIGN:
                mask[labels == label] = 1
                kinds.add(number)
                boxes.append((8 * x, 8 * y, 8 * w, 8 * h))
                if nfa < best:
                    best, foreign = nfa, number
    if foreign < 0:
        return Grid(main)
    if len(kinds) > _MAX_KINDS:
        return Grid(None)
    return Grid(main, (foreign % 8, foreign // 8), best, mask, tuple(boxes[:16]))


def _log_tail(hits: int, trials: int) -> float:
    """Return log10 of the chance that noise gives a grid so many votes, each with 1/64."""
    import numpy as np
    from scipy.stats import binom

    return float(binom.logsf(hits - 1, trials, 1 / 64) / np.log(10))


def _votes(luma: "NDArray[np.float32]") -> "NDArray[np.int8]":
    """Return for each pixel the grid, x + 8 y, with the most zeros; −1 for a tie or flat."""
    import numpy as np

    votes = np.full(luma.shape, -1, np.int8)
    height = luma.shape[0]
    for start in range(0, height, _BAND_ROWS):
        top, bottom = max(0, start - 8), min(height, start + _BAND_ROWS + 8)
        band = _band(luma[top:bottom], top)
        stop = min(height, start + _BAND_ROWS)
        votes[start:stop] = band[start - top : stop - top]
    edge = 7  # pixels that lie in no whole block of some grid
    votes[:edge], votes[-edge:], votes[:, :edge], votes[:, -edge:] = -1, -1, -1, -1
    return votes


def _band(luma: "NDArray[np.float32]", top: int) -> "NDArray[np.int8]":
    import numpy as np

    k, n = np.arange(8)[:, None], np.arange(8)[None]
    basis = (np.cos((2 * n + 1) * k * np.pi / 16) / 2).astype(np.float32)
    basis[0] /= np.sqrt(2)
    height, width = luma.shape
    most = np.zeros((height, width), np.int8)
    votes = np.full((height, width), -1, np.int8)
    for oy in range(8):
        y0 = (oy - top) % 8
        rows = (height - y0) // 8
        if rows < 1:
            continue
        lines = luma[y0 : y0 + 8 * rows].reshape(rows, 8, width)
        down = np.einsum("kn,rnw->rkw", basis, lines, optimize=True)  # [row, k, W]
        same_down = np.ptp(lines, axis=1) == 0  # [row, W]
        for ox in range(8):
            columns = (width - ox) // 8
            part = down[:, :, ox : ox + 8 * columns].reshape(rows, 8, columns, 8)
            both = part @ basis.T  # [row, ky, column, kx]
            zeros = np.abs(both) < _ZERO
            zeros[:, 0, :, 0] = False
            count = zeros.sum(axis=(1, 3)).astype(np.int8)  # [row, column]
            flat = same_down[:, ox : ox + 8 * columns].reshape(rows, columns, 8).all(axis=2)
            flat |= count >= 62  # next to nothing but zeros fits every grid
            spread = np.repeat(np.repeat(count, 8, 0), 8, 1)
            name = np.where(flat, -1, ox + 8 * oy).astype(np.int8)
            names = np.repeat(np.repeat(name, 8, 0), 8, 1)
            area = (slice(y0, y0 + 8 * rows), slice(ox, ox + 8 * columns))
            old = most[area]
            more, equal = spread > old, spread == old
            votes[area] = np.where(more, names, np.where(equal, np.int8(-1), votes[area]))
            most[area] = np.maximum(spread, old)
    return votes
