"""Every format, written whole or not at all, whatever the names of the pictures."""

import csv
import gc
import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from counterproof.audit import exports
from counterproof.errors import MissingExtra, UserError
from counterproof.findings import (
    Answers,
    Basis,
    Claim,
    FileInfo,
    Finding,
    Integrity,
    Record,
    Relation,
    RunInfo,
    Severity,
    Status,
    Verdict,
)
from counterproof.text import catalogue

RUN = RunInfo("0.1.0", "standard", {"labels": "1"}, {"official": "2026-01-01"}, "2026-02-03")
DECLARED = Finding(
    "labels",
    "label.iptc.source_type",
    Claim.SYNTHETIC,
    Basis.DECLARED,
    Severity.MEDIUM,
    details={"value": "trainedAlgorithmicMedia"},
)
HOSTILE = (
    "=cmd|'/c calc'!A1.jpg",
    "+1.jpg",
    "-1.jpg",
    "@sum.jpg",
    "\ttab.jpg",
    "＝wide.jpg",
    'quo"te, comma.jpg',
    "line\nbreak.jpg",
    "图片 ü:1.jpg",
    "</script><img onerror=x>.jpg",
    "\\xff.jpg",
)


def record(path: str, *findings: Finding, status: Status = Status.NO_EVIDENCE) -> Record:
    answers = Answers(integrity=Integrity.INTACT)
    verdict = Verdict(status, answers, tuple(f.code for f in findings if f.claim is not Claim.NONE))
    facts = {"camera.make": "Sample", "camera.model": "=One", "gps.present": True, "iso": [100]}
    info = FileInfo("jpeg", "image/jpeg", 1234, 40, 30, 1)
    return Record(path, "ab" * 32, info, facts, findings, verdict, RUN)


def records() -> list[Record]:
    return [record(path, DECLARED, status=Status.SYNTHETIC_DECLARED) for path in HOSTILE]


def test_jsonl_gives_every_record_back(tmp_path: Path) -> None:
    exports.write_jsonl(tmp_path / "o.jsonl", records())
    lines = (tmp_path / "o.jsonl").read_text("utf-8").splitlines()
    assert [Record.from_json(json.loads(line)) for line in lines] == records()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_json_is_one_array(tmp_path: Path, number: int) -> None:
    exports.write_json(tmp_path / "o.json", records()[:number])
    found = json.loads((tmp_path / "o.json").read_bytes())
    assert [Record.from_json(item) for item in found] == records()[:number]


def test_json_stays_json_whatever_the_file_held(tmp_path: Path) -> None:
    odd = record("a.jpg", Finding("x", "file.odd", details={"a": "\ud800", "b": float("nan")}))
    exports.write_jsonl(tmp_path / "o.jsonl", [odd])
    details = json.loads((tmp_path / "o.jsonl").read_bytes())["findings"][0]["details"]
    assert details == {"a": "\ud800", "b": None}


def test_csv_runs_no_formula_and_keeps_every_name(tmp_path: Path) -> None:
    exports.write_csv(tmp_path / "o.csv", records())
    assert (tmp_path / "o.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "o.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(exports.COLUMNS)
    for row, path in zip(rows, HOSTILE, strict=True):
        assert row["path"].removeprefix("'") == path
        assert not row["path"].startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
        assert row["integrity"] == "intact"
        assert row["rests_on"] == "label.iptc.source_type"
        assert row["camera"] == "Sample =One"
        assert row["gps"] == "true"


def test_a_pipe_gets_csv_without_a_mark() -> None:
    stream = io.BytesIO()
    exports.write_csv(stream, records())
    assert stream.getvalue().startswith(b"path,")
    assert not stream.closed


def test_sarif_has_one_result_per_finding_that_matters(tmp_path: Path) -> None:
    quiet = Finding("x", "file.extension")
    failed = Finding("c2pa", "c2pa.failed")
    relation = Relation("near_duplicate", ("ab", "cd"), "copy.near_duplicate")
    given = [*records(), record("b.jpg", quiet, failed, DECLARED, DECLARED)]
    exports.write_sarif(tmp_path / "o.sarif", given, [relation], {"paths": 12})
    document = json.loads((tmp_path / "o.sarif").read_bytes())
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert len(run["results"]) == len(HOSTILE) + 2
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert result["message"]["text"]
    uris = [
        item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for item in run["results"][: len(HOSTILE)]
    ]
    assert [unquote(uri) for uri in uris] == list(HOSTILE)
    assert all(uri.isascii() and not set(uri) & set(' "<>\\^`{|}\n:') for uri in uris)
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["descriptor"]["id"] == "c2pa.failed"
    assert run["properties"]["relations"] == [relation.to_json()]
    assert run["properties"]["paths"] == 12
    assert rules[0]["help"]["text"]


def test_sarif_fingerprints_follow_the_content_not_the_place(tmp_path: Path) -> None:
    def prints(*given: Record) -> list[str]:
        exports.write_sarif(tmp_path / "o.sarif", given)
        (run,) = json.loads((tmp_path / "o.sarif").read_bytes())["runs"]
        return [item["partialFingerprints"]["counterproof/v1"] for item in run["results"]]

    one, two = prints(record("a.jpg", DECLARED, DECLARED))
    assert one != two
    assert prints(record("moved/b.jpg", DECLARED)) == [one]


def test_sarif_speaks_chinese(tmp_path: Path) -> None:
    exports.write_sarif(tmp_path / "o.sarif", records()[:1], words=catalogue("zh"))
    (run,) = json.loads((tmp_path / "o.sarif").read_bytes())["runs"]
    assert run["tool"]["driver"]["language"] == "zh-CN"
    assert not run["results"][0]["message"]["text"].isascii()


def test_parquet_holds_the_columns_and_gives_the_paths_back(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'scale'")
    exports.write_parquet(tmp_path / "o.parquet", records())
    assert tuple(exports.read_paths_parquet(tmp_path / "o.parquet")) == HOSTILE
    table = parquet.read_table(tmp_path / "o.parquet")
    assert table.column_names == [*exports.COLUMNS, "record"]
    assert table["bytes"].to_pylist() == [1234] * len(HOSTILE)
    again = [Record.from_json(json.loads(text)) for text in table["record"].to_pylist()]
    assert again == records()


def test_parquet_says_what_is_wrong_with_a_list(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'scale'")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "no.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match="expected a parquet file"):
        list(exports.read_paths_parquet(tmp_path / "no.parquet"))
    parquet.write_table(pyarrow.table({"name": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="expected a column 'path', got name"):
        list(exports.read_paths_parquet(tmp_path / "other.parquet"))


def test_parquet_without_its_extra_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'counterproof\[scale\]'"):
        exports.open_writer(tmp_path / "o.parquet", "parquet")
    with pytest.raises(MissingExtra):
        list(exports.read_paths_parquet(tmp_path / "o.parquet"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fmt", ["jsonl", "json", "csv", "sarif"])
def test_a_run_that_breaks_off_leaves_the_old_file(tmp_path: Path, fmt: str) -> None:
    path = tmp_path / f"o.{fmt}"
    path.write_text("old")

    def breaks() -> None:
        with exports.open_writer(path, fmt) as writer:
            writer.write(records()[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("fmt", ["jsonl", "csv", "sarif"])
def test_a_full_disk_is_one_line_that_names_the_file(fmt: str) -> None:
    with pytest.raises(UserError, match="/dev/full: cannot write: No space left on device"):
        exports._write(fmt, "/dev/full", records() * 100)


def test_a_missing_folder_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no/o\.csv: cannot write"):
        exports.write_csv(tmp_path / "no" / "o.csv", [])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("old")
    (tmp_path / "here.csv").symlink_to("there.csv")
    exports.write_csv(tmp_path / "here.csv", [])
    assert (tmp_path / "here.csv").is_symlink()
    assert "sha256" in (tmp_path / "there.csv").read_text()


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("a.CSV", "csv"), ("a.htm", "html"), ("b.ndjson", "jsonl"), ("c.sarif", "sarif")],
)
def test_the_suffix_names_the_format(name: str, fmt: str) -> None:
    assert exports.format_of(name) == fmt


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(UserError, match=r"o\.xls: expected a name that ends in one of \.html"):
        exports.format_of("o.xls")
    with pytest.raises(UserError, match="print it"):
        exports.format_of("o.pdf")


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["jsonl", "json", "csv", "sarif"])
def test_memory_is_flat(fmt: str) -> None:
    class Sink(io.RawIOBase):
        def write(self, data: object) -> int:
            return len(data)  # type: ignore[arg-type]

    def many(number: int) -> Iterator[Record]:
        for n in range(number):
            if n % 200 == 0:
                gc.collect()  # what waits for the collector is not growth
            yield record(f"{n}.jpg", DECLARED)

    def peak(number: int) -> int:
        tracemalloc.start()
        exports._write(fmt, Sink(), many(number))  # type: ignore[arg-type]
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)
    assert peak(2000) < 1.2 * peak(500)
