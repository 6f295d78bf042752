"""Building blocks that the networks share. Training room: imports torch."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Residual", "leaky", "scaled", "upsampled", "zeroed"]

# Gain that keeps the variance through a leaky ReLU of slope 0.2. Source: arXiv 1502.01852.
LEAKY_GAIN = math.sqrt(2 / 1.04)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def upsampled(x: Tensor) -> Tensor:
    """Double height and width, bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def scaled(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Draw the weights of a layer so that it scales the variance of its input by gain²."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))
    return _unbiased(layer)


def zeroed(layer: nn.Module) -> nn.Module:
    """Start a layer at zero, so that its residual block starts as the identity."""
    assert isinstance(layer.weight, Tensor)
    nn.init.zeros_(layer.weight)
    return _unbiased(layer)


def _unbiased(layer: nn.Module) -> nn.Module:
    if isinstance(layer.bias, Tensor):
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """x + conv(act(conv(act(x)))), the last convolution started at zero.

    Args:
        channels: in and out.
        depth: residual blocks in the network; the first convolution starts smaller for it
            (arXiv 1901.09321).
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        first = nn.Conv2d(channels, channels, 3, padding=1)
        self.first = scaled(first, LEAKY_GAIN * depth**-0.25)
        self.last = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        y: Tensor = x + self.last(leaky(self.first(leaky(x))))
        return y
