"""Nothing of the input is dropped: neither what is in the file nor the credential it came with."""

import io
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof.errors import CounterproofError, ImageError, UserError
from counterproof.images import ImageFile
from counterproof.provenance.mark import assert_marked, mark
from counterproof.settings import Settings

_MADE = runpy.run_path(str(Path(__file__).with_name("marked.py")))
scene = _MADE["scene"]
coded = _MADE["coded"]
look = _MADE["look"]
manifest = _MADE["manifest"]
assertion = _MADE["assertion"]
palette = _MADE["palette"]
animation = _MADE["animation"]

EXIF, ICC, XMP, rich = (_MADE[name] for name in ("EXIF", "ICC", "XMP", "rich"))

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")


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
