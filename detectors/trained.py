"""A detector that `counterproof detectors train` wrote, asked about pictures: for `evaluate`."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterproof import weights
from counterproof.detectors.detector import MOST_TILES
from counterproof.detectors.features import HEAD, MODEL, SPECTRAL, read_head
from counterproof.detectors.spectral_features import describe
from counterproof.detectors.tiles import cut
from counterproof.errors import UserError, WeightsError

__all__ = ["Trained", "open_trained"]

Score = Callable[[NDArray[np.uint8]], float]
"""From `uint8` RGB `(H, W, 3)` to a score, higher for *machine-made*."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained detector and its levels.

    Attributes:
        score: of a picture.
        thresholds: see `training.calibrate`, set on held-out sources.
    """

    score: Score
    thresholds: dict[str, float]


def open_trained(folder: Path) -> Trained:
    """Open what a recipe wrote into a folder.

    Raises:
        UserError: if the folder holds no trained detector, or one that was altered.
        MissingExtra: if that detector needs scikit-learn, and it is missing.
    """
    file = folder / "training.json"
    try:
        levels = json.loads(file.read_text(encoding="utf-8"))["thresholds"]
        thresholds = {str(name): float(value) for name, value in levels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise UserError(
            f"{folder}: expected a folder that `counterproof detectors train` wrote: {err!r}"
        ) from err
    return Trained(_score_of(folder), thresholds)


def _score_of(folder: Path) -> Score:
    if (folder / "stack.json").is_file():
        return _stack(folder / "stack.json")
    if (folder / HEAD).is_file():
        return _network(folder)
    if (folder / "spectral.onnx").is_file():
        from counterproof.detectors.spectral import Spectral

        return Spectral.load(folder / "spectral.onnx").score_pixels
    if (folder / "residual.onnx").is_file():
        from counterproof.detectors.residual import Residual

        return Residual.load(folder / "residual.onnx").score_pixels
    if (folder / "backbone.onnx").is_file():
        from counterproof.detectors.backbone import Backbone

        return Backbone.load(folder / "backbone.onnx").score_pixels
    raise UserError(f"{folder}: holds levels, but no model that they belong to")


def _network(folder: Path) -> Score:
    """Return what the recipes `default` and `tuned` trained, as `detector.look` joins it."""
    bundled, own = weights.open(MODEL), folder / "lite0.onnx"
    try:
        data = own.read_bytes() if own.is_file() else bundled.read()
        head = read_head((folder / HEAD).read_bytes())
        if head.network != hashlib.sha256(data).hexdigest():
            raise ValueError("the head was trained on features of another network")
        network = weights.session_of(data, own)
        spectral = weights.session_of((folder / SPECTRAL).read_bytes(), folder / SPECTRAL)
    except (OSError, ValueError, WeightsError) as err:
        raise UserError(
            f"{folder}: expected a model of the recipe default or tuned: {err}"
        ) from err

    def score(pixels: NDArray[np.uint8]) -> float:
        (features,) = network.run(["features"], {"tiles": cut(pixels, MOST_TILES).pixels})
        (added,) = spectral.run(["logit"], {"numbers": describe(pixels)[None]})
        return float(head.logits(features).mean() + added[0])

    return score


def _stack(file: Path) -> Score:
    """Return the weighted sum of what the members of the recipe `ensemble` say."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        members = [(Path(name), float(weight)) for name, weight in content["members"].items()]
        bias = float(content["bias"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise UserError(f"{file}: expected what the recipe ensemble wrote: {err!r}") from err
    parts = [(_score_of(folder), weight) for folder, weight in members]
    return partial(_sum, parts, bias)


def _sum(parts: list[tuple[Score, float]], bias: float, pixels: NDArray[np.uint8]) -> float:
    return sum(score(pixels) * weight for score, weight in parts) + bias
