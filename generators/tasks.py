"""One training step of VAE and codec, and the task of every family; the loop is in `training.py`.

The adversarial families stand in `adversarial.py`. Training room.
"""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from counterproof.generators.adversarial import AdversarialTask, GanTask
from counterproof.generators.codec_net import CodecNet
from counterproof.generators.config import CodecConfig, Config, VaeConfig
from counterproof.generators.gan import Discriminator
from counterproof.generators.task import Autocast, Batch, Task, adam, normal, schedule
from counterproof.generators.vae import Vae

__all__ = ["CodecTask", "VaeTask", "make_task"]

RISE = 10_000  # pictures over which a discriminator that joins a VAE gains its weight


class VaeTask(AdversarialTask):
    """The bound of the likelihood; later also a discriminator of what the decoder makes.

    A Gaussian likelihood alone makes blur, whose distance no density for the latents repairs. The
    bound stays: what a latent stands for remains the picture it was made of. Pictures are moved
    by some pixels, so that they last longer.

    Source: arXiv 1512.09300 (a decoder trained against a discriminator), in our own form.
    """

    def __init__(self, config: VaeConfig) -> None:
        self.config, self.net = config, Vae(config)
        super().__init__(config, Discriminator(config.critic_channels, 0))
        if not config.critic_from:  # trained by its likelihood alone
            del self.nets["critic"], self.optimizers["critic"]
        self.nets["main"] = self.net
        self.optimizers["main"] = adam(self.net, config.rate, 0.9)

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Take one step on the negative bound, and against the discriminator once it has joined."""
        config = self.config
        schedule(self.optimizers["main"], config.rate, batch)
        batch = dataclasses.replace(batch, pixels=moved(batch.pixels, config.shift, batch.rng))
        with autocast():
            loss, error, apart, made = self.net.loss(batch.pixels, normal(batch, config.latent))
        psnr = 10 * math.log10(4 / max(error.item(), 1e-9))
        logged = {"loss": loss.item(), "psnr_db": psnr, "divergence_nats": apart.item()}
        if config.critic_from and batch.images >= config.critic_from:
            logged |= self.train_critic(batch, made, autocast) | self.numbers
            loss = loss + (made * self._pull(batch, made, error.detach(), autocast)).sum()
        self.update("main", loss, clip=3.0)
        return logged

    def _pull(self, batch: Batch, made: Tensor, error: Tensor, autocast: Autocast) -> Tensor:
        """Return the slope of the discriminator's loss, scaled to that of the likelihood.

        A slope of fixed weight wins over a likelihood of the best variance, which weakens as the
        error grows: recognisable pictures were lost within 2,000. It rises from nothing, since a
        discriminator that has just begun knows nothing.
        """
        ahead = made.detach().requires_grad_()
        with autocast():
            slope = torch.autograd.grad(self.deception(batch, ahead), ahead)[0]
        own = (ahead.detach() - batch.pixels) / (error * made.numel())
        joined = min(1.0, (batch.images - self.config.critic_from) / RISE)
        weight = self.config.critic_weight * joined * own.norm() / slope.norm().clamp_min(1e-12)
        pull: Tensor = slope * weight
        return pull


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
        self.optimizers = {"main": adam(self.net, config.rate, 0.9)}

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Train on pictures twice the size: half the steps see crops, half see them shrunk."""
        schedule(self.optimizers["main"], self.config.rate, batch)
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
