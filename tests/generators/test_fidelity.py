"""The published distances: what is missing is named in one line; the rest is torch-fidelity's."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterproof.errors import MissingExtra, UserError
from counterproof.generators import fidelity

PIXELS = np.zeros((12, 16, 16, 3), np.uint8)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the weights."""
    import hashlib

    path = tmp_path / fidelity.WEIGHTS
    path.write_bytes(b"weights")
    monkeypatch.setattr(fidelity, "DIGEST", hashlib.sha256(b"weights").hexdigest()[:8])
    return path


def test_missing_weights_are_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fidelity.published_distances(PIXELS, PIXELS, tmp_path / "none.pth")
    assert "weights-inception-2015-12-05-6726825d.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_weights_are_refused_before_they_are_unpickled(tmp_path: Path) -> None:
    (tmp_path / fidelity.WEIGHTS).write_bytes(b"a pickle of somebody")
    with pytest.raises(UserError, match=r"expected weights-inception.*got"):
        fidelity.published_distances(PIXELS, PIXELS, tmp_path / fidelity.WEIGHTS)


def test_a_missing_library_names_its_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingExtra, match=r"counterproof\[fid\]"):
        fidelity.published_distances(PIXELS, PIXELS, weights)


def test_what_torch_fidelity_finds_is_handed_on(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs the extra 'fid'")
    given: dict[str, Any] = {}

    def calculate_metrics(**options: Any) -> dict[str, float]:
        given.update(options)
        return {
            "frechet_inception_distance": 12.5,
            "kernel_inception_distance_mean": 0.002,
            "kernel_inception_distance_std": 0.001,
        }

    library = types.ModuleType("torch_fidelity")
    library.calculate_metrics = calculate_metrics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", library)
    made = fidelity.published_distances(PIXELS + 7, PIXELS[:5], weights)
    assert made == fidelity.Published(12.5, 2.0, 1.0, 12, 5)
    assert (len(given["input1"]), len(given["input2"])) == (12, 5)
    first = given["input1"][0]
    assert (first.shape, first.dtype, int(first.max())) == ((3, 16, 16), first.dtype, 7)
    assert str(first.dtype) == "torch.uint8"
    assert given["kid_subset_size"] == 5
    assert given["feature_extractor_weights_path"] == str(weights)
