"""The wing's only way to write a picture: through `mark`, with every layer. There is no other.

Pictures are enlarged to 256 pixels, where the full watermark holds, unless their own size is
asked for, which takes the small mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof.errors import UserError
from counterproof.provenance.mark import MarkedImage, mark
from counterproof.provenance.mark_options import MarkOptions
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.generators.sampling import Sampler
    from counterproof.provenance.keys import Identity

__all__ = ["Maker", "enlarged", "grid", "maker_of", "write_marked"]

FULL_MARK_SIDE = 256  # pixels; docs/watermark.md
GRID_GAP = 2


@dataclass(frozen=True, slots=True)
class Maker:
    """What the manifest says of the model.

    Attributes:
        system: its name.
        version: its version; for a bundled model with the first digits of its file's SHA-256.
        trained_on: its training data, in a sentence.
    """

    system: str
    version: str = ""
    trained_on: str = ""


def write_marked(
    pixels: "NDArray[Any]",
    names: Sequence[str],
    out: Path,
    maker: Maker,
    *,
    settings: Settings,
    intent: str = "generated",
    native: bool = False,
    overwrite: bool = False,
    signer: "Identity | None" = None,
    components: Sequence[bytes] = (),
) -> list[MarkedImage]:
    """Write pictures as PNG with watermark, labels and credential.

    Args:
        pixels: `uint8` RGB, `(N, H, W, 3)`.
        names: file names without suffix.
        out: folder.
        maker: which model made them.
        settings: limits and key store.
        intent: what they are, as `mark` takes it.
        native: keep the size; the small mark is used below 256 pixels.
        overwrite: replace files that exist.
        signer: who signs; found as `mark` does if None.
        components: files that went into the pictures.

    Raises:
        UserError: if a file exists or cannot be written.
        ProvenanceError: if a picture cannot be signed.
    """
    options = MarkOptions(
        system=maker.system,
        version=maker.version,
        trained_on=maker.trained_on,
        overwrite=overwrite,
        components=components,
    )
    suffix = ".png"
    if len(names) != len(pixels):
        raise UserError(f"expected {len(pixels)} names, got {len(names)}")
    if not overwrite:
        for name in names:
            if (out / (name + suffix)).exists():
                raise UserError(f"{out / (name + suffix)}: exists already; name another folder")
    made = []
    for name, picture in zip(names, pixels, strict=True):
        shown = picture if native else enlarged(picture)
        marked = mark(shown, intent, signer=signer, settings=settings, options=options, title=name)
        marked.save(out / (name + suffix), overwrite=overwrite)
        made.append(marked)
    return made


def enlarged(picture: "NDArray[Any]") -> "NDArray[Any]":
    """Enlarge a picture below 256 pixels, `(H, W, 3)`, so that its short side is that."""
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    if min(height, width) >= FULL_MARK_SIDE:
        return picture
    scale = FULL_MARK_SIDE / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def grid(pixels: "NDArray[Any]", columns: int = 0) -> "NDArray[Any]":
    """Lay pictures `(N, H, W, 3)` out in a grid on white, with gaps; `(H', W', 3)`."""
    import numpy as np

    n, height, width, _ = pixels.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    shape = (rows * (height + GRID_GAP) + GRID_GAP, columns * (width + GRID_GAP) + GRID_GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for index, picture in enumerate(pixels):
        top = GRID_GAP + index // columns * (height + GRID_GAP)
        left = GRID_GAP + index % columns * (width + GRID_GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def maker_of(sampler: "Sampler") -> Maker:
    """Return what the manifest says of a model: name, version, which file it was, its data."""
    version = f"{sampler.version} {sampler.digest[:12]}".strip()
    return Maker(f"counterproof {sampler.name}", version, sampler.facts.trained_on)
