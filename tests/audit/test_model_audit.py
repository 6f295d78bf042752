"""What a model gives back: planted copies counted, clean output clear, errors named."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from counterproof.app.audit import audit
from counterproof.audit import model_audit, model_pictures
from counterproof.audit.case import Case
from counterproof.audit.copy_search import read_query
from counterproof.audit.model_audit import _headline, audit_model, clopper_pearson
from counterproof.audit.model_pictures import Pictures
from counterproof.audit.report import write_report
from counterproof.errors import CaseError, UserError
from counterproof.findings import Relation
from counterproof.settings import Settings
from counterproof.text import catalogue

Pixels = NDArray[np.uint8]
EN = catalogue("en")


def scene(seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    picture = np.full((150, 200, 3), rng.integers(40, 210, 3), np.uint8)
    for _ in range(60):
        x, y, r = int(rng.integers(0, 200)), int(rng.integers(0, 150)), int(rng.integers(3, 22))
        cv2.circle(picture, (x, y), r, [int(v) for v in rng.integers(0, 256, 3)], -1)
    return picture


def fill(folder: Path, pictures: list[Pixels]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), np.ascontiguousarray(picture), [1, 80])
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("model")
    clean = [scene(1000 + i) for i in range(12)]
    copies = [scene(2)[:, ::-1], scene(7)[15:, 20:]]
    return {
        "training": fill(root / "training", [*(scene(i) for i in range(16)), scene(3)]),
        "holdout": fill(root / "holdout", [scene(500 + i) for i in range(12)]),
        "clean": fill(root / "clean", clean),
        "copying": fill(root / "copying", [*clean[:10], *copies]),
    }


def test_planted_copies_are_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    found = audit_model(
        folders["copying"], folders["training"], folders["holdout"], settings=settings
    )
    by_code = {item.code: item for item in found.answers}
    headline = found.answers[0]
    assert (headline.code, headline.answer) == ("model.copies", "found")
    assert (headline.k, headline.n) == (2, 12)
    assert (headline.low, headline.high) == clopper_pearson(2, 12)
    assert headline.details["holdout_k"] == 0
    pairs = {
        (Path(r.details["generated"]).name, Path(r.details["training"]).name)
        for r in found.relations
    }
    assert pairs == {("010.jpg", "002.jpg"), ("011.jpg", "007.jpg")}
    assert by_code["model.training_duplicates"].k == 2
    assert by_code["model.membership"].answer == "not_resolvable"


def test_clean_output_is_clear(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    found = audit_model(folders["clean"], folders["training"], settings=settings)
    assert found.answers[0].answer == "clear"
    assert found.relations == ()
    assert all(item.answer != "found" for item in found.answers if "duplicates" not in item.code)


def test_a_model_may_draw_its_own_pictures(folders: dict[str, Path], tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def draw(n: int, seed: int) -> NDArray[np.uint8]:
        asked.append((n, seed))
        return np.stack(
            [scene(3 if seed + i == 51 else 2000 + seed + i)[:, :, ::-1] for i in range(n)]
        )

    settings, drawn = Settings(home=tmp_path), tmp_path / "drawn"
    for _ in range(2):  # the second time nothing is drawn
        found = audit_model(draw, folders["training"], settings=settings, drawn=drawn, count=53)
        assert (found.answers[0].k, found.answers[0].n) == (1, 53)
        assert Path(found.relations[0].details["generated"]).name == "000051.png"
    assert asked == [(50, 0), (3, 50)]
    with pytest.raises(UserError, match="drawn=FOLDER"):
        audit_model(draw, folders["training"], settings=settings)
    with pytest.raises(UserError, match="uint8 RGB"):
        audit_model(
            lambda n, _seed: np.zeros((n, 3, 8, 8), np.uint8),
            folders["training"],
            settings=settings,
            drawn=tmp_path / "other",
        )


def test_a_picture_that_lies_near_must_agree_as_well(tmp_path: Path) -> None:
    """Pale things on white floors lie near each other; a picture that is repeated near itself."""
    rng = np.random.default_rng(0)
    far = [np.full((40, 40, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(30)]
    soft = np.zeros((40, 40, 3), np.uint8)
    soft[10:30, 10:30] = 60
    training = fill(tmp_path / "training", [*far, *[soft] * 30])
    other = np.zeros((40, 40, 3), np.uint8)
    other[14:36, 4:16] = 40
    made = fill(tmp_path / "made", [other, np.full((40, 40, 3), 128, np.uint8)])
    settings = Settings(home=tmp_path)
    assert audit_model(made, training, settings=settings).answers[0].k == 0
    copied = fill(tmp_path / "copied", [soft + 6, np.full((40, 40, 3), 128, np.uint8)])
    assert audit_model(copied, training, settings=settings).answers[0].k == 1


def test_a_picture_that_is_repeated_hides_no_copy_of_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    far = [np.full((40, 40, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(30)]
    soft = np.full((40, 40, 3), 90, np.uint8)
    soft[10:30, 10:30] = 160
    near = soft + 20
    training = fill(tmp_path / "training", [*far, *[near] * 40, soft])
    copied = fill(tmp_path / "copied", [soft + 6, np.full((40, 40, 3), 20, np.uint8)])
    found = audit_model(copied, training, settings=Settings(home=tmp_path))
    assert [Path(pair.details["training"]).name for pair in found.relations] == ["070.jpg"]


def test_a_picture_that_has_gone_from_training_is_forgotten(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    training = fill(tmp_path / "training", [scene(i) for i in range(6)])
    assert audit_model(folders["copying"], training, settings=settings).answers[0].k == 1
    (training / "002.jpg").unlink()
    assert audit_model(folders["copying"], training, settings=settings).answers[0].k == 0


def test_the_command_writes_what_the_contract_says(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    page = tmp_path / "model.html"
    arguments = ["model", "--generated", str(folders["copying"]), "--format", "json"]
    arguments += ["--training", str(folders["training"]), "-o", str(page)]
    result = CliRunner().invoke(audit, arguments)
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["schema"] == "counterproof.model_audit/1"
    for item in value["answers"]:
        assert {"code", "answer", "k", "n", "low", "high"} <= set(item)
        assert item["answer"] in ("found", "clear", "not_resolvable")
    assert len(value["relations"]) == 2
    assert page.read_text().count("<svg") == 4


def test_a_case_keeps_the_answers_and_its_report_shows_them(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    name, page = tmp_path / "scan.case", tmp_path / "report.html"
    arguments = ["model", "--generated", str(folders["copying"]), "--case", str(name)]
    arguments += ["--training", str(folders["training"]), "--holdout", str(folders["holdout"])]
    name.write_text("no case")
    result = CliRunner().invoke(audit, arguments)
    assert isinstance(result.exception, CaseError)  # told before the work
    name.unlink()
    for _ in range(2):  # a second audit takes the place of the first
        assert CliRunner().invoke(audit, arguments).exit_code == 0
    with Case.open(name) as case:
        kinds = [relation.kind for relation in case.relations()]
        assert (kinds.count("model"), kinds.count("model_pair")) == (6, 2)
        write_report(case, page, Settings(home=tmp_path))
    text = page.read_text()
    assert EN.ui("gap.copy") in text  # no index was named
    section = text[text.index('id="h-model"') : text.index('id="h-all"')]
    assert "2 / 12" in section
    assert "needs 2,995 unseen pictures, 12 given" in section
    assert EN.ui("audit.limit") not in section  # something was found
    assert section.count("<img src=") == 4
    assert "010.jpg" in section
    assert "h-groups" not in text


def test_folders_that_cannot_be_audited_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    empty, one = fill(tmp_path / "empty", []), fill(tmp_path / "one", [scene(1)])
    for training, says in ((empty, "found 0"), (one, "found 1"), (tmp_path / "none", "no such")):
        with pytest.raises(UserError, match=says) as caught:
            audit_model(folders["clean"], training, settings=settings)
        assert str(training) in str(caught.value)
    with pytest.raises(UserError, match="one folder for both"):
        audit_model(folders["clean"], folders["training"], folders["clean"], settings=settings)


def test_an_audit_goes_on_where_it_was_stopped(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    read, seen = read_query, list[str]()
    again: list[str] = []

    def counts(image: Any) -> Any:
        again.append(image.name)
        return read(image)

    def stops(image: Any) -> Any:
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(image.name)
        return read(image)

    monkeypatch.setattr(model_pictures, "read_query", stops)
    with pytest.raises(KeyboardInterrupt):
        audit_model(folders["copying"], folders["training"], settings=settings)
    monkeypatch.setattr(model_pictures, "read_query", counts)
    assert audit_model(folders["copying"], folders["training"], settings=settings).answers[0].k == 2
    assert len(again) == 12 - 7
    again.clear()
    (kept,) = (tmp_path / "audits").glob("*.pictures")
    assert audit_model(folders["copying"], folders["training"], settings=settings).answers[0].k == 2
    assert not again
    kept.write_bytes(kept.read_bytes()[:5000])  # damaged: what it held is read anew
    assert audit_model(folders["copying"], folders["training"], settings=settings).answers[0].k == 2
    assert len(again) == 12


def test_a_search_goes_on_where_it_was_stopped(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, search = Settings(home=tmp_path), model_audit._searched
    asked: list[str] = []

    def stops(path: str, *others: Any) -> Any:
        if len(asked) == 8:
            raise KeyboardInterrupt
        asked.append(path)
        return search(path, *others)

    monkeypatch.setattr(model_audit, "_BATCH", 4)
    monkeypatch.setattr(model_audit, "_searched", stops)
    with pytest.raises(KeyboardInterrupt):
        audit_model(folders["copying"], folders["training"], settings=settings)
    asked.clear()
    for times in (4, 0):  # the rest; then nothing
        found = audit_model(folders["copying"], folders["training"], settings=settings)
        assert found.answers[0].k == 2
        assert len(asked) == times
        assert [Path(r.details["training"]).parent for r in found.relations] == [
            folders["training"]
        ] * 2
        asked.clear()
    training = fill(tmp_path / "other", [scene(i) for i in range(4)])
    monkeypatch.setattr(model_audit, "_searched", search)
    assert audit_model(folders["copying"], training, settings=settings).answers[0].k == 1


def pairs_of(*agreements: float) -> dict[int, Relation]:
    return {
        number: Relation("copy", ("a", "b"), "copy.of", {"agreement": value})
        for number, value in enumerate(agreements)
    }


def some_pictures(n: int) -> Pictures:
    names = tuple(f"{i}" for i in range(n))
    return Pictures(names, names, np.zeros((n, 768), np.float32), Path("none"))


@pytest.mark.parametrize(
    ("copies", "held", "leaked", "says"),
    [
        ((), (), set(), "clear"),
        ((), (0.96,), set(), "clear"),
        ((0.96,), (), set(), "found"),
        ((0.96, 0.97), (0.96,), set(), "not_resolvable"),
        ((0.96, 0.99), (0.96,), set(), "found"),  # far closer than likeness by nature
        ((0.96, 0.99), (0.985,), set(), "not_resolvable"),
        ((0.96,) * 9, (0.96,), set(), "found"),  # far more of them
        ((0.96,), (1.0,), {"0"}, "found"),  # the held-out one is a training picture
    ],
)
def test_the_headline_weighs_unseen_pictures(
    copies: tuple[float, ...], held: tuple[float, ...], leaked: set[str], says: str
) -> None:
    made = others = some_pictures(100)
    answer = _headline(pairs_of(*copies), made, pairs_of(*held), others, leaked)
    assert answer.answer == says
    assert (answer.k, answer.n) == (len(copies), 100)


def test_the_interval_is_exact() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    low, high = clopper_pearson(0, 2995)
    assert low == 0.0
    assert high == pytest.approx(0.00123, abs=1e-5)
    assert clopper_pearson(5, 5)[1] == 1.0
