"""`counterproof index` as its user meets it: whose fault a bad file is, and nothing left behind."""

import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from counterproof.app.index import index as command
from counterproof.audit import copy_index
from counterproof.audit.copy_words import turn
from counterproof.settings import Settings
from counterproof.text import catalogue


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "works"
    made.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        cells = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        picture = cv2.resize(cells, (320, 240), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(made / f"{number}.png"), picture)
    return made


def test_a_folder_without_pictures_leaves_no_index(tmp_path: Path) -> None:
    empty, target = tmp_path / "empty", tmp_path / "w.index"
    empty.mkdir()
    result = CliRunner().invoke(command, ["build", str(empty), "-o", str(target)])
    assert "found none readable" in str(result.exception)
    assert not target.exists()


def test_nothing_to_search_for_is_an_error(folder: Path, tmp_path: Path) -> None:
    target, empty = tmp_path / "w.index", tmp_path / "empty"
    empty.mkdir()
    assert CliRunner().invoke(command, ["build", str(folder), "-o", str(target)]).exit_code == 0
    result = CliRunner().invoke(command, ["search", str(target), str(empty)])
    assert "found none" in str(result.exception)


def test_the_faulty_one_of_two_indices_is_named(folder: Path, tmp_path: Path) -> None:
    own, part = tmp_path / "own.index", tmp_path / "part.index"
    for target in (own, part):
        assert CliRunner().invoke(command, ["build", str(folder), "-o", str(target)]).exit_code == 0
    with sqlite3.connect(part) as db:
        db.execute("UPDATE reference SET sha256 = CAST(x'ff41' AS TEXT), path = x'41' WHERE id = 1")
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'feature'").fetchone()[0]
    data = bytearray(part.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    part.write_bytes(data)
    result = CliRunner().invoke(command, ["add", str(own), str(part)])
    assert str(result.exception).startswith(f"{part}: the index is damaged")
    result = CliRunner().invoke(command, ["add", str(own), str(own)])
    assert "got the index itself" in str(result.exception)


def test_an_index_that_is_in_use_is_not_called_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "w.index"
    assert CliRunner().invoke(command, ["build", str(folder), "-o", str(target)]).exit_code == 0
    monkeypatch.setattr("counterproof.audit.sqlite_files._BUSY_S", 0.01)
    cv2.imwrite(str(folder / "more.png"), np.eye(90, dtype=np.uint8) * 255)
    other = sqlite3.connect(target)
    other.execute("BEGIN EXCLUSIVE")
    result = CliRunner().invoke(command, ["add", str(target), str(folder)])
    other.close()
    assert "locked" in str(result.exception)
    assert "damaged" not in str(result.exception)


def test_another_kind_of_file_is_no_hash_list(tmp_path: Path) -> None:
    picture, target = tmp_path / "a.jpg", tmp_path / "w.index"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    result = CliRunner().invoke(command, ["import", str(picture), "-o", str(target)])
    assert "expected a hash list" in str(result.exception)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("none", ""),
        ("mirrored", "mirrored"),
        ("turned_90", "turned by 90°"),
        ("mirrored_turned_13", "mirrored, turned by 13°"),
        ("transposed", "mirrored along the falling diagonal"),
    ],
)
def test_turns_are_said_in_words(transform: str, expected: str) -> None:
    assert turn(transform, catalogue("en")) == expected


def test_a_build_that_is_stopped_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "w.index"
    read = copy_index._read_reference

    def stops(path: str, settings: Settings) -> tuple[object, ...]:
        if path.endswith("2.png"):
            raise KeyboardInterrupt
        return read(path, settings)

    monkeypatch.setattr(copy_index, "_read_reference", stops)
    result = CliRunner().invoke(command, ["build", str(folder), "-o", str(target)])
    assert result.exit_code == 130
    assert "2 works are in" in result.output
    monkeypatch.setattr(copy_index, "_read_reference", read)
    result = CliRunner().invoke(command, ["build", str(folder), "-o", str(target)])
    assert "1 new, 2 already there" in result.output
