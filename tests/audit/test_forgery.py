"""Copies inside a picture and foreign block grids, on pictures made here."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from counterproof.audit.copy_move import find_copy
from counterproof.audit.forgery import ForgeryAnalyzer, likelihood_word
from counterproof.audit.jpeg_grid import find_foreign_grid
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


@pytest.mark.parametrize("quality", [90, 70])
def test_a_part_that_stands_twice(quality: int) -> None:
    found = find_copy(grey(decoded(saved(copied(), quality))))
    truth = np.zeros((360, 480), bool)
    truth[40:140, 60:180] = truth[210:310, 300:420] = True
    assert found.mask is not None
    mask = found.mask > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85
    assert len(found.boxes) == 2


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
    assert all(str(value).startswith("not_applicable") for value in facts.values())


def test_words_are_capped_by_what_was_measured() -> None:
    assert likelihood_word(0.9, 1.0) == "limited"
    assert likelihood_word(0.9, 0.0005) == "strong"
