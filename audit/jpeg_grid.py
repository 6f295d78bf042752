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

__all__ = ["MAX_FOREIGN", "MIN_SIDE", "Grid", "find_foreign_grid"]

MIN_SIDE = 128
_ZERO = 0.5  # a coefficient that rounds to none
_MAX_LOG_NFA = -4.0  # of the picture's own grid: at most one of 10,000 pictures of noise
MAX_FOREIGN = -12.0  # of a foreign region; textures are no noise: see docs/benchmarks.md
_MIN_LEAD = 1.5  # of the picture's grid over the next: after scaling, the grid drifts
_MAX_KINDS = 2  # more foreign grids are a scaled picture's own, not parts put in
_MIN_BLOCKS = 12
_MIN_DENSITY = 0.25  # of the votes in a region's cells
_BAND_ROWS = 242  # with 7 above and 7 below
_FLAT = 64  # in place of a grid's name


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
    cells = votes[: rows * 8, : columns * 8]
    if counts[first] < _MIN_LEAD * np.partition(counts, -2)[-2]:
        return Grid(None)
    best, foreign, boxes, kinds = 0.0, -1, [], set()
    mask = np.zeros((rows, columns), np.uint8)
    for number in range(64):
        if number == first or counts[number] < 64 * _MIN_BLOCKS:
            continue
        # 64 for each vote, the mean of a cell's 64 pixels: its votes
        marks = (cells == number).astype(np.uint8) * np.uint8(64)
        held = cv2.resize(marks, (columns, rows), interpolation=cv2.INTER_AREA)
        around = cv2.boxFilter(held, cv2.CV_32F, (3, 3), normalize=False)
        dense = (around > 9 * 64 * _MIN_DENSITY).astype(np.uint8)
        found, labels, stats, _ = cv2.connectedComponentsWithStats(dense, connectivity=4)
        for label in range(1, found):
            x, y, w, h = (int(value) for value in stats[label, :4])
            inside = held[y : y + h, x : x + w]
            voting = int(inside[labels[y : y + h, x : x + w] == label].sum()) // 64
            if voting < _MIN_BLOCKS:
                continue
            nfa = tests + _log_tail(voting, max(w * h, voting))
            if nfa < MAX_FOREIGN:
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
    """Return log10 of the chance that noise gives a grid so many votes, each with 1/64.

    At least −300, where floating-point numbers end; JSON knows no infinity.

    >>> _log_tail(4000, 5000)
    -300.0
    """
    import numpy as np
    from scipy.stats import binom

    return max(-300.0, float(binom.logsf(hits - 1, trials, 1 / 64) / np.log(10)))


def _votes(luma: "NDArray[np.float32]") -> "NDArray[np.int8]":
    """Return for each pixel the grid, x + 8 y, with the most zeros; −1 for a tie or flat."""
    import numpy as np

    height, width = luma.shape
    votes = np.full(luma.shape, -1, np.int8)
    # pixels nearer the edge lie in no whole block of some grid
    for start in range(7, height - 7, _BAND_ROWS):
        stop = min(height - 7, start + _BAND_ROWS)
        band = _band(luma[start - 7 : stop + 7], start - 7)
        votes[start:stop, 7 : width - 7] = band[7:-7, 7 : width - 7]
    return votes


def _band(luma: "NDArray[np.float32]", top: int) -> "NDArray[np.int8]":
    """Let each pixel choose among the 64 blocks that cover it, one of each grid.

    Args:
        luma: rows of a picture.
        top: number of the first of them in the picture.
    """
    import cv2
    import numpy as np

    height, width = luma.shape
    zeros = _zeros(luma)
    ones = np.ones((8, 8), np.uint8)
    still = cv2.dilate(luma, ones[:, :1], anchor=(0, 0)) == cv2.erode(
        luma, ones[:, :1], anchor=(0, 0)
    )
    flat = cv2.erode(still.astype(np.uint8), ones[:1], anchor=(0, 0)) > 0
    flat |= zeros >= 62  # next to nothing but zeros fits every grid
    rows, columns = np.arange(top, top + height)[:, None], np.arange(width)[None]
    names = np.where(flat, _FLAT, 8 * (rows % 8) + columns % 8).astype(np.uint16)
    # the most zeros win; of equals, the largest and the smallest name tell whether they are one
    ranks = zeros.astype(np.uint16) * 128
    highest = cv2.dilate(ranks + names, ones, anchor=(7, 7)) % 128
    lowest = 127 - cv2.dilate(ranks + (127 - names), ones, anchor=(7, 7)) % 128
    return np.where((highest == lowest) & (highest < _FLAT), highest, -1).astype(np.int8)


def _zeros(luma: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """Count the zeros among the 63 frequencies of the block whose upper left pixel stands here.

    One filter along columns and one along rows for each frequency; the last 7 rows and columns
    hold no whole block, and mean nothing.
    """
    import cv2
    import numpy as np

    k, n = np.arange(8)[:, None], np.arange(8)[None]
    basis = (np.cos((2 * n + 1) * k * np.pi / 16) / 2).astype(np.float32)
    basis[0] /= np.sqrt(2)
    zeros = np.zeros(luma.shape, np.uint8)
    for ky in range(8):
        down = cv2.filter2D(luma, cv2.CV_32F, basis[ky][:, None], anchor=(0, 0))
        for kx in range(8):
            if ky or kx:
                both = cv2.filter2D(down, cv2.CV_32F, basis[kx][None], anchor=(0, 0))
                zeros += np.abs(both) < _ZERO
    return zeros
