"""What limits the shipped detector: curves over sources and pictures, parts left out, fold draws.

    python benchmarks/detector_ablations.py TABLE FOLDER [-o RESULT.json]

TABLE and FOLDER as of `counterproof detectors train TABLE -o FOLDER`: the features that the frozen
network made there are read, nothing is run over pictures again. Only heads are fitted, on the mean
of each view's features, which takes seconds; so figures lie a little below those of the whole
recipe. Each is the mean over held-out sources of the area under the ROC curve, five folds of whole
sources, pictures as found and delivered once.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors import finetune, measures
from counterproof.detectors.features import PARTS, WIDTH, TileTable
from counterproof.detectors.head import fit_tiles, picture_scores
from counterproof.detectors.samples import Sample, balance, folds, read
from counterproof.detectors.training import DELIVERIES, WHOLE

Chosen = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Views:
    """Mean features of each view of each picture."""

    samples: Sequence[Sample]
    table: TileTable

    def areas(
        self, chosen: Chosen, *, seed: int = 0, columns: slice = slice(0, WIDTH), most: int = 9
    ) -> tuple[float, float]:
        """Return area whole and of small crops, each picture scored without its source.

        Args:
            chosen: takes the pictures that may be trained on, and chance; returns some of them.
            seed: of the folds and of chance.
            columns: features that are used.
            most: deliveries of a picture that are trained on.
        """
        labels = np.array([sample.machine_made for sample in self.samples])
        sources = np.array([sample.source for sample in self.samples])
        fold = folds(self.samples, 5, seed)
        scores = np.full((len(DELIVERIES), len(self.samples)), np.nan)
        for turn in range(5):
            kept = chosen(np.flatnonzero(fold != turn), np.random.default_rng([seed, turn]))
            given = np.zeros(len(self.samples))
            given[kept] = balance([self.samples[i] for i in kept.tolist()])
            rows = self.table.delivery < most
            part = TileTable(
                self.table.features[rows, columns],
                self.table.picture[rows],
                self.table.delivery[rows],
            )
            weight, bias = fit_tiles(part, labels, given)
            held = np.flatnonzero(fold == turn)
            own = TileTable(
                self.table.features[:, columns], self.table.picture, self.table.delivery
            )
            for number in range(len(DELIVERIES)):
                found = picture_scores(own, len(labels), weight, bias, number)
                scores[number, held] = found[held]
        whole, small = scores[list(WHOLE)].mean(0), scores[3]
        return _area(whole, labels, sources), _area(small, labels, sources)


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
    given = parser.parse_args()
    samples = read(given.table)
    views = Views(samples, _means(finetune.gather(samples, given.folder / "features", 0).table))
    rows: list[dict[str, object]] = []

    def say(name: str, found: list[tuple[float, float]]) -> None:
        whole, small = np.array(found).T
        row = {
            "name": name, "draws": len(found), "whole": float(whole.mean()),
            "whole_low": float(whole.min()), "whole_high": float(whole.max()),
            "crops": float(small.mean()),
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:<44} whole {whole.mean():.3f} [{whole.min():.3f}, {whole.max():.3f}]"
            f"  crops {small.mean():.3f}  {len(found)} draws",
            flush=True,
        )

    draws = range(given.draws)
    for seed in draws:
        say(f"everything, fold draw {seed}", [views.areas(everything, seed=seed)])
    for count in (1, 2, 4, 8, 16):
        few = of_sources(samples, True, count)
        say(f"{count} machine-made sources", [views.areas(few, seed=seed) for seed in draws])
    for count in (4, 8, 16, 32):
        few = of_sources(samples, False, count)
        say(f"{count} sources of photographs", [views.areas(few, seed=seed) for seed in draws])
    for share in (0.05, 0.1, 0.25, 0.5):
        part = of_share(samples, share)
        say(f"{share:.0%} of each source", [views.areas(part, seed=seed) for seed in draws])
    start = 0
    for name, width in PARTS.items():
        columns = slice(start, start + width)
        say(f"only {name}", [views.areas(everything, columns=columns, seed=seed) for seed in draws])
        start += width
    columns = slice(0, WIDTH - PARTS["whole"])
    for seed in draws:
        found = views.areas(everything, columns=columns, seed=seed)
        say(f"all but the last layer, fold draw {seed}", [found])
    say("trained on pictures as found only", [views.areas(everything, most=1)])
    say("as found and delivered once", [views.areas(everything, most=2)])
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _means(table: TileTable) -> TileTable:
    """Average the tiles of each view."""
    key = table.picture * len(DELIVERIES) + table.delivery
    views, place = np.unique(key, return_inverse=True)
    sums = np.zeros((len(views), WIDTH), np.float32)
    np.add.at(sums, place, table.features.astype(np.float32))
    means = sums / np.bincount(place)[:, None]
    return TileTable(means.astype(np.float16), views // len(DELIVERIES), views % len(DELIVERIES))


if __name__ == "__main__":
    main()
