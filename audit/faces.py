"""Find faces: where they are and how many, never whose they are.

BlazeFace looks at the whole picture and at overlapping tiles of it, so that small faces are
seen too. It measures nothing that could tell one person from another.

Source: V. Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs",
2019, arXiv:1907.05047 (anchors, boxes); weights: MediaPipe, back-camera model, Apache-2.0, see
`weights/faces.card.json`.
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

__all__ = ["MIN_SCORE_TILE", "MIN_SCORE_WHOLE", "Face", "FaceDetector", "FacesAnalyzer", "grown"]

SIDE = 256
_STRIDES = ((16, 2), (8, 6))  # grid cells a side, anchors a cell
_MAX_VIEW = 4096  # so that faces of 18 pixels are seen in a picture of 12 megapixels
MIN_SCORE_WHOLE = 0.75
MIN_SCORE_TILE = 0.8
_MIN_TILE = 128  # enlarged to the model's side, for faces from about 18 pixels on
_MIN_SHARE = 0.07  # of a view's side: below it the model guesses
_MAX_OVERLAP = 0.3
_MAX_FACES = 200


@dataclass(frozen=True, slots=True)
class Face:
    """One face: `(x, y, w, h)` in pixels of the upright picture, and the model's raw score."""

    box: tuple[int, int, int, int]
    score: float


class FaceDetector:
    """The model, loaded on first use."""

    @cached_property
    def _session(self) -> Any:
        from counterproof import weights

        return weights.open("audit/faces").session

    @cached_property
    def _anchors(self) -> "NDArray[np.float32]":
        import numpy as np

        rows = [
            ((x + 0.5) / cells, (y + 0.5) / cells)
            for cells, count in _STRIDES
            for y in range(cells)
            for x in range(cells)
            for _ in range(count)
        ]
        return np.array(rows, dtype=np.float32)  # [896, xy]

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
        for x, y, side, least in _views(view.shape[1], view.shape[0]):
            for cx, cy, w, h, score in self._look(view, x, y, side):
                if score < least or w < _MIN_SHARE:
                    continue
                box = (x + (cx - w / 2) * side, y + (cy - h / 2) * side, w * side, h * side)
                left, top = max(0.0, box[0] / scale), max(0.0, box[1] / scale)
                right = min(float(width), (box[0] + box[2]) / scale)
                bottom = min(float(height), (box[1] + box[3]) / scale)
                if right - left >= 8 and bottom - top >= 8:
                    place = (round(left), round(top), round(right - left), round(bottom - top))
                    found.append(Face(place, round(float(score), 3)))
        return _distinct(sorted(found, key=lambda face: -face.score))

    def _look(self, view: "Pixels", x: int, y: int, side: int) -> "NDArray[np.float32]":
        """Return rows of centre, size (parts of the view's side) and score."""
        import cv2
        import numpy as np

        part = view[y : y + side, x : x + side]
        square = np.zeros((side, side, 3), np.uint8)
        square[: part.shape[0], : part.shape[1]] = part
        shrink = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
        small = cv2.resize(square, (SIDE, SIDE), interpolation=shrink)
        batch = (small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]  # [NCHW]
        raw, logits = self._session.run(None, {"input": batch})
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))
        rows = raw[0, :, :4] / SIDE  # [896, cx cy w h]
        rows[:, :2] += self._anchors
        joined = np.concatenate([rows, scores[:, None]], axis=1).astype(np.float32)
        return np.asarray(joined[scores >= MIN_SCORE_WHOLE], dtype=np.float32)


def _views(width: int, height: int) -> Iterator[tuple[int, int, int, float]]:
    """Yield squares to look at, `(x, y, side)`, and the least score that counts there."""
    longest = max(width, height)
    yield 0, 0, longest, MIN_SCORE_WHOLE
    side = longest // 2
    while side >= _MIN_TILE:
        step = side * 2 // 3
        for y in range(0, max(1, height - side // 3), step):
            for x in range(0, max(1, width - side // 3), step):
                yield x, y, side, MIN_SCORE_TILE
        side //= 2


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
    version: ClassVar[str] = "3"
    prefixes: ClassVar[tuple[str, ...]] = ("privacy",)
    stage: ClassVar[Stage] = Stage.DEEP
    timeout_s: ClassVar[float] = 60.0

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._detector = FaceDetector()

    def digest(self) -> str:
        """Return the digest of the model."""
        from counterproof import weights

        return weights.open("audit/faces").card.files[0].sha256

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
