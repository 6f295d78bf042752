"""StyleGAN2's generator: styles scale activations, so that one plain convolution serves a batch.

No grouped convolutions and no custom operators. Scaling the input by the style and the output
by its norm is the same as a convolution per picture. Where a layer doubles the size it
convolves first, at a quarter of the cost. Training room.

Source: arXiv 1912.04958, written from the paper.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.generators.blocks import leaky, upsampled
from counterproof.generators.config import StyleganConfig

__all__ = ["StyleGenerator"]

SQRT2 = math.sqrt(2)


class _Linear(nn.Module):
    """Linear layer with weights near 1, scaled as they are used (equalised learning rate)."""

    def __init__(self, given: int, made: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(made, given) / rate)
        self.bias = nn.Parameter(torch.full((made,), bias / rate))
        self.gain, self.rate = rate / math.sqrt(given), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


def _normed(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """z and class to w."""

    def __init__(self, config: StyleganConfig) -> None:
        super().__init__()
        size, self.classes = config.latent, config.classes
        self.label = _Linear(config.classes, size) if config.classes else None
        widths = [size * (2 if config.classes else 1)] + [size] * config.mapping
        self.layers = nn.ModuleList(
            _Linear(widths[i], widths[i + 1], rate=0.01) for i in range(config.mapping)
        )
        self.average: Tensor
        self.register_buffer("average", torch.zeros(size))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Map `(N, latent)` and one-hot `(N, classes)` to `(N, latent)`."""
        x = _normed(z)
        if self.label is not None:
            x = torch.cat([x, _normed(self.label(label))], 1)
        for layer in self.layers:
            x = leaky(layer(x)) * SQRT2
        return x


class _Modulated(nn.Module):
    """A 3×3 convolution steered by a style; what it makes is to be scaled for each picture."""

    def __init__(self, given: int, made: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(made, given, 3, 3))
        self.gain = 1 / math.sqrt(given * 9)
        self.style = _Linear(style, given, bias=1.0)

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(N, made, H, W)`, and the scale `(N, made)` that gives it a variance of 1."""
        style, weight = self.style(w), self.weight * self.gain
        y = F.conv2d(x * style.to(x.dtype)[:, :, None, None], weight, padding=1)
        power = style.square() @ weight.square().sum((2, 3)).t()
        return y, torch.rsqrt(power + 1e-8)


class _Colour(nn.Module):
    """Channels to colours, steered by a style: one small matrix for each picture."""

    def __init__(self, given: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, given, 1, 1))
        self.gain = 1 / math.sqrt(given)
        self.style = _Linear(style, given, bias=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map `(N, given, H, W)` to `(N, 3, H, W)`."""
        each = self.weight.flatten(1) * self.gain * self.style(w)[:, None]  # [N, 3, given]
        return torch.matmul(each, x.flatten(2)).view(-1, 3, *x.shape[2:])


class _Layer(nn.Module):
    def __init__(self, given: int, made: int, config: StyleganConfig, side: int, up: bool) -> None:
        super().__init__()
        self.convolve = _Modulated(given, made, config.latent)
        self.bias = nn.Parameter(torch.zeros(made))
        self.up, self.side = up, side
        self.strength = nn.Parameter(torch.zeros([])) if config.noise else None
        if config.noise:
            self.register_buffer("noise", torch.randn(1, 1, side, side))
        self.noise: Tensor

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None) -> Tensor:
        x, scale = self.convolve(x, w)
        scale, bias = (scale * SQRT2).to(x.dtype), (self.bias * SQRT2).to(x.dtype)
        scale, bias = scale[:, :, None, None], bias[:, None, None]
        noise = self._noise(x.shape[0], rng)
        if self.training:  # scale and bias pass through up-sampling: apply them where it is small
            x = torch.addcmul(bias, x, scale)
            x = upsampled(x) if self.up else x
            return leaky(x if noise is None else x + noise.to(x.dtype))
        # onnxruntime up-samples a convolution's own output fastest, and folds bias and noise
        x = upsampled(x) if self.up else x
        return leaky(torch.addcmul(bias if noise is None else bias + noise, x, scale))

    def _noise(self, count: int, rng: torch.Generator | None) -> Tensor | None:
        """Return what to add, `(count or 1, 1, side, side)`; the layer's own noise without rng."""
        if self.strength is None:
            return None
        noise = self.noise
        if rng is not None:
            shape = (count, 1, self.side, self.side)
            noise = torch.randn(shape, generator=rng, device=noise.device)
        # in this order no exporter folds the strength, a scalar, into a number without a name
        return noise * self.strength * SQRT2


class StyleGenerator(nn.Module):
    """Mapping and synthesis; `depth` styles steer a picture from coarse to fine."""

    def __init__(self, config: StyleganConfig) -> None:
        super().__init__()
        self.latent, self.classes, self.size = config.latent, config.classes, config.size
        self.mapping = Mapping(config)
        steps = int(math.log2(config.size)) - 2
        widths = [min(config.most, max(16, config.base // (4 << i))) for i in range(steps + 1)]
        self.depth = 2 + 2 * steps
        self.start = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.first = _Layer(widths[0], widths[0], config, 4, False)
        self.rise, self.stay, self.colour = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.colour.append(_Colour(widths[0], config.latent))
        for i in range(1, steps + 1):
            self.rise.append(_Layer(widths[i - 1], widths[i], config, 4 << i, True))
            self.stay.append(_Layer(widths[i], widths[i], config, 4 << i, False))
            self.colour.append(_Colour(widths[i], config.latent))
        self.tint = nn.Parameter(torch.zeros(steps + 1, 3, 1, 1))

    def learn_noise(self, wanted: bool) -> None:
        """Let layers learn how much noise they add; until then it is none."""
        for name, value in self.named_parameters():
            if name.endswith(".strength"):
                value.requires_grad_(wanted)

    def synthesis(self, styles: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Make pictures `(N, 3, size, size)` of styles `(N, depth, latent)`.

        Noise, where the model has it, is drawn from `rng`, or the model's own without one.
        """
        w = styles.unbind(1)
        x = self.start.expand(styles.shape[0], -1, -1, -1)
        x = self.first(x.contiguous(memory_format=torch.channels_last), w[0], rng)
        y: Tensor = self.colour[0](x, w[1]) + self.tint[0]
        for i, (rise, stay) in enumerate(zip(self.rise, self.stay, strict=True)):
            x = stay(rise(x, w[1 + 2 * i], rng), w[2 + 2 * i], rng)
            y = upsampled(y) + self.colour[i + 1](x, w[3 + 2 * i]) + self.tint[i + 1]
        return y

    def forward(self, z: Tensor, label: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Make pictures `(N, 3, size, size)` of z `(N, latent)` and labels `(N, classes)`."""
        styles = self.mapping(z, label)[:, None].expand(-1, self.depth, -1)
        return self.synthesis(styles, rng)
