"""`counterproof mark`: write marked copies of pictures into a folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.options import format_option, language_option
from counterproof.errors import ImageError, ProvenanceError, UserError

if TYPE_CHECKING:
    from counterproof.provenance.keys import Identity
    from counterproof.provenance.mark import MarkedImage
    from counterproof.text import Catalogue

__all__ = ["mark"]

INTENTS = ("generated", "model-edited", "model-composite", "captured")
TRAINING = ("allowed", "not-allowed", "constrained")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--as", "intent", type=click.Choice(INTENTS), required=True, help="What they are.")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the marked copies.")
@click.option("--system", default="", help="The model or service that made or edited them.")
@click.option("--system-version", "version", default="", help="Its version.")
@click.option("--prompt", default="", help="What it was asked for; written only if given.")
@click.option("--producer", default="", help="GB 45438 provider code or name.")
@click.option("--label", "visible", default="", metavar="TEXT", help="Draw a visible label.")
@click.option("--label-font", "font", metavar="FILE", help="Font of the visible label.")
@click.option(
    "--watermark/--no-watermark",
    default=None,
    help="Embed an invisible watermark; the default for all but captured.",
)
@click.option("--strength", type=click.Choice(["standard", "subtle"]), default="standard")
@click.option("--key", "key_file", metavar="FILE", help="Secret for a private watermark.")
@click.option("--training", type=click.Choice(TRAINING), help="May others train on them?")
@click.option("--constraint", default="", help="Under which condition, with constrained.")
@click.option("--parent", metavar="FILE", help="The picture before the model edited it.")
@click.option("--component", "components", multiple=True, metavar="FILE", help="A part of it.")
@click.option("--sidecar", is_flag=True, help="Write the credential beside the picture.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--store", metavar="FILE", help="Manifest store to record them in.")
@click.option("--cert", metavar="PEM", help="Chain to sign with, the signer's first.")
@click.option("--signing-key", metavar="PEM", help="Its private key.")
@click.option("--tsa", default="", metavar="URL", help="Ask this authority for a time stamp.")
@format_option("text", "jsonl")
@language_option
def mark(
    files: tuple[str, ...],
    intent: str,
    out: str,
    font: str | None,
    key_file: str | None,
    training: str | None,
    cert: str | None,
    signing_key: str | None,
    fmt: str,
    lang: str | None,
    **options: Any,
) -> None:
    """Mark pictures: label, watermark and signed credential, each copy written whole or not at all.

    Nothing leaves this machine unless --tsa names an authority. Files are never changed in
    place. What a format cannot take is named on standard error and in the credential.
    """
    from counterproof.provenance import mark as door
    from counterproof.provenance.keys import find_identity, from_files
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    _check_names(files)
    if (cert is None) != (signing_key is None):
        raise UserError("--cert and --signing-key go together")
    chosen = door.MarkOptions(
        **options,
        font=Path(font) if font else None,
        training=training or "",
        watermark_key=_secret(key_file) if key_file else None,
    )
    identity: Identity
    if cert is not None and signing_key is not None:
        identity = from_files(cert, signing_key)
    else:
        identity = find_identity(settings)
    failed = 0
    for name in files:
        try:
            made = door.mark(
                name, intent, out=out, signer=identity, settings=settings, options=chosen
            )
        except (ImageError, ProvenanceError) as err:
            failed += 1
            click.echo(words.ui("mark.failed", name=name, reason=str(err)), err=True)
            continue
        click.echo(json.dumps(_row(name, made)) if fmt == "jsonl" else str(made.path))
        _tell(words, name, made)
    click.echo(words.ui("mark.done", n=len(files) - failed), err=True)
    if failed:
        raise click.exceptions.Exit(3)


def _check_names(files: tuple[str, ...]) -> None:
    """Refuse two pictures that would be written under one name."""
    seen: dict[str, str] = {}
    for name in files:
        base = Path(name).name.casefold()
        if base in seen:
            raise UserError(f"{seen[base]} and {name} would both be written as {Path(name).name}")
        seen[base] = name


def _secret(name: str) -> bytes:
    try:
        data = Path(name).read_bytes()
    except OSError as err:
        raise UserError(f"{name}: {err.strerror}") from err
    if not 16 <= len(data) <= 4096:
        raise UserError(f"{name}: expected a secret of 16 to 4,096 bytes, got {len(data):,}")
    return data


def _row(name: str, made: "MarkedImage") -> dict[str, Any]:
    return {
        "path": name,
        "marked": str(made.path),
        "intent": made.intent.value,
        "signer": made.signer,
        "layers": {key: layer.to_json() for key, layer in made.layers.items()},
        "replaced": list(made.replaced),
        "recorded": made.recorded,
        "reserved": list(made.reserved),
    }


def _tell(words: "Catalogue", name: str, made: "MarkedImage") -> None:
    """Name on standard error what is missing, kept or replaced."""
    for key, layer in made.layers.items():
        if layer.state == "missing":
            said = words.ui(
                "mark.missing",
                layer=words.ui(f"mark.layer.{key}"),
                state=words.ui("mark.state.missing"),
                reason=words.ui(f"mark.reason.{layer.reason}"),
            )
            click.echo(f"{name}: {said}", err=True)
    if made.reserved:
        codes = ", ".join(made.reserved)
        click.echo(words.ui("mark.reserved", name=name, codes=codes), err=True)
    if not made.recorded:
        click.echo(words.ui("mark.unrecorded", name=name), err=True)
    if made.replaced:
        found = "; ".join(made.replaced)
        click.echo(words.ui("mark.replaced", name=name, found=found), err=True)
