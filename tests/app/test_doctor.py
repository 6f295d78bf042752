import importlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from counterproof.app import doctor
from counterproof.app.cli import main
from counterproof.app.doctor import State


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run `counterproof doctor` in this process; return exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["counterproof", "doctor", *arguments])
    code = 0
    try:
        main()
    except SystemExit as err:
        code = int(err.code or 0)
    out, said = capsys.readouterr()
    return code, out, said


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        code, out, _ = run(monkeypatch, capsys, "--format", "json", *arguments)
        value = json.loads(out)
        assert value["schema"] == "counterproof.doctor/1"
        assert value["ok"] is (code == 0)
        return code, {check["name"]: check for check in value["checks"]}

    return ask


def test_a_sound_installation(answer: Any) -> None:
    code, checks = answer()
    assert code == 0
    assert checks["pillow"]["value"] == metadata.version("pillow")
    assert checks["c2pa-python"]["remark"].startswith("c2pa-rs ")
    assert checks["c2pa"]["group"] == "trust"
    assert checks["home"]["state"] == "ok"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    code, out, said = run(monkeypatch, capsys, "--lang", language)
    assert (code, said) == (0, "")
    assert ("Trust lists" in out) is (language == "en")
    assert ("信任列表" in out) is (language == "zh")
    assert "onnxruntime" in out


def test_a_library_that_does_not_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true = importlib.import_module

    def no_cv2(name: str) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open\nshared object file")
        return true(name)

    monkeypatch.setattr("importlib.import_module", no_cv2)
    monkeypatch.setattr(doctor, "_analyzers", lambda *_: [])
    code, out, said = run(monkeypatch, capsys, "--format", "text")
    assert code == 2
    assert said == ("error: broken: opencv-python-headless; `counterproof doctor` says why\n")
    assert "broken:  ImportError: libGL.so.1: cannot open shared object file" in out


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    true = metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "0.9.1" if name == "c2pa-python" else true(name)
    )
    code, checks = answer()
    assert code == 2
    assert checks["c2pa-python"]["state"] == "broken"
    assert "or newer is needed" in checks["c2pa-python"]["remark"]


def test_a_missing_extra_is_no_fault(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    true = metadata.version

    def without_pyarrow(name: str) -> str:
        if name == "pyarrow":
            raise metadata.PackageNotFoundError(name)
        return true(name)

    monkeypatch.setattr("importlib.metadata.version", without_pyarrow)
    code, checks = answer()
    assert code == 0
    assert checks["scale"]["state"] == "missing"
    assert "pyarrow" in checks["scale"]["value"]
    assert "pip install 'counterproof[scale]'" in checks["scale"]["remark"]


def test_every_extra_is_explained_in_every_language() -> None:
    from counterproof.text import LANGUAGES, catalogue

    extras = {extra for _, _, extra in doctor._requirements() if extra}
    assert extras > {"dev"}
    for language in LANGUAGES:
        for extra in extras - {"dev"}:
            assert catalogue(language).ui(f"doctor.extra.{extra}")


def test_a_home_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, answer: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "file" / "home"))
    code, checks = answer()
    assert code == 2
    assert checks["home"]["state"] == "broken"
    assert "COUNTERPROOF_HOME" in checks["home"]["remark"]


def test_nothing_is_made_by_looking(
    monkeypatch: pytest.MonkeyPatch, answer: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "new" / "home"))
    code, _ = answer()
    assert code == 0
    assert list(tmp_path.iterdir()) == []


def test_an_old_list_is_noted(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setenv("COUNTERPROOF_AS_OF", "2036-01-01")
    code, checks = answer()
    assert code == 0
    assert checks["c2pa"]["state"] == State.NOTE
    assert "trust update" in checks["c2pa"]["remark"]
    assert checks["interim"]["state"] == State.OK


def test_a_defective_list_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, answer: Any, tmp_path: Path
) -> None:
    lists = tmp_path / "trust" / "lists"
    lists.mkdir(parents=True)
    (lists / "lists.json").write_text("{}")
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path))
    code, checks = answer()
    assert code == 2
    assert checks["trust lists"]["state"] == "broken"
