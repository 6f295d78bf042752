"""`counterproof generators`: list, train, export, evaluate, mix, project; compress, decompress."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.options import language_option
from counterproof.errors import ImageError, MissingExtra, UserError

if TYPE_CHECKING:
    from counterproof.generators.config import Config
    from counterproof.generators.dataset import Pictures

__all__ = ["generators"]

FAMILIES = ("gan", "vae", "stylegan", "codec")


@click.group()
def generators() -> None:
    """Train, measure and export models that generate; compress pictures with one."""


@generators.command("list")
def list_models() -> None:
    """List the models that ship with this installation, with their classes."""
    from counterproof.errors import WeightsError
    from counterproof.generators.sampling import BUNDLED, open_sampler

    for name in BUNDLED:
        try:
            sampler = open_sampler(name)
        except WeightsError:
            click.echo(f"{name}\t-")  # trained, but not shipped: train it
            continue
        classes = ", ".join(sampler.facts.classes) or "-"
        click.echo(f"{name}\t{sampler.version}\t{classes}")


@generators.command()
@click.argument("family", type=click.Choice(FAMILIES))
@click.argument("data", metavar="DATA")
@click.option("-o", "out", required=True, metavar="DIR", help="Folder of checkpoint and log.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint there.")
@click.option("--images", type=int, help="Pictures to see until training is complete.")
@click.option("--minutes", type=float, help="CPU minutes to spend now.")
@click.option("--size", default=64, show_default=True, help="Side of the pictures in pixels.")
@click.option("--labels/--no-labels", default=True, help="Learn the classes of the folders.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 …")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto")
@click.option("--threads", default=1, show_default=True, help="Threads on a CPU.")
def train(
    family: str,
    data: str,
    out: str,
    resume: bool,
    images: int | None,
    minutes: float | None,
    size: int,
    labels: bool,
    seed: int,
    device: str,
    precision: str,
    threads: int,
) -> None:
    """Train a model on the pictures of a folder or zip, one class per folder.

    Stop it at any time; --resume goes on from the last checkpoint, bit for bit. Beside the
    checkpoint lie log.csv, marked snapshots, and metrics.csv: distances to held-out pictures and
    the check for copies of training pictures. DATA is only read.
    """
    _need_torch()
    from counterproof.generators.snapshots import Observer
    from counterproof.generators.training import CHECKPOINT, Run
    from counterproof.generators.training import train as run
    from counterproof.settings import load_settings

    folder, settings = Path(out), load_settings()
    begun = (folder / CHECKPOINT).is_file()
    if begun and not resume:
        raise UserError(f"{folder}: holds a checkpoint; add --resume, or choose another folder")
    if resume and not begun:
        raise UserError(f"{folder}: holds no checkpoint to resume")
    pictures, config = _task(family, data, size, labels, images, folder if begun else None)

    observer = Observer(config, pictures, folder, settings)

    def notice(progress: Any, logged: dict[str, float], average: Any) -> None:
        if average is None:
            return
        shown = "".join(f" {name} {value:.4g}" for name, value in logged.items())
        click.echo(f"{progress.images:,} images, {progress.seconds:.0f} s{shown}", err=True)
        quality = observer.look(average, progress)
        if quality is not None:
            click.echo(f"  {_shown(quality)}", err=True)

    if not 0 <= seed < 2**40:
        raise UserError(f"expected a seed of 0 to {2**40 - 1}, got {seed}")
    run(config, pictures, Run(folder, seed, device, precision, minutes, threads=threads), notice)
    click.echo(str(folder / CHECKPOINT))


def _shown(quality: Any) -> str:
    """Return the main figures of samples in one line."""
    copied = "closer to training pictures than held-out ones are" if quality.copied else "clean"
    return (
        f"distance {quality.frechet:.2f} (floor {quality.frechet_floor:.2f}, n {quality.n}, held "
        f"out {quality.n_held}), precision {quality.precision:.2f}, recall {quality.recall:.2f}, "
        f"copy check {copied}"
    )


def _task(
    family: str, data: str, size: int, labels: bool, images: int | None, begun: Path | None
) -> "tuple[Pictures, Config]":
    """Read the pictures, and the settings of the checkpoint or those asked for."""
    import dataclasses

    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.config import FAMILIES, CodecConfig, GanConfig, StyleganConfig
    from counterproof.generators.training import CHECKPOINT

    kind = FAMILIES[family]
    if begun is not None:
        config, _ = read_header(begun / CHECKPOINT)
        if type(config) is not kind:
            raise UserError(f"{begun}: holds a checkpoint of another family than {family}")
        if images is not None:  # more pictures may be asked for; nothing else may change
            config = dataclasses.replace(config, images=images)
        size = config.size
    twice = 2 if kind is CodecConfig else 1
    pictures = _pictures(data, size * twice)
    if begun is not None:
        return pictures, config
    changes: dict[str, Any] = {"size": size}
    if images is not None:
        changes["images"] = images
    if kind in (GanConfig, StyleganConfig) and labels and len(pictures.classes) > 1:
        changes["classes"] = len(pictures.classes)
    if kind is not CodecConfig and size != 64:
        widths = (128, 96, 64, 32, 32, 32)
        steps = size.bit_length() - 4  # at 4, 8, … pixels up to half the size
        if size & (size - 1) or not 1 <= steps <= len(widths):
            raise UserError(f"expected a size of 16, 32, 64, 128 or 256 pixels, got {size}")
        changes["channels" if kind is GanConfig else "critic_channels"] = widths[:steps]
    if size % 16:
        raise UserError(f"expected a size in multiples of 16 pixels, got {size}")
    return pictures, kind(**changes)


def _pictures(data: str, size: int) -> "Pictures":
    from counterproof.generators.dataset import load_pictures

    pictures = load_pictures(data, size)
    for message in pictures.skipped:
        click.echo(message, err=True)
    return pictures


@generators.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.argument("data", metavar="DATA")
@click.option("-o", "out", required=True, metavar="FILE", help="The .onnx file to write.")
def export(checkpoint: str, data: str, out: str) -> None:
    """Export a checkpoint as a model file that `generate --model FILE` draws from."""
    _need_torch()
    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.config import CodecConfig
    from counterproof.generators.publishing import export_checkpoint

    if Path(out).suffix != ".onnx":
        raise UserError(f"{out}: expected a name ending in .onnx")
    config, _ = read_header(Path(checkpoint))
    twice = 2 if isinstance(config, CodecConfig) else 1
    export_checkpoint(Path(checkpoint), Path(out), _pictures(data, config.size * twice))
    click.echo(out)


@generators.command()
@click.argument("model", metavar="NAME|FILE")
@click.argument("data", metavar="DATA")
@click.option("-n", "count", default=3047, show_default=True, help="Samples to draw.")
@click.option("--seed", default=0, show_default=True)
def evaluate(model: str, data: str, count: int, seed: int) -> None:
    """Measure how far samples are from held-out pictures, as JSON, with floors and n.

    Distances are those of the small net that ships here: they compare models of this project on
    one data set, and are not the published FID or KID.
    """
    import dataclasses
    import json

    from counterproof.generators.metrics import measure
    from counterproof.generators.sampling import open_sampler

    sampler = open_sampler(model)
    pictures = _pictures(data, sampler.sample(1).shape[1])
    trained, _ = pictures.train()
    held, labels = pictures.held_out()
    made = sampler.sample(count, seed)
    wanted = sampler.labels(count, seed)
    result = measure(made, None if (wanted < 0).any() else wanted, trained, held, labels)
    click.echo(json.dumps(dataclasses.asdict(result) | {"copied": result.copied}, indent=1))
    if result.copied:
        click.echo("samples lie closer to training pictures than held-out pictures do", err=True)


@generators.command()
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


@generators.command()
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

    Prints file, PSNR in dB, and that of the closest sample before the search. A close picture
    does not show that the model made it. MODEL is a bundled name, an exported or saved model.
    """
    _need_torch()
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
        return f"{target}\t{made.psnr_db:.2f}\t{made.start_db:.2f}"

    _each(files, one)


@generators.command()
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


@generators.command()
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


def _need_torch() -> None:
    """Say which extra is missing, before anything is read."""
    import importlib.util

    for name in ("torch", "safetensors", "onnxscript", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtra("training and exporting models", "train")
