"""Measures a scorer on labelled pictures: each delivery, each source, each level of doubt.

The scorer is the bundled detector, or any command that prints a number for a file. Beside it
stand baselines that see no picture content (`nuisances`): if size or compression alone
separates the classes, a score says little, and the report shows it.
"""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors import measures, nuisances
from counterproof.detectors.deliveries import TREATMENTS, recompress
from counterproof.detectors.detector import MOST_TILES, levels, look, probability
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.measures import Interval
from counterproof.detectors.nuisances import Traits
from counterproof.detectors.samples import Sample
from counterproof.detectors.tiles import MIN_SIDE, count
from counterproof.errors import ImageError, UserError

__all__ = ["Bin", "Evaluation", "Scorer", "Treated", "bundled", "evaluate", "external"]

Scorer = Callable[[Image.Image], float]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures whose stated probability is alike; both classes weighed as if equally frequent.

    Attributes:
        stated: mean probability that was stated.
        seen: share that was machine-made.
        pictures: how many, unweighed.
    """

    stated: float
    seen: float
    pictures: int


@dataclass(frozen=True, slots=True)
class Treated:
    """Figures under one delivery.

    Attributes:
        treatment: its name, see `deliveries.TREATMENTS`.
        photographs: how many were scored.
        machine_made: how many were scored.
        source_area: mean over sources of the area under the ROC curve; over all pictures where
            `areas` is empty, no source being large enough.
        pooled_area: the same over all pictures at once.
        average_precision: area under precision and recall, pooled.
        found_at_1, found_at_5: true positive rate where 1 % or 5 % of photographs are accused.
        balanced_accuracy: mean of both classes' accuracy at the accusing level.
        calibration_error: of the stated probabilities; None for another scorer.
        accused: share of photographs above the accusing level; None for another scorer.
        answered: share of all pictures that are accused or cleared; None for another scorer.
        error_when_answering: error of the surest tenth, two tenths, … all pictures.
        areas: area of each machine-made source with enough pictures.
        areas_by_generator: the same for each generator that the table names.
        accused_by_source: share of each source of photographs that is accused.
        reliability: stated against seen shares; empty for another scorer.
        nuisances: source mean area of each baseline that saw the same view without content.
    """

    treatment: str
    photographs: int
    machine_made: int
    source_area: Interval
    pooled_area: float
    average_precision: float
    found_at_1: float
    found_at_5: float
    balanced_accuracy: float | None
    calibration_error: float | None
    accused: Interval | None
    answered: float | None
    error_when_answering: tuple[float, ...]
    areas: dict[str, float]
    areas_by_generator: dict[str, float]
    accused_by_source: dict[str, Interval]
    reliability: tuple[Bin, ...]
    nuisances: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one scorer on one set, and what no-content baselines reach there.

    Attributes:
        scorer: name or command.
        treated: one entry for each delivery.
        nuisances: source mean area of each baseline on the files as they were found.
        scores: of the first delivery, for plots: label and score of each picture.
        skipped: pictures that could not be read.
    """

    scorer: str
    treated: tuple[Treated, ...]
    nuisances: dict[str, float]
    scores: tuple[tuple[bool, float], ...]
    skipped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"schema": "counterproof.evaluation/1", **asdict(self)}


def bundled(image: Image.Image) -> float:
    """Score a picture with the detector that ships: one look."""
    return look(np.asarray(image)).score


def external(command: str, timeout_s: float = 60.0) -> Scorer:
    """Return a scorer that runs a command and reads the last number it prints.

    Args:
        command: shell words; `{file}` stands for a PNG of the picture.
        timeout_s: the most that one picture may take.

    Raises:
        UserError: if the command names no `{file}`; when called, if it fails or prints none.
    """
    if "{file}" not in command:
        raise UserError(f"expected {{file}} in the command of a scorer, got {command!r}")

    def run(image: Image.Image) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.png"
            image.save(path, compress_level=1)
            words = [word.replace("{file}", str(path)) for word in shlex.split(command)]
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, timeout=timeout_s, check=True
                )
                return float(done.stdout.split()[-1])
            except (OSError, subprocess.SubprocessError, ValueError, IndexError) as err:
                raise UserError(f"{command}: expected it to print a number: {err}") from err

    return run


def evaluate(
    samples: Sequence[Sample],
    scorer: Scorer = bundled,
    *,
    name: str = "bundled",
    treatments: Iterable[str] = TREATMENTS,
    thresholds: dict[str, float] | None = None,
    told: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Score every picture in every delivery and say how well the scores separate.

    All pictures are first saved once more in the same way (JPEG 93, 4:4:4, no metadata), so
    that format and size of the files say nothing.

    Args:
        samples: labelled pictures.
        scorer: gives a higher number to machine-made pictures.
        name: of the scorer.
        treatments: names of deliveries.
        thresholds: of the bundled detector's card; None for other scorers.
        told: gets a line now and then.
    """
    wanted = list(treatments)
    columns: dict[str, list[float]] = {treatment: [] for treatment in wanted}
    shown: dict[str, list[Traits]] = {treatment: [] for treatment in wanted}
    tiles: dict[str, list[int]] = {treatment: [] for treatment in wanted}
    found: list[Traits] = []
    kept: list[Sample] = []
    skipped: list[str] = []
    for number, sample in enumerate(samples):
        try:
            picture = open_picture(sample.path)
            found.append(nuisances.of_file(sample.path, picture))
        except ImageError as err:
            skipped.append(str(err))
            continue
        delivered = recompress(picture, 93, chroma=0)
        for treatment in wanted:
            view = TREATMENTS[treatment](delivered)
            small = min(view.size) < MIN_SIDE
            columns[treatment].append(float("nan") if small else scorer(view))
            shown[treatment].append(nuisances.of_view(view))
            tiles[treatment].append(count(view.height, view.width, MOST_TILES))
        kept.append(sample)
        if (number + 1) % 100 == 0:
            told(f"{number + 1} of {len(samples)} pictures scored")
    labels = np.array([sample.machine_made for sample in kept], bool)
    if not labels.any() or labels.all():
        raise UserError("expected readable pictures of both classes")
    treated = tuple(
        _treated(
            treatment,
            np.array(columns[treatment]),
            kept,
            shown[treatment],
            None if thresholds is None else [levels(few, thresholds) for few in tiles[treatment]],
        )
        for treatment in wanted
    )
    first = tuple(zip(labels.tolist(), columns[wanted[0]], strict=True))
    return Evaluation(name, treated, nuisances.areas(found, kept), first, tuple(skipped))


def _treated(
    treatment: str,
    scores: NDArray[np.float64],
    samples: Sequence[Sample],
    shown: Sequence[Traits],
    limits: Sequence[Mapping[str, float]] | None,
) -> Treated:
    """Measure the scores of one delivery; limits are the levels of each picture's size."""
    seen = np.flatnonzero(np.isfinite(scores)).tolist()
    scores, samples, shown = scores[seen], [samples[i] for i in seen], [shown[i] for i in seen]
    labels = np.array([sample.machine_made for sample in samples], bool)
    if not labels.any() or labels.all():
        raise UserError(f"{treatment}: expected pictures of both classes that are large enough")
    sources = np.array([sample.source for sample in samples])
    generators = np.array([sample.generator for sample in samples])
    accused = answered = error = balanced = None
    by_source: dict[str, Interval] = {}
    reliability: tuple[Bin, ...] = ()
    if limits is not None:
        own_limits = [limits[i] for i in seen]
        above = scores > np.array([limit["accuse"] for limit in own_limits])
        below = scores < np.array([limit["clear"] for limit in own_limits])
        accused = measures.wilson(int(above[~labels].sum()), int((~labels).sum()))
        answered = float((above | below).mean())
        pairs = zip(scores, own_limits, strict=True)
        chances = np.array([probability(value, limit) for value, limit in pairs])
        error = measures.calibration_error(chances, labels)
        reliability = tuple(Bin(*row) for row in measures.reliability(chances, labels))
        balanced = float(((chances[labels] > 0.5).mean() + (chances[~labels] <= 0.5).mean()) / 2)
        for name in sorted(set(sources[~labels])):
            own = above[~labels & (sources == name)]
            by_source[str(name)] = measures.wilson(int(own.sum()), len(own))
    by_generator = measures.per_source(scores, labels, generators)
    return Treated(
        treatment,
        int((~labels).sum()),
        int(labels.sum()),
        measures.resampled(measures.headline(labels, sources), scores, labels, sources),
        measures.roc_area(scores[~labels], scores[labels]),
        measures.average_precision(scores, labels),
        measures.true_positive_rate(scores, labels, 0.01),
        measures.true_positive_rate(scores, labels, 0.05),
        balanced,
        error,
        accused,
        answered,
        measures.errors_of_the_surest(scores, labels),
        measures.per_source(scores, labels, sources),
        {name: area for name, area in by_generator.items() if name},
        by_source,
        reliability,
        nuisances.areas(shown, samples),
    )
