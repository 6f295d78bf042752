"""`counterproof trust list|add|update`: whose signatures count as verified."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterproof.app.options import as_of_option, format_option, language_option
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.provenance.trust import TrustList

__all__ = ["trust"]

OLD_DAYS = 365
"""A list older than this is said to be old. Source: C2PA reissues its lists within a year."""

_FILES = ("C2PA-TRUST-LIST.json", "C2PA-TSA-TRUST-LIST.json")


@click.group()
def trust() -> None:
    """List, update or add to the trust lists."""


@trust.command(name="list")
@format_option("text", "json")
@as_of_option("Count ages to this day, YYYY-MM-DD.")
@language_option
def list_lists(fmt: str, as_of: str | None, lang: str | None) -> None:
    """Show every list in force, its date and its age."""
    from counterproof.provenance.trust import load_trust
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"as_of": as_of, "language": lang})
    lists = load_trust(settings.home).lists
    if fmt == "json":
        click.echo(json.dumps([_row(item, settings.as_of) for item in lists], indent=1))
        return
    ui = catalogue(settings.language).ui
    names = ("name", "kind", "trust", "date", "age", "certificates", "origin")
    rows = [[ui(f"trust.column.{name}") for name in names]]
    for item in lists:
        age = str(item.age_days(settings.as_of))
        kind, origin = ui(f"trust.kind.{item.kind}"), ui(f"trust.origin.{item.origin}")
        word = ui(f"trust.word.{item.trust.value}")
        count = str(item.certificates)
        rows.append([item.name, kind, word, item.date.isoformat(), age, count, origin])
    widths = [max(_width(row[column]) for row in rows) for column in range(len(names))]
    for row in rows:
        cells = (
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
    for item in lists:
        age_days = item.age_days(settings.as_of)
        if item.trust.value == "official" and age_days > OLD_DAYS:
            click.echo(ui("trust.old", name=item.name, days=age_days), err=True)


def _width(text: str) -> int:
    """Columns that a text takes; East Asian characters take two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _row(item: "TrustList", as_of: dt.date) -> dict[str, object]:
    return {
        "name": item.name,
        "kind": item.kind,
        "trust": item.trust.value,
        "title": item.title,
        "date": item.date.isoformat(),
        "age_days": item.age_days(as_of),
        "certificates": item.certificates,
        "origin": item.origin,
        "source": item.source,
        "url": item.url,
        "sha256": item.sha256,
    }


@trust.command()
@click.argument("files", nargs=-1, required=True, metavar="PEM…")
@click.option(
    "--kind",
    type=click.Choice(["signer", "tsa"]),
    default="signer",
    show_default=True,
    help="Who the certificates vouch for: signers of credentials, or time-stamping authorities.",
)
def add(files: tuple[str, ...], kind: str) -> None:
    """Trust the certificates in PEM files: roots, intermediates or single signers.

    What they sign is then called trusted by you, never official.
    """
    from counterproof.provenance.standing import name_of
    from counterproof.provenance.trust import add_certificates, read_certificates
    from counterproof.settings import load_settings

    home = load_settings().home
    loaded = [(name, _read(Path(name))) for name in files]
    for name, data in loaded:
        read_certificates(data, name)  # nothing is added if any file is defective
    for name, data in loaded:
        for certificate in add_certificates(home, data, name, kind):
            click.echo(f"{kind}  {certificate.last.date()}  {name_of(certificate)}")


@trust.command()
@click.argument("source", required=False, metavar="[FILE|FOLDER|URL]")
@click.option("--online", is_flag=True, help="Fetch the lists from where they are published.")
@click.option("--date", "date", metavar="DATE", help="When a PEM list was issued, YYYY-MM-DD.")
def update(source: str | None, online: bool, date: str | None) -> None:
    """Take in newer official lists, as C2PA publishes them (JSON, or PEM with --date).

    Nothing is fetched without --online. An older list never replaces a newer one.
    """
    from counterproof.provenance.trust import load_trust, store_list
    from counterproof.settings import load_settings

    settings = load_settings()
    issued = _date(date)
    for name, data in _sources(source, online, load_trust(settings.home).lists):
        item = store_list(settings.home, data, name, issued)
        click.echo(f"{item.name}  {item.date}  {item.certificates}")


def _sources(
    source: str | None, online: bool, lists: tuple["TrustList", ...]
) -> list[tuple[str, bytes]]:
    """Read the lists that are to be taken in, from files or, if asked, from the network."""
    if source and not source.lower().startswith(("http://", "https://")):
        path = Path(source)
        if not path.is_dir():
            return [(source, _read(path))]
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise UserError(f"{source}: expected {' or '.join(_FILES)} in this folder")
        return [(str(item), _read(item)) for item in found]
    if not online:
        what = f"{source} is on the network" if source else "no file or folder was named"
        raise UserError(f"{what}; nothing is fetched without --online")
    from counterproof.errors import ProvenanceError
    from counterproof.provenance.remote import fetch

    urls = [source] if source else [item.url for item in lists if item.url]
    try:
        return [(url, fetch(url)) for url in urls]
    except ProvenanceError as err:
        raise UserError(str(err)) from err


def _date(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError as err:
        raise UserError(f"--date {text}: expected YYYY-MM-DD") from err


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
