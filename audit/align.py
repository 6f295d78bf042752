"""Find how one picture lies over another: moved, scaled, cut, mirrored, turned, in perspective.

Several placements are tried, from the plainest (nothing was moved) to a free homography between
matched features; each is scored by how well the pictures agree once one is laid over the other,
and the plainest of those that agree about as well as the best is kept. A copy that was
locally painted over still aligns: the score is a middle over many small tiles.

Sources: SIFT (Lowe, IJCV 2004) with his ratio test; USAC/MAGSAC (Barath et al., CVPR 2020) as
OpenCV has it; ECC (Evangelidis and Psarakis, PAMI 2008) for the last fraction of a pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]
    Matrix = NDArray[np.float64]

__all__ = ["MIN_AGREEMENT", "Placement", "describe_matrix", "place", "size_matrix"]

MIN_AGREEMENT = 0.5
"""Least agreement at which two pictures are said to show the same. Source:
`benchmarks/compare.py`: pairs of different photographs against edited copies."""

_SIDE = 768  # longest side at which placements are sought
_TILES = 16  # along the longer side
_MATCH_RATIO = 0.75
_MIN_MATCHES = 12
_MAX_FEATURES = 3000
_PLAINER_BY = 0.01  # a freer placement must agree better by this much
_MAX_SHIFT = 0.25  # pixels beside which a placement is not "the same"
_FLAT = 0.02  # so much perspective, over the whole frame, is an error of measurement
# How the copy may have been turned or mirrored; EXIF's numbers for it (EXIF 2.32 §4.6.4).
_TURNS = {1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True)}
_TURNS |= {5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@dataclass(frozen=True, slots=True)
class Placement:
    """How the original lies in the copy.

    Attributes:
        matrix: 3 × 3, from pixel positions (x, y, 1) of the original to those of the copy;
            whole numbers are centres of pixels.
        kind: `same`, `whole` (the whole frame, scaled, turned or mirrored), `part` (by scale,
            angle and shift) or `perspective`.
        agreement: middle correlation of the tiles with detail, 1 for equal pictures.
        matches: features that agree with the placement; 0 where none were needed.
        of_matches: features that were matched at all.
    """

    matrix: "Matrix"
    kind: str
    agreement: float
    matches: int = 0
    of_matches: int = 0

    @property
    def confidence(self) -> str:
        """`high`, `medium` or `low`: a word for the agreement, not a measured rate of error."""
        firm = self.matches == 0 or self.matches >= 2 * _MIN_MATCHES
        if self.agreement >= 0.85 and firm:
            return "high"
        return "medium" if self.agreement >= 0.65 else "low"


def size_matrix(width: int, height: int, new_width: int, new_height: int) -> "Matrix":
    """Return the matrix that scales one frame to another, centres of pixels to centres."""
    across, down = new_width / width, new_height / height
    return np.array(
        [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], dtype=np.float64
    )


def place(original: "Grey", copy: "Grey") -> Placement | None:
    """Find how an original lies in a copy.

    Takes about a second; independent of the sizes beyond `_SIDE`.

    Args:
        original: luminance, shape (H, W).
        copy: luminance, shape (h, w).

    Returns:
        The placement in pixels of both as given; None if no way was found.
    """
    first, to_first = _small(original)
    second, to_second = _small(copy)
    back = np.linalg.inv(to_second)
    best: list[Placement] = []
    for kind, matrix, matches, total in _candidates(first, second, original.shape, copy.shape):
        score = _agreement(first, second, matrix)
        best.append(Placement(matrix, kind, score, matches, total))
        if kind == "same" and score >= 0.98 and _shift(first, second) < _MAX_SHIFT:
            break
    best = [item for item in best if item.agreement > 0]
    if not best:
        return None
    top = max(item.agreement for item in best)
    if top < MIN_AGREEMENT:
        return None
    chosen = next(item for item in best if item.agreement >= top - _PLAINER_BY)
    matrix = chosen.matrix
    if chosen.kind in ("part", "perspective"):
        matrix, score = _refine(first, second, matrix, chosen.agreement)
        chosen = Placement(matrix, chosen.kind, score, chosen.matches, chosen.of_matches)
    full = back @ matrix @ to_first
    full /= full[2, 2]
    kind = chosen.kind
    if kind == "perspective" and np.abs(full[2, :2]).max() * max(original.shape) < _FLAT:
        kind = "part"
    if kind == "part":
        full = _snap(full, original.shape, copy.shape)
    score = round(chosen.agreement, 4)
    return Placement(full, kind, score, chosen.matches, chosen.of_matches)


def _shift(first: "Grey", second: "Grey") -> float:
    """Return by how many pixels one picture lies beside another of its size."""
    import cv2

    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_64F)
    (x, y), _ = cv2.phaseCorrelate(first.astype(np.float64), second.astype(np.float64), window)
    return float(np.hypot(x, y))


def _small(grey: "Grey") -> "tuple[Grey, Matrix]":
    """Shrink to `_SIDE`; return the matrix from the given pixels to the small ones."""
    import cv2

    height, width = grey.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), size_matrix(width, height, *size)


def _candidates(
    first: "Grey", second: "Grey", full_first: tuple[int, ...], full_second: tuple[int, ...]
) -> "Iterator[tuple[str, Matrix, int, int]]":
    """Yield placements from plain to free, in small pixels: kind, matrix, matches, of matches."""
    height, width = first.shape
    new_height, new_width = second.shape
    for number, (turns, mirrored) in _TURNS.items():
        tall = turns % 2 == 1
        shape = (full_first[1], full_first[0]) if tall else full_first
        stretch = (full_second[1] / full_second[0]) / (shape[1] / shape[0])
        if abs(np.log(stretch)) > 0.35:  # stretched by more than two fifths: rather cut
            continue
        matrix = _turn(width, height, turns, mirrored)
        size = (height, width) if tall else (width, height)
        whole = size_matrix(*size, new_width, new_height) @ matrix
        same = number == 1 and tuple(full_first) == tuple(full_second)
        yield ("same" if same else "whole"), whole, 0, 0
    for mirrored in (False, True):
        mirror = _turn(width, height, 0, mirrored)
        view = np.ascontiguousarray(first[:, ::-1]) if mirrored else first
        for kind, matrix, matches, total in _from_features(view, second):
            yield kind, matrix @ mirror, matches, total


def _turn(width: int, height: int, turns: int, mirrored: bool) -> "Matrix":
    """Return the matrix of quarter turns against the clock, after mirroring left to right."""
    matrix = np.eye(3)
    if mirrored:
        matrix = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    for _ in range(turns):
        matrix = np.array([[0, 1.0, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix
        width, height = height, width
    return matrix


def _from_features(first: "Grey", second: "Grey") -> "Iterator[tuple[str, Matrix, int, int]]":
    import cv2

    finder = cv2.SIFT_create(_MAX_FEATURES)  # type: ignore[attr-defined]
    points, words = finder.detectAndCompute(first, None)
    others, other_words = finder.detectAndCompute(second, None)
    if words is None or other_words is None or min(len(points), len(others)) < _MIN_MATCHES:
        return
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(words, other_words, k=2)
    kept = [p[0] for p in pairs if len(p) == 2 and p[0].distance < _MATCH_RATIO * p[1].distance]
    if len(kept) < _MIN_MATCHES:
        return
    source = np.array([points[item.queryIdx].pt for item in kept])
    target = np.array([others[item.trainIdx].pt for item in kept])
    cv2.setRNGSeed(0)
    similar, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=2.5, maxIters=4000
    )
    if similar is not None and inliers is not None and int(inliers.sum()) >= _MIN_MATCHES:
        yield "part", np.vstack([similar, [0, 0, 1]]), int(inliers.sum()), len(kept)
    free, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 2.5)
    if free is not None and inliers is not None and int(inliers.sum()) >= _MIN_MATCHES:
        yield "perspective", np.asarray(free), int(inliers.sum()), len(kept)


def _warp(first: "Grey", matrix: "Matrix", shape: tuple[int, ...]) -> "tuple[Grey, Grey]":
    """Lay the original into the copy's frame; return it, and where it lies (255 inside)."""
    import cv2

    size = (shape[1], shape[0])
    scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if scale < 0.7:  # shrinking without a filter would leave steps where the copy has none
        first = np.asarray(cv2.GaussianBlur(first, (0, 0), 0.45 / scale), dtype=np.uint8)
    laid = cv2.warpPerspective(first, matrix, size, flags=cv2.INTER_LINEAR)
    inside = cv2.warpPerspective(np.full(first.shape, 255, np.uint8), matrix, size)
    return np.asarray(laid, dtype=np.uint8), np.asarray(inside, dtype=np.uint8)


def _agreement(first: "Grey", second: "Grey", matrix: "Matrix") -> float:
    """Return the middle correlation of tiles that have detail in the original.

    Tiles without detail say nothing; where there are none at all, the whole view counts.
    """
    if not _is_sound(matrix, first.shape, second.shape):
        return 0.0
    laid, inside = _warp(first, matrix, second.shape)
    side = max(8, max(second.shape) // _TILES)
    scores = []
    for y in range(0, second.shape[0] - side + 1, side):
        for x in range(0, second.shape[1] - side + 1, side):
            part = np.s_[y : y + side, x : x + side]
            if inside[part].min() < 255:
                continue
            one, other = laid[part].astype(np.float64), second[part].astype(np.float64)
            if one.std() >= 4.0:
                scores.append(_correlation(one, other))
    if len(scores) < 6:
        clear = inside == 255
        if clear.mean() < 0.05:
            return 0.0
        one, other = laid[clear].astype(np.float64), second[clear].astype(np.float64)
        if one.std() < 1 and other.std() < 1:  # both even: as good as the levels
            return float(max(0.0, 1 - abs(one.mean() - other.mean()) / 8))
        return _correlation(one, other)
    return float(np.median(scores))


def _correlation(one: "NDArray[np.float64]", other: "NDArray[np.float64]") -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float((one * one).sum() * (other * other).sum()) ** 0.5
    return float((one * other).sum()) / scale if scale else 0.0


def _is_sound(matrix: "Matrix", first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Tell whether a placement keeps the frame convex and within forty times its size."""
    height, width = first
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1.0]]).T
    moved = matrix @ corners
    if not np.isfinite(moved).all() or (moved[2] <= 1e-6).any():
        return False
    x, y = moved[:2] / moved[2]
    turns = [
        (x[(i + 1) % 4] - x[i]) * (y[(i + 2) % 4] - y[(i + 1) % 4])
        - (y[(i + 1) % 4] - y[i]) * (x[(i + 2) % 4] - x[(i + 1) % 4])
        for i in range(4)
    ]
    area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
    convex = all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)
    return convex and 1 / 40 < area / (second[0] * second[1]) < 1600


def _refine(
    first: "Grey", second: "Grey", matrix: "Matrix", score: float
) -> "tuple[Matrix, float]":
    """Shift a placement by fractions of a pixel, if the pictures then agree better."""
    import cv2

    _, inside = _warp(first, matrix, second.shape)
    try:
        _, inverse = cv2.findTransformECC(
            second,
            first,
            np.linalg.inv(matrix).astype(np.float32),
            cv2.MOTION_HOMOGRAPHY,
            (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-6),
            inside,
            5,
        )
        better = np.linalg.inv(np.asarray(inverse, dtype=np.float64))
    except (cv2.error, np.linalg.LinAlgError):
        return matrix, score
    found = _agreement(first, second, better)
    return (better, found) if found > score else (matrix, score)


def _snap(matrix: "Matrix", first: tuple[int, ...], second: tuple[int, ...]) -> "Matrix":
    """Take a cut at the original's own scale for what it is: a shift by whole pixels."""
    matrix = matrix / matrix[2, 2]
    reach = max(*first, *second)
    whole = np.round(matrix)
    spread = np.abs(matrix[:2, :2] - whole[:2, :2]).max() * reach
    bent = np.abs(matrix[2, :2]).max() * reach * reach
    plain = np.abs(whole[:2, :2]).sum() == 2 and abs(np.linalg.det(whole[:2, :2])) == 1
    shift = np.abs(matrix[:2, 2] - whole[:2, 2]).max()
    if plain and spread < 3 and bent < 3 and shift < 3:
        whole[2] = (0, 0, 1)
        return whole
    return matrix


def describe_matrix(
    matrix: "Matrix", original: tuple[int, int], copy: tuple[int, int]
) -> dict[str, object]:
    """Say in figures what a placement does.

    Args:
        matrix: from pixels of the original to those of the copy.
        original: its (width, height).
        copy: its (width, height).

    Returns:
        `scale` (copy over original; its mean where it differs by direction), `stretch` (across
        over down), `angle_deg` (with the clock), `mirrored`, `kept` (share of the original's
        area that the copy shows), `added` (share of the copy's area where the original has
        nothing), `visible` (`[x, y, w, h]`, the box of the original that the copy shows).
    """
    import cv2

    width, height = original
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    x, y, w = matrix @ centre
    local = (matrix[:2, :2] - np.outer([x / w, y / w], matrix[2, :2])) / w
    mirrored = bool(np.linalg.det(local) < 0)
    turned = local @ np.diag([-1.0, 1.0]) if mirrored else local
    across, down = np.linalg.norm(turned[:, 0]), np.linalg.norm(turned[:, 1])
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64) - 0.5
    inner = np.array([[0, 0], [copy[0], 0], [copy[0], copy[1]], [0, copy[1]]], np.float64) - 0.5
    back = cv2.perspectiveTransform(inner[None], np.linalg.inv(matrix))[0]
    ahead = cv2.perspectiveTransform(frame[None], matrix)[0]
    seen, part = cv2.intersectConvexConvex(back.astype(np.float32), frame.astype(np.float32))
    filled, _ = cv2.intersectConvexConvex(ahead.astype(np.float32), inner.astype(np.float32))
    box = [0, 0, width, height]
    if part is not None and len(part):
        points = np.asarray(part).reshape(-1, 2) + 0.5
        low, high = points.min(axis=0), points.max(axis=0)
        x0, y0 = max(0, round(float(low[0]))), max(0, round(float(low[1])))
        box = [x0, y0, round(float(high[0])) - x0, round(float(high[1])) - y0]
    return {
        "scale": round(float(np.sqrt(across * down)), 4),
        "stretch": round(float(across / down), 4),
        "angle_deg": round(float(np.degrees(np.arctan2(turned[1, 0], turned[0, 0]))), 2) + 0.0,
        "mirrored": mirrored,
        "kept": round(min(1.0, float(seen) / (width * height)), 4),
        "added": round(max(0.0, 1 - float(filled) / (copy[0] * copy[1])), 4),
        "visible": box,
    }
