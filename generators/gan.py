"""The R3-style GAN: plain residual convolutions without normalisation. Training room.

At the full resolution there is one convolution only (most of the time of a wide one is spent
there); a thin network came further in the same CPU time than a wide one (docs/generators.md).

Source: arXiv 2501.05441; written from the paper.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.generators.blocks import LEAKY_GAIN, Residual, leaky, scaled, upsampled
from counterproof.generators.config import GanConfig

__all__ = ["Discriminator", "GanGenerator"]


class GanGenerator(nn.Module):
    """A learned 4×4 basis, scaled by a linear map of z (and class), grown to a picture."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        channels, depth = config.channels, len(config.channels)
        self.latent, self.classes = config.latent, config.classes
        self.basis = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.style = scaled(nn.Linear(config.latent + config.classes, channels[0]))
        layers: list[nn.Module] = []
        for index, width in enumerate(channels):
            if index:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
                if channels[index - 1] != width:
                    layers.append(scaled(nn.Conv2d(channels[index - 1], width, 1, bias=False)))
            layers.append(Residual(width, depth))
        self.body = nn.Sequential(*layers)
        self.out = scaled(nn.Conv2d(channels[-1], 32, 3, padding=1))
        self.colour = scaled(nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Make pictures.

        Args:
            z: `(N, latent)`, normal.
            label: `(N, classes)`, one-hot.

        Returns:
            `(N, 3, size, size)`, about -1 to 1.
        """
        # one-hot of K classes has a variance near 1/K: scale it to count like one of z's terms
        given = torch.cat([z, label * math.sqrt(self.classes)], 1) if self.classes else z
        x = self.basis[None] * self.style(given)[:, :, None, None]
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        y: Tensor = self.colour(upsampled(leaky(self.out(x))))
        return y


class Discriminator(nn.Module):
    """Judge pictures; with classes, by projection (arXiv 1802.05637).

    Args:
        channels: at 4, 8, … pixels, up to half the size.
        classes: number of classes, 0 for none.
    """

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        widths, depth = channels[::-1], len(channels)
        self.stem = scaled(nn.Conv2d(3, 32, 3, padding=1), LEAKY_GAIN)
        self.enter = scaled(nn.Conv2d(32, widths[0], 3, padding=1))
        layers: list[nn.Module] = []
        for index, width in enumerate(widths):
            layers.append(Residual(width, depth))
            if index < depth - 1:
                layers.append(nn.AvgPool2d(2))
                if widths[index + 1] != width:
                    layers.append(scaled(nn.Conv2d(width, widths[index + 1], 1, bias=False)))
        self.body = nn.Sequential(*layers)
        last = widths[-1]
        self.pool = scaled(nn.Conv2d(last, last, 4, groups=last, bias=False))
        self.score = scaled(nn.Linear(last, 1, bias=False))
        self.wanted = scaled(nn.Linear(last, classes, bias=False)) if classes else None

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Score pictures `(N, 3, size, size)` of one-hot labels `(N, classes)`: `(N,)`."""
        x = leaky(self.stem(x.contiguous(memory_format=torch.channels_last)))
        x = self.pool(leaky(self.body(self.enter(F.avg_pool2d(x, 2))))).flatten(1)
        score: Tensor = self.score(x).squeeze(1)
        if self.wanted is not None:
            score = score + (self.wanted(x) * label).sum(1)
        return score
