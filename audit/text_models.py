"""Run the models that find lines of text and read them: PP-OCR, as the package rapidocr ships it.

Only the model files of that package are used; none of its code is loaded, which would bring an
HTTP client with it. Each file is compared with its SHA-256 and run by onnxruntime on one thread.

Sources: M. Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020,
arXiv:1911.08947 (maps to boxes); A. Graves et al., "Connectionist Temporal Classification", 2006
(best path); sizes, levels and normalisation as in the `config.yaml` of rapidocr 3.10. Models:
PP-OCRv6 small and PP-OCR mobile 2.0, Apache-2.0, as the package's MODEL_LICENSES says.
"""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof.errors import MissingExtra, WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Quad = NDArray[np.float32]

__all__ = ["MODELS", "clockwise", "find_lines", "is_installed", "read_line"]

MODELS = {
    "lines": (
        "PP-OCRv6_det_small.onnx",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    ),
    "letters": (
        "PP-OCRv6_rec_small.onnx",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    ),
    "turned": (
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
}
"""File and SHA-256 of each model: where lines are, what they say, which are upside down."""

_SHORT_SIDE = 736  # smaller views are enlarged to it
_STEP = 32  # the model halves its input five times
_MIN_INK = 0.3
_MIN_LINE = 0.5
_GROWTH = 1.6  # maps show lines shrunk; area × growth ÷ outline gives them back
_MIN_SIDE = 3.0
_MAX_LINES = 1_000
_HEIGHT = 48
_MIN_WIDTH = 320
_MAX_WIDTH = 4_800
_TURN_WIDTH = 192
_MIN_TURNED = 0.9


def is_installed() -> bool:
    """Tell whether the extra that brings the models is there, without loading it."""
    return importlib.util.find_spec("rapidocr") is not None


@cache
def _session(name: str) -> Any:
    """Start one model.

    Raises:
        MissingExtra: if the package is not there.
        WeightsError: if its file is another than the one that was measured.
    """
    from counterproof.weights import session_of

    spec = importlib.util.find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("reading the text in pictures", "privacy")
    file, digest = MODELS[name]
    path = Path(spec.submodule_search_locations[0]) / "models" / file
    try:
        data = path.read_bytes()
    except OSError as err:
        raise WeightsError(f"{path}: {err.strerror}; pip install 'counterproof[privacy]'") from err
    if (found := hashlib.sha256(data).hexdigest()) != digest:
        raise WeightsError(f"{path}: expected SHA-256 {digest}, got {found}; install rapidocr 3.10")
    return session_of(data, path)


def find_lines(tile: "Pixels") -> list["Quad"]:
    """Find lines of text.

    Args:
        tile: `uint8` BGR, shape `(H, W, 3)`.

    Returns:
        Corners of each line in pixels of the tile, clockwise from the upper left, shape `(4, 2)`.
    """
    import cv2
    import numpy as np

    height, width = tile.shape[:2]
    scale = max(1.0, _SHORT_SIDE / min(height, width))
    size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
    ink = _run("lines", _normal(cv2.resize(tile, size)))[0, 0]  # [HW]
    mask = cv2.dilate((ink > _MIN_INK).astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found: list[Quad] = []
    for outline in outlines[:_MAX_LINES]:
        (x, y), (w, h), angle = cv2.minAreaRect(outline)
        if min(w, h) < _MIN_SIDE or _mean(ink, cv2.boxPoints(((x, y), (w, h), angle))) < _MIN_LINE:
            continue
        by = w * h * _GROWTH / (2 * (w + h))
        corners = cv2.boxPoints(((x, y), (w + 2 * by, h + 2 * by), angle))
        corners *= np.array([width / size[0], height / size[1]], np.float32)
        found.append(clockwise(np.clip(corners, 0, [width - 1, height - 1]).astype(np.float32)))
    return found


def _mean(ink: "NDArray[np.float32]", corners: Any) -> float:
    """Return the mean of a map inside four corners."""
    import cv2
    import numpy as np

    height, width = ink.shape
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, [width - 1, height - 1]).astype(int)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [(corners - [left, top]).astype(np.int32)], [1])
    return float(cv2.mean(ink[top : bottom + 1, left : right + 1], inside)[0])


def clockwise(corners: "Quad") -> "Quad":
    """Order four corners clockwise from the upper left."""
    import numpy as np

    by_x = corners[np.argsort(corners[:, 0])]
    left, right = by_x[:2][np.argsort(by_x[:2, 1])], by_x[2:][np.argsort(by_x[2:, 1])]
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def read_line(view: "Pixels", quad: "Quad") -> tuple[str, float]:
    """Read one line.

    Args:
        view: `uint8` BGR, shape `(H, W, 3)`.
        quad: its corners, as `find_lines` gives them.

    Returns:
        The text, and the mean probability of its letters, 0 to 1.
    """
    import numpy as np

    line = _upright(view, quad)
    read = _read(line)
    if _run("turned", _padded(line, _TURN_WIDTH, _TURN_WIDTH))[0, 1] > _MIN_TURNED:
        # it errs on rows of signs that look alike both ways, so the surer reading counts
        read = max(read, _read(np.ascontiguousarray(line[::-1, ::-1])), key=lambda item: item[1])
    return read


def _read(line: "Pixels") -> tuple[str, float]:
    """Read a level line; return text and mean probability."""
    import numpy as np

    steps = _run("letters", _padded(line, _MIN_WIDTH, _MAX_WIDTH))[0]  # [steps, letters]
    best, sure = steps.argmax(axis=1), steps.max(axis=1)
    # the best path: each letter once, blanks (0) only part it from the same letter again
    kept = (best != 0) & (np.diff(best, prepend=-1) != 0)
    letters = _letters()
    text = "".join(letters[number] for number in best[kept])
    return text, float(sure[kept].mean()) if kept.any() else 0.0


@cache
def _letters() -> list[str]:
    """Return the letter of each class; the model holds them itself."""
    known = _session("letters").get_modelmeta().custom_metadata_map["character"]
    return ["", *known.split("\n"), " "]


def _upright(view: "Pixels", quad: "Quad") -> "Pixels":
    """Cut a line out and lay it level; one that is far taller than wide is turned."""
    import cv2
    import numpy as np

    sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)  # upper, right, lower, left
    width = max(1, round(float(max(sides[0], sides[2]))))
    height = max(1, round(float(max(sides[1], sides[3]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(quad, target)
    flat = cv2.warpPerspective(
        view, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(np.rot90(flat) if height >= 1.5 * width else flat, np.uint8)


def _padded(line: "Pixels", least: int, most: int) -> "NDArray[np.float32]":
    """Bring a line to the height that the models read, and to a width they accept."""
    import cv2
    import numpy as np

    width = min(most, max(1, -(-line.shape[1] * _HEIGHT // line.shape[0])))
    batch = np.zeros((1, 3, _HEIGHT, max(least, width)), np.float32)
    batch[..., :width] = _normal(cv2.resize(line, (width, _HEIGHT)))
    return batch


def _normal(pixels: Any) -> "NDArray[np.float32]":
    """Return a batch of one, in [-1, 1]."""
    import numpy as np

    return np.asarray((pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])  # [NCHW]


def _run(name: str, batch: "NDArray[np.float32]") -> Any:
    session = _session(name)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]
