"""A density for the latents of a trained VAE, fitted afterwards: samples come from it.

The posterior of a sharp VAE is far from N(0, 1); drawing from what the training pictures take
brings the distance from 46 to 20 without training (docs/generators.md). Training room.

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


@dataclass(frozen=True, slots=True, eq=False)
class LatentPrior:
    """Gaussians: first those of the mixture, then one for each class.

    Attributes:
        means: `(K, D)`, float32.
        factors: lower Cholesky factors, `(K, D, D)`, float32; `(1, D, D)` if all share one.
        weights: of the mixture, `(M,)`, adding up to 1; K = M + number of classes.
    """

    means: "NDArray[Any]"
    factors: "NDArray[Any]"
    weights: "NDArray[Any]"

    def gaussian(self, number: int) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Return mean `(D,)` and factor `(D, D)` of one of them."""
        return self.means[number], self.factors[number % len(self.factors)]


def fit_prior(net: Vae, data: Pictures, components: int, seed: int = 0) -> LatentPrior:
    """Fit to the latents of the training pictures and their mirrors.

    Each component keeps 100 pictures or more on average, so that no sample is a copy of a few.

    Args:
        net: the trained network.
        data: its training pictures.
        components: of the mixture; 0 for one Gaussian for each class, of a common covariance, as
            a decoder knows them that a discriminator judged by what was drawn from them.
        seed: of the latents and of the fit.
    """
    pixels, labels = data.train()
    latents = _latents(net, np.concatenate([pixels, pixels[:, :, ::-1]]), seed)
    classes = np.concatenate([labels, labels])
    if components:
        return _mixture(latents, classes, len(data.classes), components, seed)
    return _common(latents, classes, len(data.classes))


def _common(latents: "NDArray[Any]", classes: "NDArray[Any]", count: int) -> LatentPrior:
    shares = np.bincount(classes, minlength=count) / len(classes)
    means = np.stack(
        [latents[classes == index].mean(0) if share else latents.mean(0)
         for index, share in enumerate(shares)]
    )  # fmt: skip
    covariance = np.cov((latents - means[classes]).T) + 1e-4 * np.eye(latents.shape[1])
    factor = np.linalg.cholesky(covariance)[None]
    return LatentPrior(
        np.concatenate([means, means]).astype(np.float32), factor.astype(np.float32), shares
    )


def _mixture(
    latents: "NDArray[Any]", classes: "NDArray[Any]", count: int, components: int, seed: int
) -> LatentPrior:
    from sklearn.mixture import GaussianMixture

    components = max(1, min(components, len(latents) // 100))
    mixture = GaussianMixture(
        components, covariance_type="full", reg_covar=0.05, max_iter=30, random_state=seed
    ).fit(latents)
    means, covariances = list(mixture.means_), list(mixture.covariances_)
    for index in range(count):
        own = latents[classes == index]
        covariance = np.cov(own.T) if len(own) > 1 else np.eye(latents.shape[1])
        means.append(own.mean(0))
        covariances.append(0.9 * covariance + 0.1 * np.diag(np.diag(covariance)))
    ridge = 1e-5 * np.eye(latents.shape[1])
    factors = np.stack([np.linalg.cholesky(value + ridge) for value in covariances])
    return LatentPrior(
        np.stack(means).astype(np.float32), factors.astype(np.float32), mixture.weights_
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
