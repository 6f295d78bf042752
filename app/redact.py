"""`counterproof redact`: a cleaned copy of a picture, proved before it is written."""

import json

import click

from counterproof.app.options import format_option, language_option
from counterproof.errors import ImageError, MissingExtra, ProvenanceError, UserError

__all__ = ["redact"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, required=True, metavar="IMAGE…")
@click.option("-o", "--out", required=True, metavar="DIR", help="Folder for the cleaned copies.")
@click.option("--metadata", is_flag=True, help="Remove metadata only; what is done in any case.")
@click.option("--faces", is_flag=True, help="Fill the faces that are found.")
@click.option("--text", is_flag=True, help="Fill lines of text that lead to a person.")
@click.option("--region", "regions", multiple=True, metavar="X,Y,W,H", help="Fill a region.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@format_option("text", "jsonl")
@language_option
def redact(
    files: tuple[str, ...],
    out: str,
    metadata: bool,
    faces: bool,
    text: bool,
    regions: tuple[str, ...],
    overwrite: bool,
    fmt: str,
    lang: str | None,
) -> None:
    """Write copies without places, names, numbers, previews and remains; fill faces, text, regions.

    Labels that a model had a part in the picture, colour profile and orientation stay. A
    credential is signed anew as an edit. Each copy is read again and searched before it is
    written; if anything is left, nothing is. Faces are found, never recognised; lines of text are
    filled where they hold a card, account, document or telephone number or an e-mail address
    (extra `privacy`). Some are missed: look at each copy before you pass it on. A HEIC in which
    something is filled becomes a JPEG, or a PNG where it is transparent.
    """
    from counterproof.audit.redact import redact as make
    from counterproof.audit.redact import target_of
    from counterproof.images import ImageFile
    from counterproof.provenance.mark_output import check_free, write_pair
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    boxes = [_box(text) for text in regions]
    targets = [target_of(name, out) for name in files]
    if len({str(item).casefold() for item in targets}) < len(targets):
        raise UserError("two of the pictures would be written under one name")
    failed, written = 0, {str(item).casefold() for item in targets}
    for name, target in zip(files, targets, strict=True):
        try:
            if not overwrite:
                check_free(target, False)
            image = ImageFile.open(name, limits=settings.limits)
            made = make(image, settings, boxes=boxes, faces=faces, text=text)
            if made.suffix:
                target = target.with_suffix(made.suffix)
                if str(target).casefold() in written:
                    raise UserError(f"{name}: another of the pictures has the name {target.name}")
                written.add(str(target).casefold())
                check_free(target, overwrite)
            write_pair(target, made.data, None, overwrite)
        except (ImageError, ProvenanceError, UserError) as err:
            if isinstance(err, MissingExtra):
                raise  # it would be so for each picture
            failed += 1
            click.echo(
                words.ui("redact.failed", name=name, reason=str(err).removeprefix(f"{name}: ")),
                err=True,
            )
            continue
        row = {
            "path": name,
            "redacted": str(target),
            "removed": made.removed,
            "regions": [list(box) for box in made.boxes],
            "signed": made.signed,
            "emptied": list(made.emptied),
        }
        click.echo(json.dumps(row) if fmt == "jsonl" else str(target))
        count = sum(made.removed.values())
        said = words.ui("redact.removed", name=name, n=count, regions=len(made.boxes))
        click.echo(said, err=True)
        if made.suffix:
            click.echo(words.ui("redact.suffix", name=name, copy=target.name), err=True)
    click.echo(words.ui("redact.done", n=len(files) - failed), err=True)
    if failed:
        raise click.exceptions.Exit(3)


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, w, h = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"expected a region as X,Y,W,H in pixels, got {text!r}") from None
    return x, y, w, h
