"""Features of a picture's tiles, from the network that ships with the project.

The network is EfficientNet-Lite0, trained on ImageNet by its authors, its upper half trained
further by `finetune`; means and deviations of its activations at four depths, and the mean of
its last layer, describe each tile. It runs in onnxruntime, so that a new head can be trained
without torch.

Source: Tan and Le, EfficientNet, arXiv 1905.11946; weights of the EfficientNet-Lite release
(Google, Apache-2.0). Which depths: `docs/detectors.md`.
"""

import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from counterproof import weights
from counterproof.detectors import spectral_features

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["HEAD", "MODEL", "PARTS", "SPECTRAL", "TILES", "WIDTH", "describe", "families", "parts"]

MODEL = "detectors/lite0"
HEAD = "lite0-head.npz"
"""Beside the network: `weight` of each feature in its logit, and `usual`, the mean features of
tiles that it was trained on. Both `float32`, shape `(WIDTH,)`."""

SPECTRAL = "lite0-spectral.onnx"
"""Beside the network: what `spectral_features` add to the mean logit of the tiles."""

PARTS = {"details": 48, "texture": 80, "patterns": 224, "shapes": 384, "whole": 1280}
"""Depths whose activations are pooled, by what a value there can see, and how many features each
has, in order: after an eighth, a quarter, half and three quarters of the network, and its end."""

WIDTH = sum(PARTS.values())
"""Features of one tile."""

TILES = 6
"""Tiles of one delivery in training. Scanning may look at more."""


def describe(tiles: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features and logits of tiles.

    Args:
        tiles: `uint8` RGB, shape `(N, 224, 224, 3)`.

    Returns:
        Features, shape `(N, WIDTH)`, and logits of *machine-made*, shape `(N,)`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    features, logits = weights.open(MODEL).session.run(None, {"tiles": tiles})
    return features, logits


def parts(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each of `PARTS` adds to the logit, mean over tiles, against a usual tile.

    Args:
        features: of tiles, as `describe` returns them, shape `(N, WIDTH)`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    head = np.load(io.BytesIO(weights.open(MODEL).beside(HEAD)))
    adds = (features.mean(0) - head["usual"]) * head["weight"]
    starts = np.cumsum([0, *PARTS.values()])[:-1]
    return np.asarray(np.add.reduceat(adds, starts), np.float32)


def families(pixels: NDArray[np.uint8]) -> tuple[float, dict[str, float]]:
    """Return what spectra and noise of a picture add to its logit, and each family's part in it.

    About 30 ms of CPU.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, at least `MIN_SIDE` a side.

    Returns:
        What is added in all; and for each of `spectral_features.FAMILIES` what it adds, against
        a usual picture.

    Raises:
        WeightsError: if the bundled model is missing or altered.
    """
    numbers = spectral_features.describe(pixels)[None]
    logit, adds = _spectral().run(["logit", "parts"], {"numbers": numbers})
    own = np.array([spectral_features.family(name) for name in spectral_features.NAMES])
    names = spectral_features.FAMILIES
    return float(logit[0]), {name: float(adds[0][own == name].sum()) for name in names}


@cache
def _spectral() -> "onnxruntime.InferenceSession":
    model = weights.open(MODEL)
    return weights.session_of(model.beside(SPECTRAL), model.path.with_name(SPECTRAL))
