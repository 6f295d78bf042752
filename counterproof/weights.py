"""Model files: `WING/weights/NAME.onnx`, described by `NAME.card.json` beside it.

A model is data, never code: one ONNX file without external data, read as bytes, compared
with the SHA-256 of its card, and run by onnxruntime on one thread. Nothing is unpickled,
nothing is fetched.
"""

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args, get_origin

from counterproof.errors import WeightsError

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "CardFile",
    "DataSource",
    "Metric",
    "ModelCard",
    "Training",
    "Weights",
    "build",
    "load",
    "open",
    "session_of",
]

WINGS = ("audit", "detectors", "generators", "provenance")

_NAME = re.compile(rf"({'|'.join(WINGS)})/([a-z0-9][a-z0-9_-]*)")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class CardFile:
    """One file that the card describes; `path` is a bare name beside the card."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class DataSource:
    """What the model was trained on: name, licence, number of pictures."""

    name: str
    licence: str
    n: int


@dataclass(frozen=True, slots=True)
class Training:
    """How to train it again."""

    recipe: str
    commit: str
    seed: int
    steps: int
    device: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured figure with its 95 % interval, its n, and the command that prints it."""

    name: str
    value: float
    low: float
    high: float
    n: int
    set: str
    command: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is, where it comes from, and how well it does.

    Attributes:
        name: as in the file names.
        version: raised whenever an output changes.
        task: what it answers, in one line.
        files: the model and what belongs to it; all are checked when it is opened.
        licence: of the weights, an SPDX expression.
        data: what it was trained on.
        training: how to train it again.
        metrics: measured figures.
        thresholds: name → score from which a finding is made.
        limits: what it cannot do, in sentences.
        date: ISO 8601.
    """

    name: str
    version: str
    task: str
    files: tuple[CardFile, ...]
    licence: str
    data: tuple[DataSource, ...]
    training: Training
    metrics: tuple[Metric, ...]
    thresholds: Mapping[str, float]
    limits: tuple[str, ...]
    date: str

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a card.

        Raises:
            WeightsError: if a field is missing, unknown or not of its kind.
        """
        return build(cls, value, "card")

    def data_statement(self) -> str:
        """Say in a sentence what the model was trained on."""
        return "Trained on " + "; ".join(
            f"{source.name}, {source.n:,} pictures, {source.licence}" for source in self.data
        )


class Weights:
    """A model that was found and is described; its session starts when first asked for.

    Attributes:
        card: what the model is.
        path: of the ONNX file.
    """

    def __init__(self, card: ModelCard, path: Path) -> None:
        self.card = card
        self.path = path

    @property
    def sha256(self) -> str:
        """SHA-256 of the ONNX file, hex: what an analyzer's `digest` should contain."""
        return next(file.sha256 for file in self.card.files if file.path == self.path.name)

    @property
    def version(self) -> str:
        """SHA-256 over every file of the card, hex: other answers, another version."""
        digests = "\n".join(file.sha256 for file in self.card.files)
        return hashlib.sha256(digests.encode()).hexdigest()

    def beside(self, name: str) -> bytes:
        """Return another file of the card, compared with it.

        Args:
            name: as the card writes it.

        Raises:
            WeightsError: if the card does not name it, or it is missing or altered.
        """
        for file in self.card.files:
            if file.path == name:
                return _read(self.path.with_name(name), file)
        raise WeightsError(f"{self.path}: its card describes no file {name!r}")

    def read(self) -> bytes:
        """Return the ONNX file, after every file of the card was compared with it.

        Raises:
            WeightsError: if a file is missing or altered.
        """
        for file in self.card.files:
            data = _read(self.path.with_name(file.path), file)
            if file.path == self.path.name:
                model = data
        return model

    @cached_property
    def session(self) -> "onnxruntime.InferenceSession":
        """The one session of this process: CPU, one thread.

        Raises:
            WeightsError: if a file is missing or altered, or is not an ONNX model.
        """
        return session_of(self.read(), self.path)


@functools.cache
def open(name: str) -> Weights:
    """Find the weights that ship with a wing.

    Args:
        name: wing and model, such as `detectors/residual`.

    Returns:
        The same object at every call of one process, so that a model is loaded once.

    Raises:
        WeightsError: if the name is malformed, the model or its card is missing, or the card
            is defective.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise WeightsError(
            f"expected weights WING/NAME with a wing of {', '.join(WINGS)} "
            f"and a name of a-z, 0-9, '-' and '_', got {name!r}"
        )
    wing, model = match.groups()
    folder = Path(str(resources.files(f"counterproof.{wing}"))) / "weights"
    return load(folder / f"{model}.card.json")


def load(card: Path) -> Weights:
    """Read a card and find its model beside it; other packages open theirs with this.

    The model is `NAME.onnx` where the card is `NAME.card.json`.

    Raises:
        WeightsError: as for `open`.
    """
    name = card.name.removesuffix(".card.json")
    path = card.with_name(f"{name}.onnx")
    try:
        text = card.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        missing = "has no model card beside it" if path.is_file() else "no such weights"
        raise WeightsError(f"{path}: {missing}; expected {card.name}") from err
    except (OSError, UnicodeDecodeError) as err:
        raise WeightsError(f"{card}: cannot be read: {err}") from err
    try:
        described = ModelCard.from_json(json.loads(text))
    except json.JSONDecodeError as err:
        raise WeightsError(f"{card}: expected JSON: {err}") from err
    except WeightsError as err:
        raise WeightsError(f"{card}: {err}") from err
    if described.name != name:
        raise WeightsError(f"{card}: describes {described.name!r}, expected {name!r}")
    for file in described.files:
        if not _FILE.fullmatch(file.path):
            raise WeightsError(f"{card}: expected a bare file name, got {file.path!r}")
    if path.name not in {file.path for file in described.files}:
        raise WeightsError(f"{card}: does not describe {path.name}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file, though {card.name} describes it")
    return Weights(described, path)


def session_of(model: bytes, path: Path) -> "onnxruntime.InferenceSession":
    """Start a model: CPU, one thread, no external data.

    Args:
        model: bytes of an ONNX file.
        path: for messages.

    Raises:
        WeightsError: if it is not an ONNX model.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A model may name other files for its numbers; only what the card describes is read.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime's errors share no base class but Exception
        raise WeightsError(f"{path}: not a model that onnxruntime can run: {err}") from err


def _read(path: Path, file: CardFile) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise WeightsError(f"{path}: cannot be read: {err.strerror}") from err
    if len(data) != file.bytes:
        raise WeightsError(f"{path}: altered: expected {file.bytes:,} bytes, got {len(data):,}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise WeightsError(f"{path}: altered: expected SHA-256 {file.sha256}, got {digest}")
    return data


_T = TypeVar("_T")


def build(kind: type[_T], value: object, where: str) -> _T:
    """Make a dataclass from JSON values, strictly: every field, no other, of its kind.

    Args:
        kind: a dataclass of numbers, texts, truth values, tuples, mappings and such dataclasses.
        value: parsed JSON.
        where: for messages.

    Raises:
        WeightsError: if a field is missing, unknown or not of its kind.
    """
    if not isinstance(value, dict):
        raise WeightsError(f"{where}: expected an object, got {type(value).__name__}")
    fields = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in fields.keys() - value.keys():
        raise WeightsError(f"{where}: {name!r} is missing")
    for name in value.keys() - fields.keys():
        raise WeightsError(f"{where}: unknown field {name!r}")
    made = {name: _value(kind_, value[name], f"{where}.{name}") for name, kind_ in fields.items()}
    return kind(**made)


def _value(kind: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(kind):
        return build(kind, value, where)  # type: ignore[arg-type]
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise WeightsError(f"{where}: expected a list, got {type(value).__name__}")
        inner = get_args(kind)[0]
        return tuple(_value(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise WeightsError(f"{where}: expected an object, got {type(value).__name__}")
        return {name: _value(float, item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WeightsError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
