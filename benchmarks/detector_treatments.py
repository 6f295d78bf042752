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
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import TREATMENTS, Delivery, recompress
from counterproof.detectors.features import WIDTH
from counterproof.detectors.gathering import joined, shards
from counterproof.detectors.head import Head
from counterproof.detectors.held_out import held_out_rows
from counterproof.detectors.recipes import SHARE, both, described_twice
from counterproof.detectors.samples import Sample, read
from counterproof.detectors.spectral import Spectral
from counterproof.detectors.training import Recipe

NETWORK, NUMBERS = slice(0, WIDTH), slice(WIDTH, None)  # columns of what `both` describes


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
    treated = replace(treated, picture=chosen[treated.picture])
    rows = described_twice(samples, given.folder, recipe, lambda text: None)
    asked = [replace(treated, values=treated.values[:, own]) for own in (NETWORK, NUMBERS)]
    heads = held_out_rows(
        rows[0], samples, recipe, lambda: Head(seed=recipe.seed), power=0, asked=asked[0]
    )
    spectra = held_out_rows(
        rows[1], samples, recipe, lambda: Spectral(seed=recipe.seed), asked=asked[1]
    )
    labels = np.array([sample.machine_made for sample in samples])
    sources = np.array([sample.source for sample in samples])
    print(f"{int((~labels[chosen]).sum())} photographs, {int(labels[chosen].sum())} machine-made")
    for number, treatment in enumerate(TREATMENTS):
        scores = heads[number] + SHARE * spectra[number]
        seen = np.isfinite(scores)
        own, flags, names = scores[seen], labels[seen], sources[seen]
        area = measures.resampled(measures.source_mean, own, flags, names)
        reached = measures.true_positive_rate(own, flags, 0.05)
        print(f"{treatment:<14} area {area}  TPR at 5 % FPR {reached:.3f}  n {len(own)}")


if __name__ == "__main__":
    main()
