"""`counterproof generators train` and `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterproof.app.generators import need_torch, read_pictures
from counterproof.errors import UserError

if TYPE_CHECKING:
    from counterproof.generators.config import Config
    from counterproof.generators.dataset import Pictures

__all__ = ["export", "train"]

FAMILIES = ("gan", "vae", "stylegan", "codec")


@click.command()
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
    need_torch()
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
    from counterproof.generators.config import FAMILIES, CodecConfig, GanConfig
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
    pictures = read_pictures(data, size * twice, labels)
    if begun is not None:
        return pictures, config
    changes: dict[str, Any] = {"size": size}
    if images is not None:
        changes["images"] = images
    if kind is not CodecConfig and labels and len(pictures.classes) > 1:
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


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.argument("data", metavar="DATA")
@click.option("-o", "out", required=True, metavar="FILE", help="The .onnx file to write.")
def export(checkpoint: str, data: str, out: str) -> None:
    """Export a checkpoint as a model file that `generate --model FILE` draws from."""
    need_torch()
    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.config import CodecConfig
    from counterproof.generators.dataset import NO_CLASS
    from counterproof.generators.publishing import export_checkpoint

    if Path(out).suffix != ".onnx":
        raise UserError(f"{out}: expected a name ending in .onnx")
    config, progress = read_header(Path(checkpoint))
    twice = 2 if isinstance(config, CodecConfig) else 1
    pictures = read_pictures(data, config.size * twice, progress.classes != [NO_CLASS])
    export_checkpoint(Path(checkpoint), Path(out), pictures)
    click.echo(out)
