"""The ensemble: weights come from sources that the members never saw."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof.errors import UserError
from tests.detectors.drawn import enlarged, textured

pytest.importorskip("sklearn")
pytest.importorskip("onnx")

from counterproof.detectors.ensemble import Ensemble, stack
from counterproof.detectors.head import Head
from counterproof.detectors.spectral import Spectral


def test_a_member_that_knows_more_weighs_more_and_none_is_turned_round() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2 == 1
    good, weak, wrong = (labels * gap + rng.normal(size=400) for gap in (3.0, 0.7, -0.5))
    weight, bias = stack(np.stack([good, weak, wrong], 1), labels, np.ones(400))
    assert weight[0] > weight[1] > 0
    assert weight[2] == 0
    assert bias < 0
    assert stack(wrong[:, None], labels, np.ones(400))[0].tolist() == [0.0]


def test_it_is_an_estimator_that_saves_and_loads(tmp_path: Path) -> None:
    from sklearn.base import clone

    paths, labels = [], []
    for turn in range(16):
        pixels = textured(200, 240, turn)
        folder = tmp_path / f"source{turn % 4}"
        folder.mkdir(exist_ok=True)
        path = folder / f"{turn}.png"
        Image.fromarray(enlarged(pixels) if turn % 4 > 1 else pixels).save(path)
        paths.append(path)
        labels.append(turn % 4 > 1)
    members = {"head": Head(deliveries=1), "spectral": Spectral(deliveries=1)}
    made = clone(Ensemble(members, folds=2)).fit(paths, labels)
    assert not hasattr(members["head"], "weight_")  # members given are left untrained
    assert (made.predict(paths) == labels).mean() > 0.9
    made.save(tmp_path / "out")
    again = Ensemble.load(tmp_path / "out")
    assert again.predict_proba(paths[:3]) == pytest.approx(made.predict_proba(paths[:3]))
    (tmp_path / "out" / "spectral.onnx").unlink()
    with pytest.raises(UserError, match="expected a spectral detector"):
        Ensemble.load(tmp_path / "out")
    with pytest.raises(UserError, match="expected an ensemble"):
        Ensemble.load(tmp_path)
