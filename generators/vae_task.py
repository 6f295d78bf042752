"""One training step of a VAE: its likelihood, and later a discriminator. Training room.

A Gaussian likelihood alone makes blur, whose distance no density for the latents repairs. So a
discriminator joins: first it judges the decoder's reconstructions, later also what is drawn from
a density of the latents, since drawn latents lie where no picture does and are decoded into
shapes that no person would name. The bound stays: what a latent stands for remains the picture it
was made of.

Source: arXiv 1512.09300 (a decoder trained against a discriminator of both), in our own form.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn

from counterproof.generators.adversarial import AdversarialTask
from counterproof.generators.augment import moved
from counterproof.generators.config import VaeConfig
from counterproof.generators.gan import Discriminator
from counterproof.generators.task import Autocast, Batch, adam, normal, schedule
from counterproof.generators.vae import Vae

__all__ = ["LatentDensity", "VaeTask"]

RISE = 10_000  # pictures over which a discriminator that joins gains its weight
FOLLOW = 0.01  # share of a batch's statistics in those of the density


class LatentDensity(nn.Module):
    """One Gaussian for each class, of a common covariance, that follows the latents of batches."""

    def __init__(self, latent: int, classes: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(max(1, classes), latent))
        self.covariance = nn.Parameter(torch.eye(latent))

    def loss(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return half the squares of what statistics of a batch are off; its slope leads there.

        Args:
            latents: `(N, latent)`.
            labels: one-hot, `(N, classes)`.
        """
        given = self._labelled(labels)
        apart = latents - given @ self.centres
        share = given / given.sum(0).clamp_min(1)
        centred = apart.detach()
        off = self.covariance - centred.t() @ centred / len(latents)
        return (share.sum(1) * apart.square().sum(1)).sum() / 2 + off.square().sum() / 2

    def draw(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Return latents `(N, latent)` of classes, from normal noise of that shape."""
        ridge = 1e-4 * torch.eye(len(self.covariance), device=noise.device)
        factor = torch.linalg.cholesky(self.covariance.detach() + ridge)
        drawn: Tensor = self._labelled(labels) @ self.centres.detach() + noise @ factor.t()
        return drawn

    @staticmethod
    def _labelled(labels: Tensor) -> Tensor:
        return labels if labels.shape[1] else labels.new_ones(len(labels), 1)


class VaeTask(AdversarialTask):
    """The bound of the likelihood; later also a discriminator of what the decoder makes.

    Pictures are moved by some pixels, so that they last longer.
    """

    def __init__(self, config: VaeConfig) -> None:
        self.config, self.net = config, Vae(config)
        super().__init__(config, Discriminator(config.critic_channels, config.classes))
        if not config.critic_from:  # trained by its likelihood alone
            del self.nets["critic"], self.optimizers["critic"]
        self.nets["main"] = self.net
        self.optimizers["main"] = adam(self.net, config.rate, 0.9)
        self.density = LatentDensity(config.latent, config.classes)
        if config.drawn_from:
            self.nets["density"] = self.density
            self.optimizers["density"] = torch.optim.SGD(self.density.parameters(), FOLLOW)

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Take one step on the negative bound, and against the discriminator once it has joined."""
        config = self.config
        schedule(self.optimizers["main"], config.rate, batch)
        batch = dataclasses.replace(batch, pixels=moved(batch.pixels, config.shift, batch.rng))
        with autocast():
            bound = self.net.loss(batch.pixels, normal(batch, config.latent))
        loss, made = bound.loss, bound.made
        psnr = 10 * math.log10(4 / max(bound.error.item(), 1e-9))
        logged = {"loss": loss.item(), "psnr_db": psnr, "divergence_nats": bound.apart.item()}
        if config.drawn_from:
            self.update("density", self.density.loss(bound.latents.detach(), batch.labels))
        if config.critic_from and batch.images >= config.critic_from:
            if config.drawn_from and batch.images >= config.drawn_from:
                made = torch.cat([made[: len(made) // 2], self._drawn(batch, autocast)])
            seen, real_score = self.train_critic(batch, made, autocast)
            logged |= seen | self.numbers
            ahead = made.detach().requires_grad_()
            with autocast():
                deceived = self.deception(batch, ahead, real_score)
            slope = torch.autograd.grad(deceived, ahead)[0]
            loss = loss + (made * self._scaled(slope, batch, bound.error.detach())).sum()
        self.update("main", loss, clip=3.0)
        return logged

    def _drawn(self, batch: Batch, autocast: Autocast) -> Tensor:
        """Return pictures of latents that were drawn, of the classes of the batch's second half."""
        half = len(batch.pixels) // 2
        latents = self.density.draw(batch.labels, normal(batch, self.config.latent))[half:]
        with autocast():
            made: Tensor = self.net(latents)
        return made.float()

    def _scaled(self, slope: Tensor, batch: Batch, error: Tensor) -> Tensor:
        """Return the slope of the discriminator's loss, scaled to that of the likelihood.

        A slope of fixed weight wins over a likelihood of the best variance, which weakens as the
        error grows: recognisable pictures were lost within 2,000. It rises from nothing, since a
        discriminator that has just begun knows nothing.
        """
        own = (error * slope.numel()).rsqrt()  # norm of the likelihood's slope
        joined = min(1.0, (batch.images - self.config.critic_from) / RISE)
        weight = self.config.critic_weight * joined * own / slope.norm().clamp_min(1e-12)
        scaled: Tensor = slope * weight
        return scaled
