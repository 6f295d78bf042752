"""`counterproof keys init|doctor`: signing identities, and what is wrong with one."""

import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterproof.app.options import as_of_option, format_option, language_option
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.provenance.keylint import Defect
    from counterproof.text import Catalogue

__all__ = ["keys"]

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")


@click.group()
def keys() -> None:
    """Make a signing identity, or find what is wrong with a certificate."""


@keys.command()
@click.option("--organisation", required=True, help="Who signs, as readers will see it.")
@click.option("--name", default="", help="Name of the signer; the organisation by default.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="es256", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=1825, show_default=True)
@language_option
def init(organisation: str, name: str, algorithm: str, days: int, lang: str | None) -> None:
    """Make a root, an intermediate and a signer; `mark` then signs with it."""
    from counterproof.provenance.keys import init_identity
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    folder = init_identity(settings.home, organisation, name=name, algorithm=algorithm, days=days)
    click.echo(str(folder / "root.pem"))
    click.echo(catalogue(settings.language).ui("keys.made", path=str(folder)), err=True)


@keys.command()
@click.argument("cert", metavar="CERT")
@click.option("--key", "key_file", metavar="PEM", help="The private key that belongs to it.")
@as_of_option("Judge for this day, YYYY-MM-DD.")
@format_option("text", "json")
@language_option
def doctor(cert: str, key_file: str | None, as_of: str | None, fmt: str, lang: str | None) -> None:
    """Name what is wrong with a certificate or chain in PEM, the signer's first.

    Exit code 1 if signing or reading fails for it, else 0. Rules: the C2PA profile, and RFC 5280
    as the linter pkilint knows it.
    """
    from counterproof.provenance.keylint import lint_chain
    from counterproof.provenance.private_key import read_key
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang, "as_of": as_of})
    words = catalogue(settings.language)
    moment = None
    if as_of:
        moment = dt.datetime.combine(settings.as_of, dt.time(12), dt.UTC)
    data, key, found = _read(Path(cert)), None, []
    if key_file:
        text = _read(Path(key_file))
        password = os.environ.get("COUNTERPROOF_KEY_PASSWORD")
        key = read_key(text, key_file, password.encode() if password else None)
        found += _file_defects(Path(key_file), text)
    found += lint_chain(data, cert, as_of=moment, key=key)
    found.sort(key=lambda item: not item.fatal)
    if fmt == "json":
        rows = [{**item.to_json(), "says": _sentence(words, item)} for item in found]
        click.echo(json.dumps({"path": cert, "defects": rows}, indent=1, ensure_ascii=False))
    else:
        _print(words, cert, data, found)
    if any(item.fatal for item in found):
        raise click.exceptions.Exit(1)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(2**20 + 1)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    if len(data) > 2**20:
        raise UserError(f"{path}: too large for a certificate")
    return data


def _file_defects(path: Path, data: bytes) -> "list[Defect]":
    """Say what is wrong with how a key is kept."""
    from counterproof.provenance.keylint import Defect

    found = []
    mode = path.stat().st_mode & 0o777
    if os.name == "posix" and mode & 0o077:
        found.append(Defect("key_readable", False, "", {"found": f"{mode:o}"}))
    if b"-----BEGIN EC PRIVATE KEY" in data or b"-----BEGIN RSA PRIVATE KEY" in data:
        found.append(Defect("key_form", False))
    return found


def _sentence(words: "Catalogue", defect: "Defect") -> str:
    values = {"subject": defect.subject, **defect.details}
    return words.ui(f"keys.defect.{defect.code}", **values)


def _print(words: "Catalogue", name: str, data: bytes, found: "list[Defect]") -> None:
    from counterproof.provenance.private_key import algorithm_of
    from counterproof.provenance.trust import read_certificates

    chain = read_certificates(data, name)
    subject = chain[0].subject.rfc4514_string()
    click.echo(words.ui("keys.chain_of", name=name, n=len(chain), subject=subject))
    for item in found:
        severity = words.ui(f"keys.severity.{'error' if item.fatal else 'warning'}")
        where = f" ({item.subject})" if item.subject else ""
        click.echo(f"{severity}  {item.code}{where}\n  {_sentence(words, item)}")
    if not found:
        algorithm = algorithm_of(chain[0].parsed.public_key())
        last = chain[0].last.date().isoformat()
        click.echo(words.ui("keys.sound", name=name, algorithm=algorithm, date=last))
