"""Trains the upper half of the network on what its frozen lower half made of each tile.

The start is the frozen network with the head that `head.fit_rows` fits to it, so that the
first step is already as good as that; in the end the weights go halfway back to that start,
which holds up better on sources that training never saw. Sources: Kumar et al., Fine-Tuning can
Distort Pretrained Features, arXiv 2202.10054, for the order, head first; Wortsman et al., Robust
fine-tuning of zero-shot models, arXiv 2109.01903, for the way back.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional

from counterproof.detectors.deliveries import DELIVERIES
from counterproof.detectors.features import TILES, WIDTH, LinearHead
from counterproof.detectors.gathering import Rows, joined, shards
from counterproof.detectors.head import PENALTY, SCALE, fit_rows
from counterproof.detectors.lite0 import KEPT_SHAPE, KEPT_WIDTH, Lite0, pretrained, to_onnx
from counterproof.detectors.samples import Sample, balance
from counterproof.detectors.tiles import cut

__all__ = ["Kept", "Tuned", "Tuner", "Tuning", "gather", "means"]

BATCH = 64
"""Tiles that are worked out at once where nothing is learnt."""

USUAL = 1_000
"""Tiles whose mean features are the usual tile that an explanation compares with."""

Told = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the frozen network made of the tiles of labelled pictures.

    Attributes:
        table: all its features.
        activations: of the lower half, `float16`, each row of shape `KEPT_SHAPE` or flat, mapped
            from files, in the order of `table`.
    """

    table: Rows
    activations: Sequence[NDArray[np.float16]]

    def rows(self, wanted: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return activations and lower features of the wanted rows, `float32`."""
        ends = np.cumsum([len(part) for part in self.activations])
        part = np.searchsorted(ends, wanted, "right")
        first = np.concatenate([[0], ends])[part]
        x = np.stack([self.activations[p][i] for p, i in zip(part, wanted - first, strict=True)])
        x = x.reshape(len(wanted), *KEPT_SHAPE)
        below = self.table.values[wanted, :KEPT_WIDTH]
        return torch.from_numpy(x).float(), torch.from_numpy(below).float()


def gather(
    samples: Sequence[Sample], folder: Path, seed: int, *, told: Told = lambda text: None
) -> Kept:
    """Run the frozen network over all samples, making only what the folder lacks.

    About 15 ms of CPU and 35 kB a tile.

    Args:
        samples: pictures.
        folder: see `gathering.shards`.
        seed: of the deliveries.
        told: gets a line for each part, and for each picture that cannot be read.
    """
    network = pretrained()

    def describe(view: NDArray[np.uint8]) -> NDArray[np.float16]:
        with torch.no_grad():
            x, below = network.lower(torch.from_numpy(cut(view, TILES).pixels))
            row = torch.cat([network.upper(x, below), x.flatten(1)], 1)
        return row.numpy().astype(np.float16)

    parts = [
        part
        for part in shards(samples, describe, folder, name="lite0 halves", seed=seed, told=told)
        if len(part.picture)
    ]
    table = joined([replace(part, values=part.values[:, :WIDTH]) for part in parts])
    return Kept(table, [part.values[:, WIDTH:] for part in parts])


def means(table: Rows, chosen: Sequence[int]) -> Rows:
    """Return the mean of the tiles of each view of chosen pictures, `float32`."""
    rows = np.flatnonzero(np.isin(table.picture, chosen))
    key = table.picture[rows] * len(DELIVERIES) + table.delivery[rows]
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), table.values.shape[1]), np.float32)
    for start in range(0, len(rows), 8192):
        part = slice(start, start + 8192)
        np.add.at(sums, place[part], table.values[rows[part]].astype(np.float32))
    values = sums / np.bincount(place)[:, None].astype(np.float32)
    return Rows(values, table.picture[rows[first]], table.delivery[rows[first]])


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the upper half is trained.

    Attributes:
        steps: optimiser steps.
        batch: tiles of a step, half of each class.
        rate: of the upper half at its highest; it rises over 30 steps, then falls as a cosine.
        head_rate: of the head.
        dropped: share of features that a step leaves out.
        softened: how far labels are moved towards one half.
        penalty: of the head that training starts from, see `head.fit_rows`.
        share: of the way from the start to the trained weights at which the network ends, 0 to 1.
        seed: of batches, flips and dropped features.
    """

    steps: int = 450
    batch: int = 32
    rate: float = 2e-4
    head_rate: float = 6e-4
    dropped: float = 0.3
    softened: float = 0.1
    penalty: float = PENALTY
    share: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tuner:
    """Trains on any part of what was kept; a training that was done before is read again.

    Attributes:
        kept: of all samples.
        samples: labelled pictures.
        folder: keeps the weights of each training; None keeps nothing.
        tuning: how to train.
        told: gets a line now and then.
    """

    kept: Kept
    samples: Sequence[Sample]
    folder: Path | None = None
    tuning: Tuning = Tuning()
    told: Told = lambda text: None

    def fit(self, chosen: Sequence[int]) -> "Tuned":
        """Train on the samples of these indices."""
        torch.manual_seed(self.tuning.seed)
        network = pretrained()
        file = self.folder / f"{self._key(chosen)}.safetensors" if self.folder else None
        if file is not None and file.exists():
            network.load_state_dict(load_file(file))
            return Tuned(network, self.kept)
        self._start(network, chosen)
        start = {name: value.clone() for name, value in network.state_dict().items()}
        self._steps(network, chosen)
        network.load_state_dict(
            {
                name: torch.lerp(start[name], value, self.tuning.share)
                if value.is_floating_point()
                else value
                for name, value in network.state_dict().items()
            }
        )
        if file is not None:
            partial = file.with_name(f"partial-{file.name}")
            save_file(network.state_dict(), partial)
            partial.replace(file)
        return Tuned(network, self.kept)

    def _key(self, chosen: Sequence[int]) -> str:
        named = "\n".join(f"{self.samples[i].path} {self.samples[i].machine_made}" for i in chosen)
        return hashlib.sha256(f"{self.tuning}\n{named}".encode()).hexdigest()[:16]

    def _start(self, network: Lite0, chosen: Sequence[int]) -> None:
        views = means(self.kept.table, chosen)
        labels = np.array([sample.machine_made for sample in self.samples])
        given = np.zeros(len(self.samples))
        given[list(chosen)] = balance([self.samples[i] for i in chosen], power=0)
        share = given[views.picture] / np.bincount(views.picture)[views.picture]
        weight, bias = fit_rows(
            views.values,
            labels[views.picture],
            share,
            penalty=self.tuning.penalty,
            scale=SCALE,
        )
        network.set_head(weight, bias)

    def _steps(self, network: Lite0, chosen: Sequence[int]) -> None:
        tuning = self.tuning
        centre, spread = self._standards(chosen)
        scale = torch.from_numpy(SCALE.astype(np.float32))
        head = torch.nn.Linear(len(spread), 1)  # on standardised features: one rate suits all
        with torch.no_grad():
            weight, bias = network.head.weight[0], network.head.bias
            head.weight.copy_((weight * spread / scale)[None])
            head.bias.copy_(bias + (weight * centre).sum())
        upper = network.learning()
        groups = [
            {"params": upper, "lr": tuning.rate},
            {"params": head.parameters(), "lr": tuning.head_rate},
        ]
        optimiser = torch.optim.AdamW(groups, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate_at)
        batches = self._batches(chosen)
        losses = []
        for step in range(tuning.steps):
            x, below, labels = next(batches)
            features = (network.upper(x, below) - centre) / spread
            features = functional.dropout(features.clamp(-6, 6) * scale, tuning.dropped)
            wanted = labels * (1 - tuning.softened) + tuning.softened / 2
            loss = functional.binary_cross_entropy_with_logits(head(features)[:, 0], wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if (step + 1) % 100 == 0:
                self.told(f"step {step + 1} of {tuning.steps}, loss {np.mean(losses[-100:]):.3f}")
        with torch.no_grad():
            slopes = head.weight[0] * scale / spread
            network.set_head(slopes.numpy(), float(head.bias - (slopes * centre).sum()))

    def _standards(self, chosen: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.flatnonzero(np.isin(self.kept.table.picture, chosen))
        features = self.kept.table.values[rows].astype(np.float32)
        return torch.from_numpy(features.mean(0)), torch.from_numpy(features.std(0) + 1e-4)

    def _rate_at(self, step: int) -> float:
        rise = min(1.0, (step + 1) / 30)
        return rise * max(0.02, 0.5 * (1 + float(np.cos(np.pi * step / self.tuning.steps))))

    def _batches(
        self, chosen: Sequence[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield batches without end.

        Each source of a class comes as often as the others, and so does each picture of a source,
        each view of a picture, each tile of a view.
        """
        rng = np.random.default_rng(self.tuning.seed)
        tiles: dict[int, dict[int, list[int]]] = {i: defaultdict(list) for i in chosen}
        table = self.kept.table
        for row in np.flatnonzero(np.isin(table.picture, chosen)).tolist():
            tiles[int(table.picture[row])][int(table.delivery[row])].append(row)
        looks = {i: list(seen.values()) for i, seen in tiles.items() if seen}
        classes = []
        for label in (False, True):
            groups: dict[str, list[int]] = defaultdict(list)
            for i in looks:
                if self.samples[i].machine_made is label:
                    groups[self.samples[i].source].append(i)
            classes.append(list(groups.values()))
        half = self.tuning.batch // 2
        labels = torch.tensor([0.0] * half + [1.0] * half)
        while True:
            rows = []
            for sources in classes:
                for _ in range(half):
                    picture = _any(_any(sources, rng), rng)
                    rows.append(_any(_any(looks[picture], rng), rng))
            x, below = self.kept.rows(np.array(rows))
            flipped = torch.from_numpy(rng.random(len(rows)) < 0.5)
            x[flipped] = x[flipped].flip(3)
            yield x, below, labels


def _any(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _mean_logits(
    logits: NDArray[Any], picture: NDArray[np.int64], delivery: NDArray[np.int64], count: int
) -> dict[int, NDArray[np.float64]]:
    """Return the mean logit of each picture's tiles for each delivery; nan where there is none.

    Args:
        logits: of tiles, shape `(N,)`.
        picture: index of each tile's picture, shape `(N,)`.
        delivery: number of each tile's delivery, shape `(N,)`.
        count: number of pictures.
    """
    found = {}
    for number in range(len(DELIVERIES)):
        own = delivery == number
        tiles = np.bincount(picture[own], minlength=count)
        with np.errstate(invalid="ignore"):
            found[number] = np.bincount(picture[own], logits[own], count) / tiles
    return found


@dataclass(frozen=True, slots=True)
class Tuned:
    """A network whose upper half was trained, and what it may be asked about."""

    network: Lite0
    kept: Kept

    def scores(self, wanted: Sequence[int], count: int) -> dict[int, NDArray[np.float64]]:
        """Return the mean logits of the wanted samples for each delivery.

        Args:
            wanted: indices of samples.
            count: of all samples.

        Returns:
            For each delivery, shape `(count,)`; nan where a sample was not wanted or has no
            tiles.
        """
        table = self.kept.table
        rows = np.flatnonzero(np.isin(table.picture, wanted))
        logits = []
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                features = self.network.upper(*self.kept.rows(rows[start : start + BATCH]))
                logits.append(self.network.head(features)[:, 0].numpy())
        values = np.concatenate(logits) if logits else np.empty(0, np.float32)
        return _mean_logits(values, table.picture[rows], table.delivery[rows], count)

    def onnx(self) -> bytes:
        """Return the network without its head as a file."""
        return to_onnx(self.network)

    def head(self, network: str) -> LinearHead:
        """Return the head of the network whose file has this SHA-256."""
        count = len(self.kept.table.picture)
        rows = np.arange(0, count, max(1, count // USUAL))
        features = []
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                made = self.network.upper(*self.kept.rows(rows[start : start + BATCH]))
                features.append(made.numpy())
        head = self.network.head
        weight, bias = head.weight[0].detach().numpy(), float(head.bias.detach())
        return LinearHead(weight, bias, np.concatenate(features).mean(0), network)
