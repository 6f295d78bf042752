"""Labelled pictures: read, split by whole source, weighed."""

from pathlib import Path

import numpy as np
import pytest

from counterproof.detectors.samples import Sample, balance, folds, read, source_count, thinned
from counterproof.errors import UserError


def made_up() -> list[Sample]:
    sizes = {"a": 40, "b": 3, "c": 12, "d": 9, "e": 1, "f": 20}
    return [
        Sample(Path(f"{label}{name}{i}"), label, f"{label}{name}")
        for label in (False, True)
        for name, size in sizes.items()
        for i in range(size)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_source_is_never_on_both_sides(seed: int) -> None:
    samples = made_up()
    fold = folds(samples, 3, seed)
    for source in {sample.source for sample in samples}:
        assert len({fold[i] for i, s in enumerate(samples) if s.source == source}) == 1
    for number in range(3):
        assert {s.machine_made for s, f in zip(samples, fold, strict=True) if f == number} == {
            False,
            True,
        }


def test_a_source_with_both_classes_stays_whole() -> None:
    samples = [*made_up(), Sample(Path("x"), False, "both"), Sample(Path("y"), True, "both")]
    assert folds(samples, 3, 0)[-2] == folds(samples, 3, 0)[-1]


def test_too_few_sources_are_named() -> None:
    with pytest.raises(UserError, match="at least 7 sources"):
        folds(made_up(), 7, 0)


def test_each_source_can_count_alike() -> None:
    samples = made_up()
    weights = balance(samples, power=0)
    totals = {s.source: 0.0 for s in samples}
    for sample, weight in zip(samples, weights, strict=True):
        totals[sample.source] += weight
    assert list(totals.values()) == pytest.approx([len(samples) / 12] * 12)


def test_classes_count_alike_and_large_sources_do_not_drown_small_ones() -> None:
    samples = made_up()
    weights = balance(samples)
    labels = np.array([sample.machine_made for sample in samples])
    assert weights[labels].sum() == pytest.approx(weights[~labels].sum())
    assert weights.mean() == pytest.approx(1)
    large = sum(w for w, s in zip(weights, samples, strict=True) if s.source == "Truea")
    single = sum(w for w, s in zip(weights, samples, strict=True) if s.source == "Truee")
    assert large / single == pytest.approx(40**0.5)


def test_thinning_keeps_classes_order_and_spread() -> None:
    samples = made_up()
    kept = thinned(samples, 10)
    assert [sample.machine_made for sample in kept] == [False] * 10 + [True] * 10
    assert kept == [sample for sample in samples if sample in kept]
    assert len({sample.source for sample in kept}) >= 8
    assert thinned(samples, 1000) == samples
    assert source_count(samples) == 6


def test_a_table_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,label,source\na.jpg,real,s\nb.png,fake,t\n")
    assert read(table) == [
        Sample(tmp_path / "a.jpg", False, "s"),
        Sample(tmp_path / "b.png", True, "t"),
    ]
    table.write_text("file,label\na.jpg,maybe\n")
    with pytest.raises(UserError, match=r"line 2: expected a label of .*'maybe'"):
        read(table)
    table.write_text("name,label\n")
    with pytest.raises(UserError, match="expected a column 'file'"):
        read(table)
    table.write_text("file,label\na.jpg,real\n")
    with pytest.raises(UserError, match="found no machine-made pictures"):
        read(table)


def test_folders_are_read(tmp_path: Path) -> None:
    for name in ("real/one/a.jpg", "real/two/b.png", "fake/model/c.webp", "fake/model/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [(sample.machine_made, sample.source, sample.path.name) for sample in read(tmp_path)]
    assert found == [(True, "model", "c.webp"), (False, "one", "a.jpg"), (False, "two", "b.png")]


def test_a_picture_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"picture\.jpg: expected a CSV table in UTF-8"):
        read(path)
