"""Find the latent whose picture comes closest to a given one. Training room.

What a model cannot draw it can only approach: a small distance shows that a picture lies near
what the model makes, not that the model made it.

Source: idea arXiv 1912.04958, section 5; the loss is our own, on a pyramid of colours, so that no
other network is needed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from counterproof.errors import UserError
from counterproof.generators.generator import Generator
from counterproof.generators.graphs import styles_of
from counterproof.generators.sampling import to_pixels
from counterproof.generators.stylegan import StyleGenerator

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Projection", "project"]

CANDIDATES = 256  # samples of which the closest is the start
RATE = 0.05
HOLD = 0.01  # weight of staying near the start; what drifts far is no picture of the model's
LEVELS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """What came closest.

    Attributes:
        pixels: `uint8` RGB, `(size, size, 3)`; a model's picture, not marked.
        latent: what drew it: `(depth, latent)` styles of StyleGAN2, else `(latent,)`; float32.
        label: class that the start was drawn of; empty for none.
        psnr_db: against the given picture.
        start_db: that of the closest sample, from which the search began.
    """

    pixels: "NDArray[Any]"
    latent: "NDArray[Any]"
    label: str
    psnr_db: float
    start_db: float


def project(
    model: Generator, image: "NDArray[Any]", *, steps: int = 300, seed: int = 0
) -> Projection:
    """Project a picture into a model.

    The search begins at the closest of 256 samples. StyleGAN2 is searched in one style per layer,
    the others in their latent; a class stays that of the start.

    Args:
        model: trained.
        image: `uint8` RGB, `(size, size, 3)`, of the model's size.
        steps: of the search.
        seed: of the samples.

    Raises:
        UserError: if the picture has another size, or the model is not trained.
    """
    side = model.config.size
    if image.shape != (side, side, 3):
        raise UserError(f"expected a picture of {side} × {side} pixels, got {image.shape}")
    sampler = model.sampler()
    assert model.net is not None
    device = next(model.net.parameters()).device
    wanted = torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    drawn, labels = sampler.inputs(CANDIDATES, seed)
    made = torch.from_numpy(sampler.backend(drawn)).to(device)
    errors = _apart(made, wanted)
    best = int(errors.argmin())
    start, draw = _space(model, {key: value[best : best + 1] if value.ndim else value
                                 for key, value in drawn.items()})  # fmt: skip
    latent = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([latent], RATE)
    found, lowest = start, float(errors[best])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20) * min(1.0, 4 * (1 - step / steps))
        error = _apart(draw(latent), wanted)[0]
        if error.item() < lowest:
            found, lowest = latent.detach().clone(), error.item()
        optimizer.zero_grad(set_to_none=True)
        (error + HOLD * (latent - start).square().mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        pixels = to_pixels(draw(found).float().cpu().numpy())[0]
    label = int(labels[best])
    return Projection(
        pixels,
        found[0].cpu().numpy(),
        sampler.facts.classes[label] if label >= 0 else "",
        _decibels(pixels, image),
        _decibels(to_pixels(made[best : best + 1].cpu().numpy())[0], image),
    )


def _space(model: Generator, drawn: "dict[str, NDArray[Any]]") -> tuple[Tensor, Any]:
    """Return where the search begins, `(1, …)`, and what draws from there."""
    net = model.net
    assert net is not None
    device = next(net.parameters()).device
    z, label = (torch.from_numpy(drawn[key]).to(device) if key in drawn else torch.empty(0)
                for key in ("z", "label"))  # fmt: skip
    if isinstance(net, StyleGenerator):
        return styles_of(net, z, label), net.synthesis
    if model.prior is not None:
        number = int(drawn["component"][0])
        mean, factor = (torch.from_numpy(part[number]).to(device)
                        for part in (model.prior.means, model.prior.factors))  # fmt: skip
        return mean[None] + z @ factor.T, net
    return z, lambda latent: net(latent, label)


def _apart(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of pictures over a pyramid of sizes, each level weighing the same; `(N,)`."""
    total = made.new_zeros(len(made))
    for level in range(LEVELS):
        if level:
            made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        total = total + (made - wanted).abs().mean((1, 2, 3))
    return total / LEVELS


def _decibels(a: "NDArray[Any]", b: "NDArray[Any]") -> float:
    import numpy as np

    error = ((a.astype(float) - b) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
