"""Everything goes out through one door: every layer, container, intent and kind of input."""

import io
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from counterproof.audit.verdict import decide
from counterproof.errors import ImageError, UserError
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.provenance.mark import MarkedImage, assert_marked, mark, marking
from counterproof.provenance.trust import add_certificates
from counterproof.provenance.watermark_scan import WatermarkAnalyzer
from counterproof.settings import Settings

_MADE = runpy.run_path(str(Path(__file__).with_name("marked.py")))
scene = _MADE["scene"]
coded = _MADE["coded"]
look = _MADE["look"]
manifest = _MADE["manifest"]
assertion = _MADE["assertion"]

EXIF, ICC, rich = (_MADE[name] for name in ("EXIF", "ICC", "rich"))

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")
INTENTS = {
    "generated": ("trainedAlgorithmicMedia", "synthetic"),
    "model-edited": ("compositeWithTrainedAlgorithmicMedia", "model_edited"),
    "model-composite": ("compositeSynthetic", "model_edited"),
    "captured": ("digitalCapture", "captured"),
}


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


def blots(seed: int) -> "np.ndarray[Any, Any]":
    """Return a picture whose layout no other seed shares."""
    rng = np.random.default_rng(seed)
    low = Image.fromarray(rng.integers(40, 216, (12, 16, 3), np.uint8))
    large = np.asarray(low.resize((640, 480), Image.Resampling.BICUBIC))
    return (large + rng.normal(0, 6, large.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("secret", [b"a secret of sixteen bytes or more", None])
def test_a_scan_tells_a_mark_from_one_that_was_moved(tmp_path: Path, secret: bytes | None) -> None:
    """What `mark` keeps of a watermark is what scans on this machine compare its picture with."""
    file = tmp_path / "secret"
    file.write_bytes(secret or bytes(16))
    home = Settings(home=tmp_path / "home", keys=(file,))
    pixels, other = blots(1), blots(2)
    made = mark(pixels, "generated", settings=home, watermark_key=secret)

    def found(picture: "np.ndarray[Any, Any]") -> tuple[str, str]:
        image = ImageFile.open(coded("JPEG", picture, quality=85))
        (finding,) = WatermarkAnalyzer(home).analyze(image)
        assert isinstance(finding, Finding)
        return finding.code, decide([finding]).status.value

    signal = made.pixels().astype(np.float32) - pixels
    moved = (other + 1.5 * signal).clip(0, 255).astype(np.uint8)
    if secret:
        assert found(made.pixels()) == ("watermark.match", "synthetic_verified")
    else:
        assert found(made.pixels()) == ("watermark.unchecked", "synthetic_declared")
    assert found(moved) == ("watermark.transplanted", "conflict")


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
