"""A trained network with what drawing needs around it, as one module with named inputs.

The exporter writes these modules, and torch draws from the same ones. Training room.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from counterproof.errors import UserError
from counterproof.generators.gan import GanGenerator
from counterproof.generators.prior import LatentPrior
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.vae import Vae

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.generators.sampling import Backend

__all__ = ["Drawn", "Styled", "graph_of", "styles_of", "torch_backend"]


class Styled(nn.Module):
    """StyleGAN2's mapping, truncation, mixing and synthesis."""

    def __init__(self, net: StyleGenerator) -> None:
        super().__init__()
        self.net = net
        self.order: Tensor
        self.register_buffer("order", torch.arange(net.depth)[None, :, None])

    def forward(
        self, z: Tensor, other: Tensor, label: Tensor, truncation: Tensor, cut: Tensor
    ) -> Tensor:
        """Draw `(N, 3, H, W)`; from layer `cut` on in the style of `other`."""
        first, second = (
            self.net.mapping.average.lerp(self.net.mapping(value, label), truncation)[:, None]
            for value in (z, other)
        )
        return self.net.synthesis(torch.where(self.order < cut, first, second))


class Drawn(nn.Module):
    """A VAE's fitted density and its decoder."""

    def __init__(self, net: Vae, prior: LatentPrior) -> None:
        super().__init__()
        self.net = net
        self.means: Tensor
        self.factors: Tensor
        self.register_buffer("means", torch.from_numpy(prior.means))
        self.register_buffer("factors", torch.from_numpy(prior.factors))

    def forward(self, z: Tensor, component: Tensor, truncation: Tensor) -> Tensor:
        """Draw `(N, 3, H, W)`, each from its Gaussian of the density."""
        # index_select, since indexing is exported with copies under other names
        factors = self.factors.index_select(0, component)  # [N, D, D]
        spread = (factors * (z * truncation)[:, None]).sum(2)
        made: Tensor = self.net(self.means.index_select(0, component) + spread)
        return made


def graph_of(net: nn.Module, prior: LatentPrior | None) -> nn.Module:
    """Return the module that draws from a network.

    Raises:
        UserError: if the network draws nothing, or is a VAE whose density was not fitted.
    """
    if isinstance(net, GanGenerator):
        return net
    if isinstance(net, StyleGenerator):
        return Styled(net)
    if not isinstance(net, Vae):
        raise UserError("a codec compresses pictures; it draws none")
    if prior is None:
        raise UserError(
            "this VAE has no density to draw from yet: fit one to its training pictures"
        )
    return Drawn(net, prior)


def styles_of(net: StyleGenerator, z: Tensor, label: Tensor) -> Tensor:
    """Return the styles `(N, depth, latent)` of z and classes, one for each layer."""
    w: Tensor = net.mapping(z, label)
    return w[:, None].expand(-1, net.depth, -1)


def torch_backend(net: nn.Module, prior: LatentPrior | None) -> "Backend":
    """Return what `Sampler` draws with, on the device of the network.

    Raises:
        UserError: as `graph_of`.
    """
    device = next(net.parameters()).device
    graph = graph_of(net, prior).to(device).eval()

    def run(given: "dict[str, NDArray[Any]]") -> "NDArray[Any]":
        held = {
            name: torch.as_tensor(np.asarray(value), device=device) for name, value in given.items()
        }
        with torch.no_grad():
            made: NDArray[Any] = graph(**held).float().cpu().numpy()
        return made

    return run
