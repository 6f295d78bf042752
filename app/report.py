"""`counterproof report CASE -o FILE`: what a scan found, as a document or as data."""

import click

from counterproof.text import LANGUAGES

__all__ = ["report"]


@click.command()
@click.argument("case_file", metavar="CASE")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Where to write; .html .csv .jsonl .json .sarif or .parquet. - is HTML on stdout.",
)
@click.option("--all", "everything", is_flag=True, help="Every picture the case ever saw.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Language of the text.")
def report(case_file: str, outputs: tuple[str, ...], everything: bool, lang: str | None) -> None:
    """Write a report from CASE, the file in which a scan keeps what it found.

    The suffix of FILE says what it gets: a page for people that opens offline (.html), or
    records for programs. Without --all it covers the pictures of the last scan.
    """
    from counterproof.audit import exports
    from counterproof.audit.case import Case
    from counterproof.audit.report import write_report
    from counterproof.audit.rules import judge_all
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    wanted = [(name, "html" if name == "-" else exports.format_of(name)) for name in outputs]
    with Case.open(case_file) as case:
        scan = None if everything else case.scan
        for name, kind in wanted:
            if kind == "html":
                write_report(case, name, settings, scan=scan)
            else:
                with exports.open_writer(name, kind, words) as writer:
                    for record in judge_all(case.records(scan), settings):
                        writer.write(record)
                    counts = {str(k): n for k, n in case.counts(scan).items()}
                    writer.close(case.relations(), {"case": case_file, "counts": counts})
            if name != "-":
                click.echo(words.ui("scan.wrote", file=name), err=True)
