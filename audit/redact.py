"""Write a copy of a picture without what leads to a person: metadata, faces, regions.

Regions are filled with one solid colour, never blurred: a blur can be undone. What the picture
says of a model's part in it stays. A credential is signed anew as an edit with the source as its
ingredient, whose telling assertions and thumbnails are emptied by C2PA redaction. The result is
read again and searched, byte by byte, for what should be gone, before anybody gets it.

Source: C2PA 2.4 §6.8 (redaction of assertions), §18 (action `c2pa.redacted`).
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof import __version__
from counterproof.audit.embedded import small_pictures
from counterproof.audit.fill import Box, fill, small_view
from counterproof.audit.personal_fields import personal_fields
from counterproof.audit.privacy_metadata import identities
from counterproof.audit.redact_proof import Hidden, check_kept, prove
from counterproof.audit.strip import check_format, strip
from counterproof.errors import ProvenanceError, UserError
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from counterproof.provenance.keys import Identity

    Pixels = NDArray[np.uint8]

__all__ = ["Box", "Redacted", "redact", "target_of"]

Finder = Callable[["Pixels"], list[Box]]

_SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
_MAX_ROUNDS = 4  # of looking again at what was filled
_TELLING = ("c2pa.thumbnail", "cawg.identity", "stds.", "c2pa.metadata", "cawg.metadata")
_CLAIMS = {
    Claim.SYNTHETIC: "trainedAlgorithmicMedia",
    Claim.MODEL_EDITED: "compositeWithTrainedAlgorithmicMedia",
}


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redacted picture, already proved.

    Attributes:
        data: the file.
        removed: kind of field → how many were removed.
        boxes: what was filled.
        signed: whether a credential was signed anew.
        emptied: assertions of the source's credential that were emptied.
        suffix: `.jpg` or `.png` where the copy is in another format than the source, else empty.
    """

    data: bytes = field(repr=False)
    removed: dict[str, int]
    boxes: tuple[Box, ...]
    signed: bool
    emptied: tuple[str, ...]
    suffix: str = ""


def redact(
    image: ImageFile,
    settings: Settings,
    *,
    boxes: Sequence[Box] = (),
    faces: bool = False,
    text: bool = False,
    signer: "Identity | None" = None,
) -> Redacted:
    """Make a cleaned copy of one picture and prove that it is clean.

    Metadata, previews and remains are always removed: a face that is filled in the picture and
    shown in its thumbnail is not redacted.

    Args:
        image: the picture, in one of `strip.FORMATS`.
        settings: key store, limits.
        boxes: regions to fill.
        faces: fill the faces that are found as well.
        text: fill the lines of text that lead to a person as well.
        signer: who signs where the source has a credential; found in the key store by default.

    Raises:
        ImageError: if the picture cannot be read, or its format not be written.
        ProvenanceError: if it cannot be signed, or the proof fails: nothing is returned then.
        UserError: if a region lies outside the picture, or text cannot be read (`MissingExtra`).
    """
    from counterproof.provenance.manifest_store import carries_credential

    check_format(image)
    values = personal_fields(image)
    secrets = [item.data for item in small_pictures(image)]
    admitted = _admissions(image, settings)
    _check_boxes(image, boxes)
    finders = _finders(faces, text)
    wanted = list(boxes) + _found(image, finders)
    cleaned = _reopen(strip(image), image, settings)
    if missing := admitted - _admissions(cleaned, settings):
        # the only sign was a generator's settings, which can hold names: a label says it instead
        claim = Claim.SYNTHETIC if Claim.SYNTHETIC in missing else Claim.MODEL_EDITED
        cleaned = _reopen(strip(image, _CLAIMS[claim]), image, settings)
    if wanted:
        cleaned, wanted = _fill_all(cleaned, wanted, finders, settings)
    rebuilt = b""
    if image.format == "jpeg" and any(item.where == "exif" for item in small_pictures(image)):
        rebuilt = small_view(cleaned)
        cleaned = _reopen(strip(cleaned, thumbnail=rebuilt), image, settings)
    emptied: tuple[str, ...] = ()
    signed = carries_credential(image)
    if signed:
        data, emptied = _sign(image, cleaned, settings, signer, bool(wanted))
        cleaned = _reopen(data, image, settings)
    check_kept(image, cleaned, admitted - _admissions(cleaned, settings))
    prove(image, cleaned, settings, Hidden(values, secrets, wanted), rebuilt)
    removed: dict[str, int] = {}
    for item in values:
        removed[item.kind] = removed.get(item.kind, 0) + 1
    suffix = "" if cleaned.format == image.format else _SUFFIXES[cleaned.format]
    return Redacted(cleaned.data, removed, tuple(wanted), signed, emptied, suffix)


def _reopen(data: bytes, image: ImageFile, settings: Settings) -> ImageFile:
    return ImageFile.open(data, name=image.name, limits=settings.limits)


def _finders(faces: bool, text: bool) -> list[Finder]:
    """Return what looks for regions to fill: each gives boxes with a margin."""
    finders: list[Finder] = []
    if faces:
        from counterproof.audit.faces import FaceDetector, grown

        detector = FaceDetector()

        def find_faces(pixels: "Pixels") -> list[Box]:
            height, width = pixels.shape[:2]
            return [grown(item.box, width, height) for item in detector.find(pixels)]

        finders.append(find_faces)
    if text:
        from counterproof.audit.readable_text import personal_places

        def find_text(pixels: "Pixels") -> list[Box]:
            return [_widened(item.box, pixels) for item in personal_places(pixels)]

        finders.append(find_text)
    return finders


def _widened(box: Box, pixels: "Pixels") -> Box:
    """Grow a line of text by a quarter of its height: readers cut letters at the edge."""
    height, width = pixels.shape[:2]
    x, y, w, h = box
    by = max(2, min(w, h) // 4)
    left, top = max(0, x - by), max(0, y - by)
    right, bottom = min(width, x + w + by), min(height, y + h + by)
    return left, top, right - left, bottom - top


def _found(image: ImageFile, finders: Sequence[Finder]) -> list[Box]:
    return [box for find in finders for box in find(image.pixels())]


def _fill_all(
    cleaned: ImageFile, wanted: list[Box], finders: Sequence[Finder], settings: Settings
) -> tuple[ImageFile, list[Box]]:
    """Fill regions, look again at the file that came of it, and fill what is found then.

    Raises:
        ProvenanceError: if something is found however often it is filled.
    """
    for _ in range(_MAX_ROUNDS):
        filled = _reopen(fill(cleaned, wanted), cleaned, settings)
        more = _found(filled, finders)
        if not more:
            return filled, wanted
        wanted = wanted + more
    raise ProvenanceError(
        f"{cleaned.name}: not redacted: after filling {len(wanted)} regions there is still "
        "something found; nothing was written"
    )


def _check_boxes(image: ImageFile, boxes: Iterable[Box]) -> None:
    width, height = image.info.width, image.info.height
    for x, y, w, h in boxes:
        if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise UserError(
                f"{image.name}: expected a region inside {width} × {height} pixels, "
                f"got {x},{y},{w},{h}"
            )


def _admissions(image: ImageFile, settings: Settings) -> set[Claim]:
    """Return what labels and traces admit: made, or edited, by a model."""
    from counterproof.provenance.labels import LabelsAnalyzer
    from counterproof.provenance.traces import TracesAnalyzer

    found: set[Claim] = set()
    for kind in (LabelsAnalyzer, TracesAnalyzer):
        for item in kind(settings).analyze(image):
            if isinstance(item, Finding) and item.claim in _CLAIMS and not item.is_weak:
                found.add(item.claim)
    return found


def _sign(
    source: ImageFile,
    cleaned: ImageFile,
    settings: Settings,
    signer: "Identity | None",
    filled: bool,
) -> tuple[bytes, tuple[str, ...]]:
    """Sign the copy as an edit of the source; empty what its manifests tell and show."""
    from counterproof.provenance.keys import find_identity
    from counterproof.provenance.manifest_store import read_store
    from counterproof.provenance.sign import Ingredient, actions_of, sign

    reading = read_store(source)
    telling = set(identities(source))
    emptied = [
        f"self#jumbf=/c2pa/{label}/c2pa.assertions/{name}"
        for label, content in (reading.contents.items() if reading else ())
        for name in (content.get("assertion_store") or {})
        if name.startswith(_TELLING) or name in telling
    ]
    actions = [name for name in telling if name.startswith("c2pa.actions")]
    if actions:
        raise ProvenanceError(
            f"{source.name}: its credential names someone in its list of actions, which C2PA "
            "allows nobody to empty; remove the credential instead"
        )
    moment = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own: dict[str, Any] = {
        "softwareAgent": {"name": "counterproof", "version": __version__},
        "when": moment,
    }
    steps: list[dict[str, Any]] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["ingredient0"]}},
        {"action": "c2pa.edited" if filled else "c2pa.edited.metadata", **own},
    ]
    if cleaned.format != source.format:
        steps.append({"action": "c2pa.transcoded", **own})
    steps += [
        {"action": "c2pa.redacted", "reason": "c2pa.PII.present", "parameters": {"redacted": item}}
        for item in emptied
    ]
    store = None if source.blocks("c2pa") else source.sidecar
    ingredient = Ingredient(source.data, source.metadata.mime, "source", "parentOf", store)
    signed = sign(
        cleaned.data,
        cleaned.metadata.mime,
        signer or find_identity(settings),
        [actions_of(steps)],
        name=source.name,
        ingredients=[ingredient],
        redactions=emptied,
    )
    return signed.data, tuple(item.rpartition("/")[2] for item in emptied)


def target_of(name: str, folder: str) -> Path:
    """Return where the copy of a file goes: the same name in another folder.

    Raises:
        UserError: if that is the file itself.
    """
    target = Path(folder) / Path(name).name
    if target.exists() and Path(name).exists() and target.samefile(name):
        raise UserError(f"{name}: expected another folder than its own")
    return target
