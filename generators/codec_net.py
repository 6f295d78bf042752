"""The codec's network: an autoencoder with a spatial latent, one gain per quality. Training room.

Source: arXiv 1611.01704 (training with uniform noise), 2002.10032 (gains).
"""

import torch
from torch import Tensor, nn

from counterproof.generators.blocks import leaky
from counterproof.generators.config import CodecConfig

__all__ = ["CodecNet"]

STEP = 4.0  # latents of one step at gain 1; sets the scale at which training starts


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.last(leaky(self.first(leaky(x))))
        return y


class CodecNet(nn.Module):
    """Pictures 0..1 of any size in multiples of 8, to latents at 1/8 of it, and back."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        a, b, c = config.channels
        latent, count = config.latent, len(config.weights)
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, a, 3, padding=1), _Block(a),
            nn.Conv2d(a, b, 4, 2, 1), _Block(b),
            nn.Conv2d(b, c, 4, 2, 1), _Block(c), _Block(c), nn.Conv2d(c, latent, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, c, 3, padding=1), _Block(c), _Block(c),
            nn.Conv2d(c, 4 * b, 1), nn.PixelShuffle(2), _Block(b),
            nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2), _Block(a),
            nn.Conv2d(a, 12, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip
        start = torch.linspace(-1.0, 2.0, count)[:, None].repeat(1, latent)
        self.gain = nn.Parameter(start)
        self.back = nn.Parameter(-start.clone())
        self.width = nn.Parameter(torch.zeros(count, latent))
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(config.weights))

    def encode(self, x: Tensor, quality: Tensor) -> Tensor:
        """Return unrounded latents `(N, latent, H/8, W/8)` of `(N, 3, H, W)`, 0..1."""
        y: Tensor = self.encoder(x) * (self.gain[quality].exp() * STEP)[..., None, None]
        return y

    def decode(self, latent: Tensor, quality: Tensor) -> Tensor:
        """Return pictures `(N, 3, H, W)`, about 0..1."""
        y: Tensor = self.decoder(latent * (self.back[quality].exp() / STEP)[..., None, None])
        return y

    def loss(self, x: Tensor, quality: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the squared error and the bits per pixel, the last two per picture.

        Args:
            x: pictures `(N, 3, H, W)`, 0..1.
            quality: `(N,)`, from 0.
            noise: of the latent's shape, uniform in -0.5..0.5, in the place of rounding.
        """
        latent = self.encode(x, quality).float() + noise
        width = self.width[quality].exp()[..., None, None] + 0.05

        def below(v: Tensor) -> Tensor:  # distribution of a Laplace prior
            return 0.5 - 0.5 * v.sign() * torch.expm1(-v.abs() / width)

        chance = (below(latent + 0.5) - below(latent - 0.5)).clamp_min(1e-9)
        bits = -torch.log2(chance).sum((1, 2, 3)) / (x.shape[2] * x.shape[3])
        error = (self.decode(latent, quality).float() - x).square().mean((1, 2, 3))
        weight: Tensor = self.weights[quality]
        return ((weight * error + bits) / weight.sqrt()).mean() * 10, error, bits
