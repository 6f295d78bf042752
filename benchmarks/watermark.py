"""How well the watermark is hidden and read: the figures of `docs/watermark.md`.

    python benchmarks/watermark.py recover SCENES [--strength subtle] [--originals] [-o FILE]
    python benchmarks/watermark.py absent FOLDER… [--keys 100] [--plot FILE.svg]
    python benchmarks/watermark.py time SCENES
    python benchmarks/watermark.py small FOLDER
    python benchmarks/watermark.py bound SCENES [--trials 10000]
    python benchmarks/watermark.py peers SCENES --peers PYTHON [--most 12] [--changes NAME…]

SCENES is a folder with the pictures of `watermark_scenes.csv`, which says where each comes from;
with `--originals`, those of `watermark_originals.csv`, photographs of 2 MP or more.
`absent` and `small` take any pictures. Everything runs on one thread; times are process CPU.
`bound` measures content binding: copies that must match, and marks put on other pictures.
`peers` marks, changes and reads the same pictures with other people's watermarks in the same run;
PYTHON is that of their environment, which `watermark_peers.py` says how to make.
"""

import argparse
import itertools
import json
import platform
import subprocess
import time
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from watermark_attacks import CHANGES, Pixels, within
from watermark_compare import peers
from watermark_scenes import LIST, ORIGINALS, pictures, scenes, smooth_rms, ssim

from counterproof.provenance import watermark, watermark_plane
from counterproof.provenance.watermark_bind import Content, compare, judge
from counterproof.provenance.watermark_code import FULL


class Progress:
    """One JSON object for each picture done, in a file that a later run goes on with."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []
        self.done: dict[str, dict[str, Any]] = {row["name"]: row for row in map(json.loads, lines)}

    def add(self, row: dict[str, Any]) -> None:
        """Keep what was measured on one picture."""
        self.done[row["name"]] = row
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def recovered(name: str, pixels: Pixels, strength: Any) -> dict[str, Any]:
    """Mark a picture, change it in every way, and say what was seen and read."""
    seed = zlib.crc32(name.encode())
    number = int(np.random.default_rng(seed).integers(1 << 54))
    payload = watermark.Payload(watermark.MarkClass.GENERATED, number)
    made = watermark.embed(pixels, payload, strength=strength)
    missed, wrong = [], 0
    for change, apply in CHANGES.items():
        rng = np.random.default_rng([seed, zlib.crc32(change.encode())])
        reading = watermark.read(np.ascontiguousarray(apply(made.pixels, rng)))
        found = reading.payload if reading else None
        wrong += found is not None and found != payload
        if found != payload:
            missed.append(change)
    looks = {"psnr_db": made.psnr_db, "margin_db": made.margin_db}
    looks |= {"ssim": ssim(pixels, made.pixels)}
    if (rms := smooth_rms(pixels, made.pixels)) is not None:
        looks["smooth_rms"] = rms
    return {"name": name, "looks": looks, "missed": missed, "wrong": wrong}


def recover(args: argparse.Namespace) -> dict[str, object]:
    progress = Progress(args.progress)
    listed = ORIGINALS if args.originals else LIST
    for name, pixels in itertools.islice(scenes(args.folder[0], listed, args.edge), args.most):
        if name not in progress.done:
            progress.add(recovered(name, pixels, args.strength))
            print(f"{name}: {progress.done[name]['looks']['psnr_db']:.1f} dB", flush=True)
    rows = list(progress.done.values())
    missed = {c: [row["name"] for row in rows if c in row["missed"]] for c in CHANGES}
    looks: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for what, value in row["looks"].items():
            looks[what].append(value)
    for change, names in missed.items():
        print(f"{change:28} {len(rows) - len(names):3} of {len(rows)}  {' '.join(names[:6])}")
    for what, values in looks.items():
        worst = max(values) if what == "smooth_rms" else min(values)
        print(f"{what:12} mean {np.mean(values):.4f} worst {worst:.4f} n {len(values)}")
    wrong = sum(row["wrong"] for row in rows)
    print(f"scenes {len(rows)}, wrong messages {wrong}")
    return {
        "strength": args.strength,
        "scenes": len(rows),
        "wrong": wrong,
        "read": {c: [len(rows) - len(names), len(rows)] for c, names in missed.items()},
        "missed": missed,
        "looks": {what: [float(np.mean(v)), min(v), max(v)] for what, v in looks.items()},
    }


def plot(scores: list[float], file: Path) -> None:
    """Draw how many pictures have which pilot score, and where *likely* begins, as SVG."""
    counts, edges = np.histogram(scores, np.arange(4, 12.01, 0.25))
    bars, wide, high = [], 16, 200
    for count, edge in zip(counts, edges, strict=False):
        x, tall = 30 + (edge - 4) * 4 * wide, high * count / max(counts.max(), 1)
        bars.append(
            f'<rect x="{x:g}" y="{220 - tall:.1f}" width="{wide - 2}" height="{tall:.1f}"/>'
        )
        if count:
            bars.append(f'<text x="{x + 7:g}" y="{214 - tall:.1f}">{count}</text>')
    bars += [f'<text x="{30 + (n - 4) * 4 * wide}" y="238">{n}</text>' for n in range(4, 13)]
    line = 30 + (watermark.LIKELY - 4) * 4 * wide
    bars.append(f'<path d="M{line:g} 15V220" stroke="#b00"/>')
    bars.append(
        f'<text x="{line + 4:g}" y="24" text-anchor="start">likely from {watermark.LIKELY}</text>'
    )
    file.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 580 250" font-family="sans-serif" '
        'font-size="9" text-anchor="middle" fill="#567"><rect width="580" height="250" '
        f'fill="#fff"/>{"".join(bars)}</svg>\n',
        encoding="utf-8",
    )


def absent(args: argparse.Namespace) -> dict[str, object]:
    rng = np.random.default_rng(0)
    keys = [rng.bytes(32) for _ in range(args.keys)]
    progress = Progress(args.progress)
    for path, pixels in itertools.islice(pictures(args.folder), args.most):
        if min(pixels.shape[:2]) < 64 or str(path) in progress.done:
            continue
        best, reading = watermark.examine(within(pixels, watermark.READING_EDGE), keys)
        found = "" if reading is None else "message" if reading.payload else "likely"
        edge = max(pixels.shape[:2])
        progress.add({"name": str(path), "score": best, "found": found, "edge": edge})
        if reading is not None:
            print(f"{path}: {reading}", flush=True)
    rows = list(progress.done.values())
    scores = [row["score"] for row in rows]
    found, likely = (sum(row["found"] == kind for row in rows) for kind in ("message", "likely"))
    if args.plot:
        plot(scores, args.plot)
    parts = [0.5, 0.9, 0.99, 0.999, 1]
    quantiles = dict(zip(parts, np.quantile(scores, parts).round(2).tolist(), strict=True))
    print(f"{len(rows)} pictures × {args.keys} keys: {found} found, {likely} likely")
    print(f"pilot score, quantiles {quantiles}")
    return {
        "pictures": len(rows),
        "small": sum(row["edge"] <= watermark.SMALL_READ for row in rows),
        "keys": args.keys,
        "found": found,
        "likely": likely,
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
    commands |= {"bound": bound, "peers": peers}
    parser.add_argument("command", choices=commands)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--strength", choices=("standard", "subtle"), default="standard")
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--plot", type=Path, metavar="SVG", help="of the pilot scores")
    parser.add_argument("--step", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--peers", metavar="PYTHON", help="of the peers' environment")
    parser.add_argument("--most", type=int, default=400, help="most pictures")
    parser.add_argument("--originals", action="store_true", help="those of the other list")
    parser.add_argument("--edge", type=int, default=0, help="longest edge, for larger pictures")
    parser.add_argument("--slow", type=int, default=3, help="pictures for slow peers")
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), help="for the peers")
    parser.add_argument("--progress", type=Path, help="file that a later run goes on with")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    if args.command == "peers" and not args.peers:
        parser.error("--peers PYTHON: name the Python of the peers' environment")
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
