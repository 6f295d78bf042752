"""`counterproof generate`: draw pictures from a model, every one of them marked."""

from pathlib import Path

import click

from counterproof.app.options import language_option

__all__ = ["generate"]


@click.command()
@click.option("--model", required=True, metavar="NAME|FILE", help="gan, vae, stylegan, or a file.")
@click.option("-n", "count", default=1, show_default=True, help="How many.")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the pictures.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same pictures.")
@click.option("--label", metavar="CLASS", help="What to draw; generators list names the classes.")
@click.option("--truncation", default=1.0, show_default=True, help="Below 1: more usual pictures.")
@click.option("--native", is_flag=True, help="Keep the model's size, with the small watermark.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@language_option
def generate(
    model: str,
    count: int,
    out: str,
    seed: int,
    label: str | None,
    truncation: float,
    native: bool,
    overwrite: bool,
    lang: str | None,
) -> None:
    """Draw pictures from a model and mark them: watermark, labels, signed credential.

    There is no way to leave the marks out. A preview of all is written as preview.png.
    """
    from counterproof.generators.marked_output import grid, maker_of, write_marked
    from counterproof.generators.sampling import open_sampler
    from counterproof.provenance.keys import find_identity
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"language": lang})
    words = catalogue(settings.language)
    sampler = open_sampler(model)
    pixels = sampler.sample(count, seed, label, truncation)
    names = [f"{sampler.name}-{seed}-{number:04d}" for number in range(count)]
    maker, signer, folder = maker_of(sampler), find_identity(settings), Path(out)
    missing = 0
    for name, picture in zip(names, pixels, strict=True):
        made = write_marked(
            picture[None], [name], folder, maker,
            settings=settings, native=native, overwrite=overwrite, signer=signer,
        )[0]  # fmt: skip
        missing += made.layers["watermark"].state == "missing"
        click.echo(str(folder / f"{name}.png"))
    if count > 1:
        write_marked(
            grid(pixels)[None], ["preview"], folder, maker,
            settings=settings, overwrite=overwrite, signer=signer,
        )  # fmt: skip
        click.echo(words.ui("scan.wrote", file=str(folder / "preview.png")), err=True)
    if missing:
        click.echo(words.ui("generate.unmarkable", n=missing), err=True)
    click.echo(words.ui("mark.done", n=count), err=True)
