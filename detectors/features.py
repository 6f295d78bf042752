"""What ships: features of a picture's tiles, their weights, and what spectra and noise add.

The network is EfficientNet-Lite0 as its authors trained it on ImageNet; means and deviations of
its activations at four depths, and the mean of its last layer, describe each tile. It runs in
onnxruntime, so that a new head can be trained without torch; the head is a file of its own, so
that a new one leaves the network as it is.

Source: Tan and Le, EfficientNet, arXiv 1905.11946; weights of the EfficientNet-Lite release
(Google, Apache-2.0). Which depths: `docs/detectors.md`.
"""

import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from counterproof import weights
from counterproof.detectors import spectral_features

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "HEAD",
    "MODEL",
    "PARTS",
    "SPECTRAL",
    "TILES",
    "WIDTH",
    "LinearHead",
    "bundled_head",
    "describe",
    "families",
    "parts",
    "read_head",
]

MODEL = "detectors/lite0"
HEAD = "lite0-head.npz"
"""Beside the network: a `LinearHead`."""

SPECTRAL = "lite0-spectral.onnx"
"""Beside the network: what `spectral_features` add to the mean logit of the tiles."""

PARTS = {"details": 48, "texture": 80, "patterns": 224, "shapes": 384, "whole": 1280}
"""Depths whose activations are pooled, by what a value there can see, and how many features each
has, in order: after an eighth, a quarter, half and three quarters of the network, and its end."""

WIDTH = sum(PARTS.values())
"""Features of one tile."""

TILES = 6
"""Tiles of one delivery in training. Scanning may look at more."""


@dataclass(frozen=True, slots=True)
class LinearHead:
    """What turns features of a tile into its logit of *machine-made*.

    Attributes:
        weight: of each feature, shape `(WIDTH,)`.
        bias: added to the sum.
        usual: mean features of the tiles that it was trained on, shape `(WIDTH,)`.
        network: SHA-256 of the network whose features these are, hex.
    """

    weight: NDArray[np.float32]
    bias: float
    usual: NDArray[np.float32]
    network: str

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logit of each tile, shape `(N,)`, from features, shape `(N, WIDTH)`."""
        return np.asarray(features @ self.weight + np.float32(self.bias), np.float32)

    def save(self, path: Path) -> None:
        """Write the head; nothing is pickled."""
        np.savez(
            path,
            weight=self.weight.astype(np.float32),
            bias=np.float32(self.bias),
            usual=self.usual.astype(np.float32),
            network=np.array(self.network),
        )


def read_head(data: bytes) -> LinearHead:
    """Read what `LinearHead.save` wrote.

    Raises:
        ValueError: if it is something else.
    """
    try:
        with np.load(io.BytesIO(data)) as kept:
            made = LinearHead(
                kept["weight"], float(kept["bias"]), kept["usual"], str(kept["network"])
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as err:
        raise ValueError(f"not a head: {err!r}") from err
    if not made.weight.shape == made.usual.shape == (WIDTH,):
        raise ValueError(f"a head of {made.weight.shape} features, expected {WIDTH}")
    return made


@cache
def bundled_head() -> LinearHead:
    """Return the head that ships.

    Raises:
        WeightsError: if it is missing or altered.
    """
    return read_head(weights.open(MODEL).beside(HEAD))


def describe(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return features of tiles, shape `(N, WIDTH)`.

    Args:
        tiles: `uint8` RGB, shape `(N, 224, 224, 3)`.

    Raises:
        WeightsError: if the bundled network is missing or altered.
    """
    (features,) = weights.open(MODEL).session.run(["features"], {"tiles": tiles})
    return np.asarray(features, np.float32)


def parts(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each of `PARTS` adds to the logit, mean over tiles, against a usual tile.

    Args:
        features: of tiles, as `describe` returns them, shape `(N, WIDTH)`.

    Raises:
        WeightsError: if the bundled head is missing or altered.
    """
    head = bundled_head()
    adds = (features.mean(0) - head.usual) * head.weight
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
