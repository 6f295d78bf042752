"""What the shipped detector answers, whole: scope, first look, re-deliveries, and its cost.

    python benchmarks/detector.py TABLE [--most N] [--redelivered N]

TABLE as for `counterproof detectors evaluate`, of pictures that training never saw. Prints the
share of photographs accused with its interval, pooled and for the worst source; how many are
answered, unstable or outside the scope; pictures a second of process CPU time, decode included,
beside a bare Pillow decode, end to end and for the first look alone. With `--redelivered N` it
then takes N pictures of each class, delivers each in six ways that are none of the detector's own
looks, and counts verdicts that flip: accused under one, not under another.
"""

import argparse
import io
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import recompress, within
from counterproof.detectors.detector import judge, look
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.samples import Sample, read, thinned
from counterproof.detectors.scope import outside
from counterproof.detectors.tiles import READING_SIDE
from counterproof.errors import ImageError
from counterproof.images import ImageFile


def _six(image: Image.Image) -> list[Image.Image]:
    """Deliver a picture in six ways: saved, resized, cut, twice over."""
    longer = max(image.size)
    inner = image.crop((8, 8, image.width - 8, image.height - 8))
    smaller = within(image, round(longer * 0.85))
    return [
        recompress(image, 88),
        recompress(image, 60),
        recompress(image, 70, webp=True),
        recompress(smaller, 80),
        recompress(inner, 78),
        recompress(recompress(within(image, round(longer * 0.7)), 85), 72),
    ]


def _verdict(image: Image.Image) -> str:
    """Return what a scan answers for a picture as a site would deliver it."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0)
    opened = ImageFile.open(file.getvalue(), name="picture")
    pixels = opened.pixels(max_side=READING_SIDE)
    return "outside" if outside(opened, pixels) else judge(pixels).answer.value


def flips(samples: list[Sample]) -> None:
    """Print how many verdicts flip over six deliveries."""
    for label, name in ((False, "photographs"), (True, "machine-made")):
        verdicts = []
        for sample in samples:
            if sample.machine_made is label:
                try:
                    picture = open_picture(sample.path)
                except (ImageError, OSError):
                    continue
                verdicts.append([_verdict(view) for view in _six(picture)])
        total = len(verdicts)
        flipped = sum(0 < row.count("accused") < 6 for row in verdicts)
        opposite = sum("accused" in row and "cleared" in row for row in verdicts)
        ever = sum("accused" in row for row in verdicts)
        print(f"{name}, six deliveries: n {total}")
        print(f"  accused in some, not in others  {measures.wilson(flipped, total)}")
        print(f"  accused in one, cleared in one  {measures.wilson(opposite, total)}")
        print(f"  accused in at least one         {measures.wilson(ever, total)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--most", type=int, default=10**9, help="Pictures of each class.")
    parser.add_argument("--redelivered", type=int, default=0, help="Pictures of each class.")
    options = parser.parse_args()
    samples = read(options.table)
    answers: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    accused: dict[str, list[bool]] = defaultdict(list)
    look(np.zeros((256, 256, 3), np.uint8))  # load the network before the clock starts
    seconds = decoding = looking = 0.0
    for label in (False, True):
        own = [sample for sample in samples if sample.machine_made is label]
        step = max(1, len(own) // options.most)
        for sample in own[::step][: options.most]:
            try:
                picture = open_picture(sample.path)
            except (ImageError, OSError):
                answers[label]["unreadable"] += 1
                continue
            file = io.BytesIO()
            recompress(picture, 93, chroma=0).save(file, "JPEG", quality=93, subsampling=0)
            started = time.process_time()
            Image.open(io.BytesIO(file.getvalue())).convert("RGB")
            between = time.process_time()
            image = ImageFile.open(file.getvalue(), name=str(sample.path))
            pixels = image.pixels(max_side=READING_SIDE)
            reason = outside(image, pixels)
            before = time.process_time()
            if not reason:
                look(pixels)
            looked = time.process_time() - before
            answer = f"outside: {reason.value}" if reason else judge(pixels).answer.value
            ended = time.process_time()
            decoding += between - started
            seconds += ended - between - looked
            looking += before - between + looked
            answers[label][answer] += 1
            if not label:
                accused[sample.source].append(answer == "accused")
    for label, name in ((False, "photographs"), (True, "machine-made")):
        total = answers[label].total()
        print(f"{name}: n {total}")
        for answer, count in answers[label].most_common():
            print(f"  {answer:<20} {count:5}  {measures.wilson(count, total)}")
    large = {name: hits for name, hits in accused.items() if len(hits) >= measures.LEAST}
    if large:
        worst = max(large, key=lambda name: sum(large[name]) / len(large[name]))
        print(f"worst source of photographs: {worst}", end="  ")
        print(f"{measures.wilson(sum(large[worst]), len(large[worst]))} n {len(large[worst])}")
    total = sum(answers[label].total() for label in answers)
    print(f"pictures a CPU second, scope, looks and decode: {total / seconds:.1f}")
    print(f"the first look alone, scope and decode: {total / looking:.1f}")
    print(f"a bare Pillow decode of the same files: {total / decoding:.1f}")
    if options.redelivered:
        flips(thinned(samples, options.redelivered))


if __name__ == "__main__":
    main()
