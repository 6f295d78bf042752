"""How well a picture and the work laid over it agree over all that they share.

Features say that details lie in the same places; two things photographed on one floor have many
such details. Here the whole shared area is compared: the placement is refined (Evangelidis and
Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE
TPAMI 2008, through OpenCV), and the colours of one are predicted from those of the other by one
linear map. So a change of colour or light counts little, and a shirt of another colour much.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Floats = NDArray[np.float32]
    Matrix = NDArray[np.float64]

__all__ = ["agreement", "whole_placement"]

_SIDE = 128
"""Longest side in pixels at which the shared area is compared."""
_MOST_SIDE = 800  # at which a picture is read for a small part of it
_BLUR = 1.0  # sigma in pixels of that: grain and coding are not what is compared
_ROUNDS, _STEP = 30, 1e-4  # of the refinement: most, and the least gain of the last
_FAR = 1 / 8  # of the longest side: a placement that moves further is another one
_FEWEST = 64  # pixels that must be shared

# where a point of the work, in shares of its size, lies in the picture: of x and of y, the axis
# that it takes after, and whether it runs backwards
_WHOLE = {
    "none": ("x", False, "y", False),
    "mirrored": ("x", True, "y", False),
    "turned_180": ("x", True, "y", True),
    "mirrored_turned_180": ("x", False, "y", True),
    "transposed": ("y", False, "x", False),
    "turned_90": ("y", True, "x", False),
    "transversed": ("y", True, "x", True),
    "turned_270": ("y", False, "x", True),
}


def whole_placement(transform: str, work: tuple[int, int], picture: tuple[int, int]) -> "Matrix":
    """Return how a whole work lies in a picture that shows all of it, flipped or turned.

    Args:
        transform: one of the eight names, as `copy_search.Match.transform`.
        work: width and height in pixels.
        picture: width and height in pixels.

    Returns:
        2 × 3, from pixels of the work to pixels of the picture.

    >>> whole_placement("mirrored", (10, 10), (20, 20)) @ [1, 2, 1]
    array([18.,  4.])
    """
    name, back, other, other_back = _WHOLE[transform]
    matrix = np.zeros((2, 3))
    for row, (axis, reverse) in enumerate(((name, back), (other, other_back))):
        column = 0 if axis == "x" else 1
        scale = picture[row] / work[column]
        matrix[row, column] = -scale if reverse else scale
        matrix[row, 2] = picture[row] if reverse else 0.0
    return matrix


def agreement(
    image: "ImageFile", work: "ImageFile", matrix: "Matrix", *, spared: float = 0.0
) -> float | None:
    """Return how well a picture agrees with a work that was found in it. 3 ms besides decoding.

    Args:
        image: the picture.
        work: what was found in it.
        matrix: 2 × 3, from pixels of the work to pixels of the picture, at full size.
        spared: share of the shared area, where they agree least, that is left out: what is
            written or drawn over a copy.

    Returns:
        The coefficient of multiple correlation, 0 to 1; None if they share too few pixels.

    Raises:
        ImageError: if one of them cannot be decoded.
    """
    size, other_size = ((item.info.width, item.info.height) for item in (image, work))
    part = _reach(matrix, other_size, size)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    other_part = _reach(back, size, other_size)
    if min(*part[2:], *other_part[2:]) < 1:
        return None
    one, to_one = _view(image, part)
    other, to_other = _view(work, other_part)
    whole = np.vstack([matrix, [0, 0, 1]])
    return _laid(one, other, (to_one @ whole @ np.linalg.inv(to_other))[:2], spared)


def _reach(matrix: "Matrix", source: tuple[int, int], target: tuple[int, int]) -> "Matrix":
    """Return `(x, y, w, h)` of what a placed picture covers of another one."""
    width, height = source
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    moved = corners @ matrix.T
    low = np.clip(moved.min(axis=0), 0, target)
    high = np.clip(moved.max(axis=0), 0, target)
    return np.concatenate([low, high - low])


def _view(image: "ImageFile", part: "Matrix") -> "tuple[Floats, Matrix]":
    """Return a part of a picture as RGB in [0, 1], `_SIDE` pixels long where it has as many.

    Returns:
        Shape (H, W, 3), and the 3 × 3 that takes pixels of the picture there.
    """
    import cv2

    size = np.array([image.info.width, image.info.height])
    share = float(part[2:].max() / size.max())
    pixels = image.pixels(max_side=int(np.clip(round(_SIDE / share), _SIDE, _MOST_SIDE)))
    scale = np.array([pixels.shape[1], pixels.shape[0]]) / size
    low = np.floor(part[:2] * scale).astype(int)
    high = np.minimum(np.ceil((part[:2] + part[2:]) * scale).astype(int), pixels.shape[1::-1])
    cut = np.asarray(pixels[low[1] : high[1], low[0] : high[0]], dtype=np.float32)
    shrunk = min(1.0, _SIDE / max(cut.shape[:2]))
    if shrunk < 1:
        cut = np.asarray(
            cv2.resize(cut, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA), np.float32
        )
    stretch = np.array([cut.shape[1], cut.shape[0]]) / (high - low)
    matrix = np.diag([*(scale * stretch), 1.0])
    matrix[:2, 2] = -low * stretch
    return cut / np.float32(255), matrix


def _laid(one: "Floats", other: "Floats", matrix: "Matrix", spared: float) -> float | None:
    """Lay one picture over the other, refine how it lies, and correlate."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    one = _blurred(one, _BLUR)
    # a work that is laid down smaller is blurred as shrinking would
    other = _blurred(other, max(_BLUR / max(scale, 1e-3), 0.3))
    found = [_correlated(one, other, matrix, spared)]
    refined = _refined(one, other, matrix)
    if refined is not None:
        found.append(_correlated(one, other, refined, spared))
    return max((item for item in found if item is not None), default=None)


def _blurred(picture: "Floats", sigma: float) -> "Floats":
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)


def _refined(one: "Floats", other: "Floats", matrix: "Matrix") -> "Matrix | None":
    """Move the placement to where the grey pictures correlate most; None if none is near."""
    import cv2

    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ROUNDS, _STEP)
    grey, under = one.mean(axis=2), other.mean(axis=2)
    try:
        start = cv2.invertAffineTransform(matrix).astype(np.float32)
        _, found = cv2.findTransformECC(
            grey, under, start, cv2.MOTION_AFFINE, stop, np.ones(under.shape, np.uint8), 1
        )
    except cv2.error:  # it does not converge
        return None
    if not np.isfinite(found).all():
        return None
    back = np.asarray(cv2.invertAffineTransform(found), dtype=np.float64)
    height, width = other.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    moved = np.abs(corners @ (back - matrix).T).max()
    return back if moved < max(one.shape[:2]) * _FAR else None


def _correlated(one: "Floats", other: "Floats", placement: "Matrix", spared: float) -> float | None:
    import cv2

    size = (one.shape[1], one.shape[0])
    laid = np.asarray(cv2.warpAffine(other, placement, size), dtype=np.float32)
    whole = np.full(other.shape[:2], 255, np.uint8)
    inside = np.asarray(cv2.warpAffine(whole, placement, size)) == 255
    if inside.sum() < _FEWEST:
        return None
    return _multiple_correlation(laid[inside], one[inside], spared)


def _multiple_correlation(laid: "Floats", seen: "Floats", spared: float) -> float:
    """Predict three colours from three others and a constant; return the root of R²."""
    table = np.hstack([laid, np.ones((len(laid), 1), np.float32)]).astype(np.float64)
    target = seen.astype(np.float64)
    kept = np.ones(len(table), dtype=bool)
    for _ in range(3 if spared else 1):  # what is left out settles after two rounds
        weights = np.linalg.lstsq(table[kept], target[kept], rcond=None)[0]
        errors = ((table @ weights - target) ** 2).sum(axis=1)
        if spared:
            kept = errors <= np.quantile(errors, 1 - spared)
    spread = float(((target[kept] - target[kept].mean(axis=0)) ** 2).sum())
    left = float(errors[kept].sum())
    return float(np.sqrt(max(0.0, 1 - left / spread))) if spread > 1e-9 else 0.0
