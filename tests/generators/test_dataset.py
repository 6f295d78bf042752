"""Training pictures: folders and zips, the held-out part, what cannot be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from counterproof.errors import UserError
from counterproof.generators.dataset import load_pictures


def test_a_zip_is_read_like_its_folder(drawings: Path, packed: Path) -> None:
    folder, zipped = load_pictures(drawings, 16), load_pictures(packed, 16)
    assert folder.pixels.shape == (40, 16, 16, 3)
    assert folder.classes == ("bar", "disc")
    assert folder.digest == zipped.digest
    assert np.array_equal(folder.held, zipped.held)
    assert 0 < folder.held.sum() < 40


def test_a_damaged_picture_is_named_and_left_out(drawings: Path, tmp_path: Path) -> None:
    shutil.copytree(drawings, tmp_path / "set")
    (tmp_path / "set" / "bar" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    pictures = load_pictures(tmp_path / "set", 16)
    assert len(pictures.pixels) == 40
    assert len(pictures.skipped) == 1
    assert "broken.png" in pictures.skipped[0]


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 10"):
        load_pictures(tmp_path, 16)
    with pytest.raises(UserError, match="expected a folder or a zip"):
        load_pictures(tmp_path / "nothing", 16)


def test_names_may_carry_class_and_id(tmp_path: Path, drawings: Path) -> None:
    for number, source in enumerate(sorted(drawings.rglob("*.png"))):
        kind = "train" if number % 3 else "test"
        shutil.copy(source, tmp_path / f"{kind}__{source.parent.name}__{source.name}")
    assert load_pictures(tmp_path, 16).classes == ("bar", "disc")
