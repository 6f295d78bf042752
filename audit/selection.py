"""Which pictures of a case get a page or a row in its report: found in one pass.

Only the best are kept in hand, so that memory does not grow with the case.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from counterproof.audit.page import name_of, needs_eyes, rank, shown, strongest
from counterproof.findings import Record, RunInfo, Status
from counterproof.text import Catalogue, visible

__all__ = ["Gathered", "Row", "gather"]

_PAGES = 300  # pictures with a page of their own
_ROWS = 2_000
_ROWS_BYTES = 3_500_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    position: int
    path: str
    name: str
    folder: str
    sha256: str
    status: Status
    reason: str
    camera: str
    captured: str
    format: str
    size: str


class Best(Generic[T]):
    """Keeps the `cap` smallest of what it is given, by a key, in constant memory."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.items: list[tuple[tuple[int, ...], T]] = []
        self._limit: tuple[int, ...] | None = None

    def add(self, key: tuple[int, ...], make: Callable[[], T]) -> None:
        """Offer an item; it is made only if it has a chance."""
        if self._limit is not None and key >= self._limit:
            return
        self.items.append((key, make()))
        if len(self.items) >= 2 * self.cap + 16:
            self._trim()

    def _trim(self) -> None:
        self.items.sort(key=lambda item: item[0])
        del self.items[self.cap :]
        if len(self.items) == self.cap and self.items:
            self._limit = self.items[-1][0]

    def sorted(self) -> list[T]:
        """Return what was kept, smallest key first."""
        self._trim()
        return [item for _, item in self.items]


@dataclass(slots=True)
class Gathered:
    """What one pass over the records finds."""

    total: int = 0
    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    eyes: int = 0
    pages: list[Record] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, RunInfo] = field(default_factory=dict)
    root: str = ""


def gather(records: Iterable[Record], words: Catalogue) -> Gathered:
    """Count the records and keep those that get a page or a row."""
    found = Gathered()
    pages: Best[Record] = Best(_PAGES)
    rows: Best[Row] = Best(_ROWS)
    for position, record in enumerate(records):
        folder = _folder(visible(record.path))
        found.root = _common(found.root, folder) if found.total else folder
        found.total += 1
        found.counts[record.verdict.status] += 1
        eyes = needs_eyes(record)
        found.eyes += eyes
        key = (not eyes, *rank(record), position)
        pages.add(key, lambda record=record: record)  # type: ignore[misc]
        rows.add(key, lambda record=record, at=position: _row(record, at, words))  # type: ignore[misc]
        if len(found.runs) < 8:
            run = record.run
            found.runs.setdefault(f"{run.version} {run.profile} {run.as_of}", run)
    found.pages, found.rows = pages.sorted(), rows.sorted()
    if found.total == 1:
        found.root = ""
    room = _ROWS_BYTES
    found.rows = [replace(row, folder=_folder(row.path)[len(found.root) :]) for row in found.rows]
    for number, row in enumerate(found.rows):
        room -= 380 + 2 * len("".join((row.name, row.folder, row.reason, row.camera)))
        if room < 0:
            del found.rows[number:]
            break
    if found.total > _PAGES:  # a page for each picture that says something, not for silence
        found.pages = [
            record
            for record in found.pages
            if record.verdict.status is not Status.NO_EVIDENCE or needs_eyes(record)
        ]
    return found


def _folder(path: str) -> str:
    """Return the folder of a path, with its last separator."""
    return path[: max(path.rfind("/"), path.rfind("\\") if os.sep == "\\" else -1) + 1]


def _common(first: str, second: str) -> str:
    """Return the folder that two folders share, with its last separator."""
    while not second.startswith(first):
        first = _folder(first[:-1])
    return first


def _row(record: Record, position: int, words: Catalogue) -> Row:
    top = next(iter(strongest(record)), None)
    named = top and top.code in (*record.verdict.rests_on, *record.verdict.against)
    camera = " ".join(
        shown(record.facts[name], 40)
        for name in ("camera.make", "camera.model")
        if record.facts.get(name)
    )
    file = record.file
    return Row(
        position,
        visible(record.path),
        name_of(record.path),
        "",
        record.sha256,
        record.verdict.status,
        words.sentence(top) if top and named else "",
        camera,
        shown(record.facts.get("captured_at", ""), 16).replace("T", " "),
        file.format.upper(),
        f"{file.width}×{file.height}" if file.width else "",
    )
