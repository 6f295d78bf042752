"""Trains the upper half of the network on what its frozen lower half made of each tile.

The start is the frozen network with the head that `head.fit_tiles` fits to it, so that the
first step is already as good as that; in the end the weights go halfway back to that start,
which holds up better on sources that training never saw. Sources: Kumar et al., Fine-Tuning can
Distort Pretrained Features, arXiv 2202.10054, for the order, head first; Wortsman et al., Robust
fine-tuning of zero-shot models, arXiv 2109.01903, for the way back.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional

from counterproof.detectors.features import TileTable, delivered_tiles
from counterproof.detectors.head import fit_tiles
from counterproof.detectors.lite0 import KEPT_WIDTH, Lite0, pretrained, to_onnx
from counterproof.detectors.samples import Sample, balance
from counterproof.detectors.training import DELIVERIES, mean_logits, shards

__all__ = ["Kept", "Tuned", "Tuner", "Tuning", "gather"]

BATCH = 64
"""Tiles that are worked out at once where nothing is learnt."""

USUAL = 1_000
"""Tiles whose mean features are the usual tile that an explanation compares with."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the frozen network made of the tiles of labelled pictures.

    Attributes:
        table: all its features.
        activations: of the lower half, `float16` `(n, *KEPT_SHAPE)` each, mapped from files,
            in the order of `table`.
    """

    table: TileTable
    activations: Sequence[NDArray[np.float16]]

    def rows(self, wanted: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return activations and lower features of the wanted rows, `float32`."""
        ends = np.cumsum([len(part) for part in self.activations])
        part = np.searchsorted(ends, wanted, "right")
        first = np.concatenate([[0], ends])[part]
        x = np.stack([self.activations[p][i] for p, i in zip(part, wanted - first, strict=True)])
        below = self.table.features[wanted, :KEPT_WIDTH]
        return torch.from_numpy(x).float(), torch.from_numpy(below).float()


def gather(
    samples: Sequence[Sample], folder: Path, seed: int, *, told: Told = lambda text: None
) -> Kept:
    """Run the frozen network over all samples, making only what the folder lacks.

    About 15 ms of CPU and 35 kB a tile.

    Args:
        samples: pictures.
        folder: keeps two files for each part of the samples; made if missing.
        seed: of the deliveries.
        told: gets a line for each part, and for each picture that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = pretrained()
    columns, activations = [], []
    for shard in shards(samples, seed):
        file, mapped = folder / f"{shard.key}.kept.npz", folder / f"{shard.key}.npy"
        if not file.exists():
            _run_frozen(network, shard.paths, seed + shard.start, file, mapped, told)
        with np.load(file) as kept:
            columns.append((kept["features"], kept["picture"] + shard.start, kept["delivery"]))
        activations.append(np.load(mapped, mmap_mode="r"))
        told(f"{shard.start + len(shard.paths)} of {len(samples)} pictures described")
    table = TileTable(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    return Kept(table, activations)


def _run_frozen(
    network: Lite0, paths: Sequence[Path], seed: int, file: Path, mapped: Path, told: Told
) -> None:
    lower, features, whose = [], [], []
    looks = delivered_tiles(
        paths, DELIVERIES, seed=seed, skipped=lambda path, err: told(f"skipped {err}")
    )
    for picture, delivery, tiles in looks:
        with torch.no_grad():
            x, below = network.lower(torch.from_numpy(tiles))
            features.append(network.upper(x, below).numpy().astype(np.float16))
        lower.append(x.numpy().astype(np.float16))
        whose += [(picture, delivery)] * len(tiles)
    partial = mapped.with_name(f"partial-{mapped.name}")
    np.save(partial, np.concatenate(lower))
    partial.replace(mapped)
    partial = file.with_name(f"partial-{file.name}")
    picture, delivery = np.array(whose).T
    np.savez(partial, features=np.concatenate(features), picture=picture, delivery=delivery)
    partial.replace(file)


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
        penalty: of the head that training starts from, see `head.fit_tiles`.
        share: of the way from the start to the trained weights at which the network ends, 0 to 1.
        seed: of batches, flips and dropped features.
    """

    steps: int = 450
    batch: int = 32
    rate: float = 2e-4
    head_rate: float = 6e-4
    dropped: float = 0.3
    softened: float = 0.1
    penalty: float = 3e-3
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
        labels = np.array([sample.machine_made for sample in self.samples])
        given = np.zeros(len(self.samples))
        given[list(chosen)] = balance([self.samples[i] for i in chosen])
        weight, bias = fit_tiles(self.kept.table, labels, given, penalty=self.tuning.penalty)
        network.set_head(weight, bias)

    def _steps(self, network: Lite0, chosen: Sequence[int]) -> None:
        tuning = self.tuning
        centre, spread = self._standards(chosen)
        head = torch.nn.Linear(len(spread), 1)  # on standardised features: one rate suits all
        with torch.no_grad():
            weight, bias = network.head.weight[0], network.head.bias
            head.weight.copy_((weight * spread)[None])
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
            features = functional.dropout(features.clamp(-6, 6), tuning.dropped)
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
            slopes = head.weight[0] / spread
            network.set_head(slopes.numpy(), float(head.bias - (slopes * centre).sum()))

    def _standards(self, chosen: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.flatnonzero(np.isin(self.kept.table.picture, chosen))
        features = self.kept.table.features[rows].astype(np.float32)
        return torch.from_numpy(features.mean(0)), torch.from_numpy(features.std(0) + 1e-4)

    def _rate_at(self, step: int) -> float:
        rise = min(1.0, (step + 1) / 30)
        return rise * max(0.02, 0.5 * (1 + float(np.cos(np.pi * step / self.tuning.steps))))

    def _batches(
        self, chosen: Sequence[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield batches without end; a source comes as often as the root of its size."""
        rng = np.random.default_rng(self.tuning.seed)
        order = np.argsort(self.kept.table.picture, kind="stable")
        starts = np.searchsorted(self.kept.table.picture[order], np.arange(len(self.samples) + 1))
        tiles = {i: order[starts[i] : starts[i + 1]] for i in chosen if starts[i] < starts[i + 1]}
        classes = []
        for label in (False, True):
            groups: dict[str, list[int]] = defaultdict(list)
            for i in tiles:
                if self.samples[i].machine_made is label:
                    groups[self.samples[i].source].append(i)
            sizes = np.array([len(group) for group in groups.values()]) ** 0.5
            classes.append((list(groups.values()), sizes / sizes.sum()))
        half = self.tuning.batch // 2
        labels = torch.tensor([0.0] * half + [1.0] * half)
        while True:
            rows = []
            for groups_, chances in classes:
                for place in rng.choice(len(groups_), half, p=chances):
                    own = tiles[groups_[place][rng.integers(len(groups_[place]))]]
                    rows.append(own[rng.integers(len(own))])
            x, below = self.kept.rows(np.array(rows))
            flipped = torch.from_numpy(rng.random(len(rows)) < 0.5)
            x[flipped] = x[flipped].flip(3)
            yield x, below, labels


@dataclass(frozen=True, slots=True)
class Tuned:
    """A network whose upper half was trained, and what it may be asked about."""

    network: Lite0
    kept: Kept

    def scores(self, wanted: Sequence[int], count: int) -> dict[int, NDArray[np.float64]]:
        """Return mean logits of the wanted samples for each delivery, see `training.Fitted`."""
        table = self.kept.table
        rows = np.flatnonzero(np.isin(table.picture, wanted))
        logits = []
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                features = self.network.upper(*self.kept.rows(rows[start : start + BATCH]))
                logits.append(self.network.head(features)[:, 0].numpy())
        values = np.concatenate(logits) if logits else np.empty(0, np.float32)
        return mean_logits(values, table.picture[rows], table.delivery[rows], count)

    def onnx(self) -> bytes:
        """Return the network as a file."""
        return to_onnx(self.network)

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weight of each feature, and the features of a usual tile."""
        count = len(self.kept.table.picture)
        rows = np.arange(0, count, max(1, count // USUAL))
        features = []
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                made = self.network.upper(*self.kept.rows(rows[start : start + BATCH]))
                features.append(made.numpy())
        weight = self.network.head.weight[0].detach().numpy()
        return weight, np.concatenate(features).mean(0)
