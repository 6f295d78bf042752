"""How well `counterproof compare` tells a copy saved anew from one with a local change.

Each photograph is made smaller than 1,600 pixels, changed as named, and compared as the command
does. *Innocent* copies have no local change: a place that is marked in them is a false alarm.
*Changed* copies have one place painted over, put in from elsewhere or blurred, of 2 % of the
area, and are saved anew as well; a place counts as found if a marked box meets it. Pairs of
different photographs must not align.

    python benchmarks/compare.py PHOTOS [--most 40]
"""

import argparse
import io
import itertools
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from counterproof.audit.align import place
from counterproof.audit.difference import Difference, measure
from counterproof.errors import ImageError
from counterproof.images import ImageFile

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic"}
Picture = Image.Image
Box = tuple[int, int, int, int]


def saved(picture: Picture, quality: int, kind: str = "JPEG") -> Picture:
    """Save and read again."""
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return Image.open(out).convert("RGB")


def scaled(picture: Picture, factor: float) -> Picture:
    """Scale with Lanczos's filter."""
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def cut(picture: Picture, part: float) -> Picture:
    """Keep the middle."""
    x, y = round(picture.width * (1 - part) / 2), round(picture.height * (1 - part) / 2)
    return picture.crop((x, y, picture.width - x, picture.height - y))


INNOCENT: dict[str, Callable[[Picture], Picture]] = {
    "jpeg 95": lambda p: saved(p, 95),
    "jpeg 75": lambda p: saved(p, 75),
    "jpeg 50": lambda p: saved(p, 50),
    "jpeg 25": lambda p: saved(p, 25),
    "webp 60": lambda p: saved(p, 60, "WEBP"),
    "half, jpeg 80": lambda p: saved(scaled(p, 0.5), 80),
    "x 1.3, jpeg 80": lambda p: saved(scaled(p, 1.3), 80),
    "cut to 70 %, jpeg 80": lambda p: saved(cut(p, 0.7), 80),
    "cut and scaled, jpeg 70": lambda p: saved(scaled(cut(p, 0.8), 0.6), 70),
    "brighter, jpeg 80": lambda p: saved(ImageEnhance.Brightness(p).enhance(1.25), 80),
    "more contrast, jpeg 80": lambda p: saved(ImageEnhance.Contrast(p).enhance(1.3), 80),
    "grey, jpeg 80": lambda p: saved(p.convert("L").convert("RGB"), 80),
    "blurred": lambda p: saved(p.filter(ImageFilter.GaussianBlur(1.2)), 85),
    "sharpened": lambda p: saved(p.filter(ImageFilter.UnsharpMask(2, 100)), 85),
    "mirrored, jpeg 80": lambda p: saved(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 80),
    "turned by 3 degrees, jpeg 80": lambda p: saved(p.rotate(3, Image.Resampling.BICUBIC), 80),
}


def spot(picture: Picture, rng: random.Random, share: float = 0.02) -> Box:
    """Choose a place of a share of the area."""
    width = round((picture.width * picture.height * share) ** 0.5)
    x = rng.randrange(0, picture.width - width)
    y = rng.randrange(0, picture.height - width)
    return x, y, x + width, y + width


def painted(picture: Picture, box: Box, other: Picture) -> Picture:
    """Fill a place with the mean colour of its surroundings."""
    copy = picture.copy()
    colour = np.asarray(picture.crop(box)).reshape(-1, 3).mean(axis=0)
    copy.paste(tuple(int(value) for value in colour), box)
    return copy


def spliced(picture: Picture, box: Box, other: Picture) -> Picture:
    """Put a part of another photograph in."""
    copy = picture.copy()
    copy.paste(other.resize((box[2] - box[0], box[3] - box[1])), box)
    return copy


def smeared(picture: Picture, box: Box, other: Picture) -> Picture:
    """Blur a place, as a face would be."""
    copy = picture.copy()
    radius = max(3, (box[2] - box[0]) // 12)
    copy.paste(picture.crop(box).filter(ImageFilter.GaussianBlur(radius)), box)
    return copy


CHANGES = {"painted over": painted, "put in": spliced, "blurred": smeared}
AFTER: dict[str, Callable[[Picture], Picture]] = {
    "jpeg 90": lambda p: saved(p, 90),
    "jpeg 50": lambda p: saved(p, 50),
    "half, jpeg 80": lambda p: saved(scaled(p, 0.5), 80),
    "brighter, jpeg 75": lambda p: saved(ImageEnhance.Brightness(p).enhance(1.2), 75),
}


def compare(original: Picture, copy: Picture) -> tuple[Difference | None, float]:
    """Align and measure as the command does; return the agreement too."""
    one, other = np.asarray(original), np.asarray(copy)
    found = place(np.asarray(original.convert("L")), np.asarray(copy.convert("L")))
    return (measure(one, other, found), found.agreement) if found else (None, 0.0)


def load(folder: Path, most: int) -> list[Picture]:
    """Read photographs, evenly chosen, at most 1,600 pixels a side."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    pictures = []
    for path in paths[:: max(1, len(paths) // most)][:most]:
        try:
            picture = Image.fromarray(ImageFile.open(path).pixels(1600))
        except ImageError:
            continue
        if min(picture.size) >= 160:
            pictures.append(picture)
    return pictures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--most", type=int, default=40)
    options = parser.parse_args()
    pictures = load(options.photos, options.most)
    print(f"{len(pictures)} photographs")
    times: list[float] = []
    for name, change in INNOCENT.items():
        alarms = lost = 0
        lowest = 1.0
        for picture in pictures:
            started = time.process_time()
            found, agreement = compare(picture, change(picture))
            times.append(time.process_time() - started)
            lost += found is None
            alarms += bool(found and found.count)
            lowest = min(lowest, agreement)
        print(f"innocent  {name:30} alarms {alarms:2}  not aligned {lost:2}  least {lowest:.3f}")
    rng = random.Random(7)
    for name, edit in CHANGES.items():
        for after, save in AFTER.items():
            hits = lost = extra = 0
            for number, picture in enumerate(pictures):
                box = spot(picture, rng)
                copy = save(edit(picture, box, pictures[number - 1]))
                found, _ = compare(picture, copy)
                lost += found is None
                if found is None:
                    continue
                k = copy.width / picture.width
                meets = [
                    b
                    for b in found.boxes
                    if b[0] < box[2] * k
                    and box[0] * k < b[0] + b[2]
                    and b[1] < box[3] * k
                    and box[1] * k < b[1] + b[3]
                ]
                hits += bool(meets)
                extra += len(found.boxes) > len(meets)
            print(
                f"changed   {name:14} {after:20} found {hits:2}  not aligned {lost:2}  "
                f"elsewhere too {extra:2}"
            )
    strangers = [compare(one, two)[1] for one, two in itertools.pairwise(pictures)]
    print(f"strangers aligned: {sum(value > 0 for value in strangers)} of {len(strangers)}")
    print(f"CPU seconds a pair: middle {statistics.median(times):.2f}")


if __name__ == "__main__":
    main()
