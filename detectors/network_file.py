"""Models as files: a logit of another scale, weights in half precision."""

from typing import TYPE_CHECKING

import numpy as np

from counterproof.detectors.features import WIDTH

if TYPE_CHECKING:
    import onnx

__all__ = ["scaled", "store_in_half"]


def scaled(model: bytes, share: float) -> bytes:
    """Return a spectral model whose logit, and what each number adds to it, is `share` of it.

    Args:
        model: `Spectral.onnx_`.
        share: 0 or more.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(model)
    for item in graph.graph.initializer:
        if item.name in ("weight", "bias"):
            value = (numpy_helper.to_array(item) * share).astype(np.float32)
            item.CopyFrom(numpy_helper.from_array(value, item.name))
    return bytes(graph.SerializeToString())


def store_in_half(model: "onnx.ModelProto") -> None:
    """Keep large weights as float16 with a cast in front: half the file, float32 arithmetic."""
    from onnx import TensorProto, helper, numpy_helper

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
