"""`counterproof recover`: find the credential that a copy has lost."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.options import as_of_option, format_option, keys_option, language_option
from counterproof.text import MAX_QUOTE, visible

if TYPE_CHECKING:
    from counterproof.provenance.recovery import Recovered
    from counterproof.settings import Settings
    from counterproof.text import Catalogue

__all__ = ["recover"]


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "--store", "stores", multiple=True, metavar="FILE", help="Manifest store; the own by default."
)
@keys_option
@format_option("text", "json")
@click.option("-o", "out", metavar="FILE", help="Write the manifest found, as a .c2pa file.")
@as_of_option("Judge by this day, YYYY-MM-DD.")
@language_option
def recover(
    image: str,
    stores: tuple[str, ...],
    keys: tuple[str, ...],
    fmt: str,
    out: str | None,
    as_of: str | None,
    lang: str | None,
) -> None:
    """Find the credential that IMAGE has lost, by its watermark, then by its fingerprint.

    A credential counts as found only if its signature holds and it was bound to this content.
    Nothing leaves this machine.
    """
    from counterproof.images import ImageFile
    from counterproof.provenance.recovery import Recovery, open_stores, store_paths
    from counterproof.provenance.trust import load_trust
    from counterproof.provenance.watermark_scan import WatermarkAnalyzer
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    given = {"stores": stores or None, "keys": keys or None, "as_of": as_of, "language": lang}
    settings = load_settings(given)
    paths = list(settings.stores) if stores else store_paths(settings)
    secrets = WatermarkAnalyzer(settings).keys
    with ExitStack() as stack:
        opened = open_stores(paths, stack)
        trust = load_trust(settings.home)
        found = Recovery(opened, trust, settings.as_of, secrets).find(
            ImageFile.open(image, limits=settings.limits)
        )
    best = found[0] if found else None
    words = catalogue(settings.language)
    if fmt == "json":
        click.echo(json.dumps(_result(best, settings), indent=1, ensure_ascii=False))
    else:
        click.echo(_page(words, image, best))
    if not out:
        return
    if best is None or best.status != "match":
        click.echo(words.ui("recover.nothing", name=visible(image)), err=True)
        return
    from counterproof.provenance.mark_output import write_new

    write_new(Path(out), best.kept.data)
    click.echo(words.ui("scan.wrote", file=out), err=True)


def _result(best: "Recovered | None", settings: "Settings") -> dict[str, Any]:
    """Return the four answers; `found` only where the content matches."""
    if best is None:
        return {"found": False, "by": None, "status": None, "manifest": None}
    from counterproof.provenance.details import describe

    manifest = describe(best.credential, settings.as_of)
    manifest.pop("coverage", None)  # of a picture that is not here
    return {
        "found": best.status == "match",
        "by": best.by,
        "status": best.status,
        "claim": best.claim.value,
        "basis": best.basis.value,
        "details": best.details(),
        "manifest": manifest,
    }


def _page(words: "Catalogue", image: str, best: "Recovered | None") -> str:
    """Lay out what was found for people."""
    name = visible(image)
    if best is None:
        return words.ui("recover.nothing", name=name)
    code = words.code(f"recovery.{best.status}")
    rows = [(words.ui("recover.by"), words.ui(f"recover.by.{best.by}"))]
    signer = best.details()["signer"] or {}
    known = "name" in signer
    who = signer.get("name") or signer.get("claims_to_be") or ""
    trust = words.answer("trust", best.credential.answers.trust.value)
    label = words.ui("recover.signer" if known else "recover.signer.unlisted")
    rows.append((label, visible(str(who), MAX_QUOTE)))
    rows.append((words.ui("recover.trust"), trust["says"]))
    if title := best.credential.active.title:
        rows.append((words.ui("recover.title"), visible(str(title), MAX_QUOTE)))
    if best.claim.value != "none":
        claim = words.ui(f"claim.{best.claim.value}")
        rows.append((words.ui("recover.claim"), claim))
    rows.append((words.ui("recover.manifest"), visible(best.kept.id)))
    lines = [f"{name}: {code['says']}", *(f"  {key}: {value}" for key, value in rows)]
    lines += ["", f"  {words.ui('heading.does_not_mean')} {code['does_not_mean']}"]
    return "\n".join(lines)
