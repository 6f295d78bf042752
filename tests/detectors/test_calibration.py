"""Levels of one's own: what they promise holds, files are checked, and a scan goes by them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof import weights
from counterproof.app.detectors import detectors
from counterproof.detectors import levels, scan
from counterproof.detectors.features import MODEL
from counterproof.detectors.levels import OwnLevels
from counterproof.errors import UserError
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings, load_settings
from tests.detectors.drawn import encoded, textured


def own(**changes: float) -> OwnLevels:
    model = weights.open(MODEL)
    thresholds = {**model.card.thresholds, **changes}
    return OwnLevels(model.version, thresholds, 0.02, 100, 0, 3, 100, "2026-01-01")


def test_a_scan_goes_by_the_file_that_the_setting_names(tmp_path: Path) -> None:
    path = tmp_path / "levels.json"
    low = {"accuse": -99.0, "keep": -99.0, "small_accuse": -99.0, "small_keep": -99.0}
    own(**low).save(path)
    (tmp_path / "counterproof.toml").write_text(f"detector_levels = {str(path)!r}\n")
    settings = load_settings({"home": tmp_path}, folder=tmp_path, environment={})
    assert settings.detector_levels == path
    made = scan.DetectorAnalyzer(settings)
    assert made.digest() != scan.DetectorAnalyzer(Settings(home=tmp_path)).digest()
    image = ImageFile.open(encoded(textured(300, 300)), name="picture")
    found = [item for item in made.analyze(image) if isinstance(item, Finding)]
    assert found[0].code == "detector.synthetic"
    assert found[0].details["accused_of_1000"] == 30
    assert found[0].details["own_levels"] == "2026-01-01"


def test_files_that_are_not_levels_of_this_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "levels.json"
    card = weights.open(MODEL).card.thresholds
    replace(own(), model_sha256="00").save(path)
    with pytest.raises(UserError, match="another version of the detector"):
        levels.load(path, weights.open(MODEL).version, card)
    for text in ("", "[]", "{}", json.dumps({"kind": levels.KIND, "thresholds": {}})):
        path.write_text(text)
        with pytest.raises(UserError, match=r"levels\.json: expected levels of"):
            levels.load(path, "00", card)


def test_a_level_keeps_its_promise() -> None:
    pytest.importorskip("crepes")
    from counterproof.detectors.calibration import conformal_level

    assert conformal_level(np.arange(48.0), 0.02) is None
    assert conformal_level(np.arange(49.0), 0.02) == 48
    assert conformal_level(np.arange(99.0), 0.02) == 97
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(40):
        level = conformal_level(rng.normal(size=99), 0.1) or 0.0
        shares.append(float((rng.normal(size=2000) > level).mean()))
    assert np.mean(shares) == pytest.approx(0.1, abs=0.015)


def test_calibrate_needs_photographs_and_writes_levels(tmp_path: Path) -> None:
    pytest.importorskip("crepes")
    folder = tmp_path / "set"
    for turn in range(12):
        place = folder / "real" / f"camera{turn % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(180, 200, turn)).save(place / f"{turn}.png")
    (folder / "real" / "camera0" / "broken.jpg").write_bytes(b"no picture")
    path = tmp_path / "levels.json"
    command = ["calibrate", str(folder), "-o", str(path)]
    refused = CliRunner().invoke(detectors, command)
    assert isinstance(refused.exception, UserError)
    assert "12 small photographs: too few for 2.0%" in str(refused.exception)
    done = CliRunner().invoke(detectors, [*command, "--accused", "20"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "12 photographs, 0 machine-made" in done.stdout
    assert "broken.jpg" in done.stderr
    model = weights.open(MODEL)
    made = levels.load(path, model.version, model.card.thresholds)
    assert made.thresholds["accuse"] == model.card.thresholds["accuse"]
    assert made.thresholds["small_accuse"] != model.card.thresholds["small_accuse"]
    assert made.thresholds["small_clear"] <= made.thresholds["small_keep"]
    assert made.held_out == 12
