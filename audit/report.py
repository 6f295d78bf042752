"""One HTML file from a case: opens offline, asks for nothing, reads without JavaScript.

The file is streamed: what needs eyes gets a page of its own, the rest a row, the long tail a
line, each up to a cap that the report states. 100,000 pictures stay under 20 MB and in
constant memory. The same case gives the same bytes but for the time of making.
"""

import base64
import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from counterproof import __version__
from counterproof.analysis import Stage
from counterproof.audit import thumbnails
from counterproof.audit.overview import Overview, bars
from counterproof.audit.page import (
    QUESTIONS,
    Coverage,
    Page,
    missing,
    page,
)
from counterproof.audit.quotes import Line
from counterproof.audit.rules import judge_all
from counterproof.audit.selection import Gathered, gather
from counterproof.audit.statement import cards
from counterproof.audit.suppressions import Suppression
from counterproof.audit.writer import Target, open_atomically
from counterproof.errors import CaseError
from counterproof.findings import (
    Answers,
    Basis,
    Blob,
    Record,
    Relation,
    RunInfo,
    Severity,
    Status,
)
from counterproof.settings import Limits, Settings
from counterproof.text import Catalogue, catalogue, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from counterproof.audit.case import Case, Note

__all__ = ["coverage_of", "document", "now", "write_page", "write_report"]

_CARDS = 24
_MAX_REGIONS = 60
_TWINS = 6
_GROUPS = 40  # of near-duplicates and other relations
_LARGE_UP_TO = 24  # so few pictures get a large view each
# Bytes that each part may take; together under 20 MB, and 5 MB for 1,000 pictures.
_PAGES_BYTES = 2_400_000
_VIEWS_BYTES = 1_800_000
_LARGE_BYTES = 4_000_000
_TAIL_BYTES = 8_000_000

_TEMPLATES = Path(__file__).parent / "templates"
# What a status means by colour and by the strength of its outline; `report.css` has both.
_FAMILIES = {
    Status.CONFLICT: "contra",
    Status.ALTERED: "contra",
    Status.SYNTHETIC_VERIFIED: "model",
    Status.SYNTHETIC_DECLARED: "model",
    Status.MODEL_EDITED_VERIFIED: "model",
    Status.MODEL_EDITED_DECLARED: "model",
    Status.CAPTURED_VERIFIED: "signed",
    Status.PROVENANCE_VERIFIED: "signed",
    Status.PROVENANCE_DECLARED: "signed",
    Status.SYNTHETIC_SUSPECTED: "lead",
    Status.ALTERED_SUSPECTED: "lead",
    Status.INCONCLUSIVE: "lead",
    Status.UNREADABLE: "quiet",
    Status.NO_EVIDENCE: "quiet",
}


@dataclass(slots=True)
class Leaf:
    """One picture that has a page of its own.

    Attributes:
        anchor: id of the page.
        page: what it says.
        view: id of the picture's view, or empty.
        problem: why there is no view.
        box: width and height of the view's frame.
        maps: (label, data URI) of each map that can be laid over the view.
        notes: what people wrote.
        twins: what else in the case relates to it.
        previous: anchor of the page before; may be empty.
        next: anchor of the page after; may be empty.
        body: the page as HTML.
    """

    anchor: str
    page: Page
    view: str = ""
    problem: str = ""
    box: tuple[int, int] = (4, 3)
    maps: tuple[tuple[str, str], ...] = ()
    notes: tuple[Any, ...] = ()
    twins: tuple[Line, ...] = ()
    previous: str = ""
    next: str = ""
    body: "Markup | str" = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One relation, in words."""

    says: str
    means: str
    members: tuple[tuple[str, str], ...]  # (anchor or "", path)
    more: int


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
    coverage = coverage_of(run, settings)
    leaves = [Leaf(_anchor(r, n), page(r, words, coverage)) for n, r in enumerate(found.pages)]
    _name_apart(leaves)
    few = found.total <= _LARGE_UP_TO
    views = _views(case, leaves, thumbnails.LARGE if few else thumbnails.SMALL, settings.limits)
    for leaf in leaves:
        leaf.notes = tuple(case.notes(leaf.page.sha256)) if leaf.page.sha256 else ()
        leaf.maps = tuple(_maps(case, leaf))
    _relate(case, leaves, words)
    leaves = _write_bodies(leaves, words)
    for before, after in pairwise(leaves):
        before.next, after.previous = after.anchor, before.anchor
    anchors = {leaf.page.sha256: leaf.anchor for leaf in reversed(leaves) if leaf.page.sha256}
    by_path = {leaf.page.path: leaf.anchor for leaf in leaves}
    groups, group_count = _groups(case, words, anchors)
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
        "passed": overview.passed(coverage.ran),
        "plot": _plot(overview, words),
        "asides": asides,
        "disputes": _disputes(case, anchors),
        "today": settings.as_of,
        "cards_of_models": list(cards()),
        "made_at": (made_at or now()).isoformat(sep=" ", timespec="minutes"),
        "single": False,
    }
    _render(target, words, context)


def write_page(
    record: Record,
    view: "thumbnails.View",
    target: Target,
    settings: Settings,
    *,
    maps: Iterable[Blob] = (),
    made_at: dt.datetime | None = None,
) -> None:
    """Write the page of one picture.

    Args:
        record: what is said of it.
        view: the picture.
        target: where to.
        settings: language.
        maps: what findings name as evidence; those that can be laid over the view are shown.
        made_at: stated on the page; now by default.

    Raises:
        UserError: if the file cannot be written.
    """
    words = catalogue(settings.language)
    coverage = coverage_of(record.run, settings)
    found = gather(iter([record]), words)
    leaf = Leaf("picture", page(record, words, coverage))
    leaf.maps = tuple(_shown_maps(maps))
    views = list(_place([leaf], [view], _LARGE_BYTES))
    leaves = _write_bodies([leaf], words)
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
        "made_at": (made_at or now()).isoformat(sep=" ", timespec="minutes"),
        "single": True,
    }
    _render(target, words, context)


def now() -> dt.datetime:
    """Return the time, or what `SOURCE_DATE_EPOCH` sets for reproducible output."""
    if (epoch := os.environ.get("SOURCE_DATE_EPOCH", "")).isdigit():
        return dt.datetime.fromtimestamp(int(epoch), dt.UTC).replace(tzinfo=None)
    return dt.datetime.now()


# -- what is shown ----------------------------------------------------------------------


def _is_card(item: Page) -> bool:
    return _FAMILIES[item.status] not in ("signed", "quiet")


def _anchor(record: Record, number: int) -> str:
    return f"p-{record.sha256[:12]}" if record.sha256 else f"p-x{number + 1}"


def _name_apart(leaves: list[Leaf]) -> None:
    """Give copies of one file anchors of their own."""
    seen: dict[str, int] = {}
    for leaf in leaves:
        seen[leaf.anchor] = count = seen.get(leaf.anchor, 0) + 1
        if count > 1:
            leaf.anchor = f"{leaf.anchor}-{count}"


def coverage_of(run: RunInfo, settings: Settings) -> Coverage:
    """Tell which checks a scan ran, and which it would run with another profile."""
    from counterproof.audit import registry

    ran: set[str] = set()
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


_DISPUTE_KINDS = ("dispute", "outcome.upheld", "outcome.corrected", "outcome.withdrawn")


def _disputes(case: "Case", anchors: Mapping[str, str]) -> list[Dispute]:
    """Gather disputes and outcomes by picture; a dispute after an outcome opens it again."""
    threads: dict[str, list[Note]] = {}
    for note in case.notes():
        settles = note.kind in _DISPUTE_KINDS and note.sha256 in threads
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

    families = {status: str(name) for status, name in _FAMILIES.items()}
    rows = [(visible(name), mix, n) for name, mix, n in overview.riskiest(families)]
    order = dict.fromkeys(_FAMILIES.values())
    title = words.ui("report.plot.folders")
    return Markup(bars(rows, order, title, lambda part: words.ui(f"family.{part}")))


# -- views, maps, relations -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """A view as it is embedded."""

    anchor: str
    uri: str
    width: int
    height: int


def _views(
    case: "Case", leaves: list[Leaf], size: thumbnails.Size, limits: Limits
) -> list[Picture]:
    """Take views from the case, make those that are missing, keep them there."""
    kept: dict[str, thumbnails.View] = {}
    wanted: dict[str, str] = {}
    for leaf in leaves:
        sha256 = leaf.page.sha256
        if not sha256 or sha256 in kept or sha256 in wanted:
            continue
        if blob := case.blob(sha256, size.name):
            kept[sha256] = thumbnails.View(sha256, blob)
        elif path := case.location(sha256):
            wanted[sha256] = path
    for view in thumbnails.make(wanted.items(), size, limits):
        kept[view.sha256] = view
        if view.blob:
            # a case that cannot be written is no reason to show nothing
            with contextlib.suppress(CaseError):
                case.put_blob(view.sha256, view.blob)
    none = thumbnails.View("", None, "gone")
    views = [kept.get(leaf.page.sha256, none) for leaf in leaves]
    budget = _LARGE_BYTES if size is thumbnails.LARGE else _VIEWS_BYTES
    return list(_place(leaves, views, budget))


def _place(leaves: list[Leaf], views: list[thumbnails.View], budget: int) -> Iterator[Picture]:
    """Give each page its view, copies of one file sharing theirs, within a number of bytes."""
    placed: dict[str, str] = {}
    for leaf, view in zip(leaves, views, strict=True):
        width, height = leaf.page.width, leaf.page.height
        leaf.box = (width, height) if width and height else (400, 300)
        if view.blob is None:
            leaf.problem = view.problem
            leaf.box = (400, 300)
            continue
        if view.sha256 in placed:
            leaf.view = placed[view.sha256]
            continue
        uri = _data_uri(view.blob.media_type, view.blob.data)
        budget -= len(uri)
        if budget < 0:
            leaf.problem = "left_out"
            continue
        leaf.view = placed[view.sha256] = f"v-{leaf.anchor}"
        yield Picture(leaf.view, uri, *leaf.box)


_MAP_TYPES = ("image/png", "image/jpeg", "image/webp")
_MAX_MAP_BYTES = 150_000


def _maps(case: "Case", leaf: Leaf) -> Iterator[tuple[str, str]]:
    """Yield the maps that findings name, those that are small enough."""
    names = [name for reason in leaf.page.reasons for name in reason.evidence]
    found = (case.blob(leaf.page.sha256, name) for name in names)
    yield from _shown_maps(blob for blob in found if blob)


def _shown_maps(blobs: Iterable[Blob]) -> Iterator[tuple[str, str]]:
    for blob in blobs:
        if blob.media_type in _MAP_TYPES and len(blob.data) <= _MAX_MAP_BYTES:
            yield visible(blob.name, 60), _data_uri(blob.media_type, blob.data)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _relate(case: "Case", leaves: list[Leaf], words: Catalogue) -> None:
    """Note on each page what else in the case belongs to its picture."""
    pages: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        pages.setdefault(leaf.page.sha256, []).append(leaf)
    for relation in case.relations():
        for member in relation.members:
            for leaf in pages.get(member, ()):
                others = [item for item in relation.members if item != member]
                paths = [(case.paths_of(item) or [item])[0] for item in others[:_TWINS]]
                value = words.ui("list.separator").join(visible(path) for path in paths)
                if len(others) > _TWINS:
                    value = f"{value} {words.ui('report.more', n=len(others) - _TWINS)}"
                if len(leaf.twins) < _TWINS:
                    leaf.twins += (Line(words.sentence(relation), value),)


def _groups(case: "Case", words: Catalogue, anchors: Mapping[str, str]) -> tuple[list[Group], int]:
    """Put the first relations into words; count all of them."""
    groups: list[Group] = []
    count = 0
    for relation in case.relations():
        count += 1
        if len(groups) < _GROUPS:
            groups.append(_group(case, relation, words, anchors))
    return groups, count


def _group(case: "Case", relation: Relation, words: Catalogue, anchors: Mapping[str, str]) -> Group:
    said = words.describe(relation)
    members = []
    for member in relation.members[:12]:
        paths = case.paths_of(member) or [member]
        members.append((anchors.get(member, ""), visible(paths[0])))
    return Group(said["says"], said["means"], tuple(members), max(0, len(relation.members) - 12))


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
        for status in _FAMILIES:
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


# -- writing ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inline:
    """A style or a script, with the digest by which the page's policy admits it."""

    text: "Markup"
    digest: str

    @classmethod
    def of(cls, text: str) -> "Inline":
        """Take our own text, never a file's: it is not escaped."""
        from markupsafe import Markup

        digest = hashlib.sha256(text.encode()).digest()
        return cls(Markup(text), f"sha256-{base64.b64encode(digest).decode()}")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shared(words: Catalogue) -> dict[str, Any]:
    """Return what every template may ask for."""
    return {
        "words": words,
        "ui": words.ui,
        "visible": visible,
        "families": _FAMILIES,
        "statuses": list(_FAMILIES),
        "questions": QUESTIONS,
        "answer_words": {name: list(kind) for name, kind in get_type_hints(Answers).items()},
        "bases": list(Basis),
        "dispute_kinds": _DISPUTE_KINDS,
        "severities": list(Severity)[::-1],
        "version": __version__,
    }


def document(template: str, words: Catalogue, context: dict[str, Any]) -> str:
    """Lay out a small page of its own in the style of the report, without a script."""
    style = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "extra.css")
    )
    shared = _shared(words) | {
        "lang": {"zh": "zh-Hans"}.get(words.language, words.language),
        "style": Inline.of(style),
    }
    return _environment().get_template(template).render(**shared | context)


def _write_bodies(leaves: list[Leaf], words: Catalogue) -> list[Leaf]:
    """Lay out the pages, as many as there is room for; return those."""
    from markupsafe import Markup

    template = _environment().get_template("picture.html")
    shared = _shared(words)
    room = _PAGES_BYTES
    for number, leaf in enumerate(leaves):
        boxes = [box for reason in leaf.page.reasons for box in reason.regions][:_MAX_REGIONS]
        text = template.render(**shared, leaf=leaf, regions=boxes)
        room -= len(text.encode("utf-8", "backslashreplace"))
        if room < 0:
            return leaves[:number]
        leaf.body = Markup(text)  # already escaped by the template
    return leaves


def _render(target: Target, words: Catalogue, context: dict[str, Any]) -> None:
    style = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "extra.css")
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    counts = context["found"].counts
    style += "".join(
        f".bar .s-{status}{{flex-grow:{number}}}\n" for status, number in counts.items() if number
    )
    context |= _shared(words) | {
        "lang": {"zh": "zh-Hans"}.get(words.language, words.language),
        "style": Inline.of(style),
        "script": Inline.of(script),
        "hurry": _hurry(context["found"], words),
    }
    template = _environment().get_template("report.html")
    with open_atomically(target) as stream:
        for chunk in _chunks(template.generate(context), 65_536):
            stream.write(chunk.encode("utf-8", "backslashreplace"))


def _chunks(parts: Iterable[str], size: int) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for part in parts:
        held.append(part)
        length += len(part)
        if length >= size:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


# What the person in a hurry reads: a sentence per group of statuses.
_HURRY: tuple[tuple[str, tuple[Status, ...]], ...] = (
    ("hurry.conflict", (Status.CONFLICT,)),
    ("hurry.altered", (Status.ALTERED,)),
    ("hurry.synthetic", (Status.SYNTHETIC_VERIFIED, Status.SYNTHETIC_DECLARED)),
    ("hurry.model_edited", (Status.MODEL_EDITED_VERIFIED, Status.MODEL_EDITED_DECLARED)),
    ("hurry.suspected", (Status.SYNTHETIC_SUSPECTED, Status.ALTERED_SUSPECTED)),
    (
        "hurry.signed",
        (Status.CAPTURED_VERIFIED, Status.PROVENANCE_VERIFIED, Status.PROVENANCE_DECLARED),
    ),
    ("hurry.unknown", (Status.INCONCLUSIVE, Status.UNREADABLE)),
    ("hurry.no_evidence", (Status.NO_EVIDENCE,)),
)


def _hurry(found: Gathered, words: Catalogue) -> list[str]:
    """Say in a few sentences what there is, for a person in a hurry."""
    said = []
    for key, statuses in _HURRY:
        if number := sum(found.counts[status] for status in statuses):
            said.append(words.ui(key, n=number, number=f"{number:,}"))
    return said or [words.ui("hurry.empty")]
