"""`counterproof show` and `counterproof report` as a person uses them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counterproof.app.cli import cli, main
from counterproof.errors import CaseError, UserError
from counterproof.text import catalogue, cell_width

LABEL = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" a:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF>'
    "</x:xmpmeta>"
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a labelled.jpg"
    Image.linear_gradient("L").convert("RGB").save(path, xmp=LABEL.encode())
    return path


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(cli, [str(item) for item in arguments], env=environment)


def test_a_page_on_the_terminal(image: Path) -> None:
    result = run("show", image, COLUMNS="80")
    assert result.exit_code == 0
    words = catalogue("en")
    text = result.stdout
    parts = [
        image.name,
        words.status("synthetic_declared")["says"],
        words.ui("page.why").upper(),
        "label.iptc.source_type",
        words.ui("question.integrity"),
        words.ui("page.unchecked").upper(),
        words.ui("heading.next").upper(),
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "\x1b" not in text
    said = " ".join(text.split())
    assert words.code("label.iptc.source_type")["does_not_mean"] in said


@pytest.mark.parametrize("columns", [40, 72, 200])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_keeps_to_the_width(
    image: Path, columns: int, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image.parent)
    result = run("show", image.name, "--lang", language, COLUMNS=str(columns))
    for line in result.stdout.splitlines():
        whole = any(cell_width(word) > columns - 8 for word in line.split())  # a hash, say
        command = line.strip().startswith("counterproof ")  # to be copied in one piece
        assert cell_width(line) <= min(columns, 96) or whole or command, line


def test_a_record_for_programs_and_a_page_to_keep(image: Path, tmp_path: Path) -> None:
    result = run("show", image, "--format", "json", "-o", tmp_path / "a.html", "--profile", "quick")
    found = json.loads(result.stdout)
    assert found["verdict"]["status"] == "synthetic_declared"
    assert found["run"]["profile"] == "quick"
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "data:image/webp;base64," in page
    assert image.name in page


def test_error_levels_are_drawn_for_viewing_only(image: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert run("show", image, "--error-levels", "-o", target).exit_code == 0
    text = target.read_text(encoding="utf-8")
    assert text.count('class="aid"') == 1
    assert catalogue("en").ui("page.error_levels") in text
    assert run("show", image, "-o", target).exit_code == 0
    assert 'class="aid"' not in target.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="add -o"):
        raise run("show", image, "--error-levels").exception or AssertionError


def test_an_unreadable_picture_says_so_and_exits_3(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing here")
    result = run("show", tmp_path / "bad.jpg")
    assert result.exit_code == 3
    assert catalogue("en").status("unreadable")["says"] in result.stdout


@pytest.mark.parametrize("name", ["none.jpg", "."])
def test_no_picture_is_one_line(tmp_path: Path, name: str) -> None:
    result = run("show", tmp_path / name)
    assert isinstance(result.exception, UserError)
    assert str(tmp_path / name) in str(result.exception)


def test_reports_from_a_case(image: Path, tmp_path: Path) -> None:
    case = tmp_path / "a.case"
    assert run("scan", "-j", "1", image, "--case", case, "--format", "jsonl").exit_code == 0
    outputs = [tmp_path / f"o.{suffix}" for suffix in ("html", "csv", "jsonl", "json", "sarif")]
    result = run("report", case, *(part for path in outputs for part in ("-o", path)))
    assert result.exit_code == 0
    assert all(path.stat().st_size > 100 for path in outputs)
    status = json.loads((tmp_path / "o.jsonl").read_text())["verdict"]["status"]
    assert status == "synthetic_declared"
    assert str(outputs[0]) in result.stderr
    zh = run("report", case, "-o", "-", "--lang", "zh")
    assert '<html lang="zh-Hans">' in zh.stdout


def test_a_report_that_cannot_be_is_one_line(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(run("report", image, "-o", "a.html").exception, CaseError)
    monkeypatch.setattr("sys.argv", ["counterproof", "report", str(tmp_path / "no"), "-o", "a.pdf"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
