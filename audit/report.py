"""One HTML file from a case: opens offline, asks for nothing, reads without JavaScript.

The file is streamed: what needs eyes gets a page of its own, the rest a row, the long tail a
line, each up to a cap that the report states. 100,000 pictures stay under 20 MB and in
constant memory. The same case gives the same bytes but for the time of making.
"""

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from counterproof.analysis import Stage
from counterproof.audit import thumbnails
from counterproof.audit.measured import MEASURED, thresholds
from counterproof.audit.model_section import section_of
from counterproof.audit.overview import Overview, bars, distances, lengths
from counterproof.audit.page import Coverage, Page, missing, page
from counterproof.audit.report_layout import DISPUTE_KINDS, FAMILIES, render, write_bodies
from counterproof.audit.report_pictures import (
    LARGE_BYTES,
    Leaf,
    data_uri,
    groups_of,
    maps_of,
    place,
    relate,
    shown_maps,
    views_of,
)
from counterproof.audit.rules import judge_all
from counterproof.audit.selection import Gathered, gather
from counterproof.audit.statement import cards
from counterproof.audit.suppressions import Suppression
from counterproof.audit.writer import Target
from counterproof.findings import Blob, Record, RunInfo, Status
from counterproof.settings import Settings
from counterproof.text import Catalogue, catalogue, visible

if TYPE_CHECKING:
    from markupsafe import Markup

    from counterproof.audit.case import Case, Note
    from counterproof.audit.exiftool import TagDump

__all__ = ["coverage_of", "now", "write_page", "write_report"]

_CARDS = 24
_LARGE_UP_TO = 24  # so few pictures get a large view each
_TAIL_BYTES = 8_000_000  # of the long tail; all parts together stay under 20 MB


def write_report(
    case: "Case",
    target: Target,
    settings: Settings,
    *,
    scan: int | None = None,
    made_at: dt.datetime | None = None,
    title: str = "",
    suppressions: Iterable[Suppression] = (),
) -> None:
    """Write the report of a case.

    Args:
        case: open; views of pictures are kept in it.
        target: a path, `-` for stdout, or a binary stream.
        settings: language of the text, limits for decoding.
        scan: only the pictures that this scan saw; all by default.
        made_at: time to print; now by default.
        title: of the report; the name of the case by default.
        suppressions: findings that were set aside; listed with their reasons.

    Raises:
        UserError: if the file cannot be written.
    """
    words = catalogue(settings.language)

    overview, asides = Overview(), [Aside(item) for item in suppressions]
    records = _aside(overview.watch(judge_all(case.records(scan), settings)), asides, settings)
    found = gather(records, words)
    run = case.run()
    coverage = coverage_of(run, settings, compared=case.meta("indices") not in ("", "0"))
    leaves = [Leaf(_anchor(r, n), page(r, words, coverage)) for n, r in enumerate(found.pages)]
    _name_apart(leaves)
    few = found.total <= _LARGE_UP_TO
    views = views_of(case, leaves, thumbnails.LARGE if few else thumbnails.SMALL, settings.limits)
    for leaf in leaves:
        leaf.notes = tuple(case.notes(leaf.page.sha256)) if leaf.page.sha256 else ()
        leaf.maps = tuple(maps_of(case, leaf))
    relate(case, leaves, words)
    leaves = write_bodies(leaves, words)
    for before, after in pairwise(leaves):
        before.next, after.previous = after.anchor, before.anchor
    anchors = {leaf.page.sha256: leaf.anchor for leaf in reversed(leaves) if leaf.page.sha256}
    by_path = {leaf.page.path: leaf.anchor for leaf in leaves}
    groups, group_count = groups_of(case, words, anchors)
    context = {
        "title": title or visible(Path(case.path).stem),
        "found": found,
        "leaves": leaves,
        "by_path": by_path,
        "cards": [leaf for leaf in leaves if _is_card(leaf.page)][:_CARDS],
        "groups": groups,
        "group_count": group_count,
        "views": views,
        "tail": _Tail(case, scan, found) if found.total > len(found.rows) else None,
        "run": run,
        "runs": list(found.runs.values()),
        "missing": missing(words, coverage),
        "case_notes": [note for note in case.notes("") if note.text],
        "overview": overview,
        "passed": overview.passed(coverage.ran - {"copy"}),  # copies are relations
        "plot": _plot(overview, words),
        "distances": _distances(case, words),
        "asides": asides,
        "disputes": _disputes(case, anchors),
        "model": section_of(case, words),
        "today": settings.as_of,
        "cards_of_models": list(cards()),
        "measured": MEASURED,
        "levels": thresholds(),
        "made_at": (made_at or now()).isoformat(sep=" ", timespec="minutes"),
        "single": False,
    }
    render(target, words, context)


def write_page(
    record: Record,
    view: "thumbnails.View",
    target: Target,
    settings: Settings,
    *,
    maps: Iterable[Blob] = (),
    dump: "TagDump | None" = None,
    error_levels: "thumbnails.View | None" = None,
    made_at: dt.datetime | None = None,
) -> None:
    """Write the page of one picture.

    Args:
        record: what is said of it.
        view: the picture.
        target: where to.
        settings: language.
        maps: what findings name as evidence; those that can be laid over the view are shown.
        dump: every tag, as exiftool read it; left out if None.
        error_levels: an aid for viewing; left out if None.
        made_at: stated on the page; now by default.

    Raises:
        UserError: if the file cannot be written.
    """
    words = catalogue(settings.language)
    coverage = coverage_of(record.run, settings)
    found = gather(iter([record]), words)
    leaf = Leaf("picture", page(record, words, coverage))
    leaf.maps = tuple(shown_maps(maps))
    leaf.dump = dump
    if error_levels and error_levels.blob:
        leaf.error_levels = data_uri(error_levels.blob.media_type, error_levels.blob.data)
    views = list(place([leaf], [view], LARGE_BYTES))
    leaves = write_bodies([leaf], words)
    context = {
        "title": leaf.page.name,
        "found": found,
        "leaves": leaves,
        "by_path": {},
        "cards": [],
        "groups": [],
        "group_count": 0,
        "views": views,
        "tail": None,
        "run": record.run,
        "runs": list(found.runs.values()),
        "missing": missing(words, coverage),
        "case_notes": [],
        "cards_of_models": list(cards()),
        "measured": MEASURED,
        "levels": thresholds(),
        "made_at": (made_at or now()).isoformat(sep=" ", timespec="minutes"),
        "single": True,
    }
    render(target, words, context)


def now() -> dt.datetime:
    """Return the time, or what `SOURCE_DATE_EPOCH` sets for reproducible output."""
    if (epoch := os.environ.get("SOURCE_DATE_EPOCH", "")).isdigit():
        return dt.datetime.fromtimestamp(int(epoch), dt.UTC).replace(tzinfo=None)
    return dt.datetime.now()


# -- what is shown ----------------------------------------------------------------------


def _is_card(item: Page) -> bool:
    return FAMILIES[item.status] not in ("signed", "quiet")


def _anchor(record: Record, number: int) -> str:
    return f"p-{record.sha256[:12]}" if record.sha256 else f"p-x{number + 1}"


def _name_apart(leaves: list[Leaf]) -> None:
    """Give copies of one file anchors of their own."""
    seen: dict[str, int] = {}
    for leaf in leaves:
        seen[leaf.anchor] = count = seen.get(leaf.anchor, 0) + 1
        if count > 1:
            leaf.anchor = f"{leaf.anchor}-{count}"


def coverage_of(run: RunInfo, settings: Settings, *, compared: bool = False) -> Coverage:
    """Tell which checks a scan ran, and which it would run with another profile.

    Args:
        run: of the scan.
        settings: of now.
        compared: whether the scan was given an index of works.
    """
    from counterproof.audit import registry

    ran: set[str] = {"copy"} if compared else set()
    later: dict[str, Stage] = {}
    for name, factory in registry.available().items():
        analyzer = factory(settings)
        for prefix in analyzer.prefixes:
            if name in run.analyzers:
                ran.add(prefix)
            elif prefix not in later or later[prefix].includes(analyzer.stage):
                later[prefix] = analyzer.stage
    return Coverage(run.profile, frozenset(ran), {k: v for k, v in later.items() if k not in ran})


@dataclass(slots=True)
class Aside:
    """A suppression, and how many findings and statuses it covers."""

    entry: Suppression
    covered: int = 0


def _aside(records: Iterable[Record], asides: list[Aside], settings: Settings) -> Iterator[Record]:
    """Pass records on, counting what each suppression covers."""
    for record in records:
        for item in asides:
            words = [record.verdict.status.value, *(f.code for f in record.findings)]
            item.covered += sum(item.entry.covers(record, word) for word in words)
        yield record


@dataclass(frozen=True, slots=True)
class Dispute:
    """A picture whose finding somebody disputes, what was written, and how it ended."""

    path: str
    anchor: str
    notes: tuple["Note", ...]
    outcome: str  # `open`, `upheld`, `corrected`, `withdrawn`


def _disputes(case: "Case", anchors: Mapping[str, str]) -> list[Dispute]:
    """Gather disputes and outcomes by picture; a dispute after an outcome opens it again."""
    threads: dict[str, list[Note]] = {}
    for note in case.notes():
        settles = note.kind in DISPUTE_KINDS and note.sha256 in threads
        if note.kind == "dispute" or settles:
            threads.setdefault(note.sha256, []).append(note)
    found = []
    for sha256, notes in threads.items():
        path = visible((case.paths_of(sha256) or [sha256])[0])
        last = notes[-1].kind
        outcome = "open" if last == "dispute" else last.removeprefix("outcome.")
        found.append(Dispute(path, anchors.get(sha256, ""), tuple(notes), outcome))
    return found


def _plot(overview: Overview, words: Catalogue) -> "Markup":
    """Draw the mix of verdicts by folder."""
    from markupsafe import Markup

    families = {status: str(name) for status, name in FAMILIES.items()}
    rows = [(visible(name), mix, n) for name, mix, n in overview.riskiest(families)]
    order = dict.fromkeys(FAMILIES.values())
    title = words.ui("report.plot.folders")
    return Markup(bars(rows, order, title, lambda part: words.ui(f"family.{part}")))


def _distances(case: "Case", words: Catalogue) -> "Markup | None":
    """Draw how far apart near-duplicates are; None if there are none."""
    from markupsafe import Markup

    rows = distances(case.relations())
    if not rows:
        return None
    named = [(words.ui("report.plot.bits", bits=bits), n) for bits, n in rows]
    return Markup(lengths(named, words.ui("report.plot.distances")))


class _Tail:
    """The pictures that have no row, by status, as many paths as there is room for."""

    def __init__(self, case: "Case", scan: int | None, found: Gathered) -> None:
        self.case = case
        self.scan = scan
        self.root = len(found.root)
        self.in_table = {row.position for row in found.rows}
        self.count = found.total - len(found.rows)
        self.left = dict(found.counts)
        for row in found.rows:
            self.left[row.status] -= 1
        self.room = _TAIL_BYTES
        self.omitted = 0

    def __iter__(self) -> Iterator[tuple[Status, Iterator[str]]]:
        for status in FAMILIES:
            if self.left[status]:
                yield status, self._paths(status)

    def _paths(self, status: Status) -> Iterator[str]:
        for position, (path, said) in enumerate(self.case.statuses(self.scan)):
            if said is not status or position in self.in_table:
                continue
            path = visible(path)[self.root :]
            self.room -= len(path.encode("utf-8", "replace")) + 1
            if self.room >= 0:
                yield path
            else:
                self.omitted += 1
