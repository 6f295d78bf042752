"""Any network of the user's as a detector: its activations at several depths, and a linear head.

The network stays as it is. Means and deviations of what it makes of a tile at each of its sizes
describe the tile, the mean over tiles the picture, and one weight a number is fitted to that.
Every convolutional network of torchvision will do, with weights that the user brings; so will
any torch module that takes normalised RGB pictures.

Training needs torch; what `save` writes runs in onnxruntime. Source of pooling at several
depths: docs/detectors.md.
"""

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors.estimator import RowClassifier, read_model, write_model
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.head import PENALTY, fit_rows
from counterproof.detectors.tiles import SIDE, cut
from counterproof.errors import MissingExtra, UserError
from counterproof.weights import session_of

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["MEAN", "SPREAD", "Backbone", "of_torchvision", "stages"]

KIND = "counterproof.backbone/1"
TILES = 6
"""Tiles of one picture."""

MEAN = (123.675, 116.28, 103.53)
SPREAD = (58.395, 57.12, 57.375)
"""Of red, green and blue, as torchvision's networks expect them, times 255. Source:
`torchvision.transforms._presets.ImageClassification`."""


class Backbone(RowClassifier):
    """A frozen network with a linear head on pooled activations.

    Args:
        network: a torch module from `float32` pictures `(N, 3, SIDE, SIDE)`; None only for a
            model that was loaded.
        layers: names of modules whose outputs, `(N, C, H, W)`, are pooled; empty for `stages`.
        mean, spread: a picture is `(RGB - mean) / spread` to the network, RGB from 0 to 255.
        penalty: strength of the ridge penalty, see `head.fit_rows`.
        deliveries: random deliveries of each path in training, at least 1; rows are taken as
            they are.
        seed: of the deliveries.

    Attributes:
        weight_: of each number, shape `(width,)`.
        bias_: added to the sum.
        onnx_: the model: input `tiles`, outputs `features` and `logit`.
        classes_: `[False, True]`; True is machine-made.
    """

    def __init__(
        self,
        network: Any = None,
        layers: tuple[str, ...] = (),
        mean: tuple[float, float, float] = MEAN,
        spread: tuple[float, float, float] = SPREAD,
        penalty: float = PENALTY,
        deliveries: int = 2,
        seed: int = 0,
    ) -> None:
        self.network = network
        self.layers = layers
        self.mean = mean
        self.spread = spread
        self.penalty = penalty
        self.deliveries = deliveries
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the head.

        Args:
            X: paths, or `float` rows that `describe` made, shape `(N, width)`.
            y: whether each is machine-made.
            sample_weight: of each; see `samples.balance`.

        Raises:
            ImageError: if a picture cannot be read.
            UserError: if there is no network, or it makes nothing that can be pooled.
        """
        rows, labels, given = self.training_rows(X, y, sample_weight)
        self.weight_, self.bias_ = fit_rows(rows, labels, given, penalty=self.penalty)
        self.onnx_ = self._exported(self.weight_, self.bias_)
        self.classes_ = np.array([False, True])
        return self

    def describe(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the numbers of one picture, shape `(width,)`: means over its tiles.

        Args:
            pixels: `uint8` RGB, shape `(H, W, 3)`, at least `MIN_SIDE` a side.
        """
        import torch

        if not hasattr(self, "_pooled"):
            self._pooled = _pooled(self)
        with torch.no_grad():
            features, _ = self._pooled(torch.from_numpy(cut(pixels, TILES).pixels))
        return np.asarray(features.mean(0).numpy(), np.float32)

    def _exported(self, weight: NDArray[Any], bias: float) -> bytes:
        import torch

        pooled = _pooled(self)
        with torch.no_grad():
            pooled.head.weight.copy_(torch.from_numpy(weight.astype(np.float32))[None])
            pooled.head.bias.fill_(bias)
        file = io.BytesIO()
        names = {"tiles": {0: "n"}, "features": {0: "n"}, "logit": {0: "n"}}
        torch.onnx.export(
            pooled,
            (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
            file,  # type: ignore[arg-type]
            input_names=["tiles"],
            output_names=["features", "logit"],
            dynamic_axes=names,
            opset_version=17,
            dynamo=False,
        )
        return file.getvalue()

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logit of each path, as it is, or row, shape `(N,)`."""
        if isinstance(X, np.ndarray) and X.dtype.kind == "f":
            return np.asarray(X @ self.weight_ + self.bias_, np.float64)
        return np.array([self.score_pixels(np.asarray(open_picture(Path(path)))) for path in X])

    def score_pixels(self, pixels: NDArray[np.uint8]) -> float:
        """Return the mean logit of the tiles of one picture, `uint8` RGB `(H, W, 3)`."""
        tiles = cut(pixels, TILES).pixels
        return float(_session(self.onnx_).run(["logit"], {"tiles": tiles})[0].mean())

    def save(self, path: Path) -> None:
        """Write network and head as `path` (ONNX), and what describes them as JSON beside it."""
        settings = {name: value for name, value in self.get_params().items() if name != "network"}
        weight = [float(value) for value in self.weight_]
        content = {"parameters": settings, "weight": weight, "bias": self.bias_}
        write_model(path, self.onnx_, KIND, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model that `save` wrote. It scores; to fit again, it needs its network.

        Raises:
            UserError: if the files are not one, or were altered.
        """
        model, content = read_model(path, KIND)
        try:
            made = cls(**content["parameters"])
            made.weight_ = np.array(content["weight"], float)
            made.bias_ = float(content["bias"])
        except (ValueError, KeyError, TypeError) as err:
            raise UserError(f"{path}: expected a backbone detector: {err}") from err
        made.onnx_ = model
        made.classes_ = np.array([False, True])
        return made


def of_torchvision(name: str, file: Path) -> Any:
    """Return a network of torchvision with the user's weights.

    Args:
        name: such as `resnet50`; see `torchvision.models.list_models`.
        file: its state dictionary, safetensors or as `torch.save` writes it; nothing else in
            the file is unpickled.

    Raises:
        MissingExtra: without torchvision, or with one that does not fit the torch at hand.
        UserError: if there is no such network, or the weights are of another.
    """
    try:
        import torch
        from torchvision import models
    except (ImportError, RuntimeError) as err:  # operators of another torch: RuntimeError
        raise MissingExtra(f"networks of torchvision ({err})", "train") from err
    try:
        network = models.get_model(name, weights=None)
    except ValueError as err:
        raise UserError(f"expected a network of torchvision, got {name!r}: {err}") from err
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as err:  # each of the readers has errors of its own
        reason = str(err).strip().splitlines()[0]
        raise UserError(f"{file}: expected weights of {name}: {reason}") from err
    return network.eval()


def stages(network: Any) -> tuple[str, ...]:
    """Return the names of the last module at each size that a network makes of a picture.

    Args:
        network: a torch module from `float32` pictures `(N, 3, SIDE, SIDE)`.

    Raises:
        UserError: if no module returns `(N, C, H, H)` with more than one row.
    """
    import torch

    last: dict[int, str] = {}
    hooks = []
    for name, module in network.named_modules():

        def note(_module: Any, _given: Any, made: Any, name: str = name) -> None:
            square = isinstance(made, torch.Tensor) and made.ndim == 4
            if name and square and 1 < made.shape[2] == made.shape[3]:
                last[made.shape[2]] = name

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, SIDE, SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise UserError("expected a network with activations of shape (N, C, H, W); name layers")
    return tuple(last.values())


def _pooled(settings: Backbone) -> Any:
    """Return a torch module from `uint8` tiles `(N, SIDE, SIDE, 3)` to features and logits."""
    import torch
    from torch import nn

    network = settings.network
    if network is None:
        raise UserError("expected a network to train with; a loaded model only scores")
    names = tuple(settings.layers) or stages(network)
    known = dict(network.named_modules())
    for name in names:
        if name not in known:
            raise UserError(f"expected the name of a layer of the network, got {name!r}")

    class Pooled(nn.Module):
        mean: torch.Tensor
        spread: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network.eval()
            for own, values in (("mean", settings.mean), ("spread", settings.spread)):
                self.register_buffer(own, torch.tensor(values).view(1, 3, 1, 1))
            with torch.no_grad():
                width = self.features(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)).shape[1]
            self.head = nn.Linear(width, 1)

        def features(self, tiles: torch.Tensor) -> torch.Tensor:
            pooled = {}

            def pool(name: str, made: torch.Tensor) -> None:
                pooled[name] = [made.mean((2, 3)), made.std((2, 3))]

            hooks = [
                known[name].register_forward_hook(lambda _m, _x, made, name=name: pool(name, made))
                for name in names
            ]
            try:
                self.network((tiles.permute(0, 3, 1, 2).float() - self.mean) / self.spread)
            finally:
                for hook in hooks:
                    hook.remove()
            return torch.cat([part for name in names for part in pooled[name]], 1)

        def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.features(tiles)
            return features, self.head(features)[:, 0]

    return Pooled().eval()


@lru_cache(maxsize=2)
def _session(model: bytes) -> "onnxruntime.InferenceSession":
    return session_of(model, Path("backbone.onnx"))
