"""Everything goes out through one door: with every layer, whole, and nothing dropped."""

import datetime as dt
import io
import json
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from counterproof.audit.verdict import decide
from counterproof.errors import CounterproofError, ImageError, ProvenanceError, UserError
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.credentials import CredentialsAnalyzer
from counterproof.provenance.labels import LabelsAnalyzer
from counterproof.provenance.mark import MarkedImage, assert_marked, mark, marking
from counterproof.provenance.trust import add_certificates
from counterproof.settings import Limits, Settings

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")
INTENTS = {
    "generated": ("trainedAlgorithmicMedia", "synthetic"),
    "model-edited": ("compositeWithTrainedAlgorithmicMedia", "model_edited"),
    "model-composite": ("compositeSynthetic", "model_edited"),
    "captured": ("digitalCapture", "captured"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    keys.init_identity(home, "Example Press")
    return Settings(home=home)


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


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_container_reads_back(fmt: str, settings: Settings) -> None:
    made = mark(coded(fmt), "generated", settings=settings, system="Example Model", version="3")
    found = manifest(made.data)
    action = assertion(found, "c2pa.actions.v2")["actions"][0]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"]["name"] == "Example Model"
    assert found["claim_version"] == 2
    status, _ = look(made.data, settings)
    assert status == "synthetic_declared"
    assert_marked(made, "generated", settings=settings)


@pytest.mark.parametrize("fmt", FORMATS)
def test_trusted_with_our_root_unlisted_without(
    fmt: str, settings: Settings, tmp_path: Path
) -> None:
    made = mark(coded(fmt), "generated", settings=settings)
    trusting = Settings(home=tmp_path)
    root = settings.home / "keys" / "default" / "root.pem"
    add_certificates(tmp_path, root.read_bytes(), "root.pem", "signer")
    for home, trust, status in (
        (settings, "unlisted", "synthetic_declared"),
        (trusting, "user", "synthetic_verified"),
    ):
        said, found = look(made.data, home)
        answers = found[0].details["answers"]
        assert (answers["integrity"], answers["trust"], said) == ("intact", trust, status)


@pytest.mark.parametrize("intent", INTENTS)
def test_each_intent_says_the_same_in_every_layer(intent: str, settings: Settings) -> None:
    word, claim = INTENTS[intent]
    made = mark(coded("PNG"), intent, settings=settings)
    _, found = look(made.data, settings)
    said = {item.code: item.claim.value for item in found}
    assert said["c2pa.manifest.intact"] == claim
    assert said["label.iptc.source_type"] == claim
    assert said.get("label.aigc.declared", claim) == claim
    assert ("label.aigc.declared" in said) == (intent != "captured")
    assert word in json.dumps(manifest(made.data)["assertions"])


def test_a_local_identity_never_verifies_a_capture(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = mark(coded("JPEG"), "captured", settings=settings)
    root = tmp_path / "keys" / "local" / "root.pem"
    add_certificates(tmp_path, root.read_bytes(), "root.pem", "signer")
    status, found = look(made.data, settings)
    assert found[0].details["answers"]["trust"] == "user"
    assert found[0].details["local_identity"] is True
    assert status == "provenance_verified"


# -- nothing is dropped -----------------------------------------------------------------------

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


@pytest.mark.parametrize("watermark", [False, True])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_profile_exif_orientation_and_xmp_stay(
    fmt: str, watermark: bool, settings: Settings
) -> None:
    before = ImageFile.open(rich(fmt))
    made = mark(before.data, "generated", settings=settings, watermark=watermark)
    after = ImageFile.open(made.data)
    assert after.icc == before.icc
    assert after.exif_data == before.exif_data
    assert after.orientation == before.orientation == 6
    assert after.pixels().shape == before.pixels().shape
    packet = after.blocks("xmp")[0].data
    assert b'dc:format="a &gt; b"' in packet
    assert b"<r:li>Jane</r:li>" in packet
    assert packet.count(b"DigitalSourceType>") == 2
    assert made.replaced == (
        "DigitalSourceType: http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation",
    )
    assert len(after.blocks("xmp")) == 1
    if fmt == "PNG":
        assert [block.data for block in after.blocks("text")] == [b"kept"]
    if not watermark:
        assert np.array_equal(after.pixels(), before.pixels())
    elif fmt == "AVIF":  # Pillow writes its EXIF anew, so it is left alone
        assert made.layers["watermark"].reason == "tags"
    else:
        assert made.layers["watermark"].state == "applied"


def test_without_a_pixel_layer_the_coded_picture_is_the_same(settings: Settings) -> None:
    data = rich("JPEG")
    made = mark(data, "captured", settings=settings).data
    assert made[made.index(b"\xff\xda") :] == data[data.index(b"\xff\xda") :]


def test_a_jpeg_is_coded_again_with_its_own_tables(settings: Settings) -> None:
    before = Image.open(io.BytesIO(rich("JPEG")))
    made = mark(rich("JPEG"), "generated", settings=settings)
    after = made.image()
    assert made.layers["watermark"].state == "applied"
    assert after.quantization == before.quantization  # type: ignore[attr-defined]
    assert bool(after.info.get("progressive")) == bool(before.info.get("progressive"))


def test_alpha_and_grey_stay(settings: Settings) -> None:
    alpha = np.dstack([scene(320, 240), np.full((240, 320), 77, np.uint8)])
    made = mark(coded("PNG", alpha), "generated", settings=settings)
    assert made.layers["watermark"].state == "applied"
    assert np.array_equal(np.asarray(made.image())[..., 3], alpha[..., 3])
    grey = mark(coded("PNG", scene(320, 240)[..., 0]), "generated", settings=settings)
    assert grey.layers["watermark"].state == "applied"
    assert grey.image().mode == "L"


def test_sixteen_bits_stay(settings: Settings) -> None:
    deep = (scene(320, 240).astype(np.uint16) << 8) | 0x5A
    made = mark(deep, "generated", settings=settings)
    import cv2

    back = cv2.imdecode(np.frombuffer(made.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert back is not None
    assert np.array_equal(back[..., ::-1], deep)
    assert (made.layers["watermark"].state, made.layers["watermark"].reason) == ("missing", "depth")
    with pytest.raises(ImageError, match="cannot keep it"):
        mark(deep, "generated", settings=settings, format="jpeg")
    with pytest.raises(UserError, match="without loss"):
        mark(deep, "generated", settings=settings, visible="AI generated")


def test_what_is_missing_is_stated_in_the_manifest(settings: Settings) -> None:
    cases: dict[str, tuple[bytes, str]] = {
        "gif": (coded("GIF", scene(320, 240)), "container"),
        "palette": (palette(), "mode"),
        "tiny": (coded("PNG", scene(24, 24)), "too_small"),
        "animated": (animation(), "animation"),
    }
    for name, (data, reason) in cases.items():
        made = mark(data, "generated", settings=settings)
        stated = assertion(manifest(made.data), "counterproof.marking")["layers"]["watermark"]
        assert stated == {"state": "missing", "reason": reason}, name
        assert np.array_equal(ImageFile.open(made.data).pixels(), ImageFile.open(data).pixels())


def palette() -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene(320, 240)).quantize(32).save(out, "PNG")
    return out.getvalue()


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(scene(320, 240, seed)) for seed in range(3)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def test_every_frame_of_an_animation_stays(settings: Settings) -> None:
    out = io.BytesIO()
    frames = [Image.fromarray(scene(64, 48, seed)) for seed in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    for data in (out.getvalue(), animation()):
        made = mark(data, "generated", settings=settings)
        assert ImageFile.open(made.data).info.frames == 3


def test_a_tiff_of_several_pages_is_signed_beside(settings: Settings, tmp_path: Path) -> None:
    out = io.BytesIO()
    pages = [Image.fromarray(scene(64, 48, seed)) for seed in range(3)]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    path = tmp_path / "pages.tif"
    path.write_bytes(out.getvalue())
    with pytest.raises(ImageError, match="sidecar"):
        mark(path, "generated", settings=settings)
    made = mark(path, "generated", settings=settings, sidecar=True, out=tmp_path / "out")
    assert ImageFile.open(made.data).info.frames == 3
    assert_marked(tmp_path / "out" / "pages.tif", settings=settings)


def test_malformed_xmp_is_left_and_the_label_stated_as_missing(settings: Settings) -> None:
    broken = XMP.replace(b"</r:Seq>", b"")
    made = mark(coded("JPEG", xmp=broken), "generated", settings=settings)
    assert made.layers["iptc"].reason == made.layers["aigc"].reason == "malformed"
    assert ImageFile.open(made.data).blocks("xmp")[0].data == broken


# -- credentials of the input -----------------------------------------------------------------


def test_a_credential_becomes_the_parent(settings: Settings) -> None:
    first = mark(coded("JPEG"), "captured", settings=settings)
    second = mark(first.data, "model-edited", settings=settings)
    found = manifest(second.data)
    assert [item["relationship"] for item in found["ingredients"]] == ["parentOf"]
    assert found["count"] == 2
    names = [item["action"] for item in assertion(found, "c2pa.actions.v2")["actions"]]
    assert names[:2] == ["c2pa.opened", "c2pa.edited"]
    status, reading = look(second.data, settings)
    assert status == "model_edited_declared"
    assert reading[0].details["answers"]["history"] == "complete"


def test_a_sidecar_becomes_the_parent(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(coded("JPEG"))
    first = mark(path, "captured", settings=settings, out=tmp_path / "1", sidecar=True)
    assert first.sidecar
    assert not ImageFile.open(first.data).blocks("c2pa")
    second = mark(tmp_path / "1" / "a.jpg", "model-edited", settings=settings)
    found = manifest(second.data)
    assert found["count"] == 2
    _, reading = look(second.data, settings)
    assert reading[0].details["answers"]["history"] == "complete"


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_sidecar_replaces_what_was_inside(fmt: str, settings: Settings) -> None:
    first = mark(coded(fmt), "generated", settings=settings)
    second = mark(first.data, "model-edited", settings=settings, sidecar=True)
    after = ImageFile.open(second.data)
    assert not after.blocks("c2pa")
    assert after.metadata.damage == ""
    assert_marked(second, "model-edited", settings=settings)


def test_a_parent_and_components_can_be_named(settings: Settings) -> None:
    made = mark(
        coded("JPEG", scene(seed=2)),
        "model-edited",
        settings=settings,
        parent=coded("JPEG"),
        components=[mark(coded("PNG"), "generated", settings=settings).data],
    )
    found = manifest(made.data)
    assert [i["relationship"] for i in found["ingredients"]] == ["parentOf", "componentOf"]
    names = [item["action"] for item in assertion(found, "c2pa.actions.v2")["actions"]]
    assert names[:3] == ["c2pa.opened", "c2pa.edited", "c2pa.placed"]


def test_what_a_model_made_is_never_marked_as_captured(settings: Settings) -> None:
    made = mark(coded("JPEG", scene(320, 240)), "generated", settings=settings)
    with pytest.raises(UserError, match="cannot be marked as captured"):
        mark(made.data, "captured", settings=settings)
    stripped = io.BytesIO()
    made.image().save(stripped, "PNG")  # the watermark alone is left
    with pytest.raises(UserError, match="watermark, generated"):
        mark(stripped.getvalue(), "captured", settings=settings)


def test_a_credential_that_cannot_be_kept_is_not_dropped(settings: Settings) -> None:
    data = bytearray(mark(coded("PNG"), "generated", settings=settings).data)
    at = data.index(b"jumb")
    data[at - 4 : at] = b"\0\0\0\x01"
    chunk = data.index(b"caBX")
    length = int.from_bytes(data[chunk - 4 : chunk], "big")
    import zlib

    body = bytes(data[chunk : chunk + 4 + length])
    data[chunk + 4 + length : chunk + 8 + length] = zlib.crc32(body).to_bytes(4, "big")
    with pytest.raises(CounterproofError):
        mark(bytes(data), "generated", settings=settings)


# -- watermark, visible label, further assertions ---------------------------------------------


def test_the_watermark_is_bound_in_the_manifest(settings: Settings) -> None:
    from counterproof.provenance import watermark

    made = mark(coded("JPEG", scene(320, 240)), "model-edited", settings=settings)
    found = manifest(made.data)
    names = [item["action"] for item in assertion(found, "c2pa.actions.v2")["actions"]]
    assert names[-1] == "c2pa.watermarked.bound"
    binding = assertion(found, "c2pa.soft-binding")
    reading = watermark.read(made.pixels())
    assert reading is not None
    assert reading.payload is not None
    assert reading.payload.mark_class.value == "model-edited"
    assert binding["alg"] == reading.payload.algorithm
    unmarked = manifest(mark(coded("GIF"), "generated", settings=settings).data)
    assert "watermarked" not in json.dumps(unmarked)
    assert "c2pa.soft-binding" not in json.dumps(unmarked)


def test_a_picture_is_never_watermarked_twice(settings: Settings) -> None:
    once = mark(coded("PNG", scene(320, 240)), "generated", settings=settings)
    twice = mark(once.data, "generated", settings=settings)
    assert twice.layers["watermark"].state == "kept"
    assert np.array_equal(twice.pixels(), once.pixels())


def test_a_visible_label_is_large_enough(settings: Settings) -> None:
    pixels = np.full((400, 600, 3), 200, np.uint8)
    made = mark(coded("PNG", pixels), "generated", settings=settings, visible="AI generated")
    changed = np.abs(made.pixels().astype(int) - 200).max(axis=2) > 100
    rows, columns = np.nonzero(changed)
    assert rows.max() - rows.min() >= 0.05 * 400
    assert rows.min() > 300, "in a corner"
    assert columns.max() > 500
    names = json.dumps(manifest(made.data)["assertions"])
    assert "c2pa.addedText" in names
    for bad in ("人工智能生成", "a\nb", "", " "):
        if not bad:
            continue
        with pytest.raises(UserError):
            mark(coded("PNG", pixels), "generated", settings=settings, visible=bad)
    with pytest.raises(UserError, match="no visible label"):
        mark(coded("PNG", pixels), "captured", settings=settings, visible="AI")


def test_the_label_is_upright(settings: Settings) -> None:
    data = coded("JPEG", np.full((600, 400, 3), 220, np.uint8), exif=EXIF.tobytes())
    made = mark(data, "generated", settings=settings, visible="AI generated", watermark=False)
    shown = made.pixels()
    assert shown.shape[:2] == (400, 600)
    rows, columns = np.nonzero(np.abs(shown.astype(int) - 220).max(axis=2) > 100)
    assert rows.min() > 300
    assert columns.max() - columns.min() > 3 * (rows.max() - rows.min())


def test_training_and_mining(settings: Settings) -> None:
    made = mark(coded("PNG"), "generated", settings=settings, training="not-allowed")
    entries = assertion(manifest(made.data), "cawg.training-mining")["entries"]
    assert entries["cawg.ai_generative_training"] == {"use": "notAllowed"}
    assert b"DMI-PROHIBITED" in ImageFile.open(made.data).blocks("xmp")[0].data
    with pytest.raises(UserError, match="expected training"):
        mark(coded("PNG"), "generated", settings=settings, training="maybe")


def test_a_label_that_is_there_is_not_doubled(settings: Settings) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("AIGC", '{"Label":"1","ContentProducer":"x","ProduceID":"y"}')
    made = mark(coded("PNG", pnginfo=texts), "generated", settings=settings)
    assert made.layers["aigc"].state == "kept"
    _, found = look(made.data, settings)
    assert "label.aigc.declared" in {item.code for item in found}


# -- ways in and out --------------------------------------------------------------------------


def test_every_kind_of_input(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(coded("PNG"))
    inputs: list[Any] = [path, str(path), path.read_bytes(), Image.open(path), scene()]
    for made in mark(inputs, "generated", settings=settings):
        assert isinstance(made, MarkedImage)
        assert_marked(made, "generated", settings=settings)
        assert np.asarray(made).shape == (40, 60, 3)
    for fmt in ("jpeg", "webp", "tiff", "avif"):
        made = mark(scene(320, 240), "generated", settings=settings, format=fmt)
        assert made.format == fmt
        assert made.layers["watermark"].state == "applied"
        assert_marked(made, settings=settings)
    refused: list[Any] = [scene().astype(float), np.zeros((0, 4, 3), np.uint8), 7]
    for bad in [*refused, Image.new("CMYK", (9, 9))]:
        with pytest.raises(UserError):
            mark(bad, "generated", settings=settings)


def test_a_pillow_image_keeps_what_it_knows(settings: Settings) -> None:
    made = mark(Image.open(io.BytesIO(rich("PNG"))), "generated", settings=settings)
    after = ImageFile.open(made.data)
    assert after.icc == ICC
    assert after.orientation == 6
    assert b"Jane" in after.blocks("xmp")[0].data
    assert [block.data for block in after.blocks("text")] == [b"kept"]


def test_a_pipeline_of_ones_own(settings: Settings, tmp_path: Path) -> None:
    class Output:
        def __init__(self) -> None:
            self.images = [Image.fromarray(scene())]
            self.nsfw = [False]

    class Pipeline:
        steps = 4

        def __call__(self, prompt: str, return_dict: bool = True) -> Any:
            return Output() if return_dict else (Output().images, [False])

    pipe = marking(Pipeline(), "generated", settings=settings, system="Example Model")
    result = pipe("a lighthouse")
    result.images[0].save(tmp_path / "a.png")
    assert_marked(tmp_path / "a.png", "generated", settings=settings)
    assert result.nsfw == [False]
    assert pipe.steps == 4
    images, flags = pipe("a lighthouse", return_dict=False)
    assert_marked(images[0], settings=settings)
    assert flags == [False]
    plain = marking(lambda: scene(), settings=settings)
    assert_marked(plain(), settings=settings)
    with pytest.raises(UserError, match="signed as png"):
        result.images[0].save(tmp_path / "a.jpg")


def test_assert_marked_notices(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no credential"):
        assert_marked(coded("PNG"), settings=settings)
    made = mark(coded("PNG"), "generated", settings=settings)
    with pytest.raises(AssertionError, match="expected captured"):
        assert_marked(made, "captured", settings=settings)
    at = made.data.index(b"IDAT") + 30
    broken = made.data[:at] + bytes([made.data[at] ^ 1]) + made.data[at + 1 :]
    with pytest.raises((AssertionError, ImageError)):
        assert_marked(broken, settings=settings)


# -- files ------------------------------------------------------------------------------------


def test_nothing_is_replaced_unless_asked(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(coded("PNG"))
    mark(path, "generated", settings=settings, out=tmp_path / "out")
    for folder in (tmp_path / "out", tmp_path):
        with pytest.raises(UserError, match="exists already"):
            mark(path, "generated", settings=settings, out=folder)
    mark(path, "generated", settings=settings, out=tmp_path / "out", overwrite=True)
    mode = stat.S_IMODE((tmp_path / "out" / "a.png").stat().st_mode)
    assert mode == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("where", ["fsync", "link", "chmod"])
def test_an_interrupted_run_leaves_nothing(
    where: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        mark(coded("PNG"), "generated", settings=settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_never_there_without_its_sidecar(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    real = os.link

    def seen(source: str, target: Path) -> None:
        names.append(Path(target).suffix)
        real(source, target)

    monkeypatch.setattr(os, "link", seen)
    mark(coded("PNG"), "generated", settings=settings, out=tmp_path, sidecar=True)
    assert names == [".c2pa", ".png"]


def test_a_signer_that_fails_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    def broken(data: bytes) -> bytes:
        raise ConnectionError("the KMS is away")

    chain = (settings.home / "keys" / "default" / "chain.pem").read_bytes()
    identity = keys.from_callback(chain, broken)
    with pytest.raises(ProvenanceError, match="the signer failed"):
        mark(coded("PNG"), "generated", signer=identity, settings=settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_private_key_in_any_output(settings: Settings) -> None:
    secret = (settings.home / "keys" / "default" / "leaf.key").read_bytes()
    body = b"".join(secret.splitlines()[1:-1])
    import base64

    raw = base64.b64decode(body)
    made = mark(coded("PNG"), "generated", settings=settings)
    for part in (body, raw, raw[36:68]):
        assert part not in made.data
        assert repr(part) not in repr(made)


def test_two_first_uses_at_once_make_one_identity(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    chains: list[bytes] = []

    def use() -> None:
        chains.append(keys.local_identity(settings).chain)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(chains) == 4
    assert len(set(chains)) == 1


@pytest.mark.parametrize("data", [b"", b"x", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_hostile_bytes_are_refused_in_one_way(data: bytes, settings: Settings) -> None:
    with pytest.raises(ImageError):
        mark(data, "generated", settings=settings)


def test_limits_hold(settings: Settings) -> None:
    small = Settings(home=settings.home, limits=Limits(max_pixels=1000))
    with pytest.raises(ImageError, match="limit"):
        mark(coded("PNG"), "generated", settings=small)
    for cut in range(0, 3000, 271):
        data = coded("JPEG")
        with pytest.raises(CounterproofError):
            mark(data[: min(cut, len(data) - 200)], "generated", settings=settings)


def test_when_is_said_for_pixels_and_not_guessed_for_files(settings: Settings) -> None:
    def said(source: Any, **options: Any) -> Any:
        made = mark(source, "generated", settings=settings, **options)
        return assertion(manifest(made.data), "c2pa.actions.v2")["actions"][0].get("when")

    assert said(coded("PNG")) is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said(scene()))
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert said(coded("PNG"), when=moment) == "2026-01-02T03:04:05Z"


def test_nobody_is_asked_for_the_time_unless_named(settings: Settings) -> None:
    with pytest.raises(UserError, match="time-stamping"):
        mark(coded("PNG"), "generated", settings=settings, tsa="ftp://example.org")
    with pytest.raises(ProvenanceError):  # nobody listens there
        mark(coded("PNG"), "generated", settings=settings, tsa="http://127.0.0.1:9/")


def test_heic_is_signed_without_coding_it_again(test_data: Path, settings: Settings) -> None:
    found = sorted((test_data / "photos" / "heif-nokia").glob("*C0*.heic"))
    for path in found[:2]:
        made = mark(path, "generated", settings=settings)
        assert made.layers["watermark"].reason == "container"
        before, after = ImageFile.open(path), ImageFile.open(made.data)
        assert np.array_equal(after.pixels(), before.pixels())
        assert_marked(made, "generated", settings=settings)
