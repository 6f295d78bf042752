"""What `mark` is asked for and what it says it did: intents, options, layers."""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from counterproof.errors import UserError

__all__ = ["LAYERS", "MARKING", "SUFFIXES", "Intent", "Layer", "MarkOptions", "intent_of"]


class Intent(StrEnum):
    """What the maker says of a picture."""

    GENERATED = "generated"
    MODEL_EDITED = "model-edited"
    MODEL_COMPOSITE = "model-composite"
    CAPTURED = "captured"

    @property
    def source_type(self) -> str:
        """Last word of the IPTC digital source type."""
        return _SOURCE_TYPES[self]


_SOURCE_TYPES = {
    Intent.GENERATED: "trainedAlgorithmicMedia",
    Intent.MODEL_EDITED: "compositeWithTrainedAlgorithmicMedia",
    Intent.MODEL_COMPOSITE: "compositeSynthetic",
    Intent.CAPTURED: "digitalCapture",
}
MARKING = "counterproof.marking"
LAYERS = ("visible", "watermark", "iptc", "aigc", "credential")
SUFFIXES = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
    "gif": (".gif",),
    "heic": (".heic", ".heif"),
    "heif": (".heif", ".heic"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """What became of one layer.

    Attributes:
        state: `applied`, `kept` (the picture had it), `missing` (its file cannot take it) or
            `off` (not asked for).
        reason: why it is missing, one stable word: `container`, `animation`, `planes`, `depth`,
            `mode`, `tags`, `too_small`, `contrast`, `coding`, `size`, `malformed`; else empty.
    """

    state: Literal["applied", "kept", "missing", "off"]
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the layer as JSON values."""
        return {"state": self.state} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class MarkOptions:
    """How to mark.

    Attributes:
        visible: text of a visible label; empty for none.
        font: a TrueType or OpenType file for it.
        watermark: whether to embed an invisible one; None for yes, but for `captured`.
        watermark_key: secret of 16 bytes or more for a private watermark.
        strength: of the watermark, `standard` or `subtle`.
        labels: whether to write XMP labels.
        system: the model or service that made or edited the picture.
        version: of that system.
        trained_on: what that system was trained on, in a sentence; the manifest alone carries it.
        prompt: what it was asked for; written only if given.
        prompt_writer: who asked.
        producer: GB 45438 provider code or name; the signer's organisation by default.
        when: when the picture was made; now for pixels in memory, unsaid for files.
        training: whether others may mine the picture or train on it: `allowed`, `not-allowed`,
            `constrained`; empty to say nothing.
        constraint: under which condition, where `constrained`.
        parent: the picture before a model edited it, where the file carries no credential.
        components: pictures that were put into this one.
        title: of the picture in its manifest; the file's name by default.
        sidecar: write the manifest beside the picture instead of into it.
        tsa: address of a time-stamping authority; the only use of the network.
        format: into which pixels in memory are coded: `png`, `jpeg`, `webp`, `tiff`, `avif`.
        quality: of pixels in memory, where that format loses.
        overwrite: replace files that exist.
        store: manifest store that records each manifest; the one in `settings.home` by default.
    """

    visible: str = ""
    font: Path | None = None
    watermark: bool | None = None
    watermark_key: bytes | None = field(default=None, repr=False)
    strength: Literal["standard", "subtle"] = "standard"
    labels: bool = True
    system: str = ""
    version: str = ""
    trained_on: str = ""
    prompt: str = ""
    prompt_writer: str = ""
    producer: str = ""
    when: dt.datetime | None = None
    training: str = ""
    constraint: str = ""
    parent: str | os.PathLike[str] | bytes | None = None
    components: Sequence[str | os.PathLike[str] | bytes] = ()
    title: str = ""
    sidecar: bool = False
    tsa: str = ""
    format: str = "png"
    quality: int = 95
    overwrite: bool = False
    store: str | os.PathLike[str] | None = None


def intent_of(value: Intent | str) -> Intent:
    """Read an intent.

    Raises:
        UserError: if it is none.
    """
    try:
        return Intent(value)
    except ValueError:
        known = ", ".join(item.value for item in Intent)
        raise UserError(f"expected an intent of {known}, got {value!r}") from None
