"""Baselines without content, and the gate that no score passes without beating them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof.detectors import nuisances
from counterproof.detectors.evaluation import Evaluation, Treated
from counterproof.detectors.measures import Interval
from counterproof.detectors.nuisances import FOREST, Traits
from counterproof.detectors.release import shortfalls, worst_kinds
from counterproof.detectors.samples import Sample
from counterproof.errors import UserError
from tests.detectors.drawn import encoded, textured


def test_traits_of_a_file_are_those_of_its_encoding(tmp_path: Path) -> None:
    pixels = textured(90, 120)
    image = Image.fromarray(pixels)
    fine, coarse, png = (tmp_path / name for name in ("fine.jpg", "coarse.jpg", "p.png"))
    fine.write_bytes(encoded(pixels, quality=95))
    coarse.write_bytes(encoded(pixels, quality=40))
    png.write_bytes(encoded(pixels, "PNG"))
    found = {path.name: nuisances.of_file(path, image) for path in (fine, coarse, png)}
    assert found["coarse.jpg"].quantisation > 4 * found["fine.jpg"].quantisation > 4
    assert found["p.png"].quantisation == 0
    assert found["fine.jpg"].bytes_per_pixel > found["coarse.jpg"].bytes_per_pixel
    assert found["fine.jpg"].pixel_count == 90 * 120
    assert found["fine.jpg"].aspect == pytest.approx(4 / 3)
    view = nuisances.of_view(image)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=93, subsampling=0)
    assert view.bytes_per_pixel == file.tell() / 10800


def joined(machine: bool, rng: np.random.Generator) -> Traits:
    """Return traits that tell nothing one by one: which side of 1 two of them lie together."""
    first = rng.choice([0.5, 1.5])
    second = first if machine else 2.0 - first
    return Traits(1000.0, first, second, 0.0, float(rng.normal()))


def test_the_forest_joins_traits_and_is_asked_of_other_sources_only() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    samples = [
        Sample(Path(f"{i}"), i % 2 == 1, f"{'pm'[i % 2]}{i // 2 % 4}") for i in range(8 * 30)
    ]
    traits = [joined(sample.machine_made, rng) for sample in samples]
    found = nuisances.areas(traits, samples)
    assert set(found) == {"aspect", "bytes per pixel", "blur", FOREST}
    assert max(found["aspect"], found["bytes per pixel"]) < 0.65
    assert found[FOREST] > 0.95
    # what differs from source to source but not from class to class is of no use to it
    offset = {name: rng.normal() for name in sorted({s.source for s in samples})}
    own = [Traits(1.0, offset[s.source] + rng.normal() / 9, 1.0, 1.0, 1.0) for s in samples]
    assert nuisances.areas(own, samples)[FOREST] < 0.8


def evaluation(low: float, view: float, file: float) -> Evaluation:
    area = Interval(0.9, low, 0.95)
    row = Treated(
        "as delivered", 100, 100, area, 0.9, 0.9, 0.5, 0.6, None, None, None, None,
        (0.1,) * 10, {"m": 0.9}, {}, {}, (), {"blur": 0.5, FOREST: view},
    )  # fmt: skip
    return Evaluation("a scorer", (row,), {"blur": 0.5, FOREST: file}, (), ())


def test_the_gate_asks_the_lower_bound_to_beat_every_baseline() -> None:
    pytest.importorskip("sklearn")
    assert shortfalls(evaluation(0.85, view=0.7, file=0.8)) == []
    assert "0.880 of random forest on all (same view)" in shortfalls(evaluation(0.85, 0.88, 0.8))[0]
    assert "(files as found)" in shortfalls(evaluation(0.85, 0.7, 0.85))[0]
    assert len(shortfalls(evaluation(0.6, 0.7, 0.8))) == 2
    assert len(shortfalls(evaluation(float("nan"), 0.7, 0.8))) == 2


def test_a_set_that_is_too_small_is_named() -> None:
    pytest.importorskip("sklearn")
    found = evaluation(0.9, 0.5, 0.5)
    del found.nuisances[FOREST]
    with pytest.raises(UserError, match="at least 2 sources of each class"):
        shortfalls(found)


def test_the_worst_kind_decides() -> None:
    shares = {"night": Interval(0.0, 0.0, 0.04), "print": Interval(0.1, 0.05, 0.2)}
    assert worst_kinds(shares, 0.25) == []
    assert [text.split(":")[0] for text in worst_kinds(shares, 0.05)] == ["print"]
    assert [text.split(":")[0] for text in worst_kinds(shares, 0.01)] == ["print", "night"]
