"""What the cap on tiles costs: area and time of the shipped network by the most tiles of a look.

    python benchmarks/detector_tiles.py TABLE [--most N] [--tiles 4 6 8 16]

TABLE as for `counterproof detectors evaluate`, of pictures that training never saw. Each picture is
saved once more; the score is the mean logit of its tiles and what spectra and noise add, which no
cap changes. Prints, for each cap, the mean over sources of the area under the ROC curve (whole
sources resampled), the true positive rate where 5 % of the photographs are accused, and the CPU
time of the tiles of a picture.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from counterproof.detectors import measures
from counterproof.detectors.deliveries import recompress
from counterproof.detectors.features import bundled_head, describe, families
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.samples import read, thinned
from counterproof.detectors.tiles import cut
from counterproof.errors import ImageError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--most", type=int, default=200, help="Pictures of each class.")
    parser.add_argument("--tiles", type=int, nargs="+", default=[4, 6, 8, 16])
    given = parser.parse_args()
    scores: dict[int, list[float]] = {most: [] for most in given.tiles}
    seconds = dict.fromkeys(given.tiles, 0.0)
    kept = []
    for sample in thinned(read(given.table), given.most):
        try:
            pixels = np.asarray(recompress(open_picture(sample.path), 93, chroma=0))
        except ImageError:
            continue
        added, _ = families(pixels)
        for most in given.tiles:
            started = time.process_time()
            logits = bundled_head().logits(describe(cut(pixels, most).pixels))
            seconds[most] += time.process_time() - started
            scores[most].append(float(logits.mean()) + added)
        kept.append(sample)
    labels = np.array([sample.machine_made for sample in kept])
    sources = np.array([sample.source for sample in kept])
    print(f"n {int((~labels).sum())} + {int(labels.sum())}")
    for most in given.tiles:
        own = np.array(scores[most])
        area = measures.resampled(measures.source_mean, own, labels, sources)
        found = measures.true_positive_rate(own, labels, 0.05)
        spent = 1000 * seconds[most] / len(kept)
        print(f"at most {most:2} tiles: area {area}  TPR at 5 % FPR {found:.3f}  {spent:.0f} ms")


if __name__ == "__main__":
    main()
