"""The case: order, memory of what was found, merging, and files that are no case."""

import datetime as dt
import os
import sqlite3
from pathlib import Path

import pytest

from counterproof.audit.case import Case, Note, Source, display_path
from counterproof.audit.verdict import decide
from counterproof.errors import CaseError
from counterproof.findings import Blob, FileInfo, Finding, Record, Relation, RunInfo, Status

RUN = RunInfo("0", "quick", {"file": "1"}, {}, "2026-01-01")
DAY = dt.date(2026, 1, 1)


def record(sha256: str, *findings: Finding) -> Record:
    return Record("", sha256, FileInfo("jpeg"), {"n": 1}, findings, decide(findings), RUN)


def put(case: Case, path: str, sha256: str, position: int, *findings: Finding) -> None:
    case.put_record(record(sha256, *findings), "", "f")
    case.put_source(Source(path, 1, 2, sha256=sha256), "f", position)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    opened = Case.open(tmp_path / "x.case", create=True)
    opened.begin_scan(RUN)
    return opened


def test_records_come_in_input_order_with_their_paths(case: Case) -> None:
    for position, name in enumerate(("b", "a", "c")):
        put(case, name, name * 64, position)
    case.put_source(Source("gone", problem="missing: gone: no such file"), "f", 3)
    found = list(case.records())
    assert [item.path for item in found] == ["b", "a", "c", "gone"]
    assert found[3].verdict.status is Status.UNREADABLE
    said = {"thing": "file", "cause": "missing", "message": "no such file"}
    assert found[3].findings[0].details == said
    assert case.counts() == {Status.UNREADABLE: 1, Status.NO_EVIDENCE: 3}
    assert found[0] == case.record_at("b")


def test_a_name_that_is_not_unicode_survives(case: Case) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    put(case, name, "0" * 64, 0)
    assert case.source(name) is not None
    assert next(case.records()).path == "caf\\xe9.jpg" == display_path(name)


def test_the_same_bytes_under_two_names_have_one_record(case: Case) -> None:
    put(case, "a", "0" * 64, 0)
    case.put_source(Source("b.png", 1, 2, sha256="0" * 64, remark="named .png, is jpeg"), "f", 1)
    first, second = case.records()
    assert first.findings == ()
    assert [finding.code for finding in second.findings] == ["file.extension"]
    assert case.paths_of("0" * 64) == ["a", "b.png"]
    assert len(list(case.facts())) == 1


def test_a_record_holds_only_between_its_days(case: Case) -> None:
    dated = Finding(
        "c2pa",
        "c2pa.manifest.intact",
        details={"holds_from": "2026-01-01", "holds_until": "2026-06-01"},
    )
    case.put_record(record("0" * 64, dated), "", "f")
    days = {"2025-12-31": False, "2026-01-01": True, "2026-05-31": True, "2026-06-01": False}
    for text, holds in days.items():
        assert case.has_record("0" * 64, "", "f", dt.date.fromisoformat(text)) is holds
    assert not case.has_record("0" * 64, "sidecar", "f", DAY)
    assert not case.has_record("0" * 64, "", "other analyzers", DAY)


def test_blobs_relations_and_notes_come_back(case: Case) -> None:
    case.put_blob("0" * 64, Blob("map.png", "image/png", b"\1\2"))
    assert case.blob("0" * 64, "map.png") == Blob("map.png", "image/png", b"\1\2")
    assert case.blob("0" * 64, "other") is None
    relation = Relation("near_duplicate", ("a", "b"), "copy.near_duplicate", {"bits": 3})
    case.replace_relations("x", [relation, relation])
    case.replace_relations("x", [relation])
    assert list(case.relations()) == [relation]
    note = Note("0" * 64, "note", "2026-01-01T00:00:00+00:00", "asked the agency")
    case.add_note(note)
    assert case.notes() == case.notes("0" * 64) == [note]
    assert case.notes("") == []


def test_what_was_written_is_there_after_closing(tmp_path: Path, case: Case) -> None:
    put(case, "a", "0" * 64, 0)
    case.close()
    with Case.open(tmp_path / "x.case") as again:
        assert again.record_count() == 1
        assert again.run() == RUN


def test_parts_merge_into_one(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        with Case.open(tmp_path / f"{name}.case", create=True) as part:
            part.begin_scan(RUN)
            put(part, name, str(number) * 64, 0)
            put(part, f"{name}-same", "f" * 64, 1)
            part.put_blob("f" * 64, Blob("map", "x/y", b"1"))
            part.add_note(Note("", "note", "2026-01-01", "the same note"))
    with Case.open(tmp_path / "whole.case", create=True) as whole:
        for name in "abc":
            with Case.open(tmp_path / f"{name}.case") as part:
                assert whole.absorb(part) == 2
        paths = [item.path for item in whole.records()]
        assert paths == ["a", "a-same", "b", "b-same", "c", "c-same"]
        assert len(whole.notes()) == 1
        with Case.open(tmp_path / "a.case") as part:
            whole.absorb(part)
        assert whole.record_count() == 6


def test_what_is_no_case_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no such case"):
        Case.open(tmp_path / "none.case")
    junk = tmp_path / "junk.case"
    junk.write_bytes(b"not a database, " * 100)
    with pytest.raises(CaseError, match=r"junk\.case: expected a counterproof case"):
        Case.open(junk)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    db.close()
    with pytest.raises(CaseError, match="another SQLite file"):
        Case.open(other)


def test_a_case_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.case"
    with Case.open(path, create=True) as case:
        case.set_meta("schema", "99")
    before = path.read_bytes()
    with pytest.raises(CaseError, match="made by a newer version"):
        Case.open(path, create=True)
    assert path.read_bytes() == before


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path, case: Case) -> None:
    put(case, "a", "0" * 64, 0)
    case.commit()
    pages = case._db.execute("PRAGMA page_count").fetchone()[0]
    case._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CaseError, match=r"x\.case: cannot write the case: .*full"):
        case.put_blob("0" * 64, Blob("large", "x/y", bytes(2**20)))
    case._db.close()
    with Case.open(tmp_path / "x.case") as again:
        assert again.record_count() == 1
