"""The layer of `mark` that says in XMP how a picture came about: IPTC and GB 45438-2025."""

from counterproof.errors import ProvenanceError
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.provenance.mark_job import Job
from counterproof.provenance.mark_options import Intent, Layer
from counterproof.provenance.rights import reserved_properties
from counterproof.settings import Settings

__all__ = ["write_labels"]


def write_labels(job: Job) -> None:
    """Write the XMP labels, or say why not."""
    if not job.options.labels:
        return
    from counterproof.provenance import label_writer
    from counterproof.provenance.xmp_place import Unplaceable, packet_of, place

    options, text = job.options, ""
    if job.intent is not Intent.CAPTURED:
        if _has_aigc(job.image, job.settings):
            job.layers["aigc"] = Layer("kept")  # one label per file, and theirs was first
        else:
            producer = options.producer or job.identity.organisation
            text = label_writer.aigc_text(producer, job.mark_id)
    labels = label_writer.Labels(
        job.intent.source_type,
        options.system,
        options.version,
        options.prompt,
        options.prompt_writer,
        options.training,
        options.constraint,
        text,
    )
    kept = reserved_properties(job.image)
    carried = {n: text for n, text in job.reserved.properties.items() if n not in kept}
    values = carried | label_writer.properties(labels)
    reason = ""
    try:
        packet, before = label_writer.merge(packet_of(job.image), values)
        job.image = job.reopened(place(job.image, packet))
    except Unplaceable as err:
        reason = err.reason
    except ProvenanceError:
        reason = "malformed"
    state = Layer("missing", reason) if reason else Layer("applied")
    job.layers["iptc"] = state
    if text:
        job.layers["aigc"] = state
    if not reason:
        job.replaced = [
            f"{name}: {old[:200]}"
            for (space, name), old in before.items()
            if old != values[space, name]
        ]


def _has_aigc(image: ImageFile, settings: Settings) -> bool:
    from counterproof.provenance.labels import LabelsAnalyzer

    return any(
        isinstance(item, Finding) and item.code.startswith("label.aigc.")
        for item in LabelsAnalyzer(settings).analyze(image)
    )
