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

_PAIRS = 20  # that the terminal shows


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
    from counterproof.audit.copy_words import how
    from counterproof.audit.model_audit import audit_model
    from counterproof.audit.model_section import keep_in_case
    from counterproof.audit.model_words import lead, rows
    from counterproof.audit.sources import expand
    from counterproof.settings import load_settings
    from counterproof.text import catalogue, visible

    kind = check_suffix(output, "html", "json") if output else ""
    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    folders = {"training": training, "generated": generated}
    if holdout:
        folders["holdout"] = holdout
    if case_file:
        Case.open(case_file, create=True).close()  # a wrong name is told before the work
    shown = progress.wanted(False)
    total = sum(1 for _ in expand(folders.values())) if shown else 0
    try:
        with progress.bar(total, settings.language, shown) as advance:
            found = audit_model(generated, training, holdout, settings=settings, advance=advance)
    except KeyboardInterrupt:
        click.echo(words.ui("audit.interrupted"), err=True)
        sys.exit(130)
    if case_file:
        with Case.open(case_file) as case:
            keep_in_case(case, found, folders, settings)
    for problem in found.unread:
        click.echo(problem, err=True)
    told = [item.to_json() for item in found.answers]
    said, answers = lead(told, words), list(rows(told, words))
    measured = words.ui("audit.measures", **{k: f"{v:.2f}" for k, v in found.measures.items()})
    if output and kind == "json":
        write_json(output, found.to_json())
    elif output:
        names = ("question", "answer", "count", "range")
        table = [[words.ui(f"audit.column.{name}") for name in names]]
        for row in answers:
            asked = f"{row.asked} ({row.remark})" if row.remark else row.asked
            table.append([asked, row.answer, row.count, row.span])
        pairs = []
        for relation in found.relations:
            d = relation.details
            says = words.ui("audit.pair", how=how(d, words))
            region, source = d.get("region"), d.get("source_region")
            labels = ("audit.generated", "audit.training")
            pairs.append(Pair(d["generated"], d["training"], says, region, source, labels))
        title = words.ui("audit.title")
        write_pairs(output, words, title, [*said, measured], table, pairs, settings.limits)
    if fmt == "json":
        print_json(found.to_json())
    else:
        click.echo("\n".join(said))
        for row in answers:
            count = f"  {row.count}  ({row.span})" if row.count else ""
            remark = f"  ({row.remark})" if row.remark else ""
            click.echo(f"  {row.answer}{count}  {row.asked}{remark}")
        click.echo(f"  {measured}")
        for relation in found.relations[:_PAIRS]:
            d = relation.details
            sides = (visible(d["generated"]), visible(d["training"]))
            click.echo(f"  {sides[0]} = {sides[1]}  ({how(d, words)})")
        if (more := len(found.relations) - _PAIRS) > 0:
            click.echo("  " + words.ui("report.more", n=more))
    if output:
        click.echo(words.ui("scan.wrote", file=output), err=True)
    if found.unread:
        sys.exit(3)
