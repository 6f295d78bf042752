"""The net whose features the distances compare: trained on class and rotation. Training room."""

import torch
from torch import Tensor, nn

__all__ = ["FeatureNet"]

FEATURES = 64


class FeatureNet(nn.Module):
    """Six small convolutions to 64 features; two heads that only training uses."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        given = 3
        for made in (width, 2 * width, 3 * width):
            for before, step in ((given, 2), (made, 1)):
                layers += [nn.Conv2d(before, made, 3, step, 1, bias=False)]
                layers += [nn.BatchNorm2d(made), nn.ReLU()]
            given = made
        self.body = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12 * width, FEATURES)
        )
        self.classes = nn.Linear(FEATURES, classes)
        self.turns = nn.Linear(FEATURES, 4)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features `(N, 64)`, z-scored, and class logits of `(N, 3, 64, 64)`, -1..1."""
        raw = self.body(x)
        return (raw - self.mean) / self.scale, self.classes(torch.relu(raw))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of class and of rotation by quarter turns."""
        hidden = torch.relu(self.body(x))
        return self.classes(hidden), self.turns(hidden)
