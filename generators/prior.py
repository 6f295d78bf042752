"""A density for the latents of a trained VAE, fitted afterwards: samples come from it.

The posterior of a sharp VAE is far from N(0, 1); drawing from what the training pictures take
brought the distance from 46 to 20 without training (docs/generators.md). Training room.

Source: arXiv 1903.12436.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from counterproof.generators.dataset import Pictures
from counterproof.generators.vae import Vae

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LatentPrior", "fit_prior"]


SPREAD = 0.8  # of a Gaussian's: its edges are where no picture lies (docs/generators.md)
FEWEST = 100  # pictures that a Gaussian stands for on average, so that no sample copies a few


@dataclass(frozen=True, slots=True, eq=False)
class LatentPrior:
    """A mixture of Gaussians, each of one class.

    Attributes:
        means: `(K, D)`, float32.
        factors: lower Cholesky factors, `(K, D, D)`, float32.
        weights: adding up to 1, `(K,)`.
        classes: `(K,)`, from 0.
    """

    means: "NDArray[Any]"
    factors: "NDArray[Any]"
    weights: "NDArray[Any]"
    classes: "NDArray[Any]"


def fit_prior(net: Vae, data: Pictures, components: int, seed: int = 0) -> LatentPrior:
    """Fit to the latents of the training pictures and their mirrors.

    Args:
        net: the trained network.
        data: its training pictures.
        components: Gaussians in all; each class with pictures has one or more.
        seed: of the latents and of the fit.
    """
    from sklearn.mixture import GaussianMixture

    pixels, labels = data.train()
    latents = _latents(net, np.concatenate([pixels, pixels[:, :, ::-1]]), seed)
    labels = np.concatenate([labels, labels])
    means, covariances, weights, classes = [], [], [], []
    for number in np.unique(labels):
        own = latents[labels == number]
        share = len(own) / len(latents)
        count = max(1, min(round(components * share), len(own) // FEWEST))
        mixture = GaussianMixture(
            count, covariance_type="full", reg_covar=0.05, max_iter=30, random_state=seed
        ).fit(own)
        means.append(mixture.means_)
        covariances.append(mixture.covariances_)
        weights.append(share * mixture.weights_)
        classes.append(np.full(count, number))
    factors = SPREAD * np.linalg.cholesky(np.concatenate(covariances))
    return LatentPrior(
        np.concatenate(means).astype(np.float32),
        factors.astype(np.float32),
        np.concatenate(weights),
        np.concatenate(classes),
    )


def _latents(net: Vae, pixels: "NDArray[Any]", seed: int) -> "NDArray[Any]":
    """Draw one latent from the posterior of each picture."""
    found = []
    with torch.no_grad():
        for start in range(0, len(pixels), 128):
            part = torch.from_numpy(pixels[start : start + 128].copy())
            mean, log_variance = net.encode(part.permute(0, 3, 1, 2).float() / 127.5 - 1)
            found.append((mean.numpy(), (log_variance / 2).exp().numpy()))
    means, widths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    made: NDArray[Any] = means + widths * np.random.default_rng(seed).standard_normal(means.shape)
    return made
