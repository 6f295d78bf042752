"""What each method of `forgery` needs, and what it answers of one picture.

Each answers *supports*, *no support* or *not applicable* with the reason. Nothing here decides what
an answer is worth; `forgery` does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["METHODS", "Answer", "answers"]

_MAX_PIXELS = 24_000_000
_GRID_FORMATS = ("jpeg", "png", "webp", "bmp", "tiff")
_MAX_REGIONS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method answers.

    Attributes:
        method: name of the method; its fact and its finding are called `forgery.<method>`.
        word: `supports`, `no_support` or `not_applicable`.
        reason: code for why it does not apply (`method.reason.*` of the catalogue); else empty.
        mask: upright, of any size, `uint8`, 1 where the sign is; None without a sign.
        boxes: `(x, y, w, h)` in pixels of the upright full-size picture.
        details: JSON values that the answer rests on.
    """

    method: str
    word: str
    reason: str = ""
    mask: "NDArray[np.uint8] | None" = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def fact(self) -> str:
        """The answer as the record has it."""
        return f"{self.word}: {self.reason}" if self.reason else self.word


def answers(image: ImageFile) -> Iterator[Answer]:
    """Ask every method.

    Raises:
        ImageError: if the picture cannot be decoded.
    """
    image.pixels()
    for method in METHODS.values():
        yield method(image)


def copy_move(image: ImageFile) -> Answer:
    """Look for a part that stands in the picture twice."""
    from counterproof.audit.copy_move import MAX_SIDE, MIN_SIDE, find_copy
    from counterproof.audit.jpeg_coding import luma_steps

    grey = image.luminance(MAX_SIDE)
    if min(grey.shape) < MIN_SIDE:
        return _not("copy_move", "too_small")
    steps = luma_steps(image)
    if steps is None and image.format == "jpeg":
        return _not("copy_move", "colours")
    scale = grey.shape[1] / image.info.width  # coding changes less after scaling down
    found = find_copy(grey, [round(step * scale) for step in steps] if steps else None)
    if not found.applies:
        return _not("copy_move", "little_detail")
    if found.drawn:
        return _not("copy_move", "drawn")
    if not found.area:
        return Answer("copy_move", "no_support")
    return Answer(
        "copy_move",
        "supports",
        mask=found.mask,
        boxes=tuple(_scaled(box, 1 / scale, image) for box in found.boxes),
        details={
            "score": round(found.score, 3),
            "inliers": found.inliers,
            "area": round(found.area, 4),
        },
    )


def grid(image: ImageFile) -> Answer:
    """Look for a part with a block grid of its own."""
    import numpy as np

    from counterproof.audit.jpeg_grid import MIN_SIDE, find_foreign_grid

    pixels = image.pixels()
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE or height * width > _MAX_PIXELS:
        return _not("grid", "size")
    if image.format not in _GRID_FORMATS:
        return _not("grid", "not_in_blocks")
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    found = find_foreign_grid(np.asarray(pixels.astype(np.float32) @ weights, np.float32))
    if found.main is None:
        return _not("grid", "no_grid")
    if not found.foreign:
        return Answer("grid", "no_support")
    return Answer(
        "grid",
        "supports",
        mask=found.mask,
        boxes=found.boxes,
        details={
            "score": round(found.log_nfa, 1),
            "grid": list(found.main),
            "foreign_grid": list(found.foreign),
        },
    )


def double_jpeg(image: ImageFile) -> Answer:
    """Look for a part that was coded once in a JPEG that was coded twice."""
    from counterproof.audit.double_jpeg import MIN_SIDE, find_once_coded
    from counterproof.audit.jpeg_coding import coding_of

    info = image.info
    if image.format != "jpeg":
        return _not("double_jpeg", "no_jpeg")
    if min(info.width, info.height) < MIN_SIDE or info.width * info.height > _MAX_PIXELS:
        return _not("double_jpeg", "size")
    coding = coding_of(image)
    if coding is None:
        return _not("double_jpeg", "coding")
    found = find_once_coded(coding)
    if not found.applies:
        return _not("double_jpeg", "not_saved_twice")
    if found.mask is None:
        return Answer("double_jpeg", "no_support")
    mask, boxes = _upright(found.mask, coding.luma.shape, image)
    return Answer(
        "double_jpeg",
        "supports",
        mask=mask,
        boxes=boxes,
        details={
            "score": round(found.score, 2),
            "blocks": found.blocks,
            "first_steps": list(found.first),
        },
    )


def noise(image: ImageFile) -> Answer:
    """Look for a part whose noise is much stronger or weaker than the rest's."""
    import numpy as np

    from counterproof.audit.noise_levels import BLOCK, MIN_SIDE, find_other_noise

    info = image.info
    if min(info.width, info.height) < MIN_SIDE or info.width * info.height > _MAX_PIXELS:
        return _not("noise", "size")
    luma = image.luminance(max(info.width, info.height))
    found = find_other_noise(luma.astype(np.float32))
    if not found.applies:
        return _not("noise", "little_noise")
    if found.mask is None:
        return Answer("noise", "no_support", details={"level": round(found.level, 2)})
    return Answer(
        "noise",
        "supports",
        mask=found.mask,
        boxes=_boxes(found.mask, BLOCK, image),
        details={"level": round(found.level, 2), "factor": round(found.factor, 1)},
    )


def metadata(image: ImageFile) -> Answer:
    """Ask whether what the file says of itself fits a file as its camera wrote it."""
    from counterproof.audit.capture_trail import disagreements, has_capture_data

    if not has_capture_data(image):
        return _not("metadata", "no_camera")
    found = list(disagreements(image))
    if not found:
        return Answer("metadata", "no_support")
    return Answer("metadata", "supports", details={"disagree": found})


METHODS: dict[str, Callable[[ImageFile], Answer]] = {
    "copy_move": copy_move,
    "grid": grid,
    "double_jpeg": double_jpeg,
    "noise": noise,
    "metadata": metadata,
}
"""Methods by name, in the order in which they are asked."""


def _not(method: str, reason: str) -> Answer:
    return Answer(method, "not_applicable", reason)


def _upright(
    mask: Any, stored: tuple[int, ...], image: ImageFile
) -> "tuple[NDArray[np.uint8], tuple[tuple[int, int, int, int], ...]]":
    """Turn a mask of blocks as the picture is turned, and box its parts in pixels."""
    import numpy as np

    from counterproof.convert import upright

    whole = np.zeros((-(-stored[0] // 8), -(-stored[1] // 8)), np.uint8)
    whole[: mask.shape[0], : mask.shape[1]] = mask
    turned = np.ascontiguousarray(upright(whole, image.orientation))
    return turned, _boxes(turned, 8, image)


def _boxes(
    mask: "NDArray[np.uint8]", side: int, image: ImageFile
) -> tuple[tuple[int, int, int, int], ...]:
    """Box the parts of an upright mask of blocks with so many pixels a side."""
    import cv2

    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    boxes = [
        _scaled((int(s[0]), int(s[1]), int(s[2]), int(s[3])), side, image) for s in stats[1:count]
    ]
    return tuple(boxes[:_MAX_REGIONS])


def _scaled(
    box: tuple[int, int, int, int], scale: float, image: ImageFile
) -> tuple[int, int, int, int]:
    x, y, w, h = (round(value * scale) for value in box)
    width, height = image.info.width, image.info.height
    x, y = min(x, width - 1), min(y, height - 1)
    return x, y, max(1, min(w, width - x)), max(1, min(h, height - y))
