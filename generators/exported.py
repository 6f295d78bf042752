"""Read an exported file back into torch, weights in half precision and all. Training room.

Only what drawing needs is in it: a VAE's encoder is missing, and nothing that training needs.
"""

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterproof.errors import WeightsError
from counterproof.generators.config import Config, VaeConfig, config_from_json
from counterproof.generators.sampling import METADATA, ModelFacts, facts_from_json

if TYPE_CHECKING:
    from counterproof.generators.prior import LatentPrior

__all__ = ["read_exported"]

ENCODER = ("down.", "posterior.")  # parts of a VAE that no exported file holds


def read_exported(
    data: bytes, name: str
) -> "tuple[Config, ModelFacts, nn.Module, LatentPrior | None]":
    """Read an ONNX file that `export` wrote.

    Args:
        data: the file.
        name: for messages.

    Raises:
        WeightsError: if it is not one, or was exported before its weights kept their names.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_from_string(data)
    except DecodeError as err:
        raise WeightsError(f"{name}: not an ONNX model: {err}") from err
    said = {entry.key: entry.value for entry in model.metadata_props}
    facts = facts_from_json(said.get(METADATA, "null"), name)
    try:
        config = config_from_json(json.loads(facts.config or "null") or {})
    except (json.JSONDecodeError, WeightsError, TypeError, ValueError) as err:
        raise WeightsError(f"{name}: holds no settings to build its network from: {err}") from err
    net, prior = _filled(model.graph.initializer, config, facts, name)
    return config, facts, net.eval().requires_grad_(False), prior


def _filled(
    initializers: Any, config: Config, facts: ModelFacts, name: str
) -> "tuple[nn.Module, LatentPrior | None]":
    import numpy as np
    from onnx import numpy_helper

    from counterproof.generators.prior import LatentPrior
    from counterproof.generators.tasks import make_task

    held: dict[str, Tensor] = {}
    for item in initializers:
        if item.external_data:
            raise WeightsError(f"{name}: keeps weights in other files, which are not read")
        key = item.name.removesuffix(".half")
        held[key] = torch.from_numpy(np.array(numpy_helper.to_array(item))).float()
    net = make_task(config, torch.device("cpu"), 0).nets["main"]
    inner = {key.removeprefix("net."): value for key, value in held.items()}
    wanted = net.state_dict()
    try:
        missing = net.load_state_dict({k: v for k, v in inner.items() if k in wanted}, False)
    except RuntimeError as err:
        raise WeightsError(f"{name}: of another model: {str(err).splitlines()[0]}") from err
    lacking = [key for key in missing.missing_keys if not key.startswith(ENCODER)]
    if lacking:
        raise WeightsError(f"{name}: lacks weights: {', '.join(lacking[:3])}; export it anew")
    if not isinstance(config, VaeConfig):
        return net, None
    if "means" not in held or "factors" not in held:
        raise WeightsError(f"{name}: lacks its density; export it anew")
    means, factors = held["means"].numpy(), held["factors"].numpy()
    return net, LatentPrior(means, factors, np.array(facts.mixture), np.array(facts.mixed))
