"""`counterproof case merge|note`: join cases, write a note into one."""

import datetime as dt
from typing import TYPE_CHECKING

import click

from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["case"]


@click.group()
def case() -> None:
    """Merge cases, or add a note to one."""


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
def note(file: str, picture: str | None, message: str | None) -> None:
    """Write a note about a PICTURE of the case, or about the case itself; or list them."""
    from counterproof.audit.case import Case, Note

    with Case.open(file) as opened:
        sha256 = _find(opened, picture) if picture else ""
        if message is None:
            for item in opened.notes(sha256 if picture else None):
                where = ", ".join(opened.paths_of(item.sha256)) if item.sha256 else file
                click.echo(f"{item.at}  {where}  {item.text}")
            return
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        opened.add_note(Note(sha256, "note", at, message))
        click.echo(f"{file}: noted", err=True)


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
