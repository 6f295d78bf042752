"""`counterproof report`, its comparison, its statement, disputes and suppressions."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from counterproof.app.cli import cli

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRACE = "rocks-parameters.png"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERPROOF_LANGUAGE", "en")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(item) for item in arguments])


def scan(folder: Path, case: Path, *flags: object) -> Result:
    asked = ("--case", case, "--profile", "quick", "-j", "1", "-q", "--as-of", "2026-11-29")
    return run("scan", folder, *asked, *flags)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for name in (TRACE, "valley-small.jpg", "dunes-labelled.jpg"):
        (made / name).write_bytes((EXAMPLES / name).read_bytes())
    return made


def test_two_cases_are_compared(folder: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "a.case", tmp_path / "b.case"
    scan(folder, before)
    (folder / "valley-small.jpg").write_bytes((EXAMPLES / "night-altered.jpg").read_bytes())
    (folder / "dunes-labelled.jpg").rename(folder / "moved.jpg")
    (folder / "new.jpg").write_bytes((EXAMPLES / "valley.jpg").read_bytes())
    scan(folder, after)
    found = json.loads(run("report", "diff", before, after, "--format", "json").stdout)
    assert found["schema"] == "counterproof.diff/1"
    assert [Path(path).name for path in found["added"]] == ["new.jpg"]
    assert [Path(new).name for _, new in found["moved"]] == ["moved.jpg"]
    assert (found["removed"], found["same"], found["made"]) == ([], 2, [])
    (changed,) = found["changed"]
    assert changed["status"] == ["no_evidence", "altered"]
    assert (changed["same_bytes"], changed["gained"]) == (False, ["c2pa.manifest.broken"])
    assert run("report", "diff", before, after, "--fail-on-change").exit_code == 1
    assert run("report", "diff", before, before, "--fail-on-change").exit_code == 0
    said = run("report", "diff", before, after, "--lang", "zh").stdout
    assert "有变" in said
    assert "no such case" in str(run("report", "diff", before, tmp_path / "none").exception)


def test_a_statement_of_methods(tmp_path: Path) -> None:
    page, data = tmp_path / "s.html", tmp_path / "s.json"
    assert run("report", "statement", "-o", page, "-o", data).exit_code == 0
    found = json.loads(data.read_text())
    assert found["schema"] == "counterproof.statement/1"
    assert {"c2pa", "labels"} <= {item["name"] for item in found["methods"]}
    figures = [metric for model in found["models"] for metric in model["metrics"]]
    assert figures
    assert all(metric["n"] > 0 and metric["low"] <= metric["value"] for metric in figures)
    counted = {(item["code"], item["kind"]): item for item in found["measured"]}
    assert ("forgery.copy_move", "accused") in counted
    assert all(
        item["low"] <= item["value"] <= item["high"]
        and item["n"] > 0
        and (item["threshold"] is not None or item["code"] == "forgery.metadata")
        for item in counted.values()
    )
    text = page.read_text()
    assert "<script" not in text
    assert figures[0]["name"] in text
    assert "forgery.double_jpeg" in text
    assert "expected a name" in str(run("report", "statement", "-o", tmp_path / "s.pdf").exception)


def test_a_dispute_and_its_outcome_stand_in_the_report(folder: Path, tmp_path: Path) -> None:
    case, page = tmp_path / "a.case", tmp_path / "r.html"
    scan(folder, case)
    picture = folder / TRACE

    def note(*flags: object) -> Result:
        return run("case", "note", case, picture, "-m", "It was a test", *flags)

    assert run("report", case, "-o", page).exit_code == 0
    assert "Disputed findings" not in page.read_text()
    note("--outcome", "upheld")  # nothing was disputed yet
    note("--dispute")
    run("report", case, "-o", page)
    text = page.read_text()
    assert "Disputed findings" in text
    assert '<span class="sev">open</span>' in text
    note("--outcome", "corrected")
    run("report", case, "-o", page)
    assert '<span class="sev">put right</span>' in page.read_text()
    assert "[dispute]" in run("case", "note", case, picture).stdout
    assert "reason" in str(run("case", "note", case, picture, "--dispute").exception)
    both = note("--dispute", "--outcome", "upheld")
    assert "got both" in str(both.exception)


def suppress(tmp_path: Path, until: str, **extra: str) -> Path:
    path = tmp_path / "s.toml"
    lines = ["[[suppress]]", 'code = "label.missing"', 'reason = "A test"', f"until = {until}"]
    path.write_text("\n".join([*lines, *(f'{k} = "{v}"' for k, v in extra.items())]))
    return path


def test_what_is_set_aside_fails_no_build_until_its_last_day(folder: Path, tmp_path: Path) -> None:
    case = tmp_path / "a.case"
    asked = ("--fail-on", "label.missing")
    assert scan(folder, case, *asked).exit_code == 1
    for until, extra, code in (
        ("2026-11-29", {}, 0),
        ("2026-11-28", {}, 1),
        ("2027-01-01", {"path": "*.png"}, 0),
        ("2027-01-01", {"path": "*.jpg"}, 1),
        ("2027-01-01", {"sha256": "0" * 64}, 1),
    ):
        flag = ("--suppress", suppress(tmp_path, until, **extra))
        assert scan(folder, case, *asked, *flag).exit_code == code, (until, extra)


def test_the_report_lists_what_is_set_aside(folder: Path, tmp_path: Path) -> None:
    case, page = tmp_path / "a.case", tmp_path / "r.html"
    scan(folder, case)
    flags = ("--suppress", suppress(tmp_path, "2026-11-28"), "--as-of", "2026-11-29")
    assert run("report", case, "-o", page, *flags).exit_code == 0
    text = page.read_text()
    assert "1 finding, until 2026-11-28." in text
    assert "no effect any more" in text
    live = ("--suppress", suppress(tmp_path, "2027-01-01"))
    assert scan(folder, case, *live, "-o", page).exit_code == 0
    assert "1 finding, until 2027-01-01." in page.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[suppress]]\ncode = 'label'\nuntil = 2027-01-01", "reason"),
        ("[[suppress]]\ncode = 'label'\nreason = 'x'", "until"),
        ("[[suppress]]\ncode = 'nonsense'\nreason = 'x'\nuntil = 2027-01-01", "code"),
        ("[[suppress]]\nwho = 'x'", "expected the fields"),
        ("other = 1", "nothing else"),
        ("[[", "expected a TOML file"),
    ],
)
def test_a_bad_suppression_is_one_line(folder: Path, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    done = run("report", tmp_path / "none.case", "-o", "-", "--suppress", path)
    assert said in str(done.exception)


def test_the_whole_folder_in_numbers(folder: Path, tmp_path: Path) -> None:
    case, page = tmp_path / "a.case", tmp_path / "r.html"
    scan(folder, case)
    assert run("report", case, "-o", page).exit_code == 0
    text = page.read_text()
    assert text.count('class="plot"') == 1
    assert "Every kind of check that ran" in text
    assert "what is at stake, and what they rest on" in text
    first = page.read_bytes()
    run("report", case, "-o", page)
    assert page.read_bytes() == first
