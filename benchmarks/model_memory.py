"""Small models that memorise, partly or not: does the audit of a model tell which?

    python benchmarks/model_memory.py PICTURES --work FOLDER

PICTURES is a folder of distinct pictures; they are used at 32 pixels. For each of five seeds a VAE
and a GAN of this project are trained three times, alike but for the pictures: on a dozen (they
memorise), on six that are repeated until they are four fifths of the training set beside 48 others
(they memorise in part, and the GAN trains longer and more gently), and on 300 (they do not; with
`--long` a GAN of any kind trains as long as that one). The audit sees 100 outputs, the training
folder and 60 pictures that none has seen. Right is *found*, *found*, and not *found*. FOLDER keeps
models' outputs and answers; a run that was stopped goes on. `--set` draws other pictures. Settings
were chosen on set 1; how GANs train until they do memorise, on sets 0, 2 and 3.
"""

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from counterproof.audit.model_answers import clopper_pearson
from counterproof.audit.model_audit import audit_model
from counterproof.generators.config import GanConfig, VaeConfig
from counterproof.generators.dataset import Pictures
from counterproof.generators.training import Run, train
from counterproof.settings import Settings

SIDE = 32
OUTPUTS = 100
CONFIGS: dict[str, VaeConfig | GanConfig] = {
    "vae": VaeConfig(
        size=SIDE,
        latent=2,
        channels=(16, 32, 64),
        batch=16,
        images=26_000,
        rate=1.5e-3,
        shift=0,
        critic_from=0,
        average_images=500,
    ),
    "gan": GanConfig(
        size=SIDE,
        latent=8,
        channels=(48, 32, 16),
        batch=8,
        images=40_000,
        rate=1e-3,
        critic_rate=1e-3,
        penalty=0.1,
        penalty_every=16,
        augment_target=0.0,
        average_images=1_000,
    ),
}
LONG = replace(CONFIGS["gan"], images=100_000, rate=5e-4, critic_rate=5e-4, penalty=0.3)
"""For the GAN that memorises in part: three minutes of CPU."""

LEVELS = {"memorises": True, "partly": True, "does not": False}


def training_set(level: str, files: list[Path]) -> list[Path]:
    """Return the files of a training set, repeated ones many times."""
    if level == "memorises":
        return files[:12]
    if level == "partly":
        return [*files[:6] * 32, *files[6:54]]
    return files[:300]


def read(path: Path) -> np.ndarray:
    picture = cv2.resize(cv2.imread(str(path)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(picture)


def write(folder: Path, pictures: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture)


def train_and_draw(
    family: str, level: str, pictures: list[np.ndarray], out: Path, seed: int, *, long: bool
) -> list[np.ndarray]:
    """Train a model; return its output."""
    table = np.stack(pictures)[..., ::-1].copy()
    count = len(table)
    data = Pictures(
        table, np.zeros(count, np.int64), np.zeros(count, bool), ("all",), f"{level}{seed}", ()
    )
    config = LONG if family == "gan" and (long or level == "partly") else CONFIGS[family]
    net = train(config, data, Run(out, seed=seed, precision="float32"))
    with torch.no_grad():
        z = torch.randn(OUTPUTS, config.latent, generator=torch.Generator().manual_seed(seed))
        made = net(z) if family == "vae" else net(z, torch.zeros(OUTPUTS, 0))
    pixels = ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return list(pixels[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder that is kept")
    parser.add_argument("--set", type=int, default=0, dest="number")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--families", nargs="*", default=["vae", "gan"])
    parser.add_argument("--levels", nargs="*", default=list(LEVELS))
    parser.add_argument("--long", action="store_true", help="every GAN trains as the partly one")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(p for p in args.pictures.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    random.Random(args.number).shuffle(files)
    unseen, files = files[:60], files[60:]
    kept = args.work / "answers.jsonl"
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "unseen").exists():
        write(args.work / "unseen", [read(path) for path in unseen])
    said = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["family"], row["level"], row["seed"]) for row in said}
    for seed in range(args.seeds):
        for family in args.families:
            for level in args.levels:
                if (family, level, seed) in done:
                    continue
                place = args.work / f"{family}-{level.replace(' ', '-')}-{seed}"
                before = time.process_time()
                pictures = [read(path) for path in training_set(level, files[300 * seed :])]
                write(place / "training", pictures)
                made = train_and_draw(
                    family, level, pictures, place / "model", seed, long=args.long
                )
                write(place / "generated", made)
                trained = time.process_time() - before
                found = audit_model(
                    place / "generated",
                    place / "training",
                    args.work / "unseen",
                    settings=Settings(home=args.work / "home"),
                )
                head = found.answers[0]
                row = {
                    "family": family,
                    "level": level,
                    "seed": seed,
                    "answer": head.answer,
                    "k": head.k,
                    "n": head.n,
                    "held": found.answers[2].k,
                    "closest": [r.details["agreement"] for r in found.relations[:3]],
                    "by": sorted({r.details["by"] for r in found.relations}),
                    "trained_s": round(trained),
                    "audit_s": round(time.process_time() - before - trained),
                }
                print(json.dumps(row), flush=True)
                said.append(row)
                with kept.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    for family in args.families:
        for level, copies in LEVELS.items():
            answers = [r for r in said if (r["family"], r["level"]) == (family, level)]
            right = sum((r["answer"] == "found") == copies for r in answers)
            low, high = clopper_pearson(right, len(answers))
            shares = [f"{r['k']}/{r['n']}" for r in answers]
            print(
                f"{family}, {level}: right {right} of {len(answers)} [{low:.2f}, {high:.2f}]",
                *shares,
            )


if __name__ == "__main__":
    main()
