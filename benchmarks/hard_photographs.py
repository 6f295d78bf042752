"""How often hard photographs are accused, kind by kind: found ones, and treated open ones.

    python benchmarks/hard_photographs.py TABLE [--hard HARD] [--most N] [--only KIND] [--gate P]

TABLE as for `counterproof detectors evaluate`; its photographs are treated: night modes,
denoising, enlarging, sharpening, retouching, a scanned print, an old phone, and a round trip
through this project's learned codec. HARD is a CSV file with the columns `file` (relative to
it) and `kind`: photographs that are hard as they are. Prints, for each kind, what the shipped
detector answers, whole: scope, first look, re-deliveries. The worst kind decides; with `--gate
P` the exit code is 1 if the upper 95 % bound of a kind lies above P per cent. `--append FILE`
keeps counts, so that a run that was stopped goes on with the kinds that are missing.
"""

import argparse
import csv
import io
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import recompress, within
from counterproof.detectors.detector import judge
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.release import worst_kinds
from counterproof.detectors.samples import read, thinned
from counterproof.detectors.scope import outside
from counterproof.detectors.tiles import READING_SIDE
from counterproof.errors import ImageError
from counterproof.images import ImageFile

Pixels = NDArray[np.uint8]
SIDE = 1024
"""Longer edge of a treated photograph: what most sites deliver."""


def _bytes(values: NDArray[Any]) -> Pixels:
    return np.asarray(values.clip(0, 255), np.uint8)


def _denoised(pixels: Pixels, strength: float = 6) -> Pixels:
    made = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, 5, 11)
    return np.asarray(made, np.uint8)


def _night(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A tenth of the light, shot and read noise, lifted again, denoised hard."""
    light = (pixels / 255.0) ** 2.2 * 60  # electrons of a short exposure
    seen = rng.poisson(light) + rng.normal(0, 1.5, pixels.shape)
    lifted = (seen.clip(0) / 60) ** (1 / 2.2) * 200
    return _sharpened(_denoised(_bytes(lifted), 14), rng, 0.8)


def _sharpened(pixels: Pixels, rng: np.random.Generator, amount: float = 1.6) -> Pixels:
    soft = cv2.GaussianBlur(pixels, (0, 0), 1.2).astype(np.float32)
    return _bytes(pixels + amount * (pixels - soft))


def _enlarged(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return _sharpened(np.asarray(large, np.uint8), rng, 0.8)


def _retouched(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Surfaces smoothed, local contrast and colour raised."""
    smooth = cv2.bilateralFilter(cv2.bilateralFilter(pixels, 7, 35, 5), 7, 35, 5)
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    colours = (lab[..., 1:].astype(np.float32) - 128) * 1.25 + 128
    lab[..., 1:] = _bytes(colours)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _scanned_print(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Printed with a screen of dots, yellowed, laid a little askew, scanned soft."""
    height, width = pixels.shape[:2]
    large = cv2.resize(pixels, (width * 2, height * 2), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[: height * 2, : width * 2].astype(np.float32)
    dots = np.stack(
        [
            np.sin((x * np.cos(a) + y * np.sin(a)) * 1.6)
            * np.sin((y * np.cos(a) - x * np.sin(a)) * 1.6)
            for a in (0.26, 1.31, 0.0)
        ],
        2,
    )
    printed = np.where(large / 255.0 + 0.35 * dots > 0.5, 0.6, 0.0) * 255 + 0.4 * large
    faded = printed * (0.82, 0.78, 0.68) + (34, 28, 20)
    turn = cv2.getRotationMatrix2D((width, height), float(rng.uniform(-1, 1)), 1.02)
    askew = cv2.warpAffine(
        _bytes(faded), turn, (width * 2, height * 2), borderMode=cv2.BORDER_REPLICATE
    )
    seen = cv2.resize(cv2.GaussianBlur(askew, (0, 0), 1.4), (width, height))
    grain = rng.normal(0, 3, seen.shape)
    return _bytes(seen + grain)


def _old_phone(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    small = np.asarray(within(Image.fromarray(pixels), 640))
    noisy = _bytes(small + rng.normal(0, 7, small.shape))
    return np.asarray(recompress(Image.fromarray(_sharpened(noisy, rng)), 60))


def _learned_codec() -> Callable[[Pixels, np.random.Generator], Pixels]:
    from counterproof.generators.codec import open_codec

    codec = open_codec()
    best = codec.qualities - 1

    def trip(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = pixels.shape[:2]
        made = codec.picture(codec.latents(pixels, best), best)[:height, :width]
        return np.asarray(made, np.uint8)

    return trip


def _treatments() -> dict[str, Callable[[Pixels, np.random.Generator], Pixels]]:
    return {
        "untreated": lambda pixels, rng: pixels,
        "night mode": _night,
        "denoised": lambda pixels, rng: _denoised(pixels),
        "enlarged": _enlarged,
        "sharpened": _sharpened,
        "retouched": _retouched,
        "scanned print": _scanned_print,
        "old phone, sharpened": _old_phone,
        "learned codec": _learned_codec(),
    }


def _treated(
    paths: list[Path], treat: Callable[[Pixels, np.random.Generator], Pixels]
) -> Iterable[bytes]:
    for number, path in enumerate(paths):
        try:
            picture = within(open_picture(path), SIDE)
        except ImageError:
            continue
        file = io.BytesIO()
        made = treat(np.asarray(picture), np.random.default_rng([0, number]))
        Image.fromarray(made).save(file, "JPEG", quality=90)
        yield file.getvalue()


def _files(paths: list[Path]) -> Iterable[bytes]:
    for path in paths:
        yield path.read_bytes()


def _answers(files: Iterable[bytes]) -> Counter[str]:
    found: Counter[str] = Counter()
    for data in files:
        try:
            image = ImageFile.open(data, name="photograph")
            pixels = image.pixels(max_side=READING_SIDE)
        except ImageError:
            found["unreadable"] += 1
            continue
        found["abstained" if outside(image, pixels) else judge(pixels).answer.value] += 1
    return found


def _hard(path: Path, most: int) -> dict[str, list[Path]]:
    kinds: dict[str, list[Path]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kinds[row["kind"]].append(path.parent / row["file"])
    return {kind: own[:: max(1, len(own) // most)][:most] for kind, own in sorted(kinds.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--hard", type=Path, help="CSV file with the columns file and kind.")
    parser.add_argument("--most", type=int, default=60, help="Photographs of each kind.")
    parser.add_argument("--only", action="append", help="Only this kind; repeatable.")
    parser.add_argument("--append", type=Path, help="Keeps counts of each kind, to go on from.")
    parser.add_argument("--gate", type=float, help="Highest upper bound, in per cent.")
    options = parser.parse_args()
    photographs = [sample for sample in read(options.table, both=False) if not sample.machine_made]
    paths = [sample.path for sample in thinned(photographs, options.most)]
    jobs: dict[str, Callable[[], Iterable[bytes]]] = {
        f"treated: {name}": lambda treat=treat: _treated(paths, treat)  # type: ignore[misc]
        for name, treat in _treatments().items()
    }
    if options.hard:
        for kind, own in _hard(options.hard, options.most).items():
            jobs[f"found: {kind}"] = lambda own=own: _files(own)  # type: ignore[misc]
    kept: dict[str, dict[str, int]] = {}
    if options.append and options.append.exists():
        kept = json.loads(options.append.read_text(encoding="utf-8"))
    accused = {}
    started = time.process_time()
    for kind, files in jobs.items():
        if options.only and kind not in options.only and kind.split(": ")[1] not in options.only:
            continue
        if kind not in kept:
            kept[kind] = dict(_answers(files()))
            if options.append:
                options.append.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        total = sum(kept[kind].values())
        accused[kind] = measures.wilson(kept[kind].get("accused", 0), total)
        rest = ", ".join(f"{name} {count}" for name, count in sorted(kept[kind].items()))
        print(f"{kind:<42} accused {accused[kind]}  n {total}  ({rest})", flush=True)
    worst = max(accused, key=lambda kind: accused[kind].high)
    print(f"worst by its upper bound: {worst}  {accused[worst]}")
    print(f"{time.process_time() - started:.0f} s of CPU")
    if options.gate is not None:
        sentences = worst_kinds(accused, options.gate / 100)
        for sentence in sentences:
            print(f"gate: {sentence}")
        sys.exit(1 if sentences else 0)


if __name__ == "__main__":
    main()
