"""Read the text in a picture, and find in it what leads to a person.

The models (PP-OCR, Latin and Chinese letters) come with the extra `[privacy]`. Lines are looked for
in overlapping tiles of the picture as it is, and of smaller and smaller copies, so that small
letters are found and large ones fit. What was read is never kept: findings say what kind of text
stands where.

Source: sizes of tiles and margins: docs/benchmarks.md, "Privacy".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.audit.personal_text import KINDS, find_personal_text
from counterproof.audit.text_models import MODELS, clockwise, find_lines, is_installed, read_line
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Quad = NDArray[np.float32]

__all__ = [
    "MIN_SCORE",
    "Line",
    "Place",
    "TextAnalyzer",
    "joined",
    "personal_places",
    "views",
]

Box = tuple[int, int, int, int]

_MAX_PIXELS = 16_000_000  # of a larger picture a smaller copy is read
_TILE = 736  # in larger ones the model overlooks single short lines
_OVERLAP = 192
_MIN_SIDE = 64
MIN_SCORE = 0.5  # RapidOCR's own
_MAX_LINES = 1_000
_CHECKED = ("card", "iban", "document", "id_number")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text as it was read, and the upright box around it, `(x, y, w, h)`."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Place:
    """Where text of one kind (of `personal_text.KINDS`) stands: `(x, y, w, h)` of whole lines."""

    kind: str
    box: Box


def views(pixels: "Pixels") -> Iterator[list[Line]]:
    """Read a picture, then smaller and smaller copies of it.

    Lines are looked for in tiles, whose parts of one line are joined, and read whole.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, upright.

    Yields:
        The lines of one copy that none before had, in pixels of the picture.

    Raises:
        MissingExtra: if the models are not installed.
    """
    import cv2
    import numpy as np

    height, width = pixels.shape[:2]
    scale = min(1.0, (_MAX_PIXELS / (height * width)) ** 0.5)
    known: list[Box] = []
    while True:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        view = np.ascontiguousarray(pixels[:, :, ::-1])  # BGR, as the reader wants it
        if scale < 1:
            view = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
        lines: list[Line] = []
        for quad in joined(_quads(view)):
            box = _box_of(quad / scale)
            if not any(_is_same(box, other) for other in known):
                known.append(box)
                text, score = read_line(view, quad)
                if text.strip() and score >= MIN_SCORE:
                    lines.append(Line(text, box))
            if len(known) >= _MAX_LINES:
                break
        yield lines
        if max(size) <= _TILE or len(known) >= _MAX_LINES:
            return
        scale /= 2


def _quads(view: "Pixels") -> list["Quad"]:
    """Find lines: four corners each, in pixels of the view; a line may come in parts."""
    import numpy as np

    found: list[Quad] = []
    for x, y in _tiles(view.shape[1], view.shape[0]):
        tile = view[y : y + _TILE, x : x + _TILE]
        # the model enlarges a narrow picture until its short side has 736 pixels
        least = max(_MIN_SIDE, max(tile.shape[:2]) // 2)
        missing = [max(0, least - side) for side in tile.shape[:2]]
        if any(missing):
            tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        corner = np.array([x, y], np.float32)
        found += [quad + corner for quad in find_lines(np.ascontiguousarray(tile))]
    return found


def _tiles(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield the corners of overlapping tiles that cover a view."""
    for y in _starts(height):
        for x in _starts(width):
            yield x, y


def _starts(side: int) -> Sequence[int]:
    """Return where tiles begin along one side.

    >>> _starts(736), _starts(2000)
    ([0], [0, 421, 843, 1264])
    """
    if side <= _TILE:
        return [0]
    count = -(-(side - _OVERLAP) // (_TILE - _OVERLAP))
    return [round(number * (side - _TILE) / (count - 1)) for number in range(count)]


def joined(quads: Sequence["Quad"]) -> list["Quad"]:
    """Join the parts of lines that tiles have cut.

    Two overlapping parts are one line if what holds both is hardly taller than the taller.

    Args:
        quads: corners of parts, clockwise from the upper left, shape `(4, 2)`.
    """
    import cv2
    import numpy as np

    pending = [(quad, _box_of(quad), _height(quad)) for quad in quads]
    done: list[Quad] = []
    while pending:
        quad, box, height = pending.pop()
        for at, (other, beside, tall) in enumerate(pending):
            if _share(box, beside) <= 0 or max(height, tall) > 1.7 * min(height, tall):
                continue
            rectangle = cv2.minAreaRect(np.concatenate([quad, other]))
            if min(rectangle[1]) <= 1.35 * max(height, tall):
                whole = clockwise(np.asarray(cv2.boxPoints(rectangle), np.float32))
                pending[at] = (whole, _box_of(whole), _height(whole))
                break
        else:
            done.append(quad)
    return done


def _height(quad: "Quad") -> float:
    """Return the shorter side of a line's four corners."""
    import numpy as np

    sides = np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1)
    return float(min(sides[0] + sides[2], sides[1] + sides[3]) / 2)


def _box_of(quad: "Quad") -> Box:
    left, top = (int(value) for value in quad.min(axis=0))
    right, bottom = (int(value) + 1 for value in quad.max(axis=0))
    return left, top, right - left, bottom - top


def _is_same(one: Box, other: Box) -> bool:
    """Tell whether two boxes hold the same line: each covers most of the other."""
    w = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    h = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, w) * max(0, h) > 0.6 * max(one[2] * one[3], other[2] * other[3])


def personal_places(pixels: "Pixels") -> list[Place]:
    """Find where text leads to a person.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, upright.

    Raises:
        MissingExtra: if the models are not installed.
    """
    height, width = pixels.shape[:2]
    found: list[Place] = []
    for lines in views(pixels):
        rows = _rows(lines)
        texts = [" ".join(line.text for line in row) for row in rows]
        for item in find_personal_text(texts):
            at, boxes = 0, []
            for line in rows[item.row]:
                if at < item.end and at + len(line.text) > item.start:
                    boxes.append(line.box)
                at += len(line.text) + 1
            _add(found, Place(item.kind, _clipped(_around(boxes), width, height)))
    return found


def _rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Join lines that stand beside each other: a number may be read in four parts."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda item: (item.box[0], item.box[1])):
        x, y, _, h = line.box
        for row in rows:
            left, top, w, tall = row[-1].box
            level = abs((y + h / 2) - (top + tall / 2)) < 0.4 * min(h, tall)
            alike = max(h, tall) < 1.8 * min(h, tall)
            if level and alike and -0.5 * h < x - (left + w) < 2.5 * h:
                row.append(line)
                break
        else:
            rows.append([line])
    return sorted(rows, key=lambda row: row[0].box[1])


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right = max(box[0] + box[2] for box in boxes)
    bottom = max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def _clipped(box: Box, width: int, height: int) -> Box:
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    return left, top, max(1, right - left), max(1, bottom - top)


def _add(found: list[Place], new: Place) -> None:
    """Add a place; one that another view has seen already is joined with it."""
    for number, old in enumerate(found):
        if old.kind == new.kind and _share(old.box, new.box) > 0.5:
            found[number] = Place(old.kind, _around([old.box, new.box]))
            return
    found.append(new)


def _share(one: Box, other: Box) -> float:
    """Return the shared area in parts of the smaller box."""
    w = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    h = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, w) * max(0, h) / max(1, min(one[2] * one[3], other[2] * other[3]))


class TextAnalyzer(Analyzer):
    """Finds text that leads to a person: cards, accounts, documents, addresses, numbers."""

    name: ClassVar[str] = "text"
    prefixes: ClassVar[tuple[str, ...]] = ("privacy",)
    stage: ClassVar[Stage] = Stage.DEEP
    timeout_s: ClassVar[float] = 90.0

    def missing(self) -> str:
        """Name the extra that brings the models, where it is not installed."""
        return "" if is_installed() else "privacy"

    def digest(self) -> str:
        """Return the digests of the models."""
        return " ".join(digest for _, digest in MODELS.values())

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield `privacy.text` with a region for each place; never what stands there.

        Raises:
            ImageError: if the picture cannot be decoded.
            MissingExtra: if the models are not installed.
        """
        found = personal_places(image.pixels())
        if not found:
            return
        kinds = {kind: sum(place.kind == kind for place in found) for kind in KINDS}
        checked = any(kinds[kind] for kind in _CHECKED)
        yield Finding(
            self.name,
            "privacy.text",
            Claim.PERSONAL_DATA,
            Basis.STATISTICAL,
            Severity.HIGH if checked else Severity.MEDIUM,
            regions=tuple(place.box for place in found),
            details={
                "n": len(found),
                "text_kind": [kind for kind in KINDS if kinds[kind]],
                "count": {kind: n for kind, n in kinds.items() if n},
            },
        )
