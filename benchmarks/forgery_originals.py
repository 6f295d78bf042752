"""What the grid and the metadata of camera originals and of their innocent edits are taken for.

A camera original is a JPEG that names a camera and a time of capture, whose stored size is its own,
in which no editor names itself and which is laid out as no program known here does it; of each
camera and moment, one. `look` asks `forgery.grid` of each as it is and after one of seven innocent
edits, in turn, and `forgery.metadata` of each as it is and after four ways in which programs save
it again with its metadata (and other pixels: that method sees none). `cost` times the grid on
12 megapixels, and beside a loop over all blocks as the paper writes it, on a small part.

    python benchmarks/forgery_originals.py look FOLDER… -o ROWS.jsonl [--skip 100 --stop 200]
    python benchmarks/forgery_originals.py sum ROWS.jsonl
    python benchmarks/forgery_originals.py cost PHOTO
"""

import argparse
import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from forgery import decoded, interval, jpeg, png
from PIL import Image
from scipy.fft import dctn

from counterproof.audit import jpeg_grid
from counterproof.audit.capture_trail import disagreements, has_capture_data
from counterproof.audit.forgery_methods import METHODS
from counterproof.audit.saving_programs import jpeg_program
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.jpeg_structure import read_structure

MODEL, SOFTWARE, CHANGED, TAKEN, WIDTH, HEIGHT = 0x0110, 0x0131, 0x0132, 0x9003, 0xA002, 0xA003
EDITS = ("jpeg 95", "jpeg 75", "cropped, png", "cropped, jpeg 90", "turned, png", "toned, jpeg 92",
         "half size, png")  # fmt: skip
SAVED = ("smaller", "cropped", "by an editor", "without a change")


def originals(folders: list[Path]) -> Iterator[Path]:
    """Yield camera originals of at least 480 pixels a side, one a camera and moment."""
    seen: set[tuple[str, ...]] = set()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")):
            try:
                image = ImageFile.open(path)
                exif, info = image.exif_directories, image.metadata
                if (
                    not has_capture_data(image)
                    or exif is None
                    or min(info.width, info.height) < 480
                ):
                    continue
                laid_out = read_structure(image.data)
                if laid_out is None or jpeg_program(laid_out):
                    continue
                told = exif.integer("exif", WIDTH), exif.integer("exif", HEIGHT)
                if not all(told) or {"size", "program"} & set(disagreements(image)):
                    continue
                key = (exif.text("ifd0", MODEL), exif.text("exif", TAKEN))
                if key not in seen:
                    seen.add(key)
                    yield path
            except ImageError:
                continue


def edited(pixels: Any, kind: str) -> bytes:
    """Return the file after an innocent edit of the whole."""
    if kind.startswith("jpeg"):
        return jpeg(pixels, int(kind.split()[1]))
    if kind.startswith("cropped"):
        part = np.ascontiguousarray(pixels[3 : 3 + len(pixels) * 4 // 5, 5:])
        return png(part) if kind.endswith("png") else jpeg(part, 90)
    if kind.startswith("turned"):
        return png(np.ascontiguousarray(np.rot90(pixels)))
    if kind.startswith("toned"):
        return jpeg(np.clip(255 * (pixels / 255.0) ** 0.85 * 1.03, 0, 255).astype(np.uint8), 92)
    return png(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def saved_again(data: bytes, kind: str) -> bytes:
    """Return the file as a program would save it, with the metadata of the camera."""
    opened = Image.open(io.BytesIO(data))
    exif, (width, height) = opened.getexif(), opened.size
    if kind == "smaller":
        width, height = width // 2, height // 2
    elif kind == "cropped":
        width = width * 3 // 4
    elif kind == "by an editor":
        exif[SOFTWARE], exif[CHANGED] = "GIMP 2.10.36", "2026:01:02 03:04:05"
    out = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def look(folders: list[Path], output: Path, skip: int, stop: int) -> None:
    """Append one line of JSON a file that was asked."""
    with output.open("a") as log:
        for number, path in enumerate(originals(folders)):
            if not skip <= number < stop:
                continue
            data = path.read_bytes()
            image = ImageFile.open(data)
            pixels = image.pixels()
            kinds = {"as it is": data}
            kinds[EDITS[number % 7]] = edited(pixels, EDITS[number % 7])
            for kind, made in kinds.items():
                answer = METHODS["grid"](ImageFile.open(made))
                row = {"n": number, "method": "grid", "kind": kind, "word": answer.word}
                log.write(json.dumps(row | {"path": str(path), "details": answer.details}) + "\n")
            ways = {"as it is": data} | {kind: saved_again(data, kind) for kind in SAVED}
            for kind, made in ways.items():
                answer = METHODS["metadata"](ImageFile.open(made))
                row = {"n": number, "method": "metadata", "kind": kind, "word": answer.word}
                log.write(json.dumps(row | {"path": str(path), "details": answer.details}) + "\n")
            log.flush()


def summary(rows: list[dict[str, Any]]) -> None:
    """Print the rates by method and kind."""
    words: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        words[row["method"], row["kind"]][row["word"]] += 1
        if row["word"] == "supports" and (row["method"] == "grid" or row["kind"] == "as it is"):
            print("reported", row["method"], row["kind"], row["path"], row["details"])
    for (method, kind), counted in sorted(words.items()):
        judged = counted["supports"] + counted["no_support"]
        print(f"{method}, {kind}: {interval(counted['supports'], judged)}; asked {counted.total()}")
    grid = Counter(r["word"] for r in rows if r["method"] == "grid" and r["kind"] != "as it is")
    judged = grid["supports"] + grid["no_support"]
    print(f"grid, all edits: {interval(grid['supports'], judged)}; asked {grid.total()}")
    cameras = {r["path"] for r in rows}
    print("originals:", len(cameras))


def loop(luma: Any) -> Any:
    """Vote as the paper writes it: each block of each grid is transformed by itself."""
    height, width = luma.shape
    most, votes = np.full(luma.shape, -1, int), np.full(luma.shape, -1, int)
    for y in range(height - 7):
        for x in range(width - 7):
            block = luma[y : y + 8, x : x + 8]
            if (np.ptp(block, axis=0) == 0).all():
                continue
            zeros = int((np.abs(dctn(block, norm="ortho")).ravel()[1:] < 0.5).sum())
            area = most[y : y + 8, x : x + 8]
            where = votes[y : y + 8, x : x + 8]
            where[area == zeros] = -1
            where[area < zeros] = x % 8 + 8 * (y % 8)
            area[area < zeros] = zeros
    return votes


def cost(photo: Path) -> None:
    """Print CPU seconds on 12 megapixels, and the ratio to the loop."""
    pixels = decoded(photo.read_bytes())
    large = cv2.resize(pixels, (4000, 3000), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(decoded(jpeg(large, 90)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    start = time.process_time()
    jpeg_grid.find_foreign_grid(luma)
    print(f"12 MP: {time.process_time() - start:.2f} CPU s")
    small = np.ascontiguousarray(luma[:264, :392])
    start = time.process_time()
    slow = loop(small)
    middle = time.process_time()
    for _ in range(5):
        fast = jpeg_grid._votes(small)
    ours = (time.process_time() - middle) / 5
    inner = (slice(7, -7), slice(7, -7))
    same = (slow[inner] == fast[inner]).mean()
    print(f"{small.size / 1e6:.2f} MP: the loop takes {(middle - start) / ours:.0f} times as long; "
          f"{same:.4f} of the votes are the same")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["look", "sum", "cost"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--stop", type=int, default=1 << 30)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.what == "look":
        look(args.paths, args.output, args.skip, args.stop)
    elif args.what == "sum":
        summary([json.loads(line) for line in args.paths[0].read_text().splitlines()])
    else:
        cost(args.paths[0])


if __name__ == "__main__":
    main()
