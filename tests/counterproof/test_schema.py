"""The published JSON Schema: made from the code, committed as made, and able to refuse."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from counterproof.analysis import Stage
from counterproof.audit.examine import ScanSpec, examine
from counterproof.findings import (
    Answers,
    Basis,
    Claim,
    FileInfo,
    Finding,
    History,
    Integrity,
    Origin,
    Record,
    RunInfo,
    Severity,
    Status,
    Time,
    Trust,
    Verdict,
)
from counterproof.images import ImageFile
from counterproof.schema import record_schema, schema_text
from counterproof.settings import Settings

FILE = Path(__file__).parents[2] / "counterproof" / "record.schema.json"

ANSWERS = Answers(
    Integrity.BROKEN, Trust.OFFICIAL, Time.TIMESTAMPED, History.COMPLETE, Origin.CAPTURED
)
RECORD = Record(
    path="press/minister.png",
    sha256="0f" * 32,
    file=FileInfo("png", "image/png", 1234, 640, 480, 1, "RGB", 8, planes=("thumbnail",)),
    facts={"camera.make": "X", "gps.present": False, "their.own": [1, {"a": None}]},
    findings=(
        Finding(
            "c2pa",
            "c2pa.manifest.broken",
            Claim.ALTERED,
            Basis.CRYPTOGRAPHIC,
            Severity.HIGH,
            regions=((0, 0, 10, 10),),
            evidence=("manifest",),
            details={"answers": ANSWERS.to_json()},
        ),
        Finding("d", "detector.synthetic", Claim.SYNTHETIC, Basis.STATISTICAL, probability=0.9),
    ),
    verdict=Verdict(Status.ALTERED, ANSWERS, ("c2pa.manifest.broken",), ("detector.synthetic",)),
    run=RunInfo("0.1.0", "standard", {"c2pa": "1+abc"}, {"official": "2026-06-01"}, "2026-11-01"),
)
UNREAD = Record(
    path="\\xff.jpg",
    sha256="",
    file=FileInfo(),
    facts={},
    findings=(Finding("file", "file.unreadable", details={"cause": "missing"}),),
    verdict=Verdict(Status.UNREADABLE),
    run=RunInfo("0.1.0", "quick", {}, {}, dt.date(2026, 11, 1).isoformat()),
)


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        record_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_committed_schema_is_what_the_code_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m counterproof.schema > counterproof/record.schema.json"
    )


def test_schema_names_every_field() -> None:
    schema = record_schema()
    for kind in (FileInfo, Finding, Answers, Verdict, RunInfo):
        names = [item.name for item in dataclasses.fields(kind)]
        assert list(schema["$defs"][kind.__name__]["properties"]) == names
    assert schema["$defs"]["Status"]["enum"] == [status.value for status in Status]


@pytest.mark.parametrize("record", [RECORD, UNREAD])
def test_records_are_valid_and_survive_a_round_trip(record: Record) -> None:
    value = record.to_json()
    validator().validate(value)
    assert Record.from_json(value).to_json() == value


def change(value: Any, path: str, to: Any) -> None:
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        value = value[step]
    if to is None and isinstance(last, str):
        del value[last]
    else:
        value[last] = to


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("schema", "counterproof.record/2"),
        ("extra", 1),
        ("path", None),
        ("sha256", "0F" * 32),
        ("file/width", -1),
        ("file/width", 1.5),
        ("file/orientation", 9),
        ("file/planes", None),
        ("facts/gps.present", "52.5 N"),
        ("findings/0/code", "unheard.of"),
        ("findings/0/code", "c2pa"),
        ("findings/0/claim", "photoshopped"),
        ("findings/0/regions/0", [1, 2, 3]),
        ("findings/0/regions/0", [1, 2, 3, 4, 5]),
        ("findings/0/details", {}),
        ("findings/0/details", {"answers": {"integrity": "broken"}}),
        ("findings/1/probability", 90),
        ("findings/1/evidence", "manifest"),
        ("verdict/status", "authentic"),
        ("verdict/answers/trust", "maybe"),
        ("verdict/rests_on", ["words"]),
        ("run/profile", "thorough"),
        ("run/as_of", "yesterday"),
        ("run/analyzers", {"c2pa": 1}),
    ],
)
def test_schema_refuses(path: str, to: Any) -> None:
    value = RECORD.to_json()
    change(value, path, to)
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(value)


EXAMPLES = sorted((FILE.parents[1] / "examples").glob("*.[jp][pn]g"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_records_of_the_examples_are_valid(path: Path, tmp_path: Path) -> None:
    spec = ScanSpec(Settings(home=tmp_path), Stage.STANDARD)
    record = examine(ImageFile.open(path), spec.prepare()).record
    validator().validate(record.to_json())
    assert Record.from_json(record.to_json()) == record
