"""A tiny data set of two classes, drawn here: discs and bars."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 40 pictures of 32 pixels in two classes."""
    root = tmp_path_factory.mktemp("drawings")
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:32, 0:32]
    for number in range(40):
        name = ("bar", "disc")[number % 2]
        (root / name).mkdir(exist_ok=True)
        centre = rng.uniform(10, 22, 2)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 60
        shape = disc if name == "disc" else abs(x - centre[0]) < 4
        picture = np.where(shape[..., None], rng.integers(0, 255, 3), rng.integers(0, 255, 3))
        Image.fromarray(picture.astype(np.uint8)).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def packed(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures as a zip."""
    path = tmp_path_factory.mktemp("zip") / "drawings.zip"
    with zipfile.ZipFile(path, "w") as file:
        for picture in sorted(drawings.rglob("*.png")):
            file.write(picture, picture.relative_to(drawings))
    return path
