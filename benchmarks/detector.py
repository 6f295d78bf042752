"""What the shipped detector answers, whole: scope, first look, re-deliveries, and its cost.

    python benchmarks/detector.py TABLE [--most N]

TABLE as for `counterproof detectors evaluate`, of pictures that training never saw. Prints the
share of photographs accused with its interval, pooled and for the worst source; how many are
answered, unstable or outside the scope; flips over the re-deliveries of accused pictures; and
pictures a second of process CPU time, decode included, beside a bare Pillow decode.
"""

import argparse
import io
import time
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import recompress
from counterproof.detectors.detector import judge
from counterproof.detectors.features import open_picture
from counterproof.detectors.samples import read
from counterproof.detectors.scope import outside
from counterproof.detectors.tiles import READING_SIDE
from counterproof.errors import ImageError
from counterproof.images import ImageFile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--most", type=int, default=10**9, help="Pictures of each class.")
    options = parser.parse_args()
    samples = read(options.table)
    answers: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    accused: dict[str, list[bool]] = defaultdict(list)
    seconds = decoding = 0.0
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
            answer = f"outside: {reason.value}" if reason else judge(pixels).answer.value
            ended = time.process_time()
            decoding += between - started
            seconds += ended - between
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
    print(f"a bare Pillow decode of the same files: {total / decoding:.1f}")


if __name__ == "__main__":
    main()
