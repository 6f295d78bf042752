"""One interface for GAN, VAE and StyleGAN2: fit, sample, save, load.

    from counterproof.generators.config import GanConfig
    from counterproof.generators.generator import Generator
    from counterproof.generators.training import Run

    model = Generator(GanConfig(images=50_000)).fit("clothes/", Run(Path("run/")))
    pixels = model.sample(16, seed=3)  # an array, not marked; `generate` writes marked pictures
    model.save("model.safetensors")

Training room.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from counterproof.errors import UserError
from counterproof.generators.checkpoint import Progress, read_header, read_model, write_model
from counterproof.generators.config import (
    CodecConfig,
    Config,
    GanConfig,
    StyleganConfig,
    VaeConfig,
    config_to_json,
    family_of,
)
from counterproof.generators.dataset import Pictures, load_pictures
from counterproof.generators.graphs import torch_backend
from counterproof.generators.prior import LatentPrior, fit_prior
from counterproof.generators.sampling import BUNDLED, ModelFacts, Sampler, read_model_file
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.training import CHECKPOINT, Notice, Run, train
from counterproof.generators.vae import Vae

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Generator"]


class Generator:
    """A generator of one family, before or after its training.

    Attributes:
        config: of the model.
        net: the averaged network, once trained.
        progress: how far its training came.
        prior: density of a VAE's latents.
        exported: what the file said from which the model was read, if it was an exported one.
    """

    def __init__(self, config: Config) -> None:
        if isinstance(config, CodecConfig):
            raise UserError("a codec compresses pictures; it draws none")
        self.config: GanConfig | StyleganConfig | VaeConfig = config
        self.net: nn.Module | None = None
        self.progress: Progress | None = None
        self.prior: LatentPrior | None = None
        self.exported: ModelFacts | None = None

    def fit(self, data: Pictures | str | Path, run: Run, notice: Notice | None = None) -> Self:
        """Train, from the checkpoint in `run.out` if there is one.

        Args:
            data: pictures, or a folder or zip of them.
            run: how to train.
            notice: as for `training.train`.

        Raises:
            UserError, WeightsError: as `training.train`.
        """
        pictures = data if isinstance(data, Pictures) else load_pictures(data, self.config.size)
        self.net = train(self.config, pictures, run, notice)
        _, self.progress = read_header(run.out / CHECKPOINT)
        return self.fit_density(pictures, run.seed)

    def fit_density(self, data: Pictures, seed: int = 0) -> Self:
        """Fit a VAE's density to the latents of its training pictures; others need none."""
        if isinstance(self.config, VaeConfig):
            if self.exported is not None:
                raise UserError("an exported VAE holds no encoder; load its checkpoint")
            net = self._trained()
            assert isinstance(net, Vae)
            self.prior = fit_prior(net, data, self.config.components, seed)
        return self

    def sample(
        self, n: int, seed: int = 0, label: str | None = None, truncation: float = 1.0
    ) -> "NDArray[Any]":
        """Draw pictures: `uint8` RGB, `(n, size, size, 3)`, for training and research, not marked.

        The same seed draws what an exported file draws, to one grey level.

        Args:
            n: how many.
            seed: 0 to 2^63 - 1.
            label: class to draw; any if None.
            truncation: 1 for all that the model can do, less for more usual pictures.

        Raises:
            UserError: if an argument is wrong, or the model is not trained.
        """
        return self.sampler().sample(n, seed, label, truncation)

    def sampler(self, name: str = "") -> Sampler:
        """Return what draws, with torch, on the device of the network.

        Raises:
            UserError: if the model is not trained, or a VAE has no density yet.
        """
        net = self._trained()
        return Sampler(torch_backend(net, self.prior), self.facts(), name or self.facts().family)

    def facts(self) -> ModelFacts:
        """Return what an exported file says of the model.

        Raises:
            UserError: if the model is not trained.
        """
        net, progress = self._trained(), self.progress
        if self.exported is not None:
            return self.exported
        assert progress is not None
        known = isinstance(self.config, VaeConfig) or self.config.classes > 0
        return ModelFacts(
            family=family_of(self.config),
            latent=self.config.latent,
            classes=tuple(progress.classes) if known else (),
            shares=tuple(progress.shares) if known else (),
            mixture=() if self.prior is None else tuple(map(float, self.prior.weights)),
            mixed=() if self.prior is None else tuple(map(int, self.prior.classes)),
            depth=net.depth if isinstance(net, StyleGenerator) else 0,
            trained_on=f"Trained on {progress.pictures:,} pictures of a set with the SHA-256 "
            f"{progress.digest}",
            config=json.dumps(config_to_json(self.config)),
        )

    def save(self, path: str | Path) -> None:
        """Write the model: `.safetensors` to load again, `.onnx` to draw from without torch.

        Raises:
            UserError: if the name ends otherwise, or it cannot be written.
        """
        target, net = Path(path), self._trained()
        if self.progress is None:
            raise UserError(f"{target}: an exported model cannot be saved again; copy its file")
        if target.suffix == ".onnx":
            from counterproof.generators.export import export_generator

            export_generator(net.cpu(), self.prior, target, self.facts())
        elif target.suffix == ".safetensors":
            write_model(target, net, self.prior, self.config, self.progress)
        else:
            raise UserError(f"{target}: expected a name ending in .safetensors or .onnx")

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Read a saved model, the averaged network of a checkpoint, or a bundled model by name.

        A VAE's checkpoint holds no density; `fit_density` adds it. An exported or bundled model
        can draw and be projected into, but not be saved or trained.

        Raises:
            UserError: if there is no such file or name.
            WeightsError: if it is defective.
        """
        if str(path) in BUNDLED or Path(path).suffix == ".onnx":
            from counterproof.generators.exported import read_exported

            data = read_model_file(str(path))
            config, facts, net, prior = read_exported(data, str(path))
            made = cls(config)
            made.net, made.exported, made.prior = net.to(torch.device(device)), facts, prior
            return made
        config, progress, net, prior = read_model(Path(path))
        made = cls(config)
        made.net, made.progress, made.prior = net.to(torch.device(device)), progress, prior
        return made

    def _trained(self) -> nn.Module:
        if self.net is None:
            raise UserError("this model is not trained yet: call fit, or load one")
        return self.net
