"""Augmentation, so that few pictures last long. Training room.

What the discriminator sees goes through one bilinear warp and one line of colour per picture; twice
differentiable, as R1 needs it.

Source: idea and controller from arXiv 2006.06676; the operations are our own.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augment", "moved"]


def augment(x: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    """Apply each operation to each picture with a probability.

    Args:
        x: `(N, 3, H, W)`, -1 to 1.
        chance: 0 to 1.
        rng: on the device of x.
    """
    if chance <= 0:
        return x
    n = len(x)

    def normal(scale: float, *shape: int) -> Tensor:
        used = torch.rand(n, generator=rng, device=x.device) < chance
        drawn = torch.randn(n, *shape, generator=rng, device=x.device)
        return drawn * scale * used.view(n, *[1] * len(shape))

    size, aspect = normal(0.15).exp2(), normal(0.15).exp2()
    turn = normal(0.2).clamp(-0.5, 0.5)  # radians
    cos, sin = turn.cos(), turn.sin()
    rows = [size * aspect * cos, -size * aspect * sin, size / aspect * sin, size / aspect * cos]
    linear = torch.stack(rows, 1).view(n, 2, 2)
    warp = torch.cat([linear, normal(0.15, 2)[:, :, None]], 2)  # [N, 2, 3]
    grid = F.affine_grid(warp, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    grey = x.mean(1, keepdim=True)
    saturation, contrast = normal(0.6, 1, 1, 1).exp2(), normal(0.4, 1, 1, 1).exp2()
    return ((x - grey) * saturation + grey) * contrast + normal(0.2, 1, 1, 1)


def moved(x: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Move a batch by up to `most` pixels, edges repeated."""
    if not most:
        return x
    padded = F.pad(x, (most,) * 4, mode="replicate")
    offsets = torch.randint(2 * most + 1, (2,), generator=rng, device=x.device).tolist()
    return padded[:, :, offsets[0] :, offsets[1] :][:, :, : x.shape[2], : x.shape[3]]
