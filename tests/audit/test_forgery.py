"""Copies inside a picture and foreign block grids, on pictures made here."""

import io
import random
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from counterproof.audit.capture_trail import disagreements
from counterproof.audit.copy_move import _difference, _refined, find_copy
from counterproof.audit.double_jpeg import find_once_coded
from counterproof.audit.forgery import ForgeryAnalyzer, combined, likelihood_word
from counterproof.audit.forgery_methods import METHODS, Answer
from counterproof.audit.jpeg_coding import coding_of, luma_steps
from counterproof.audit.jpeg_grid import find_foreign_grid
from counterproof.audit.noise_levels import find_other_noise
from counterproof.audit.verdict import decide
from counterproof.findings import Basis, Blob, Claim, Fact, Finding, Status
from counterproof.images import ImageFile
from counterproof.settings import Settings


def textured(seed: int, size: tuple[int, int] = (480, 360)) -> Any:
    """Shapes and noise of several scales: many key points, no two alike."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3))
    for cells in (6, 24, 96):
        small = rng.uniform(0, 255, (cells * 3 // 4, cells, 3)).astype(np.uint8)
        scaled = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
        picture += np.asarray(scaled, float) / 3
    drawn = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(drawn)
    for _ in range(60):
        x, y, r = (
            int(rng.integers(low, high)) for low, high in ((0, size[0]), (0, size[1]), (3, 14))
        )
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.ellipse([x - r, y - r, x + r, y + r // 2], fill=colour)
    return np.asarray(drawn)


def saved(pixels: Any, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def decoded(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def copied() -> Any:
    pixels = textured(1).copy()
    pixels[210:310, 300:420] = pixels[40:140, 60:180]
    return pixels


def lettered(scale: float, angle: float) -> tuple[Any, Any]:
    """Black letters of which a part was copied, turned and scaled; and both places."""
    rng = np.random.default_rng(1)
    plain = (textured(1, (720, 540)) * 0.25 + 150).astype(np.uint8)
    page = Image.fromarray(plain)
    draw = ImageDraw.Draw(page)
    for y in range(10, 200, 24):
        letters = "".join(chr(int(code)) for code in rng.integers(65, 91, 14))
        draw.text((20, y), letters, fill="black", font=ImageFont.load_default(22))
    pixels = np.asarray(page)
    part = np.zeros(pixels.shape[:2], np.uint8)
    cv2.ellipse(part, (130, 110), (100, 80), 0, 0, 360, 1, -1)
    matrix = cv2.getRotationMatrix2D((130, 110), angle, scale)
    matrix[:, 2] += (380, 230)
    size = (720, 540)
    there = cv2.warpAffine(part, matrix, size, flags=cv2.INTER_NEAREST) > 0
    moved = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC)
    return np.where(there[..., None], moved, pixels), there | (part > 0)


def spliced() -> Any:
    """A part from another JPEG whose grid is shifted by 3 and 5, saved without loss."""
    first = decoded(saved(textured(1), 80)).copy()
    other = decoded(saved(textured(2), 75))
    first[96:256, 120:320] = other[99:259, 125:325]
    return first


def grey(pixels: Any) -> Any:
    return np.asarray(Image.fromarray(pixels).convert("L"))


def luma(pixels: Any) -> Any:
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def analyze(data: bytes, tmp_path: Path) -> tuple[list[Finding], dict[str, Any], list[Blob]]:
    found = list(ForgeryAnalyzer(Settings(home=tmp_path)).analyze(ImageFile.open(data)))
    return (
        [item for item in found if isinstance(item, Finding)],
        {item.name: item.value for item in found if isinstance(item, Fact)},
        [item for item in found if isinstance(item, Blob)],
    )


def drawing() -> Any:
    """A page with a diagram that stands on it twice."""
    rng = np.random.default_rng(5)
    page = Image.new("RGB", (640, 480), "white")
    sign = Image.new("RGB", (240, 200), "white")
    draw = ImageDraw.Draw(sign)
    for _ in range(40):
        x, y, w, h = (int(value) for value in rng.integers(6, 170, 4))
        colour = tuple(int(value) for value in rng.integers(0, 220, 3))
        draw.ellipse([x, y, x + w // 4, y + h // 5], fill=colour, outline="black")
    page.paste(sign, (30, 20))
    page.paste(sign, (341, 247))
    return np.asarray(page)


def test_noise_of_one_tone_is_judged_without_complaint() -> None:
    block = 120 + np.random.default_rng(4).normal(0, 3, (16, 16)).astype(np.float32)
    assert find_other_noise(np.tile(block, (30, 30))).mask is None


@pytest.mark.parametrize("quality", [85, 70])
def test_what_is_drawn_twice_is_not_judged(quality: int) -> None:
    answer = METHODS["copy_move"](ImageFile.open(saved(drawing(), quality)))
    assert answer.word == "not_applicable"
    assert answer.reason == "drawn"


def test_words_set_over_and_over_are_not_judged() -> None:
    # what agrees here clings to the letters, and only its rim is flat
    rng = random.Random("2 53")
    words = ("total", "north", "report", "window", "seven", "river", "label", "orange", "of", "and")
    page = np.full((800, 900, 3), 255, np.uint8)
    fonts = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_DUPLEX]
    font, size = rng.choice(fonts), rng.choice([0.5, 0.8, 1.2])
    for y in range(40, 800, int(38 * size) + 8):
        line = " ".join(rng.choice(words) for _ in range(12))
        cv2.putText(page, line, (30, y), font, size, (20, 20, 20), 1, cv2.LINE_AA)
    assert METHODS["copy_move"](ImageFile.open(saved(page, 95))).word != "supports"


@pytest.mark.parametrize("quality", [90, 70])
def test_a_part_that_stands_twice(quality: int) -> None:
    found = find_copy(grey(decoded(saved(copied(), quality))))
    truth = np.zeros((360, 480), bool)
    truth[40:140, 60:180] = truth[210:310, 300:420] = True
    assert found.mask is not None
    mask = found.mask > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85
    assert len(found.boxes) == 2


@pytest.mark.parametrize(("scale", "angle"), [(1.2, 12), (0.8, -20)])
def test_sharp_letters_turned_and_scaled(scale: float, angle: float) -> None:
    pixels, truth = lettered(scale, angle)
    found = find_copy(grey(decoded(saved(pixels, 90))))
    assert found.mask is not None
    mask = found.mask > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_a_transform_is_fitted_to_the_pixels() -> None:
    pixels = luma(textured(6))
    true = np.array([[1.0, 0.0, 210.0], [0.0, 1.0, 160.0]])
    pixels[210:310, 270:390] = pixels[50:150, 60:180]
    there = np.zeros(pixels.shape, bool)
    there[215:305, 275:385] = True
    off = true + np.array([[0.004, -0.003, 0.4], [0.002, 0.003, -0.9]])
    corners = np.array([[65, 55, 1], [175, 55, 1], [65, 145, 1], [175, 145, 1]]).T
    assert np.abs((off - true) @ corners).max() > 0.8
    assert np.abs((_refined(pixels, off, there) - true) @ corners).max() < 0.05


def test_a_fit_that_leads_nowhere_keeps_the_transform() -> None:
    pixels = np.full((200, 300), 90, np.float32)
    there = np.zeros(pixels.shape, bool)
    there[50:90, 60:120] = True
    given = np.array([[1.0, 0.0, 40.0], [0.0, 1.0, 20.0]])
    assert np.allclose(_refined(pixels, given, there), given)


def test_what_lies_over_a_small_share_of_a_part_does_not_count() -> None:
    gap, noise = np.full((100, 100), 2.0, np.float32), np.full((100, 100), 2.0, np.float32)
    there = np.ones(gap.shape, bool)
    plain = _difference(gap, noise, there)
    gap[40:55, 40:55] = 90  # 2 % of the part
    assert _difference(gap, noise, there) == pytest.approx(plain)
    gap[20:60, 20:60] = 90  # 16 %
    assert _difference(gap, noise, there) > 10


def test_what_is_merely_alike_is_no_copy() -> None:
    pixels = copied().astype(float)
    pixels[210:310, 300:420] += np.random.default_rng(2).normal(0, 16, (100, 120, 3))
    assert find_copy(grey(decoded(saved(pixels.clip(0, 255).astype(np.uint8), 90)))).area == 0


def test_nothing_stands_twice_in_an_unchanged_picture() -> None:
    assert find_copy(grey(textured(3))).area == 0
    flat = np.full((300, 300), 120, np.uint8)
    assert not find_copy(flat).applies


def test_a_part_with_a_grid_of_its_own() -> None:
    found = find_foreign_grid(luma(spliced()))
    assert found.main == (0, 0)
    assert found.foreign == ((320 - 325) % 8, (96 - 99) % 8)
    x, y, w, h = max(found.boxes, key=lambda box: box[2] * box[3])
    assert 104 <= x <= 136
    assert 80 <= y <= 112
    assert 168 <= w <= 232
    assert 128 <= h <= 192


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_the_pictures_own_grid_is_not_foreign(shift: tuple[int, int]) -> None:
    x, y = shift
    found = find_foreign_grid(luma(decoded(saved(textured(1), 80))[y:, x:]))
    assert found.main == (-x % 8, -y % 8)
    assert found.foreign is None


def test_without_a_grid_nothing_is_said() -> None:
    assert find_foreign_grid(luma(textured(4))).main is None


def test_findings_have_maps_and_make_it_suspected(tmp_path: Path) -> None:
    findings, facts, blobs = analyze(png(spliced()), tmp_path)
    assert [item.code for item in findings] == ["forgery.grid"]
    assert facts["forgery.grid"] == "supports"
    assert facts["forgery.copy_move"] == "no_support"
    (finding,) = findings
    assert (finding.claim, finding.basis) == (Claim.ALTERED, Basis.STATISTICAL)
    assert finding.probability is None
    assert finding.evidence == tuple(blob.name for blob in blobs)
    assert Image.open(io.BytesIO(blobs[0].data)).size == (480, 360)
    assert decide(findings).status is Status.ALTERED_SUSPECTED


def test_regions_are_of_the_upright_full_size_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(copied()).save(out, "JPEG", quality=92, exif=exif)
    findings, _, _ = analyze(out.getvalue(), tmp_path)
    assert (findings[0].code, findings[0].claim) == ("forgery.copy_move", Claim.EDITED)
    assert decide(findings).status is Status.NO_EVIDENCE
    boxes = findings[0].regions
    assert all(x + w <= 360 and y + h <= 480 for x, y, w, h in boxes)


def test_too_small_a_picture_is_not_judged(tmp_path: Path) -> None:
    findings, facts, _ = analyze(png(textured(1, (96, 72))), tmp_path)
    assert findings == []
    assert set(facts) == {f"forgery.{name}" for name in (*METHODS, "combined")}
    assert all(str(value).startswith("not_applicable") for value in facts.values())


def test_words_are_capped_by_what_was_measured() -> None:
    assert likelihood_word(0.9, 1.0) == "limited"
    assert likelihood_word(0.9, 0.0005) == "strong"


def photograph_like(seed: int, size: tuple[int, int] = (640, 480)) -> Any:
    """Soft shapes of middling colours, with noise: enough detail in every block, none cut off."""
    rng = np.random.default_rng(seed)
    soft = np.asarray(Image.fromarray(textured(seed, size)).resize(size), float)
    return (60 + soft * 0.5 + rng.normal(0, 4, soft.shape)).clip(20, 235).astype(np.uint8)


def put_between(one: int, two: int) -> bytes:
    """A part put in between two JPEGs: it never was on the first one's grid."""
    first = decoded(saved(photograph_like(1), one)).copy()
    first[160:320, 240:440] = photograph_like(2)[160:320, 240:440]
    return saved(first, two)


def once_coded(data: bytes) -> Any:
    coding = coding_of(ImageFile.open(data))
    assert coding is not None
    return find_once_coded(coding)


def test_a_part_that_was_coded_once() -> None:
    found = once_coded(put_between(70, 92))
    assert found.applies
    assert found.mask is not None
    truth = np.zeros(found.mask.shape, bool)
    truth[20:40, 30:55] = True
    assert 2 * (found.mask.astype(bool) & truth).sum() / (found.mask.sum() + truth.sum()) > 0.85
    # the first table's steps, found again: IJG at quality 70
    steps = luma_steps(ImageFile.open(saved(textured(1), 70)))
    assert steps is not None
    assert found.first[0] == steps[1]


@pytest.mark.parametrize(("one", "two"), [(70, 92), (85, 95)])
def test_a_whole_that_was_coded_twice_has_no_part_to_show(one: int, two: int) -> None:
    found = once_coded(saved(decoded(saved(photograph_like(3), one)), two))
    assert found.applies
    assert found.mask is None


@pytest.mark.parametrize(
    "data",
    [
        saved(photograph_like(3), 90),  # once
        put_between(92, 70),  # the stronger coding came last and left nothing of the first
        saved(decoded(saved(photograph_like(3), 70))[3:, 5:], 92),  # the first grid was cut off
    ],
)
def test_without_two_codings_on_one_grid_nothing_is_said_of_parts(data: bytes) -> None:
    assert not once_coded(data).applies


def test_tones_changed_as_a_whole_are_no_part() -> None:
    toned = 255 * (decoded(saved(photograph_like(3), 70)) / 255.0) ** 0.8
    assert once_coded(saved(toned.astype(np.uint8), 97)).mask is None


def test_a_turned_jpeg_has_its_map_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    first = decoded(saved(photograph_like(1), 70)).copy()
    first[160:320, 40:240] = photograph_like(2)[160:320, 40:240]  # stored: left, middle height
    out = io.BytesIO()
    Image.fromarray(first).save(out, "JPEG", quality=92, exif=exif)
    findings, _, _ = analyze(out.getvalue(), tmp_path)
    (found,) = [item for item in findings if item.code == "forgery.double_jpeg"]
    x, y, w, h = max(found.regions, key=lambda box: box[2] * box[3])
    # turned to the right: rows from the bottom become columns from the left
    assert abs(x - 160) <= 24
    assert abs(y - 40) <= 24
    assert (abs(w - 160) <= 40, abs(h - 200) <= 40) == (True, True)


def test_a_part_with_other_noise() -> None:
    rng = np.random.default_rng(4)
    plain = np.linspace(80, 160, 480)[:, None].repeat(640, 1) + rng.normal(0, 1.5, (480, 640))
    assert find_other_noise(plain.astype(np.float32)).mask is None
    plain[128:320, 256:416] += rng.normal(0, 14, (192, 160))
    found = find_other_noise(plain.astype(np.float32))
    assert found.mask is not None
    assert found.mask[9:19, 17:25].mean() > 0.8
    assert not found.mask[:, :14].any()
    flat = np.full((480, 640), 128, np.float32)
    assert not find_other_noise(flat).applies


def with_exif(width: int, software: str = "", changed: str = "2024:05:01 10:00:00") -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "Example", changed
    if software:
        exif[0x0131] = software
    ifd = exif.get_ifd(0x8769)
    ifd[0x9003], ifd[0xA002], ifd[0xA003] = "2024:05:01 10:00:00", width, 360
    out = io.BytesIO()
    Image.fromarray(textured(1)).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_exif(480), []),
        (with_exif(4800), ["size"]),
        (with_exif(480, "Adobe Photoshop 25.0"), ["program"]),
        (with_exif(480, "Camera firmware 1.0", "2024:05:02 10:00:00"), ["time"]),
    ],
)
def test_what_a_file_says_of_itself_fits_or_not(data: bytes, said: list[str]) -> None:
    assert list(disagreements(ImageFile.open(data))) == said


@pytest.mark.parametrize(("width", "said"), [(480, []), (240, ["preview"])])
def test_a_preview_of_another_shape(width: int, said: list[str]) -> None:
    """Squeezed as some telephones write it, or of a picture that was cut later."""
    whole, out = Image.fromarray(textured(1)), io.BytesIO()
    whole.resize((160, 128)).save(out, "JPEG")
    preview = out.getvalue()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14) + struct.pack("<H", 2)
    tiff += struct.pack("<HHII", 0x0201, 4, 1, 44)
    tiff += struct.pack("<HHII", 0x0202, 4, 1, len(preview)) + b"\0" * 4 + preview
    body, out = b"Exif\0\0" + tiff, io.BytesIO()
    whole.crop((0, 0, width, 360)).save(out, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    data = out.getvalue()[:2] + segment + out.getvalue()[2:]
    assert list(disagreements(ImageFile.open(data))) == said


def test_metadata_that_disagree_move_no_status(tmp_path: Path) -> None:
    findings, facts, _ = analyze(with_exif(4800, "GIMP 2.10"), tmp_path)
    (found,) = findings
    assert found.details["disagree"] == ["size", "program"]
    assert facts["forgery.metadata"] == "supports"
    assert decide(findings).status is Status.NO_EVIDENCE


def test_together_nothing_is_said_where_nothing_is_known() -> None:
    none = [Answer(name, "not_applicable", "x") for name in METHODS]
    assert combined(none).startswith("not_applicable")
    # what was not measured on enough photographs does not count, whatever it says
    uncounted = [Answer("noise", "supports"), Answer("metadata", "supports")]
    assert combined([*none, *uncounted]).startswith("not_applicable")
    assert combined([Answer("grid", "no_support"), *uncounted]) == "no_support"
    assert combined([Answer("grid", "supports"), *uncounted]) == "supports: moderately_strong"
    # the strongest counts, and two do not add up to more
    both = [Answer("copy_move", "supports"), Answer("double_jpeg", "supports")]
    assert combined(both) == "supports: moderate"
