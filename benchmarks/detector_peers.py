"""The shipped detector beside Tiny-LaDeDa: the same views of the same pictures, one run.

    python benchmarks/detector_peers.py TABLE --ladeda CHECKOUT [--most N]
    python benchmarks/detector_peers.py TABLE --ladeda CHECKOUT --folds FOLDER

TABLE as for `counterproof detectors evaluate`, of pictures that training never saw. CHECKOUT is
a clone of github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld at any place; its
licence allows research only, so nothing of it ships here. Its checkpoint WildRF is asked twice:
on the picture resized to 256 × 256 as its authors evaluate it, and on the view as it is. Its
repository does not say which gradient that checkpoint was trained with; `left_diag` fits its
batch statistics. Needs torch. Prints, for each delivery, the area of each scorer (mean over
sources, whole sources resampled), the difference to ours in the same resamples, and pictures a
second of process CPU time, decode apart.

With `--folds`, FOLDER is what `counterproof detectors train TABLE` wrote: ours are the scores by
models that saw no picture of the source, and the peer is asked about those very views.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors import measures
from counterproof.detectors.deliveries import SMALL, TREATMENTS, WHOLE, recompress
from counterproof.detectors.evaluation import bundled
from counterproof.detectors.gathering import open_picture, shards
from counterproof.detectors.samples import read, thinned
from counterproof.detectors.tiles import MIN_SIDE
from counterproof.errors import ImageError

DELIVERIES = ("as delivered", "native crop", "JPEG 70")
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
SPREAD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

Scorer = Callable[[Image.Image], float]


def tiny_ladeda(checkout: Path) -> tuple[Scorer, Scorer]:
    """Return the peer on resized pictures, and on pictures as they are."""
    file = checkout / "networks" / "Tiny_LaDeDa.py"
    spec = importlib.util.spec_from_file_location("tiny_ladeda", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise SystemExit(f"{file}: expected a checkout of Tiny-LaDeDa")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Bottleneck.expansion = 1  # as the checkpoint has it; the code says 4
    net = module.tiny_ladeda("left_diag", num_classes=1, pool=False)
    state = checkout / "weights" / "Tiny_LaDeDa" / "WildRF_Tiny_LaDeDa.pth"
    net.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
    net.eval()

    @torch.inference_mode()
    def native(image: Image.Image) -> float:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return float(net(((pixels - MEAN) / SPREAD)[None]).mean())

    def resized(image: Image.Image) -> float:
        return native(image.resize((256, 256), Image.Resampling.BILINEAR))

    return resized, native


def difference(
    ours: NDArray[Any], theirs: NDArray[Any], labels: NDArray[Any], sources: NDArray[Any]
) -> measures.Interval:
    """Return how much larger our area is, whole sources resampled, both on the same resample."""
    both = np.stack([ours, theirs], 1)

    def measure(places: NDArray[Any], flags: NDArray[Any], names: NDArray[Any]) -> float:
        own = both[places.astype(int)]
        areas = [measures.source_mean(own[:, i], flags, names) for i in (0, 1)]
        return areas[0] - areas[1]

    return measures.resampled(measure, np.arange(len(ours), dtype=float), labels, sources)


def on_folds(table: Path, folder: Path, resized: Scorer) -> None:
    """Ask the peer about the views on which held-out scores stand, and print both."""
    samples = read(table)
    lines = (folder / "held-out.jsonl").read_text(encoding="utf-8").splitlines()
    ours = {row["file"]: row["scores"] for row in map(json.loads, lines)}

    def ask(view: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([[resized(Image.fromarray(view))]], np.float32)

    parts = shards(samples, ask, folder / "peer", name="tiny-ladeda wildrf 256", told=print)
    asked = {
        (picture, delivery): value
        for part in parts
        for picture, delivery, value in zip(
            part.picture.tolist(), part.delivery.tolist(), part.values[:, 0].tolist(), strict=True
        )
    }
    for delivery, name in ((WHOLE[-1], "delivered at random"), (SMALL, "small crop")):
        pairs = [
            (ours[str(sample.path)][str(delivery)], asked[number, delivery], sample)
            for number, sample in enumerate(samples)
            if (number, delivery) in asked
            and ours.get(str(sample.path), {}).get(str(delivery)) is not None
        ]
        print_areas(
            name,
            {
                "held-out scores": np.array([own for own, _, _ in pairs]),
                "Tiny-LaDeDa WildRF, resized to 256": np.array([theirs for _, theirs, _ in pairs]),
            },
            np.array([sample.machine_made for _, _, sample in pairs]),
            np.array([sample.source for _, _, sample in pairs]),
        )


def print_areas(
    title: str, table: dict[str, NDArray[Any]], labels: NDArray[Any], sources: NDArray[Any]
) -> None:
    """Print the area of each scorer, ours first, and how much larger ours is."""
    ours = next(iter(table.values()))
    seen = np.isfinite(ours)
    flags, names = labels[seen], sources[seen]
    print(f"{title}: n {int((~flags).sum())} + {int(flags.sum())}")
    for name, column in table.items():
        own = column[seen]
        area = measures.resampled(measures.source_mean, own, flags, names)
        pooled = measures.roc_area(own[~flags], own[flags])
        line = f"  {name:<36} {area}  pooled {pooled:.3f}  TPR at 5 % FPR "
        line += f"{measures.true_positive_rate(own, flags, 0.05):.3f}"
        if column is not ours:
            line += f"  ours more by {difference(ours[seen], own, flags, names)}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--ladeda", type=Path, required=True, help="Its checkout.")
    parser.add_argument("--most", type=int, default=10**9, help="Pictures of each class.")
    parser.add_argument("--folds", type=Path, help="A folder that TABLE was trained into.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    resized, native = tiny_ladeda(options.ladeda)
    if options.folds:
        on_folds(options.table, options.folds, resized)
        return
    scorers: dict[str, Scorer] = {
        "shipped detector": bundled,
        "Tiny-LaDeDa WildRF, resized to 256": resized,
        "Tiny-LaDeDa WildRF, native size": native,
    }
    seconds = dict.fromkeys(scorers, 0.0)
    scores: dict[tuple[str, str], list[float]] = {
        (delivery, name): [] for delivery in DELIVERIES for name in scorers
    }
    kept = []
    for sample in thinned(read(options.table), options.most):
        try:
            picture = recompress(open_picture(sample.path), 93, chroma=0)
        except (ImageError, OSError):
            continue
        kept.append(sample)
        for delivery in DELIVERIES:
            view = TREATMENTS[delivery](picture)
            for name, scorer in scorers.items():
                started = time.process_time()
                small = min(view.size) < MIN_SIDE
                scores[delivery, name].append(float("nan") if small else scorer(view))
                seconds[name] += time.process_time() - started
    labels = np.array([sample.machine_made for sample in kept])
    sources = np.array([sample.source for sample in kept])
    for delivery in DELIVERIES:
        columns = {name: np.array(scores[delivery, name]) for name in scorers}
        print_areas(delivery, columns, labels, sources)
    views = len(kept) * len(DELIVERIES)
    for name, spent in seconds.items():
        print(f"{name:<38} {views / spent:.1f} views a CPU second, decode apart")


if __name__ == "__main__":
    main()
