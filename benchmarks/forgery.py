"""How often the methods of `forgery` find self-made changes, and accuse innocent photographs.

Photographs of a folder of folders (one a source). Sources are split by a hash of their name: on
*tune* thresholds were chosen, *report* gives the published figures. Each photograph is judged once
as innocent, in turn as it is and treated (saved again, twice, cropped, scaled, toned, put in a
screenshot). Of some, changed pictures are made from a smaller copy whose history is known: a part
copied elsewhere, a part put in from another JPEG and saved without loss, and a part put in between
two JPEGs. Each goes through the same files and the same methods as in a scan.

    python benchmarks/forgery.py PHOTOS --split report --most 1200 --changed 100
    python benchmarks/forgery.py shared/data/forgery/casia1 --casia
"""

import argparse
import hashlib
import io
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.stats import binomtest

from counterproof.audit.forgery_methods import METHODS
from counterproof.errors import ImageError
from counterproof.images import ImageFile

SUFFIXES = {".jpg", ".jpeg"}
INNOCENT = ("original", "jpeg 95", "jpeg 75", "jpeg 70 then 95", "crop, jpeg 90",
            "x 0.8, jpeg 85", "tone, jpeg 90", "tone, jpeg 97", "screenshot, png",
            "screenshot, jpeg 92")  # fmt: skip
TARGETS = {"copied": "copy_move", "put in, no loss": "grid", "put in, jpeg": "double_jpeg"}


def jpeg(pixels: Any, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def png(pixels: Any) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])


def decoded(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def photographs(root: Path, split: str, a_source: int, most: int, most_pixels: int) -> list[Path]:
    """Return photographs of 480 pixels a side to `most_pixels`, so many a source, mixed."""
    found = []
    for folder in sorted(root.iterdir()):
        digest = int(hashlib.sha256(folder.name.encode()).hexdigest(), 16)
        if not folder.is_dir() or (digest % 3 == 0) != (split == "tune"):
            continue
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        random.Random(folder.name).shuffle(paths)
        count = 0
        for path in paths:
            try:
                info = ImageFile.open(path).info
            except ImageError:
                continue
            if min(info.width, info.height) < 480 or info.width * info.height > most_pixels:
                continue
            if (count := count + 1) > a_source:
                break
            found.append(path)
    random.Random(1).shuffle(found)
    return found[:most]


def treated(data: bytes, pixels: Any, kind: str) -> bytes:
    """Return the file after an innocent treatment."""
    if kind == "original":
        return data
    if kind == "jpeg 70 then 95":
        return jpeg(decoded(jpeg(pixels, 70)), 95)
    if kind.startswith("jpeg"):
        return jpeg(pixels, int(kind.split()[1]))
    if kind.startswith("crop"):
        return jpeg(np.ascontiguousarray(pixels[3:, 5:]), 90)
    if kind.startswith("x"):
        return jpeg(cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), 85)
    if kind.startswith("tone"):
        gamma, gain = (0.8, 1.05) if kind.endswith("90") else (0.9, 1.02)
        toned = np.clip(255 * (pixels / 255.0) ** gamma * gain, 0, 255).astype(np.uint8)
        return jpeg(toned, int(kind.split()[-1]))
    return screenshot(pixels, kind)


def screenshot(pixels: Any, kind: str) -> bytes:
    """Show the picture, scaled to 1000 pixels, on a light page with lines of text."""
    scale = min(1.0, 1000 / max(pixels.shape[:2]))
    shown = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = shown.shape[:2]
    page = np.full((height + 180, width + 60, 3), 247, np.uint8)
    page[110 : 110 + height, 30 : 30 + width] = shown
    for line, text in enumerate(("Example page with a picture", "A line of text below its title")):
        at = (30, 45 + 35 * line)
        cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8, (30, 30, 30), 1, cv2.LINE_AA)
    return png(page) if kind.endswith("png") else jpeg(page, 92)


def base(pixels: Any, side: int) -> Any:
    """Return the picture with a longest side of so many pixels or less, so that no grid is left."""
    scale = side / max(pixels.shape[:2])
    if 0.95 < scale < 1.05:
        scale *= 0.85
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)


def blob(rng: random.Random, shape: tuple[int, int], share: float) -> Any:
    height, width = shape
    r = int((width * height * share / np.pi) ** 0.5)
    mask = np.zeros(shape, np.uint8)
    x, y = rng.randint(r, width - r), rng.randint(r, height - r)
    cv2.ellipse(mask, (x, y), (int(r * 1.1), int(r * 0.9)), rng.randint(0, 180), 0, 360, 1, -1)
    return mask


def copied(pixels: Any, rng: random.Random, turn: bool) -> tuple[Any, Any] | None:
    """Copy the busiest of a few places to another; return the picture and both places."""
    shape = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    busy = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    source = max((blob(rng, shape, 0.04) for _ in range(12)), key=lambda m: busy[m > 0].mean())
    ys, xs = np.nonzero(source)
    for _ in range(200):
        scale, angle = (rng.uniform(0.85, 1.2), rng.uniform(-25, 25)) if turn else (1.0, 0.0)
        matrix = cv2.getRotationMatrix2D((float(xs.mean()), float(ys.mean())), angle, scale)
        matrix[:, 2] += rng.randint(-shape[1] // 2, shape[1] // 2), rng.randint(-300, 300)
        size = (shape[1], shape[0])
        target = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_NEAREST)
        if target.sum() > 0.9 * scale**2 * source.sum() and not (target & source).any():
            moved = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC)
            soft = cv2.GaussianBlur(target.astype(np.float32), (0, 0), 1.2)[..., None]
            made = (pixels * (1 - soft) + moved * soft).round().astype(np.uint8)
            return made, target | source
    return None


def changed(pixels: Any, other: Any, rng: random.Random) -> Iterator[tuple[str, bytes, Any]]:
    """Yield kind, file and truth of pictures with a part that was changed."""
    side = 2000 if max(pixels.shape[:2]) >= 2000 else 900
    first = decoded(jpeg(base(pixels, side), rng.choice([75, 80, 85])))
    for turn, word in ((False, "as it is"), (True, "turned and scaled")):
        if (done := copied(first, rng, turn)) is not None:
            quality = rng.choice([70, 80, 90])
            yield f"copied {word}, jpeg {quality}", jpeg(done[0], quality), done[1]
    small = base(pixels, 900)
    part = cv2.resize(other, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    mask = blob(rng, small.shape[:2], rng.choice([0.02, 0.05, 0.1]))
    moved = np.roll(decoded(jpeg(part, rng.choice([60, 80, 90]))), rng.randint(1, 7), axis=1)
    host = decoded(jpeg(small, rng.choice([75, 80, 85])))
    spliced = np.where(mask[..., None] > 0, moved, host)
    yield "put in, no loss", png(spliced), mask
    one, two = rng.choice([60, 70, 75, 80, 85, 90]), rng.choice([75, 85, 90, 95, 98])
    host = decoded(jpeg(small, one))
    order = "more strongly first" if one < two else "more strongly later"
    yield f"put in, jpeg, {order}", jpeg(np.where(mask[..., None] > 0, part, host), two), mask


def casia(root: Path) -> Iterator[tuple[str, bytes, Any]]:
    """Yield CASIA's samples.

    Those of the first set show the changed picture, the original and the mask side by side; those
    of the second are files as they are, each with its mask beside it.
    """
    for mask in sorted(root.glob("*_gt.png")):
        path = mask.with_name(mask.name.replace("_gt.png", ".jpg"))
        kind = "copied, CASIA2" if "__Tp_S_" in path.name else "put in, CASIA2"
        truth = (decoded(mask.read_bytes())[:, :, 0] > 127).astype(np.uint8)
        yield kind, path.read_bytes(), truth
    for path in sorted(root.glob("*_combine.png")):
        whole = decoded(path.read_bytes())
        third = whole.shape[1] // 3
        kind = "copied, CASIA" if "__CM__" in path.name else "put in, CASIA"
        yield kind, png(whole[:, :third]), (whole[:, 2 * third :, 0] > 127).astype(np.uint8)
        yield "innocent, CASIA", png(whole[:, third : 2 * third]), None


def f1(found: Any, truth: Any) -> float:
    if found is None:
        return 0.0
    found = cv2.resize(found, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return float(2 * (found & truth).sum() / max(1, int(found.sum()) + int(truth.sum())))


def interval(found: int, n: int) -> str:
    low, high = binomtest(found, n).proportion_ci(method="exact") if n else (0, 1)
    return f"{found}/{n} = {found / max(1, n):.4f} (95 % {low:.4f} to {high:.4f})"


class Tally:
    """Counts answers by kind of picture and method."""

    def __init__(self, log: Path | None, methods: list[str]) -> None:
        self.methods = methods
        self.words: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.scores: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.cost: dict[str, list[float]] = defaultdict(list)
        self.log = log.open("a") if log else None

    def ask(self, kind: str, path: str, data: bytes, truth: Any = None) -> None:
        """Ask every method of one file."""
        image = ImageFile.open(data)
        said = {}
        image.pixels()
        for name in self.methods:
            start = time.process_time()
            answer = METHODS[name](image)
            self.cost[name].append(time.process_time() - start)
            said[name] = answer.word
            self.words[kind, name][answer.word] += 1
            if truth is not None and answer.word != "not_applicable":
                self.scores[kind, name].append(f1(answer.mask, truth))
            if truth is None and answer.word == "supports" and name != "metadata":
                print("accused", name, kind, path, answer.details, flush=True)
        if self.log:
            scores = {n: round(self.scores[kind, n][-1], 3) for n in said
                      if truth is not None and said[n] != "not_applicable"}  # fmt: skip
            self.log.write(json.dumps([kind, path, truth is not None, said, scores]) + "\n")
            self.log.flush()

    def add(self, lines: list[str]) -> None:
        """Take in what earlier runs logged."""
        for kind, _, _, said, scores in map(json.loads, lines):
            for name, word in said.items():
                self.words[kind, name][word] += 1
            for name, score in scores.items():
                self.scores[kind, name].append(score)

    def print(self) -> None:
        """Print the rates, with their intervals."""
        for name in self.methods:
            print(f"\n{name}: {np.mean(self.cost[name] or [0]):.2f} CPU s a picture")
            total: Counter[str] = Counter()
            for (kind, method), words in self.words.items():
                if method == name and kind.startswith("innocent"):
                    total += words
            applied = total["supports"] + total["no_support"]
            print("  innocent, where it applies:", interval(total["supports"], applied))
            print("  innocent, all:", interval(total["supports"], sum(total.values())))
            for (kind, method), words in sorted(self.words.items()):
                if method != name:
                    continue
                applied = words["supports"] + words["no_support"]
                scores = self.scores[kind, name]
                mean = f"; mean F1 {np.mean(scores):.3f}" if scores else ""
                print(f"  {kind}: {interval(words['supports'], applied)}"
                      f", not applicable {words['not_applicable']}{mean}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sum", action="store_true", help="PHOTOS is a log: print its figures")
    parser.add_argument("--casia", action="store_true", help="the folder holds CASIA's samples")
    parser.add_argument("--split", choices=["tune", "report"], default="report")
    parser.add_argument("--most", type=int, default=1200)
    parser.add_argument("--skip", type=int, default=0, help="photographs of an earlier run")
    parser.add_argument("--stop", type=int, default=1 << 30, help="number of the one to end before")
    parser.add_argument("--source", type=int, default=30, help="most photographs of one source")
    parser.add_argument(
        "--beyond",
        nargs=2,
        type=float,
        metavar=("SOURCE", "MEGAPIXELS"),
        help="leave out what these two give: photographs of an earlier run",
    )
    parser.add_argument("--megapixels", type=float, default=13, help="larger ones are left out")
    parser.add_argument("--changed", type=int, default=100, help="photographs that are changed")
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--kind", default="", help="changed pictures alone, of kinds that begin so")
    parser.add_argument("--log", type=Path, help="append one line of JSON a picture")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    tally = Tally(args.log, args.only)
    if args.sum:
        tally.add(args.photos.read_text().splitlines())
        tally.print()
        return
    if args.casia:
        for kind, data, truth in casia(args.photos):
            tally.ask(kind, "", data, truth)
        tally.print()
        return
    other: Any = None
    paths = photographs(args.photos, args.split, args.source, args.most, int(args.megapixels * 1e6))
    if args.beyond:
        most = int(args.beyond[1] * 1e6)
        earlier = set(photographs(args.photos, args.split, int(args.beyond[0]), 1 << 30, most))
        paths = [path for path in paths if path not in earlier]
    for number, path in enumerate(paths[: args.stop]):
        if number < args.skip:
            continue
        try:
            pixels = ImageFile.open(path).pixels()
        except ImageError:
            continue
        kind = INNOCENT[number % len(INNOCENT)]
        name = f"{path.parent.name}/{path.name}"
        if not args.kind:
            tally.ask(f"innocent, {kind}", name, treated(path.read_bytes(), pixels, kind))
        if number < args.changed:
            if other is not None:
                for made, data, truth in changed(pixels, other, random.Random(number)):
                    if made.startswith(args.kind):
                        tally.ask(made, name, data, truth)
            other = base(pixels, 900)
        if number % 100 == 99:
            print(number + 1, "photographs", flush=True)
    tally.print()


if __name__ == "__main__":
    main()
