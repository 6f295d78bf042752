"""Recovery of lost credentials: how often a copy leads back, and whether it ever leads astray.

    python benchmarks/recovery.py copies      # strip → recover, and honest copies that are changed
    python benchmarks/recovery.py transplant  # marks lifted off and put on other pictures

Pictures: those of `COUNTERPROOF_TEST_DATA` (default `../shared/data`), in the folders that
`--folders` names there or by a whole path, of 0.3 MP or more; of near-duplicates (fewer than 64 of
256 bits apart, in any orientation) one is taken. Everything lies in a temporary folder, the random
numbers have a fixed seed. Figures are printed as JSON: counts, rates, and the Clopper-Pearson
interval at 95 %.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import scipy.stats
import watermark_attacks as attacks
from numpy.typing import NDArray

from counterproof.errors import CounterproofError
from counterproof.images import ImageFile
from counterproof.perceptual import dct256, square
from counterproof.provenance import mark as door
from counterproof.provenance.recovery import Recovered, Recovery
from counterproof.provenance.store import ManifestStore
from counterproof.provenance.trust import load_trust
from counterproof.settings import load_settings

Pixels = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("COUNTERPROOF_TEST_DATA") or ROOT.parent / "shared" / "data")
LEAST = 300_000
APART = 64


def interval(k: int, n: int) -> list[float]:
    if n == 0:
        return [0.0, 1.0]
    low = scipy.stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = scipy.stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return [round(float(low), 6), round(float(high), 6)]


def hashes(pixels: Pixels) -> list[int]:
    small = cv2.resize(
        cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (128, 128), interpolation=cv2.INTER_AREA
    )
    turned = [np.rot90(small, k) for k in range(4)]
    every = [*turned, *(np.fliplr(item) for item in turned)]
    return [int(dct256(square(np.ascontiguousarray(item))), 16) for item in every]


def scenes(folders: list[str], edge: int, most: int) -> list[Pixels]:
    found: list[Pixels] = []
    seen: list[int] = []
    for folder in folders:
        for path in sorted((DATA / folder).rglob("*")):
            if len(found) == most or not path.is_file():
                continue
            try:
                image = ImageFile.open(path)
                if image.info.width * image.info.height < LEAST:
                    continue
                pixels = attacks.within(image.pixels(max_side=edge * 2), edge)
            except CounterproofError:
                continue
            own = hashes(pixels)
            if any((old ^ new).bit_count() < APART for old in seen for new in own):
                continue
            seen.append(own[0])
            found.append(np.ascontiguousarray(pixels))
    return found


def opened(pixels: Pixels, quality: int = 0) -> ImageFile:
    if quality:
        pixels = attacks.coded(pixels, quality)
    data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    return ImageFile.open(data.tobytes(), name="copy")


def changes() -> dict[str, attacks.Change]:
    return {
        "none": lambda p, _: p,
        "half size, JPEG 50": lambda p, _: attacks.coded(attacks.scaled(p, 0.5), 50),
        "JPEG 75": lambda p, _: attacks.coded(p, 75),
        "JPEG 30": lambda p, _: attacks.coded(p, 30),
        "WebP 80": lambda p, _: attacks.coded(p, 80, ".webp"),
        "1080 px, JPEG 75": lambda p, _: attacks.coded(attacks.within(p, 1080), 75),
        "640 px, JPEG 70": lambda p, _: attacks.coded(attacks.within(p, 640), 70),
        "crop to 75 %": lambda p, r: attacks.cropped(p, 0.75, r),
        "crop to 50 %": lambda p, r: attacks.cropped(p, 0.5, r),
        "crop to 25 %, JPEG 75": lambda p, r: attacks.coded(attacks.cropped(p, 0.25, r), 75),
        "turned by 5°": lambda p, _: attacks.turned(p, 5),
        "mirrored": lambda p, _: np.ascontiguousarray(p[:, ::-1]),
        "brightness +20 %": lambda p, _: attacks.rounded(p * 1.2),
        "blurred, σ 2": lambda p, _: attacks.blurred(p, 2),
    }


class Bench:
    """A store of its own, and who signs into it."""

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings({"home": folder / "home"})
        self.path = folder / "bench.sqlite"
        self.ids: list[str] = []

    def mark(self, pixels: Pixels, kind: str = "jpeg") -> tuple[Pixels, str] | None:
        """Mark a picture, as a JPEG of quality 92; None if it takes no watermark."""
        made = door.mark(
            pixels,
            "generated",
            settings=self.settings,
            format=kind,
            quality=92,
            store=self.path,
        )
        if made.layers["watermark"].state != "applied":
            return None
        with ManifestStore.open(self.path) as store:
            new = [item for item in store.ids() if item not in self.ids]
        self.ids += new
        return made.pixels(), new[0]

    def recovery(self) -> Recovery:
        """Open the store to look in it."""
        trust = load_trust(self.settings.home)
        return Recovery([ManifestStore.open(self.path)], trust, self.settings.as_of)


def outcome(found: list[Recovered], wanted: str) -> str:
    if not found:
        return "nothing"
    best = found[0]
    if best.status == "match":
        return f"match by {best.by}" if best.kept.id == wanted else "wrong"
    return best.status


def copies(bench: Bench, folders: list[str], most: int, only: list[str]) -> dict[str, object]:
    marked = [item for p in scenes(folders, 1600, most) if (item := bench.mark(p))]
    recovery, rng = bench.recovery(), np.random.default_rng(1)
    table: dict[str, object] = {}
    total: Counter[str] = Counter()
    for name, change in changes().items():
        if only and name not in only:
            continue
        seen = Counter(
            outcome(recovery.find(opened(change(pixels, rng))), wanted) for pixels, wanted in marked
        )
        total += seen
        hits = sum(n for key, n in seen.items() if key.startswith("match"))
        table[name] = {**seen, "n": len(marked), "rate": interval(hits, len(marked))}
    n = sum(total.values())
    bad = total["mismatch"]
    summary = {**total, "n": n, "false mismatch": bad / n, "interval": interval(bad, n)}
    return {"pictures": len(marked), "changes": table, "all": summary}


def fitted(layer: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Turn a lifted mark to lie as a picture lies, and scale it to cover all of it, unstretched."""
    if (layer.shape[0] > layer.shape[1]) != (height > width):
        layer = np.ascontiguousarray(np.rot90(layer))
    factor = max(height / layer.shape[0], width / layer.shape[1])
    size = max(width, round(layer.shape[1] * factor)), max(height, round(layer.shape[0] * factor))
    large = cv2.resize(layer, size, interpolation=cv2.INTER_CUBIC)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return np.asarray(large[top : top + height, left : left + width], np.float32)


WAYS: dict[str, attacks.Change] = {
    "as it is": lambda p, _: p,
    "twice as strong": lambda p, _: p,
    "JPEG 75": lambda p, _: attacks.coded(p, 75),
    "cut to 50 %": lambda p, r: attacks.cropped(p, 0.5, r),
    "on a darker one": lambda p, _: p,
}
"""How a lifted mark is put on another picture, and what is done to the result."""


def transplant(
    bench: Bench, folders: list[str], most: int, trials: int, start: int = 0
) -> dict[str, object]:
    """Lift marks off (marked less unmarked) and put them on pictures that no manifest knows.

    Every trial is another combination of mark, picture and way. Marks are lifted from lossless
    copies by somebody who has the original, the strongest lift that there is.
    """
    every = scenes(folders, 640, most)
    lifted: list[NDArray[np.float32]] = []
    for pixels in every[: len(every) // 2]:
        if (item := bench.mark(pixels, "png")) is not None:
            lifted.append(item[0].astype(np.float32) - pixels)
    others = every[len(every) // 2 :]
    recovery, rng = bench.recovery(), np.random.default_rng(2)
    shape = len(lifted), len(others), len(WAYS)
    order = rng.permutation(int(np.prod(shape)))[start : start + trials]
    seen: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    started = time.process_time()
    for done, number in enumerate(order):
        mark, picture, way = np.unravel_index(number, shape)
        name, target = list(WAYS)[way], others[picture]
        layer = fitted(lifted[mark], target.shape[0], target.shape[1])
        gain = 2.0 if name == "twice as strong" else 1.0
        base = target * 0.5 if name == "on a darker one" else target
        made = WAYS[name](attacks.rounded(base + gain * layer), rng)
        seen[name][outcome(recovery.find(opened(made)), "")] += 1
        if done % 250 == 249:  # what a run that is ended has shown
            so_far = dict(sum(seen.values(), Counter[str]()))
            print(f"{done + 1} of {len(order)}: {so_far}", file=sys.stderr, flush=True)
    total = sum(seen.values(), Counter[str]())
    read = total["wrong"] + total["mismatch"] + total["unchecked"]
    return {
        "marks": len(lifted),
        "pictures": len(others),
        "trials": len(order),
        "read back": read,
        "by way": {name: dict(found) for name, found in seen.items()},
        "all": dict(total),
        "wrong": interval(total["wrong"], len(order)),
        "wrong of those read back": interval(total["wrong"], read),
        "cpu s a trial": round((time.process_time() - started) / len(order), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["copies", "transplant"])
    parser.add_argument("--folders", nargs="+", default=["photos"])
    parser.add_argument("--most", type=int, default=400, help="most pictures")
    parser.add_argument("--changes", nargs="+", default=[], help="only these, by name")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0, help="trials to leave out: run in parts")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if chosen.what == "copies":
            result = copies(bench, chosen.folders, chosen.most, chosen.changes)
        else:
            result = transplant(bench, chosen.folders, chosen.most, chosen.trials, chosen.start)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
