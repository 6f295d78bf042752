"""What hashing a picture costs, as multiples of the speed of a full decode by Pillow.

    python benchmarks/hashing.py PHOTOS --most 24

PHOTOS is a folder of JPEG files as cameras write them. Every method opens each file anew, in turn,
in one process; process CPU time, one thread. `imagehash` and `imagededup` read the file as their
own documentation shows. Peers that are not installed are left out.
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from counterproof.audit.pdq import READ_SIDE, pdq
from counterproof.images import ImageFile
from counterproof.perceptual import SMALL_SIDE, dct256, detail, square


def decode(data: bytes) -> None:
    Image.open(io.BytesIO(data)).convert("RGB").load()


def own(data: bytes) -> None:
    grey = square(ImageFile.open(data).luminance(SMALL_SIDE))
    dct256(grey)
    detail(grey)


def own_pdq(data: bytes) -> None:
    pdq(ImageFile.open(data).pixels(READ_SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--most", type=int, default=24)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    methods: dict[str, Callable[[bytes], object]] = {
        "Pillow, full decode": decode,
        "hash of 256 bits and detail": own,
        "PDQ, as `index search` reads it": own_pdq,
    }
    with contextlib.suppress(ImportError):
        import imagehash

        methods["imagehash.phash"] = lambda d: imagehash.phash(Image.open(io.BytesIO(d)))
    with contextlib.suppress(ImportError):
        from imagededup.methods import PHash

        hasher = PHash(verbose=False)
        methods["imagededup PHash, array"] = lambda d: hasher.encode_image(
            image_array=np.asarray(Image.open(io.BytesIO(d)).convert("RGB"))
        )
    files = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    spent = dict.fromkeys(methods, 0.0)
    pixels = n = 0
    for path in files:
        data = path.read_bytes()
        try:
            size = Image.open(io.BytesIO(data)).size
            own(data), decode(data)  # what cannot be read is left out, what is read is warm
        except Exception as err:
            print(path, err)
            continue
        if size[0] * size[1] < 1_000_000:
            continue
        for name, method in methods.items():
            before = time.process_time()
            method(data)
            spent[name] += time.process_time() - before
        pixels += size[0] * size[1]
        n += 1
        if n == args.most:
            break
    print(f"{n} files, {pixels / 1e6:.0f} megapixels")
    for name, value in spent.items():
        ratio = spent["Pillow, full decode"] / value
        print(f"{name}: {1000 * value / n:.1f} CPU-ms a file, {ratio:.2f} times Pillow's speed")


if __name__ == "__main__":
    main()
