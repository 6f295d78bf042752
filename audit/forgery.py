"""Signs in the pixels that a part was changed: the analyzer `forgery`, profile `deep`.

Each method answers *supports*, *no support* or *not applicable* (fact `forgery.METHOD`), with what
it needs; a finding is made only where one supports. Silence means nothing: most changes leave
neither sign. How strongly a foreign grid speaks is capped by the number of photographs on which the
method was measured (`details.likelihood`). A copied part was also found in too many innocent
photographs, those of printed things above all: it is shown, and moves no status.

Source: scale of likelihood words after ENFSI guideline for evaluative reporting (2015), table 1;
figures from docs/benchmarks.md, "Altered pictures".
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Blob, Claim, Fact, Finding, Severity
from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["ForgeryAnalyzer", "likelihood_word"]

_COPY, _GRID = "forgery.copy_move", "forgery.grid"
_COPY_MAP, _GRID_MAP = "copy-move.png", "block-grid.png"
_MAX_GRID_PIXELS = 24_000_000
_MAP_SIDE = 960
_MAP_COLOUR = (255, 140, 0)  # orange, half transparent
_SOURCE_FORMATS = ("jpeg", "png", "webp", "bmp", "tiff")
# lower end of the share found and upper end of the share accused, 95 %: see the benchmark
GRID_RATES = (0.88, 0.0117)


class ForgeryAnalyzer(Analyzer):
    """Looks for parts that stand twice in a picture, or have a JPEG grid of their own."""

    name: ClassVar[str] = "forgery"
    prefixes: ClassVar[tuple[str, ...]] = ("forgery",)
    stage: ClassVar[Stage] = Stage.DEEP
    timeout_s: ClassVar[float] = 60.0

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield the answer of each method, and findings with maps where one supports.

        Raises:
            ImageError: if the picture cannot be decoded.
        """
        pixels = image.pixels()
        yield from self._copy_move(image)
        yield from self._grid(image, pixels)

    def _copy_move(self, image: ImageFile) -> Iterator[Observation]:
        from counterproof.audit.copy_move import MAX_SIDE, MIN_SIDE, find_copy

        grey = image.luminance(MAX_SIDE)
        if min(grey.shape) < MIN_SIDE:
            yield Fact(_COPY, "not_applicable: too small")
            return
        found = find_copy(grey)
        if not found.applies:
            yield Fact(_COPY, "not_applicable: too little detail")
            return
        yield Fact(_COPY, "supports" if found.area else "no_support")
        if found.area:
            scale = image.info.width / grey.shape[1]
            yield Blob(_COPY_MAP, "image/png", _map(found.mask, image))
            yield Finding(
                self.name,
                "forgery.copy_move",
                Claim.EDITED,  # moves no status: printed things often stand there twice
                Basis.HEURISTIC,
                Severity.LOW,
                regions=tuple(_scaled(box, scale, image) for box in found.boxes),
                evidence=(_COPY_MAP,),
                details={
                    "score": round(found.score, 3),
                    "inliers": found.inliers,
                    "area": round(found.area, 4),
                },
            )

    def _grid(self, image: ImageFile, pixels: "Pixels") -> Iterator[Observation]:
        from counterproof.audit.jpeg_grid import MIN_SIDE, find_foreign_grid

        height, width = pixels.shape[:2]
        if min(height, width) < MIN_SIDE or height * width > _MAX_GRID_PIXELS:
            yield Fact(_GRID, "not_applicable: size")
            return
        if image.format not in _SOURCE_FORMATS:
            yield Fact(_GRID, "not_applicable: not coded in blocks of 8 or without loss")
            return
        found = find_foreign_grid(_luma(pixels))
        if found.main is None:
            yield Fact(_GRID, "not_applicable: shows no block grid, or several as after scaling")
            return
        yield Fact(_GRID, "supports" if found.foreign else "no_support")
        if found.foreign:
            yield Blob(_GRID_MAP, "image/png", _map(found.mask, image))
            yield Finding(
                self.name,
                "forgery.grid",
                Claim.ALTERED,
                Basis.STATISTICAL,
                Severity.MEDIUM,
                regions=found.boxes,
                evidence=(_GRID_MAP,),
                details={
                    "score": round(found.log_nfa, 1),
                    "grid": list(found.main),
                    "foreign_grid": list(found.foreign),
                    "likelihood": likelihood_word(*GRID_RATES),
                },
            )


def likelihood_word(found: float, accused: float) -> str:
    """Say how strongly a finding can speak at most, by the measured ends of two intervals.

    Args:
        found: lower end of the share of changed pictures that are found.
        accused: upper end of the share of innocent pictures that are accused.

    >>> likelihood_word(0.83, 0.03), likelihood_word(0.95, 0.5), likelihood_word(0.95, 0.005)
    ('moderate', 'limited', 'moderately strong')
    """
    ratio = found / accused if accused > 0 else 1.0
    for least, word in ((1000, "strong"), (100, "moderately strong"), (10, "moderate")):
        if ratio >= least:
            return word
    return "limited"


def _luma(pixels: "Pixels") -> "NDArray[np.float32]":
    import numpy as np

    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(pixels.astype(np.float32) @ weights, np.float32)


def _scaled(
    box: tuple[int, int, int, int], scale: float, image: ImageFile
) -> tuple[int, int, int, int]:
    x, y, w, h = (round(value * scale) for value in box)
    width, height = image.info.width, image.info.height
    x, y = min(x, width - 1), min(y, height - 1)
    return x, y, max(1, min(w, width - x)), max(1, min(h, height - y))


def _map(mask: Any, image: ImageFile) -> bytes:
    """Draw a mask, of whatever size it is, as a picture to lay over the view."""
    import io

    import cv2
    import numpy as np
    from PIL import Image

    width, height = image.info.width, image.info.height
    scale = min(1.0, _MAP_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    rgba = np.zeros((*shown.shape, 4), np.uint8)
    rgba[shown > 0] = (*_MAP_COLOUR, 150)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", optimize=True)
    return out.getvalue()
