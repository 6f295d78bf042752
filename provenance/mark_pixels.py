"""The layers of `mark` that lie in the pixels: the visible label and the watermark."""

from typing import Any, Literal

from counterproof.errors import ImageError, UserError
from counterproof.provenance.mark_job import Job
from counterproof.provenance.mark_options import Intent, Layer

__all__ = ["change_pixels"]


def change_pixels(job: Job) -> None:
    """Apply the layers that lie in the pixels, code the file once, and read the mark back.

    A watermark that does not survive the file's own coding is not claimed, and for its
    sake not one pixel is changed.
    """
    asked = job.options.watermark  # of a photograph only if it plainly is
    _draw(job, job.intent is not Intent.CAPTURED if asked is None else asked)
    _code(job)
    if job.layers["watermark"].state == "applied" and not _reads_back(job):
        job.image, job.bindings, job.mark_id = job.original, [], ""
        job.record = None
        _draw(job, False)
        _code(job)
        job.layers["watermark"] = Layer("missing", "coding")


def _draw(job: Job, watermark: bool) -> None:
    """Draw the visible label and the watermark in one pass."""
    options = job.options
    if not options.visible and not watermark:
        return
    from counterproof.provenance.pixel_layers import (
        Unchangeable,
        draw_label,
        place_label,
        redraw,
    )

    def change(pixels: Any) -> Any:
        if options.visible:
            height, width = pixels.shape[:2]
            place = place_label(width, height, options.visible, options.font)
            pixels = draw_label(pixels, place)
            job.label = place.to_json()
            job.layers["visible"] = Layer("applied")
        return _watermark(job, pixels) if watermark else pixels

    try:
        if not options.visible and not _can_watermark(job):
            return
        data = redraw(job.image, change)
    except Unchangeable as err:
        if options.visible:
            raise UserError(
                f"{job.image.name}: no visible label can be drawn into it without loss "
                f"({err.reason})"
            ) from err
        job.layers["watermark"] = Layer("missing", err.reason)
        job.bindings, job.mark_id, job.record = [], "", None
        return
    if options.visible or job.layers["watermark"].state == "applied":
        job.image = job.reopened(data)


def _can_watermark(job: Job) -> bool:
    """Tell whether a watermark needs to be drawn, before anything is coded anew."""
    from counterproof.provenance.pixel_layers import check_changeable

    check_changeable(job.image)
    info = job.image.info
    if _profile(info.width, info.height) is None:
        job.layers["watermark"] = Layer("missing", "too_small")
        return False
    return True


def _watermark(job: Job, pixels: Any) -> Any:
    from counterproof.provenance import watermark

    profile = _profile(pixels.shape[1], pixels.shape[0])
    if profile is None:
        job.layers["watermark"] = Layer("missing", "too_small")
        return pixels
    payload = watermark.new_payload(job.intent.value, profile=profile)
    try:
        made = watermark.embed(
            pixels,
            payload,
            key=job.options.watermark_key,
            strength=job.options.strength,
            profile=profile,
        )
    except watermark.AlreadyMarked:
        job.layers["watermark"] = Layer("kept")
        return pixels
    except ImageError:
        job.layers["watermark"] = Layer("missing", "contrast")
        return pixels
    from counterproof.provenance.watermark_bind import ALGORITHM, Binding

    job.layers["watermark"] = Layer("applied")
    job.mark_id = f"{payload.id:x}"
    job.bindings = [_binding(payload.algorithm, payload.to_bytes())]
    if profile == "full":
        content = watermark.bind(made.pixels)
        job.bindings.append(_binding(ALGORITHM, content))
        key, signer = job.options.watermark_key, job.identity.name
        job.record = Binding.seal(payload, content, signer, key)
    return made.pixels


def _code(job: Job) -> None:
    """Code pixels that came from memory into the format that was asked for."""
    options = job.options
    if not job.in_memory or options.format == "png":
        return
    from counterproof.provenance.pixel_input import from_png

    job.image = job.reopened(from_png(job.image, options.format, options.quality))


def _reads_back(job: Job) -> bool:
    """Tell whether the coded file gives the watermark that was drawn."""
    from counterproof.provenance import watermark

    key = job.options.watermark_key
    reading = watermark.read(job.image.pixels(), [key] if key else [])
    found = reading.payload if reading else None
    return found is not None and f"{found.id:x}" == job.mark_id


def _profile(width: int, height: int) -> Literal["full", "small"] | None:
    """Return the watermark's profile for a picture of this size; None if it is too small."""
    short, longest = sorted((width, height))
    if longest >= 256 and short >= 128:
        return "full"
    return "small" if longest >= 64 and short >= 48 and longest <= 512 else None


def _binding(algorithm: str, value: bytes) -> dict[str, Any]:
    data = {"alg": algorithm, "blocks": [{"scope": {}, "value": list(value)}]}
    return {"label": "c2pa.soft-binding", "data": data}
