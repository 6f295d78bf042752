"""Settings hidden in the pixels: every form found, nothing else, and no length believed."""

import base64
import contextlib
import gzip
import io
import json
import runpy
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from counterproof.errors import ImageError
from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import stealth
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.settings import Settings
from counterproof.text import catalogue

_CARRIERS = runpy.run_path(str(Path(__file__).with_name("carriers.py")))
picture: Callable[..., ImageFile] = _CARRIERS["picture"]

PROMPT = "a duck on a pond"
INFOTEXT = (
    f"{PROMPT}\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, "
    "Seed: 1, Size: 512x512, Model: demo_v1, Version: v1.10.1"
)
FORMS = {
    "stealth_pnginfo": ("alpha", False),
    "stealth_pngcomp": ("alpha", True),
    "stealth_rgbinfo": ("rgb", False),
    "stealth_rgbcomp": ("rgb", True),
}
Pixels = Any


def look(image: ImageFile) -> list[Finding]:
    analyzer = ANALYZERS["stealth"](Settings(home=Path("unused")))
    findings = [item for item in analyzer.analyze(image) if isinstance(item, Finding)]
    assert PROMPT not in json.dumps([finding.to_json() for finding in findings])
    for finding in findings:
        assert finding.basis is Basis.DECLARED
        for language in ("en", "zh"):
            assert catalogue(language).sentence(finding)
    return findings


def noise(height: int, width: int, channels: int = 4) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)


def hide(
    pixels: Pixels, text: bytes, form: str = "stealth_pngcomp", bits: int | None = None
) -> Pixels:
    """Write a text into the lowest bits, as the programs do; `bits` is a length to lie with."""
    channel, packed = FORMS[form]
    body = gzip.compress(text, mtime=0) if packed else text
    stated = struct.pack(">I", 8 * len(body) if bits is None else bits)
    stream = np.unpackbits(np.frombuffer(form.encode() + stated + body, np.uint8))
    result = pixels.copy()
    part = result[:, :, -1:] if channel == "alpha" else result[:, :, :3]
    columns = part.swapaxes(0, 1).reshape(-1)
    columns[: len(stream)] = columns[: len(stream)] & 254 | stream
    part[:] = columns.reshape(part.shape[1], part.shape[0], part.shape[2]).swapaxes(0, 1)
    return result


def saved(pixels: Pixels, form: str = "png", **options: Any) -> ImageFile:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form.upper(), **options)
    return ImageFile.open(buffer.getvalue(), name=f"made.{form}")


def only(image: ImageFile) -> Finding:
    (finding,) = look(image)
    return finding


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(300, 200), (64, 200), (41, 400), (3, 5000)])
def test_every_form_is_found(form: str, size: tuple[int, int]) -> None:
    finding = only(saved(hide(noise(*size), INFOTEXT.encode(), form)))
    assert (finding.code, finding.claim) == ("trace.stealth", Claim.SYNTHETIC)
    assert finding.details["form"] == form
    assert finding.details["channel"] == FORMS[form][0]
    assert finding.details["generator"] == "AUTOMATIC1111"
    assert finding.details["prompt_chars"] == len(PROMPT)


@pytest.mark.parametrize("channels", [2, 3])
def test_other_layouts(channels: int) -> None:
    form = "stealth_rgbcomp" if channels == 3 else "stealth_pngcomp"
    assert only(saved(hide(noise(200, 200, channels), INFOTEXT.encode(), form)))


def test_webp() -> None:
    pixels = hide(noise(200, 200), INFOTEXT.encode())
    assert only(saved(pixels, "webp", lossless=True, exact=True)).details["channel"] == "alpha"
    pixels = hide(noise(200, 200, 3), INFOTEXT.encode(), "stealth_rgbcomp")
    assert only(saved(pixels, "webp", lossless=True)).details["channel"] == "rgb"
    assert look(saved(pixels, "webp", quality=80)) == []


def test_interlaced_png() -> None:
    """Pillow writes none, so the seven passes are made here (PNG 3rd edition §8.1)."""
    pixels = hide(noise(130, 40), INFOTEXT.encode())
    raw = b"".join(
        b"\0" + row.tobytes()
        for x, y, dx, dy in (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
        for row in pixels[y::dy, x::dx]
    )
    header = struct.pack(">IIBBBBB", 40, 130, 8, 6, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + crc
    assert only(ImageFile.open(data)).details["generator"] == "AUTOMATIC1111"


def filtered(pixels: Pixels, kinds: list[int]) -> bytes:
    """Encode a PNG whose rows use these filters in turn (PNG 3rd edition §9.2)."""
    height, width, channels = pixels.shape
    rows, above = [], [0] * (width * channels)
    for y in range(height):
        row, kind = pixels[y].reshape(-1).tolist(), kinds[y % len(kinds)]
        out = bytearray([kind])
        for i, value in enumerate(row):
            left = row[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            up = above[i]
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda near: abs(guess - near))
            out.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
        rows.append(bytes(out))
        above = row
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    packed = zlib.compress(b"".join(rows))
    parts = [(b"IHDR", header)]
    parts += [(b"IDAT", packed[i : i + 1000]) for i in range(0, len(packed), 1000)]
    for name, body in [*parts, (b"IEND", b"")]:
        crc = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + crc
    return data


@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("channels", [3, 4])
def test_first_column_is_that_of_a_whole_decode(kinds: list[int], channels: int) -> None:
    pixels = noise(130, 9, channels)
    image = ImageFile.open(filtered(pixels, kinds))
    assert np.array_equal(image.stored(), pixels)
    column = stealth._first_column(image)
    assert column is not None
    assert np.array_equal(column[:, 0], pixels[: len(column), 0])


def test_a_picture_without_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    image = saved(noise(300, 200))
    monkeypatch.setattr(ImageFile, "stored", lambda _: pytest.fail("decoded"))
    assert look(image) == []


@pytest.mark.parametrize("form", ["jpeg", "gif", "tiff", "avif"])
def test_other_formats_are_left_alone(form: str) -> None:
    assert look(picture(form)) == []


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_other_modes_hide_nothing(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (130, 130)).save(buffer, "PNG")
    assert look(ImageFile.open(buffer.getvalue())) == []


@pytest.mark.parametrize("bits", [2**32 - 1, 10**6, 300 * 200 - 152 + 8])
def test_a_length_that_lies_is_not_believed(bits: int) -> None:
    finding = only(saved(hide(noise(300, 200), b"x", "stealth_pnginfo", bits)))
    assert finding.details["damage"] == "the stated length is too large"
    assert finding.claim is Claim.SYNTHETIC
    assert finding.details["generator"] is None


@pytest.mark.parametrize(
    ("form", "body", "bits"),
    [
        ("stealth_pngcomp", b"x", 64),
        ("stealth_pngcomp", b"x", 0),
        ("stealth_rgbcomp", b"x" * 50, 8),
        ("stealth_pnginfo", b"\xff\xfe\xfd", None),
    ],
)
def test_what_cannot_be_read_is_named(form: str, body: bytes, bits: int | None) -> None:
    assert only(saved(hide(noise(300, 200), body, form, bits))).details["damage"]


def test_a_bomb_is_cut_short() -> None:
    start = time.process_time()
    finding = only(saved(hide(noise(2000, 500), bytes(60_000_000))))
    assert finding.details["damage"] == "compression breaks off or is too long"
    assert time.process_time() - start < 5


def test_eight_pixels_end() -> None:
    """On such a picture a published reader never returns."""
    assert look(saved(noise(8, 8))) == []


@pytest.mark.parametrize("pixels", [120, 121, 151, 152])
def test_a_picture_that_ends_in_the_word_or_the_length(pixels: int) -> None:
    long = hide(noise(160, 1), b"", "stealth_pnginfo")
    finding = only(saved(np.ascontiguousarray(long[:pixels].reshape(1, pixels, 4))))
    assert finding.details.get("damage", "") == ("" if pixels == 152 else "no length")


def test_deep_json_is_no_crash() -> None:
    finding = only(saved(hide(noise(400, 400), b'{"a":' * 50_000)))
    assert finding.details["generator"] is None


@pytest.mark.parametrize(
    ("text", "generator"),
    [
        ({"Software": "NovelAI", "Comment": '{"steps": 28}'}, "NovelAI"),
        ({"prompt": {"3": {"class_type": "KSampler", "inputs": {}}}}, "ComfyUI"),
        ({"sui_image_params": {"prompt": PROMPT}}, "SwarmUI"),
        ({"anything": 1}, None),
        ([1, 2], None),
    ],
)
def test_who_wrote_it(text: Any, generator: str | None) -> None:
    finding = only(saved(hide(noise(200, 200), json.dumps(text).encode())))
    assert finding.details["generator"] == generator
    assert finding.claim is Claim.SYNTHETIC


def test_a_mask_is_an_edit() -> None:
    text = INFOTEXT + ", Mask blur: 4"
    assert only(saved(hide(noise(200, 200), text.encode()))).claim is Claim.MODEL_EDITED


def test_cutting_the_height_loses_the_word() -> None:
    assert look(saved(hide(noise(300, 200), INFOTEXT.encode())[:100])) == []


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.sampled_from(list(FORMS)))
@settings(deadline=None, max_examples=60)
def test_nothing_hidden_is_a_crash(body: bytes, bits: int, form: str) -> None:
    only(saved(hide(noise(130, 40), body, form, bits)))


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=40))
@settings(deadline=None, max_examples=150)
def test_no_damage_is_a_crash(at: int, put: bytes) -> None:
    data = bytearray(saved(hide(noise(130, 10), INFOTEXT.encode())).data)
    data[at : at + len(put)] = put
    with contextlib.suppress(ImageError):
        look(ImageFile.open(bytes(data)))


# NovelAI's signature; the key is one made here, put in the place of NovelAI's.


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Ed25519PrivateKey:
    made = Ed25519PrivateKey.generate()
    monkeypatch.setattr(stealth, "_NOVELAI_KEY", made.public_key().public_bytes_raw())
    return made


def comment(key: Ed25519PrivateKey, pixels: Pixels, **more: Any) -> str:
    fields: dict[str, Any] = {"prompt": PROMPT, "steps": 28, "scale": 5.0, **more}
    message = np.ascontiguousarray(pixels[:, :, :3]).tobytes() + json.dumps(fields).encode()
    return json.dumps(fields | {"signed_hash": base64.b64encode(key.sign(message)).decode()})


def as_text(comment: str) -> PngInfo:
    info = PngInfo()
    for name, value in (("Software", "NovelAI"), ("Comment", comment)):
        info.add_text(name, value)
    return info


def hidden(pixels: Pixels, comment: str) -> Pixels:
    return hide(pixels, json.dumps({"Software": "NovelAI", "Comment": comment}).encode())


def signature(image: ImageFile) -> Finding | None:
    found = [item for item in look(image) if item.code.startswith("trace.novelai")]
    assert len(found) < 2
    return found[0] if found else None


def test_signature_holds_in_both_places(key: Ed25519PrivateKey) -> None:
    pixels = noise(200, 200)
    signed = comment(key, pixels)
    for image in (
        saved(hidden(pixels, signed)),
        saved(pixels, pnginfo=as_text(signed)),
        saved(hidden(pixels, signed), pnginfo=as_text(signed)),
    ):
        finding = signature(image)
        assert finding is not None
        assert (finding.code, finding.claim) == ("trace.novelai.signed", Claim.SYNTHETIC)
        assert finding.details["signature"] == "valid"


@pytest.mark.parametrize("whole", [True, False])
def test_signature_in_a_webp(key: Ed25519PrivateKey, whole: bool) -> None:
    """The user comment holds the settings, alone or in an object with the other fields."""
    pixels = noise(64, 64)
    signed = comment(key, pixels, request_type="PromptGenerateRequest")
    fields = json.dumps({"Software": "NovelAI", "Comment": signed})
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + (fields if whole else signed).encode()
    finding = signature(saved(pixels, "webp", lossless=True, exact=True, exif=exif.tobytes()))
    assert finding is not None
    assert (finding.code, finding.claim) == ("trace.novelai.signed", Claim.SYNTHETIC)
    assert finding.details["mode"] == "text_to_image"


def test_signature_over_a_part_that_was_painted(key: Ed25519PrivateKey) -> None:
    pixels = noise(200, 200)
    signed = comment(key, pixels, request_type="NativeInfillingRequest")
    finding = signature(saved(pixels, pnginfo=as_text(signed)))
    assert finding is not None
    assert finding.claim is Claim.MODEL_EDITED


def test_signature_of_another_picture(key: Ed25519PrivateKey) -> None:
    pixels = noise(200, 200)
    signed = comment(key, pixels)
    changed = pixels.copy()
    changed[5, 5, 1] ^= 1
    foreign = comment(Ed25519PrivateKey.generate(), pixels)
    for image in (
        saved(hidden(changed, signed)),
        saved(hidden(pixels, signed.replace("28", "29"))),
        saved(pixels, pnginfo=as_text(foreign)),
        saved(pixels[:100], pnginfo=as_text(signed)),
    ):
        finding = signature(image)
        assert finding is not None
        assert (finding.code, finding.claim) == ("trace.novelai.mismatch", Claim.NONE)


@pytest.mark.parametrize("broken", ["", "no base64!", "AAAA"])
def test_a_signature_that_is_none(key: Ed25519PrivateKey, broken: str) -> None:
    text = json.dumps({"steps": 1, "signed_hash": broken})
    finding = signature(saved(noise(200, 200), pnginfo=as_text(text)))
    assert finding is None or finding.code == "trace.novelai.mismatch"


def test_without_a_signature_nothing_is_said(key: Ed25519PrivateKey) -> None:
    assert signature(saved(noise(200, 200), pnginfo=as_text('{"steps": 1}'))) is None


def test_the_published_key_is_the_one_in_use() -> None:
    assert len(stealth._NOVELAI_KEY) == 32
    pixels = noise(200, 200)
    signed = comment(Ed25519PrivateKey.generate(), pixels)
    finding = signature(saved(pixels, pnginfo=as_text(signed)))
    assert finding is not None
    assert finding.code == "trace.novelai.mismatch"


def test_samples(test_data: Path) -> None:
    """One file of the collection hides something; no photograph does."""
    found = []
    for folder in ("traces", "photos", "copies", "forgery", "detect/dev"):
        for path in sorted((test_data / folder).rglob("*")):
            if path.suffix in (".png", ".webp"):
                found += [path.name for _ in look(ImageFile.open(path))]
    assert found == ["AUTOMATIC1111_automatic1111_stealth.png"]
