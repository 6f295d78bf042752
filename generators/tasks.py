"""What one training step of each family does; the loop around it is in `training.py`.

A task owns networks and optimisers. Its step takes a batch and a random stream made for that
step alone, so that a run that was stopped goes on bit for bit. Training room.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.generators.augment import augment
from counterproof.generators.codec_net import CodecNet
from counterproof.generators.config import (
    CodecConfig,
    Config,
    GanConfig,
    StyleganConfig,
    VaeConfig,
)
from counterproof.generators.gan import Discriminator, GanGenerator
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.vae import Vae

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["Batch", "CodecTask", "GanTask", "Task", "VaeTask", "make_task"]

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        pixels: `(N, 3, H, W)`, -1 to 1.
        labels: one-hot, `(N, classes)`; `(N, 0)` without classes.
        rng: the random stream of this step, on the device of the pixels.
        step: number of the step, from 0.
        done: share of the training that is done, 0 to 1.
    """

    pixels: Tensor
    labels: Tensor
    rng: torch.Generator
    step: int
    done: float


class Task:
    """Base of the tasks.

    Attributes:
        nets: by name, saved in checkpoints; the one called `main` is averaged and exported.
        optimizers: by the name of the net they train.
        numbers: other state of the training, saved in checkpoints.
        shared: called on a net's gradients before each update, to average them over processes.
        shared_number: the same of a number that steers the training.
    """

    def __init__(self) -> None:
        self.nets: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.numbers: dict[str, float] = {}
        self.shared: Callable[[nn.Module], None] = lambda net: None
        self.shared_number: Callable[[float], float] = lambda value: value

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Train on one batch; return what to log."""
        raise NotImplementedError

    def update(self, name: str, loss: Tensor, clip: float | None = None) -> None:
        """Take one optimiser step on a net."""
        net, optimizer = self.nets[name], self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.shared(net)
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()


def make_task(config: Config, device: torch.device, seed: int) -> Task:
    """Build the networks of a family from a seed, without touching the global stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task: Task
        if isinstance(config, VaeConfig):
            task = VaeTask(config)
        elif isinstance(config, CodecConfig):
            task = CodecTask(config)
        else:
            task = GanTask(config)
    for net in task.nets.values():
        net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return task


def _adam(net: nn.Module, rate: float, first: float) -> "Optimizer":
    return torch.optim.Adam(net.parameters(), rate, (first, 0.99))


def _normal(batch: Batch, width: int) -> Tensor:
    shape = (len(batch.pixels), width)
    return torch.randn(shape, generator=batch.rng, device=batch.pixels.device)


def _schedule(optimizer: "Optimizer", rate: float, batch: Batch) -> None:
    """Warm up over 100 steps; fall linearly over the second half."""
    factor = min(1.0, (batch.step + 1) / 100) * min(1.0, max(0.02, 2 * (1 - batch.done)))
    for group in optimizer.param_groups:
        group["lr"] = rate * factor


class GanTask(Task):
    """Both adversarial families: relativistic loss, R1 and R2, adaptive augmentation.

    Source: arXiv 2501.05441 (loss), 1801.04406 (R1), 2006.06676 (controller).
    """

    def __init__(self, config: GanConfig | StyleganConfig) -> None:
        super().__init__()
        self.config = config
        self.generator: GanGenerator | StyleGenerator
        if isinstance(config, StyleganConfig):
            self.generator = StyleGenerator(config)
            critic = Discriminator(config.critic_channels, config.classes)
        else:
            self.generator = GanGenerator(config)
            critic = Discriminator(config.channels, config.classes)
        self.critic = critic
        self.nets = {"main": self.generator, "critic": critic}
        self.optimizers = {
            "main": _adam(self.generator, config.rate, 0.0),
            "critic": _adam(critic, config.critic_rate, 0.0),
        }
        self.numbers = {"chance": 0.0, "ahead": 0.0, "path": 0.0}

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Update the discriminator, then the generator."""
        logged = self._critic_step(batch, autocast)
        return logged | self._generator_step(batch, autocast)

    def _make(self, batch: Batch) -> Tensor:
        z = _normal(batch, self.config.latent)
        if not isinstance(self.generator, StyleGenerator):
            made: Tensor = self.generator(z, batch.labels)
            return made
        return self.generator.synthesis(self._styles(batch, z), batch.rng)

    def _styles(self, batch: Batch, z: Tensor) -> Tensor:
        """Return one style per layer; with mixing, of another picture from some layer on."""
        net = self.generator
        assert isinstance(net, StyleGenerator)
        assert isinstance(self.config, StyleganConfig)
        styles: Tensor = net.mapping(z, batch.labels)[:, None].expand(-1, net.depth, -1)
        if self.config.mixing <= 0:
            return styles
        other = net.mapping(_normal(batch, net.latent), batch.labels)[:, None]
        draw = torch.rand(2, generator=batch.rng, device=z.device)
        cut = 1 + (draw[1] * (net.depth - 1)).long()
        cut = torch.where(draw[0] < self.config.mixing, cut, torch.full_like(cut, net.depth))
        early = torch.arange(net.depth, device=z.device)[None, :, None] < cut
        return torch.where(early, styles, other)

    def _seen(self, x: Tensor, batch: Batch) -> Tensor:
        return augment(x, self.numbers["chance"], batch.rng)

    def _critic_step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        config, penalised = self.config, batch.step % self.config.penalty_every == 0
        self.critic.requires_grad_(True)
        with torch.no_grad(), autocast():
            made = self._make(batch).float()
        real = batch.pixels.clone().requires_grad_(penalised)
        made.requires_grad_(penalised)
        # second derivatives are taken in full precision
        with contextlib.nullcontext() if penalised else autocast():
            real_score = self.critic(self._seen(real, batch), batch.labels).float()
            made_score = self.critic(self._seen(made, batch), batch.labels).float()
        loss = F.softplus(made_score - real_score).mean()
        logged = {"critic_loss": loss.item()}
        if penalised:
            total = real_score.sum() + made_score.sum()
            slopes = torch.autograd.grad(total, [real, made], create_graph=True)
            penalty = torch.stack([slope.square().sum((1, 2, 3)).mean() for slope in slopes]).sum()
            loss = loss + config.penalty / 2 * config.penalty_every * penalty
            logged["penalty"] = float(penalty.detach())
        self.update("critic", loss)
        ahead = float((real_score - made_score).detach().sign().mean())
        self._control(self.shared_number(ahead), batch)
        return logged

    def _control(self, ahead: float, batch: Batch) -> None:
        """Augment more while the discriminator is surer than wanted, less while it is not."""
        numbers, config = self.numbers, self.config
        numbers["ahead"] = 0.99 * numbers["ahead"] + 0.01 * ahead
        if config.augment_target > 0 and batch.step % 4 == 0:
            move = math.copysign(4 * len(batch.pixels) / 50_000, numbers["ahead"])
            if numbers["ahead"] < config.augment_target:
                move = -abs(move)
            numbers["chance"] = min(max(numbers["chance"] + move, 0.0), config.augment_most)

    def _generator_step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        self.critic.requires_grad_(False)
        with autocast():
            made = self._make(batch).float()
            made_score = self.critic(self._seen(made, batch), batch.labels).float()
            with torch.no_grad():
                real_score = self.critic(self._seen(batch.pixels, batch), batch.labels).float()
        loss = F.softplus(real_score - made_score).mean()
        logged = {"loss": loss.item(), **self.numbers}
        if isinstance(self.config, StyleganConfig):
            if self.config.path_length > 0 and batch.step % self.config.path_every == 0:
                weight = self.config.path_length * self.config.path_every
                loss = loss + weight * self._path_penalty(batch)
            if batch.step % 16 == 0:
                self._follow_average(batch)
        self.update("main", loss)
        return logged

    def _path_penalty(self, batch: Batch) -> Tensor:
        """Penalise uneven steps in w (arXiv 1912.04958, section 3.2)."""
        net = self.generator
        assert isinstance(net, StyleGenerator)
        styles = self._styles(batch, _normal(batch, net.latent))
        made = net.synthesis(styles, batch.rng)
        noise = torch.randn(made.shape, generator=batch.rng, device=made.device) / net.size
        slope = torch.autograd.grad((made * noise).sum(), styles, create_graph=True)[0]
        length = slope.square().sum(2).mean(1).sqrt()
        before = self.numbers["path"]
        seen = self.shared_number(float(length.detach().mean()))
        self.numbers["path"] = before + 0.01 * (seen - before)
        return (length - self.numbers["path"]).square().mean()

    def _follow_average(self, batch: Batch) -> None:
        net = self.generator
        assert isinstance(net, StyleGenerator)
        with torch.no_grad():
            average = net.mapping(_normal(batch, net.latent), batch.labels).mean(0)
            net.mapping.average.lerp_(average, 0.05)


class VaeTask(Task):
    """One optimiser on the bound; pictures are moved by some pixels, so that they last longer."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config, self.net = config, Vae(config)
        self.nets = {"main": self.net}
        self.optimizers = {"main": _adam(self.net, config.rate, 0.9)}

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Take one step on the negative bound."""
        _schedule(self.optimizers["main"], self.config.rate, batch)
        pixels = moved(batch.pixels, self.config.shift, batch.rng)
        with autocast():
            loss, error, apart = self.net.loss(pixels, _normal(batch, self.config.latent))
        self.update("main", loss, clip=3.0)
        psnr = 10 * math.log10(4 / max(error.item(), 1e-9))
        return {"loss": loss.item(), "psnr_db": psnr, "divergence_nats": apart.item()}


def moved(x: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Move a batch by up to `most` pixels, edges repeated."""
    if not most:
        return x
    padded = F.pad(x, (most,) * 4, mode="replicate")
    offsets = torch.randint(2 * most + 1, (2,), generator=rng, device=x.device).tolist()
    return padded[:, :, offsets[0] :, offsets[1] :][:, :, : x.shape[2], : x.shape[3]]


class CodecTask(Task):
    """Rate against distortion at a random quality per picture."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config, self.net = config, CodecNet(config)
        self.nets = {"main": self.net}
        self.optimizers = {"main": _adam(self.net, config.rate, 0.9)}

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Train on pictures twice the size: half the steps see crops, half see them shrunk."""
        _schedule(self.optimizers["main"], self.config.rate, batch)
        x, n, device = batch.pixels / 2 + 0.5, len(batch.pixels), batch.pixels.device
        size = self.config.size
        if x.shape[2] > size:
            x = self._view(x, size, batch)
        quality = torch.randint(len(self.config.weights), (n,), generator=batch.rng, device=device)
        shape = (n, self.config.latent, size // 8, size // 8)
        noise = torch.rand(shape, generator=batch.rng, device=device) - 0.5
        with autocast():
            loss, error, bits = self.net.loss(x, quality, noise)
        self.update("main", loss, clip=1.0)
        psnr = -10 * math.log10(max(error.mean().item(), 1e-9))
        return {"loss": loss.item(), "psnr_db": psnr, "bits_per_pixel": bits.mean().item()}

    @staticmethod
    def _view(x: Tensor, size: int, batch: Batch) -> Tensor:
        if batch.step % 2:
            return F.interpolate(x, size=(size, size), mode="area")
        room = x.shape[2] - size + 1
        top, left = torch.randint(room, (2,), generator=batch.rng, device=x.device).tolist()
        return x[:, :, top : top + size, left : left + size]


def iterate_state(task: Task) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of a task that a checkpoint must hold, by a stable name."""
    for name, net in task.nets.items():
        for key, tensor in net.state_dict().items():
            yield f"net.{name}.{key}", tensor
    for name, optimizer in task.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, tensor in state.items():
                yield f"optimizer.{name}.{index}.{key}", tensor
