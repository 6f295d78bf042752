"""How well the watermark is hidden and read: the figures of `docs/watermark.md`.

    python benchmarks/watermark.py recover SCENES [--strength subtle] [-o FILE]
    python benchmarks/watermark.py absent FOLDER… [--keys 100]
    python benchmarks/watermark.py time SCENES
    python benchmarks/watermark.py small FOLDER
    python benchmarks/watermark.py bound SCENES [--trials 10000]

SCENES is a folder with the pictures of `watermark_scenes.csv`, which says where each comes from.
`absent` and `small` take any pictures. Everything runs on one thread; times are process CPU.
`bound` measures content binding: copies that must match, and marks put on other pictures.
"""

import argparse
import csv
import json
import platform
import subprocess
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from watermark_attacks import CHANGES, Pixels

from counterproof.provenance import watermark, watermark_plane
from counterproof.provenance.watermark_bind import Content, compare, judge
from counterproof.provenance.watermark_code import FULL

LIST = Path(__file__).with_name("watermark_scenes.csv")


def load(path: Path) -> Pixels | None:
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if data is None else np.ascontiguousarray(data[..., ::-1])


def scenes(folder: Path) -> Iterator[tuple[str, Pixels]]:
    with LIST.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (pixels := load(folder / row["name"])) is not None:
                yield row["name"], pixels


def ssim(a: Pixels, b: Pixels) -> float:
    """Return the mean SSIM of the luma, Gaussian window of 11 px and sigma 1.5."""

    def window(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    x, y = (watermark_plane.luma(p).astype(np.float64) for p in (a, b))
    mx, my = window(x), window(y)
    vx, vy, both = window(x * x) - mx * mx, window(y * y) - my * my, window(x * y) - mx * my
    above = (2 * mx * my + 6.5025) * (2 * both + 58.5225)
    return float(np.mean(above / ((mx * mx + my * my + 6.5025) * (vx + vy + 58.5225))))


def smooth_rms(original: Pixels, marked: Pixels) -> float | None:
    """Return the rms change where the luma hardly varies over 17 px; None without such a place."""
    gray = watermark_plane.luma(original).astype(np.float32)
    mean = cv2.blur(gray, (9, 9))
    deviation = np.sqrt(np.maximum(cv2.blur(gray * gray, (9, 9)) - mean * mean, 0))
    smooth = cv2.erode((deviation < 2).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if smooth.sum() < 1000:
        return None
    change = marked.astype(np.float32) - original
    return float(np.sqrt((change[smooth] ** 2).mean()))


def recover(args: argparse.Namespace) -> dict[str, object]:
    read: dict[str, list[int]] = defaultdict(list)
    missed: dict[str, list[str]] = defaultdict(list)
    looks: dict[str, list[float]] = defaultdict(list)
    wrong, count = 0, 0
    for name, pixels in scenes(args.folder[0]):
        seed = zlib.crc32(name.encode())
        number = int(np.random.default_rng(seed).integers(1 << 54))
        payload = watermark.Payload(watermark.MarkClass.GENERATED, number)
        made = watermark.embed(pixels, payload, strength=args.strength)
        looks["psnr_db"].append(made.psnr_db)
        looks["margin_db"].append(made.margin_db)
        looks["ssim"].append(ssim(pixels, made.pixels))
        if (rms := smooth_rms(pixels, made.pixels)) is not None:
            looks["smooth_rms"].append(rms)
        for change, apply in CHANGES.items():
            rng = np.random.default_rng([seed, zlib.crc32(change.encode())])
            reading = watermark.read(np.ascontiguousarray(apply(made.pixels, rng)))
            found = reading.payload if reading else None
            read[change].append(found == payload)
            wrong += found is not None and found != payload
            if found != payload:
                missed[change].append(name)
        count += 1
        print(f"{name}: {made.psnr_db:.1f} dB", flush=True)
    for change, hits in read.items():
        print(f"{change:28} {sum(hits):3} of {len(hits)}  {' '.join(missed[change][:6])}")
    for what, values in looks.items():
        worst = max(values) if what == "smooth_rms" else min(values)
        print(f"{what:12} mean {np.mean(values):.4f} worst {worst:.4f} n {len(values)}")
    print(f"scenes {count}, wrong messages {wrong}")
    return {
        "strength": args.strength,
        "scenes": count,
        "wrong": wrong,
        "read": {change: [sum(hits), len(hits)] for change, hits in read.items()},
        "missed": missed,
        "looks": {what: [float(np.mean(v)), min(v), max(v)] for what, v in looks.items()},
    }


def pictures(folders: list[Path]) -> Iterator[tuple[Path, Pixels]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (pixels := load(path)) is not None:
                yield path, pixels


def absent(args: argparse.Namespace) -> dict[str, object]:
    rng = np.random.default_rng(0)
    keys = [rng.bytes(32) for _ in range(args.keys)]
    scores, found, likely, sizes = [], [], [], []
    for path, pixels in pictures(args.folder):
        if min(pixels.shape[:2]) < 64:
            continue
        best, reading = watermark.examine(pixels, keys)
        scores.append(best)
        sizes.append(pixels.shape[0] * pixels.shape[1])
        if reading is not None:
            (found if reading.payload else likely).append(str(path))
            print(f"{path}: {reading}", flush=True)
    parts = [0.5, 0.9, 0.99, 0.999, 1]
    quantiles = dict(zip(parts, np.quantile(scores, parts).round(2).tolist(), strict=True))
    print(f"{len(scores)} pictures × {args.keys} keys: {len(found)} found, {len(likely)} likely")
    print(f"pilot score, quantiles {quantiles}")
    return {
        "pictures": len(scores),
        "keys": args.keys,
        "found": len(found),
        "likely": len(likely),
        "score": quantiles,
        "histogram": np.histogram(scores, np.arange(0, 20.5, 0.5))[0].tolist(),
    }


def timed(args: argparse.Namespace) -> dict[str, object]:
    spent: dict[str, list[float]] = defaultdict(list)

    def clock(what: str, run: object, *values: object) -> object:
        started = time.process_time()
        result = run(*values)  # type: ignore[operator]
        spent[what].append(1000 * (time.process_time() - started))
        return result

    for megapixels, size in ((0.4, (768, 512)), (12.0, (4243, 2828))):
        for index, (_, pixels) in enumerate(scenes(args.folder[0])):
            if index == 12:
                break
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
            payload = watermark.new_payload("generated")
            name = f"{megapixels} MP"
            made = clock(f"{name} embed", watermark.embed, pixels, payload)
            clock(f"{name} direct", watermark.read, made.pixels)  # type: ignore[attr-defined]
            clock(f"{name} absent", watermark.read, pixels)
    for what, values in spent.items():
        print(f"{what:16} median {np.median(values):.0f} ms, n {len(values)}")
    return {what: float(np.median(values)) for what, values in spent.items()}


def small(args: argparse.Namespace) -> dict[str, object]:
    results: dict[str, object] = {}
    changes = ("none", "jpeg 75", "webp 80", "invert")
    for edge in (64, 96, 128, 256):
        hits: dict[str, int] = defaultdict(int)
        marked, refused, psnr = 0, 0, []
        for index, (_, pixels) in enumerate(pictures(args.folder)):
            if index % args.step:
                continue
            factor = edge / max(pixels.shape[:2])
            size = [max(64, round(n * factor)) for n in pixels.shape[1::-1]]
            tiny = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
            payload = watermark.new_payload("generated", profile="small")
            try:
                made = watermark.embed(tiny, payload, profile="small")
            except watermark.ImageError:
                refused += 1
                continue
            marked += 1
            psnr.append(made.psnr_db)
            rng = np.random.default_rng(index)
            copies = {name: CHANGES[name](made.pixels, rng) for name in changes}
            for times in (2, 4):
                size = made.pixels.shape[1] * times, made.pixels.shape[0] * times
                copies[f"enlarged {times}"] = np.asarray(
                    cv2.resize(made.pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8
                )
            for name, copy in copies.items():
                reading = watermark.read(copy)
                hits[name] += reading is not None and reading.payload == payload
        shown = {name: f"{hit}/{marked}" for name, hit in hits.items()}
        print(f"{edge} px: marked {marked}, refused {refused}, {np.mean(psnr):.1f} dB {shown}")
        results[str(edge)] = {"marked": marked, "refused": refused, "read": dict(hits)}
    return results


def bound(args: argparse.Namespace) -> dict[str, object]:
    names = ("jpeg 30", "resize 0.33", "crop to 50 % jpeg 75", "crop to 25 % jpeg 75", "noise 10")
    names += ("crop to 10 %", "contrast +20 %", "rotate 17", "half size jpeg 50", "screenshot")
    kept, copies = [], []
    honest: dict[Content, int] = defaultdict(int)
    moved: dict[Content, int] = defaultdict(int)
    for name, pixels in scenes(args.folder[0]):
        made = watermark.embed(pixels, watermark.new_payload("generated")).pixels
        kept.append(watermark.bind(made))
        copies.append([])
        for change in names:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            copy = np.ascontiguousarray(CHANGES[change](made, rng))
            if (reading := watermark.read(copy)) is None or reading.payload is None:
                continue
            gray = watermark_plane.luma(copy)
            honest[judge(*compare(kept[-1], gray, reading.geometry))] += 1
            copies[-1].append((watermark_plane.shrink(gray, 768), gray.shape, reading.geometry))
        print(f"{name}: {dict(honest)}", flush=True)
    rng = np.random.default_rng(0)
    for _ in range(args.trials):
        # a mark bound to picture i is found on picture j, whole or cropped, where it lies there
        i, j = rng.choice(len(kept), 2, replace=False)
        if not copies[j]:
            continue
        gray, whole, place = copies[j][int(rng.integers(len(copies[j])))]
        ratio = np.array([gray.shape[1] / whole[1], gray.shape[0] / whole[0]])
        matrix, offset = place.matrix * ratio[:, None], (place.offset + 0.5) * ratio - 0.5
        geometry = watermark_plane.Geometry(matrix, offset)
        moved[judge(*compare(kept[i], gray, geometry))] += 1
    print(f"honest copies {dict(honest)}; transplants {dict(moved)}")
    return {"honest": dict(honest), "moved": dict(moved), "chips": FULL.chips}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = {"recover": recover, "absent": absent, "time": timed, "small": small}
    commands["bound"] = bound
    parser.add_argument("command", choices=commands)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--strength", choices=("standard", "subtle"), default="standard")
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--step", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    result = commands[args.command](args)
    if args.output:
        here = Path(__file__).parent
        run = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(run, capture_output=True, text=True, check=False).stdout.strip()
        about = {"commit": commit, "date": time.strftime("%Y-%m-%d"), "machine": platform.machine()}
        text = json.dumps(about | {args.command: result}, indent=1, default=str)
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
