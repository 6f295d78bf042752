"""Pictures that several detectors learn on."""

from pathlib import Path

import pytest
from PIL import Image

from tests.detectors.drawn import enlarged, textured


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[bool]]:
    """Return four drawn pictures, four that a careless decoder left, and which is which."""
    folder = tmp_path_factory.mktemp("pictures")
    paths, labels = [], []
    for turn in range(8):
        pixels = textured(160, 160, turn)
        path = folder / f"{turn}.png"
        Image.fromarray(enlarged(pixels) if turn % 2 else pixels).save(path)
        paths.append(path)
        labels.append(turn % 2 == 1)
    return paths, labels
