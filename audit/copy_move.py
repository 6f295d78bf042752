"""Copy-move: a part of the picture that stands in it twice.

Key points that resemble another key point of the same picture are matched, a common affine
transform is sought among the matches and fitted to the pixels, and both places are compared pixel
by pixel. Two things that are printed or built alike resemble one another too; what tells a copy is
that the places differ by no more than JPEG explains, in lightness and contrast as in detail. So the
picture is coded once more off its grid, which shows how much coding alone changes here, and that is
the measure.

Sources: I. Amerini et al., "A SIFT-based forensic method for copy-move attack detection and
transformation recovery", IEEE TIFS 6(3), 2011 (g2NN matching, affine RANSAC); R. Arandjelović and
A. Zisserman, "Three things everyone should know…", CVPR 2012 (RootSIFT). The measure is ours.
Thresholds: chosen and measured as docs/benchmarks.md, "Altered pictures", says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["MAX_DIFFERENCE", "MAX_SIDE", "MIN_SIDE", "CopyMove", "find_copy"]

MIN_SIDE = 300
"""Smallest side in pixels; of nine smaller samples of CASIA1 with copied parts it found none."""
MAX_SIDE = 1600
MIN_POINTS = 50
_MAX_POINTS = 4000
_MIN_INLIERS = 5  # matches that agree on a transform: ten coordinates, fitted by six numbers
_RATIO = 0.6
_MAX_DISTANCE = 0.45  # of RootSIFT descriptors, at most 1.41
_MIN_SHIFT = 32.0  # pixels between a place and its copy
_REPROJECTION = 2.5
_SCALES = (0.5, 2.0)
_WINDOW = 11
_MIN_REACH, _MAX_REACH = 24.0, 80.0  # pixels around a match that are compared
_REACH_SHARE = 0.6  # the same before the transform is refined: of the extent of the matches
_MIN_BEFORE = 500  # pixels that agree before
_MAX_BEFORE = 3.0  # of both places before, over what coding explains
_STEPS = 5
_MAX_WORSE = 4.0  # times the least error: the steps lead away
_LEFT_OUT = 0.05  # of the pixels of a part; see `_difference`
_MIN_FINE, _MIN_COARSE = 0.4, 0.85
_MIN_HELD = 5  # matches inside the part
_MIN_HELD_SHARE = 0.5  # of the matches that agree on the transform
_MIN_AREA = 0.003  # of the picture
_MIN_PIXELS = 2600
MAX_DIFFERENCE = 1.5  # of both places, over what coding explains
_MAX_GROWN = 2.0  # the same at the rim, where the part may end
_LOOSE_COARSE = 0.4
_MOST_GROWN = 4  # times the part that was verified
_MAX_LIGHTER = 2.0  # grey values between the means of both places
_MAX_CONTRAST = 0.07  # between the spreads of both places, as a share
_LEAST_NOISE = 0.5  # grey values squared: rounding, twice
_MAX_MODELS = 4
_MOST_FLAT = 0.08  # of a part, or of it with its rim: pixels like all their neighbours; at most
# 0.04 in 46 parts copied in photographs, at least 0.11 in 20 places of drawings
# (docs/benchmarks.md, "Altered pictures")
_RIM = 7  # window that widens a part by 3 pixels: what agrees clings to letters, and paper is flat
_LOSSLESS_QUALITY = 90  # a copy within a picture saved without loss differs by less


@dataclass(frozen=True, slots=True)
class CopyMove:
    """What was found.

    Attributes:
        applies: whether the picture has enough key points to say anything.
        inliers: matches that agree on one transform.
        area: of one of the two places, in parts of the picture, as verified pixel by pixel.
        score: how much both places differ, over what coding explains: 1 as expected of a copy, at
            most 1.5; 0 where nothing was verified.
        mask: both places, shape of the view that was looked at; None if none.
        boxes: of the two places, `(x, y, w, h)` in pixels of that view.
        drawn: whether all that stands there twice is flat, as icons, letters and charts are:
            these are copies of one another by nature.
    """

    applies: bool
    inliers: int = 0
    area: float = 0.0
    score: float = 0.0
    mask: Any = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    drawn: bool = False


def find_copy(grey: "NDArray[np.uint8]", steps: Sequence[int] | None = None) -> CopyMove:
    """Look for a part that stands in the picture twice.

    Args:
        grey: luma, `uint8`, shape `(H, W)`; best of 256 to 1600 pixels a side.
        steps: the 64 luma quantisation steps of the JPEG that it comes from, in the order of
            Pillow's `quantization`; None for a picture saved without loss.
    """
    import cv2
    import numpy as np

    points, descriptors = cv2.SIFT_create(  # type: ignore[attr-defined]
        _MAX_POINTS, contrastThreshold=0.015
    ).detectAndCompute(grey, None)
    if descriptors is None or len(points) < MIN_POINTS:
        return CopyMove(False)
    places = np.array([point.pt for point in points], np.float32)
    sources, targets = _matches(places, descriptors)
    best, noise, drawn = CopyMove(True), None, False
    for _ in range(_MAX_MODELS):
        if len(sources) < _MIN_INLIERS:
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
            noise = _coding_noise(grey, steps) if noise is None else noise
            found = _verify(grey, noise, matrix, sources[inside], targets[inside])
            drawn |= found.drawn
            if found.area > best.area:
                best = found
        sources, targets = sources[~inside], targets[~inside]
    return CopyMove(True, drawn=True) if drawn and not best.area else best


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
    sources, targets = np.concatenate(one), np.concatenate(two)
    # each place finds the other: pairs of one copy, written in one direction
    back = ((targets - sources) @ np.array([1, 0.37], np.float32)) < 0
    sources[back], targets[back] = targets[back], sources[back]
    return sources, targets


def _is_plausible(matrix: Any) -> bool:
    import numpy as np

    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    turned = np.linalg.det(matrix[:, :2]) > 0
    return bool(turned and _SCALES[0] < stretch[1] and stretch[0] < _SCALES[1])


def _coding_noise(grey: Any, steps: Sequence[int] | None) -> "Floats":
    """Return by how much JPEG changes each pixel: coded once more, half a block off the grid."""
    import io

    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    moved = Image.fromarray(np.pad(grey, ((4, 0), (4, 0)), "edge"))
    if steps is None:
        moved.save(out, "JPEG", quality=_LOSSLESS_QUALITY)
    else:
        moved.save(out, "JPEG", qtables=[[min(255, max(1, int(step))) for step in steps]])
    coded = np.asarray(Image.open(out), np.float32)[4:, 4:]
    return np.asarray(coded - grey, np.float32)


def _verify(
    grey: Any, noise: "Floats", matrix: Any, sources: "Floats", targets: "Floats"
) -> CopyMove:
    """Compare both places pixel by pixel, against what coding changes.

    First one is laid over the other, then the other over the one. A copy that was turned or scaled
    lost sharpness by that; the original loses the same when it is laid over the copy, but not the
    other way round, and which of both is the copy is not known.
    """
    import cv2

    for way, places in ((matrix, targets), (cv2.invertAffineTransform(matrix), sources)):
        found = _verify_one_way(grey, noise, way, places)
        if found is None:
            break
        if found.area or found.drawn:
            return found
    return CopyMove(True, len(targets))


def _verify_one_way(grey: Any, noise: "Floats", matrix: Any, targets: "Floats") -> CopyMove | None:
    """Compare the place around `targets` with the other one, laid over it by `matrix`.

    Returns:
        None where they differ so much that the other way is not worth its time.
    """
    import cv2
    import numpy as np

    height, width = grey.shape
    plain = grey.astype(np.float32)
    laid = _laid_over(plain, matrix)
    there = _alike(laid, targets, float(np.ptp(targets, axis=0).max()) * _REACH_SHARE)
    if there.sum() < _MIN_BEFORE or _difference(plain - laid.moved, noise, there) > _MAX_BEFORE:
        return None
    matrix = _refined(plain, matrix, there)
    laid = _laid_over(plain, matrix)
    there = _alike(laid, targets, _MAX_REACH)
    pixels = int(there.sum())
    nothing = CopyMove(True, len(targets))
    if pixels < max(_MIN_PIXELS, _MIN_AREA * height * width):
        return nothing
    if there[_at(targets, there.shape)].sum() < max(_MIN_HELD, _MIN_HELD_SHARE * len(targets)):
        return nothing
    gap = plain - laid.moved
    difference = _difference(gap, noise, there)
    spread = float(plain[there].std()), float(laid.moved[there].std())
    if (
        difference > MAX_DIFFERENCE
        or abs(float(gap[there].mean())) > _MAX_LIGHTER
        or abs(spread[0] / max(spread[1], 1e-6) - 1) > _MAX_CONTRAST
    ):
        return nothing
    around = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(grey, around) == cv2.erode(grey, around)
    wider = cv2.dilate(there.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)) > 0
    if max(flat[there].mean(), flat[wider].mean()) > _MOST_FLAT:
        return CopyMove(True, len(targets), drawn=True)
    whole = _grown(there, gap, noise, laid)
    back = cv2.warpAffine(
        whole, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    boxes = tuple(tuple(int(v) for v in cv2.boundingRect(part)) for part in (whole, back))
    return CopyMove(
        True,
        len(targets),
        pixels / (height * width),
        difference,
        np.maximum(whole, back),
        boxes,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, slots=True)
class _Laid:
    """The picture laid over itself, so that one place lies over the other; all of shape `(H, W)`.

    Attributes:
        moved: luma, 0 to 255.
        inside: where the moved picture is.
        coarse, fine: local correlation of both, and of their finest detail, −1 to 1.
    """

    moved: "Floats"
    inside: Any
    coarse: "Floats"
    fine: "Floats"


def _laid_over(plain: "Floats", matrix: Any) -> _Laid:
    import cv2
    import numpy as np

    size = plain.shape[::-1]
    moved: Any = cv2.warpAffine(plain, matrix, size, flags=cv2.INTER_CUBIC)
    inside = cv2.warpAffine(np.ones_like(plain), matrix, size) > 0.99
    details = [one - cv2.GaussianBlur(one, (0, 0), 1.5) for one in (plain, moved)]
    return _Laid(moved, inside, _agreement(plain, moved), _agreement(details[0], details[1]))


def _alike(laid: _Laid, targets: "Floats", reach: float) -> Any:
    """Return the pieces that agree, lie within so many pixels of a match, and hold one."""
    import cv2
    import numpy as np

    near = np.zeros(laid.coarse.shape, np.uint8)
    for x, y in targets:
        cv2.circle(near, (int(x), int(y)), int(min(max(reach, _MIN_REACH), _MAX_REACH)), 1, -1)
    agree = (laid.coarse > _MIN_COARSE) & (laid.fine > _MIN_FINE) & laid.inside & (near > 0)
    same = cv2.morphologyEx(agree.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    same = cv2.morphologyEx(same, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    _, pieces = cv2.connectedComponents(same)
    holding = np.unique(pieces[_at(targets, same.shape)])
    return np.isin(pieces, holding[holding > 0])


def _at(places: "Floats", shape: Any) -> Any:
    """Return rows and columns of places `(x, y)`, within a picture of that shape."""
    import numpy as np

    columns, rows = np.clip(places.astype(int), 0, np.array(shape[::-1]) - 1).T
    return rows, columns


def _refined(plain: "Floats", matrix: Any, there: Any) -> Any:
    """Fit a transform to the pixels: matches are off by parts of a pixel, which sharp edges show.

    Args:
        plain: luma, shape `(H, W)`, 0 to 255.
        matrix: affine, from one place to the other, shape `(2, 3)`.
        there: the pixels of the other place that are compared, shape `(H, W)`; some are true.

    Returns:
        The transform with the least squared difference seen, at worst the one given.

    Source: S. Baker and I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 56(3),
    2004 (Gauss-Newton steps, forwards compositional).
    """
    import cv2
    import numpy as np

    x, y, width, height = cv2.boundingRect(there.astype(np.uint8))
    rows, columns = np.mgrid[y : y + height, x : x + width].astype(np.float32)
    part = there[y : y + height, x : x + width]
    wanted = plain[y : y + height, x : x + width][part]
    side = max(width, height) / 2
    # coordinates of −1 to 1, so that all six unknowns weigh alike
    units = np.array(
        [[1 / side, 0, -(x + width / 2) / side], [0, 1 / side, -(y + height / 2) / side], [0, 0, 1]]
    )
    u, v = columns[part] * units[0, 0] + units[0, 2], rows[part] * units[1, 1] + units[1, 2]
    back = np.vstack([cv2.invertAffineTransform(matrix), [0, 0, 1]])
    best, least = back, np.inf
    for step in range(_STEPS + 1):
        from_x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
        from_y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
        got = cv2.remap(
            plain, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_CUBIC
        )
        gap = wanted - got[part]
        error = float((gap * gap).mean())
        if error < least:
            best, least = back, error
        if step == _STEPS or error > _MAX_WORSE * least:
            break
        right = cv2.Sobel(got, cv2.CV_32F, 1, 0, scale=1 / 8)[part]
        down = cv2.Sobel(got, cv2.CV_32F, 0, 1, scale=1 / 8)[part]
        slopes = np.stack([right * u, right * v, right, down * u, down * v, down], 1)
        moves = np.linalg.lstsq(slopes.T @ slopes, slopes.T @ gap, rcond=None)[0]
        change = np.eye(3)
        change[:2] += moves.reshape(2, 3) / side
        back = back @ np.linalg.inv(units) @ change @ units
    return cv2.invertAffineTransform(best[:2])


def _difference(gap: "Floats", noise: "Floats", there: Any) -> float:
    """Return how much two places differ, over what coding of both explains; 1 as expected.

    The pixels around which it differs most are left out: what agrees reaches a little over the rim
    of a part, where sharp letters differ by a hundred times more than coding explains.
    """
    import cv2
    import numpy as np

    energy = gap * gap
    explained = 2 * noise * noise + _LEAST_NOISE
    local = (cv2.blur(energy, (5, 5)) / cv2.blur(explained, (9, 9)))[there]
    kept = local <= np.quantile(local, 1 - _LEFT_OUT)
    return float(np.sqrt(energy[there][kept].mean() / explained[there][kept].mean()))


def _grown(there: Any, gap: "Floats", noise: "Floats", laid: _Laid) -> Any:
    """Grow a part into what coding makes it differ, to its rim, and fill its holes.

    What is flat agrees with all that is flat, so nothing grows by flat places alone.
    """
    import cv2
    import numpy as np

    explained = 2 * cv2.blur(noise * noise, (9, 9)) + _LEAST_NOISE
    alike = (cv2.blur(gap * gap, (5, 5)) < _MAX_GROWN**2 * explained) & laid.inside
    loose = (alike & (laid.coarse > _LOOSE_COARSE)) | there
    held: Any = cv2.morphologyEx(loose.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, pieces = cv2.connectedComponents(cv2.dilate(held, np.ones((5, 5), np.uint8)))
    kept = np.unique(pieces[there > 0])
    whole: Any = np.asarray(held * np.isin(pieces, kept[kept > 0]), np.uint8)
    if int(whole.sum()) > _MOST_GROWN * int(there.sum()):
        whole = there.astype(np.uint8)
    whole = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, np.ones((21, 21), np.uint8))
    outer, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(whole, outer, -1, 1, -1)
    rim = cv2.dilate(whole, np.ones((_WINDOW, _WINDOW), np.uint8)) & alike
    whole = cv2.morphologyEx(
        whole | rim.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)
    )
    # a window of 5 sees what lies outside from 2 pixels inside the rim on
    return cv2.dilate(whole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))


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
