"""Find faces: where they are and how many, never whose they are.

Two models of BlazeFace look: one for faces that fill a good part of the picture, at the whole of
it; one for smaller ones, at the whole and at overlapping tiles. Both also look at the picture
turned by a quarter, for faces that lie on their side. Neither measures anything that could tell one
person from another.

Source: V. Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs",
2019, arXiv:1907.05047 (anchors, boxes); weights: MediaPipe, back-camera and full-range model,
Apache-2.0, see `weights/faces.card.json` and `weights/faces_far.card.json`. Levels and tiles:
docs/benchmarks.md, "Privacy".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Found = tuple[float, float, float, float, float]
"""Box in pixels of a view, `(x, y, w, h)`, and score."""

__all__ = [
    "MIN_SCORE_TURNED",
    "MIN_SCORE_UPRIGHT",
    "MIN_SCORE_WHOLE",
    "Face",
    "FaceDetector",
    "FacesAnalyzer",
    "grown",
]

_NEAR, _FAR = "audit/faces", "audit/faces_far"
MIN_SCORE_WHOLE = 0.75
"""Of a face that the near model sees in the whole picture."""
MIN_SCORE_UPRIGHT = 0.63
"""Of a face that the far model sees."""
MIN_SCORE_TURNED = 0.75
"""Of a face that the far model sees lying on its side."""
_MAX_VIEW = 4096  # so that faces of 18 pixels are seen in a picture of 12 megapixels
_MIN_TILE = 144  # so that a face of 18 pixels has 13 or more of the model's side
_TURNED_TILES = 4  # turned, only tiles of at least such a part of the longest side are looked at
_MIN_SHARE_NEAR = 0.07  # of a view's side: below it the model guesses
_MIN_SHARE_FAR = 0.05
_MIN_FACE = 8  # pixels
_MAX_OVERLAP = 0.3
_MAX_FACES = 200
_TURNS = (0, 1, 3)  # quarters, counterclockwise


@dataclass(frozen=True, slots=True)
class Face:
    """One face: `(x, y, w, h)` in pixels of the upright picture, and the model's raw score."""

    box: tuple[int, int, int, int]
    score: float


class _Model:
    """One of the two models, loaded on first use.

    Args:
        name: of its weights.
        side: of the square that it looks at, in pixels.
        grids: cells a side and boxes a cell, of each of its grids.
        least: share of the view below which it guesses.
    """

    def __init__(
        self, name: str, side: int, grids: tuple[tuple[int, int], ...], least: float
    ) -> None:
        self.name = name
        self.side = side
        self.grids = grids
        self.least = least

    @cached_property
    def _session(self) -> Any:
        from counterproof import weights

        return weights.open(self.name).session

    @cached_property
    def _anchors(self) -> "NDArray[np.float32]":
        import numpy as np

        rows = [
            ((x + 0.5) / cells, (y + 0.5) / cells)
            for cells, count in self.grids
            for y in range(cells)
            for x in range(cells)
            for _ in range(count)
        ]
        return np.array(rows, dtype=np.float32)  # [boxes, xy]

    def look(self, view: "Pixels", at: tuple[int, int, int], least: float) -> Iterator[Found]:
        """Yield the boxes of at least a score in one square of the view."""
        import cv2
        import numpy as np

        x, y, side = at
        part = view[y : y + side, x : x + side]
        square = np.zeros((side, side, 3), np.uint8)
        square[: part.shape[0], : part.shape[1]] = part
        shrink = cv2.INTER_AREA if side > self.side else cv2.INTER_LINEAR
        small = cv2.resize(square, (self.side, self.side), interpolation=shrink)
        batch = (small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]  # [NCHW]
        raw, logits = self._session.run(None, {"input": batch})
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))
        rows = raw[0, :, :4] / self.side  # [boxes, cx cy w h]
        rows[:, :2] += self._anchors
        for number in np.flatnonzero((scores >= least) & (rows[:, 2] >= self.least)):
            cx, cy, w, h = (float(value) * side for value in rows[number])
            yield x + cx - w / 2, y + cy - h / 2, w, h, float(scores[number])


class FaceDetector:
    """Both models."""

    def __init__(self) -> None:
        self._near = _Model(_NEAR, 256, ((16, 2), (8, 6)), _MIN_SHARE_NEAR)
        self._far = _Model(_FAR, 192, ((48, 1),), _MIN_SHARE_FAR)

    def find(self, pixels: "Pixels") -> list[Face]:
        """Find faces, strongest first, at most 200.

        Args:
            pixels: `uint8` RGB, shape `(H, W, 3)`, upright.
        """
        import cv2
        import numpy as np

        height, width = pixels.shape[:2]
        scale = min(1.0, _MAX_VIEW / max(height, width))
        view = pixels
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            view = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        found: list[Face] = []
        for turn in _TURNS:
            turned = np.ascontiguousarray(np.rot90(view, turn))
            for x, y, w, h, score in self._search(turned, turn > 0):
                x, y, w, h = _turned_back((x, y, w, h), turn, view.shape[1], view.shape[0])
                left, top = max(0.0, x / scale), max(0.0, y / scale)
                right = min(float(width), (x + w) / scale)
                bottom = min(float(height), (y + h) / scale)
                if right - left >= _MIN_FACE and bottom - top >= _MIN_FACE:
                    place = (round(left), round(top), round(right - left), round(bottom - top))
                    found.append(Face(place, round(score, 3)))
        return _distinct(sorted(found, key=lambda face: -face.score))

    def _search(self, view: "Pixels", is_turned: bool) -> Iterator[Found]:
        """Look at a view with both models."""
        height, width = view.shape[:2]
        longest = max(width, height)
        yield from self._near.look(view, (0, 0, longest), MIN_SCORE_WHOLE)
        least = MIN_SCORE_TURNED if is_turned else MIN_SCORE_UPRIGHT
        for at in _squares(width, height):
            if not is_turned or at[2] * _TURNED_TILES >= longest:
                yield from self._far.look(view, at, least)


def _squares(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Yield squares to look at, `(x, y, side)`: the whole, then halves, overlapping by a third."""
    side = max(width, height)
    yield 0, 0, side
    side //= 2
    while side >= _MIN_TILE:
        step = side * 2 // 3
        for y in range(0, max(1, height - side // 3), step):
            for x in range(0, max(1, width - side // 3), step):
                yield x, y, side
        side //= 2


def _turned_back(
    box: tuple[float, float, float, float], turn: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Return a box of a view that was turned by quarters as it lies in the view itself.

    Args:
        box: `(x, y, w, h)` in the turned view.
        turn: quarters, counterclockwise: 0, 1 or 3.
        width: of the view itself.
        height: of the view itself.
    """
    x, y, w, h = box
    if turn == 1:
        return width - y - h, x, h, w
    if turn == 3:
        return y, height - x - w, h, w
    return box


def _distinct(faces: list[Face]) -> list[Face]:
    kept: list[Face] = []
    for face in faces:
        if all(_overlap(face.box, other.box) < _MAX_OVERLAP for other in kept):
            kept.append(face)
            if len(kept) >= _MAX_FACES:
                break
    return kept


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the shared area in parts of the smaller box."""
    w = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    h = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, w) * max(0, h) / max(1, min(one[2] * one[3], other[2] * other[3]))


def grown(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Return a box grown to take in hair and chin, inside the picture."""
    x, y, w, h = box
    left, right = max(0, x - w // 4), min(width, x + w + w // 4)
    top, bottom = max(0, y - h // 2), min(height, y + h + h // 4)
    return left, top, right - left, bottom - top


class FacesAnalyzer(Analyzer):
    """Locates and counts faces."""

    name: ClassVar[str] = "faces"
    version: ClassVar[str] = "4"
    prefixes: ClassVar[tuple[str, ...]] = ("privacy",)
    stage: ClassVar[Stage] = Stage.DEEP
    timeout_s: ClassVar[float] = 60.0

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._detector = FaceDetector()

    def digest(self) -> str:
        """Return the digests of both models, joined."""
        from counterproof import weights

        return "".join(weights.open(name).card.files[0].sha256 for name in (_NEAR, _FAR))

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield `privacy.faces` with a region for each face.

        Raises:
            ImageError: if the picture cannot be decoded.
        """
        found = self._detector.find(image.pixels())
        if found:
            yield Finding(
                self.name,
                "privacy.faces",
                Claim.PERSONAL_DATA,
                Basis.STATISTICAL,
                Severity.MEDIUM,
                regions=tuple(face.box for face in found),
                details={"n": len(found), "score": found[0].score},
            )
