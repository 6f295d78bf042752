"""What a picture may be marked as: nothing that it, its parent or a component contradicts."""

from typing import Any

from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile
from counterproof.provenance.mark_job import Job, open_named
from counterproof.provenance.mark_options import Intent
from counterproof.provenance.mark_rights import read_reserved
from counterproof.settings import Settings

__all__ = ["check_job"]


def check_job(job: Job) -> None:
    """Refuse what would damage the picture, and a claim of capture that it contradicts.

    Raises:
        ImageError: `unsupported` for a TIFF of several pages that is not to have a sidecar.
        UserError: if it says that a model made or edited it, or a label is asked for; or if
            training is to be allowed and a source reserves it.
    """
    image = job.original
    job.reserved = read_reserved(_sources(job), job.settings)
    if job.options.training == "allowed" and job.reserved.codes:
        raise UserError(
            f"{image.name}: it, its parent or a component reserves rights "
            f"({', '.join(job.reserved.codes)}); it cannot be marked as allowed for training"
        )
    if image.format == "tiff" and image.info.frames > 1 and not job.options.sidecar:
        raise ImageError(
            "unsupported",
            f"{image.name}: a credential inside a TIFF of several pages adds an empty page, "
            "which other readers stumble over; write it beside the picture (--sidecar)",
        )
    if job.intent is not Intent.CAPTURED:
        return
    if job.options.visible:
        raise UserError("a picture marked as captured takes no visible label of a model's work")
    if words := _admissions(job.original, job.settings):
        raise UserError(
            f"{job.original.name}: it says itself that a model made or edited it "
            f"({', '.join(words)}); it cannot be marked as captured"
        )


def _sources(job: Job) -> list[ImageFile]:
    """Return the picture, its parent and its components."""
    options = job.options
    named = [*([] if options.parent is None else [options.parent]), *options.components]
    return [job.original, *(open_named(item, job.settings) for item in named)]


def _admissions(image: ImageFile, settings: Settings) -> list[str]:
    """Name what in a picture says that a model made or edited it."""
    from counterproof.findings import WEAK_STATES, Claim
    from counterproof.provenance import watermark
    from counterproof.provenance.watermark_code import MarkClass

    admitting = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
    words = [
        item.code
        for item in _findings(image, settings)
        if item.claim in admitting and item.state not in WEAK_STATES
    ]
    reading = watermark.read(image.pixels())
    if reading and reading.payload and reading.payload.mark_class is not MarkClass.CAPTURED:
        words.append(f"watermark, {reading.payload.mark_class.value}")
    return list(dict.fromkeys(words))


def _findings(image: ImageFile, settings: Settings) -> list[Any]:
    """Return what labels, traces and the credential of a picture say."""
    from counterproof.findings import Finding
    from counterproof.provenance.credentials_scan import CredentialsAnalyzer
    from counterproof.provenance.labels import LabelsAnalyzer
    from counterproof.provenance.traces import TracesAnalyzer

    found: list[Any] = []
    for kind in (CredentialsAnalyzer, LabelsAnalyzer, TracesAnalyzer):
        found += [item for item in kind(settings).analyze(image) if isinstance(item, Finding)]
    return found
