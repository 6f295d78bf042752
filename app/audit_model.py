"""`counterproof audit model`: does a model give its training pictures back?"""

import sys

import click

from counterproof.app.options import (
    check_suffix,
    format_option,
    language_option,
    print_json,
    write_json,
)

__all__ = ["model"]


@click.command()
@click.option("--generated", required=True, metavar="DIR", help="Pictures the model made.")
@click.option("--training", required=True, metavar="DIR", help="Pictures it was trained on.")
@click.option("--holdout", metavar="DIR", help="Pictures like them that it has not seen.")
@format_option("text", "json")
@click.option("-o", "--output", metavar="FILE", help="Also write a page (.html) or .json.")
@click.option("--case", "case_file", metavar="CASE", help="Keep the answers in it, for its report.")
@language_option
def model(
    generated: str,
    training: str,
    holdout: str | None,
    fmt: str,
    output: str | None,
    case_file: str | None,
    lang: str | None,
) -> None:
    """Count the generated pictures that are near-copies of training pictures.

    The count comes with its 95 % interval and the pairs. With --holdout the same is counted
    among pictures that the model has not seen, so that likeness by nature is told from copying.
    """
    from counterproof.app import progress
    from counterproof.audit.case import Case
    from counterproof.audit.copy_page import Pair, write_pairs
    from counterproof.audit.model_audit import audit_model
    from counterproof.audit.model_section import keep_in_case
    from counterproof.audit.sources import expand
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    kind = check_suffix(output, "html", "json") if output else ""
    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    folders = {"training": training, "generated": generated}
    if holdout:
        folders["holdout"] = holdout
    if case_file:
        Case.open(case_file).close()  # a wrong name is told before the work
    shown = progress.wanted(False)
    total = sum(1 for _ in expand(folders.values())) if shown else 0
    with progress.bar(total, settings.language, shown) as advance:
        found = audit_model(generated, training, holdout, settings=settings, advance=advance)
    if case_file:
        with Case.open(case_file) as case:
            keep_in_case(case, found, folders, settings)
    for problem in found.unread:
        click.echo(problem, err=True)
    head = [words.ui(f"audit.column.{name}") for name in ("question", "answer", "count", "range")]
    rows = [head]
    for item in found.answers:
        says = words.code(item.code)["says"]
        word = words.ui(f"audit.answer.{item.answer}")
        span = f"{100 * item.low:.2f}–{100 * item.high:.2f} %"
        rows.append([says, word, f"{item.k} / {item.n}", span])
    if output and kind == "json":
        write_json(output, found.to_json())
    elif output:
        pairs = []
        for relation in found.relations:
            d = relation.details
            says = words.ui("audit.pair", by=words.ui(f"index.by.{d['by']}"))
            region, source = d.get("region"), d.get("source_region")
            labels = ("audit.generated", "audit.training")
            pairs.append(Pair(d["generated"], d["training"], says, region, source, labels))
        headline = found.answers[0]
        lead = [
            words.ui(f"audit.lead.{headline.answer}", k=headline.k, of=headline.n),
            words.ui("audit.limit"),
        ]
        write_pairs(output, words, words.ui("audit.title"), lead, rows, pairs, settings.limits)
    if fmt == "json":
        print_json(found.to_json())
    else:
        for says, word, count, span in rows[1:]:
            click.echo(f"{word}  {count}  ({span})  {says}")
        for relation in found.relations[:20]:
            d = relation.details
            click.echo(f"  {d['generated']} = {d['training']}  ({d['transform']}, {d['by']})")
        click.echo(words.ui("audit.limit"))
    if output:
        click.echo(words.ui("scan.wrote", file=output), err=True)
    if found.unread:
        sys.exit(3)
