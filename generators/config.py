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
    "CriticConfig",
    "GanConfig",
    "StyleganConfig",
    "TrainingConfig",
    "VaeConfig",
    "config_from_json",
    "config_to_json",
    "family_of",
]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What every family has.

    Attributes:
        size: side of the pictures in pixels.
        batch: pictures per step and process.
        images: pictures seen when training is complete.
        rate: highest learning rate of the network that is averaged and exported.
        average_images: half-life of the averaged weights, in pictures.
    """

    size: int = 64
    batch: int = 16
    images: int = 1_000_000
    rate: float = 4e-4
    average_images: int = 10_000


@dataclass(frozen=True, slots=True)
class CriticConfig(TrainingConfig):
    """What every family has that trains against a discriminator.

    The rates of both sides fall over the last 30 % of the training.

    Attributes:
        critic_rate: highest learning rate of the discriminator.
        penalty: gamma of R1 and R2.
        penalty_every: steps between penalties; each then counts as often.
        augment_target: mean sign of the margin that augmentation aims at; 0 switches it off.
        augment_most: highest probability of each augmentation.

    Source: arXiv 2501.05441 (loss), 2006.06676 (augmentation); numbers from own trials at 64 px,
        docs/generators.md.
    """

    critic_rate: float = 4e-4
    penalty: float = 1.0
    penalty_every: int = 8
    augment_target: float = 0.6
    augment_most: float = 0.6


@dataclass(frozen=True, slots=True)
class GanConfig(CriticConfig):
    """An R3-style GAN: relativistic loss, R1 and R2, no normalisation, thin outer resolutions.

    The size is a power of two of at least 16.

    Attributes:
        classes: number of classes that can be chosen; 0 for none.
        latent: dimensions of z.
        channels: of the generator at 4, 8, 16, … pixels, up to half the size.

    Source: arXiv 2501.05441 (loss, architecture); numbers from own trials at 64 px,
        docs/generators.md.
    """

    classes: int = 0
    latent: int = 64
    channels: tuple[int, ...] = (128, 96, 64, 32)


@dataclass(frozen=True, slots=True)
class StyleganConfig(CriticConfig):
    """A StyleGAN2 generator against the discriminator of `GanConfig`.

    Attributes:
        classes: number of classes that can be chosen; 0 for none.
        latent: dimensions of z and of w.
        base: channels × resolution, until `most` channels.
        most: largest number of channels.
        mapping: layers between z and w.
        noise: whether layers add noise.
        noise_from: pictures after which they do; early in training noise is a shortcut.
        mixing: probability that a training picture mixes two styles.
        path_length: weight of path-length regularisation; 0 switches it off.
        path_every: steps between its uses.
        critic_channels: of the discriminator at 4, 8, … pixels, up to half the size.

    Source: arXiv 1912.04958; numbers from own trials at 64 px, docs/generators.md.
    """

    rate: float = 5e-3
    classes: int = 0
    latent: int = 128
    base: int = 1024
    most: int = 128
    mapping: int = 2
    noise: bool = True
    noise_from: int = 70_000
    mixing: float = 0.0
    path_length: float = 0.0
    path_every: int = 8
    critic_channels: tuple[int, ...] = (128, 96, 64, 32)


@dataclass(frozen=True, slots=True)
class VaeConfig(CriticConfig):
    """A variational autoencoder whose likelihood has the best variance for its data.

    The size is a power of two of at least 16 (without a discriminator, a multiple of 16); the rate
    falls over the second half of the training.

    Attributes:
        latent: dimensions of z.
        channels: from half the size downwards.
        shift: pixels by which training pictures are moved at most.
        smooth: whether the decoder ends with a small blur, which no grid of two pixels passes.
        components: Gaussians that are fitted to the latents afterwards, each to a part of a class.
        critic_from: pictures after which a discriminator joins; 0 for never.
        critic_weight: of its slope at a picture, against the slope of the likelihood.
        critic_channels: of the discriminator at 4, 8, … pixels, up to half the size.
        classes: number of classes that it tells apart; 0 for none.
        drawn_from: pictures after which it also judges what is drawn from Gaussians of the
            latents, one for each class, which are wider than those fitted afterwards; 0 for never.

    Source: arXiv 2006.13202 (likelihood), 1903.12436 (density after training), 1512.09300
        (discriminator, of reconstructions and of what is drawn).
    """

    batch: int = 32
    images: int = 200_000
    rate: float = 1e-3
    latent: int = 128
    channels: tuple[int, ...] = (24, 48, 96, 128)
    shift: int = 2
    smooth: bool = True
    components: int = 60
    critic_from: int = 100_000
    critic_weight: float = 0.7
    critic_channels: tuple[int, ...] = (128, 96, 64, 32)
    classes: int = 0
    drawn_from: int = 140_000


@dataclass(frozen=True, slots=True)
class CodecConfig(TrainingConfig):
    """A spatial-latent autoencoder that compresses, one model for all qualities.

    The size is that of the training crops, a multiple of 8; the rate falls over the second half.

    Attributes:
        channels: at 1/2, 1/4 and 1/8 of the size.
        latent: channels of the latent at 1/8 of the size.
        weights: of the squared error against bits per pixel, one for each quality.

    Source: arXiv 1611.01704 (uniform noise in place of rounding), 2002.10032 (gains).
    """

    images: int = 200_000
    rate: float = 1e-3
    average_images: int = 2_000
    channels: tuple[int, ...] = (32, 64, 96)
    latent: int = 32
    weights: tuple[float, ...] = (40.0, 100.0, 250.0, 600.0, 1500.0, 4000.0)


Config: TypeAlias = GanConfig | StyleganConfig | VaeConfig | CodecConfig

FAMILIES: dict[str, type[Config]] = {
    "gan": GanConfig,
    "vae": VaeConfig,
    "stylegan": StyleganConfig,
    "codec": CodecConfig,
}


# Fields that came after models were published, with what those models had.
LATER: dict[str, dict[str, Any]] = {
    "stylegan": {"noise_from": 0},
    "vae": {
        "classes": 0,
        "critic_from": 0,
        "critic_weight": 0.7,
        "drawn_from": 0,
        "smooth": False,
        "critic_channels": [128, 96, 64, 32],
        "critic_rate": 4e-4,
        "penalty": 1.0,
        "penalty_every": 8,
        "augment_target": 0.6,
        "augment_most": 0.6,
    },
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
    return build(FAMILIES[family], LATER.get(family, {}) | fields, family)
