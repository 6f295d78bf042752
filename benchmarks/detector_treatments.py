"""The shipped recipe on each named treatment of pictures whose source it never saw.

    python benchmarks/detector_treatments.py TABLE FOLDER [--machine-made N] [--photographs N]

TABLE and FOLDER as of `counterproof detectors train TABLE -o FOLDER`: the model of each fold is
fitted again on what was made of the pictures there, and asked about treated pictures of the sources
that it was fitted without. Of machine-made pictures, N of each source that has at least 20; of
photographs, N of each source. Prints for each treatment the area under the ROC curve (mean over
machine-made sources, whole sources resampled) and the true positive rate at 5 % false positives.
0.1 s of CPU for each view; what was described stays in FOLDER, so that a stopped run goes on.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import TREATMENTS, Delivery, recompress
from counterproof.detectors.features import WIDTH
from counterproof.detectors.gathering import joined, shards
from counterproof.detectors.head import Head
from counterproof.detectors.held_out import models_without
from counterproof.detectors.recipes import SHARE, both, described_twice
from counterproof.detectors.samples import Sample, folds, read
from counterproof.detectors.spectral import Spectral
from counterproof.detectors.training import Recipe


def some(samples: Sequence[Sample], machine_made: int, photographs: int) -> NDArray[np.int64]:
    """Return places of pictures: evenly from each source, as the module says."""
    groups: dict[tuple[bool, str], list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault((sample.machine_made, sample.source), []).append(place)
    kept = []
    for (made, _), places in groups.items():
        if made and len(places) < measures.LEAST:
            continue
        count = min(len(places), machine_made if made else photographs)
        kept += [places[i * len(places) // count] for i in range(count)]
    return np.array(sorted(kept))


def delivery(treat: Callable[[Image.Image], Image.Image]) -> Delivery:
    """Return a treatment of the picture saved once, as both classes are."""
    return lambda image, rng: treat(recompress(image, 93, chroma=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machine-made", type=int, default=20)
    parser.add_argument("--photographs", type=int, default=5)
    given = parser.parse_args()
    samples, recipe = read(given.table), Recipe()
    chosen = some(samples, given.machine_made, given.photographs)
    name, describe = both()
    treated = joined(
        shards(
            [samples[i] for i in chosen.tolist()],
            describe,
            given.folder / "treated",
            name=f"treated, {name}",
            deliveries=[delivery(treat) for treat in TREATMENTS.values()],
            told=print,
        )
    )
    features, numbers = described_twice(samples, given.folder, recipe, lambda text: None)
    own_fold = folds(samples, recipe.folds, recipe.seed)[chosen[treated.picture]]
    scores = np.full(len(own_fold), np.nan)
    heads = models_without(features, samples, recipe, lambda: Head(seed=recipe.seed), power=0)
    spectra = models_without(numbers, samples, recipe, lambda: Spectral(seed=recipe.seed))
    for turn, (head, spectral) in enumerate(zip(heads, spectra, strict=True)):
        held = own_fold == turn
        values = np.asarray(treated.values[held])
        scores[held] = head.decision_function(values[:, :WIDTH])
        scores[held] += SHARE * spectral.decision_function(values[:, WIDTH:])
    labels = np.array([samples[i].machine_made for i in chosen])
    sources = np.array([samples[i].source for i in chosen])
    print(f"{int((~labels).sum())} photographs, {int(labels.sum())} machine-made pictures")
    for number, treatment in enumerate(TREATMENTS):
        own = treated.delivery == number
        place = treated.picture[own]
        flags, names = labels[place], sources[place]
        area = measures.resampled(measures.source_mean, scores[own], flags, names)
        reached = measures.true_positive_rate(scores[own], flags, 0.05)
        print(f"{treatment:<14} area {area}  TPR at 5 % FPR {reached:.3f}  n {len(place)}")


if __name__ == "__main__":
    main()
