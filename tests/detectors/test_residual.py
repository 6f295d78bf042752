"""The residual network: small, learns, resumes bit for bit, runs without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from counterproof.app.detectors import detectors
from counterproof.errors import UserError

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("safetensors")

from counterproof.detectors.residual import Residual, network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_it_is_small_and_its_gradient_reaches_every_weight() -> None:
    import torch

    net = network(40)
    assert sum(item.numel() for item in net.parameters()) < 300_000
    net(torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)).sum().backward()
    assert all(item.grad is not None for item in net.parameters())


def test_the_loss_falls_and_a_stopped_run_gives_the_same_model(
    pictures: tuple[list[Path], list[bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, labels = pictures
    settings: dict[str, Any] = {"steps": 60, "batch": 2, "width": 4, "rate": 1e-2}
    whole = Residual(**settings).fit(paths, labels)
    assert np.mean(whole.losses_[-20:]) < np.mean(whole.losses_[:20])
    stopped = Residual(**settings, folder=tmp_path)
    view = Residual._views

    def until(self: Residual, *given: Any) -> Any:
        if len(self.losses_) == 55:
            raise KeyboardInterrupt
        return view(self, *given)

    monkeypatch.setattr(Residual, "_views", until)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(paths, labels)
    monkeypatch.undo()
    again = Residual(**settings, folder=tmp_path).fit(paths, labels)
    assert len(again.losses_) == 10
    assert again.decision_function(paths[:2]) == pytest.approx(whole.decision_function(paths[:2]))


def test_it_is_an_estimator_that_saves_and_loads(
    pictures: tuple[list[Path], list[bool]], tmp_path: Path
) -> None:
    from sklearn.base import clone

    paths, labels = pictures
    made = clone(Residual(steps=1, batch=2, width=4)).fit(paths, labels)
    chances = made.predict_proba(paths[:2])
    assert chances.sum(1) == pytest.approx(1)
    made.save(tmp_path / "r.onnx")
    assert Residual.load(tmp_path / "r.onnx").predict_proba(paths[:2]) == pytest.approx(chances)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(UserError, match=r"r\.onnx: expected a residual detector"):
        Residual.load(tmp_path / "r.onnx")
    with pytest.raises(UserError, match="both classes"):
        made.fit(paths[:1], [True])


@pytest.mark.slow
def test_the_recipe_holds_sources_out_and_resumes(
    pictures: tuple[list[Path], list[bool]], tmp_path: Path
) -> None:
    paths, labels = pictures
    lines = ["file,label,source"]
    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        lines.append(f"{path},{'fake' if label else 'real'},{label}{number // 2 % 2}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    out = tmp_path / "out"
    command = ["train", str(table), "-o", str(out), "--recipe", "residual", "--folds", "2"]
    done = CliRunner().invoke(detectors, [*command, "--steps", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    rows = [json.loads(row) for row in (out / "held-out.jsonl").read_text().splitlines()]
    assert all(row["scores"].keys() == {"0", "1", "2", "3"} for row in rows)
    assert Residual.load(out / "residual.onnx").predict(paths).shape == (8,)
