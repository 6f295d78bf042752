"""How often the methods of `forgery` find self-made changes, and accuse innocent photographs.

Photographs of a folder of folders (one a source). Sources are split by a hash of their name: on
*tune* thresholds are chosen, *report* gives the published figures. Innocent: each photograph
once, in turn as it is, saved again, cropped, scaled, toned. Changed, from photographs made
smaller first, so that their history is known: a part copied elsewhere (as it is, or turned and
scaled), and a part put in from another JPEG and saved without loss.

    python benchmarks/forgery.py PHOTOS --split report --most 320
"""

import argparse
import hashlib
import io
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.stats import binomtest

from counterproof.audit.copy_move import MAX_SIDE, find_copy
from counterproof.audit.jpeg_grid import find_foreign_grid
from counterproof.errors import ImageError
from counterproof.images import ImageFile

SUFFIXES = {".jpg", ".jpeg"}
Results = dict[str, list[tuple[bool, float]]]
INNOCENT = ("original", "jpeg 95", "jpeg 75", "crop, jpeg 90", "x 0.8, jpeg 85", "tone, jpeg 90")


def saved(pixels: Any, quality: int) -> Any:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(out.getvalue())).convert("RGB"))


def photographs(root: Path, split: str, most: int, most_pixels: int) -> Iterator[Any]:
    """Yield pixels of photographs of 480 pixels a side to `most_pixels`, at most 12 a source."""
    taken = 0
    for folder in sorted(root.iterdir()):
        digest = int(hashlib.sha256(folder.name.encode()).hexdigest(), 16)
        if not folder.is_dir() or (digest % 3 == 0) != (split == "tune"):
            continue
        count = 0
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES or count >= 12 or taken >= most:
                continue
            try:
                pixels = ImageFile.open(path).pixels()
            except ImageError:
                continue
            size = pixels.shape[0] * pixels.shape[1]
            if min(pixels.shape[:2]) < 480 or size > most_pixels:
                continue
            count, taken = count + 1, taken + 1
            yield str(path), pixels


def innocent(pixels: Any, kind: str) -> Any:
    if kind == "original":
        return pixels
    if kind.startswith("jpeg"):
        return saved(pixels, int(kind.split()[1]))
    if kind.startswith("crop"):
        return saved(np.ascontiguousarray(pixels[3:, 5:]), 90)
    if kind.startswith("x"):
        return saved(cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), 85)
    return saved(np.clip(255 * (pixels / 255.0) ** 0.8 * 1.05, 0, 255).astype(np.uint8), 90)


def base(pixels: Any) -> Any:
    """Return the picture with a longest side of 900 pixels, so that no grid is left."""
    scale = 900 / max(pixels.shape[:2])
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


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


def f1(found: Any, truth: Any) -> float:
    if found is None:
        return 0.0
    found = cv2.resize(found, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return float(2 * (found & truth).sum() / max(1, int(found.sum()) + int(truth.sum())))


def grey_view(pixels: Any) -> Any:
    scale = min(1.0, MAX_SIDE / max(pixels.shape[:2]))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if scale == 1:
        return grey
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def luma(pixels: Any) -> Any:
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def interval(found: int, n: int) -> str:
    low, high = binomtest(found, n).proportion_ci(method="exact") if n else (0, 1)
    return f"{found}/{n} = {found / max(1, n):.4f} (95 % {low:.4f} to {high:.4f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--only", choices=["copy-move", "grid"], help="one method")
    parser.add_argument("--split", choices=["tune", "report"], default="report")
    parser.add_argument("--most", type=int, default=320)
    parser.add_argument("--skip", type=int, default=0, help="photographs used for choosing")
    parser.add_argument("--megapixels", type=float, default=1.2, help="larger ones are left out")
    parser.add_argument("--changed", type=int, default=60, help="photographs that are changed")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rng = random.Random(5)
    results: Results = defaultdict(list)
    cost: dict[str, list[float]] = defaultdict(list)
    before: Any = None

    def copy(name: str, path: str, pixels: Any, truth: Any = None) -> None:
        if args.only == "grid":
            return
        start = time.process_time()
        found = find_copy(grey_view(pixels))
        cost["copy-move"].append(time.process_time() - start)
        score = f1(found.mask, truth) if truth is not None else found.score
        if found.applies:
            results[f"copy-move, {name}"].append((found.area > 0, score))
        if truth is None and found.area > 0:
            print("accused", name, path, found.inliers, found.area, found.score, flush=True)

    def grid(name: str, path: str, pixels: Any, truth: Any = None) -> None:
        if args.only == "copy-move":
            return
        start = time.process_time()
        found = find_foreign_grid(luma(pixels))
        cost["grid"].append((time.process_time() - start) / (pixels.size / 3e6))
        score = f1(found.mask, truth) if truth is not None else found.log_nfa
        if found.main is not None:
            results[f"grid, {name}"].append((found.foreign is not None, score))
        if truth is None and found.foreign is not None:
            print("accused", name, path, found.main, found.foreign, found.log_nfa, flush=True)

    for number, (path, pixels) in enumerate(
        photographs(args.photos, args.split, args.most, round(args.megapixels * 1e6))
    ):
        if number < args.skip:
            continue
        name = INNOCENT[number % len(INNOCENT)]
        made = innocent(pixels, name)
        copy(f"innocent, {name}", path, made)
        grid(f"innocent, {name}", path, made)
        if number < args.skip + args.changed:
            small = base(pixels)
            first = saved(small, rng.choice([75, 80, 85]))
            for turn, word in ((False, "as it is"), (True, "turned and scaled")):
                if (done := copied(first, rng, turn)) is not None:
                    for quality in (90, 70):
                        copy(f"{word}, jpeg {quality}", path, saved(done[0], quality), done[1])
            if before is not None:
                mask = blob(rng, small.shape[:2], 0.08)
                part = cv2.resize(before, small.shape[1::-1], interpolation=cv2.INTER_AREA)
                part = np.roll(saved(part, rng.choice([60, 80, 90])), rng.randint(1, 7), axis=1)
                spliced = np.where(mask[..., None] > 0, part, first)
                grid("put in from a JPEG, no loss", path, spliced, mask)
                grid("put in from a JPEG, jpeg 95", path, saved(spliced, 95), mask)
            before = small
        if number % 20 == 19:
            print(number + 1, "photographs", flush=True)
        if number % 60 == 59:
            summary(results, cost)
    summary(results, cost)


def summary(results: Results, cost: dict[str, list[float]]) -> None:
    """Print the rates so far."""
    for method in cost:
        alarms = [hit for name, rows in results.items() if f"{method}, innocent" in name
                  for hit, _ in rows]  # fmt: skip
        print(method, "false alarms of all innocent", interval(sum(alarms), len(alarms)))
        print(method, "CPU s (grid: per megapixel)", round(float(np.mean(cost[method])), 2))
    for name, rows in sorted(results.items()):
        score = np.mean([value for _, value in rows])
        print(f"{name}: {interval(sum(hit for hit, _ in rows), len(rows))}; mean {score:.3f}")


if __name__ == "__main__":
    main()
