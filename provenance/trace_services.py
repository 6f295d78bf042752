"""Traces of services and devices that generate pictures or edit them with a model."""

import base64
import binascii
import re

from counterproof.provenance.texts import Text
from counterproof.provenance.trace_evidence import Evidence, Family, Trace

__all__ = ["SERVICES"]

_IS_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MIN_SIGNATURE_BYTES = 64


def _novelai(evidence: Evidence) -> Trace | None:
    text = evidence.png("Software")
    if text and text.value == "NovelAI":
        comment = evidence.json(evidence.png("Comment"))
        source, prompt = evidence.png("Source"), evidence.png("Description")
        if comment or source:
            return Trace(
                text,
                "NovelAI",
                model=source.value if source else "",
                mode=_novelai_mode(comment),
                prompt_chars=len(prompt.value) if prompt else 0,
                more={"signed": "signed_hash" in comment},
            )
    for text in evidence.comments:  # WebP keeps the same fields as one object, or the settings
        found = evidence.json(text)
        inner = found.get("Comment")
        model, prompt = found.get("Source"), found.get("Description")
        if found.get("Software") == "NovelAI":
            kept = Text(text.kind, text.key, inner if isinstance(inner, str) else "", text.offset)
            settings = evidence.json(kept)
        elif isinstance(found.get("signed_hash"), str) and "request_type" in found:
            software = evidence.exif("Software")
            model, prompt = software.value if software else "", found.get("prompt")
            settings = found
        else:
            continue
        return Trace(
            text,
            "NovelAI",
            model=model if isinstance(model, str) else "",
            mode=_novelai_mode(settings),
            prompt_chars=len(prompt) if isinstance(prompt, str) else 0,
            more={"signed": "signed_hash" in settings},
        )
    return None


def _novelai_mode(comment: dict[str, object]) -> str:
    request = comment.get("request_type")
    if not isinstance(request, str):
        return ""  # older files write a strength whether or not there was an input picture
    if "InfillingRequest" in request:
        return "inpaint"
    return "image_to_image" if "Img2ImgRequest" in request else "text_to_image"


_JOB = "Job ID: "
_PARAMETER = re.compile(r" --(?:ar|v|niji|s|stylize|style|chaos|raw|profile|sref|iw|seed)\b")
_VERSION = re.compile(r" --(?:v|niji) ([\d.]{1,6})")
_MAX_DESCRIPTION = 32 * 1024


def _midjourney(evidence: Evidence) -> Trace | None:
    """Read the job's description and one thing more: a parameter, the user or the same GUID."""
    text = evidence.png("Description") or evidence.exif("ImageDescription")
    if text is None or len(text.value) > _MAX_DESCRIPTION:
        return None
    prompt, found, job = text.value.rpartition(_JOB)
    if not found or not _IS_UUID.fullmatch(job.strip()):
        return None
    prompt = f" {prompt.strip()}"
    guid, author = evidence.xmp("DigImageGUID"), evidence.png("Author")
    same = guid is not None and guid.value.lower() == job.strip().lower()
    if not (same or author or _PARAMETER.search(prompt)):
        return None
    version = _VERSION.search(prompt)
    return Trace(
        text,
        "Midjourney",
        version=version[1] if version else "",
        prompt_chars=len(prompt) - 1,
        more={"names_user": author is not None},
    )


def _grok(evidence: Evidence) -> Trace | None:
    """Read a signature in the description together with an artist that is a UUID."""
    artist = evidence.exif("Artist")
    if artist is None or not _IS_UUID.fullmatch(artist.value):
        return None
    for text in (evidence.exif("ImageDescription"), evidence.exif("UserComment")):
        if text is None or not text.value.startswith("Signature: "):
            continue
        try:
            signature = base64.b64decode(text.value[11:].strip(), validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(signature) >= _MIN_SIGNATURE_BYTES:
            return Trace(text, "Grok", more={"signature_bytes": len(signature)})
    return None


_GEN_AI = re.compile(r'"genAIType"\s*:\s*"?(\d{1,6})')
_SAMSUNG_ENTRIES = ("PEg_Info", "PhotoEditor_Re_Edit_Data")


def _samsung(evidence: Evidence) -> Trace | None:
    """Read the mark of Galaxy AI; 0 or no number means that no such tool was used."""
    for name, text in evidence.samsung():
        found = _GEN_AI.search(text.value) if name in _SAMSUNG_ENTRIES else None
        if found and int(found[1]):
            kind = int(found[1])
            return Trace(text, "Samsung Galaxy AI", mode="edit", more={"gen_ai_type": kind})
    return None


def _ideogram(evidence: Evidence) -> Trace | None:
    text = evidence.exif("Make")
    return Trace(text, "Ideogram") if text and text.value == "Ideogram AI" else None


def _higgsfield(evidence: Evidence) -> Trace | None:
    text = evidence.png("hf-job-id")
    return Trace(text, "Higgsfield") if text and _IS_UUID.fullmatch(text.value) else None


def _apple(evidence: Evidence) -> Trace | None:
    text = evidence.xmp("Credit")
    if text and text.value == "Apple Image Playground":
        return Trace(text, "Apple Image Playground")
    return None


def _google(evidence: Evidence) -> Trace | None:
    text = evidence.xmp("Credit")
    modes = {"Made with Google AI": "", "Edited with Google AI": "edit"}
    if text and text.value in modes:
        return Trace(text, "Google AI", mode=modes[text.value])
    return None


_FBMD = re.compile(r"FBMD[0-9a-f]{6}(?:[0-9a-f]{8}){1,64}")


def _facebook(evidence: Evidence) -> Trace | None:
    """Read what Facebook writes into pictures it delivers: a word and hexadecimal numbers."""
    for text in evidence.instructions():
        if _FBMD.fullmatch(text.value.strip()):
            return Trace(text, "Facebook", mode="passage")
    return None


SERVICES: tuple[Family, ...] = (
    Family("trace.novelai", _novelai),
    Family("trace.midjourney", _midjourney),
    Family("trace.grok", _grok),
    Family("trace.samsung", _samsung),
    Family("trace.ideogram", _ideogram),
    Family("trace.higgsfield", _higgsfield),
    Family("trace.apple", _apple),
    Family("trace.google", _google),
    Family("trace.facebook", _facebook),
)
