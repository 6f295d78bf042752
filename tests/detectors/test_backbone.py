"""Any torch network as a detector: pooled where its sizes end, saved whole, runs without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.detectors import detectors
from counterproof.errors import MissingExtra, UserError

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
pytest.importorskip("torch")

import torch

from counterproof.detectors.backbone import Backbone, of_torchvision, stages

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def small() -> Any:
    """Return a network of three sizes, random but fixed, with an activation that works in place."""
    torch.manual_seed(0)
    nn = torch.nn
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
    )  # fmt: skip
    return body.eval()


def test_stages_are_the_last_module_at_each_size() -> None:
    assert stages(small()) == ("2", "4", "5")
    with pytest.raises(UserError, match="name layers"):
        stages(torch.nn.Flatten())


def test_it_learns_saves_and_scores_alike_without_its_network(
    pictures: tuple[list[Path], list[bool]], tmp_path: Path
) -> None:
    from sklearn.base import clone

    paths, labels = pictures
    made = clone(Backbone(small(), deliveries=1)).fit(paths, labels)
    assert len(made.weight_) == 2 * (4 + 6 + 6)
    scores = made.decision_function(paths)
    assert scores[np.array(labels)].mean() > scores[~np.array(labels)].mean()
    rows = np.stack([made.describe(np.asarray(Image.open(path))) for path in paths[:3]])
    assert made.decision_function(rows) == pytest.approx(scores[:3], abs=1e-3)
    made.save(tmp_path / "own.onnx")
    loaded = Backbone.load(tmp_path / "own.onnx")
    assert loaded.decision_function(paths) == pytest.approx(scores)
    assert loaded.predict_proba(paths[:2]).sum(1) == pytest.approx(1)
    with pytest.raises(UserError, match="only scores"):
        loaded.fit(rows, [True, False, True])
    content = json.loads((tmp_path / "own.json").read_text())
    (tmp_path / "own.json").write_text(json.dumps(content | {"sha256": "0"}))
    with pytest.raises(UserError, match="not the one that the JSON file describes"):
        Backbone.load(tmp_path / "own.onnx")


def test_layers_can_be_named(pictures: tuple[list[Path], list[bool]]) -> None:
    paths, labels = pictures
    made = Backbone(small(), layers=("4",), deliveries=1).fit(paths[:4], labels[:4])
    assert len(made.weight_) == 12
    with pytest.raises(UserError, match="layer of the network, got 'nine'"):
        Backbone(small(), layers=("nine",)).fit(paths[:2], labels[:2])


def test_the_command_says_what_it_lacks(
    pictures: tuple[list[Path], list[bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        f"{path},{'fake' if label else 'real'},{turn % 4}"
        for turn, (path, label) in enumerate(zip(*pictures, strict=True))
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,label,source", *rows]), encoding="utf-8")
    arguments = [str(table), "-o", str(tmp_path / "out"), "--recipe", "backbone", "--folds", "2"]
    said = CliRunner().invoke(detectors, ["train", *arguments])
    assert "needs --network NAME and --weights FILE" in str(said.exception)
    torch.save(small().state_dict(), tmp_path / "own.pth")
    own = ["--network", "small", "--weights", str(tmp_path / "own.pth")]
    monkeypatch.setattr("counterproof.detectors.backbone.of_torchvision", lambda *given: small())
    done = CliRunner().invoke(detectors, ["train", *arguments, *own])
    assert done.exit_code == 0, done.output
    assert Backbone.load(tmp_path / "out" / "backbone.onnx").weight_.shape == (32,)
    assert len((tmp_path / "out" / "held-out.jsonl").read_text().splitlines()) == 8


def test_a_network_of_torchvision_takes_only_its_own_weights(tmp_path: Path) -> None:
    torch.save(small().state_dict(), tmp_path / "other.pth")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        with pytest.raises(MissingExtra, match="networks of torchvision"):
            of_torchvision("resnet18", tmp_path / "other.pth")
        return
    with pytest.raises(UserError, match="expected weights of resnet18"):
        of_torchvision("resnet18", tmp_path / "other.pth")
    with pytest.raises(UserError, match="got 'nonesuch'"):
        of_torchvision("nonesuch", tmp_path / "other.pth")
