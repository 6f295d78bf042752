"""What the bundled models can do: distances to held-out pictures, speed, the codec against others.

    OMP_NUM_THREADS=1 python benchmarks/generators.py quality DATA
    OMP_NUM_THREADS=1 python benchmarks/generators.py codec DATA
    OMP_NUM_THREADS=1 python benchmarks/generators.py compress DATA DIR
    OMP_NUM_THREADS=1 python benchmarks/generators.py decode DIR THREADS OUT.npy
    OMP_NUM_THREADS=1 python benchmarks/generators.py speed
    OMP_NUM_THREADS=1 python benchmarks/generators.py training DATA

DATA is the folder of the training pictures; only those held out are compared with. The interval
of a distance is that of 20 halves of the samples drawn at random, scaled to the full number.
`decode` says what files of `compress` decode to: run it in several environments and compare.
"""

import hashlib
import io
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterproof import generators
from counterproof.errors import WeightsError
from counterproof.generators.codec import BLOCK, open_codec, read_header
from counterproof.generators.codec_entropy import decode_latents
from counterproof.generators.dataset import load_pictures
from counterproof.generators.metrics import features, frechet_distance, measure
from counterproof.generators.sampling import BUNDLED, Sampler, open_sampler

SAMPLES = 3047
CLASSIC = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}}
QUALITIES = (1, 3, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90)


def bundled() -> list[Sampler]:
    found = []
    for name in BUNDLED:
        try:
            found.append(open_sampler(name))
        except WeightsError as err:
            print(f"{name}: {err}", file=sys.stderr)
    return found


def quality(data: str) -> None:
    pictures = load_pictures(data, 64)
    trained, _ = pictures.train()
    held, labels = pictures.held_out()
    theirs, _ = features(held)
    rng = np.random.default_rng(0)
    for sampler in bundled():
        made, wanted = sampler.sample(SAMPLES, 0), sampler.labels(SAMPLES, 0)
        ours, _ = features(made)
        halves = [
            frechet_distance(ours[rng.choice(SAMPLES, SAMPLES // 2, replace=False)], theirs)
            for _ in range(20)
        ]
        width = 1.96 * float(np.std(halves)) / np.sqrt(2)
        result = measure(made, None if (wanted < 0).any() else wanted, trained, held, labels)
        print(
            f"{sampler.name} {sampler.version}: {result}, Frechet ± {width:.2f}, "
            f"each class asked for in turn: {named(sampler):.3f} named"
        )


def named(sampler: Sampler) -> float:
    """Return how often the feature net names the class asked for, each by its share."""
    right = total = 0
    for number, (name, share) in enumerate(
        zip(sampler.facts.classes, sampler.facts.shares, strict=True)
    ):
        count = max(1, round(share * SAMPLES))
        _, logits = features(sampler.sample(count, 1, name))
        right, total = right + int((logits.argmax(1) == number).sum()), total + count
    return right / total


def speed() -> None:
    for sampler in bundled():
        for batch in (1, 16):
            times = []
            for _ in range(9):
                start = time.process_time()
                sampler.sample(batch, 0)
                times.append(1e3 * (time.process_time() - start) / batch)
            print(f"{sampler.name}: {np.median(times):.2f} ms an image, batch {batch}")


def training(data: str) -> None:
    """Print pictures a CPU second of 16 steps after a warm-up, in both precisions."""
    import tempfile

    from counterproof.generators.config import GanConfig, StyleganConfig, VaeConfig
    from counterproof.generators.training import PRECISIONS, Run, train

    pictures = load_pictures(data, 64)
    configs = (GanConfig(classes=10), StyleganConfig(classes=10), VaeConfig())
    for config in configs:
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                begun: list[float] = []
                run = Run(Path(folder), precision=precision, images=24 * config.batch)

                def notice(progress: Any, logged: Any, average: Any, begun: Any = begun) -> None:
                    begun.append(progress.seconds)

                train(config, pictures, run, notice)
            rate = 16 * config.batch / (begun[23] - begun[7])
            print(f"{type(config).__name__} {precision}: {rate:.0f} pictures a CPU second")


def codec(data: str) -> None:
    model = open_codec()
    held, _ = load_pictures(data, 64).held_out()
    held = held[:160]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for step in range(model.qualities):
        files = [model.compress(picture, step) for picture in held]
        back = [model.decompress(data) for data in files]
        for file, picture in zip(files[:16], held, strict=False):
            shape = (picture.shape[0] // BLOCK, picture.shape[1] // BLOCK)
            read = decode_latents(file[14:-4], model.tables, step, shape)
            assert np.array_equal(read, model.latents(picture, step))
        size = float(np.mean([len(file) for file in files]))
        rows.setdefault("own", []).append((decibels(held, back), size, size - 18))
    for kind, options in CLASSIC.items():
        for step in QUALITIES:
            sizes, payload, back = [], [], []
            for picture in held:
                out = io.BytesIO()
                Image.fromarray(picture).save(out, kind, quality=step, **options)
                file = out.getvalue()
                sizes.append(len(file))
                start = file.index(b"\xff\xda") + 14 if kind == "JPEG" else 30
                payload.append(len(file) - start)
                back.append(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))
            row = (decibels(held, back), float(np.mean(sizes)), float(np.mean(payload)))
            rows.setdefault(kind, []).append(row)
    print(f"n = {len(held)} held out, 64 px; ratios at equal PSNR, whole file / payload")
    for step, (level, size, payload) in enumerate(rows["own"]):
        said = []
        for kind in CLASSIC:
            other = sorted(rows[kind])
            ratios = [
                np.exp(np.interp(level, [r[0] for r in other], np.log([r[k] for r in other]),
                                 np.nan, np.nan)) / own
                for k, own in ((1, size), (2, payload))
            ]  # fmt: skip
            said.append(f"{kind} {ratios[0]:.2f} / {ratios[1]:.2f}")
        print(
            f"q{step}: {size:.0f} B, {8 * size / 4096:.2f} bpp, {level:.2f} dB; " + ", ".join(said)
        )


def compress(data: str, folder: str) -> None:
    """Write files of 40 held-out pictures at each quality."""
    held, _ = load_pictures(data, 64).held_out()
    model, out = open_codec(), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for step in range(model.qualities):
        for number, picture in enumerate(held[:40]):
            (out / f"{step}-{number:03d}.cpi").write_bytes(model.compress(picture, step))


def decode(folder: str, threads: str, out: str) -> None:
    """Print a digest of the latents of all files, and keep the pictures."""
    import onnxruntime

    model, total, pictures = open_codec(), hashlib.sha256(), []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    weights = Path(generators.__path__[0]) / "weights" / "codec.onnx"
    model.decoder = onnxruntime.InferenceSession(str(weights), options)
    for path in sorted(Path(folder).glob("*.cpi")):
        file = path.read_bytes()
        head = read_header(file)
        shape = (-(-head.height // BLOCK), -(-head.width // BLOCK))
        latents = decode_latents(file[14:-4], model.tables, head.quality, shape)
        total.update(latents.astype("<i4").tobytes())
        pictures.append(model.decompress(file))
    np.save(out, np.stack(pictures))
    versions = (np.__version__, onnxruntime.__version__, version("constriction"))
    print(
        f"{len(pictures)} files, numpy {versions[0]}, onnxruntime {versions[1]}, constriction "
        f"{versions[2]}, {threads} threads: latents {total.hexdigest()[:16]}"
    )


def decibels(known: Any, made: list[Any]) -> float:
    errors = ((known.astype(float) - np.stack(made)) ** 2).mean((1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["speed"]:
        speed()
    elif sys.argv[1:2] == ["compress"] and len(sys.argv) == 4:
        compress(*sys.argv[2:])
    elif sys.argv[1:2] == ["decode"] and len(sys.argv) == 5:
        decode(*sys.argv[2:])
    elif len(sys.argv) == 3 and sys.argv[1] in ("quality", "codec", "training"):
        {"quality": quality, "codec": codec, "training": training}[sys.argv[1]](sys.argv[2])
    else:
        sys.exit(__doc__)
