"""One picture on its way through the layers of `mark`: what is asked, and what became of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.provenance.keys import Identity
from counterproof.provenance.mark_options import LAYERS, Intent, Layer, MarkOptions
from counterproof.provenance.mark_rights import Reserved
from counterproof.provenance.sign import SIGNABLE
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.provenance.watermark_bind import Binding

__all__ = ["Job", "check_signable", "open_named"]


@dataclass(slots=True, eq=False)
class Job:
    """One picture on its way; every layer reads it, and leaves here what it did.

    Attributes:
        original: the picture as it came.
        intent: what is said of it.
        options: how to mark.
        identity: who signs.
        settings: limits, key store, trust lists.
        in_memory: whether it came as pixels, not as a file.
        image: the picture as the layers so far left it.
        layers: what became of each layer.
        replaced: labels that said something else before, as `name: value`.
        bindings: `c2pa.soft-binding` assertions of the watermark.
        record: what scans here compare the mark's picture with.
        mark_id: of the watermark, hexadecimal; empty without one.
        label: where the visible label was drawn; empty without one.
        reserved: rights that its sources reserve.
    """

    original: ImageFile
    intent: Intent
    options: MarkOptions
    identity: Identity
    settings: Settings
    in_memory: bool
    image: ImageFile = field(init=False)
    layers: dict[str, Layer] = field(default_factory=lambda: dict.fromkeys(LAYERS, Layer("off")))
    replaced: list[str] = field(default_factory=list)
    bindings: list[dict[str, Any]] = field(default_factory=list)
    record: "Binding | None" = None
    mark_id: str = ""
    label: dict[str, Any] = field(default_factory=dict)
    reserved: Reserved = field(default_factory=Reserved)

    def __post_init__(self) -> None:
        self.image = self.original

    def reopened(self, data: bytes) -> ImageFile:
        """Return the picture that these bytes hold, under the original's name and limits."""
        name, limits = self.original.name, self.settings.limits
        return ImageFile.open(data, name=name, limits=limits)


def open_named(source: Any, settings: Settings) -> ImageFile:
    """Open a parent or a component: a path, or the bytes of a file."""
    return ImageFile.open(source, limits=settings.limits)


def check_signable(image: ImageFile) -> None:
    """Check that a picture is of a format that is signed.

    Raises:
        ImageError: `unsupported` if it is not.
    """
    if image.format not in SIGNABLE:
        what = image.format or "of no known format"
        raise ImageError(
            "unsupported", f"{image.name}: expected {', '.join(SIGNABLE)}; the file is {what}"
        )
