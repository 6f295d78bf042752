"""Training: it finds a planted sign, resumes, saves and loads, and the commands work."""

import json
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.detectors import detectors
from counterproof.detectors.deliveries import TREATMENTS, at_random
from counterproof.detectors.evaluation import evaluate, external
from counterproof.detectors.features import HEAD, WIDTH, LinearHead
from counterproof.detectors.release import shortfalls
from counterproof.detectors.samples import read
from counterproof.detectors.trained import open_trained
from counterproof.errors import UserError
from tests.detectors.drawn import textured


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes told apart by what a decoder leaves: a grid of small blocks."""
    folder = tmp_path_factory.mktemp("labelled")
    lines = ["file,label,source"]
    for number in range(24):
        machine = number % 2 == 1
        pixels = textured(240, 300, number)
        if machine:
            small = cv2.resize(pixels, (75, 60), interpolation=cv2.INTER_AREA)
            pixels = cv2.resize(small, (300, 240), interpolation=cv2.INTER_NEAREST)
        name = f"{number}.png"
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{'fake' if machine else 'real'},{'mp'[number % 2]}{number % 6}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


def test_deliveries_are_the_same_for_the_same_state() -> None:
    image = Image.fromarray(textured(300, 400))
    first, second = (at_random(image, np.random.default_rng(5)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert all(min(treat(image).size) > 100 for treat in TREATMENTS.values())


def test_a_planted_sign_is_found_on_sources_never_seen(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    command = ["train", str(table), "-o", str(tmp_path / "out"), "--folds", "3"]
    done = CliRunner().invoke(detectors, command, catch_exceptions=False)
    assert done.exit_code == 0
    written = json.loads((tmp_path / "out" / "training.json").read_text())
    areas = {row["name"]: row["value"] for row in written["metrics"]}
    assert areas["found_at_5_whole"] > 0.9
    rows = (tmp_path / "out" / "held-out.jsonl").read_text().splitlines()
    assert len([json.loads(row) for row in rows]) == 24
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "views").iterdir()}
    CliRunner().invoke(detectors, command, catch_exceptions=False)
    assert kept == {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "views").iterdir()}
    own = open_trained(tmp_path / "out")
    scores = [own.score(np.asarray(Image.open(sample.path))) for sample in read(table)]
    assert min(scores[1::2]) > max(scores[::2])


def test_a_head_of_another_network_is_refused(tmp_path: Path) -> None:
    """A head that was trained before the network changed would say numbers that mean nothing."""
    ones = np.ones(WIDTH, np.float32)
    LinearHead(ones, 0.0, ones, network="0" * 64).save(tmp_path / HEAD)
    (tmp_path / "training.json").write_text('{"thresholds": {}}')
    with pytest.raises(UserError, match="another network"):
        open_trained(tmp_path)
    (tmp_path / HEAD).write_bytes(b"PK not a head")
    with pytest.raises(UserError, match="not a head"):
        open_trained(tmp_path)


def test_the_head_is_an_estimator_that_saves_and_loads(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    from counterproof.detectors.head import Head

    samples = read(table)
    paths = [sample.path for sample in samples]
    labels = [sample.machine_made for sample in samples]
    head = clone(Head(deliveries=1)).fit(paths[:12], labels[:12])
    chances = head.predict_proba(paths[12:])
    assert chances.sum(1) == pytest.approx(1)
    assert (head.predict(paths[12:]) == labels[12:]).mean() > 0.8
    head.save(tmp_path / HEAD)
    again = Head.load(tmp_path / HEAD).predict_proba(paths[12:])
    assert again == pytest.approx(chances, abs=1e-3)
    (tmp_path / HEAD).write_text("{}")
    with pytest.raises(UserError, match="expected a detector's head"):
        Head.load(tmp_path / HEAD)


def test_evaluation_shows_when_size_gives_the_label_away(table: Path, tmp_path: Path) -> None:
    samples = read(table)
    for sample in samples:
        if sample.machine_made:
            with Image.open(sample.path) as opened:
                large = opened.resize((400, 320))
            large.save(sample.path.with_suffix(".big.png"))
    changed = [
        type(s)(s.path.with_suffix(".big.png"), True, "m") if s.machine_made else s
        for s in samples * 2
    ]
    found = evaluate(changed, lambda image: 0.0, name="constant", treatments=["as delivered"])
    assert found.nuisances["pixel count"] == 1.0
    assert found.treated[0].source_area.value == 0.5
    pytest.importorskip("sklearn", reason="the gate's forest needs the extra 'train'")
    with pytest.raises(UserError, match="at least 2 sources"):
        shortfalls(found)


def test_evaluate_writes_a_page_and_names_what_it_skipped(table: Path, tmp_path: Path) -> None:
    broken = table.parent / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    more = table.with_name("more.csv")
    more.write_text(table.read_text() + "\nbroken.png,real,p0\n")
    page = tmp_path / "page.html"
    command = ["evaluate", str(more), "-o", str(page), "--treatment", "JPEG 70", "--format", "json"]
    done = CliRunner().invoke(detectors, command, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [row["treatment"] for row in found["treated"]] == ["JPEG 70"]
    assert len(found["skipped"]) == 1
    assert "broken.png" in found["skipped"][0]
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "http" not in text


def test_small_views_are_measured_by_the_levels_of_small_pictures(table: Path) -> None:
    names = ("slope", "offset", "accuse", "keep", "clear")
    thresholds = dict(zip(names, (1.0, 0.0, 99.0, 99.0, -99.0), strict=True))
    thresholds |= {f"small_{name}": -1.0 for name in names}
    found = evaluate(
        read(table), lambda image: 0.0, treatments=["native crop"], thresholds=thresholds
    )
    assert found.treated[0].accused is not None
    assert found.treated[0].accused.value == 1.0


def test_a_set_too_small_for_an_area_says_so(table: Path) -> None:
    done = CliRunner().invoke(
        detectors, ["evaluate", str(table), "--treatment", "JPEG 70"], catch_exceptions=False
    )
    assert "areas over all pictures: no source has 20 machine-made pictures" in done.stdout
    assert "nan" not in done.stdout


def test_another_scorer_is_run_and_its_failure_is_named(table: Path) -> None:
    with pytest.raises(UserError, match=r"expected \{file\}"):
        external("score")
    image = Image.fromarray(textured(200, 200))
    script = "import sys; print('score of', sys.argv[1], 0.25)"
    assert external(shlex.join([sys.executable, "-c", script, "{file}"]))(image) == 0.25
    with pytest.raises(UserError, match="expected it to print a number"):
        external("true {file}")(image)
