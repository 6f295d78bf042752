"""Compare the pixels and the metadata of a copy and its original, in a process of their own.

Both files are untrusted: a time limit holds, and a crash is a result. One picture is laid over the
other (`align.py`), what then differs is measured (`difference.py`), and views are drawn for pages.
"""

import multiprocessing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterproof.audit.metadata_fields import Change
from counterproof.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from counterproof.images import ImageFile
    from counterproof.settings import Limits

__all__ = ["PixelResult", "compare_apart", "compare_pixels"]

_TIMEOUT_S = 120.0
_MAX_PIXELS = 40_000_000  # larger pictures are decoded smaller
_LARGE_SIDE = 4096
_VIEW_SIDE = 1280
_LEAST_SIDE = 16  # smaller pictures have nothing to be aligned by
_NOTHING: dict[str, Any] = {
    "agreement": 1.0,
    "confidence": "high",
    "matches": 0,
    "of_matches": 0,
    "equal": True,
    "places": 0,
    "boxes": [],
    "boxes_original": [],
}
_TONED_LEVELS = 2.5
_SOFT, _SHARP = 0.8, 1.25
_EVERYWHERE = 0.6


@dataclass(frozen=True, slots=True)
class PixelResult:
    """What became of the pixels.

    Attributes:
        kind: `identical`, `resaved` (no local change), `changed` (places differ), `everywhere`
            (most of the picture differs), `unaligned` (no way was found to lay one over the
            other) or `unread`; of films and sounds, whose content is not decoded, `stream_same`
            or `stream_other` (the stored bytes).
        geometry: words for how the copy lies: `same`, or any of `scaled`, `cropped`,
            `extended`, `mirrored`, `turned`, `stretched`, `perspective`.
        reason: why pixels could not be compared; empty if they were.
        figures: of `align` and `difference`, JSON values.
        views: name → WebP: `original`, `copy`, `laid` (the original as it lies in the copy) and
            `map`; for pages.
    """

    kind: str
    geometry: tuple[str, ...] = ()
    reason: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def toned(self) -> bool:
        """Whether colours or brightness changed overall."""
        return float(self.figures.get("tone_levels", 0)) >= _TONED_LEVELS

    @property
    def filtered(self) -> str:
        """`softer`, `sharper` or empty: what happened to fine detail overall."""
        ratio = float(self.figures.get("detail_ratio", 1))
        return "softer" if ratio < _SOFT else "sharper" if ratio > _SHARP else ""

    def to_json(self) -> dict[str, Any]:
        """Return all but the views as JSON values."""
        return {
            "kind": self.kind,
            "geometry": list(self.geometry),
            "reason": self.reason,
            "toned": self.toned,
            "filtered": self.filtered,
            **self.figures,
        }


def compare_apart(
    original: str, copy: str, limits: "Limits"
) -> tuple[PixelResult, list[Change], int]:
    """Compare two files in a process of their own.

    Args:
        original: path of the first, as the system names it.
        copy: of the second.
        limits: what one picture may cost.

    Returns:
        What became of the pixels; metadata fields added, removed, changed; how many are the same.
    """
    from concurrent.futures import TimeoutError as LateError

    from pebble import ProcessExpired, ProcessPool

    pool = ProcessPool(max_workers=1, context=multiprocessing.get_context("spawn"))
    try:
        task = pool.schedule(_look, args=[original, copy, limits], timeout=_TIMEOUT_S)
        result: tuple[PixelResult, list[Change], int] = task.result()
        pool.close()  # type: ignore[no-untyped-call]
        return result
    except LateError:
        return PixelResult("unread", reason="timeout"), [], 0
    except ProcessExpired:
        return PixelResult("unread", reason="crash"), [], 0
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _look(original: str, copy: str, limits: "Limits") -> tuple[PixelResult, list[Change], int]:
    from counterproof.audit.metadata_fields import compare_fields
    from counterproof.images import ImageFile

    try:
        first = ImageFile.open(original, limits=limits)
        second = ImageFile.open(copy, limits=limits)
    except ImageError as err:
        return PixelResult("unread", reason=err.cause), [], 0
    changes, equal = compare_fields(first, second)
    if streams := _streams(first, second):
        return (
            PixelResult("stream_same" if streams[0] == streams[1] else "stream_other"),
            changes,
            equal,
        )
    try:
        before, after = _pixels(first), _pixels(second)
    except ImageError as err:
        return PixelResult("unread", reason=err.cause), changes, equal
    return compare_pixels(before, after), changes, equal


def _streams(first: "ImageFile", second: "ImageFile") -> tuple[str, str] | None:
    """Hash the stored pictures and sound of both; None unless both are films or sounds."""
    from counterproof.stream import stream_sha256

    found = stream_sha256(first.data, first.format), stream_sha256(second.data, second.format)
    return found if all(found) else None


def _pixels(image: Any) -> "NDArray[np.uint8]":
    info = image.info
    large = info.width * info.height > _MAX_PIXELS
    found: NDArray[np.uint8] = image.pixels(_LARGE_SIDE if large else None)
    return found


def compare_pixels(original: "NDArray[np.uint8]", copy: "NDArray[np.uint8]") -> PixelResult:
    """Align two pictures and say what differs; both RGB, shape (H, W, 3)."""
    import cv2
    import numpy as np

    from counterproof.audit.align import describe_matrix, place
    from counterproof.audit.difference import measure

    cv2.setNumThreads(1)
    if min(*original.shape[:2], *copy.shape[:2]) < _LEAST_SIDE:
        if np.array_equal(original, copy):
            return PixelResult("identical", ("same",), figures=_NOTHING)
        return PixelResult("unread", reason="too_small")
    sizes = (original.shape[1], original.shape[0]), (copy.shape[1], copy.shape[0])
    grey = [cv2.cvtColor(item, cv2.COLOR_RGB2GRAY) for item in (original, copy)]
    found = place(grey[0], grey[1])  # type: ignore[arg-type]
    if found is None:
        views = {"original": _view(original), "copy": _view(copy)}
        return PixelResult("unaligned", figures={"agreement": 0.0}, views=views)
    placed = describe_matrix(found.matrix, *sizes)
    seen = measure(original, copy, found)
    geometry = tuple(_geometry(placed, found.kind, sizes))
    if seen.equal and geometry == ("same",):
        kind = "identical"
    elif seen.changed_share >= _EVERYWHERE:
        kind = "everywhere"
    else:
        kind = "changed" if seen.count else "resaved"
    figures = {
        "agreement": found.agreement,
        "confidence": found.confidence,
        "matches": found.matches,
        "of_matches": found.of_matches,
        "matrix": [[round(float(value), 8) for value in row] for row in found.matrix],
        "compared": [seen.seen.shape[1], seen.seen.shape[0]],
        "frame": [copy.shape[1], copy.shape[0]],
        **placed,
        **seen.to_json(),
        "boxes_original": [_back(box, found.matrix, sizes[0]) for box in seen.boxes],
        "original_frame": list(sizes[0]),
    }
    views = {
        "original": _view(original),
        "copy": _view(seen.seen),
        "laid": _view(seen.laid),
        "map": _map(seen.map),
    }
    return PixelResult(kind, geometry, figures=figures, views=views)


def _geometry(
    placed: Mapping[str, Any], kind: str, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> Iterable[str]:
    turned = abs(placed["angle_deg"]) >= 0.2
    named = []
    if placed["mirrored"]:
        named.append("mirrored")
    if turned:
        named.append("turned")
    if abs(placed["scale"] - 1) > 0.003:
        named.append("scaled")
    if abs(placed["stretch"] - 1) > 0.01:
        named.append("stretched")
    if placed["kept"] < 0.995 and not (kind == "whole" or kind == "same"):
        named.append("cropped")
    if placed["added"] > 0.005:
        named.append("extended")
    if kind == "perspective":
        named.append("perspective")
    if not named and sizes[0] != sizes[1]:
        named.append("cropped" if placed["kept"] < 1 else "scaled")
    return named or ["same"]


def _back(
    box: tuple[int, int, int, int], matrix: "NDArray[np.float64]", size: tuple[int, int]
) -> list[int]:
    """Return where a box of the copy lies in the original."""
    import cv2
    import numpy as np

    x, y, w, h = box
    corners = np.array([[[x, y], [x + w, y], [x + w, y + h], [x, y + h]]], np.float64) - 0.5
    moved = cv2.perspectiveTransform(corners, np.linalg.inv(matrix))[0] + 0.5
    left, top = (max(0, round(float(value))) for value in moved.min(axis=0))
    right, bottom = (
        min(most, round(float(value))) for most, value in zip(size, moved.max(axis=0), strict=True)
    )
    return [left, top, max(0, right - left), max(0, bottom - top)]


def _view(pixels: "NDArray[np.uint8]") -> bytes:
    import io

    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((_VIEW_SIDE, _VIEW_SIDE))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=70, method=4)
    return out.getvalue()


def _map(levels: "NDArray[np.uint8]") -> bytes:
    """Paint a difference: transparent where there is none, to a strong orange."""
    import io

    import numpy as np
    from PIL import Image

    paint = np.zeros((*levels.shape, 4), np.uint8)
    paint[..., 0], paint[..., 1] = 255, np.clip(210 - levels.astype(np.int16), 60, 210)
    paint[..., 3] = np.clip(levels.astype(np.int16) * 2 - 24, 0, 235)
    picture = Image.fromarray(paint)
    picture.thumbnail((_VIEW_SIDE, _VIEW_SIDE))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=60, method=4)
    return out.getvalue()
