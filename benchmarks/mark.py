"""What marking costs: process CPU time, one thread, per picture and layer; bytes added.

    python benchmarks/mark.py

Pictures are made for the run: a smooth scene with noise, coded as a camera or a generator would.
Each row is the median of the rounds. `check` is the decoding that every marked picture goes
through first; `sign` is labels and signature without a pixel layer; `all` adds the watermark,
which codes the file once more and reads the mark back.
"""

import io
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from counterproof import __version__
from counterproof.images import ImageFile
from counterproof.provenance.keys import find_identity, init_identity
from counterproof.provenance.mark import mark
from counterproof.settings import Settings

SIZES = {"0.4 MP": (768, 512), "2.4 MP": (1920, 1280), "12 MP": (4000, 3000)}
FORMATS = {"JPEG": {"quality": 90}, "PNG": {}, "WEBP": {"quality": 90}}
ROUNDS = 5


def picture(size: tuple[int, int], fmt: str, **options: int) -> bytes:
    """Make one picture."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    base = 127 + 60 * np.sin(x / 97) + 40 * np.cos(y / 71)
    noisy = base[..., None] + rng.normal(0, 4, (*base.shape, 3))
    out = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, fmt, **options)
    return out.getvalue()


def cost(call: Callable[[], object]) -> float:
    """Median CPU milliseconds of a call."""
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def main() -> None:
    """Print one table."""
    print(f"counterproof {__version__}, Python {platform.python_version()}, {ROUNDS} rounds\n")
    print("| picture | MB | check ms | sign ms | all ms | bytes added |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        init_identity(settings.home, "Example Press")
        signer = find_identity(settings, {})

        def marked(data: bytes, watermark: bool) -> bytes:
            made = mark(data, "generated", settings=settings, signer=signer, watermark=watermark)
            return bytes(made.data)

        for size_name, size in SIZES.items():
            for fmt, options in FORMATS.items():
                data = picture(size, fmt, **options)
                check = cost(lambda data=data: ImageFile.open(data).pixels(256))  # type: ignore[misc]
                plain = cost(lambda data=data: marked(data, False))  # type: ignore[misc]
                full = cost(lambda data=data: marked(data, True))  # type: ignore[misc]
                added = len(marked(data, False)) - len(data)
                size_mb = len(data) / 1e6
                print(
                    f"| {fmt} {size_name} | {size_mb:.1f} | {check:.0f} | {plain:.0f} | "
                    f"{full:.0f} | {added:,} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
