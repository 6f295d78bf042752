"""What a model is and how it is trained: plain dataclasses, written into every checkpoint."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from counterproof.errors import WeightsError
from counterproof.weights import build

__all__ = [
    "FAMILIES",
    "CodecConfig",
    "Config",
    "GanConfig",
    "StyleganConfig",
    "VaeConfig",
    "config_from_json",
    "config_to_json",
    "family_of",
]


@dataclass(frozen=True, slots=True)
class GanConfig:
    """An R3-style GAN: relativistic loss, R1 and R2, no normalisation, thin outer resolutions.

    Attributes:
        size: side of the pictures in pixels, a power of two of at least 16.
        classes: number of classes that can be chosen; 0 for none.
        latent: dimensions of z.
        channels: of the generator at 4, 8, 16, … pixels, up to half the size.
        batch: pictures per step and process.
        images: pictures seen when training is complete.
        rate: learning rate of the generator.
        critic_rate: of the discriminator.
        penalty: gamma of R1 and R2.
        penalty_every: steps between penalties; each then counts as often.
        augment_target: mean sign of the margin that augmentation aims at; 0 switches it off.
        augment_most: highest probability of each augmentation.
        average_images: half-life of the averaged weights, in pictures.

    Source: arXiv 2501.05441 (loss, architecture), 2006.06676 (augmentation); numbers from own
        trials at 64 px, docs/generators.md.
    """

    size: int = 64
    classes: int = 0
    latent: int = 64
    channels: tuple[int, ...] = (128, 96, 64, 32)
    batch: int = 16
    images: int = 1_000_000
    rate: float = 4e-4
    critic_rate: float = 4e-4
    penalty: float = 1.0
    penalty_every: int = 8
    augment_target: float = 0.6
    augment_most: float = 0.6
    average_images: int = 10_000


@dataclass(frozen=True, slots=True)
class StyleganConfig:
    """A StyleGAN2 generator against the discriminator of `GanConfig`.

    Attributes:
        latent: dimensions of z and of w.
        base: channels × resolution, until `most` channels.
        most: largest number of channels.
        mapping: layers between z and w.
        noise: whether layers add noise; off, since early in training it is a shortcut.
        mixing: probability that a training picture mixes two styles.
        path_length: weight of path-length regularisation; 0 switches it off.
        path_every: steps between its uses.
        critic_channels: of the discriminator at 4, 8, … pixels, up to half the size.

    The other fields mean what they mean in `GanConfig`.

    Source: arXiv 1912.04958; numbers from own trials at 64 px, docs/generators.md.
    """

    size: int = 64
    classes: int = 0
    latent: int = 128
    base: int = 1024
    most: int = 128
    mapping: int = 2
    noise: bool = False
    mixing: float = 0.0
    path_length: float = 0.0
    path_every: int = 8
    critic_channels: tuple[int, ...] = (128, 96, 64, 32)
    batch: int = 16
    images: int = 1_000_000
    rate: float = 5e-3
    critic_rate: float = 4e-4
    penalty: float = 1.0
    penalty_every: int = 8
    augment_target: float = 0.6
    augment_most: float = 0.6
    average_images: int = 10_000


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """A variational autoencoder whose likelihood has the best variance for its data.

    Attributes:
        size: side of the pictures in pixels, a multiple of 16.
        latent: dimensions of z.
        channels: from half the size downwards.
        batch: pictures per step and process.
        images: pictures seen when training is complete; the rate falls over the second half.
        rate: learning rate.
        shift: pixels by which training pictures are moved at most.
        components: Gaussians of the mixture that is fitted to the latents afterwards.
        average_images: half-life of the averaged weights, in pictures.

    Source: arXiv 2006.13202 (likelihood), 1903.12436 (density after training).
    """

    size: int = 64
    latent: int = 128
    channels: tuple[int, ...] = (24, 48, 96, 128)
    batch: int = 32
    images: int = 200_000
    rate: float = 1e-3
    shift: int = 2
    components: int = 30
    average_images: int = 10_000


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """A spatial-latent autoencoder that compresses, one model for all qualities.

    Attributes:
        size: side of the training crops in pixels, a multiple of 8.
        channels: at 1/2, 1/4 and 1/8 of the size.
        latent: channels of the latent at 1/8 of the size.
        weights: of the squared error against bits per pixel, one for each quality.
        batch: pictures per step and process.
        images: pictures seen when training is complete; the rate falls over the second half.
        rate: learning rate.
        average_images: half-life of the averaged weights, in pictures.

    Source: arXiv 1611.01704 (uniform noise in place of rounding), 2002.10032 (gains).
    """

    size: int = 64
    channels: tuple[int, ...] = (32, 64, 96)
    latent: int = 32
    weights: tuple[float, ...] = (40.0, 100.0, 250.0, 600.0, 1500.0, 4000.0)
    batch: int = 16
    images: int = 200_000
    rate: float = 1e-3
    average_images: int = 2_000


Config: TypeAlias = GanConfig | StyleganConfig | VaeConfig | CodecConfig

FAMILIES: dict[str, type[Config]] = {
    "gan": GanConfig,
    "vae": VaeConfig,
    "stylegan": StyleganConfig,
    "codec": CodecConfig,
}


def family_of(config: Config) -> str:
    """Return the family that a config is of."""
    return next(name for name, kind in FAMILIES.items() if type(config) is kind)


def config_to_json(config: Config) -> dict[str, Any]:
    """Return the family and every field as JSON values."""
    made: dict[str, Any] = {"family": family_of(config)}
    for key, value in dataclasses.asdict(config).items():
        made[key] = list(value) if isinstance(value, tuple) else value
    return made


def config_from_json(value: Mapping[str, Any]) -> Config:
    """Read what `config_to_json` wrote.

    Raises:
        WeightsError: if the family or a field is unknown, missing or not of its kind.
    """
    fields = dict(value)
    family = str(fields.pop("family", None))
    if family not in FAMILIES:
        raise WeightsError(f"expected a model family of {', '.join(FAMILIES)}, got {family!r}")
    return build(FAMILIES[family], fields, family)
