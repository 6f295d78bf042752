"""Write trained networks as ONNX: weights in half precision, arithmetic in single.

A file describes itself: family, classes and their shares stand in its metadata, so that
sampling needs nothing else. All randomness is an input. Training room.
"""

import dataclasses
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterproof.generators.checkpoint import write_whole
from counterproof.generators.codec_net import CodecNet
from counterproof.generators.feature_net import FeatureNet
from counterproof.generators.graphs import graph_of
from counterproof.generators.prior import LatentPrior
from counterproof.generators.sampling import METADATA, ModelFacts
from counterproof.generators.stylegan import StyleGenerator
from counterproof.generators.vae import Vae

__all__ = ["export_codec", "export_features", "export_generator"]

FOLD_BELOW = 2  # values
HALF_FROM = 64  # values; smaller tensors stay in single precision


class _Coder(nn.Module):
    def __init__(self, part: nn.Module, given: bool) -> None:
        super().__init__()
        self.part, self.given = part, given

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        made: Tensor = self.part(x) * scale if self.given else self.part(x * scale)
        return made


def export_generator(
    net: nn.Module, prior: LatentPrior | None, path: Path, facts: ModelFacts
) -> None:
    """Write a generator.

    Inputs are z `(N, latent)` and label `(N, classes)`; for StyleGAN2 also another z, the
    truncation and the layer where the other begins; a VAE takes a component instead of a label.
    """
    graph, z, one = graph_of(net, prior), torch.zeros(2, facts.latent), torch.tensor(1.0)
    given = {"z": z, "label": torch.zeros(2, len(facts.classes))}
    if isinstance(net, StyleGenerator):
        given = {"z": z, "other": z.clone(), "label": given["label"],
                 "truncation": one, "cut": torch.tensor(net.depth)}  # fmt: skip
    elif isinstance(net, Vae):
        given = {"z": z, "component": torch.zeros(2, dtype=torch.int64), "truncation": one}
    batched = {"z", "other", "label", "component"}
    _write(graph, given, path, dataclasses.asdict(facts), batched)


def export_codec(net: CodecNet, decoder: Path, encoder: Path) -> None:
    """Write both halves of the codec; the gains of each quality go into its tables."""
    latent = torch.zeros(2, net.latent, 8, 8)
    scale = torch.ones(1, net.latent, 1, 1)
    sides = {"latent": {0: "n", 2: "h", 3: "w"}, "image": {0: "n", 2: "h", 3: "w"}}
    _write(_Coder(net.decoder, False), {"latent": latent, "scale": scale}, decoder,
           {"family": "codec-decoder"}, set(), {"latent": sides["latent"]})  # fmt: skip
    image = torch.zeros(2, 3, 64, 64)
    _write(_Coder(net.encoder, True), {"image": image, "scale": scale}, encoder,
           {"family": "codec-encoder"}, set(), {"image": sides["image"]})  # fmt: skip


def export_features(net: FeatureNet, path: Path, classes: tuple[str, ...]) -> None:
    """Write the feature net: image `(N, 3, 64, 64)` to features and class logits."""
    described = {"family": "features", "classes": list(classes)}
    _write(net, {"image": torch.zeros(2, 3, 64, 64)}, path, described, {"image"})


def _write(
    net: nn.Module,
    given: dict[str, Tensor],
    path: Path,
    about: dict[str, Any],
    batched: set[str],
    sides: dict[str, dict[int, str]] | None = None,
) -> None:
    shapes: dict[str, Any] = {name: {0: "n"} if name in batched else None for name in given}
    for name, axes in (sides or {}).items():
        shapes[name] = {0: "n"}
        multiple = 8 if name == "image" else 1
        for axis, label in axes.items():
            if axis:
                side = torch.export.Dim(label, min=1, max=4096)
                shapes[name][axis] = multiple * side if multiple > 1 else side
    for axes in shapes.values():
        if axes and axes.get(0) == "n":
            axes[0] = torch.export.Dim("n", min=1, max=4096)
    outputs = ["features", "classes"] if about["family"] == "features" else ["made"]
    from onnxscript import optimizer

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval(), tuple(given.values()), dynamo=True, input_names=list(given),
            output_names=outputs, dynamic_shapes=tuple(shapes.values()), opset_version=18,
            verbose=False, optimize=False,
        )  # fmt: skip
        assert program is not None
        # fold scalars only, so that every weight keeps its name and can be loaded into torch again
        optimizer.optimize_ir(program.model, input_size_limit=FOLD_BELOW)
    model = _halved(program.model_proto)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(about)
    write_whole(path, model.SerializeToString())


def _halved(model: Any) -> Any:
    """Store weights as float16 with a Cast in front: half the file, the same arithmetic."""
    from onnx import TensorProto, checker, helper, numpy_helper

    graph, kept, casts = model.graph, [], []
    for tensor in list(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= HALF_FROM:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
            casts.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT
                )
            )
        else:
            kept.append(tensor)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(casts + nodes)
    del model.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    checker.check_model(model)
    return model
