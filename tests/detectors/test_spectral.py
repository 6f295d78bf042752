"""The spectral detector: numbers that mean what they say, an estimator, files, and a recipe."""

import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.detectors import detectors
from counterproof.detectors import spectral_features
from counterproof.detectors.spectral_features import (
    FAMILIES,
    NAMES,
    WIDTH,
    describe,
    family,
    in_words,
)
from counterproof.errors import UserError
from tests.detectors.drawn import encoded, enlarged, textured


def number(pixels: np.ndarray, name: str) -> float:
    return float(describe(pixels)[NAMES.index(name)])


def test_every_number_has_a_name_a_family_and_words() -> None:
    assert len(set(NAMES)) == WIDTH
    assert {family(name) for name in NAMES} == set(FAMILIES)
    assert all(in_words(name) for name in NAMES)


@pytest.mark.parametrize("shape", [(64, 64), (130, 700), (300, 256)])
def test_numbers_are_finite_and_the_same_at_every_call(shape: tuple[int, int]) -> None:
    for pixels in (textured(*shape), np.zeros((*shape, 3), np.uint8)):
        found = describe(pixels)
        assert found.shape == (WIDTH,)
        assert np.isfinite(found).all()
        assert np.array_equal(found, describe(pixels))


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64 pixels"):
        describe(textured(63, 200))


@pytest.mark.parametrize("side", [64, 256])
def test_a_high_quantile_is_the_one_of_numpy(side: int) -> None:
    values = np.random.default_rng(side).normal(size=side * side).astype(np.float32)
    expected = np.quantile(values, 0.9995)
    assert spectral_features._high_quantile(values, 0.9995) == pytest.approx(expected, abs=1e-6)
    assert spectral_features._high_quantile(values, 0.5) == pytest.approx(np.median(values))


def test_numbers_measure_what_their_names_say() -> None:
    plain = textured(256, 256)
    grid = "native.peaks.every_2_elsewhere"
    assert number(enlarged(plain), grid) < number(plain, grid) - 1  # a hole
    board = plain + 12 * (np.indices((256, 256)).sum(0) % 2)[..., None]
    assert number(board.clip(0, 255).astype(np.uint8), grid) > number(plain, grid) + 1.5
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (256, 256, 1))
    grey, coloured = plain + noise, plain + rng.normal(0, 12, (256, 256, 3))
    pair = "native.colours.r_with_g"
    alike, apart = (number(x.clip(0, 255).astype(np.uint8), pair) for x in (grey, coloured))
    assert alike > apart + 0.3
    grain = plain[..., 1] + rng.normal(0, 8, (256, 256))
    sensed = np.indices(grain.shape).sum(0) % 2 == 0
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    mosaic = plain.copy()
    mosaic[..., 1] = np.where(sensed, grain, cv2.filter2D(grain * sensed, -1, cross)).clip(0, 255)
    checkered = "native.mosaic.green_checkered"
    assert number(mosaic, checkered) > number(plain, checkered) + 1
    with Image.open(io.BytesIO(encoded(plain, quality=15))) as opened:
        jpeg = np.asarray(opened.convert("RGB"))
    assert number(jpeg, "native.blocks.upright") > number(plain, "native.blocks.upright") + 0.2


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    lines = ["file,label,source"]
    for turn in range(24):
        machine = turn % 2 == 1
        pixels = textured(200, 240, turn)
        Image.fromarray(enlarged(pixels) if machine else pixels).save(folder / f"{turn}.png")
        lines.append(f"{turn}.png,{'fake' if machine else 'real'},{'pm'[machine]}{turn // 2 % 4}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


@pytest.mark.filterwarnings("default")  # of scikit-learn's own cross-validation
def test_it_is_an_estimator_over_rows_that_saves_and_loads(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from counterproof.detectors.spectral import Spectral

    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2 == 1
    rows = rng.normal(size=(400, WIDTH)).astype(np.float32)
    rows[:, 40] += labels * 6
    assert cross_val_score(Spectral(), rows, labels, cv=3).mean() > 0.75
    joined = make_pipeline(FunctionTransformer(), clone(Spectral(penalty=0.1)))
    assert joined.fit(rows, labels).predict_proba(rows).sum(1) == pytest.approx(1)
    made = Spectral().fit(rows, labels, np.where(labels, 1.0, 3.0))
    assert made.strongest_[0].family == family(NAMES[40])
    reasons = made.explain(rows[1:2])
    assert {reason.family for reason in reasons} == set(FAMILIES)
    assert abs(reasons[0].weight) >= abs(reasons[-1].weight)
    made.save(tmp_path / "s.onnx")
    again = Spectral.load(tmp_path / "s.onnx")
    assert again.predict_proba(rows) == pytest.approx(made.predict_proba(rows))
    assert again.get_params() == made.get_params()
    with pytest.raises(UserError, match=f"rows of {WIDTH} numbers"):
        made.predict(rows[:, :5])
    (tmp_path / "s.onnx").write_bytes(b"another")
    with pytest.raises(UserError, match=r"s\.onnx: expected a spectral detector"):
        Spectral.load(tmp_path / "s.onnx")


def test_it_takes_paths(table: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    from counterproof.detectors.samples import read
    from counterproof.detectors.spectral import Spectral

    samples = read(table)
    paths = [sample.path for sample in samples]
    labels = [sample.machine_made for sample in samples]
    made = Spectral(deliveries=1).fit(paths[:16], labels[:16])
    assert (made.predict(paths[16:]) == labels[16:]).mean() >= 0.75


def test_recipes_train_resume_and_stack(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    from counterproof.detectors.spectral import Spectral

    run = CliRunner()
    one = tmp_path / "one"
    command = ["train", str(table), "-o", str(one), "--recipe", "spectral", "--folds", "2"]
    done = run.invoke(detectors, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "goes by:" in done.stdout
    figures = {
        row["name"]: row for row in json.loads((one / "training.json").read_text())["metrics"]
    }
    assert figures["found_at_5_whole"]["value"] > 0.8
    assert Spectral.load(one / "spectral.onnx").strongest_
    shards = {path: path.stat().st_mtime_ns for path in (one / "numbers").iterdir()}
    run.invoke(detectors, command, catch_exceptions=False)
    assert shards == {path: path.stat().st_mtime_ns for path in (one / "numbers").iterdir()}
    both = tmp_path / "both"
    command = ["train", str(table), "-o", str(both), "--recipe", "ensemble", "--folds", "2"]
    refused = run.invoke(detectors, command)
    assert isinstance(refused.exception, UserError)
    shutil.copytree(one, tmp_path / "two")
    command += ["--member", str(one), "--member", str(tmp_path / "two")]
    done = run.invoke(detectors, command, catch_exceptions=False)
    assert done.stdout.count("weight of") == 2
    stacked = json.loads((both / "stack.json").read_text())
    assert sum(stacked["members"].values()) > 0
    for folder in (one, both):
        own = ["evaluate", str(table), "--model", str(folder), "--treatment", "JPEG 90"]
        found = run.invoke(detectors, [*own, "--format", "json"], catch_exceptions=False)
        assert json.loads(found.stdout)["scorer"] == str(folder)
        assert json.loads(found.stdout)["treated"][0]["pooled_area"] > 0.9
    refused = run.invoke(detectors, ["evaluate", str(table), "--model", str(tmp_path)])
    assert "expected a folder that `counterproof detectors train` wrote" in str(refused.exception)
    (one / "held-out.jsonl").write_text("")
    refused = run.invoke(detectors, command)
    assert "expected held-out scores of the same table" in str(refused.exception)
