"""`counterproof detectors train|evaluate|calibrate|compare|card`: the wing that learns to tell."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterproof.app.options import check_suffix, format_option, print_json, write_json
from counterproof.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from counterproof.detectors.evaluation import Evaluation, Scorer
    from counterproof.detectors.samples import Sample

__all__ = ["detectors"]

_CONTEXT = {"help_option_names": ["-h", "--help"]}


def _told(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings=_CONTEXT)
def detectors() -> None:
    """Train, measure and describe detectors of machine-made pictures.

    TABLE is a CSV file with the columns file, label (real or fake, as words of data sets) and
    source, or a folder that holds real/SOURCE/… and fake/SOURCE/….
    """


@detectors.command(context_settings=_CONTEXT)
@click.argument("table", metavar="TABLE", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=click.Choice(
        ["default", "tuned", "spectral", "residual", "backbone", "ensemble", "pseudo"]
    ),
    default="default",
    show_default=True,
)
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of the recipe ensemble: what another recipe trained on TABLE. At least twice.",
)
@click.option("--network", metavar="NAME", help="Of the recipe backbone, as torchvision calls it.")
@click.option(
    "--weights",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of that network: its state dictionary.",
)
@click.option("--folds", default=5, show_default=True, help="Groups of sources held out in turn.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Of training a network: tuned 450, residual 1500, each decoder of pseudo 400.",
)
@click.option("--seed", default=0, show_default=True, help="Of deliveries, folds and batches.")
def train(
    table: Path,
    output: Path,
    recipe: str,
    members: tuple[Path, ...],
    network: str | None,
    weights: Path | None,
    folds: int,
    steps: int | None,
    seed: int,
) -> None:
    """Train a detector on TABLE and write the model, its levels and held-out scores.

    \b
    default   the bundled detector: a head on a pretrained network, and spectral numbers
    tuned     the same with the upper half of the network trained as well; needs torch
    spectral  one weight for each frequency and noise number; says what it goes by
    residual  a small network on noise residuals, from scratch
    backbone  a head on a network of torchvision with your weights (--network, --weights)
    ensemble  weights that join what other recipes trained (--member)
    pseudo    no detector: photographs of TABLE before and after decoders that are trained on
              them, as a table FOLDER/pseudo.csv to train the others on

    What was made of the pictures is kept in FOLDER, so that the same command goes on where it
    stopped.
    """  # noqa: D301 - \b keeps the lines of the help apart
    from counterproof.detectors import samples as data

    try:
        from counterproof.detectors import recipes
        from counterproof.detectors.training import Recipe

        if recipe == "pseudo":
            _pseudo(table, output, steps or 400, seed)
            return
        labelled = data.read(table)
        data.folds(labelled, folds, seed)  # complain of too few sources before hours of work
        chosen = Recipe(folds=folds, seed=seed)
        if recipe == "spectral":
            made = recipes.spectral(labelled, output, chosen, _told)
        elif recipe == "residual":
            made = recipes.residual(labelled, output, chosen, _told, steps or 1500)
        elif recipe == "backbone":
            if network is None or weights is None:
                raise UserError("the recipe backbone needs --network NAME and --weights FILE")
            made = recipes.backbone(labelled, output, chosen, _told, network, weights)
        elif recipe == "ensemble":
            made = recipes.ensemble(labelled, output, chosen, _told, members)
        elif recipe == "tuned":
            made = recipes.tuned(labelled, output, chosen, _told, steps or 450)
        else:
            made = recipes.default(labelled, output, chosen, _told)
    except ModuleNotFoundError as err:
        raise MissingExtra(f"training ({err.name})", "train") from err
    for figure in made.metrics:
        click.echo("{name}  {value:.3f} [{low:.3f}, {high:.3f}]  n {n}  {set}".format(**figure))
    for remark in made.remarks:
        click.echo(remark)
    click.echo(f"wrote {', '.join(str(file) for file in made.files)}", err=True)


def _pseudo(table: Path, output: Path, steps: int, seed: int) -> None:
    from counterproof.detectors import samples
    from counterproof.detectors.pseudo import write_pictures

    photographs = [item for item in samples.read(table, both=False) if not item.machine_made]
    written = write_pictures(photographs, output, steps=steps, seed=seed, told=_told)
    click.echo(f"wrote {written}", err=True)


def _show(found: "Evaluation", output: Path | None, fmt: str) -> None:
    from counterproof.detectors import evaluation_page

    if output is not None:
        if check_suffix(str(output), "html", "json") == "html":
            from counterproof.audit.writer import open_atomically

            with open_atomically(output) as stream:
                stream.write(evaluation_page.page(found).encode())
        else:
            write_json(str(output), found.to_json())
        click.echo(f"wrote {output}", err=True)
    if fmt == "json":
        print_json(found.to_json())
    else:
        click.echo(evaluation_page.table(found))


def _checked(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a name of no known kind before the measuring begins."""
    if value is not None:
        check_suffix(str(value), "html", "json")
    return value


_OUTPUT = click.option(
    *("-o", "--output"),
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_checked,
    help="A .html or .json file.",
)
_FORMAT = format_option("text", "json")
_TREATMENT = click.option(
    "--treatment", "treatments", multiple=True, metavar="NAME", help="Only this delivery."
)
_MOST = click.option(
    "--most", type=click.IntRange(min=1), metavar="N", help="At most N pictures of each class."
)
_MATCHED = click.option(
    "--matched", is_flag=True, help="Only pairs alike in size, shape, compression and blur."
)
_GATE = click.option(
    "--gate", is_flag=True, help="Exit 1 unless the score beats what no content tells."
)


def _pictures(table: Path, most: int | None, matched: bool) -> "list[Sample]":
    from counterproof.detectors import matching, samples

    found = samples.read(table)
    if matched:
        found = matching.matched(found, _told)
    return found if most is None else samples.thinned(found, most)


def _own(folder: Path) -> "tuple[str, Scorer, dict[str, float]]":
    """Return name, scorer and levels of what `detectors train` wrote into a folder."""
    import numpy as np

    try:
        from counterproof.detectors.trained import open_trained

        made = open_trained(folder)
    except ModuleNotFoundError as err:
        raise MissingExtra(f"a detector of yours ({err.name})", "train") from err
    return str(folder), lambda image: made.score(np.asarray(image)), made.thresholds


def _judged(found: "Evaluation", gate: bool) -> None:
    """Exit 1 with the shortfalls on standard error, if the gate is asked for and not passed."""
    if not gate:
        return
    from counterproof.detectors.release import shortfalls

    sentences = shortfalls(found)
    for sentence in sentences:
        click.echo(f"gate: {sentence}", err=True)
    if sentences:
        raise SystemExit(1)
    click.echo("gate: passed on this set", err=True)


def _treatments(names: tuple[str, ...]) -> list[str]:
    from counterproof.detectors.deliveries import TREATMENTS

    for name in names:
        if name not in TREATMENTS:
            raise UserError(f"unknown treatment {name!r}; known are {', '.join(TREATMENTS)}")
    return list(names or TREATMENTS)


@detectors.command(context_settings=_CONTEXT)
@click.argument("table", metavar="TABLE", type=click.Path(exists=True, path_type=Path))
@_OUTPUT
@_FORMAT
@_TREATMENT
@_MATCHED
@_MOST
@_GATE
@click.option(
    "--model", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `detectors train` wrote there, instead of the bundled detector.",
)  # fmt: skip
def evaluate(
    table: Path,
    output: Path | None,
    fmt: str,
    treatments: tuple[str, ...],
    matched: bool,
    most: int | None,
    gate: bool,
    model: Path | None,
) -> None:
    """Measure the bundled detector, or one of yours, on pictures that it was not trained on.

    With --gate it exits 1 unless the lower 95 % bound of its area beats every baseline that sees
    no content, the random forest on all of them included. On a set whose classes differ in size or
    compression only --matched can pass: it keeps pairs of both classes that share those traits.
    """
    from counterproof.detectors import evaluation
    from counterproof.detectors.features import MODEL
    from counterproof.weights import open as open_weights

    if model is None:
        thresholds = dict(open_weights(MODEL).card.thresholds)
        name = "bundled"
        scorer: Scorer = evaluation.bundled
    else:
        name, scorer, thresholds = _own(model)
    found = evaluation.evaluate(
        _pictures(table, most, matched),
        scorer,
        name=name,
        treatments=_treatments(treatments),
        thresholds=thresholds,
        told=_told,
    )
    _show(found, output, fmt)
    _judged(found, gate)


@detectors.command(context_settings=_CONTEXT)
@click.argument("table", metavar="TABLE", type=click.Path(exists=True, path_type=Path))
@click.option("--scorer", required=True, metavar="COMMAND", help="Prints a number for {file}.")
@_OUTPUT
@_FORMAT
@_TREATMENT
@_MATCHED
@_MOST
@_GATE
def compare(
    table: Path,
    scorer: str,
    output: Path | None,
    fmt: str,
    treatments: tuple[str, ...],
    matched: bool,
    most: int | None,
    gate: bool,
) -> None:
    """Measure another scorer on the same pictures and deliveries, for a fair comparison."""
    from counterproof.detectors import evaluation

    found = evaluation.evaluate(
        _pictures(table, most, matched),
        evaluation.external(scorer),
        name=scorer,
        treatments=_treatments(treatments),
        told=_told,
    )
    _show(found, output, fmt)
    _judged(found, gate)


@detectors.command(context_settings=_CONTEXT)
@click.argument("table", metavar="TABLE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path),
    help="Where the levels go; the setting detector_levels names it to a scan.",
)  # fmt: skip
@click.option(
    "--accused", default=2.0, show_default=True, metavar="PERCENT",
    type=click.FloatRange(0.1, 20), help="Of like photographs, most that may be accused.",
)  # fmt: skip
@click.option(
    "--missed", default=10.0, show_default=True, metavar="PERCENT",
    type=click.FloatRange(0.1, 50), help="Of machine-made pictures, most that may be cleared.",
)  # fmt: skip
@_MOST
def calibrate(table: Path, output: Path, accused: float, missed: float, most: int | None) -> None:
    """Set the bundled detector's levels on your own photographs.

    TABLE as for evaluate; photographs alone suffice (real/SOURCE/…), and then only the accusing
    levels are set. At 2 % at least 49 photographs are needed.
    """
    from counterproof.detectors import calibration, samples
    from counterproof.detectors.features import MODEL
    from counterproof.detectors.measures import wilson
    from counterproof.weights import open as open_weights

    labelled = samples.read(table, both=False)
    if most is not None:
        labelled = samples.thinned(labelled, most)
    model = open_weights(MODEL)
    found = calibration.first_looks(labelled, _told)
    for text in found.skipped:
        _told(f"skipped {text}")
    own, remarks = calibration.calibrated(
        found,
        model.card.thresholds,
        model.version,
        accused_share=accused / 100,
        missed_share=missed / 100,
    )
    for remark in remarks:
        _told(remark)
    own.save(output)
    click.echo(f"{own.photographs} photographs, {own.machine_made} machine-made pictures used")
    click.echo(f"{found.outside} pictures outside the detector's scope")
    for name, before in model.card.thresholds.items():
        click.echo(f"  {name:<14} {before:7.3f} → {own.thresholds[name]:7.3f}")
    if own.held_out:
        share = wilson(own.accused, own.held_out)
        click.echo(f"accused at the first look, sources held out: {share}, n {own.held_out}")
    else:
        click.echo("accused on sources held out: not known, there is one source")
    click.echo(f"wrote {output}", err=True)


@detectors.command(context_settings=_CONTEXT)
def card() -> None:
    """Print the model card of the bundled detector."""
    from counterproof.detectors.features import MODEL
    from counterproof.weights import open as open_weights

    path = open_weights(MODEL).path
    click.echo(path.with_name(f"{path.stem}.card.json").read_text(encoding="utf-8").rstrip())
