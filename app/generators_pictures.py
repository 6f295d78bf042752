"""`counterproof generators mix`, `project`, `compress`, `decompress`: pictures in, pictures out."""

from pathlib import Path
from typing import Any

import click

from counterproof.app.generators import need_torch
from counterproof.app.options import language_option
from counterproof.errors import ImageError, UserError

__all__ = ["compress", "decompress", "mix", "project"]


@click.command()
@click.argument("model", metavar="NAME|FILE")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the picture.")
@click.option("--seed", default=0, show_default=True)
@click.option("-n", "count", default=6, show_default=True, help="Rows and columns, 2 to 16.")
@click.option("--truncation", default=1.0, show_default=True, help="Below 1: more usual pictures.")
@click.option("--cut", type=int, help="Layer from which the column's style is used.")
def mix(model: str, out: str, seed: int, count: int, truncation: float, cut: int | None) -> None:
    """Mix styles: shape by the row, colour and texture by the column, as one marked grid.

    The pictures that were mixed stand in the first row and the first column.
    """
    import numpy as np

    from counterproof.generators.marked_output import grid, maker_of, write_marked
    from counterproof.generators.sampling import open_sampler
    from counterproof.settings import load_settings

    sampler = open_sampler(model)
    if sampler.facts.family != "stylegan":
        raise UserError(f"{model}: expected a stylegan model, got {sampler.facts.family}")
    if not 2 <= count <= 16:
        raise UserError(f"expected 2 to 16 rows, got {count}")
    depth = sampler.facts.depth
    layer = depth // 2 if cut is None else cut
    if not 0 <= layer <= depth:
        raise UserError(f"expected a cut of 0 to {depth}, got {layer}")
    if not 0 <= truncation <= 2:
        raise UserError(f"expected a truncation of 0 to 2, got {truncation:g}")
    z, labels = sampler.latents(2 * count, seed), sampler.labels(2 * count, seed)
    alone = sampler.styled(z, z, labels, depth, truncation)
    sheet = [np.full_like(alone[:1], 255), alone[count:]]  # the corner, then what gives colour
    for i in range(count):
        shape = np.repeat(z[i : i + 1], count, 0)
        mixed = sampler.styled(shape, z[count:], labels[[i] * count], layer, truncation)
        sheet += [alone[i : i + 1], mixed]
    whole = grid(np.concatenate(sheet), count + 1)[None]
    name = f"{sampler.name}-mix-{seed}"
    write_marked(whole, [name], Path(out), maker_of(sampler), settings=load_settings())
    click.echo(str(Path(out) / f"{name}.png"))


@click.command()
@click.argument("model", metavar="NAME|FILE")
@click.argument("files", nargs=-1, required=True, metavar="IMAGE…")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the pictures.")
@click.option("--steps", default=300, show_default=True, help="Steps of the search.")
@click.option("--seed", default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@language_option
def project(
    model: str,
    files: tuple[str, ...],
    out: str,
    steps: int,
    seed: int,
    overwrite: bool,
    lang: str | None,
) -> None:
    """Find what a model draws that comes closest to a picture; written marked, as NAME.png.

    Prints file, PSNR of the closest sample before the search, and PSNR after it. A close picture
    does not show that the model made it. MODEL is a bundled name, an exported or saved model.
    """
    need_torch()
    from counterproof.generators.dataset import square
    from counterproof.generators.generator import Generator
    from counterproof.generators.marked_output import maker_of, write_marked
    from counterproof.generators.projection import project as search
    from counterproof.images import ImageFile
    from counterproof.provenance.keys import find_identity
    from counterproof.settings import load_settings

    if not 1 <= steps <= 100_000:
        raise UserError(f"expected 1 to 100,000 steps, got {steps}")
    settings = load_settings({"language": lang})
    found, signer = Generator.load(model), find_identity(settings)
    maker = maker_of(found.sampler(Path(model).stem))

    def one(name: str) -> str:
        image = square(ImageFile.open(name, limits=settings.limits), found.config.size)
        made = search(found, image, steps=steps, seed=seed)
        write_marked(
            made.pixels[None], [Path(name).stem], Path(out), maker,
            settings=settings, overwrite=overwrite, signer=signer,
        )  # fmt: skip
        target = Path(out) / f"{Path(name).stem}.png"
        return f"{target}\t{made.start_db:.2f} dB\t{made.psnr_db:.2f} dB"

    _each(files, one)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="IMAGE…")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the .cpi files.")
@click.option("--quality", default=2, show_default=True, help="0 (smallest) to 5.")
@language_option
def compress(files: tuple[str, ...], out: str, quality: int, lang: str | None) -> None:
    """Compress small pictures of clothing; what comes back is a model's picture."""
    from counterproof.generators.codec import open_codec
    from counterproof.images import ImageFile
    from counterproof.provenance.mark_output import write_new
    from counterproof.settings import load_settings

    codec, limits = open_codec(), load_settings({"language": lang}).limits

    def one(name: str) -> Path:
        data = codec.compress(ImageFile.open(name, limits=limits).pixels(), quality)
        target = Path(out) / (Path(name).stem + ".cpi")
        write_new(target, data)
        return target

    _each(files, one)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder for the pictures.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@language_option
def decompress(files: tuple[str, ...], out: str, overwrite: bool, lang: str | None) -> None:
    """Decompress .cpi files; the pictures are marked as composed with a model's help.

    They may show detail that was not in the original.
    """
    from counterproof.generators.codec import MAX_FILE, open_codec
    from counterproof.generators.marked_output import Maker, write_marked
    from counterproof.provenance.keys import find_identity
    from counterproof.settings import load_settings

    settings = load_settings({"language": lang})
    codec, signer = open_codec(), find_identity(settings)
    maker = Maker("counterproof codec", codec.model.hex(), codec.trained_on)

    def one(name: str) -> Path:
        path = Path(name)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as err:
            raise ImageError("missing", f"{name}: {err.strerror}") from err
        pixels = codec.decompress(data, name)
        write_marked(
            pixels[None], [path.stem], Path(out), maker,
            settings=settings, intent="model-composite", native=True, overwrite=overwrite,
            signer=signer,
        )  # fmt: skip
        return Path(out) / f"{path.stem}.png"

    _each(files, one)


def _each(files: tuple[str, ...], work: Any) -> None:
    """Do one file after the other; one that cannot be read does not stop the rest."""
    failed = 0
    for name in files:
        try:
            click.echo(str(work(name)))
        except ImageError as err:
            failed += 1
            click.echo(f"error: {err}", err=True)
    if failed:
        raise click.exceptions.Exit(3)
