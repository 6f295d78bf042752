"""`counterproof report CASE -o FILE`, `report diff`, `report statement`."""

import sys
from pathlib import Path

import click

from counterproof.app.options import (
    as_of_option,
    check_suffix,
    format_option,
    language_option,
    outputs_option,
    print_json,
    write_json,
)

__all__ = ["report"]

_DEFAULT = "write"


class ReportGroup(click.Group):
    """A group whose first word may be left out: `report CASE` is `report write CASE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default subcommand before arguments that name none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=ReportGroup)
def report() -> None:
    """Write a report from a case, compare two cases, or state methods and error rates.

    \b
    counterproof report press.case -o press.html
    counterproof report diff before.case after.case
    counterproof report statement -o methods.html
    """  # noqa: D301 - click wants the character itself before lines that it must not join


@report.command(_DEFAULT)
@click.argument("case_file", metavar="CASE")
@outputs_option(
    "Where to write; .html .csv .jsonl .json .sarif or .parquet. - is HTML on stdout.",
    required=True,
)
@click.option("--all", "everything", is_flag=True, help="Every picture the case ever saw.")
@click.option("--suppress", metavar="FILE", help="List what was set aside, with its reasons.")
@as_of_option("The day on which suppressions hold, YYYY-MM-DD.")
@language_option
def write(
    case_file: str,
    outputs: tuple[str, ...],
    everything: bool,
    suppress: str | None,
    as_of: str | None,
    lang: str | None,
) -> None:
    """Write a report from CASE, the file in which a scan keeps what it found.

    The suffix of FILE says what it gets: a page for people that opens offline (.html), or
    records for programs. Without --all it covers the pictures of the last scan.
    """
    from counterproof.audit import exports
    from counterproof.audit.case import Case
    from counterproof.audit.report import write_report
    from counterproof.audit.rules import judge_all
    from counterproof.audit.suppressions import load_suppressions
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang, "as_of": as_of})
    words = catalogue(settings.language)
    wanted = [(name, "html" if name == "-" else exports.format_of(name)) for name in outputs]
    asides = load_suppressions(Path(suppress)) if suppress else ()
    with Case.open(case_file) as case:
        scan = None if everything else case.scan
        for name, kind in wanted:
            if kind == "html":
                write_report(case, name, settings, scan=scan, suppressions=asides)
            else:
                with exports.open_writer(name, kind, words) as writer:
                    for record in judge_all(case.records(scan), settings):
                        writer.write(record)
                    counts = {str(k): n for k, n in case.counts(scan).items()}
                    writer.close(case.relations(), {"case": case_file, "counts": counts})
            if name != "-":
                click.echo(words.ui("scan.wrote", file=name), err=True)


@report.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@format_option("text", "json")
@click.option("--fail-on-change", is_flag=True, help="Exit 1 if a picture is said otherwise of.")
@language_option
def diff(before: str, after: str, fmt: str, fail_on_change: bool, lang: str | None) -> None:
    """Say what is different between the last scans of two cases, BEFORE and AFTER."""
    from counterproof.audit.case import Case
    from counterproof.audit.report_diff import compare_cases, lines
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    with Case.open(before) as old, Case.open(after) as new:
        found = compare_cases(old, new, settings)
    if fmt == "json":
        print_json(found.to_json())
    else:
        for line in lines(found, catalogue(settings.language)):
            click.echo(line)
    sys.exit(1 if fail_on_change and found.changed else 0)


@report.command()
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    default=("-",),
    metavar="FILE",
    help=".html or .json; repeatable; - is HTML.",
)
@language_option
def statement(outputs: tuple[str, ...], lang: str | None) -> None:
    """Write a public page of methods, error rates with their n, and limits.

    It is about this installation and holds nothing of any picture.
    """
    from counterproof.audit.report_layout import document
    from counterproof.audit.statement import statement as describe
    from counterproof.audit.writer import open_atomically
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    kinds = [check_suffix(output, "html", "json") for output in outputs]
    found = describe(settings)
    for output, kind in zip(outputs, kinds, strict=True):
        if kind == "json":
            write_json(output, found.to_json())
        else:
            with open_atomically(output) as stream:
                stream.write(document("statement.html", words, {"statement": found}).encode())
        if output != "-":
            click.echo(words.ui("scan.wrote", file=output), err=True)
