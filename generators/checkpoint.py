"""Checkpoints in safetensors: tensors by name, everything else as JSON in the header.

Nothing is unpickled. A checkpoint is written under another name and renamed, so that a stopped
run or a full disk never leaves half of one. Training room.
"""

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterproof.errors import UserError, WeightsError
from counterproof.generators.config import Config, config_from_json, config_to_json
from counterproof.generators.task import Task, iterate_state

if TYPE_CHECKING:
    from counterproof.generators.prior import LatentPrior

__all__ = [
    "Progress",
    "read_checkpoint",
    "read_header",
    "read_model",
    "write_checkpoint",
    "write_model",
    "write_whole",
]

FORMAT = "counterproof.generator/1"


@dataclass(slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: steps taken.
        images: pictures seen by all processes.
        seconds: CPU time spent on steps, of this process.
        precision: `float32` or `bfloat16`, chosen by timing when the run began.
        seed: of the run.
        classes: names of the classes.
        shares: of the classes among the training pictures.
        digest: of the data.
        pictures: number of training pictures.
    """

    step: int
    images: int
    seconds: float
    precision: str
    seed: int
    classes: list[str]
    shares: list[float]
    digest: str
    pictures: int = 0


def write_checkpoint(
    path: Path, task: Task, average: nn.Module, config: Config, progress: Progress
) -> None:
    """Write all that the training needs to go on."""
    from safetensors.torch import save

    tensors = dict(iterate_state(task))
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    header = _header(config, progress, task.numbers)
    kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    data = save(kept, {"counterproof": json.dumps(header)})
    write_whole(path, data)


def _header(config: Config, progress: Progress, numbers: dict[str, float]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": config_to_json(config),
        "progress": dataclasses.asdict(progress),
        "numbers": numbers,
    }


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it: whole, or not at all.

    Raises:
        UserError: if it cannot be written; what was there before stands.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as err:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        kept = "; the last one stands" if path.is_file() else ""
        raise UserError(f"{path}: cannot be written: {err.strerror}{kept}") from err


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("counterproof", "null"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise WeightsError(f"{path}: expected a checkpoint of counterproof generators")
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118
    except FileNotFoundError as err:
        raise UserError(f"{path}: no such checkpoint") from err
    except (OSError, SafetensorError, json.JSONDecodeError) as err:
        raise WeightsError(f"{path}: not a readable checkpoint: {err}") from err


def read_header(path: Path) -> tuple[Config, Progress]:
    """Read what a checkpoint is, to build its task.

    Raises:
        UserError: if there is none.
        WeightsError: if it is defective.
    """
    return _described(_read(path)[1], path)


def _described(header: dict[str, Any], path: Path) -> tuple[Config, Progress]:
    try:
        return config_from_json(header["config"]), Progress(**header["progress"])
    except (KeyError, TypeError, WeightsError) as err:
        raise WeightsError(f"{path}: defective header: {err}") from err


def read_checkpoint(path: Path, task: Task, average: nn.Module) -> Progress:
    """Put the state of a checkpoint into a task that was built with the same config.

    Raises:
        UserError: if there is none.
        WeightsError: if it is defective or of another model.
    """
    tensors, header = _read(path)
    _, progress = _described(header, path)
    try:
        average.load_state_dict(_group(tensors, "average."))
        for name, net in task.nets.items():
            net.load_state_dict(_group(tensors, f"net.{name}."))
        for name, optimizer in task.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _group(tensors, f"optimizer.{name}.").items():
                index, _, field = key.partition(".")
                state.setdefault(int(index), {})[field] = tensor
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    except (RuntimeError, KeyError, ValueError) as err:
        raise WeightsError(f"{path}: of another model: {str(err).splitlines()[0]}") from err
    task.numbers.update(header.get("numbers", {}))
    return progress


def write_model(
    path: Path, net: nn.Module, prior: "LatentPrior | None", config: Config, progress: Progress
) -> None:
    """Write a trained network with its density, without what only training needs.

    Raises:
        UserError: if it cannot be written.
    """
    from safetensors.torch import save

    tensors = {f"average.{key}": value for key, value in net.state_dict().items()}
    if prior is not None:
        held = {name: getattr(prior, name) for name in prior.__slots__}
        tensors |= {f"prior.{name}": torch.from_numpy(value) for name, value in held.items()}
    kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    header = _header(config, progress, {})
    write_whole(path, save(kept, {"counterproof": json.dumps(header)}))


def read_model(path: Path) -> tuple[Config, Progress, nn.Module, "LatentPrior | None"]:
    """Read a saved model, or the averaged network of a checkpoint, ready to draw or export.

    Raises:
        UserError: if there is none.
        WeightsError: if it is defective.
    """
    from counterproof.generators.prior import LatentPrior
    from counterproof.generators.tasks import make_task

    tensors, header = _read(path)
    config, progress = _described(header, path)
    net = make_task(config, torch.device("cpu"), 0).nets["main"]
    try:
        net.load_state_dict(_group(tensors, "average."))
        held = {key: value.numpy() for key, value in _group(tensors, "prior.").items()}
        prior = LatentPrior(**held) if held else None
    except (RuntimeError, TypeError) as err:
        raise WeightsError(f"{path}: of another model: {str(err).splitlines()[0]}") from err
    return config, progress, net.eval().requires_grad_(False), prior


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
