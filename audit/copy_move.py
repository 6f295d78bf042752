"""Copy-move: a part of the picture that stands in it twice.

Key points that resemble another key point of the same picture are matched, a common affine
transform is sought among the matches, and the pixels of both places are compared, finest detail
included: two windows of a house resemble one another, a copy of one agrees down to its noise.

Sources: I. Amerini et al., "A SIFT-based forensic method for copy-move attack detection and
transformation recovery", IEEE TIFS 6(3), 2011 (g2NN matching, affine RANSAC); R. Arandjelović and
A. Zisserman, "Three things everyone should know…", CVPR 2012 (RootSIFT). Thresholds: chosen and
measured as docs/benchmarks.md, "Altered pictures", says.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["MIN_SIDE", "CopyMove", "find_copy"]

MIN_SIDE = 256
"""Smallest side in pixels at which the method was tried."""
MAX_SIDE = 1600
_MAX_POINTS = 4000
_MIN_MATCHES = 8
_MIN_INLIERS = 8
_RATIO = 0.6
_MAX_DISTANCE = 0.45  # of RootSIFT descriptors, at most 1.41
_MIN_SHIFT = 32.0  # pixels between a place and its copy
_REPROJECTION = 2.5
_SCALES = (0.5, 2.0)
_WINDOW = 11
_MIN_FINE, _MIN_COARSE = 0.55, 0.93
_LOOSE_FINE, _LOOSE_COARSE = 0.2, 0.75
_MIN_AREA = 0.002  # of the picture
_MIN_PIXELS = 700
_MAX_MODELS = 4


@dataclass(frozen=True, slots=True)
class CopyMove:
    """What was found.

    Attributes:
        applies: whether the picture has enough key points to say anything.
        inliers: matches that agree on one transform.
        area: of one of the two places, in parts of the picture, as verified pixel by pixel.
        score: mean agreement of the finest detail inside, at most 1; 0 where nothing was verified.
        mask: both places, shape of the view that was looked at; None if none.
        boxes: of the two places, `(x, y, w, h)` in pixels of that view.
    """

    applies: bool
    inliers: int = 0
    area: float = 0.0
    score: float = 0.0
    mask: Any = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def find_copy(grey: "NDArray[np.uint8]") -> CopyMove:
    """Look for a part that stands in the picture twice.

    Args:
        grey: luma, `uint8`, shape `(H, W)`; best of 256 to 1600 pixels a side.
    """
    import cv2
    import numpy as np

    points, descriptors = cv2.SIFT_create(  # type: ignore[attr-defined]
        _MAX_POINTS, contrastThreshold=0.015
    ).detectAndCompute(grey, None)
    if descriptors is None or len(points) < 50:
        return CopyMove(False)
    places = np.array([point.pt for point in points], np.float32)
    sources, targets = _matches(places, descriptors)
    best = CopyMove(True)
    for _ in range(_MAX_MODELS):
        if len(sources) < _MIN_MATCHES:
            break
        cv2.setRNGSeed(7)
        matrix, chosen = cv2.estimateAffine2D(
            sources,
            targets,
            method=cv2.RANSAC,
            ransacReprojThreshold=_REPROJECTION,
            maxIters=3000,
            confidence=0.999,
        )
        if matrix is None or int(chosen.sum()) < _MIN_INLIERS:
            break
        inside = chosen.ravel() > 0
        if _is_plausible(matrix):
            found = _verify(grey, matrix, sources[inside], targets[inside])
            if found.area > best.area:
                best = found
        sources, targets = sources[~inside], targets[~inside]
    return best


def _matches(places: "Floats", descriptors: "Floats") -> "tuple[Floats, Floats]":
    """Pair each key point with its nearest one elsewhere, if the next one is much farther."""
    import numpy as np

    root = np.sqrt(descriptors / (np.abs(descriptors).sum(1, keepdims=True) + 1e-9))
    one, two = [], []
    for start in range(0, len(root), 512):
        part = root[start : start + 512]
        near = 2 - 2 * (part @ root.T)  # squared distances, [512, N]
        away = ((places[start : start + 512, None] - places[None]) ** 2).sum(2)
        near[away < _MIN_SHIFT**2] = np.inf
        order = np.argpartition(near, 2, axis=1)[:, :3]
        rows = np.arange(len(part))[:, None]
        order = order[rows, np.argsort(near[rows, order], axis=1)]
        first, second = near[rows[:, 0], order[:, 0]], near[rows[:, 0], order[:, 1]]
        good = (first < _RATIO**2 * second) & (first < _MAX_DISTANCE**2)
        one.append(places[start : start + 512][good])
        two.append(places[order[good, 0]])
    return np.concatenate(one), np.concatenate(two)


def _is_plausible(matrix: Any) -> bool:
    import numpy as np

    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    turned = np.linalg.det(matrix[:, :2]) > 0
    return bool(turned and _SCALES[0] < stretch[1] and stretch[0] < _SCALES[1])


def _verify(grey: Any, matrix: Any, sources: "Floats", targets: "Floats") -> CopyMove:
    """Compare both places pixel by pixel, their finest detail apart."""
    import cv2
    import numpy as np

    height, width = grey.shape
    plain = grey.astype(np.float32)
    moved = cv2.warpAffine(plain, matrix, (width, height), flags=cv2.INTER_CUBIC)
    inside = cv2.warpAffine(np.ones_like(plain), matrix, (width, height)) > 0.99
    coarse = _agreement(plain, moved)
    fine = _agreement(
        plain - cv2.GaussianBlur(plain, (0, 0), 1.5), moved - cv2.GaussianBlur(moved, (0, 0), 1.5)
    )
    near = np.zeros((height, width), np.uint8)
    reach = max(24, int(0.6 * float(np.ptp(targets, axis=0).max())))
    for x, y in targets:
        cv2.circle(near, (int(x), int(y)), min(reach, 80), 1, -1)
    same = ((coarse > _MIN_COARSE) & (fine > _MIN_FINE) & inside & (near > 0)).astype(np.uint8)
    same = cv2.morphologyEx(same, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    same = cv2.morphologyEx(same, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(same)
    if count < 2:
        return CopyMove(True, len(targets))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    pixels = int(stats[largest, cv2.CC_STAT_AREA])
    there = (labels == largest).astype(np.uint8)
    held = sum(bool(there[min(height - 1, int(y)), min(width - 1, int(x))]) for x, y in targets)
    if pixels < max(_MIN_PIXELS, _MIN_AREA * height * width) or held < _MIN_INLIERS // 2:
        return CopyMove(True, len(targets))
    # grown into what agrees less, where a soft edge or coding blurred the detail
    loose = ((coarse > _LOOSE_COARSE) & (fine > _LOOSE_FINE) & inside).astype(np.uint8)
    loose = cv2.morphologyEx(loose | there, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, labels = cv2.connectedComponents(
        cv2.morphologyEx(loose, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    )
    kept = np.unique(labels[there > 0])
    whole = np.isin(labels, kept[kept > 0]).astype(np.uint8) | there
    if int(whole.sum()) > 3 * pixels:
        whole = there
    back = cv2.warpAffine(
        whole, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    boxes = tuple(tuple(int(v) for v in cv2.boundingRect(part)) for part in (whole, back))
    return CopyMove(
        True,
        len(targets),
        pixels / (height * width),
        float(fine[there > 0].mean()),
        np.maximum(whole, back),
        boxes,  # type: ignore[arg-type]
    )


def _agreement(one: "Floats", other: "Floats") -> "Floats":
    """Return the local correlation of two pictures, −1 to 1; 0 where either is flat."""
    import cv2
    import numpy as np

    size = (_WINDOW, _WINDOW)
    means = cv2.blur(one, size), cv2.blur(other, size)
    joint = cv2.blur(one * other, size) - means[0] * means[1]
    spread = np.maximum(cv2.blur(one * one, size) - means[0] ** 2, 0) * np.maximum(
        cv2.blur(other * other, size) - means[1] ** 2, 0
    )
    return np.asarray(np.where(spread > 1.0, joint / np.sqrt(np.maximum(spread, 1e-6)), 0))
