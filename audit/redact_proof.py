"""Prove that a redacted copy holds nothing of what was to go: read it again, search its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterproof.audit.fill import FILL, Box
from counterproof.audit.personal_fields import PersonalField
from counterproof.audit.privacy_metadata import PrivacyAnalyzer
from counterproof.errors import ProvenanceError
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Hidden", "check_kept", "prove"]

_MIN_SEARCHED = 6  # shorter values occur in any file by chance
_MAX_DEVIATION = 24  # levels: what JPEG leaves beside a filled edge


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a copy must not hold or show.

    Attributes:
        values: fields of the metadata that lead to a person.
        previews: small pictures of the source, whole files.
        boxes: regions that are filled.
    """

    values: Sequence[PersonalField]
    previews: Sequence[bytes]
    boxes: Sequence[Box]


def prove(
    source: ImageFile, copy: ImageFile, settings: Settings, hidden: Hidden, rebuilt: bytes
) -> None:
    """Read a copy again and search its bytes.

    Args:
        source: what it was made of, for messages.
        copy: the copy as it would be written.
        settings: limits.
        hidden: what must be gone.
        rebuilt: the thumbnail that was made of the copy's own pixels, if any.

    Raises:
        ProvenanceError: naming what is still there.
    """
    left = [f.code for f in PrivacyAnalyzer(settings).analyze(copy) if isinstance(f, Finding)]
    if left:
        raise _failed(source, f"the copy still shows {', '.join(sorted(set(left)))}")
    searched = copy.data.replace(rebuilt, b"") if rebuilt else copy.data
    for item in hidden.values:
        value = item.value.strip(b"\0 ")
        text = value.decode("utf-8", "replace")
        forms = (value, text.encode("utf-16-le"), text.encode("utf-16-be"))
        found = any(len(form) >= _MIN_SEARCHED and form in searched for form in forms)
        if found and not _is_of_profile(value, copy):
            raise _failed(source, f"the value of {item.group}:{item.name} is still in its bytes")
    for data in hidden.previews:
        middle = data[len(data) * 3 // 4 :][:48]  # behind the tables that all coders share
        if len(middle) >= 16 and len(set(middle)) > 4 and middle in searched:
            raise _failed(source, "a small preview is still in its bytes")
    if hidden.boxes:
        _check_filled(source, copy.pixels(), hidden.boxes)


def check_kept(source: ImageFile, copy: ImageFile, lost: set[Claim]) -> None:
    """Check that a copy has what must stay.

    Args:
        source: what it was made of.
        copy: the copy as it would be written.
        lost: signs of model work that the source has and the copy has not.

    Raises:
        ProvenanceError: naming what is lost.
    """
    if lost:
        raise _failed(source, f"its sign of model work ({', '.join(sorted(lost))}) was lost")
    if copy.icc != source.icc:
        raise _failed(source, "its colour profile was lost")
    before, after = source.info, copy.info
    if (before.width, before.height) != (after.width, after.height):
        raise _failed(source, "its orientation was lost")


def _failed(source: ImageFile, what: str) -> ProvenanceError:
    return ProvenanceError(f"{source.name}: not redacted: {what}; nothing was written")


def _check_filled(source: ImageFile, pixels: "NDArray[np.uint8]", boxes: Sequence[Box]) -> None:
    for x, y, w, h in boxes:
        inner = pixels[y : y + h, x : x + w]
        margin = min(8, (min(w, h) - 1) // 2)
        inner = inner[margin : h - margin, margin : w - margin]
        if inner.size and int(inner.max()) > FILL + _MAX_DEVIATION:
            raise _failed(source, f"the region {x},{y},{w},{h} is not filled")


def _is_of_profile(value: bytes, copy: ImageFile) -> bool:
    """Tell whether a value stands only in the colour profile, which stays as it is.

    A profile's maker writes the same copyright into every file.
    """
    return bool(copy.icc) and value in copy.icc and value not in copy.data.replace(copy.icc, b"")
