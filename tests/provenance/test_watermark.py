"""The invisible watermark: what it says, survives, and never says of unmarked pictures."""

import dataclasses
import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from counterproof.errors import ImageError
from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import (
    watermark,
    watermark_mask,
    watermark_plane,
    watermark_scan,
    watermark_sync,
)
from counterproof.provenance.watermark import AlreadyMarked, MarkClass, Payload, embed, read
from counterproof.provenance.watermark_bind import Binding, Content, compare, judge
from counterproof.provenance.watermark_code import (
    FULL,
    PUBLIC_KEY,
    SMALL,
    code_word,
    open_message,
    seal_message,
    viterbi,
)
from counterproof.provenance.watermark_look import NEEDED
from counterproof.settings import Settings

Pixels = NDArray[np.uint8]
KEY, OTHER = b"k" * 32, b"o" * 32
PAYLOAD = Payload(MarkClass.GENERATED, 0x2A5C3D00DEAD17)


@cache
def scene(seed: int, height: int = 480, width: int = 640) -> Pixels:
    """Make something like a photograph: power falls with frequency, with edges and a sky."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    fall = 1 / np.maximum(np.hypot(x, y), 1 / max(height, width)) ** 1.4
    shape = 3, height, len(x)
    waves = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * fall
    field = np.fft.irfft2(waves, s=(height, width))
    field = field[:1] + 0.3 * field[1:]
    field = np.concatenate([field, field.mean(0, keepdims=True)])
    pixels = 120 + 38 * field / field.std()
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        pixels[:, top : top + height // 5, left : left + width // 6] += rng.normal(0, 35)
    pixels[:, : height // 5] = 150 + np.linspace(0, 30, width) + pixels[:, : height // 5] / 60
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))


@pytest.fixture(scope="module")
def original() -> Pixels:
    return scene(1)


@pytest.fixture(scope="module")
def made(original: Pixels) -> watermark.Embedded:
    return embed(original, PAYLOAD)


@pytest.fixture(scope="module")
def private(original: Pixels) -> watermark.Embedded:
    return embed(original, PAYLOAD, key=KEY)


def coded(pixels: Pixels, quality: int, suffix: str = ".jpg") -> Pixels:
    setting = cv2.IMWRITE_JPEG_QUALITY if suffix == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    data = cv2.imencode(suffix, pixels, [setting, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def resized(pixels: Pixels, across: float, down: float | None = None) -> Pixels:
    size = round(pixels.shape[1] * across), round(pixels.shape[0] * (down or across))
    way = cv2.INTER_AREA if across < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=way), np.uint8)


def turned(pixels: Pixels, degrees: float) -> Pixels:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)), np.uint8)


def page(pixels: Pixels) -> Pixels:
    small = resized(pixels, 0.7)
    return np.asarray(
        cv2.copyMakeBorder(small, 60, 150, 40, 200, cv2.BORDER_CONSTANT, value=(40, 40, 40))
    )


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda p: p,
    "jpeg 30": lambda p: coded(p, 30),
    "webp 80": lambda p: coded(p, 80, ".webp"),
    "a third of the size": lambda p: resized(p, 0.33),
    "half the size, jpeg 50": lambda p: coded(resized(p, 0.5), 50),
    "crop to half": lambda p: np.ascontiguousarray(p[100:440, 150:602]),
    "crop to a quarter, jpeg 75": lambda p: coded(np.ascontiguousarray(p[130:370, 60:380]), 75),
    "wider": lambda p: resized(p, 1.1, 1.0),
    "narrower": lambda p: resized(p, 0.9, 1.0),
    "rotated": lambda p: turned(p, 17),
    "on its side": lambda p: np.ascontiguousarray(np.rot90(p)),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "negative": lambda p: 255 - p,
    "blurred": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 2), np.uint8),
    "in a page": lambda p: coded(page(p), 80),
    "grey": lambda p: np.repeat(watermark_plane.luma(p)[..., None], 3, 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_public_mark_is_read_after_change(made: watermark.Embedded, change: str) -> None:
    reading = read(CHANGES[change](made.pixels))
    assert reading is not None
    assert reading.payload == PAYLOAD
    assert not reading.private
    assert reading.inverted == (change == "negative")


def test_marking_costs_little_and_says_what(original: Pixels, made: watermark.Embedded) -> None:
    change = made.pixels.astype(np.float64) - original
    assert made.psnr_db == pytest.approx(10 * math.log10(255**2 / np.mean(change**2)), abs=0.01)
    assert made.psnr_db >= 40.3
    assert made.margin_db > 10
    sky = change[10:80, 10:-10]
    assert math.sqrt(float((sky**2).mean())) <= 0.7


def test_subtle_costs_less(original: Pixels, made: watermark.Embedded) -> None:
    subtle = embed(original, PAYLOAD, strength="subtle")
    assert subtle.psnr_db > made.psnr_db + 1
    reading = read(coded(subtle.pixels, 50))
    assert reading is not None
    assert reading.payload == PAYLOAD


def test_same_input_gives_same_pixels(original: Pixels, made: watermark.Embedded) -> None:
    assert np.array_equal(embed(original, PAYLOAD).pixels, made.pixels)


def test_private_mark_is_absent_without_its_key(private: watermark.Embedded) -> None:
    for keys in ([], [OTHER]):
        reading = read(private.pixels, keys)
        assert reading is None or reading.payload is None
    reading = read(coded(private.pixels, 50), [OTHER, KEY])
    assert reading is not None
    assert reading.payload == PAYLOAD
    assert reading.key == 1


@pytest.mark.parametrize("seed", range(2, 5))
def test_unmarked_picture_has_no_mark(seed: int) -> None:
    assert read(scene(seed), [KEY]) is None


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((300, 400, 3), np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((3, 4000, 3), np.uint8),
        np.tile(np.array([0, 255], np.uint8), (256, 128))[..., None].repeat(3, 2),
        np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8),
    ],
    ids=["black", "white", "pixel", "strip", "stripes", "noise"],
)
def test_odd_pictures_have_no_mark(pixels: Pixels) -> None:
    assert read(pixels) is None


def test_never_marks_twice_silently(made: watermark.Embedded) -> None:
    with pytest.raises(AlreadyMarked, match="2a5c3d00dead17"):
        embed(coded(made.pixels, 75), watermark.new_payload("captured"))
    other = watermark.new_payload("captured")
    reading = read(embed(made.pixels, other, again=True).pixels)
    assert reading is not None
    assert reading.payload == other


def test_two_keys_can_share_a_picture(private: watermark.Embedded) -> None:
    other = watermark.new_payload("model-edited")
    both = embed(private.pixels, other).pixels
    public, mine = read(both), read(both, [KEY])
    assert public is not None
    assert public.payload == other
    assert mine is not None


def test_grey_stays_grey() -> None:
    grey = np.repeat(scene(3)[..., 1:2], 3, 2)
    marked = embed(grey, PAYLOAD).pixels
    assert np.array_equal(marked[..., 0], marked[..., 1])
    assert np.array_equal(marked[..., 1], marked[..., 2])


@pytest.mark.parametrize("tint", [0, 7])
def test_a_smooth_area_is_changed_by_less_than_a_grey_level(
    tint: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that is nothing but smooth and noisy asks for more than it gets."""
    y, x = np.mgrid[0:384, 0:576]
    noise = np.random.default_rng(1).normal(0, 1.5, x.shape)
    gray = 110 + 40 * np.sin(x / 150) + 20 * np.cos(y / 130) + noise
    pixels = np.clip(np.rint(np.stack([gray, gray + tint, gray], 2)), 0, 255).astype(np.uint8)

    def change() -> float:
        difference = embed(pixels, PAYLOAD).pixels.astype(np.float64) - pixels
        return float(np.sqrt((difference**2).mean()))

    assert change() <= 0.72
    free = dataclasses.replace(watermark_mask.STRENGTHS["full", "standard"], smoothest=math.inf)
    monkeypatch.setitem(watermark_mask.STRENGTHS, ("full", "standard"), free)
    assert change() > 0.8


def test_what_cannot_be_marked_is_refused() -> None:
    with pytest.raises(ImageError, match="too small"):
        embed(np.zeros((100, 200, 3), np.uint8), PAYLOAD)
    with pytest.raises(ValueError, match="16 bytes"):
        embed(scene(1), PAYLOAD, key=b"short")
    with pytest.raises(ValueError, match="uint8 RGB"):
        embed(np.zeros((300, 400), np.uint8), PAYLOAD)
    with pytest.raises(ValueError, match="profile"):
        embed(scene(1), PAYLOAD, profile="small")


def test_mark_that_cannot_be_read_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark_mask, "add", lambda pixels, residual, gains: pixels)
    with pytest.raises(ImageError, match="cannot carry"):
        embed(scene(1), PAYLOAD)


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_small_profile_survives_platforms(size: tuple[int, int]) -> None:
    pixels = resized(scene(5), size[1] / 640, size[0] / 480)
    payload = watermark.new_payload("generated", profile="small")
    small = embed(pixels, payload, profile="small").pixels
    for copy in (small, coded(small, 80), resized(small, 3), 255 - small):
        reading = read(copy)
        assert reading is not None
        assert reading.payload == payload


def test_geometry_is_that_of_the_picture_given(made: watermark.Embedded) -> None:
    reading = read(np.ascontiguousarray(made.pixels[100:440, 150:602]))
    assert reading is not None
    whole = watermark_plane.upright((480, 640), FULL)
    assert reading.geometry.matrix == pytest.approx(whole.matrix, abs=0.01)
    assert reading.geometry.offset == pytest.approx(whole.offset - [150, 100], abs=0.5)


# -- payload and code


@pytest.mark.parametrize("profile", [FULL, SMALL])
def test_payload_bytes_round_trip(profile: object) -> None:
    for mark_class in MarkClass:
        payload = watermark.new_payload(mark_class, profile=profile.name)  # type: ignore[attr-defined]
        assert Payload.from_bytes(payload.to_bytes()) == payload
    with pytest.raises(ValueError, match="7 or 2 bytes"):
        Payload.from_bytes(b"123")
    with pytest.raises(ValueError, match="54 bits"):
        Payload(MarkClass.CAPTURED, 1 << 54)


def test_code_corrects_what_it_should() -> None:
    rng = np.random.default_rng(0)
    bits = seal_message(PAYLOAD.to_bytes(), PUBLIC_KEY, FULL)
    word = code_word(bits)
    assert len(word) == FULL.code_bits == 624
    read_ = 0
    for _ in range(10):
        noisy = (word + rng.normal(0, 1 / NEEDED, len(word))).astype(np.float32)
        read_ += open_message(viterbi(noisy, 104), PUBLIC_KEY, FULL) == PAYLOAD.to_bytes()
    assert read_ >= 8
    assert open_message(bits ^ np.eye(1, 104, 50, dtype=np.uint8)[0], PUBLIC_KEY, FULL) is None
    assert open_message(bits, KEY, FULL) is None


def test_the_shift_at_which_pilots_agree_is_found_on_both_sides() -> None:
    for expected in ([0.11, 0.3], [-0.23, 0.02], [0.4, -0.37]):
        sums = np.exp(-2j * np.pi * (watermark_plane.PILOTS @ np.array(expected)))
        shift, peak = watermark_sync._shift(sums.astype(np.complex64))
        assert np.abs(shift - expected).max() < 0.001
        assert peak > 30  # of 32 pilots
        assert watermark_sync._shift(-sums.astype(np.complex64))[1] < -30


def test_pilots_finer_than_the_pixels_are_not_looked_for() -> None:
    assert not watermark_sync.shows_pilots(np.eye(2) * 100)
    assert watermark_sync.shows_pilots(np.eye(2) * 256)


def test_false_positive_bounds_hold_for_all_tries() -> None:
    # upright, four fits at two sizes, second looks; then every key that a scan may hold
    tries = 1 + 2 * 4 + watermark.SECOND_LOOKS
    keys = watermark_scan.MOST_KEYS + 1
    assert tries * keys * 2.0**-FULL.tag_bits <= 1e-11
    assert 2 * 2.0**-SMALL.tag_bits <= 1e-6


# -- content binding


def test_content_hash_tells_pictures_apart(made: watermark.Embedded) -> None:
    content = watermark.bind(made.pixels)
    for change in ("jpeg 30", "half the size, jpeg 50", "crop to half", "mirrored", "rotated"):
        copy = CHANGES[change](made.pixels)
        reading = read(copy)
        assert reading is not None
        found = compare(content, watermark_plane.luma(copy), reading.geometry)
        assert judge(*found) is Content.MATCH
    other = scene(9)
    place = watermark_plane.upright((480, 640), FULL)
    found = compare(content, watermark_plane.luma(other), place)
    assert judge(*found) is Content.TRANSPLANTED
    with pytest.raises(ValueError, match="content hash"):
        compare(b"short", watermark_plane.luma(other), place)


def test_binding_is_held_by_its_key_only(made: watermark.Embedded) -> None:
    binding = Binding.seal(PAYLOAD, watermark.bind(made.pixels), "Example Studio", KEY)
    assert binding.holds(KEY)
    assert not binding.holds(OTHER)
    assert not binding.holds()
    assert Binding.from_bytes(binding.to_bytes()) == binding
    assert not dataclasses.replace(binding, signer="Someone else").holds(KEY)
    with pytest.raises(ValueError, match="binding"):
        Binding.from_bytes(b"\x07nothing")


# -- analyzer


def png(pixels: Pixels) -> ImageFile:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return ImageFile.open(stream.getvalue())


def findings(pixels: Pixels, settings: Settings) -> list[Finding]:
    found = list(watermark_scan.WatermarkAnalyzer(settings).analyze(png(pixels)))
    return [item for item in found if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("mark_class", "claim"),
    [
        ("generated", Claim.SYNTHETIC),
        ("model-edited", Claim.MODEL_EDITED),
        ("model-composite", Claim.MODEL_EDITED),
        ("captured", Claim.CAPTURED),
    ],
)
def test_public_mark_is_a_declaration(tmp_path: Path, mark_class: str, claim: Claim) -> None:
    marked = embed(scene(1), watermark.new_payload(mark_class)).pixels
    (finding,) = findings(marked, Settings(tmp_path))
    assert (finding.code, finding.claim) == ("watermark.unchecked", claim)
    assert finding.basis is Basis.DECLARED
    assert finding.details["algorithm"] == "counterproof.chip384.1"


def test_private_mark_counts_when_its_content_matches(
    tmp_path: Path, private: watermark.Embedded
) -> None:
    (tmp_path / "key").write_bytes(KEY)
    settings = Settings(tmp_path, keys=(tmp_path / "key",))
    analyzer = watermark_scan.WatermarkAnalyzer(settings)
    before = analyzer.fingerprint()
    assert findings(private.pixels, settings)[0].code == "watermark.unchecked"
    content = watermark.bind(private.pixels)
    watermark_scan.keep(Binding.seal(PAYLOAD, content, "Example Studio", KEY), tmp_path)
    assert analyzer.fingerprint() != before
    (finding,) = findings(coded(private.pixels, 75), settings)
    assert (finding.code, finding.basis) == ("watermark.match", Basis.MARK)
    assert finding.claim is Claim.SYNTHETIC
    assert finding.details["signer"] == "Example Studio"
    # the same mark on another picture
    copied = embed(scene(7), PAYLOAD, key=KEY).pixels
    (finding,) = findings(copied, settings)
    assert (finding.code, finding.claim) == ("watermark.transplanted", Claim.NONE)
    # a binding that somebody without the key made says nothing
    forged = Binding.seal(PAYLOAD, watermark.bind(copied), "Example Studio", OTHER)
    watermark_scan.keep(forged, tmp_path)
    assert findings(copied, settings)[0].code == "watermark.unchecked"


def test_unmarked_picture_gives_no_finding(tmp_path: Path) -> None:
    assert findings(scene(2), Settings(tmp_path)) == []


def test_pilots_alone_are_only_likely(tmp_path: Path) -> None:
    pixels = scene(4).astype(np.float32)
    pilots = watermark_plane.draw_pilots((480, 640))
    pixels += (2.5 * pilots / pilots.std())[..., None]
    marked = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    (finding,) = findings(np.ascontiguousarray(marked[:400, :500]), Settings(tmp_path))
    assert finding.code == "watermark.likely"
    assert finding.is_weak


def test_strengths_are_named_alike() -> None:
    assert {name for _, name in watermark_mask.STRENGTHS} == {"standard", "subtle"}
