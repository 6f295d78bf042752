"""`counterproof compare ORIGINAL COPY`: what changed, and where, on one page."""

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from counterproof.app.options import (
    as_of_option,
    check_suffix,
    format_option,
    language_option,
    outputs_option,
    print_json,
    profile_option,
    write_json,
)
from counterproof.app.show import MAX_WIDTH, heading, look_at, two_columns
from counterproof.text import Catalogue, cell_width, wrap

if TYPE_CHECKING:
    from counterproof.audit.compare_page import Cells, ComparePage

__all__ = ["compare"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("original", metavar="ORIGINAL")
@click.argument("copy", metavar="COPY")
@format_option("text", "json")
@outputs_option("Also write a page with both pictures (.html) or the comparison (.json).")
@profile_option("quick")
@as_of_option()
@language_option
def compare(
    original: str,
    copy: str,
    fmt: str,
    outputs: tuple[str, ...],
    profile: str,
    as_of: str | None,
    lang: str | None,
) -> None:
    """Say what changed between ORIGINAL and COPY, and where.

    The copy is laid over the original even if it was scaled, cut, mirrored or turned. Places
    that changed are told from what saving anew does to every pixel; then metadata,
    credentials, labels, hashes and the files themselves are compared.
    """
    from counterproof.audit.compare import compare as compare_records
    from counterproof.audit.compare_page import page, write_html
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    wanted = [(name, check_suffix(name, "html", "json")) for name in outputs]
    settings = load_settings({"language": lang, "as_of": as_of})
    words = catalogue(settings.language)
    first, second = look_at(original, copy, profile=profile, settings=settings)
    found = compare_records(first, second, original, copy, settings.limits)
    for name, kind in wanted:
        if kind == "json":
            write_json(name, found.to_json())
        else:
            write_html(found, words, name)
    if fmt == "json":
        print_json(found.to_json())
    elif not outputs or sys.stdout.isatty():
        width = min(shutil.get_terminal_size((88, 24)).columns, MAX_WIDTH)
        said = _lay_out(page(found, words), words, width)
        click.echo(said, color=False if "NO_COLOR" in os.environ else None)
    for name in outputs:
        click.echo(words.ui("scan.wrote", file=name), err=True)
    if found.pixels.kind == "unread" and found.pixels.reason != "not_examined":
        sys.exit(3)


def _lay_out(page: "ComparePage", words: Catalogue, width: int) -> str:
    names = ((words.ui("compare.original"), page.original), (words.ui("compare.copy"), page.copy))
    blocks = [two_columns(names, width)]
    first, *rest = page.summary
    lines = [click.style(wrap(first, width, "  "), bold=True)]
    blocks.append("\n".join([*lines, *(wrap(text, width, "  ") for text in rest)]))
    places = [wrap(text, width, "    ") for text in page.places]
    blocks.append(_section("pixels", [wrap(t, width, "  ") for t in page.pixels] + places, words))
    answers = [wrap(page.credential, width, "  "), *_rows(page.answers, words, width)]
    blocks.append(_section("credential", answers, words))
    found = [wrap(text, width, "  ") for text in page.findings]
    blocks.append(_section("findings", found, words))
    fields = [wrap(page.metadata_note, width, "  ")]
    for title, rows in page.metadata:
        fields.append(click.style(wrap(title, width, "  "), bold=True))
        fields += _rows(rows, words, width)
    if page.more_changes:
        fields.append("  " + words.ui("report.more", n=page.more_changes))
    blocks.append(_section("metadata", fields, words))
    facts = [*_rows(page.file, words, width), *(wrap(text, width, "  ") for text in page.hashes)]
    blocks.append(_section("file", facts, words))
    blocks.append(wrap(words.ui("compare.not_a_verdict"), width, "  "))
    return "\n\n".join(blocks)


def _section(name: str, lines: Iterable[str], words: Catalogue) -> str:
    return "\n".join([heading(f"compare.heading.{name}", words), *lines])


def _rows(rows: Iterable["Cells"], words: Catalogue, width: int) -> Iterable[str]:
    """One line per property: what both say, or the first, an arrow and the second."""
    for row in rows:
        nothing = words.ui("compare.nothing")
        before, after = row.original or nothing, row.copy or nothing
        if row.same:
            text = f"= {before}"
        elif cell_width(before) + cell_width(after) + cell_width(row.label) < width - 12:
            text = f"{before} → {after}"
        else:
            yield f"  {row.label}"
            yield wrap(f"- {before}", width, "    ")
            yield wrap(f"+ {after}", width, "    ")
            continue
        yield two_columns([(row.label, text)], width, column=30)
