"""`counterproof audit …`: rules of law over a folder, what a pipeline does to marks, models."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.lazy import LazyGroup
from counterproof.app.options import (
    as_of_option,
    check_suffix,
    format_option,
    language_option,
    outputs_option,
    print_json,
    write_json,
)
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.audit.pipeline import Pipeline
    from counterproof.audit.policy import PolicyReport
    from counterproof.audit.policy_answers import Context
    from counterproof.settings import Settings
    from counterproof.text import Catalogue

__all__ = ["audit"]

# name → where a subcommand lives, and what `--help` says of it
COMMANDS: dict[str, tuple[str, str]] = {
    "model": ("counterproof.app.audit_model:model", "Count the copies in a model's output."),
    "policy": ("counterproof.app.audit:policy", "Ask rules of law and standards of a folder."),
    "pipeline": ("counterproof.app.audit:pipeline", "Say which marks survived a step."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def audit() -> None:
    """Ask what a folder, a pipeline or a model shows, rule by rule.

    No answer says that anybody complies with a law: it is evidence for or against one rule.
    """


@click.command()
@click.argument("target", metavar="CASE|PATH", required=False)
@click.option("--market", "markets", multiple=True, metavar="MARKET", help="EU, CN, US-CA, …")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="provider, platform, …")
@as_of_option("What is in force on this day, YYYY-MM-DD.")
@click.option(
    "--content",
    type=click.Choice(["generated", "model-edited", "captured"]),
    help="What you know the pictures to be; else only what they say themselves counts.",
)
@click.option(
    "--questionnaire",
    metavar="FILE",
    help="What no file shows, stated by you (TOML; a signature beside it is checked).",
)
@click.option("--template", metavar="FILE", help="Write an empty questionnaire and stop.")
@click.option("--sign", metavar="FILE", help="Sign a questionnaire with your key and stop.")
@format_option("text", "json", "html")
@outputs_option("Also .html .json")
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="RULE[:SEVERITY]",
    help="Exit 1 if a rule in force fails: the start of its id, or `fail` for any.",
)
@language_option
def policy(target: str | None, **options: Any) -> None:
    """Ask dated rules of law and standards of a CASE, or of pictures, which are scanned first.

    Each rule is answered pass, fail, unknown or not applicable, with its citation, the day
    from which it holds, and what to do. A rule that is not yet in force is shown as upcoming.

    \b
    counterproof audit policy out/ --market EU --role provider --content generated
    counterproof audit policy press.case --market CN --fail-on CN-5
    """  # noqa: D301 - click wants the character itself before lines that it must not join
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"as_of": options["as_of"], "language": options["lang"]})
    words = catalogue(settings.language)
    if options["template"] or options["sign"]:
        _questionnaire(options["template"], options["sign"], settings, words)
        return
    if target is None:
        raise UserError("expected a case or pictures; see --help")
    limits = [_limit(text) for text in options["fail_on"]]
    wanted = [(name, check_suffix(name, "html", "json")) for name in options["outputs"]]
    report = _evaluate(target, options, settings)
    for name, kind in [*wanted, ("-", options["fmt"])]:
        _write(report, name, kind, words, target)
    sys.exit(1 if any(_met(report, *limit) for limit in limits) else 0)


def _questionnaire(
    new: str | None, signed: str | None, settings: "Settings", words: "Catalogue"
) -> None:
    from counterproof.audit import questionnaire
    from counterproof.audit.writer import open_atomically
    from counterproof.provenance.keys import find_identity

    if new:
        if new != "-" and Path(new).exists():
            raise UserError(f"{new}: exists; choose another name, so that no answers are lost")
        with open_atomically(new) as stream:
            stream.write(questionnaire.template(words).encode())
        if new != "-":
            click.echo(words.ui("scan.wrote", file=new), err=True)
    if signed:
        path = questionnaire.sign_questionnaire(Path(signed), find_identity(settings))
        click.echo(words.ui("scan.wrote", file=str(path)), err=True)


def _evaluate(target: str, options: dict[str, Any], settings: "Settings") -> "PolicyReport":
    from counterproof.audit.case import Case
    from counterproof.audit.policy import evaluate
    from counterproof.audit.policy_packs import load_packs, select
    from counterproof.audit.rules import judge_all
    from counterproof.audit.sqlite_files import is_sqlite

    select(load_packs(), options["markets"], options["roles"])  # a bad word is said at once
    context, attested_by = _context(options)
    path = target if is_sqlite(target) else _scan(target, settings)
    with Case.open(path) as case:
        return evaluate(
            judge_all(case.records(case.scan), settings),
            settings.as_of,
            markets=options["markets"],
            roles=options["roles"],
            context=context,
            attested_by=attested_by,
        )


def _context(options: dict[str, Any]) -> "tuple[Context, str]":
    from counterproof.audit.policy_answers import Context
    from counterproof.audit.questionnaire import read_questionnaire

    content = options["content"] or ""
    if not options["questionnaire"]:
        return Context(content), ""
    answers = read_questionnaire(Path(options["questionnaire"]))
    return Context(content, answers.facts), answers.attested_by


def _scan(target: str, settings: "Settings") -> str:
    """Scan pictures into the case that `scan` would use, and return its path."""
    import os

    from counterproof.analysis import Stage
    from counterproof.audit.case import Case
    from counterproof.audit.examine import ScanSpec
    from counterproof.audit.scan import default_case_path, default_jobs, scan_into

    if not os.path.lexists(target):
        raise UserError(f"{target}: no such case, folder or picture")
    path = default_case_path(settings.home, [target])
    with Case.open(path, create=True) as case:
        spec = ScanSpec(settings, Stage.STANDARD)
        for _ in scan_into(case, [target], spec, jobs=default_jobs()):
            pass
        if not case.record_count(case.scan):
            raise UserError(f"{target}: no pictures found")
    return str(path)


def _write(report: "PolicyReport", name: str, kind: str, words: "Catalogue", target: str) -> None:
    from counterproof.audit import policy_page
    from counterproof.audit.report import now

    if kind == "html":
        title = Path(target).name or target
        policy_page.write_policy_page(report, name, words, title=title, made_at=now())
    elif kind == "json":
        write_json(name, report.to_json())
    else:
        for line in policy_page.lines(report, words):
            click.echo(line)
    if name != "-":
        click.echo(words.ui("scan.wrote", file=name), err=True)


def _limit(text: str) -> tuple[str, int]:
    from counterproof.audit.policy_packs import load_packs
    from counterproof.findings import Severity

    rule, _, word = text.partition(":")
    if word and word not in list(Severity):
        raise UserError(f"--fail-on {text}: expected a severity of {', '.join(Severity)}")
    known = [item.id for pack in load_packs() for item in pack.rules]
    if rule != "fail" and not any(name.startswith(rule) for name in known):
        raise UserError(f"--fail-on {text}: expected `fail` or the start of a rule's id")
    return rule, Severity(word).rank if word else 0


def _met(report: "PolicyReport", rule: str, rank: int) -> bool:
    return any(
        item.state == "fail"
        and item.rule.severity.rank >= rank
        and (rule == "fail" or item.rule.id.startswith(rule))
        for item in report.judged
    )


@click.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@format_option("text", "json")
@click.option("--fail-on", type=click.Choice(["lost"]), help="Exit 1 if a mark was lost.")
@language_option
def pipeline(before: str, after: str, fmt: str, fail_on: str | None, lang: str | None) -> None:
    """Say which marks of the picture BEFORE are still in AFTER, and which a step lost.

    Looked at: the credential, IPTC and GB 45438 labels, the watermark, the visible label that a
    credential records, and reservations of rights.
    """
    from counterproof.app.show import look_at
    from counterproof.audit.pipeline import follow
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    found = follow(*look_at(before, after, profile="standard", settings=settings))
    if fmt == "json":
        print_json(found.to_json())
    else:
        _say(found, catalogue(settings.language))
    sys.exit(1 if fail_on and found.lost else 0)


def _say(found: "Pipeline", words: "Catalogue") -> None:
    from counterproof.text import visible

    join = words.ui("list.separator").join
    click.echo(words.ui(f"pipeline.outcome.{found.outcome}"))
    for mark in found.marks:
        if mark.state == "absent":
            continue
        said = visible(join(mark.before or mark.after), 120)
        kind, state = words.ui(f"pipeline.kind.{mark.kind}"), words.ui(f"pipeline.{mark.state}")
        click.echo(f"  {state}  {kind}: {said}" if said else f"  {state}  {kind}")
