"""Train the feature net: class and quarter turn, with colour and position moved. Training room.

It never sees held-out pictures. A net that judges is never used in a loss.
"""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.generators.augment import moved
from counterproof.generators.dataset import Pictures
from counterproof.generators.feature_net import FeatureNet

__all__ = ["train_features"]


def train_features(data: Pictures, steps: int = 2500, seed: int = 0) -> tuple[FeatureNet, float]:
    """Return the net and the share of held-out pictures whose class it names."""
    pixels, labels = data.train()
    x, y = _tensor(pixels), torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureNet(len(data.classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    rng, begun = torch.Generator().manual_seed(seed), time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1 - step / steps)
        chosen = torch.randint(len(x), (64,), generator=rng)
        turns = torch.randint(4, (64,), generator=rng)
        batch = _jittered(x[chosen], rng)
        for turn in (1, 2, 3):
            batch[turns == turn] = torch.rot90(batch[turns == turn], turn, (2, 3))
        named, turned = net.heads(batch.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(named, y[chosen], label_smoothing=0.05)
        loss = loss + F.cross_entropy(turned, turns)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 250 == 0:
            spent = time.process_time() - begun
            print(f"features: step {step} of {steps}, {spent:.0f} s, loss {loss.item():.3f}")
    net.eval().requires_grad_(False)
    features = torch.cat([net(part)[0] for part in torch.split(x, 256)])
    net.mean.copy_(features.mean(0))
    net.scale.copy_(features.std(0))
    return net, _accuracy(net, data)


def _accuracy(net: nn.Module, data: Pictures) -> float:
    pixels, labels = data.held_out()
    named = torch.cat([net(part)[1].argmax(1) for part in torch.split(_tensor(pixels), 256)])
    return float((named == torch.from_numpy(labels)).float().mean())


def _tensor(pixels: object) -> Tensor:
    x = torch.as_tensor(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return x.contiguous(memory_format=torch.channels_last)


def _jittered(x: Tensor, rng: torch.Generator) -> Tensor:
    n = len(x)
    x = torch.where(torch.rand(n, 1, 1, 1, generator=rng) < 0.5, x.flip(3), x)
    mean = x.mean((2, 3), keepdim=True)
    contrast = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=rng)
    tint = 0.3 * torch.randn(n, 3, 1, 1, generator=rng)
    return moved((x - mean) * contrast + mean + tint, 6, rng)
