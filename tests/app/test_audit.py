"""`counterproof audit policy|pipeline`, as a person and a build use it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counterproof.app.cli import cli

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERPROOF_LANGUAGE", "en")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    for name in ("CERT", "KEY"):
        monkeypatch.delenv(f"COUNTERPROOF_SIGNING_{name}", raising=False)
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(item) for item in arguments])


@pytest.fixture
def case(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("rocks-parameters.png", "islands-gb45438.png", "valley-small.jpg"):
        (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    done = run("scan", folder, "--case", tmp_path / "a.case", "--profile", "quick", "-j", "1", "-q")
    assert done.exit_code == 0
    return tmp_path / "a.case"


def test_a_case_in_all_three_forms(case: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "p.html", tmp_path / "p.json"
    asked = ("--market", "CN", "--role", "provider", "--as-of", "2026-11-29")
    done = run("audit", "policy", case, *asked, "-o", page, "-o", data)
    assert done.exit_code == 0
    assert "[evidence against] CN-5" in done.stdout
    found = json.loads(data.read_text())
    assert (found["schema"], found["pictures"]) == ("counterproof.policy/1", 3)
    rules = {item["id"]: item for pack in found["packs"] for item in pack["rules"]}
    assert rules["CN-5"]["counts"] == {"pass": 1, "fail": 1, "unknown": 1, "not_applicable": 0}
    assert "EU-50-2" not in rules
    html = page.read_text()
    assert "CN-5" in html
    assert "<script" not in html
    assert "compliant" not in html
    again = tmp_path / "again.html"
    run("audit", "policy", case, *asked, "-o", again)
    assert again.read_bytes() == page.read_bytes()
    zh = run("audit", "policy", case, *asked, "--lang", "zh")
    assert "[反对的证据] CN-5" in zh.stdout


def test_a_build_fails_on_a_rule_in_force_only(case: Path) -> None:
    asked = ("audit", "policy", case, "--format", "json", "--fail-on")
    assert run(*asked, "CN-5").exit_code == 1
    assert run(*asked, "CN-5", "--as-of", "2025-08-31").exit_code == 0
    assert run(*asked, "C2PA").exit_code == 0
    assert run(*asked, "fail:high").exit_code == 1
    for wrong in ("XX", "CN-5:grave"):
        assert isinstance(run(*asked, wrong).exception, Exception)


def test_a_folder_is_scanned_first(case: Path, tmp_path: Path) -> None:
    done = run("audit", "policy", tmp_path / "in", "--market", "KR", "--format", "json")
    assert json.loads(done.stdout)["pictures"] == 3
    assert "no such case" in str(run("audit", "policy", tmp_path / "none").exception)


def test_a_questionnaire_is_written_answered_and_signed(case: Path, tmp_path: Path) -> None:
    asked = tmp_path / "q.toml"
    assert run("audit", "policy", "--template", asked).exit_code == 0
    text = asked.read_text()
    assert "exists" in str(run("audit", "policy", "--template", asked).exception)
    asked.write_text(text.replace("# detector_free = true", "detector_free = true"))
    rules = ("audit", "policy", case, "--market", "EU", "--format", "json", "--questionnaire")
    assert json.loads(run(*rules, asked).stdout)["attested_by"] == ""
    assert run("audit", "policy", "--sign", asked).exit_code == 0
    found = json.loads(run(*rules, asked).stdout)
    assert found["attested_by"].startswith("local identity")
    states = {item["id"]: item["state"] for pack in found["packs"] for item in pack["rules"]}
    assert states["COP-DETECT"] == "pass"
    asked.write_text(asked.read_text() + "# changed\n")
    assert "changed after signing" in str(run(*rules, asked).exception)
    asked.with_name("q.toml.sig").unlink()
    for line, said in (("nonsense = 1", "unknown fact"), ("detector_free = 3", "true or false")):
        asked.write_text(f"[facts]\n{line}\n")
        assert said in str(run(*rules, asked).exception)
    asked.write_text("[facts\n")
    assert "expected a TOML file" in str(run(*rules, asked).exception)


def test_a_marked_picture_states_its_label_and_a_save_loses_its_marks(tmp_path: Path) -> None:
    marked = tmp_path / "out" / "valley.jpg"
    label = ("--label", "AI generated", "--system", "M", "--system-version", "3")
    done = run(
        *("mark", EXAMPLES / "valley.jpg", "--as", "generated", *label), "-o", tmp_path / "out"
    )
    assert done.exit_code == 0
    report = json.loads(
        run("audit", "policy", marked, "--format", "json", "--as-of", "2026-11-29").stdout
    )
    states = {item["id"]: item["state"] for pack in report["packs"] for item in pack["rules"]}
    wanted = {
        **dict.fromkeys(("CN-5", "CN-5.2-HEIGHT", "CN-5.2-PLACE", "CN-E-FIELDS"), "pass"),
        **dict.fromkeys(("EU-50-2", "COP-1.1.1", "COP-1.1", "CA-3B1A", "CA-3B1B"), "pass"),
        "CN-4": "fail",  # the label says AI, and nothing of generation in Chinese
        "COP-1.1.1-TIME": "fail",
        "EU-111-4": "upcoming",
    }
    assert wanted.items() <= states.items()
    copy = tmp_path / "copy.jpg"
    Image.open(marked).save(copy)
    done = run("audit", "pipeline", marked, copy, "--format", "json", "--fail-on", "lost")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert set(found["lost"]) == {"credential", "iptc", "aigc"}
    kept = run("audit", "pipeline", marked, marked)
    assert kept.exit_code == 0
    assert kept.stdout.startswith("Every mark")
    assert "no such file" in str(run("audit", "pipeline", marked, tmp_path / "none").exception)
