"""What a person sees of a scan: a progress bar, then a short table. All of it is for eyes.

Progress goes to stderr. The table goes to stdout only where stdout was asked for text.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterproof.findings import Record, Status
from counterproof.text import catalogue, visible

if TYPE_CHECKING:
    from counterproof.app.scan import Tally
    from counterproof.audit.case import Case
    from counterproof.audit.examine import ScanSpec
    from counterproof.text import Catalogue

__all__ = ["bar", "interrupted", "summary", "wanted"]

# Rows of the table: what is said, and the statuses that it adds up, strongest first.
_ROWS: tuple[tuple[str, tuple[Status, ...]], ...] = (
    (
        "synthetic",
        (Status.SYNTHETIC_VERIFIED, Status.SYNTHETIC_DECLARED, Status.SYNTHETIC_SUSPECTED),
    ),
    ("model_edited", (Status.MODEL_EDITED_VERIFIED, Status.MODEL_EDITED_DECLARED)),
    ("conflict", (Status.CONFLICT,)),
    ("altered", (Status.ALTERED, Status.ALTERED_SUSPECTED)),
    ("captured", (Status.CAPTURED_VERIFIED,)),
    ("provenance", (Status.PROVENANCE_VERIFIED, Status.PROVENANCE_DECLARED)),
    ("inconclusive", (Status.INCONCLUSIVE,)),
    ("no_evidence", (Status.NO_EVIDENCE,)),
    ("unreadable", (Status.UNREADABLE,)),
)
_LOOK_FIRST = (
    Status.CONFLICT,
    Status.ALTERED,
    Status.SYNTHETIC_VERIFIED,
    Status.MODEL_EDITED_VERIFIED,
    Status.SYNTHETIC_DECLARED,
    Status.MODEL_EDITED_DECLARED,
    Status.UNREADABLE,
)
_MAX_LOOK_FIRST = 8
_MAX_COPIES = 8


def wanted(quiet: bool) -> bool:
    """Tell whether a bar makes sense: somebody watches stderr."""
    return not quiet and sys.stderr.isatty()


@contextmanager
def bar(total: int, language: str, show: bool) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr; yield what to call after each picture."""
    if not show:
        yield lambda _path: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    words = catalogue(language)
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(words.ui("scan.looking"), total=total)
        yield lambda _path: shown.advance(task)


def interrupted(case: Path, language: str) -> None:
    """Say that nothing is lost, and how to go on."""
    click.echo(catalogue(language).ui("scan.interrupted", case=str(case)), err=True)


def summary(
    tally: "Tally",
    case: "Case",
    target: Path,
    named: Sequence[str],
    spec: "ScanSpec",
    elapsed_s: float,
    outputs: Sequence[str],
    fmt: str,
) -> None:
    """Print the table where a person reads it; in a pipe, one line on stderr."""
    words = catalogue(spec.settings.language)
    as_text = fmt == "text"

    def say(text: str = "", bold: bool = False) -> None:
        click.echo(click.style(text, bold=True) if bold else text, err=not as_text)

    label = visible(str(named[0])) if len(named) == 1 else words.ui("scan.several", n=len(named))
    parts = [
        words.ui("scan.pictures", n=tally.total),
        *([words.ui("scan.known", n=tally.known)] if tally.known else []),
        words.ui(f"profile.{spec.profile.value}"),
        words.ui("scan.online" if spec.settings.online else "scan.offline"),
        f"{int(elapsed_s) // 60}:{int(elapsed_s) % 60:02d}",
    ]
    say(f"{label}  {' · '.join(parts)}", bold=True)
    if as_text:
        say()
        for line in _table(tally, words.language):
            say(line)
        for lines in (list(_first(tally, words.language)), list(_copies(case, words))):
            if lines:
                say()
            for line in lines:
                say(line)
        say()
    for path, word in tally.failed:
        click.echo(words.ui("scan.failed_on", path=path, word=word), err=True)
    if tally.failures > len(tally.failed):
        rest = tally.failures - len(tally.failed)
        click.echo(words.ui("scan.failed_more", n=rest), err=True)
    for name in outputs:
        say(words.ui("scan.wrote", file=name))
    say(words.ui("scan.case", case=str(target)))
    if not any(name.endswith(".html") for name in outputs):
        say(words.ui("scan.next", case=str(target)))


def _table(tally: "Tally", language: str) -> Iterator[str]:
    from counterproof.text import cell_width

    words = catalogue(language)
    rows = []
    for key, statuses in _ROWS:
        number = sum(tally.counts[status] for status in statuses)
        if not number and key != "no_evidence":
            continue
        split = [
            f"{words.ui('strength.' + status.rpartition('_')[2])} {tally.counts[status]}"
            for status in statuses
            if len(statuses) > 1 and tally.counts[status]
        ]
        remark = " · ".join(split)
        if key in ("conflict", "no_evidence"):
            remark = words.ui(f"row.{key}.remark")
        elif key == "unreadable":
            record = tally.first[Status.UNREADABLE][0]
            remark = f"{visible(record.path)}: {_cause(record, language)}"
        rows.append((words.ui(f"row.{key}"), f"{number:,}", remark))
    label = max(cell_width(row[0]) for row in rows)
    digits = max(len(row[1]) for row in rows)
    for name, number_text, remark in rows:
        pad = " " * (label - cell_width(name))
        yield f"  {name}{pad}  {number_text:>{digits}}   {remark}".rstrip()


def _first(tally: "Tally", language: str) -> Iterator[str]:
    """Name the pictures that need eyes, the gravest first."""
    from counterproof.text import cell_width

    words = catalogue(language)
    rows = []
    for status in _LOOK_FIRST:
        for record in tally.first.get(status, ()):
            said = [words.sentence(f) for f in record.findings if f.code in record.verdict.rests_on]
            both = len(said) if status is Status.CONFLICT else 1
            reason = " / ".join(said[:both]) or words.status(status)["says"]
            rows.append((words.status(status)["short"], visible(record.path), reason))
    rows = rows[:_MAX_LOOK_FIRST]
    if not rows:
        return
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    rows = [(text, _tail(path, 48 if columns else 0), reason) for text, path, reason in rows]
    wide = max(cell_width(row[0]) for row in rows)
    long = max(cell_width(row[1]) for row in rows)
    for status_text, path, reason in rows:
        left = " " * (wide - cell_width(status_text))
        middle = " " * (long - cell_width(path))
        yield _head(f"  {status_text}{left}  {path}{middle}  {reason}", columns)


def _copies(case: "Case", words: "Catalogue") -> Iterator[str]:
    """Say which pictures show works of an index, or stand on a list."""
    from counterproof.audit.copy_words import related

    count = 0
    for relation in case.relations():
        if relation.kind not in ("copy", "rights"):
            continue
        paths = case.paths_of(relation.members[0])
        if text := related(visible(paths[0]) if paths else "", relation, words):
            count += 1
            if count <= _MAX_COPIES:
                yield f"  {text}"
    if count > _MAX_COPIES:
        yield "  " + words.ui("report.more", n=count - _MAX_COPIES)


def _tail(path: str, cells: int) -> str:
    """Cut a path from the left, where it is least telling; 0 cuts nothing."""
    from counterproof.text import cell_width

    if not cells or cell_width(path) <= cells:
        return path
    while cell_width(path) > cells - 1:
        path = path[1:]
    return f"…{path}"


def _head(line: str, cells: int) -> str:
    """Cut a line to the width of the terminal; 0 cuts nothing."""
    from counterproof.text import cell_width

    if not cells or cell_width(line) <= cells:
        return line
    while cell_width(line) > cells - 1:
        line = line[:-1]
    return f"{line.rstrip()}…"


def _cause(record: Record, language: str) -> str:
    words = catalogue(language)
    return next(
        (words.sentence(f) for f in record.findings if f.code == "file.unreadable"),
        words.status(Status.UNREADABLE)["says"],
    )
