"""`counterproof show IMAGE`: one picture in depth, on one page that can be printed."""

import os
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterproof.app.options import (
    as_of_option,
    format_option,
    keys_option,
    language_option,
    online_option,
    outputs_option,
    print_json,
    profile_option,
)
from counterproof.errors import UserError
from counterproof.text import Catalogue, cell_width, wrap

if TYPE_CHECKING:
    from counterproof.audit.exiftool import TagDump
    from counterproof.audit.page import Page, Reason
    from counterproof.findings import Blob, Record
    from counterproof.settings import Settings

__all__ = ["MAX_WIDTH", "heading", "lay_out", "look_at", "show", "two_columns"]

MAX_WIDTH = 96
_COLUMN = 30


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", metavar="IMAGE")
@profile_option()
@format_option("text", "json")
@outputs_option("Also write its page (.html) or its record (.json, .csv …).")
@click.option("--tags", is_flag=True, help="List every tag, as exiftool reads it; text and .html.")
@click.option(
    "--error-levels",
    is_flag=True,
    help="Draw what saving once more changes, into the .html: for viewing, no evidence.",
)
@online_option
@keys_option
@as_of_option()
@language_option
def show(
    image: str,
    profile: str,
    fmt: str,
    outputs: tuple[str, ...],
    tags: bool,
    error_levels: bool,
    online: bool | None,
    keys: tuple[str, ...],
    as_of: str | None,
    lang: str | None,
) -> None:
    """Show one picture in depth: what is known of it, why, and what is not known.

    Prints its facts, its status in a sentence, each finding with what it means and does not
    mean, the five answers about its credential, what was not checked and how to check further.
    """
    from counterproof.audit.exports import format_of
    from counterproof.audit.page import page
    from counterproof.audit.report import coverage_of
    from counterproof.findings import Status
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    given = {"language": lang, "online": online, "as_of": as_of, "keys": keys or None}
    settings = load_settings(given)
    words = catalogue(settings.language)
    wanted = [(name, format_of(name)) for name in outputs]
    if error_levels and "html" not in (kind for _, kind in wanted):
        raise UserError("--error-levels: is drawn into a page; add -o FILE.html")
    dump = _dump(image, settings) if tags else None
    with tempfile.TemporaryDirectory(prefix="counterproof-") as folder:
        case = Path(folder) / "show.case"
        (record,) = look_at(image, profile=profile, settings=settings, case=case)
        maps = _maps(case, record) if outputs else ()
    for name, kind in wanted:
        _write(name, kind, record, image, settings, words, maps, dump, error_levels)
    if fmt == "json":
        print_json(record.to_json())
    elif not outputs or sys.stdout.isatty():
        width = min(shutil.get_terminal_size((88, 24)).columns, MAX_WIDTH)
        said = page(record, words, coverage_of(record.run, settings))
        # None: click strips the bold where stdout is no terminal
        text = lay_out(said, words, width) + (_tags(dump, words, width) if dump else "")
        click.echo(text, color=False if "NO_COLOR" in os.environ else None)
    for name in outputs:
        if name != "-":
            click.echo(words.ui("scan.wrote", file=name), err=True)
    if record.verdict.status is Status.UNREADABLE:
        sys.exit(3)


def look_at(
    *images: str, profile: str, settings: "Settings", case: Path | None = None
) -> "list[Record]":
    """Scan a few pictures; a worker takes the blow if one is hostile.

    Args:
        images: paths.
        profile: how much to look at.
        settings: what may be read.
        case: keeps the records, and the maps that they name; none by default.
    """
    from counterproof.audit.scan import scan

    for image in images:
        if not os.path.lexists(image):
            raise UserError(f"{image}: no such file")
        if os.path.isdir(image):
            raise UserError(f"{image}: expected a picture, got a folder; use `counterproof scan`")
    found = list(scan(*images, settings=settings, profile=profile, case=case, jobs=1))
    if len(found) == len(images):
        return found
    one = {image: next(iter(scan(image, settings=settings, profile=profile))) for image in images}
    return [one[image] for image in images]  # a path that was given twice is scanned once


def _maps(case: Path, record: "Record") -> "tuple[Blob, ...]":
    """Return the maps that the findings of a record name."""
    from counterproof.audit.case import Case

    names = dict.fromkeys(name for finding in record.findings for name in finding.evidence)
    with Case.open(case) as opened:
        found = [opened.blob(record.sha256, name) for name in names]
    return tuple(blob for blob in found if blob)


def _write(
    name: str,
    kind: str,
    record: "Record",
    image: str,
    settings: "Settings",
    words: Catalogue,
    maps: "tuple[Blob, ...]",
    dump: "TagDump | None" = None,
    error_levels: bool = False,
) -> None:
    from counterproof.audit import exports, thumbnails
    from counterproof.audit.report import write_page

    if kind != "html":
        with exports.open_writer(name, kind, words) as writer:
            writer.write(record)
        return
    wanted = [(record.sha256, image)] if record.sha256 else []
    views = thumbnails.make(wanted, thumbnails.LARGE, settings.limits)
    view = next(views, thumbnails.View("", None, "unreadable"))
    aid = thumbnails.make(wanted if error_levels else [], thumbnails.ERROR_LEVELS, settings.limits)
    drawn = next(aid, None)
    write_page(record, view, name, settings, maps=maps, dump=dump, error_levels=drawn)


def _dump(image: str, settings: "Settings") -> "TagDump":
    """Let exiftool read the file.

    Raises:
        UserError: if there is no exiftool that can be used, or the file cannot be had.
    """
    from counterproof.audit.exiftool import find_exiftool, read_tags
    from counterproof.errors import ImageError
    from counterproof.images import ImageFile

    found = find_exiftool()
    try:
        return read_tags(ImageFile.open(image, limits=settings.limits), found)
    except ImageError as err:
        raise UserError(str(err)) from err


# -- layout -----------------------------------------------------------------------------


def lay_out(page: "Page", words: Catalogue, width: int) -> str:
    """Lay out a picture's page for a terminal or a printer.

    Args:
        page: what is said.
        words: language of the headings.
        width: in columns; wide characters take two.

    Returns:
        Lines with bold headings (ANSI); click strips that where it is not wanted.
    """
    blocks = [click.style(page.name, bold=True)]
    blocks.append(two_columns(((line.label, line.value) for line in page.facts), width))
    status = [click.style(page.short.upper(), bold=True), wrap(page.says, width, "  "), ""]
    status.append(_sides(page.means, page.does_not_mean, "", words, width))
    blocks.append("\n".join(status))
    blocks.append(heading("page.why", words))
    blocks += [_reason(reason, words, width) for reason in page.reasons]
    if not page.reasons:
        blocks.append(wrap(words.ui("page.nothing"), width, "  "))
    if page.more_reasons:
        blocks.append("  " + words.ui("report.more", n=page.more_reasons))
    answers = two_columns(((answer.asks, answer.says) for answer in page.answers), width)
    blocks.append(f"{heading('page.answers', words)}\n{answers}")
    if page.history:
        blocks.append(f"{heading('page.history', words)}\n{_history(page, width)}")
    gaps = "\n".join(
        wrap(f"{line.label} {line.value}".rstrip(), width, "  ") for line in page.unchecked
    )
    gaps = gaps or wrap(words.ui("page.all_ran"), width, "  ")
    blocks.append(f"{heading('page.unchecked', words)}\n{gaps}")
    further = [wrap(text, width, "  ") for text in page.further]
    further += [f"  {command}" for command in page.commands]
    blocks.append("\n".join([heading("heading.next", words), *further]))
    return "\n\n".join(blocks)


def _tags(dump: "TagDump", words: Catalogue, width: int) -> str:
    """Lay out every tag that exiftool read."""
    from counterproof.text import visible

    title = words.ui("page.tags", version=dump.version).upper()
    rows = ((visible(name), visible(value)) for name, value in dump.tags)
    lines = [f"\n\n{click.style(title, bold=True)}", two_columns(rows, width)]
    lines.append(wrap(words.ui("page.tags.note", n=len(dump.tags)), width, "  "))
    return "\n".join(lines)


def heading(key: str, words: Catalogue) -> str:
    """Return a heading, bold."""
    return click.style(words.ui(key).upper(), bold=True)


def _reason(reason: "Reason", words: Catalogue, width: int) -> str:
    lines = [click.style(wrap(reason.says, width, "  "), bold=True)]
    basis = words.ui("page.basis", basis=reason.basis)
    if reason.carries:
        basis = f"{words.ui('page.carries')} · {basis}"
    elif reason.against:
        basis = f"{words.ui('page.against')} · {basis}"
    lines.append(wrap(f"{basis} · {reason.code}", width, "  "))
    if reason.rate:
        lines.append(wrap(reason.rate, width, "  "))
    if reason.quotes:
        lines.append(
            two_columns(((line.label, line.value) for line in reason.quotes), width, "    ")
        )
    if reason.means:
        lines.append(_sides(reason.means, reason.does_not_mean, reason.innocent, words, width))
    return "\n".join(lines)


def _sides(means: str, does_not_mean: str, innocent: str, words: Catalogue, width: int) -> str:
    rows = [
        (words.ui("heading.means"), means),
        (words.ui("heading.does_not_mean"), does_not_mean),
        (words.ui("heading.innocent"), innocent),
    ]
    return two_columns(((label, text) for label, text in rows if text), width, "    ")


def _history(page: "Page", width: int) -> str:
    marks = {"intact": "o", "broken": "x", "unchecked": "?", "missing": "?"}
    lines = []
    for number, step in enumerate(page.history):
        bar = "|" if number + 1 < len(page.history) else " "
        lines.append(f"  {marks[step.state]}  " + click.style(step.title, bold=True))
        for text in (step.what, step.who, step.signer, step.when, step.note):
            if text:
                lines += [f"  {bar}  {line}" for line in wrap(text, width - 5).splitlines()]
        lines.append(f"  {bar}" if bar == "|" else "")
    return "\n".join(lines).rstrip()


def two_columns(
    rows: Iterable[tuple[str, str]], width: int, indent: str = "  ", column: int = 0
) -> str:
    """Lay out labels and texts in two columns, or one below the other where it is narrow.

    Args:
        rows: label and text of each.
        width: of everything.
        indent: before each line.
        column: least width of the labels' column.
    """
    lines = []
    rows = list(rows)
    widest = max((cell_width(label) for label, _ in rows), default=0) + 2
    column = min(_COLUMN, width // 3, max(widest, column))
    for label, text in rows:
        room = width - column - len(indent)
        longest = max(map(cell_width, text.split()), default=0)
        wide = any(unicodedata.east_asian_width(char) in "WF" for char in text)
        if width < 50 or cell_width(label) >= column or (longest > room and not wide):
            lines.append(f"{indent}{label}")
            lines.append(wrap(text, width, indent + "  "))
            continue
        first, *rest = wrap(text, max(room, 20)).splitlines() or [""]
        lines.append(f"{indent}{label}{' ' * (column - cell_width(label))}{first}")
        lines += [f"{indent}{' ' * column}{line}" for line in rest]
    return "\n".join(lines)
