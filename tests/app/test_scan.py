"""`counterproof scan` as a person and a pipe use it: outputs, options, exit codes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counterproof.app.cli import cli, main
from counterproof.app.scan import FailOn
from counterproof.errors import CounterproofError, UserError
from counterproof.schema import record_schema

LABEL = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" a:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF>'
    "</x:xmpmeta>"
)

SLOW = """
import time
from counterproof.analysis import Analyzer

class Slow(Analyzer):
    name, prefixes = "slow", ("detector",)

    def analyze(self, image):
        time.sleep(0.2)
        return ()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files: plain, labelled as machine-made, broken, and one with a wrong name."""
    base = tmp_path / "in"
    base.mkdir()
    rng = np.random.default_rng(0)

    def pixels(seed: int) -> Image.Image:
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)

    pixels(1).save(base / "a plain.jpg")
    pixels(2).save(base / "b labelled.jpg", xmp=LABEL.encode())
    (base / "c broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing here")
    pixels(3).save(base / "d wrong.png", "JPEG")
    return base


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["scan", "-j", "1", *map(str, arguments)])


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def statuses(text: str) -> list[str]:
    return [record["verdict"]["status"] for record in records(text)]


FOUND = ["no_evidence", "synthetic_declared", "unreadable", "no_evidence"]


def test_a_pipe_gets_records_that_obey_the_schema(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 3  # done, one picture unreadable
    assert statuses(result.stdout) == FOUND
    for record in records(result.stdout):
        jsonschema.validate(record, record_schema())
    assert "4 pictures" in result.stderr


def test_a_person_gets_a_table(folder: Path) -> None:
    result = run(folder, "--format", "text")
    for words in ("made by a model", "no evidence found", "unreadable", "c broken.jpg", "declared"):
        assert words in result.stdout
    assert "{" not in result.stdout
    assert "由模型生成" in run(folder, "--format", "text", "--lang", "zh").stdout


def test_several_outputs_of_one_scan(folder: Path, tmp_path: Path) -> None:
    names = ["x.jsonl", "x.json", "x.csv", "x.sarif", "x.html"]
    outputs = [item for name in names for item in ("-o", tmp_path / name)]
    result = run(folder, "--format", "text", *outputs)
    assert result.exit_code == 3
    assert statuses((tmp_path / "x.jsonl").read_text()) == FOUND
    listed = json.loads((tmp_path / "x.json").read_text())
    assert [record["verdict"]["status"] for record in listed] == FOUND
    with (tmp_path / "x.csv").open(encoding="utf-8-sig") as file:
        assert [row["status"] for row in csv.DictReader(file)] == FOUND
    assert json.loads((tmp_path / "x.sarif").read_text())["version"] == "2.1.0"
    assert "b labelled.jpg" in (tmp_path / "x.html").read_text()


def test_an_unnamed_case_is_found_again(folder: Path) -> None:
    first, again = run(folder), run(folder)
    assert "already known" not in first.stderr
    assert "4 already known" in again.stderr
    assert again.stdout == first.stdout


def test_fail_on(folder: Path, tmp_path: Path) -> None:
    expected = {
        "synthetic": 1,
        "synthetic_declared": 1,
        "label": 1,
        "label.iptc": 1,
        "unreadable": 1,
        "conflict": 3,
        "label:high": 3,
        "privacy.gps": 3,
    }
    for selector, code in expected.items():
        result = run(folder, "--case", tmp_path / "x.case", "--fail-on", selector)
        assert result.exit_code == code, selector
        assert ("--fail-on: " in result.stderr) is (code == 1)


def test_baseline_fails_only_on_what_is_new(folder: Path, tmp_path: Path) -> None:
    run(folder, "--case", tmp_path / "old.case")
    options = ["--fail-on", "synthetic", "--baseline", tmp_path / "old.case"]
    assert run(folder, *options).exit_code == 3
    picture = Image.new("RGB", (64, 64), "navy")
    picture.save(folder / "e new.jpg", xmp=LABEL.encode())
    result = run(folder, *options)
    assert result.exit_code == 1
    assert "e new.jpg" in result.stderr
    assert "b labelled.jpg" not in result.stderr


def test_only_and_skip(folder: Path) -> None:
    assert statuses(run(folder, "--skip", "label").stdout)[1] == "no_evidence"
    only = records(run(folder, "--only", "label").stdout)
    assert only[1]["verdict"]["status"] == "synthetic_declared"
    assert not only[0]["facts"]


def test_a_list_of_files(folder: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{folder / 'b labelled.jpg'}\n{folder / 'none.jpg'}\n")
    result = run("--files-from", listing)
    assert result.exit_code == 3
    assert statuses(result.stdout) == ["synthetic_declared", "unreadable"]
    assert "no such file" in json.dumps(records(result.stdout)[1]["findings"])


def test_shards_and_merge_give_what_one_scan_gives(folder: Path, tmp_path: Path) -> None:
    shown = []
    for part in (1, 2):
        result = run(folder, "--case", tmp_path / "x.case", "--shard", f"{part}/2")
        shown += [record["path"] for record in records(result.stdout)]
    assert sorted(shown) == sorted(str(path) for path in folder.iterdir())
    parts = [tmp_path / f"x.{part}-of-2.case" for part in (1, 2)]
    merged = CliRunner().invoke(cli, ["case", "merge", str(tmp_path / "x.case"), *map(str, parts)])
    assert merged.exit_code == 0
    again = run(folder, "--case", tmp_path / "x.case")
    assert "4 already known" in again.stderr
    assert statuses(again.stdout) == FOUND


def test_a_note_is_kept_and_listed(folder: Path, tmp_path: Path) -> None:
    case = str(tmp_path / "x.case")
    run(folder, "--case", case)
    picture = str(folder / "a plain.jpg")
    runner = CliRunner()
    assert runner.invoke(cli, ["case", "note", case, picture, "-m", "asked"]).exit_code == 0
    listed = runner.invoke(cli, ["case", "note", case])
    assert "asked" in listed.stdout
    assert "a plain.jpg" in listed.stdout
    wrong = runner.invoke(cli, ["case", "note", case, "nothing", "-m", "x"])
    assert isinstance(wrong.exception, UserError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such file or folder"),
        ([], "expected a picture"),
        (["IN", "--only", "nonsense"], "unknown prefix 'nonsense'"),
        (["IN", "--fail-on", "nonsense"], "--fail-on nonsense"),
        (["IN", "--fail-on", "label:dire"], "expected a severity"),
        (["IN", "--shard", "3/2"], "shard"),
        (["IN", "--as-of", "soon"], "expected a day"),
        (["IN", "-o", "x.docx"], "expected a name that ends in"),
        (["IN", "-o", "/nowhere/x.csv"], "/nowhere/x.csv: cannot write"),
        (["IN", "--index", "x.index"], "--index"),
        (["IN", "--baseline", "none.case"], "none.case: no such case"),
        (["--files-from", "none.txt"], "none.txt: cannot read the list"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    folder: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(folder) if item == "IN" else item for item in arguments]
    monkeypatch.setattr(sys, "argv", ["counterproof", "scan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_selectors_are_checked() -> None:
    assert FailOn.parse("altered").selector == "altered"
    with pytest.raises(CounterproofError):
        FailOn.parse("syn")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_says_that_nothing_is_lost(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "slow-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[counterproof.analyzers]\nslow = slow:Slow\n")
    (site / "slow.py").write_text(SLOW)
    for number in range(40):
        Image.new("RGB", (64, 64), (number, 9, 99)).save(folder / f"n{number:03}.png")
    case = tmp_path / "x.case"
    command = [sys.executable, "-m", "counterproof", "scan", str(folder), "--case", str(case)]
    command += ["--only", "slow"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    with subprocess.Popen(
        [*command, "-j", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # a test run in the background passes on that it ignores interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert str(case) in said
    assert "Traceback" not in said
    shown = 5 + len(rest.splitlines())
    assert shown < 44
    again = subprocess.run(
        [*command, "-j", "3"], capture_output=True, text=True, check=False, env=environment
    )
    assert len(again.stdout.splitlines()) == 44
    known = int(again.stderr.split("already known")[0].split("·")[-1].strip())
    assert known >= shown - 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    command = [sys.executable, "-m", "counterproof", "scan", str(folder), "-j", "1"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m counterproof scan '{folder}' -j 1 | head -c 10"
    start = time.monotonic()
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 60
    assert os.listdir(folder)


def test_a_reader_that_leaves_is_no_finding() -> None:
    command = [sys.executable, "-m", "counterproof", "explain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
