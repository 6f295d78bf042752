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
import csv
import itertools
import json
import platform
import subprocess
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from watermark_attacks import CHANGES, Pixels, within
from watermark_peers import METHODS

from counterproof.provenance import watermark, watermark_plane
from counterproof.provenance.watermark_bind import Content, compare, judge
from counterproof.provenance.watermark_code import FULL

LIST = Path(__file__).with_name("watermark_scenes.csv")
ORIGINALS = Path(__file__).with_name("watermark_originals.csv")


def load(path: Path) -> Pixels | None:
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if data is None else np.ascontiguousarray(data[..., ::-1])


def scenes(folder: Path, listed: Path = LIST, edge: int = 0) -> Iterator[tuple[str, Pixels]]:
    """Yield name and pixels of the listed pictures that the folder holds, reduced to an edge."""
    with listed.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (pixels := load(folder / row["name"])) is not None:
                yield row["name"], within(pixels, edge) if edge else pixels


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


def pictures(folders: list[Path]) -> Iterator[tuple[Path, Pixels]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (pixels := load(path)) is not None:
                yield path, pixels


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


# What platforms and people do most; `--changes` takes any others.
PEER_CHANGES = (
    *("none", "jpeg 90", "jpeg 75", "jpeg 50", "webp 80", "resize 0.5", "resize 0.5 and back"),
    *("crop to 75 %", "crop to 50 %", "rotate 1", "rotate 90", "flip", "blur 1", "noise 5"),
    *("brightness +20 %", "social 1080 jpeg 75", "social 640 jpeg 70", "screenshot"),
)
SLOW_PEERS = ("rivaGan",)


class Peers:
    """The other watermarks, in a process of their own environment."""

    def __init__(self, python: str) -> None:
        program = Path(__file__).with_name("watermark_peers.py")
        self.process = subprocess.Popen(
            [python, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def _ask(self, pixels: Pixels, **asked: object) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = np.ascontiguousarray(pixels).tobytes()
        line = json.dumps(asked | {"shape": pixels.shape, "bytes": len(data)})
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        return found, self.process.stdout.read(found["bytes"])

    def embed(self, pixels: Pixels, method: str, bits: list[int]) -> tuple[Pixels | None, float]:
        """Return the marked picture, None if it would not be marked, and the CPU time in ms."""
        found, data = self._ask(pixels, do="embed", method=method, bits=bits)
        if found["error"]:
            return None, found["ms"]
        return np.frombuffer(data, np.uint8).reshape(pixels.shape), found["ms"]

    def read(self, pixels: Pixels, method: str) -> tuple[list[int], float]:
        """Return the bits, none if the reader failed, and the CPU time in ms."""
        found, _ = self._ask(pixels, do="read", method=method, count=METHODS[method])
        return found["bits"], found["ms"]


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the PSNR over all three channels, in dB."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def ssim_channels(a: Pixels, b: Pixels) -> float:
    """Return the mean SSIM of red, green and blue: luma alone is blind to marks in the colour."""
    single = [
        np.repeat(pixels[..., channel, None], 3, 2) for pixels in (a, b) for channel in (0, 1, 2)
    ]
    return float(np.mean([ssim(single[channel], single[channel + 3]) for channel in (0, 1, 2)]))


def peers(args: argparse.Namespace) -> dict[str, object]:
    other = Peers(args.peers)
    names = ("ours", *METHODS)
    hits: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in names}
    bits_right: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    looks: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    spent: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    said: dict[str, list[bool]] = {name: [] for name in names}
    for index, (picture, pixels) in enumerate(itertools.islice(scenes(args.folder[0]), args.most)):
        seed = zlib.crc32(picture.encode())
        rng = np.random.default_rng(seed)
        payload = watermark.Payload(watermark.MarkClass.GENERATED, int(rng.integers(1 << 54)))
        for name in names:
            if name in SLOW_PEERS and index >= args.slow:
                continue
            bits = [int(bit) for bit in rng.integers(0, 2, METHODS.get(name, 0))]
            if name == "ours":
                started = time.process_time()
                marked: Pixels | None = watermark.embed(pixels, payload).pixels
                took = 1000 * (time.process_time() - started)
            else:
                marked, took = other.embed(pixels, name, bits)
            if marked is None:
                print(f"{picture}: {name} would not mark it", flush=True)
                continue
            spent[name]["embed"].append(took)
            looks[name]["psnr"].append(psnr(pixels, marked))
            looks[name]["ssim"].append(ssim_channels(pixels, marked))
            for change in ("unmarked", *(args.changes or PEER_CHANGES)):
                draw = np.random.default_rng([seed, zlib.crc32(change.encode())])
                copy = pixels if change == "unmarked" else CHANGES[change](marked, draw)
                copy = np.ascontiguousarray(copy)
                if name == "ours":
                    started = time.process_time()
                    reading = watermark.read(copy)
                    took = 1000 * (time.process_time() - started)
                    found = reading.payload if reading else None
                    right, share, says = (
                        found == payload,
                        float(found == payload),
                        found is not None,
                    )
                else:
                    read, took = other.read(copy, name)
                    same = [a == b for a, b in zip(bits, read, strict=False)]
                    right, says = len(same) == len(bits) and all(same), bool(read)
                    share = sum(same) / len(bits)
                kind = {"unmarked": "absent", "none": "direct"}.get(change, "read changed")
                spent[name][kind].append(took)
                if change == "unmarked":
                    said[name].append(says)
                    continue
                hits[name][change].append(right)
                bits_right[name][change].append(share)
        print(f"{picture}: done", flush=True)
    table = {
        name: {
            "bits": METHODS.get(name, 56),
            "psnr": round(float(np.mean(looks[name]["psnr"])), 2),
            "ssim": round(float(np.mean(looks[name]["ssim"])), 4),
            "message in unmarked": [sum(said[name]), len(said[name])],
            "median ms": {what: round(float(np.median(v)), 1) for what, v in spent[name].items()},
            "read": {change: [sum(v), len(v)] for change, v in hits[name].items()},
            "bits right": {c: round(float(np.mean(v)), 3) for c, v in bits_right[name].items()},
        }
        for name in names
        if looks[name]["psnr"]
    }
    print(json.dumps(table, indent=1))
    return table


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
