"""What a network in training can do: a marked grid, distances and the copy check. Training room.

Each look at a run appends a row to `metrics.csv` beside its log.
"""

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from counterproof.errors import UserError
from counterproof.generators.checkpoint import Progress
from counterproof.generators.config import CodecConfig, Config, VaeConfig
from counterproof.generators.dataset import Pictures
from counterproof.generators.generator import Generator
from counterproof.generators.marked_output import grid, maker_of, write_marked
from counterproof.generators.metrics import Quality, Reference
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.generators.sampling import Sampler

__all__ = ["Observer"]

SAMPLES = 500  # of one look; docs/generators.md says what n does to a distance
DENSITY = 2000  # latents from which a VAE's density is drafted during training


class Observer:
    """Looks at a network in training, whenever a checkpoint is written.

    Args:
        config: of the model.
        data: pictures of the training.
        out: folder of the run.
        settings: limits and key store, for marking.
    """

    def __init__(self, config: Config, data: Pictures, out: Path, settings: Settings) -> None:
        self.config, self.data, self.out, self.settings = config, data, out, settings
        self.reference: Reference | None = None

    def look(self, net: nn.Module, progress: Progress) -> Quality | None:
        """Write a marked grid and a row of distances; None for a codec, which draws nothing."""
        if isinstance(self.config, CodecConfig):
            return None
        sampler = self._sampler(net, progress)
        write_marked(
            self._grid(sampler)[None], [f"step-{progress.step:07d}"], self.out / "snapshots",
            maker_of(sampler), settings=self.settings, overwrite=True,
        )  # fmt: skip
        if self.reference is None:
            self.reference = Reference(self.data.train()[0], *self.data.held_out())
        quality = self.reference.measure(sampler.sample(SAMPLES, 0), None)
        self._write(quality, progress)
        return quality

    def _sampler(self, net: nn.Module, progress: Progress) -> "Sampler":
        model = Generator(self.config)
        model.net, model.progress = net, progress
        if isinstance(self.config, VaeConfig):
            few = dataclasses.replace(
                self.data, **{name: getattr(self.data, name)[:DENSITY]
                              for name in ("pixels", "labels", "held")}
            )  # fmt: skip
            model.config = dataclasses.replace(self.config, components=1)
            model.fit_density(few, progress.seed)
        return model.sampler(f"{model.facts().family}, in training")

    @staticmethod
    def _grid(sampler: "Sampler") -> Any:
        """40 pictures; with classes, a column for each."""
        classes = sampler.facts.classes
        if not classes:
            return grid(sampler.sample(40, 0), 10)
        columns = [sampler.sample(4, number, name) for number, name in enumerate(classes[:10])]
        return grid(np.stack(columns, 1).reshape(-1, *columns[0].shape[1:]), len(columns))

    def _write(self, quality: Quality, progress: Progress) -> None:
        row = {"step": progress.step, "images": progress.images, "cpu_s": round(progress.seconds)}
        row |= dataclasses.asdict(quality) | {"copied": quality.copied}
        path = self.out / "metrics.csv"
        fresh = not path.is_file()
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row))
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as err:
            raise UserError(f"{path}: cannot be written: {err.strerror}") from err
