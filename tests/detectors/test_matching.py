"""Pairs of both classes that share size, shape, compression and blur."""

from pathlib import Path

import numpy as np
import pytest

from counterproof.detectors import nuisances
from counterproof.detectors.matching import matched, pairs
from counterproof.detectors.nuisances import Traits
from counterproof.detectors.samples import Sample
from counterproof.errors import UserError
from tests.detectors.drawn import encoded, textured


def drawn(machine_made: bool, rng: np.random.Generator) -> Traits:
    """Return traits of which the size differs by class, most often."""
    size = 1e6 * 2 ** rng.normal(1.5 * machine_made, 1)
    return Traits(size, 1 + rng.random(), 0.3 + rng.random(), 5 * rng.random(), -100 * rng.random())


def test_traits_say_little_of_pairs() -> None:
    rng = np.random.default_rng(0)
    classes = [number % 2 == 1 for number in range(600)]
    traits = [drawn(machine_made, rng) for machine_made in classes]
    samples = [Sample(Path(f"{n}"), made, f"{n % 6}") for n, made in enumerate(classes)]
    found = pairs(traits, classes)
    assert len(found) > 60
    assert len(set(found.ravel().tolist())) == 2 * len(found)
    assert not any(classes[n] for n in found[:, 0])
    assert all(classes[n] for n in found[:, 1])
    kept = found.ravel().tolist()
    before = nuisances.areas(traits, samples)["pixel count"]
    after = nuisances.areas([traits[n] for n in kept], [samples[n] for n in kept])["pixel count"]
    assert before > 0.8
    assert after < 0.6


def test_a_narrower_caliper_keeps_fewer_and_none_is_an_error() -> None:
    rng = np.random.default_rng(1)
    classes = [number % 2 == 1 for number in range(200)]
    traits = [drawn(machine_made, rng) for machine_made in classes]
    assert len(pairs(traits, classes, 0.5)) < len(pairs(traits, classes, 1.5))
    with pytest.raises(UserError, match="no photograph is like"):
        pairs([Traits(1e6, 1, 1, 1, -1), Traits(1e3, 9, 9, 9, -99)], [False, True])


def test_files_are_paired_and_a_broken_one_is_named(tmp_path: Path) -> None:
    samples = []
    for number, (machine_made, quality) in enumerate(
        [(False, 95), (True, 94), (False, 30), (True, 31), (True, 60)]
    ):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(encoded(textured(160, 200), quality=quality))
        samples.append(Sample(path, machine_made, "s"))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    said: list[str] = []
    kept = matched([*samples, Sample(broken, False, "s")], said.append)
    assert [sample.path.name for sample in kept] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert "broken.jpg" in said[0]
    assert said[1].startswith("2 pairs")
