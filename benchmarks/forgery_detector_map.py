"""Whether the detector's map of tiles tells that a part of a photograph was made by a model.

A quarter of each photograph is replaced by what a model made, and the whole saved as JPEG 95; the
photograph is saved so too. The score is how far the highest tile stands above the middle one.

    python benchmarks/forgery_detector_map.py PHOTOS MADE -o ROWS.jsonl [--skip 20 --stop 40]

PHOTOS is a folder of folders as for `forgery.py`; MADE is a folder of pictures made by models.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from forgery import jpeg, photographs
from forgery_codings import area

from counterproof import weights
from counterproof.detectors.detector import judge
from counterproof.detectors.features import MODEL
from counterproof.detectors.tiles import READING_SIDE
from counterproof.images import ImageFile

LEAST = 600  # pixels a side


def lead(pixels: Any, thresholds: Any) -> float:
    """Return by how much the highest tile's logit leads the middle one's."""
    seen = ImageFile.open(jpeg(pixels, 95)).pixels(max_side=READING_SIDE)
    logits = np.array(judge(seen, thresholds).first.logits)
    return float(logits.max() - np.median(logits))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("made", type=Path)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--stop", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    thresholds = weights.open(MODEL).card.thresholds
    made = sorted(p for p in args.made.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".webp"))
    random.Random(2).shuffle(made)
    paths = photographs(args.photos, "report", 10, args.most, 2_200_000)
    with args.output.open("a") as log:
        for number, path in list(enumerate(paths))[args.skip : args.stop]:
            whole = ImageFile.open(path).pixels()
            height, width = whole.shape[:2]
            if min(height, width) < LEAST:
                continue
            other = ImageFile.open(made[number % len(made)]).pixels()
            other = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
            rng = random.Random(number)
            y, x = rng.randrange(height // 2), rng.randrange(width // 2)
            place = (slice(y, y + height // 2), slice(x, x + width // 2))
            changed = whole.copy()
            changed[place] = other[place]
            row = [lead(whole, thresholds), lead(changed, thresholds)]
            log.write(json.dumps(row) + "\n")
            log.flush()
    rows = [json.loads(line) for line in args.output.read_text().splitlines()]
    print("a quarter made by a model, over none:", area([b for _, b in rows], [a for a, _ in rows]))


if __name__ == "__main__":
    main()
