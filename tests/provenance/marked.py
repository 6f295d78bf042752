"""Pictures to mark, and what is found in the marked ones; test modules load it with `runpy`."""

import io
import json
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from counterproof.audit.verdict import decide
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.labels import LabelsAnalyzer
from counterproof.settings import Settings

EXIF = Image.Exif()
EXIF[0x010F] = "Example Camera Works"
EXIF[0x0112] = 6
ICC = b"\0" * 128 + b"profile"
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="u:1" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:i="http://iptc.org/std/Iptc4xmpExt/'
    b'2008-02-29/" dc:format="a &gt; b" i:DigitalSourceType="http://cv.iptc.org/newscodes/'
    b'digitalsourcetype/digitalCreation"><dc:creator><r:Seq><r:li>Jane</r:li></r:Seq>'
    b"</dc:creator></r:Description></r:RDF></x:xmpmeta>"
)


def scene(width: int = 60, height: int = 40, seed: int = 0) -> "np.ndarray[Any, Any]":
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = 127 + 70 * np.sin(x / 17 + seed) + 40 * np.cos(y / 11)
    noisy = base[..., None] + rng.normal(0, 8, (height, width, 3))
    return np.asarray(noisy.clip(0, 255), np.uint8)


def coded(fmt: str, pixels: Any = None, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene() if pixels is None else pixels).save(out, fmt, **options)
    return out.getvalue()


def look(data: bytes, settings: Settings) -> tuple[str, list[Finding]]:
    image = ImageFile.open(data)
    found = [
        item
        for kind in (CredentialsAnalyzer, LabelsAnalyzer)
        for item in kind(settings).analyze(image)
        if isinstance(item, Finding)
    ]
    return decide(found).status.value, found


def manifest(data: bytes) -> dict[str, Any]:
    import c2pa

    mime = ImageFile.open(data).metadata.mime
    with c2pa.Reader(mime, io.BytesIO(data)) as reader:  # the library's own defaults
        document = json.loads(reader.json())
        assert reader.get_validation_state() == "Valid"
    found: dict[str, Any] = document["manifests"][document["active_manifest"]]
    return found | {"count": len(document["manifests"])}


def assertion(found: dict[str, Any], label: str) -> Any:
    return next((item["data"] for item in found["assertions"] if item["label"] == label), None)


def palette() -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene(320, 240)).quantize(32).save(out, "PNG")
    return out.getvalue()


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(scene(320, 240, seed)) for seed in range(3)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def rich(fmt: str) -> bytes:
    """Return a picture with a profile, EXIF and XMP."""
    options: dict[str, Any] = {"exif": EXIF.tobytes(), "icc_profile": ICC}
    if fmt == "PNG":
        options["pnginfo"] = texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add_text("Comment", "kept")
    else:
        options["xmp"] = XMP
    if fmt == "JPEG":
        options |= {"quality": 83, "progressive": True, "subsampling": 2}
    return coded(fmt, scene(320, 240), **options)
