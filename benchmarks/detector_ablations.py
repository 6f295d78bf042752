"""What limits the shipped detector: curves over sources and pictures, parts left out, fold draws.

    python benchmarks/detector_ablations.py TABLE FOLDER [-o RESULT.json] [--only TEXT]…

TABLE and FOLDER as of `counterproof detectors train TABLE -o FOLDER`: what was made of the pictures
there is read, nothing is run over them again. Each figure is the mean over held-out sources of the
area under the ROC curve, five folds of whole sources, pictures as found and delivered once; of the
head on the network alone, unless the line says otherwise.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import measures
from counterproof.detectors.deliveries import DELIVERIES, SMALL, WHOLE
from counterproof.detectors.features import PARTS, WIDTH
from counterproof.detectors.gathering import Rows
from counterproof.detectors.head import PENALTY, SCALE, fit_rows
from counterproof.detectors.held_out import held_out_rows
from counterproof.detectors.recipes import SHARE, described_twice
from counterproof.detectors.samples import Sample, balance, folds, read
from counterproof.detectors.spectral import Spectral
from counterproof.detectors.training import Recipe

Chosen = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Views:
    """Features and spectral numbers of each view of each picture."""

    samples: Sequence[Sample]
    features: Rows
    numbers: Rows

    def areas(
        self,
        chosen: Chosen,
        *,
        seed: int = 0,
        columns: slice = slice(0, WIDTH),
        most: int = 9,
        power: float = 0.0,
        scale: NDArray[Any] | float = SCALE,
        penalty: float = PENALTY,
        share: float = 0.0,
    ) -> tuple[float, float, float]:
        """Return area whole, TPR at 5 % FPR whole, and area of small crops.

        Each picture is scored without its source.

        Args:
            chosen: takes the pictures that may be trained on, and chance; returns some of them.
            seed: of the folds and of chance.
            columns: features that are used.
            most: deliveries of a picture that are trained on.
            power: see `samples.balance`.
            scale: see `head.fit_rows`, of all features.
            penalty: see `head.fit_rows`.
            share: what a spectral logit counts beside one of the network.
        """
        labels = np.array([sample.machine_made for sample in self.samples])
        sources = np.array([sample.source for sample in self.samples])
        fold = folds(self.samples, 5, seed)
        scores = np.full((len(DELIVERIES), len(self.samples)), np.nan)
        picture, delivery = self.features.picture, self.features.delivery
        own = scale[columns] if isinstance(scale, np.ndarray) else scale
        for turn in range(5):
            kept = chosen(np.flatnonzero(fold != turn), np.random.default_rng([seed, turn]))
            given = np.zeros(len(self.samples))
            given[kept] = balance([self.samples[i] for i in kept.tolist()], power)
            used = (given[picture] > 0) & (delivery < most)
            counts = np.bincount(picture[used], minlength=len(labels)).clip(1)
            weights = given[picture] / counts[picture]
            weight, bias = fit_rows(
                self.features.values[used, columns],
                labels[picture[used]],
                weights[used],
                penalty=penalty,
                scale=own,
            )
            held = np.flatnonzero(fold[picture] == turn)
            found = self.features.values[held, columns] @ weight + bias
            scores[delivery[held], picture[held]] = found
        if share:
            recipe = Recipe(seed=seed)
            added = held_out_rows(self.numbers, self.samples, recipe, Spectral)
            scores += share * np.stack([added[number] for number in range(len(DELIVERIES))])
        whole, small = scores[list(WHOLE)].mean(0), scores[SMALL]
        seen = np.isfinite(whole)
        reached = measures.true_positive_rate(whole[seen], labels[seen], 0.05)
        return _area(whole, labels, sources), reached, _area(small, labels, sources)


def _area(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], sources: NDArray[np.str_]
) -> float:
    seen = np.isfinite(scores)
    return measures.source_mean(scores[seen], labels[seen], sources[seen])


def of_sources(samples: Sequence[Sample], machine_made: bool, count: int) -> Chosen:
    """Keep all of the other class, and the pictures of `count` sources of this one."""

    def chosen(may: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        names = sorted({samples[i].source for i in may if samples[i].machine_made is machine_made})
        taken = set(rng.permutation(names)[:count].tolist())
        keep = [
            i
            for i in may
            if samples[i].machine_made is not machine_made or samples[i].source in taken
        ]
        return np.array(keep)

    return chosen


def of_share(samples: Sequence[Sample], share: float) -> Chosen:
    """Keep a share of the pictures of each source, at least one."""

    def chosen(may: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        groups: dict[tuple[bool, str], list[int]] = {}
        for i in may.tolist():
            groups.setdefault((samples[i].machine_made, samples[i].source), []).append(i)
        keep: list[int] = []
        for own in groups.values():
            keep += rng.permutation(own)[: max(1, round(share * len(own)))].tolist()
        return np.array(sorted(keep))

    return chosen


def everything(may: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Keep all that may be trained on."""
    del rng
    return may


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=3, help="of sources, pictures and folds")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", action="append", help="lines that contain this; can be repeated")
    given = parser.parse_args()
    samples = read(given.table)
    shown = Views(samples, *described_twice(samples, given.folder, Recipe(), print))
    rows: list[dict[str, object]] = []
    draws = range(given.draws)

    def say(name: str, chosen: Chosen = everything, **how: Any) -> None:
        if given.only and not any(text in name for text in given.only):
            return
        found = [shown.areas(chosen, **{"seed": seed, **how}) for seed in draws]
        whole, reached, small = np.array(found).T
        row = {
            "name": name, "draws": len(found), "whole": float(whole.mean()),
            "whole_low": float(whole.min()), "whole_high": float(whole.max()),
            "found_at_5": float(reached.mean()), "crops": float(small.mean()),
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:<44} whole {whole.mean():.3f} ({whole.min():.3f}-{whole.max():.3f})"
            f"  TPR {reached.mean():.3f}  crops {small.mean():.3f}  {len(found)} draws",
            flush=True,
        )

    say("everything")
    for share in (0.3, SHARE, 0.8):
        say(f"with the spectral detector, {share} to 1", share=share)
    say("sources by the root of their size", power=0.5)
    say("depths by their width", scale=1.0)
    say("both, and a fifth of the penalty", power=0.5, scale=1.0, penalty=3e-3)
    for penalty in (PENALTY * 3, PENALTY / 3):
        say(f"penalty {penalty:.3f}", penalty=penalty)
    for count in (1, 2, 4, 8, 16):
        say(f"{count} machine-made sources", of_sources(samples, True, count))
    for count in (4, 8, 16, 32):
        say(f"{count} sources of photographs", of_sources(samples, False, count))
    for part in (0.05, 0.1, 0.25, 0.5):
        say(f"{part:.0%} of each source", of_share(samples, part))
    start = 0
    for name, width in PARTS.items():
        say(f"only {name}", columns=slice(start, start + width))
        start += width
    say("all but the last layer", columns=slice(0, WIDTH - PARTS["whole"]))
    say("trained on pictures as found only", most=1)
    say("as found and delivered once", most=2)
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
