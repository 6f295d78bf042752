"""`counterproof scan PATH…`: the main job."""

import datetime as dt
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.options import (
    as_of_option,
    keys_option,
    language_option,
    online_option,
    outputs_option,
    profile_option,
)
from counterproof.errors import UserError
from counterproof.findings import PREFIXES, Record, Severity, Status, matches_selector

if TYPE_CHECKING:
    from counterproof.audit.case import Case
    from counterproof.audit.scan import Scanned
    from counterproof.audit.suppressions import Suppression
    from counterproof.audit.writer import Writer
    from counterproof.settings import Settings

__all__ = ["FailOn", "scan"]

FORMATS = ("text", "jsonl", "json", "csv", "sarif", "html", "parquet")


@dataclass(frozen=True, slots=True)
class FailOn:
    """One `--fail-on SELECTOR[:SEVERITY]`: what makes the exit code 1.

    Attributes:
        selector: the start of a status or of a code.
        severity: the least that a finding must have at stake.
    """

    selector: str
    severity: Severity = Severity.INFO

    @classmethod
    def parse(cls, text: str) -> "FailOn":
        """Read `SELECTOR[:SEVERITY]`.

        Raises:
            UserError: if it can select nothing.
        """
        selector, colon, word = text.partition(":")
        if colon and word not in list(Severity):
            raise UserError(f"--fail-on {text}: expected a severity of {', '.join(Severity)}")
        if selector.partition(".")[0] not in PREFIXES and not any(
            matches_selector(selector, status) for status in Status
        ):
            raise UserError(
                f"--fail-on {text}: expected the start of a status or of a code; "
                "`counterproof explain` lists them"
            )
        return cls(selector, Severity(word) if word else Severity.INFO)

    def words(self, record: Record) -> set[str]:
        """Return the status and codes of a record that this selects."""
        found = {
            finding.code
            for finding in record.findings
            if matches_selector(self.selector, finding.code)
            and finding.severity.rank >= self.severity.rank
        }
        status = record.verdict.status
        if matches_selector(self.selector, status):
            grave = [f for f in record.findings if f.code in record.verdict.rests_on]
            top = max((finding.severity.rank for finding in grave), default=0)
            if top >= self.severity.rank:
                found.add(status.value)
        return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", nargs=-1, metavar="PATH…")
@profile_option()
@click.option("--only", multiple=True, metavar="PREFIX", help="Run only these checks, e.g. c2pa.")
@click.option("--skip", multiple=True, metavar="PREFIX", help="Leave these checks out.")
@click.option("--case", "case_path", metavar="FILE", help="Keep results in this case file.")
@click.option("--format", "fmt", type=click.Choice(FORMATS), help="What stdout gets.")
@outputs_option("Also write .html .jsonl .json .csv .sarif or .parquet (repeatable).")
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="SELECTOR[:SEVERITY]",
    help="Exit 1 if a status or code is found, e.g. synthetic or privacy.gps:medium.",
)
@click.option("--baseline", metavar="CASE", help="With --fail-on: count only what is new.")
@click.option("--suppress", metavar="FILE", help="With --fail-on: pass over what is set aside.")
@click.option(
    "--index",
    "indices",
    multiple=True,
    metavar="INDEX",
    help="Compare with an index of reference works.",
)
@online_option
@keys_option
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Worker processes.")
@click.option("--files-from", metavar="FILE", help="Read paths from a list; - is stdin.")
@as_of_option()
@click.option("--shard", metavar="I/N", help="Look only at part I of N.")
@language_option
@click.option("-q", "--quiet", is_flag=True, help="No progress, no table.")
def scan(paths: tuple[str, ...], **options: Any) -> None:
    """Look at pictures, folders or lists of them, and say what is known of each.

    Results are kept in a case, so that a scan that was stopped goes on where it was. A
    terminal gets a table, a pipe gets one JSON record a line.

    \b
    counterproof scan photos/
    counterproof scan photos/ -o report.html -o results.csv
    counterproof scan photos/ --fail-on synthetic --fail-on altered
    """  # noqa: D301 - click wants the character itself before lines that it must not join
    from counterproof.settings import load_settings

    settings = load_settings(
        {
            "online": options["online"],
            "as_of": options["as_of"],
            "language": options["lang"],
            "indices": options["indices"] or None,
            "keys": options["keys"] or None,
        }
    )
    sys.exit(_scan(paths, settings, options))


def _scan(paths: tuple[str, ...], settings: "Settings", options: dict[str, Any]) -> int:
    from counterproof.analysis import Stage
    from counterproof.app import progress
    from counterproof.audit.case import Case
    from counterproof.audit.examine import ScanSpec
    from counterproof.audit.scan import default_case_path, default_jobs, relate, scan_into
    from counterproof.audit.sources import Shard, expand, read_list

    named = [*paths, *(read_list(options["files_from"]) if options["files_from"] else ())]
    if paths == ("-",):
        named = read_list("-")
    if not named:
        raise UserError("expected a picture, a folder or --files-from FILE; see --help")
    _check_indices(settings)
    _check_exist(paths, named)
    selectors = [FailOn.parse(text) for text in options["fail_on"]]
    shard = Shard.parse(options["shard"]) if options["shard"] else None
    spec = ScanSpec(settings, Stage(options["profile"]), options["only"], options["skip"])
    spec.prepare()  # a bad prefix is said before anything starts
    target = Path(options["case_path"] or default_case_path(settings.home, named))
    if shard:
        target = target.with_name(f"{target.stem}.{shard.index}-of-{shard.count}{target.suffix}")
    fmt = options["fmt"] or ("text" if sys.stdout.isatty() else "jsonl")
    started = time.monotonic()
    tally = Tally(selectors)
    tally.today = settings.as_of
    if options["suppress"]:
        from counterproof.audit.suppressions import load_suppressions

        tally.suppressions = load_suppressions(Path(options["suppress"]))
    with ExitStack() as stack:
        if options["baseline"]:
            tally.baseline = stack.enter_context(Case.open(options["baseline"]))
        case = stack.enter_context(Case.open(target, create=True))
        writers, pages = _open_outputs(stack, fmt, options["outputs"], settings)
        jobs = options["jobs"] or default_jobs()
        scanned = scan_into(case, named, spec, jobs=jobs, shard=shard)
        show = progress.wanted(options["quiet"])
        total = sum(1 for _ in expand(named, shard)) if show else 0
        try:
            with progress.bar(total, settings.language, show) as advance:
                for item in _each(scanned):
                    tally.add(item)
                    for writer in writers:
                        writer.write(item.record)
                    advance(item.record.path)
            relate(case, settings)
        except KeyboardInterrupt:
            case.commit()
            progress.interrupted(target, settings.language)
            return 130
        tally.relate(case)
        info = {"case": str(target), "counts": {str(k): n for k, n in tally.counts.items()}}
        for writer in writers:
            writer.close(case.relations(), info)
        for page in pages:
            _write_page(page, case, settings, tally.suppressions)
        shown = [*options["outputs"]]
        if not options["quiet"]:
            elapsed = time.monotonic() - started
            progress.summary(tally, case, target, named, spec, elapsed, shown, fmt)
    return tally.exit_code()


def _each(scanned: "Iterator[Scanned]") -> "Iterator[Scanned]":
    """Pass items on; close the workers at once if the loop is left."""
    try:
        yield from scanned
    finally:
        scanned.close()  # type: ignore[attr-defined]


def _check_indices(settings: "Settings") -> None:
    """Refuse an index that cannot be read before anything is scanned."""
    from counterproof.audit.copy_index import CopyIndex

    for path in settings.indices:
        try:
            CopyIndex.open(path).close()
        except UserError as err:
            raise UserError(f"--index {err}") from err


def _check_exist(paths: tuple[str, ...], named: list[str]) -> None:
    """Refuse a scan of nothing: every path is a mistake. One among others only counts."""
    import glob
    import os

    if paths and not any(os.path.lexists(path) or glob.glob(path) for path in named):
        raise UserError(f"{named[0]}: no such file or folder")


def _open_outputs(
    stack: ExitStack, fmt: str, outputs: tuple[str, ...], settings: "Settings"
) -> "tuple[list[Writer], list[str]]":
    """Open a writer for stdout and each file; return them, and the HTML pages to come."""
    from counterproof.audit import exports
    from counterproof.text import catalogue

    words = catalogue(settings.language)
    writers, pages = [], []
    wanted = [(name, exports.format_of(name)) for name in outputs]
    for name, kind in [*wanted, *([("-", fmt)] if fmt != "text" else [])]:
        if kind == "html":
            pages.append(name)
        else:
            writers.append(stack.enter_context(exports.open_writer(name, kind, words)))
    return writers, pages


def _write_page(
    name: str, case: "Case", settings: "Settings", suppressions: "tuple[Suppression, ...]"
) -> None:
    from counterproof.audit.report import write_report

    write_report(case, name, settings, scan=case.scan, suppressions=suppressions)


class Tally:
    """Counts what passes, and remembers what `--fail-on` selects."""

    def __init__(self, selectors: list[FailOn]) -> None:
        self.selectors = selectors
        self.baseline: Case | None = None
        self.suppressions: tuple[Suppression, ...] = ()
        self.today = dt.date.min
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self.known = 0
        self.first: dict[Status, list[Record]] = {}
        self.failed: list[tuple[str, str]] = []
        self.failures = 0

    def add(self, item: "Scanned") -> None:
        """Count one record."""
        record = item.record
        status = record.verdict.status
        self.counts[status] += 1
        self.known += item.known
        kept = self.first.setdefault(status, [])
        if len(kept) < 8:
            kept.append(record)
        if self.selectors and (words := self._selected(record)):
            self._fail(record.path, min(words))

    def _selected(self, record: Record) -> set[str]:
        words: set[str] = set().union(*(item.words(record) for item in self.selectors))
        if words and self.baseline and record.sha256:
            words -= self.baseline.words_of(record.sha256)
        if words and self.suppressions:
            from counterproof.audit.suppressions import set_aside

            words -= set_aside(self.suppressions, record, words, self.today)
        return words

    def relate(self, case: "Case") -> None:
        """Count relations that `--fail-on` selects, unless the baseline has them."""
        if not self.selectors:
            return
        old = set()
        if self.baseline:
            old = {(item.code, item.members) for item in self.baseline.relations()}
        for relation in case.relations():
            if (relation.code, relation.members) not in old and any(
                item.severity is Severity.INFO and matches_selector(item.selector, relation.code)
                for item in self.selectors
            ):
                self._fail(", ".join(case.paths_of(relation.members[0])), relation.code)

    def _fail(self, path: str, word: str) -> None:
        self.failures += 1
        if len(self.failed) < 5:
            self.failed.append((path, word))

    @property
    def total(self) -> int:
        """How many pictures passed."""
        return sum(self.counts.values())

    def exit_code(self) -> int:
        """Return 1 before 3 before 0, as documented."""
        if self.failures:
            return 1
        return 3 if self.counts[Status.UNREADABLE] else 0
