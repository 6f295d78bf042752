"""Training against a discriminator: both adversarial families, and a VAE's decoder.

Relativistic loss, R1 and R2, adaptive augmentation. Training room.

Source: arXiv 2501.05441 (loss), 1801.04406 (R1), 2006.06676 (controller).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from counterproof.generators.augment import augment
from counterproof.generators.config import CriticConfig, GanConfig, StyleganConfig
from counterproof.generators.gan import Discriminator, GanGenerator
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.task import Autocast, Batch, Task, adam, normal, schedule

__all__ = ["AdversarialTask", "GanTask"]

HOLD = 0.7  # share of the training after which the learning rates fall: what it made settles


class AdversarialTask(Task):
    """A task with a discriminator, the net called `critic`."""

    def __init__(self, config: CriticConfig, critic: Discriminator) -> None:
        super().__init__()
        self.rules, self.critic = config, critic
        self.nets["critic"] = critic
        self.optimizers["critic"] = adam(critic, config.critic_rate, 0.0)
        self.numbers |= {"chance": 0.0, "ahead": 0.0}

    def train_critic(
        self, batch: Batch, made: Tensor, autocast: Autocast
    ) -> tuple[dict[str, float], Tensor]:
        """Update the discriminator on a batch and what was made beside it.

        Returns:
            What to log, and the scores `(N,)` that it gave the batch.
        """
        rules, penalised = self.rules, batch.step % self.rules.penalty_every == 0
        schedule(self.optimizers["critic"], rules.critic_rate, batch, HOLD, 1)
        self.critic.requires_grad_(True)
        real = batch.pixels.clone().requires_grad_(penalised)
        made = made.detach().requires_grad_(penalised)
        # In bfloat16 the slope of the penalties is off by 1.5 % (cosine 0.9999), which is less than
        # that of the loss (3.6 %); measured on a discriminator of 97,000 pictures.
        with autocast():
            real_score = self._score(real, batch)
            made_score = self._score(made, batch)
        loss = F.softplus(made_score - real_score).mean()
        logged = {"critic_loss": loss.item()}
        if penalised:
            total = real_score.sum() + made_score.sum()
            slopes = torch.autograd.grad(total, [real, made], create_graph=True)
            penalty = torch.stack([slope.square().sum((1, 2, 3)).mean() for slope in slopes]).sum()
            loss = loss + rules.penalty / 2 * rules.penalty_every * penalty
            logged["penalty"] = float(penalty.detach())
        self.update("critic", loss)
        ahead = float((real_score - made_score).detach().sign().mean())
        self._control(self.shared_number(ahead), batch)
        return logged, real_score.detach()

    def deception(self, batch: Batch, made: Tensor, real_score: Tensor) -> Tensor:
        """Return the generator's loss: how far what it made falls behind the batch.

        The batch's scores are those from before the discriminator's update; to score it anew
        costs a tenth of the step, for a difference of one step of a small rate.
        """
        self.critic.requires_grad_(False)
        return F.softplus(real_score - self._score(made, batch)).mean()

    def _score(self, x: Tensor, batch: Batch) -> Tensor:
        seen = augment(x, self.numbers["chance"], batch.rng)
        score: Tensor = self.critic(seen, batch.labels)
        return score.float()

    def _control(self, ahead: float, batch: Batch) -> None:
        """Augment more while the discriminator is surer than wanted, less while it is not."""
        numbers, rules = self.numbers, self.rules
        numbers["ahead"] = 0.99 * numbers["ahead"] + 0.01 * ahead
        if rules.augment_target > 0 and batch.step % 4 == 0:
            move = math.copysign(4 * len(batch.pixels) / 50_000, numbers["ahead"])
            if numbers["ahead"] < rules.augment_target:
                move = -abs(move)
            numbers["chance"] = min(max(numbers["chance"] + move, 0.0), rules.augment_most)


class GanTask(AdversarialTask):
    """Both adversarial families; StyleGAN2 adds style mixing and path length."""

    def __init__(self, config: GanConfig | StyleganConfig) -> None:
        self.generator: GanGenerator | StyleGenerator
        if isinstance(config, StyleganConfig):
            self.generator = StyleGenerator(config)
            critic = Discriminator(config.critic_channels, config.classes)
        else:
            self.generator = GanGenerator(config)
            critic = Discriminator(config.channels, config.classes)
        super().__init__(config, critic)
        self.config = config
        self.nets["main"] = self.generator
        self.optimizers["main"] = adam(self.generator, config.rate, 0.0)
        self.numbers["path"] = 0.0

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Update the discriminator, then the generator, on the same pictures that it made."""
        if isinstance(self.config, StyleganConfig) and isinstance(self.generator, StyleGenerator):
            self.generator.learn_noise(batch.images >= self.config.noise_from)
        with autocast():
            made = self._make(batch).float()
        logged, real_score = self.train_critic(batch, made, autocast)
        schedule(self.optimizers["main"], self.config.rate, batch, HOLD, 1)
        with autocast():
            loss = self.deception(batch, made, real_score)
        logged |= {"loss": loss.item(), **self.numbers}
        if isinstance(self.config, StyleganConfig):
            if self.config.path_length > 0 and batch.step % self.config.path_every == 0:
                weight = self.config.path_length * self.config.path_every
                loss = loss + weight * self._path_penalty(batch)
            if batch.step % 16 == 0:
                self._follow_average(batch)
        self.update("main", loss)
        return logged

    def _make(self, batch: Batch) -> Tensor:
        z = normal(batch, self.config.latent)
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
        other = net.mapping(normal(batch, net.latent), batch.labels)[:, None]
        draw = torch.rand(2, generator=batch.rng, device=z.device)
        cut = 1 + (draw[1] * (net.depth - 1)).long()
        cut = torch.where(draw[0] < self.config.mixing, cut, torch.full_like(cut, net.depth))
        early = torch.arange(net.depth, device=z.device)[None, :, None] < cut
        return torch.where(early, styles, other)

    def _path_penalty(self, batch: Batch) -> Tensor:
        """Penalise uneven steps in w (arXiv 1912.04958, section 3.2)."""
        net = self.generator
        assert isinstance(net, StyleGenerator)
        styles = self._styles(batch, normal(batch, net.latent))
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
            average = net.mapping(normal(batch, net.latent), batch.labels).mean(0)
            net.mapping.average.lerp_(average, 0.05)
