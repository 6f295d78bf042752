"""Samples of a network in training, as a marked grid. Training room."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterproof.generators.gan import GanGenerator
from counterproof.generators.marked_output import Maker, grid, write_marked
from counterproof.generators.sampling import to_pixels
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.vae import Vae
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw", "write_snapshot"]


def draw(net: nn.Module, n: int, seed: int) -> "NDArray[Any] | None":
    """Return `uint8` pictures `(n, H, W, 3)`, not marked; None for a codec, which draws none.

    Classes take turns. A VAE without its fitted density draws from N(0, 1), which looks worse.
    """
    rng = torch.Generator().manual_seed(seed)
    given: tuple[Tensor, ...]
    device = next(net.parameters()).device
    if isinstance(net, GanGenerator | StyleGenerator):
        z = torch.randn(n, net.latent, generator=rng).to(device)
        turns = torch.arange(n, device=device) % max(1, net.classes)
        label = torch.nn.functional.one_hot(turns, max(1, net.classes)).float()
        given = (z, label if net.classes else label[:, :0])
    elif isinstance(net, Vae):
        given = (torch.randn(n, net.latent, generator=rng).to(device),)
    else:
        return None
    with torch.no_grad():
        return to_pixels(net(*given).float().cpu().numpy())


def write_snapshot(net: nn.Module, out: Path, step: int, name: str, settings: Settings) -> None:
    """Write 40 samples of the averaged network as one marked picture."""
    made = draw(net, 40, 0)
    if made is not None:
        maker = Maker(f"counterproof {name}, in training")
        sheet = grid(made, 10)[None]
        write_marked(sheet, [f"step-{step:07d}"], out, maker, settings=settings, overwrite=True)
