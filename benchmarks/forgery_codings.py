"""How well `forgery.double_jpeg` tells pictures saved twice from once, and changed ones from not.

From each photograph of the sources that are kept for reporting, a copy 900 pixels wide without a
grid is made, and saved once; saved twice on one grid; and saved, given a part that was never coded,
and saved again. Qualities are drawn by chance, in both orders. The score of a picture as a whole is
the mean gain of two steps over one for *twice*, the votes of the strongest region for *changed*;
neither is a threshold. What the method does not judge is counted apart.

    python benchmarks/forgery_codings.py PHOTOS --most 300 -o ROWS.jsonl [--skip 100 --stop 200]
    python benchmarks/forgery_codings.py --sum ROWS.jsonl
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from forgery import base, blob, decoded, interval, jpeg, photographs

from counterproof.audit.double_jpeg import find_once_coded
from counterproof.audit.jpeg_coding import coding_of
from counterproof.errors import ImageError
from counterproof.images import ImageFile

FIRST = (50, 60, 70, 75, 80, 85, 90, 95)
SECOND = (75, 80, 85, 90, 95, 98)
PARTS = (0.05, 0.1, 0.2)


def ask(row: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Judge one file."""
    coding = coding_of(ImageFile.open(data))
    assert coding is not None
    start = time.process_time()
    found = find_once_coded(coding)
    return row | {
        "cpu": time.process_time() - start,
        "told": bool(found.first),
        "applies": found.applies,
        "gain": found.gain,
        "votes": found.votes,
        "supports": found.mask is not None,
    }


def rows_of(pixels: Any, other: Any, number: int) -> list[dict[str, Any]]:
    """Make and judge the three files of one photograph."""
    rng = random.Random(number)
    one, two, small = rng.choice(FIRST), rng.choice(SECOND), base(pixels, 900)
    part = cv2.resize(other, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    mask = blob(rng, small.shape[:2], rng.choice(PARTS))
    host = decoded(jpeg(small, one))
    kinds = {
        "once": jpeg(small, two),
        "twice": jpeg(host, two),
        "changed": jpeg(np.where(mask[..., None] > 0, part, host), two),
    }
    return [ask({"kind": k, "one": one, "two": two, "n": number}, v) for k, v in kinds.items()]


def area(high: list[float], low: list[float]) -> str:
    """Return the area under the curve and its interval, by drawing pictures anew 2,000 times."""
    a, b = np.array(high), np.array(low)
    wins = (a[:, None] > b).astype(float) + 0.5 * (a[:, None] == b)
    rng = np.random.default_rng(1)
    drawn = [
        wins[rng.integers(0, len(a), len(a))][:, rng.integers(0, len(b), len(b))].mean()
        for _ in range(2000)
    ]
    ends = np.quantile(drawn, [0.025, 0.975])
    return f"{wins.mean():.4f} (95 % {ends[0]:.4f} to {ends[1]:.4f}, n {len(a)} and {len(b)})"


def summary(rows: list[dict[str, Any]]) -> None:
    """Print areas, and what was judged."""

    def of(kind: str, *, first: bool | None = None, key: str = "told") -> list[dict[str, Any]]:
        return [
            r for r in rows
            if r["kind"] == kind and r[key] and first in (None, r["one"] < r["two"])
        ]  # fmt: skip

    gain, votes = "gain", "votes"
    once = [r[gain] for r in of("once")]
    for word, order in (("more strongly first", True), ("not more strongly first", False)):
        print(f"twice, {word}, over once:", area([r[gain] for r in of("twice", first=order)], once))
    print("not told (too few blocks):", sum(not r["told"] for r in rows), "of", len(rows))
    for kind in ("once", "twice", "changed"):
        for order in (True, False):
            n = sum(r["kind"] == kind and (r["one"] < r["two"]) == order for r in rows)
            judged = of(kind, first=order, key="applies")
            hits = sum(r["supports"] for r in judged)
            word = "more strongly first" if order else "not more strongly first"
            said = interval(hits, len(judged))
            print(f"{kind}, {word}: {len(judged)} of {n} judged, reported {said}")
    changed = [r[votes] for r in of("changed", key="applies")]
    print(
        "changed over twice, judged:", area(changed, [r[votes] for r in of("twice", key="applies")])
    )
    print("CPU s a picture:", round(float(np.mean([r["cpu"] for r in rows])), 3))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--split", choices=["tune", "report"], default="report")
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--stop", type=int, default=1 << 30)
    parser.add_argument("--sum", type=Path, help="print the figures of kept rows")
    parser.add_argument("-o", "--output", type=Path, help="append one line of JSON a file")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.sum:
        summary([json.loads(line) for line in args.sum.read_text().splitlines()])
        return
    paths = photographs(args.photos, args.split, 10, args.most, 1_100_000)
    other: Any = None
    for number, path in enumerate(paths[: args.stop]):
        try:
            pixels = ImageFile.open(path).pixels()
        except ImageError:
            continue
        if other is not None and number >= args.skip:
            with args.output.open("a") as log:
                for row in rows_of(pixels, other, number):
                    log.write(json.dumps(row) + "\n")
        other = base(pixels, 900)
    summary([json.loads(line) for line in args.output.read_text().splitlines()])


if __name__ == "__main__":
    main()
