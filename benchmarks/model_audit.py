"""How often an audit of a model says *found* with planted copies, and without.

    python benchmarks/model_audit.py PICTURES --side 64 --rounds 20

PICTURES is a folder of distinct pictures. Each round draws a training set, a holdout and 450
outputs from it. Outputs are pictures that are in neither, the output of a perfect generator,
with or without two changed training pictures among them (JPEG, colour, crop, mirror).
"""

import argparse
import random
import tempfile
from pathlib import Path

import cv2
import numpy as np

from counterproof.audit.model_audit import audit_model, clopper_pearson
from counterproof.settings import Settings

KINDS = ("jpeg", "colour", "crop", "mirror")


def change(picture: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    """Return a copy and the JPEG quality that it is saved with."""
    height, width = picture.shape[:2]
    if kind == "jpeg":
        return picture, 20
    if kind == "colour":
        bright = np.clip(255 * (picture / 255.0) ** 0.7 * [1.1, 1.0, 0.95], 0, 255)
        return bright.astype(np.uint8), 85
    if kind == "crop":
        y, x = round(height * 0.05), round(width * 0.05)
        return picture[y : height - y, x : width - x], 85
    return np.ascontiguousarray(picture[:, ::-1]), 85


def write(folder: Path, pictures: list[np.ndarray], quality: int = 92) -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:04d}.jpg"), picture, [1, quality])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--outputs", type=int, default=450)
    parser.add_argument("--training", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(p for p in args.pictures.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    loaded = [a for p in files if (a := cv2.imread(str(p))) is not None]
    size = (args.side, args.side)
    table = [cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in loaded]
    tally: dict[str, list[bool]] = {kind: [] for kind in (*KINDS, "clean")}
    for number in range(args.rounds):
        rng = random.Random(args.seed + number)
        deal = rng.sample(table, args.training + 2 * args.outputs)
        training, rest = deal[: args.training], deal[args.training :]
        holdout, clean = rest[: args.outputs], rest[args.outputs :]
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            write(root / "training", training)
            write(root / "holdout", holdout)
            for kind in tally:
                folder = root / kind
                write(folder, clean if kind == "clean" else clean[:-2])
                if kind != "clean":
                    for i, picture in enumerate(rng.sample(training, 2)):
                        copy, quality = change(picture, kind)
                        cv2.imwrite(str(folder / f"copy{i}.jpg"), copy, [1, quality])
                settings = Settings(home=root / "home")
                found = audit_model(folder, root / "training", root / "holdout", settings=settings)
                head = found.answers[0]
                tally[kind].append(head.answer == "found")
                said = head.details.get("holdout_k", 0)
                print(number, kind, head.answer, head.k, "holdout", said, flush=True)
                for relation in found.relations[:4]:
                    d = relation.details
                    print(
                        "  ",
                        Path(d["generated"]).name,
                        Path(d["training"]).name,
                        d["by"],
                        d.get("distance_bits"),
                        d.get("inliers"),
                        d.get("relative_distance"),
                    )
    for kind, said in tally.items():
        k, n = sum(said), len(said)
        low, high = clopper_pearson(k, n)
        print(f"{kind}: found {k} of {n} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
