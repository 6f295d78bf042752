"""The constant marks of image models: read where they are, and nowhere else."""

import io
import math
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from counterproof.analysis import Stage
from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import fixed_marks
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.provenance.fixed_marks import MARKS, Mark, block_bits, match
from counterproof.settings import Settings
from counterproof.text import catalogue

embed: Callable[..., Any] = runpy.run_path(str(Path(__file__).with_name("dwt_marks.py")))["embed"]
BY_CODE = {mark.code: mark for mark in MARKS}


def scene(height: int = 480, width: int = 520, seed: int = 3) -> Any:
    """Make a picture with coloured shapes, shading and a little noise."""
    rng = np.random.default_rng(seed)
    small = rng.integers(30, 225, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = smooth.astype(np.int16) + rng.integers(-6, 7, smooth.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def saved(pixels: Any, form: str = "PNG", **options: Any) -> ImageFile:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return ImageFile.open(buffer.getvalue())


def look(image: ImageFile) -> list[Finding]:
    analyzer = ANALYZERS["fixed_marks"](Settings(home=Path("unused")))
    assert analyzer.stage is Stage.DEEP
    findings = [item for item in analyzer.analyze(image) if isinstance(item, Finding)]
    for finding in findings:
        assert (finding.claim, finding.basis) == (Claim.SYNTHETIC, Basis.DECLARED)
        for language in ("en", "zh"):
            assert catalogue(language).sentence(finding)
    return findings


def test_the_constants() -> None:
    lengths = {mark.code: len(mark.bits) for mark in MARKS}
    assert lengths == {
        "trace.sd1_mark": 136,
        "trace.sd2_mark": 32,
        "trace.sdxl_mark": 48,
        "trace.flux_mark": 46,
    }
    for mark in MARKS:
        ones = mark.bits.count("1")
        best = 1 / math.comb(len(mark.bits), ones)
        assert best < mark.max_chance
        assert math.isclose(match(np.array([int(b) for b in mark.bits]), mark).chance, best)


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.code)
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_each_mark_is_found_and_no_other(mark: Mark, order: str) -> None:
    (finding,) = look(saved(embed(scene(), mark.bits, order)))
    assert finding.code == mark.code
    assert finding.details["agree"] == finding.details["bits"] == len(mark.bits)
    assert finding.details["channel_order"] == order
    assert finding.details["chance"] <= mark.max_chance


def test_a_picture_that_is_half_white_outvotes_nothing() -> None:
    pixels = embed(scene(), BY_CODE["trace.sdxl_mark"].bits)
    pixels[:300] = 255
    assert [finding.code for finding in look(saved(pixels))] == ["trace.sdxl_mark"]


def test_flux_is_embedded_with_46_bits() -> None:
    """With the two zeros that the reference code drops it is another mark, and not found."""
    flux = BY_CODE["trace.flux_mark"].bits
    assert (len(flux), flux[:4]) == (46, "1010")
    assert look(saved(embed(scene(), "00" + flux))) == []


@pytest.mark.parametrize("pixels", [0, 77, 128, 255])
def test_a_flat_picture_says_nothing(pixels: int) -> None:
    assert look(saved(np.full((300, 300, 3), pixels, np.uint8))) == []


def test_grey_and_colour_ramps_say_nothing() -> None:
    ramp = np.tile(np.linspace(0, 255, 512).astype(np.uint8), (512, 1))
    grey = np.dstack([ramp] * 3)
    for pixels in (grey, grey.swapaxes(0, 1), np.dstack([ramp, ramp.T, ramp[::-1]])):
        assert look(saved(np.ascontiguousarray(pixels))) == []


@pytest.mark.parametrize("bit", ["0", "1", "01", "0011"])
def test_degenerate_marks_are_none(bit: str) -> None:
    assert look(saved(embed(scene(), bit))) == []


def test_no_scene_has_a_mark() -> None:
    for seed in range(20):
        assert look(saved(scene(264, 280, seed))) == []


def test_stripes_with_the_period_of_letters_are_no_mark() -> None:
    """Pictures can repeat every eight blocks as the bits of ASCII do; the order must be right."""
    for period in (8, 16, 32, 46, 48, 136):
        for seed in range(2):
            bits = "".join(np.random.default_rng(seed).choice(["0", "1"], period))
            assert look(saved(embed(scene(), bits))) == []


def test_one_of_32_letters_wrong_is_none() -> None:
    bits = BY_CODE["trace.sd2_mark"].bits
    swapped = "1" + bits[1:].replace("1", "0", 1)
    assert bits[0] == "0"
    assert look(saved(embed(scene(), swapped))) == []


def test_small_pictures_are_not_looked_at() -> None:
    marked = embed(scene(248, 256), BY_CODE["trace.sdxl_mark"].bits)
    assert look(saved(marked)) == []


@pytest.mark.parametrize("size", [(1, 70_000), (70_000, 1), (7, 20_000), (8, 9_000), (256, 256)])
def test_odd_sizes_are_no_crash(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 90, np.uint8)
    assert len(block_bits(pixels)) == (size[0] // 8) * (size[1] // 8)
    assert look(saved(pixels)) == []


@pytest.mark.parametrize("at_a_time", [1, 64 * 100])
def test_bands_join_without_a_seam(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    pixels = scene(500, 64)
    whole = block_bits(pixels)
    monkeypatch.setattr(fixed_marks, "_BAND_PIXELS", at_a_time)
    assert np.array_equal(block_bits(pixels), whole)


def test_reading_follows_the_library() -> None:
    """The method step by step, block by block, with a wavelet library, as a check of ours.

    They differ only where a value falls on a border, which its rounding decides.
    """
    pywt = pytest.importorskip("pywt")
    pixels = scene(120, 136)
    yuv = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV)
    low = pywt.dwt2(yuv[:, :, 1], "haar")[0]
    bits, borders = [], []
    for row in range(0, low.shape[0] - 3, 4):
        for column in range(0, low.shape[1] - 3, 4):
            square = low[row : row + 4, column : column + 4].flatten()
            rest = float(square[np.argmax(np.abs(square[1:])) + 1] % 36)
            bits.append(int(rest > 18))
            borders.append(min(rest, abs(rest - 18), 36 - rest) < 1e-6)
    read = block_bits(pixels)
    assert len(read) == len(bits)
    assert all(a == b or border for a, b, border in zip(read, bits, borders, strict=True))


def test_its_cost() -> None:
    image = saved(np.tile(scene(600, 800), (5, 5, 1)), "BMP")
    image.pixels()
    start = time.process_time()
    look(image)
    assert time.process_time() - start < 3


def test_no_photograph_has_a_mark(test_data: Path) -> None:
    count = 0
    for folder in ("photos", "forgery", "traces/vendor"):
        for path in sorted((test_data / folder).rglob("*")):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                assert look(ImageFile.open(path)) == [], path.name
                count += 1
    assert count > 60
