"""What differs between two aligned pictures: everywhere a little, or somewhere a lot.

Saving a picture anew, scaling it or changing its tones moves every pixel. A local change stands
out against that: per cell of 8 × 8 pixels the remaining difference, after the tones are matched,
is compared with what cells of like detail differ by elsewhere in the same picture, so that the
threshold follows the quality at which the copy was saved.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.align import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.float32]
    Matrix = NDArray[np.float64]

__all__ = ["CELL", "MAX_BOXES", "Difference", "measure"]

CELL = 8
MAX_BOXES = 40

_SIDE = 1600  # longest side at which pictures are compared
# A cell is changed if its mean moved by more than _LEVELS grey levels and _TIMES what cells of
# like detail move by, or if its pixels did by _ROUGH_TIMES that. Source: benchmarks/compare.py.
_LEVELS, _TIMES = 6.0, 6.0
_ROUGH_LEVELS, _ROUGH_TIMES = 12.0, 3.5
# Laid by interpolation, pictures may lie beside each other by so many pixels; a cell may differ
# by what that does where the picture is steep.
_SLACK = {True: 0.35, False: 0.6}  # where no pixel was moved, and where it was
_SEED_TIMES = 1.8  # a place counts if some cell of it is so far above the threshold
_MIN_CELLS = 3
_CLASSES = 8  # of detail
_EDGE_CELLS = 1  # cells at the border of what overlaps are not judged: half of them is missing


@dataclass(frozen=True, slots=True)
class Difference:
    """What remains between two pictures once one is laid over the other.

    Attributes:
        equal: whether every pixel that both show is the same.
        mean_levels: mean absolute difference of the overlap, in levels of 255.
        tone_levels: mean absolute difference that matching the tones takes away.
        colour_lost: whether the copy is grey and the original is not.
        detail_ratio: fine detail of the copy over that of the original; 1 for an even surface.
        changed_share: share of the overlap that lies in changed cells.
        boxes: `[x, y, w, h]` of each changed place in the copy's pixels, largest first.
        count: how many places there are; boxes may be fewer.
        strongest: how far the most changed cell is above its threshold, in thresholds.
        map: grey picture of the difference in the frame that was compared, 0 to 255.
        laid: the original as it lies in that frame, RGB.
        seen: the copy in that frame, RGB.
    """

    equal: bool
    mean_levels: float
    tone_levels: float
    colour_lost: bool
    detail_ratio: float
    changed_share: float
    boxes: tuple[tuple[int, int, int, int], ...]
    count: int
    strongest: float
    map: "Pixels" = field(repr=False)
    laid: "Pixels" = field(repr=False)
    seen: "Pixels" = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "equal": self.equal,
            "mean_levels": self.mean_levels,
            "tone_levels": self.tone_levels,
            "colour_lost": self.colour_lost,
            "detail_ratio": self.detail_ratio,
            "changed_share": self.changed_share,
            "places": self.count,
            "boxes": [list(box) for box in self.boxes],
            "strongest": self.strongest,
        }


def measure(original: "Pixels", copy: "Pixels", placement: Placement) -> Difference:
    """Compare two pictures where they overlap, in the frame of the copy.

    Args:
        original: RGB, shape (H, W, 3).
        copy: RGB, shape (h, w, 3).
        placement: from `align.place`.
    """
    import cv2

    equal = _is_equal(original, copy, placement)
    laid, seen, inside, scale = _frame(original, copy, placement)
    levels = np.abs(laid.astype(np.int16) - seen.astype(np.int16)).mean(axis=2)
    clear = inside > 0
    mean = float(levels[clear].mean()) if clear.any() else 0.0
    grey = _chroma(seen[clear]) < 1.5 and _chroma(laid[clear]) > 4
    toned = laid.astype(np.float32) if equal else _match_tones(laid, seen, clear)
    rest = np.asarray(
        cv2.transform(seen.astype(np.float32) - toned, _LUMA_CHROMA), dtype=np.float32
    )  # [y, x, (Y, Cb, Cr)]
    after = float(np.abs(seen.astype(np.float32) - toned).mean(axis=2)[clear].mean())
    exact = equal or placement.kind == "same"
    ratio, excess = _judge(rest, toned, clear, _SLACK[exact])
    labels, count, stats = _places(excess)
    changed = labels > 0
    boxes = []
    for x, y, w, h, _ in sorted(stats, key=lambda row: -row[4])[:MAX_BOXES]:
        left, top = x * CELL / scale, y * CELL / scale
        right = min((x + w) * CELL / scale, copy.shape[1])
        bottom = min((y + h) * CELL / scale, copy.shape[0])
        boxes.append((round(left), round(top), round(right - left), round(bottom - top)))
    shown = np.clip(np.abs(rest).max(axis=2) * 6, 0, 255).astype(np.uint8)
    shown[~clear] = 0
    judged = np.isfinite(excess).sum()
    return Difference(
        equal=equal,
        mean_levels=round(mean, 2),
        tone_levels=round(max(0.0, mean - after), 2),
        colour_lost=bool(grey),
        detail_ratio=round(ratio, 3),
        changed_share=round(float(changed.sum() / judged), 4) if judged else 0.0,
        boxes=tuple(boxes),
        count=count,
        strongest=round(float(np.nanmax(np.where(changed, excess, 0.0))), 2) if count else 0.0,
        map=shown,
        laid=laid,
        seen=seen,
    )


_LUMA_CHROMA = np.array(
    [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], dtype=np.float32
)  # ITU-T T.871 (JFIF)


def _chroma(pixels: "Pixels") -> float:
    """Return how far from grey the pixels are on average; `pixels` has shape (N, 3)."""
    if not len(pixels):
        return 0.0
    return float((pixels.max(axis=1).astype(np.int16) - pixels.min(axis=1)).mean())


def _is_equal(original: "Pixels", copy: "Pixels", placement: Placement) -> bool:
    """Tell whether all pixels that both show are equal: only where no pixel was interpolated."""
    matrix = placement.matrix
    whole = np.round(matrix)
    if np.abs(matrix - whole).max() > 1e-6 or np.abs(whole[2] - (0, 0, 1)).any():
        return False
    turn, (left, top) = whole[:2, :2].astype(int), whole[:2, 2].astype(int)
    if np.abs(turn).sum() != 2 or abs(round(float(np.linalg.det(turn)))) != 1:
        return False
    view = original
    if turn[0, 0] == 0:
        view = view.swapaxes(0, 1)
        turn = turn[:, ::-1]
    if turn[0, 0] < 0:
        view, left = view[:, ::-1], left - (view.shape[1] - 1)
    if turn[1, 1] < 0:
        view, top = view[::-1], top - (view.shape[0] - 1)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(copy.shape[1], left + view.shape[1]), min(copy.shape[0], top + view.shape[0])
    if x1 <= x0 or y1 <= y0:
        return False
    return np.array_equal(view[y0 - top : y1 - top, x0 - left : x1 - left], copy[y0:y1, x0:x1])


def _frame(
    original: "Pixels", copy: "Pixels", placement: Placement
) -> "tuple[Pixels, Pixels, NDArray[np.uint8], float]":
    """Bring both into the copy's frame, no larger than `_SIDE` and than the original is there.

    Returns:
        The original, the copy, where the original lies, and the frame's scale against the copy.
    """
    import cv2

    matrix = placement.matrix
    growth = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    height, width = copy.shape[:2]
    scale = min(1.0, _SIDE / max(height, width), 1 / growth)
    size = (max(CELL, round(width * scale)), max(CELL, round(height * scale)))
    down = np.diag([size[0] / width, size[1] / height, 1.0])
    down[:2, 2] = (np.diag(down)[:2] - 1) / 2
    moved = down @ matrix
    seen = copy
    if size != (width, height):
        seen = np.asarray(cv2.resize(copy, size, interpolation=cv2.INTER_AREA), np.uint8)
    step = growth * scale
    source = original
    if step < 1 and placement.kind == "whole" and abs(moved[0, 1]) + abs(moved[1, 0]) < 1e-9:
        return _scaled(original, seen, moved, scale)
    if step < 0.95:  # shrink with a filter first, then move
        small = (
            max(1, round(original.shape[1] * step)),
            max(1, round(original.shape[0] * step)),
        )
        source = np.asarray(cv2.resize(original, small, interpolation=cv2.INTER_AREA), np.uint8)
        across, along = small[0] / original.shape[1], small[1] / original.shape[0]
        to_small = np.diag([across, along, 1.0])
        to_small[:2, 2] = ((across - 1) / 2, (along - 1) / 2)
        moved = moved @ np.linalg.inv(to_small)
    exact = np.abs(moved - np.round(moved)).max() < 1e-6
    way = cv2.INTER_NEAREST if exact else cv2.INTER_CUBIC
    laid = cv2.warpPerspective(source, moved, size, flags=way)
    inside = cv2.warpPerspective(np.full(source.shape[:2], 255, np.uint8), moved, size, flags=way)
    kept = (np.asarray(inside) == 255).astype(np.uint8)
    return np.asarray(laid, np.uint8), np.asarray(seen, np.uint8), kept, scale


def _scaled(
    original: "Pixels", seen: "Pixels", moved: "Matrix", scale: float
) -> "tuple[Pixels, Pixels, NDArray[np.uint8], float]":
    """Shrink the whole frame, mirrored where it is, with the filter that averages."""
    import cv2

    view = original
    if moved[0, 0] < 0:
        view = view[:, ::-1]
    if moved[1, 1] < 0:
        view = view[::-1]
    size = (seen.shape[1], seen.shape[0])
    laid = cv2.resize(np.ascontiguousarray(view), size, interpolation=cv2.INTER_AREA)
    return np.asarray(laid, np.uint8), seen, np.ones(seen.shape[:2], np.uint8), scale


def _match_tones(laid: "Pixels", seen: "Pixels", clear: "NDArray[np.bool_]") -> "Plane":
    """Give the original the tones of the copy, by what most pixels ask for.

    First a mixing of channels (which covers grey, white balance, saturation), fitted twice
    without the fifth that fits worst; then a curve per channel through the medians.
    """
    source = laid.astype(np.float32)
    rows = np.flatnonzero(clear.ravel())
    if len(rows) < 256:
        return source
    rows = rows[:: max(1, len(rows) // 60_000)]
    one = np.c_[source.reshape(-1, 3)[rows], np.ones(len(rows), np.float32)]
    other = seen.reshape(-1, 3)[rows].astype(np.float32)
    # what a brighter or darker copy has lost at the ends says nothing of the rest
    kept = unclipped = ((other > 4) & (other < 251)).all(axis=1)
    if unclipped.sum() < 256:
        kept = unclipped = np.ones(len(rows), bool)
    mix = np.vstack([np.eye(3), np.zeros(3)]).astype(np.float32)
    for _ in range(3):
        mix = np.linalg.lstsq(one[kept], other[kept], rcond=None)[0].astype(np.float32)
        miss = np.abs(one @ mix - other).sum(axis=1)
        kept = unclipped & (miss <= np.quantile(miss[unclipped], 0.8))
    plain = np.abs(one[:, :3] - other).sum(axis=1)
    fitted = np.abs(one @ mix - other).sum(axis=1)
    plain, fitted = np.median(plain[unclipped]), np.median(fitted[unclipped])
    # where there is nothing to match, do not add the fit's own error
    toned = np.clip(source @ mix[:3] + mix[3], 0, 255) if fitted < plain - 0.3 else source.copy()
    sample = toned.reshape(-1, 3)[rows]
    for channel in range(3):
        toned[..., channel] += _curve(sample[:, channel], other[:, channel], toned[..., channel])
    return np.clip(toned, 0, 255)


def _curve(one: "Plane", other: "Plane", plane: "Plane") -> "Plane":
    """Return what to add to a channel: medians in 24 classes of like number, joined by lines."""
    edges = np.unique(np.quantile(one, np.linspace(0, 1, 25)))
    if len(edges) < 3:
        return np.full_like(plane, float(np.median(other - one)))
    place = np.clip(np.searchsorted(edges, one, side="right") - 1, 0, len(edges) - 2)
    middles, shifts = [], []
    for number in range(len(edges) - 1):
        inside = place == number
        if inside.sum() >= 32:
            middles.append(float(np.median(one[inside])))
            shifts.append(float(np.median((other - one)[inside])))
    if not middles:
        return np.zeros_like(plane)
    order = np.argsort(middles)
    added = np.interp(plane, np.array(middles)[order], np.array(shifts)[order])
    return np.asarray(added, np.float32)


def _cells(plane: "Plane") -> "Plane":
    """Average a plane over cells; shape (H // CELL, W // CELL)."""
    height, width = (size // CELL * CELL for size in plane.shape)
    cut = plane[:height, :width]
    parts = cut.reshape(height // CELL, CELL, width // CELL, CELL)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _judge(
    rest: "Plane", toned: "Plane", clear: "NDArray[np.bool_]", slack: float
) -> "tuple[float, Plane]":
    """Measure each cell against those of like detail.

    Args:
        rest: what remains of the copy, (Y, Cb, Cr).
        toned: the original in the copy's tones, RGB.
        clear: where the pictures overlap.
        slack: by how many pixels they may lie beside each other.

    Returns:
        Fine detail of the copy over that of the original, and per cell by how many thresholds
        it differs; NaN where the pictures do not overlap.
    """
    import cv2

    luma = np.asarray(toned @ _LUMA_CHROMA[0], dtype=np.float32)
    copy_luma = luma + rest[..., 0]
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 1.5)
    copy_fine = copy_luma - cv2.GaussianBlur(copy_luma, (0, 0), 1.5)
    # a shift, or colour that is stored at half the size, differs most where the picture is steep
    slopes = np.asarray(cv2.transform(toned, _LUMA_CHROMA), dtype=np.float32)
    steep = np.stack([_steepness(slopes[..., c]) for c in range(3)]).max(axis=0)
    detail = _cells(np.asarray(steep, np.float32))
    allowed = slack * np.sqrt(_cells(np.asarray(steep**2, np.float32)))
    moved = np.stack([np.abs(_cells(rest[..., c])) for c in range(3)]).max(axis=0)
    rough = np.sqrt(_cells(rest[..., 0] ** 2))
    full = _cells(clear.astype(np.float32)) == 1
    if clear.any() and not clear.all():
        full = cv2.erode(
            full.astype(np.uint8), np.ones((3, 3)), iterations=_EDGE_CELLS, borderValue=1
        ).astype(bool)
    excess = np.full(detail.shape, np.nan, np.float32)
    if full.sum() < 16:
        return 1.0, excess
    classes = np.quantile(detail[full], np.linspace(0, 1, _CLASSES + 1)[1:-1])
    group = np.searchsorted(classes, detail)
    for number in range(_CLASSES):
        inside = full & (group == number)
        if not inside.any():
            continue
        usual_moved = np.median(moved[inside]) + 1.4826 * _mad(moved[inside])
        usual_rough = np.median(rough[inside]) + 1.4826 * _mad(rough[inside])
        least_moved = np.maximum(allowed[inside] / 2, max(_LEVELS, _TIMES * usual_moved))
        least_rough = np.maximum(allowed[inside], max(_ROUGH_LEVELS, _ROUGH_TIMES * usual_rough))
        by_mean, by_pixel = moved[inside] / least_moved, rough[inside] / least_rough
        excess[inside] = np.maximum(by_mean, by_pixel)
    calm = full & ~(excess > 1)
    own = float(np.sqrt((_cells(fine**2)[calm]).mean())) if calm.any() else 0.0
    copys = float(np.sqrt((_cells(copy_fine**2)[calm]).mean())) if calm.any() else 0.0
    return (copys / own if own > 0.5 else 1.0), excess


def _steepness(plane: "Plane") -> "Plane":
    """Return the slope in levels a pixel."""
    import cv2

    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    return np.asarray(np.hypot(across, down) / 8, np.float32)


def _mad(values: "Plane") -> float:
    return float(np.median(np.abs(values - np.median(values))))


def _places(excess: "Plane") -> "tuple[NDArray[np.int32], int, list[tuple[int, ...]]]":
    """Join changed cells that touch or nearly do; keep places that stand out.

    Returns:
        Labels per cell (0 for unchanged), the number of places, and of each its box in cells
        with the number of its cells.
    """
    import cv2

    over = np.nan_to_num(excess, nan=0.0)
    changed = over > 1
    joined = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3)))
    number, labels = cv2.connectedComponents(joined, connectivity=8)
    joined_labels = np.where(changed, labels, 0)
    kept = np.zeros(changed.shape, np.int32)
    stats: list[tuple[int, ...]] = []
    for label in range(1, number):
        inside = joined_labels == label
        if inside.sum() < _MIN_CELLS or over[inside].max() < _SEED_TIMES:
            continue
        rows, columns = np.nonzero(inside)
        x, y = int(columns.min()), int(rows.min())
        w, h = int(columns.max()) - x + 1, int(rows.max()) - y + 1
        stats.append((x, y, w, h, int(inside.sum())))
        kept[inside] = len(stats)
    return kept, len(stats), stats
