"""The sigma-VAE: a Gaussian likelihood of the best variance, so no weight to tune. Training room.

Source: arXiv 2006.13202, written from the paper.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.generators.config import VaeConfig

__all__ = ["Bound", "Vae"]


class Bound(NamedTuple):
    """The negative bound of a batch, and what it is made of.

    Attributes:
        loss: in nats per value.
        error: mean square, of pictures of -1 to 1.
        apart: divergence from N(0, 1) in nats.
        latents: drawn from the posteriors, `(N, latent)`.
        made: their pictures, `(N, 3, H, W)`.
    """

    loss: Tensor
    error: Tensor
    apart: Tensor
    latents: Tensor
    made: Tensor


class _Normed(nn.Module):
    """Residual block with group normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.last(F.silu(self.first(F.silu(self.norm(x)))))
        return y


class Vae(nn.Module):
    """Encoder and decoder; stem and output work at half the size, where time is cheaper."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, self.latent = config.channels, config.latent
        self.low, self.wide = config.size // 2 ** len(widths), widths[-1]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1)]
        for index, width in enumerate(widths):
            down.append(_Normed(width))
            if index < len(widths) - 1:
                down.append(nn.Conv2d(width, widths[index + 1], 4, 2, 1))
        self.down = nn.Sequential(*down, nn.SiLU())
        self.posterior = nn.Linear(self.wide * self.low**2, 2 * self.latent)
        self.spread = nn.Linear(self.latent, self.wide * self.low**2)
        up: list[nn.Module] = [_Normed(self.wide)]
        for index in reversed(range(len(widths) - 1)):
            up.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            up.append(nn.Conv2d(widths[index + 1], widths[index], 3, padding=1))
            up.append(_Normed(widths[index]))
        self.up = nn.Sequential(
            *up, nn.SiLU(), nn.Conv2d(widths[0], 12, 3, padding=1), nn.PixelShuffle(2)
        )

        self.smooth = config.smooth

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `(N, latent)` of the posterior of `(N, 3, H, W)`."""
        hidden = self.down(x.contiguous(memory_format=torch.channels_last)).flatten(1)
        mean, log_variance = self.posterior(hidden).chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)

    def forward(self, z: Tensor) -> Tensor:
        """Decode `(N, latent)` into `(N, 3, size, size)`, about -1 to 1."""
        x = self.spread(z).view(-1, self.wide, self.low, self.low)
        y: Tensor = self.up(x.contiguous(memory_format=torch.channels_last))
        if not self.smooth:
            return y
        # 1 2 1 both ways: what PixelShuffle can leave, a grid of two pixels' period, goes to zero
        line = y.new_tensor([0.25, 0.5, 0.25])
        kernel = (line[:, None] * line)[None, None].expand(3, 1, 3, 3)
        made: Tensor = F.conv2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
        return made

    def loss(self, x: Tensor, noise: Tensor) -> "Bound":
        """Return the negative bound of a batch, and what it is made of.

        Args:
            x: pictures `(N, 3, H, W)`, -1 to 1.
            noise: `(N, latent)`, normal.
        """
        mean, log_variance = (value.float() for value in self.encode(x))
        latents = mean + noise * (log_variance / 2).exp()
        made = self(latents).float()
        values = x[0].numel()
        error = (made - x).square().mean()
        apart = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        loss = (values / 2 * (error.log() + 1) + apart) / values
        return Bound(loss, error, apart, latents, made)
