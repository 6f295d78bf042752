"""How often the constant marks are read: where there are none, and where one was embedded.

Three questions. How small does the chance of a match get on pictures without a mark? How small
on the same pictures when each constant is tried from every one of its places on, which are marks
that nobody embeds and as regular as those that somebody does? And how often is an embedded mark
read, as it is and after saving or scaling?

    python benchmarks/fixed_marks.py CARRIERS FOLDER...

FOLDERS hold pictures without a mark, each read at its own size; those below 256 × 256 pixels are
left out, since the analyzer does not look at them. CARRIERS is a folder of photographs to embed
in, at most 1,024 pixels a side.
"""

import argparse
import io
import math
import runpy
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.provenance.fixed_marks import MARKS, block_bits, match

ROOT = Path(__file__).resolve().parents[1]
EMBEDDER = ROOT / "tests" / "provenance" / "dwt_marks.py"
ORDERS = ("bgr", "rgb")
SMALLEST = 256 * 256


def pictures(folder: Path, max_side: int | None = None) -> Iterator[Any]:
    """Decode every picture of a folder that is large enough."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                pixels = ImageFile.open(path).pixels(max_side)
            except ImageError:
                continue
            if pixels.shape[0] * pixels.shape[1] >= SMALLEST:
                yield pixels


def turned(bits: Any, length: int) -> Iterator[Any]:
    """Yield the blocks from each of the first places on."""
    for start in range(length):
        yield bits[start:]


def without(folders: list[Path]) -> None:
    count = tests = found = shifted = shifted_found = 0
    least = shifted_least = 1.0
    seconds, megapixels = [], []
    for folder in folders:
        for pixels in pictures(folder):
            count += 1
            start = time.process_time()
            read = {order: block_bits(pixels, order) for order in ORDERS}
            results = [match(bits, mark) for bits in read.values() for mark in MARKS]
            seconds.append(time.process_time() - start)
            megapixels.append(pixels.shape[0] * pixels.shape[1] / 1e6)
            tests += len(results)
            least = min(least, *(result.chance for result in results))
            found += sum(result.chance <= result.mark.max_chance for result in results)
            for bits in read.values():
                for mark in MARKS:
                    for part in list(turned(bits, len(mark.bits)))[1:]:
                        chance = match(part, mark).chance
                        shifted += 1
                        shifted_least = min(shifted_least, chance)
                        shifted_found += chance <= mark.max_chance
    print(f"{count:,} pictures without a mark, {statistics.median(megapixels):.2f} MP (median)")
    print(f"  as they are: {tests:,} tests, {found} found, least chance {least:.1e}")
    print(f"  from other places: {shifted:,} tests, {shifted_found} found, {shifted_least:.1e}")
    print(f"  upper bound at 95 % for {found} of {count:,}: {upper(found, count):.2%}")
    print(f"  {1e3 * sum(seconds) / sum(megapixels):.0f} ms of CPU per megapixel")


def upper(found: int, count: int) -> float:
    """Return the exact upper bound for a share of none (Clopper and Pearson); else nan."""
    return 1 - 0.025 ** (1 / count) if not found else math.nan


def jpeg(quality: int) -> Callable[[Any], Any]:
    def save(pixels: Any) -> Any:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return save


def smaller(pixels: Any) -> Any:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((width * 3 // 4, height * 3 // 4)))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda pixels: pixels,
    "JPEG 95": jpeg(95),
    "JPEG 90": jpeg(90),
    "JPEG 85": jpeg(85),
    "three quarters": smaller,
}


def embedded(carriers: Path) -> None:
    embed = runpy.run_path(str(EMBEDDER))["embed"]
    found = {change: dict.fromkeys(MARKS, 0) for change in CHANGES}
    majority = dict.fromkeys(MARKS, 0)
    count = 0
    for pixels in pictures(carriers, 1024):
        count += 1
        for mark in MARKS:
            marked = embed(pixels, mark.bits)
            for change, apply in CHANGES.items():
                result = match(block_bits(apply(marked)), mark)
                found[change][mark] += result.chance <= mark.max_chance
            majority[mark] += read_by_majority(block_bits(marked), mark.bits)
    print(f"{count} carriers, share in which the mark is read")
    print("  " + "  ".join(mark.code for mark in MARKS))
    for change, by_mark in found.items():
        print(f"  {change}: " + "  ".join(f"{by_mark[mark] / count:.0%}" for mark in MARKS))
    shares = "  ".join(f"{majority[mark] / count:.0%}" for mark in MARKS)
    print(f"  as it is, every bit by majority as the library reads: {shares}")


def read_by_majority(bits: Any, wanted: str) -> bool:
    """Tell whether the library's own way of reading gives every bit of the mark."""
    place = np.arange(len(bits)) % len(wanted)
    share = np.bincount(place, weights=bits) / np.bincount(place)
    return "".join("01"[int(one > 127 / 255)] for one in share) == wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("carriers", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    args = parser.parse_args()
    without(args.folders)
    embedded(args.carriers)


if __name__ == "__main__":
    main()
