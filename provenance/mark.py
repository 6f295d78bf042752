"""The one door out: `mark` puts every layer on a picture, in the order in which they must go.

Visible label (if asked for), invisible watermark, XMP labels (IPTC, GB 45438-2025), and last the
signature that covers all of them. Pixels change only where a layer needs it, and then the file
is coded once, as it was coded before; else not one byte of picture data changes. What a file
cannot take is stated as missing, in the result and in the signed manifest.

A picture goes on its way as a `Job` (`mark_job`), through `mark_claims` (may it be marked so),
`mark_pixels`, `mark_labels` and `mark_manifest`, in this order; `mark_whole` looks after the
containers that a signature may damage, `mark_output` writes.

    from counterproof.provenance.mark import mark

    mark("out.png", "generated", out="marked/", system="Example Model", version="3")
"""

import dataclasses
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from counterproof.errors import ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.provenance.keys import Identity, find_identity
from counterproof.provenance.mark_check import assert_marked, marking
from counterproof.provenance.mark_claims import check_job
from counterproof.provenance.mark_job import Job, check_signable
from counterproof.provenance.mark_labels import write_labels
from counterproof.provenance.mark_manifest import sign_job
from counterproof.provenance.mark_options import (
    LAYERS,
    SUFFIXES,
    Intent,
    Layer,
    MarkOptions,
    intent_of,
)
from counterproof.provenance.mark_output import check_free, write_pair
from counterproof.provenance.mark_pixels import change_pixels
from counterproof.settings import Settings, load_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from counterproof.provenance.watermark_bind import Binding

__all__ = [
    "Intent",
    "Layer",
    "MarkOptions",
    "MarkedImage",
    "assert_marked",
    "mark",
    "marking",
]

Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"


@dataclass(frozen=True, slots=True, eq=False)
class MarkedImage:
    """A marked picture. `save` writes it as it is signed; saving it otherwise removes marks.

    Attributes:
        data: the file.
        name: of the file that it came from, or a name made for it.
        format: lower-case, as `ImageFile.format`.
        intent: what was said of it.
        layers: what became of each: `visible`, `watermark`, `iptc`, `aigc`, `credential`.
        signer: name in the signer's certificate.
        sidecar: the manifest store, where it was kept out of the file.
        path: where it was written; None if it was not.
        replaced: labels that said something else before, as `name: value`.
        recorded: whether the manifest store took the manifest.
        reserved: codes of the reservations of rights that its sources state and it keeps.
    """

    data: bytes = field(repr=False)
    name: str
    format: str
    intent: Intent
    layers: dict[str, Layer]
    signer: str
    sidecar: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    replaced: tuple[str, ...] = ()
    recorded: bool = True
    reserved: tuple[str, ...] = ()

    def image(self) -> "Image.Image":
        """Return the picture as Pillow reads it; what is saved from it carries no marks."""
        from PIL import Image

        return Image.open(io.BytesIO(self.data))

    def pixels(self) -> "NDArray[Any]":
        """Return `uint8` RGB, shape `(H, W, 3)`, upright."""
        return ImageFile.open(self.data, name=self.name).pixels()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "NDArray[Any]":
        """Return the pixels, so that NumPy takes a marked picture for an array."""
        pixels = self.pixels()
        return pixels.astype(dtype) if dtype is not None else pixels.copy()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the signed bytes; the file appears whole or not at all.

        Raises:
            UserError: if the path's suffix is of another format, or it cannot be written.
        """
        target = Path(path)
        suffix, suffixes = target.suffix.lower(), SUFFIXES[self.format]
        if suffix not in suffixes:
            wanted = next((key for key, ends in SUFFIXES.items() if suffix in ends), "")
            remedy = f", or mark it with format={wanted!r}" if wanted else ""
            raise UserError(
                f"{target}: this picture is signed as {self.format}; name it {suffixes[0]}"
                f"{remedy}: to code it anew removes marks"
            )
        write_pair(target, self.data, self.sidecar, overwrite)
        return target


def mark(
    image: "Source | Iterable[Source]",
    intent: Intent | str,
    *,
    out: str | os.PathLike[str] | None = None,
    signer: Identity | None = None,
    settings: Settings | None = None,
    options: MarkOptions | None = None,
    **changes: Any,
) -> Any:
    """Mark a picture, or each of several.

    Args:
        image: a path, the bytes of a file, a Pillow image, an array (`uint8` or `uint16`, shape
            `(H, W)`, `(H, W, 3)` or `(H, W, 4)`), or a list of them. A path keeps most: from a
            Pillow image or an array the source's credential cannot be told.
        intent: `generated`, `model-edited`, `model-composite` or `captured`.
        out: folder for the marked files; nothing is written without one.
        signer: who signs; by default found as `keys.find_identity` says.
        settings: limits, key store, trust lists; by default as the environment says.
        options: how to mark; single ones can be given by name instead.
        **changes: of the options, as in `MarkOptions`.

    Returns:
        A `MarkedImage`; for several pictures a list of them.

    Raises:
        ImageError: if a picture cannot be read within the limits.
        ProvenanceError: if it cannot be signed, or its own credential cannot be kept.
        UserError: if an option is wrong, a file exists, or the intent contradicts what the
            picture says of itself.
    """
    chosen = dataclasses.replace(options or MarkOptions(), **changes)
    wanted = intent_of(intent)
    used = settings or load_settings()
    identity = signer or find_identity(used)
    if _is_batch(image):
        return [
            _mark_one(item, wanted, chosen, identity, used, out, f"picture-{number:04d}")
            for number, item in enumerate(image, 1)  # type: ignore[arg-type]
        ]
    return _mark_one(image, wanted, chosen, identity, used, out, "picture")


def _is_batch(value: Any) -> bool:
    if isinstance(value, str | os.PathLike | bytes | bytearray) or hasattr(value, "__array__"):
        return False
    return not hasattr(value, "getbands") and isinstance(value, Iterable)


# -- one picture ------------------------------------------------------------------------------


def _mark_one(
    source: Any,
    intent: Intent,
    options: MarkOptions,
    identity: Identity,
    settings: Settings,
    out: str | os.PathLike[str] | None,
    fallback: str,
) -> MarkedImage:
    image, title, in_memory = _open(source, options, settings, fallback)
    target = Path(out) / title if out is not None else None
    if target is not None and not options.overwrite:
        check_free(target, options.sidecar)
    image.pixels(max_side=256)  # a picture that cannot be read is not marked
    job = Job(image, intent, options, identity, settings, in_memory)
    check_job(job)
    change_pixels(job)
    write_labels(job)
    signed = sign_job(job, options.title or title)
    marked = MarkedImage(
        data=signed.data,
        name=title,
        format=job.image.format,
        intent=intent,
        layers={name: job.layers[name] for name in LAYERS},
        signer=identity.name,
        sidecar=signed.store if options.sidecar else None,
        path=target,
        replaced=tuple(job.replaced),
        recorded=_record(job.image, signed.store, job.record, options, settings),
        reserved=job.reserved.codes,
    )
    if target is not None:
        write_pair(target, marked.data, marked.sidecar, options.overwrite)
    return marked


def _record(
    image: ImageFile,
    manifest: bytes,
    binding: "Binding | None",
    options: MarkOptions,
    settings: Settings,
) -> bool:
    """Keep the manifest where `recover` finds it, and what the mark is bound to where scans do.

    Both before the picture is out.

    Returns:
        False for a manifest that no store takes, such as one whose parents cannot be read.

    Raises:
        UserError: if the store cannot be written.
    """
    from counterproof.perceptual import DCT256
    from counterproof.provenance.store import ManifestStore, default_store, fingerprint
    from counterproof.provenance.trust import load_trust
    from counterproof.provenance.watermark_scan import keep

    if binding is not None:
        keep(binding, settings.home)
    value = fingerprint(image)
    path = Path(options.store) if options.store is not None else default_store(settings.home)
    with ManifestStore.open(path, create=True) as store:
        known = [(DCT256, value)] if value else []
        try:
            store.add(manifest, load_trust(settings.home), settings.as_of, known)
        except ProvenanceError:
            return False
    return True


def _open(
    source: Any, options: MarkOptions, settings: Settings, fallback: str
) -> tuple[ImageFile, str, bool]:
    """Return the picture, a file name for it, and whether it was pixels in memory."""
    if isinstance(source, str | os.PathLike):
        image = ImageFile.open(source, limits=settings.limits)
        check_signable(image)
        return image, Path(source).name, False
    if isinstance(source, bytes | bytearray):
        image = ImageFile.open(bytes(source), name=fallback, limits=settings.limits)
        check_signable(image)
        return image, fallback + SUFFIXES[image.format][0], False
    from counterproof.provenance.pixel_input import to_png

    if options.format not in SUFFIXES or options.format in ("gif", "heic", "heif"):
        raise UserError(f"expected a format of png, jpeg, webp, tiff, avif, got {options.format!r}")
    data = to_png(source)
    image = ImageFile.open(data, name=fallback, limits=settings.limits)
    return image, fallback + SUFFIXES[options.format][0], True
