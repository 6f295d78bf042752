"""`counterproof generators`: list and evaluate; the other commands are imported to run them."""

from typing import TYPE_CHECKING

import click

from counterproof.app.lazy import LazyGroup
from counterproof.errors import MissingExtra

if TYPE_CHECKING:
    from counterproof.generators.dataset import Pictures

__all__ = ["generators", "need_torch", "read_pictures"]

HERE = "counterproof.app.generators"
COMMANDS = {
    "list": (f"{HERE}:list_models", "List the models that ship with this installation."),
    "train": (f"{HERE}_train:train", "Train a model on the pictures of a folder or zip."),
    "export": (f"{HERE}_train:export", "Export a checkpoint as a model file to draw from."),
    "evaluate": (f"{HERE}:evaluate", "Measure how far samples are from held-out pictures."),
    "mix": (f"{HERE}_pictures:mix", "Mix the styles of a model, as one marked grid."),
    "project": (f"{HERE}_pictures:project", "Find what a model draws that is like a picture."),
    "compress": (f"{HERE}_pictures:compress", "Compress small pictures of clothing."),
    "decompress": (f"{HERE}_pictures:decompress", "Decompress .cpi files into marked pictures."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def generators() -> None:
    """Train, measure and export models that generate; compress pictures with one."""


@click.command("list")
def list_models() -> None:
    """List the models that ship with this installation: name, version, classes."""
    from counterproof import weights
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
    click.echo(f"codec\t{weights.open('generators/codec').card.version}\t-")


@click.command()
@click.argument("model", metavar="NAME|FILE")
@click.argument("data", metavar="DATA")
@click.option("-n", "count", default=3047, show_default=True, help="Samples to draw.")
@click.option("--seed", default=0, show_default=True)
@click.option("--fid", "weights", metavar="WEIGHTS", help="Also the published FID and KID.")
def evaluate(model: str, data: str, count: int, seed: int, weights: str | None) -> None:
    """Measure how far samples are from held-out pictures, as JSON, with floors and n.

    Distances are those of the small net that ships here: they compare models of this project on
    one data set, and are not the published FID or KID. Those need the extra `fid` and WEIGHTS,
    torch-fidelity's file of the Inception network; nothing is downloaded.
    """
    import dataclasses
    import json

    from counterproof.generators.metrics import feature_classes, measure
    from counterproof.generators.sampling import open_sampler

    if weights is not None:
        from counterproof.generators.fidelity import check_weights

        check_weights(weights)  # told before the work
    sampler = open_sampler(model)
    classes = sampler.facts.classes
    pictures = read_pictures(data, sampler.sample(1).shape[1], len(classes) > 1)
    trained, _ = pictures.train()
    held, labels = pictures.held_out()
    made = sampler.sample(count, seed)
    wanted = sampler.labels(count, seed)
    # a VAE draws freely, and the feature net names the classes that it was trained on only
    unnamed = (wanted < 0).any() or classes != feature_classes()
    result = measure(made, None if unnamed else wanted, trained, held, labels)
    shown: dict[str, object] = dataclasses.asdict(result) | {"copied": result.copied}
    if weights is not None:
        from counterproof.generators.fidelity import published_distances

        shown["published"] = dataclasses.asdict(published_distances(made, held, weights))
    click.echo(json.dumps(shown, indent=1))
    if result.copied:
        click.echo("samples lie closer to training pictures than held-out pictures do", err=True)


def read_pictures(data: str, size: int, labels: bool = True) -> "Pictures":
    """Read the pictures of a training; each that cannot be read is named on stderr."""
    from counterproof.generators.dataset import load_pictures

    pictures = load_pictures(data, size, labels)
    for message in pictures.skipped:
        click.echo(message, err=True)
    return pictures


def need_torch() -> None:
    """Say which extra is missing, before anything is read."""
    import importlib.util

    for name in ("torch", "safetensors", "onnxscript", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtra("training and exporting models", "train")
