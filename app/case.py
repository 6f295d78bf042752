"""`counterproof case merge|note|seal|verify`: join cases, write into one, seal it, check a seal."""

import datetime as dt
from typing import TYPE_CHECKING

import click

from counterproof.app.options import format_option, language_option
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["case"]

OUTCOMES = ("upheld", "corrected", "withdrawn")
"""How a dispute ends: the finding stands, it was put right, or whoever disputed it let it go."""


@click.group()
def case() -> None:
    """Merge cases, add a note or a dispute, seal a case, check a seal."""


@case.command()
@click.argument("target", metavar="CASE")
@click.argument("parts", nargs=-1, required=True, metavar="PART…")
def merge(target: str, parts: tuple[str, ...]) -> None:
    """Join PARTs, such as the shards of one scan, into CASE.

    A record that several parts hold is kept once. Near-duplicates and other relations are
    found anew over all pictures.
    """
    from counterproof.audit.case import Case
    from counterproof.audit.scan import relate
    from counterproof.settings import load_settings

    settings = load_settings()
    with Case.open(target, create=True) as whole:
        for name in parts:
            with Case.open(name) as part:
                if part.path.resolve() == whole.path.resolve():
                    raise UserError(f"{name}: cannot merge a case into itself")
                taken = whole.absorb(part)
            click.echo(f"{name}: {taken:,} pictures", err=True)
        relate(whole, settings)
        click.echo(f"{target}: {whole.record_count():,} pictures", err=True)


@case.command()
@click.argument("file", metavar="CASE")
@click.argument("picture", required=False, metavar="[PICTURE|SHA256]")
@click.option(
    "-m", "--message", metavar="TEXT", help="What to write down; lists the notes if left out."
)
@click.option(
    "--dispute", is_flag=True, help="The note disputes what is said of PICTURE; give the reason."
)
@click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    help="The note settles the dispute about PICTURE.",
)
def note(
    file: str, picture: str | None, message: str | None, dispute: bool, outcome: str | None
) -> None:
    """Write a note about a PICTURE of the case, or about the case itself; or list them.

    A dispute, and what came of it, stand in every report of the case. They change no status.
    """
    from counterproof.audit.case import Case, Note

    if (dispute or outcome) and not (picture and message):
        raise UserError("a dispute or its outcome needs a PICTURE and a reason (-m)")
    if dispute and outcome:
        raise UserError("expected --dispute or --outcome, got both")
    kind = "dispute" if dispute else f"outcome.{outcome}" if outcome else "note"

    with Case.open(file) as opened:
        sha256 = _find(opened, picture) if picture else ""
        if message is None:
            for item in opened.notes(sha256 if picture else None):
                where = ", ".join(opened.paths_of(item.sha256)) if item.sha256 else file
                said = "" if item.kind == "note" else f"[{item.kind}]  "
                click.echo(f"{item.at}  {where}  {said}{item.text}")
            return
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        opened.add_note(Note(sha256, kind, at, message))
        click.echo(f"{file}: noted", err=True)


@case.command()
@click.argument("file", metavar="CASE")
@click.option("-o", "--output", required=True, metavar="FILE", help="The bundle to write (.zip).")
@click.option("--tsa", default="", metavar="URL", help="Ask this authority for a time stamp.")
@click.option("--no-report", is_flag=True, help="Leave the report out of the bundle.")
@language_option
def seal(file: str, output: str, tsa: str, no_report: bool, lang: str | None) -> None:
    """Sign a hash tree over the records, inputs and notes of CASE, and write one bundle.

    The key is the one that `mark` signs with. Nothing leaves this machine unless --tsa names an
    authority, which gets a hash and no more.
    """
    import io

    from counterproof.audit import seal as sealing
    from counterproof.audit.case import Case
    from counterproof.audit.report import write_report
    from counterproof.provenance.keys import find_identity
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    with Case.open(file) as opened:
        page = io.BytesIO()
        if not no_report:
            write_report(opened, page, settings)
        identity = find_identity(settings)
        done = sealing.seal(opened, output, identity, report=page.getvalue(), tsa=tsa)
    click.echo(words.ui("seal.done", n=done.leaves, file=output, root=done.root), err=True)


@case.command()
@click.argument("file", metavar="CASE|BUNDLE")
@click.option("--inputs", is_flag=True, help="Also hash the pictures again, where they lay.")
@format_option("text", "json")
@language_option
def verify(file: str, inputs: bool, fmt: str, lang: str | None) -> None:
    """Compare a sealed CASE or a BUNDLE with its seal; name each record that changed.

    Exit code 1 if anything is not as it was sealed.
    """
    import json
    import sys
    from pathlib import Path

    from counterproof.audit import seal as sealing
    from counterproof.audit.case import Case
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    words = catalogue(load_settings({"language": lang}).language)
    try:
        with open(file, "rb") as stream:
            is_bundle = stream.read(2) == b"PK"
    except OSError as err:
        raise UserError(f"{file}: {err.strerror}") from err
    if is_bundle:
        found = sealing.check_bundle(Path(file), inputs=inputs)
    else:
        if inputs:
            raise UserError("--inputs needs the bundle; `counterproof scan` looks at files anew")
        with Case.open(file) as opened:
            found = sealing.check_case(opened)
    if fmt == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        for change in found.changes:
            how = words.ui(f"seal.{change.how}")
            click.echo(
                words.ui("seal.line", part=change.part, n=change.number, how=how)
                + (f"  {_visible(change.what)}" if change.what else "")
            )
        key = "seal.differs" if found.changes else "seal.holds"
        click.echo(words.ui(key, n=len(found.changes), leaves=found.leaves, signer=found.signer))
        if found.stamped_at:
            click.echo(words.ui("seal.stamped", at=found.stamped_at))
    sys.exit(1 if found.changes else 0)


def _visible(text: str) -> str:
    from counterproof.text import visible

    return visible(text, 200)


def _find(opened: "Case", picture: str) -> str:
    """Return the sha256 of a picture named by path, by sha256 or by the start of one."""
    source = opened.source(picture)
    if source and source.sha256:
        return source.sha256
    found = opened.sha256_starting(picture.lower()) if len(picture) >= 8 else []
    if len(found) == 1:
        return found[0]
    what = "is the start of several" if found else "is not in the case"
    raise UserError(f"{picture}: {what}; name a path as it was scanned, or its sha256")
