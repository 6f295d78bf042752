"""Local features of a picture, small enough to keep a million pictures, and their geometry.

SIFT (Lowe, IJCV 2004) through OpenCV, taken evenly over the picture and over coarse and fine
scales, so that a small part, or the picture made small, still finds some of them. The root of
each descriptor (RootSIFT: Arandjelović and Zisserman, CVPR 2012) is turned by a cosine transform
over its 4 × 4 cells and a Fourier transform over its 8 directions; the 32 lowest coefficients
are kept, mixed by a Hadamard transform so that all spread alike. That needs no training. A query
keeps them at 8 bits; a reference at 4, near the least error that 4 bits allow for a normal spread
(Max, "Quantizing for Minimum Distortion", IRE Trans. IT 1960, table II), so that it takes 5 KB.

A mirrored picture has the same descriptors in another order, so that a query is read once.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Matrix = NDArray[np.float64]

__all__ = [
    "ALGORITHM",
    "CODE",
    "MAX_REFERENCE",
    "PACKED",
    "QUERY_SIDE",
    "REFERENCE_SIDE",
    "Features",
    "Fit",
    "decoded",
    "extract",
    "fit",
]

ALGORITHM = "counterproof.rootsift32.2"
DIMENSIONS = 32
CODE = DIMENSIONS // 2
"""Bytes of a reference's descriptor."""
PACKED = 4 + CODE
"""Bytes of one feature of a reference, with its place."""
MAX_REFERENCE = 250
"""Features kept of a reference."""
MAX_QUERY = 900
REFERENCE_SIDE = 512
QUERY_SIDE = 800
"""Longest sides in pixels at which a reference and a query are read. A query is read larger,
because what it shows of the reference may be a small part of it."""

_TILES = 5
_COARSE = 6.0  # diameter in pixels from which a feature outlives shrinking to a third
_CONTRAST = 0.015  # half of Lowe's, so that blurred and dark copies have features as well
_SCALE = 254.0  # of coefficients, to 8 bits
_STEP = 9  # of 4 bits: a third of the spread, 26, of 200 photographs' coefficients
_RATIO = 0.86  # best over second best distance, more lenient than Lowe's: geometry decides
_LOOSE_PX, _TIGHT_PX = 12.0, 6.0
_MAX_SCALE = 12.0
_MAX_STRETCH = 2.3  # an upright picture in a lying tile of a collage is stretched by 2
_FEW = 20  # inliers below which a placement that stretches is tried as well


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one picture.

    Attributes:
        points: x and y as shares of the width and height, `float32`, shape (N, 2).
        words: descriptors, `int8`, shape (N, 32).
        mirrored: the descriptors that the mirrored picture would have; empty for references.
    """

    points: "Floats"
    words: "NDArray[np.int8]"
    mirrored: "NDArray[np.int8]"

    def pack(self) -> bytes:
        """Return the features as bytes: 4 for the place, 16 for the descriptor of each."""
        places = np.clip(np.round(self.points * 65535), 0, 65535).astype("<u2")
        return np.hstack([places.view(np.uint8), _encoded(self.words)]).tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> "Features":
        """Read what `pack` wrote; the descriptors lost half of their bits."""
        table = np.frombuffer(data, dtype=np.uint8).reshape(-1, PACKED)
        places = np.ascontiguousarray(table[:, :4]).view("<u2").astype(np.float32)
        words = decoded(table[:, 4:])
        return cls(places / np.float32(65535), words, words[:0])


@dataclass(frozen=True, slots=True)
class Fit:
    """How a reference lies in a query.

    Attributes:
        inliers: features at different places that agree with one placement.
        matrix: 2 × 3, from pixels of the reference to pixels of the query, at full size.
        kept: share of the reference's area that the query shows.
        covered: share of the query's area that the reference fills.
        region: `(x, y, w, h)` of the query that the reference fills, in its pixels.
        source: `(x, y, w, h)` of the reference that the query shows, in its pixels.
    """

    inliers: int
    matrix: "Matrix"
    kept: float
    covered: float
    region: tuple[int, int, int, int]
    source: tuple[int, int, int, int]

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def angle_deg(self) -> float:
        """By how much the copy is turned with the clock, after mirroring left to right."""
        a = self.matrix[:, :2] @ np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        return float(np.degrees(np.arctan2(a[1, 0] - a[0, 1], a[0, 0] + a[1, 1])))

    @property
    def scale(self) -> float:
        """Size of the copy over that of the reference."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))


def extract(grey: "Grey", most: int, *, query: bool = False) -> Features:
    """Find the features of a picture.

    Args:
        grey: luminance, shape (H, W); at most `REFERENCE_SIDE` or `QUERY_SIDE` a side.
        most: how many to keep.
        query: whether the mirrored descriptors are wanted as well.

    Returns:
        At most `most` features; none of an even surface.
    """
    import cv2

    none = Features(
        np.zeros((0, 2), np.float32),
        np.zeros((0, DIMENSIONS), np.int8),
        np.zeros((0, DIMENSIONS), np.int8),
    )
    height, width = grey.shape
    if min(height, width) < 12:
        return none
    grow = 2 if max(height, width) < 160 else 1  # few features live in a very small picture
    if grow > 1:
        size = (width * grow, height * grow)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    finder = cv2.SIFT_create(0, 3, _CONTRAST)  # type: ignore[attr-defined]
    found = finder.detect(grey, None)
    kept = _evenly(found, (width * grow, height * grow), most)
    if not kept:
        return none
    kept, raw = finder.compute(grey, kept)
    if raw is None or not len(raw):
        return none
    points = np.array([point.pt for point in kept], dtype=np.float32)
    points /= np.array([width * grow, height * grow], dtype=np.float32)
    raw = np.asarray(raw, dtype=np.float32)
    mirrored = _words(_mirror(raw)) if query else none.words
    return Features(points, _words(raw), mirrored)


def _evenly(found: "tuple[object, ...]", size: tuple[int, int], most: int) -> "list[object]":
    """Keep the strongest of each tile in turn, half of them coarse."""
    if not found:
        return []
    table = np.array([(*p.pt, p.size, p.response) for p in found])  # type: ignore[attr-defined]
    column = np.minimum((table[:, 0] * _TILES / size[0]).astype(int), _TILES - 1)
    row = np.minimum((table[:, 1] * _TILES / size[1]).astype(int), _TILES - 1)
    coarse = table[:, 2] >= _COARSE
    chosen: list[int] = []
    for kind, room in ((coarse, most // 2), (~coarse, most)):
        members = np.flatnonzero(kind)
        order = members[np.argsort(-table[members, 3], kind="stable")]
        tile = (row * _TILES + column)[order]
        rank = np.zeros(len(order), dtype=int)
        for number in range(_TILES * _TILES):
            inside = np.flatnonzero(tile == number)
            rank[inside] = np.arange(len(inside))
        by_turn = order[np.argsort(rank, kind="stable")]
        chosen += by_turn[: min(room, most - len(chosen))].tolist()
    if len(chosen) < most:  # few fine ones: the rest of the coarse
        left = np.setdiff1d(np.arange(len(found)), chosen)
        strongest = left[np.argsort(-table[left, 3], kind="stable")]
        chosen += strongest[: most - len(chosen)].tolist()
    return [found[i] for i in chosen]


def _mirror(raw: "Floats") -> "Floats":
    """Return the descriptors of the mirrored picture: rows and directions turned around."""
    cells = raw.reshape(-1, 4, 4, 8)
    return cells[:, ::-1][..., (0, 7, 6, 5, 4, 3, 2, 1)].reshape(-1, 128)


def _encoded(words: "NDArray[np.int8]") -> "NDArray[np.uint8]":
    """Return 4 bits of each coefficient, two in a byte, shape (N, 16)."""
    steps = np.clip(np.floor_divide(words, np.int8(_STEP)), -8, 7).astype(np.uint8) & 15
    return np.asarray(steps[:, ::2] | steps[:, 1::2] << 4, dtype=np.uint8)


def decoded(codes: "NDArray[np.uint8]") -> "NDArray[np.int8]":
    """Return the descriptors, shape (N, 32), that were kept as `CODE` bytes each."""
    return np.asarray(_values()[codes].view(np.int8).reshape(len(codes), DIMENSIONS))


@cache
def _values() -> "NDArray[np.uint16]":
    """Return for each byte the two coefficients that it stands for, side by side."""
    byte = np.arange(256)
    steps = np.stack([byte & 15, byte >> 4], axis=1)
    values = ((steps + 8) % 16 - 8) * _STEP + _STEP // 2
    return values.astype(np.int8).view(np.uint16)[:, 0]


def _words(raw: "Floats") -> "NDArray[np.int8]":
    rooted = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    turned = rooted @ _basis()
    return np.asarray(np.clip(np.round(turned * _SCALE), -127, 127), dtype=np.int8)


@cache
def _basis() -> "Floats":
    """Return the transform, shape (128, 32): low frequencies over cells and directions.

    Kept are the 32 lowest of the 127 (without the mean), by the sum of the squared frequencies
    over rows and columns and 1.2 times that over directions: where gradients of photographs
    have most of their variance, as those of any smooth signal.
    """
    place = np.arange(4)
    cosine = np.cos(np.pi * (place[None, :] + 0.5) * place[:, None] / 4)
    cosine /= np.linalg.norm(cosine, axis=1, keepdims=True)
    angle = 2 * np.pi * np.arange(8) / 8
    waves = [np.ones(8)]
    for frequency in (1, 2, 3, 4):
        waves += [np.cos(frequency * angle)]
        waves += [np.sin(frequency * angle)] if frequency < 4 else []
    fourier = np.array(waves) / np.linalg.norm(waves, axis=1, keepdims=True)
    step = [0, 1, 1, 2, 2, 3, 3, 4]
    order = sorted(
        (
            (r * r + c * c + 1.2 * step[o] ** 2, r, c, o)
            for r in range(4)
            for c in range(4)
            for o in range(8)
            if (r, c, o) != (0, 0, 0)
        ),
    )[:DIMENSIONS]
    rows = [
        np.einsum("i,j,k->ijk", cosine[r], cosine[c], fourier[o]).ravel() for _, r, c, o in order
    ]
    mixed = np.ones((1, 1))
    while len(mixed) < DIMENSIONS:  # Sylvester's construction
        mixed = np.block([[mixed, mixed], [mixed, -mixed]])
    return np.asarray((mixed / np.sqrt(DIMENSIONS) @ rows).T, dtype=np.float32)


def fit(
    query: Features,
    reference: Features,
    query_size: tuple[int, int],
    reference_size: tuple[int, int],
    *,
    mirrored: bool,
) -> Fit | None:
    """Lay a reference over a query, if enough of their features agree on one placement.

    Args:
        query: with mirrored descriptors if `mirrored` is asked for.
        reference: as kept in the index.
        query_size: width and height in pixels, at full size.
        reference_size: the same of the reference.
        mirrored: whether the query is tried mirrored left to right.

    Returns:
        The placement with most inliers; None if there is none with 4 or more.
    """
    import cv2

    words = query.mirrored if mirrored else query.words
    if len(words) < 4 or len(reference.words) < 4:
        return None
    # both frames at a longest side of 512 pixels, so that tolerances mean the same
    to_query = 512 / max(query_size)
    to_reference = 512 / max(reference_size)
    places = query.points * np.array(query_size, np.float32) * np.float32(to_query)
    origin = reference.points * np.array(reference_size, np.float32) * np.float32(to_reference)
    if mirrored:
        places = places.copy()
        places[:, 0] = query_size[0] * to_query - places[:, 0]
    one, other = _pairs(words, reference.words, places)
    if len(one) < 4:
        return None
    source, target = origin[other].astype(np.float64), places[one].astype(np.float64)
    cv2.setRNGSeed(1)
    reach = _LOOSE_PX / 2
    similar, agree = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=reach, maxIters=3000
    )
    matrix = _settled(similar, source, target)
    if len(source) >= 6 and (agree is None or int(agree.sum()) < _FEW):
        free, _ = cv2.estimateAffine2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=reach, maxIters=1000
        )
        stretched = _settled(free, source, target)
        if _count(stretched, source, target) > _count(matrix, source, target) + 3:
            matrix = stretched
    if matrix is None:
        return None
    near = _errors(matrix, source, target) < _TIGHT_PX
    inliers = min(_distinct(source[near]), _distinct(target[near]))
    if inliers < 4:
        return None
    back = np.diag([1 / to_query, 1 / to_query])
    full = back @ matrix @ np.diag([to_reference, to_reference, 1.0])
    if mirrored:
        full[0] = [-full[0, 0], -full[0, 1], query_size[0] - full[0, 2]]
    return _place(inliers, full, query_size, reference_size)


def _settled(start: object, source: "Matrix", target: "Matrix") -> "Matrix | None":
    """Fit a placement to what agrees with it, thrice; None if it is unsound or few agree."""
    if start is None:
        return None
    matrix = np.asarray(start, dtype=np.float64)
    for reach in (_LOOSE_PX, _TIGHT_PX, _TIGHT_PX):
        near = _errors(matrix, source, target) < reach
        if near.sum() < 4:
            return None
        if near.sum() >= 6:
            homogeneous = np.hstack([source[near], np.ones((int(near.sum()), 1))])
            solved = np.linalg.lstsq(homogeneous, target[near], rcond=None)[0]
            free = np.asarray(solved.T, dtype=np.float64)
            if _is_sound(free):
                matrix = free
    return matrix if _is_sound(matrix) else None


def _count(matrix: "Matrix | None", source: "Matrix", target: "Matrix") -> int:
    if matrix is None:
        return 0
    near = _errors(matrix, source, target) < _TIGHT_PX
    return min(_distinct(source[near]), _distinct(target[near]))


def _pairs(
    words: "NDArray[np.int8]", others: "NDArray[np.int8]", places: "Floats"
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Match each feature of the reference with the query's nearest, if clearly the nearest."""
    a, b = words.astype(np.float32), others.astype(np.float32)
    squares = (a * a).sum(axis=1)[None, :] + (b * b).sum(axis=1)[:, None] - 2 * (b @ a.T)
    best = squares.argmin(axis=1)
    rows = np.arange(len(b))
    nearest = np.maximum(squares[rows, best], 0)
    # the second best lies elsewhere: one place may have several directions
    few = min(8, squares.shape[1])
    runners = np.argpartition(squares, few - 1, axis=1)[:, :few]
    apart = np.abs(places[runners] - places[best][:, None, :]).max(axis=2) > 4.0
    values = np.where(apart, np.take_along_axis(squares, runners, axis=1), np.inf)
    second = values.min(axis=1)
    second[~np.isfinite(second)] = np.take_along_axis(squares, runners, axis=1).max(axis=1)[
        ~np.isfinite(second)
    ]
    kept = np.flatnonzero(nearest < _RATIO * _RATIO * second)
    return best[kept], kept


def _errors(matrix: "Matrix", source: "Matrix", target: "Matrix") -> "Matrix":
    moved = source @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(np.linalg.norm(moved - target, axis=1))


def _is_sound(matrix: "Matrix") -> bool:
    """Tell whether a placement neither folds, nor stretches, nor shrinks beyond sense."""
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) <= 0:
        return False
    large, small = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(large < _MAX_STRETCH * small and 1 / _MAX_SCALE < large < _MAX_SCALE)


def _distinct(points: "Matrix") -> int:
    """Count places that are more than 4 pixels apart, by a grid."""
    return len(np.unique(np.round(points / 4).astype(int), axis=0))


def _place(
    inliers: int,
    matrix: "Matrix",
    query_size: tuple[int, int],
    reference_size: tuple[int, int],
) -> Fit | None:
    import cv2

    def frame(size: tuple[int, int]) -> "Floats":
        w, h = size
        return np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)

    ahead = cv2.transform(frame(reference_size)[None], matrix)[0]
    inverse = cv2.invertAffineTransform(matrix)
    back = cv2.transform(frame(query_size)[None], inverse)[0]
    seen, part = cv2.intersectConvexConvex(back.astype(np.float32), frame(reference_size))
    filled, region = cv2.intersectConvexConvex(ahead.astype(np.float32), frame(query_size))
    if part is None or region is None or not len(part) or not len(region):
        return None
    return Fit(
        inliers,
        matrix,
        min(1.0, float(seen) / (reference_size[0] * reference_size[1])),
        min(1.0, float(filled) / (query_size[0] * query_size[1])),
        _box(region),
        _box(part),
    )


def _box(points: object) -> tuple[int, int, int, int]:
    table = np.asarray(points).reshape(-1, 2)
    (x0, y0), (x1, y1) = np.round(table.min(axis=0)), np.round(table.max(axis=0))
    return int(x0), int(y0), int(x1 - x0), int(y1 - y0)
