"""Compare a copy with its original: what changed, and where.

    pixels (aligned) · metadata · credentials · labels and traces · hashes · the file itself

Both pictures are looked at by a scan first, in a worker; pixels and metadata are then compared
in a process of their own with a time limit, since both files are untrusted. Nothing here says
that anybody tampered: a copy differs from its original, and this says in what.
"""

import multiprocessing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterproof.audit.duplicates import RADIUS_64, RADIUS_256
from counterproof.audit.metadata_fields import Change
from counterproof.errors import ImageError
from counterproof.findings import Finding, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from counterproof.images import ImageFile
    from counterproof.settings import Limits

__all__ = ["SCHEMA", "Comparison", "PixelResult", "Row", "compare"]

SCHEMA = "counterproof.comparison/1"

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
_FAULTS = ("failed", "timeout", "skipped")


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


@dataclass(frozen=True, slots=True)
class Row:
    """One property of both: a fact of the file, an answer, a hash.

    Attributes:
        name: `stored.format`, `fact.camera.make`, `answer.trust` …
        original: JSON value.
        copy: JSON value.
    """

    name: str
    original: Any
    copy: Any

    @property
    def same(self) -> bool:
        """Whether both are equal."""
        return bool(self.original == self.copy)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {"name": self.name, "original": self.original, "copy": self.copy, "same": self.same}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs between an original and a copy.

    Attributes:
        original: its record.
        copy: its record.
        pixels: what became of the pixels.
        metadata: fields added, removed, changed.
        metadata_equal: how many fields are the same in both.
        credential: `none`, `lost`, `gained`, `same` (the same manifest), `continued` (the
            copy's names the original's as what it was made from) or `other`.
        answers: the five answers about the credential of each, and its code.
        lost: findings of the original that the copy has none of, by code.
        gained: findings of the copy that the original has none of.
        kept: codes that both have.
        hashes: algorithm, distance in bits, and the radius of near-duplicates.
        file: facts of the file that differ or that people look for.
    """

    original: Record
    copy: Record
    pixels: PixelResult
    metadata: tuple[Change, ...]
    metadata_equal: int
    credential: str
    answers: tuple[Row, ...]
    lost: tuple[Finding, ...]
    gained: tuple[Finding, ...]
    kept: tuple[str, ...]
    hashes: tuple[dict[str, Any], ...]
    file: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        counts = {kind: 0 for kind in ("added", "removed", "changed")}
        for change in self.metadata:
            counts[change.kind] += 1
        return {
            "schema": SCHEMA,
            "pixels": self.pixels.to_json(),
            "metadata": {
                **counts,
                "equal": self.metadata_equal,
                "changes": [change.to_json() for change in self.metadata],
            },
            "credential": {
                "change": self.credential,
                "answers": [row.to_json() for row in self.answers],
            },
            "findings": {
                "lost": [finding.to_json() for finding in self.lost],
                "gained": [finding.to_json() for finding in self.gained],
                "kept": list(self.kept),
            },
            "hashes": list(self.hashes),
            "file": [row.to_json() for row in self.file],
            "original": self.original.to_json(),
            "copy": self.copy.to_json(),
        }


def compare(
    original: Record, copy: Record, original_path: str, copy_path: str, limits: "Limits"
) -> Comparison:
    """Compare two pictures that a scan has looked at.

    Args:
        original: record of the first.
        copy: record of the second.
        original_path: where it lies, as the system names it.
        copy_path: where it lies.
        limits: what one picture may cost.
    """
    pixels, changes, equal = _apart(original_path, copy_path, limits)
    lost, gained, kept = _findings(original, copy)
    return Comparison(
        original,
        copy,
        pixels,
        tuple(changes),
        equal,
        _credential_change(original, copy),
        tuple(_answers(original, copy)),
        lost,
        gained,
        kept,
        tuple(_hashes(original, copy)),
        tuple(_file(original, copy)),
    )


# -- pixels and metadata, in a process of their own --------------------------------------


def _apart(original: str, copy: str, limits: "Limits") -> tuple[PixelResult, list[Change], int]:
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


# -- records ----------------------------------------------------------------------------


def _manifest(record: Record) -> Finding | None:
    return next((f for f in record.findings if f.code.startswith("c2pa.manifest.")), None)


def _credential_change(original: Record, copy: Record) -> str:
    first, second = _manifest(original), _manifest(copy)
    if first is None or second is None:
        return "none" if first is second else "gained" if first is None else "lost"
    label = first.details.get("manifest")
    if label and label == second.details.get("manifest"):
        return "same"
    tree = second.details.get("history")
    return "continued" if label and label in set(_labels(tree)) else "other"


def _labels(tree: Any, depth: int = 0) -> Iterable[str]:
    if not isinstance(tree, Mapping) or depth > 40:
        return
    yield str(tree.get("manifest", ""))
    for item in tree.get("ingredients") or ():
        if isinstance(item, Mapping):
            yield from _labels(item.get("step"), depth + 1)


def _answers(original: Record, copy: Record) -> Iterable[Row]:
    yield Row("status", original.verdict.status.value, copy.verdict.status.value)
    first, second = _manifest(original), _manifest(copy)
    if first is None and second is None:
        return
    code = first.code if first else "", second.code if second else ""
    yield Row("credential", *code)
    one, other = original.verdict.answers.to_json(), copy.verdict.answers.to_json()
    for name, word in one.items():
        yield Row(f"answer.{name}", word, other[name])


def _findings(
    original: Record, copy: Record
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    def kept(record: Record) -> dict[str, Finding]:
        return {
            finding.code: finding
            for finding in record.findings
            if finding.state not in _FAULTS and not finding.code.startswith("c2pa.manifest.")
        }

    first, second = kept(original), kept(copy)
    return (
        tuple(item for code, item in first.items() if code not in second),
        tuple(item for code, item in second.items() if code not in first),
        tuple(code for code in first if code in second),
    )


_RADII = {"imagehash.phash.64": RADIUS_64, "counterproof.dct256.1": RADIUS_256}


def _hashes(original: Record, copy: Record) -> Iterable[dict[str, Any]]:
    for name in ("hash.phash", "hash.dhash", "hash.dct256"):
        first, second = original.facts.get(name), copy.facts.get(name)
        if not isinstance(first, Mapping) or not isinstance(second, Mapping):
            continue
        if first["alg"] == second["alg"] and len(first["value"]) == len(second["value"]):
            distance = (int(first["value"], 16) ^ int(second["value"], 16)).bit_count()
            yield {
                "alg": first["alg"],
                "bits": 4 * len(first["value"]),
                "distance": distance,
                "radius": _RADII.get(first["alg"]),
            }


def _saved(record: Record) -> dict[str, Any] | None:
    """Return who saved a file last, as far as its structure tells; None if that was not told."""
    found = next((f for f in record.findings if f.code.startswith("file.saved.")), None)
    if found is None:
        return None
    told: dict[str, Any] = {"code": found.code}
    return told | {
        name: found.details[name] for name in ("saver", "quality") if "saver" in found.details
    }


def _file(original: Record, copy: Record) -> Iterable[Row]:
    first, second = original.file.to_json(), copy.file.to_json()
    yield Row("sha256", original.sha256, copy.sha256)
    for name in ("format", "bytes"):
        yield Row(f"stored.{name}", first[name], second[name])
    size = [f"{item['width']} × {item['height']}" for item in (first, second)]
    yield Row("stored.size", *size)
    saved = _saved(original), _saved(copy)
    if any(saved):
        yield Row("stored.saved", *saved)
    for name in ("mode", "bit_depth", "alpha", "frames", "orientation", "planes"):
        if first[name] != second[name]:
            yield Row(f"stored.{name}", first[name], second[name])
    names = sorted(set(original.facts) | set(copy.facts))
    for name in [name for name in names if not name.startswith("hash.")]:
        one, other = original.facts.get(name), copy.facts.get(name)
        if one != other:
            yield Row(f"fact.{name}", one, other)
