"""How often the methods of `forgery` accuse drawings: icons, pages of text, charts, patterns.

Everything is drawn here, by a program, and holds many things that are copies of one another by
nature. Each is asked as PNG and as JPEG of three qualities, through the same methods as in a scan.

    python benchmarks/forgery_drawings.py -n 200
"""

import argparse
import random
from collections import Counter
from typing import Any

import cv2
import numpy as np
from forgery import interval, jpeg, png

from counterproof.audit.forgery_methods import METHODS
from counterproof.images import ImageFile

CODINGS = ("png", "jpeg 95", "jpeg 85", "jpeg 70")
WORDS = ("total", "north", "report", "window", "seven", "river", "label", "orange", "of", "and")


def colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def icon(rng: random.Random, side: int) -> Any:
    """Draw one sign of circles, boxes and lines on white."""
    made = np.full((side, side, 3), 255, np.uint8)
    for _ in range(rng.randint(2, 6)):
        a = rng.randrange(side), rng.randrange(side)
        b = rng.randrange(side), rng.randrange(side)
        thick = rng.choice([-1, 2, 3])
        kind = rng.randrange(3)
        if kind == 0:
            cv2.circle(made, a, rng.randint(3, side // 3), colour(rng), thick, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(made, a, b, colour(rng), thick)
        else:
            cv2.line(made, a, b, colour(rng), 3, cv2.LINE_AA)
    return made


def icons(rng: random.Random) -> Any:
    """Lay signs on a page, some of them many times."""
    side, signs = rng.choice([32, 48, 64, 96]), rng.randint(2, 12)
    kinds = [icon(rng, side) for _ in range(signs)]
    page = np.full((700, 1000, 3), rng.choice([255, 247, 32]), np.uint8)
    for y in range(20, 700 - side, side + rng.choice([12, 20])):
        for x in range(20, 1000 - side, side + 16):
            page[y : y + side, x : x + side] = rng.choice(kinds)
    return page


def text(rng: random.Random) -> Any:
    """Set lines of a few words, over and over."""
    page = np.full((800, 900, 3), 255, np.uint8)
    font = rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_DUPLEX])
    size = rng.choice([0.5, 0.8, 1.2])
    for y in range(40, 800, int(38 * size) + 8):
        line = " ".join(rng.choice(WORDS) for _ in range(12))
        cv2.putText(page, line, (30, y), font, size, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def chart(rng: random.Random) -> Any:
    """Draw bars, a net of lines, ticks and a legend."""
    page = np.full((600, 900, 3), 255, np.uint8)
    for y in range(60, 560, 50):
        cv2.line(page, (60, y), (860, y), (220, 220, 220), 1)
        cv2.putText(page, str(560 - y), (8, y + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1)
    fills = [colour(rng) for _ in range(3)]
    for x in range(80, 840, 60):
        for k, fill in enumerate(fills):
            top = rng.randint(80, 540)
            cv2.rectangle(page, (x + 14 * k, top), (x + 14 * k + 12, 560), fill, -1)
    for k, fill in enumerate(fills):
        cv2.rectangle(page, (700, 20 + 22 * k), (720, 36 + 22 * k), fill, -1)
        cv2.putText(page, WORDS[k], (730, 34 + 22 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1)
    return page


def pattern(rng: random.Random) -> Any:
    """Tile one sign over the whole page, with shades."""
    side = rng.choice([48, 80, 128])
    tile = icon(rng, side)
    page = np.tile(tile, (720 // side, 960 // side, 1))
    if rng.random() < 0.5:
        ramp = np.linspace(0.75, 1, page.shape[1])[None, :, None]
        page = (page * ramp).astype(np.uint8)
    return page


KINDS = {"icons": icons, "text": text, "chart": chart, "pattern": pattern}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    words: dict[str, Counter[str]] = {name: Counter() for name in METHODS}
    for number in range(args.n):
        rng = random.Random(f"{args.seed} {number}")
        kind = list(KINDS)[number % len(KINDS)]
        coding = CODINGS[number // len(KINDS) % len(CODINGS)]
        page = KINDS[kind](rng)
        data = png(page) if coding == "png" else jpeg(page, int(coding.split()[1]))
        image = ImageFile.open(data)
        for name, method in METHODS.items():
            answer = method(image)
            words[name][answer.word] += 1
            if answer.word == "supports":
                print("accused", name, number, kind, coding, answer.details, flush=True)
    for name, counted in words.items():
        accused = counted["supports"]
        judged = accused + counted["no_support"]
        print(f"{name}: of all {interval(accused, args.n)}; judged {judged}, {dict(counted)}")


if __name__ == "__main__":
    main()
