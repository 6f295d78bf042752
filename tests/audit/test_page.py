"""What a page says of one picture, before any layout."""

import inspect
import re
from typing import Any

import pytest

from counterproof.analysis import Stage
from counterproof.audit.history import steps
from counterproof.audit.page import Coverage, name_of, needs_eyes, page, rank, shown, size_of
from counterproof.audit.quotes import quotes
from counterproof.audit.verdict import decide
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
)
from counterproof.text import Catalogue, catalogue

EN = catalogue("en")
RUN = RunInfo("0.1.0", "standard", {}, {}, "2026-11-23")
CAPTURED = Answers(
    Integrity.INTACT, Trust.OFFICIAL, Time.TIMESTAMPED, History.COMPLETE, Origin.CAPTURED
)


def record(*findings: Finding, path: str = "press/a.jpg", **facts: Any) -> Record:
    info = FileInfo("jpeg", "image/jpeg", 2_100_000, 3000, 2000, 1, "RGB", 8)
    return Record(path, "ab" * 32, info, facts, findings, decide(findings), RUN)


def credential(answers: Answers, claim: Claim, **details: Any) -> Finding:
    state = "verified" if answers.verified else "intact"
    basis = Basis.CRYPTOGRAPHIC if answers.verified else Basis.DECLARED
    details = {"answers": answers.to_json(), **details}
    return Finding("c2pa", f"c2pa.manifest.{state}", claim, basis, details=details)


def label(claim: Claim = Claim.SYNTHETIC, value: str = "trainedAlgorithmicMedia") -> Finding:
    details = {"source_type": value, "value": value, "where": [{"kind": "xmp", "offset": 9}]}
    return Finding(
        "labels", "label.iptc.source_type", claim, Basis.DECLARED, Severity.MEDIUM, details=details
    )


def node(**values: Any) -> dict[str, Any]:
    empty = {"actions": [], "source_types": [], "ingredients": [], "signer": "", "trust": "none"}
    return empty | values


def test_a_conflict_shows_both_sides_first() -> None:
    quiet = Finding("file", "file.extension")
    said = page(record(quiet, credential(CAPTURED, Claim.CAPTURED), label()), EN)
    assert said.status is Status.CONFLICT
    assert [reason.code for reason in said.reasons] == [
        "c2pa.manifest.verified",
        "label.iptc.source_type",
        "file.extension",
    ]
    assert [reason.carries for reason in said.reasons] == [True, True, False]
    assert len(said.headline) == 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_five_answers_even_when_there_is_none(language: str) -> None:
    said = page(record(), catalogue(language))
    assert [answer.question for answer in said.answers] == [
        "integrity",
        "trust",
        "time",
        "history",
        "origin",
    ]
    assert {answer.word for answer in said.answers} == {"none"}
    assert all(answer.asks and answer.says for answer in said.answers)


def test_what_did_not_run_is_named_with_its_reason() -> None:
    failed = Finding("c2pa", "c2pa.timeout", details={"message": "stopped after 10 s"})
    coverage = Coverage("quick", frozenset({"label"}), {"detector": Stage.STANDARD})
    said = page(record(failed), EN, coverage)
    texts = [f"{line.label} {line.value}" for line in said.unchecked]
    assert any("stopped after 10 s" in text for text in texts)
    assert any(EN.ui("gap.detector") in text and "standard" in text for text in texts)
    assert any(EN.ui("gap.watermark") in t and EN.ui("gap.absent") in t for t in texts)
    assert not any(EN.ui("gap.label") in text for text in texts)
    assert not said.reasons


def test_commands_can_be_pasted() -> None:
    said = page(record(path="-a b'c.jpg"), EN, Coverage("quick", frozenset(), {"x": Stage.DEEP}))
    assert said.commands[0] == "counterproof show --profile deep './-a b'\"'\"'c.jpg'"
    assert not page(record(path="a\x1b.jpg"), EN).commands


def test_facts_are_told_as_written_and_coordinates_never() -> None:
    facts: dict[str, Any] = {
        "camera.make": "Sample\x1b[31m",
        "gps.present": True,
        "captured_at": "2026-05-01T10:00:00",
        "hash.phash": {"alg": "imagehash.phash.64", "value": "c3d4"},
        "other.thing": [1, 2],
    }
    said = page(record(**facts), EN)
    lines = {line.label: line.value for line in said.facts}
    assert lines[EN.ui("fact.camera.make")] == "Sample\\x1b[31m"
    assert lines[EN.ui("fact.gps.present")] == EN.ui("fact.yes")
    assert lines["other.thing"] == "1, 2"
    assert [(line.label, line.value) for line in said.hashes] == [("imagehash.phash.64", "c3d4")]


def test_pictures_that_contradict_themselves_come_first() -> None:
    captured = record(credential(CAPTURED, Claim.CAPTURED))
    conflict = record(credential(CAPTURED, Claim.CAPTURED), label())
    silent = record()
    stakes = record(Finding("privacy", "privacy.gps", severity=Severity.MEDIUM))
    assert sorted([silent, captured, stakes, conflict], key=rank) == [
        conflict,
        captured,
        stakes,
        silent,
    ]
    assert [needs_eyes(item) for item in (conflict, stakes, captured, silent)] == [
        True,
        True,
        False,
        False,
    ]


def test_history_is_a_line_from_the_camera_to_the_publisher() -> None:
    camera = node(
        generator="Sample Camera 1.0",
        signer="Sample Camera",
        trust="official",
        signed_at="2026-05-01T10:00:00+00:00",
        actions=["c2pa.created"],
        source_types=["digitalCapture"],
    )
    logo: dict[str, Any] = {
        "relationship": "componentOf",
        "title": "logo.png",
        "step": None,
        "broken": [],
    }
    prompt = {"relationship": "inputTo", "title": "prompt.txt", "step": None}
    parent = {"relationship": "parentOf", "title": "a.jpg", "step": camera, "broken": []}
    tree = node(
        generator="Sample Editor",
        signer="Nobody Known",
        trust="unlisted",
        actions=["c2pa.opened", "c2pa.cropped", "c2pa.published"],
        ingredients=[parent, logo, prompt],
    )
    found = steps(record(credential(CAPTURED, Claim.CAPTURED, history=tree)), EN)
    assert [(step.kind, step.state) for step in found] == [
        ("captured", "intact"),
        ("placed", "missing"),
        ("edited", "intact"),
        ("published", "intact"),
    ]
    assert found[0].signer == EN.ui("history.signed", name="Sample Camera")
    assert found[0].when == "2026-05-01 10:00 UTC"
    assert found[2].what == EN.ui("action.c2pa.cropped")
    assert found[3].signer == EN.ui("history.claims", name="Nobody Known")


def test_a_parent_that_was_changed_is_marked() -> None:
    made = node(actions=["c2pa.created"], source_types=["trainedAlgorithmicMedia"])
    parent = {"relationship": "parentOf", "step": made, "broken": ["assertion.dataHash.mismatch"]}
    tree = node(actions=["c2pa.opened"], ingredients=[parent])
    found = steps(record(credential(CAPTURED, Claim.NONE, history=tree)), EN)
    assert [(step.kind, step.state) for step in found] == [("made", "broken"), ("opened", "intact")]
    assert found[0].note == EN.ui("history.broken")


@pytest.mark.parametrize("tree", [None, [], "x", {"ingredients": "x", "actions": 3}, {}])
def test_history_bears_any_shape(tree: Any) -> None:
    steps(record(credential(CAPTURED, Claim.NONE, history=tree)), EN)


def test_a_long_history_is_cut_in_the_middle() -> None:
    tree = node(actions=["c2pa.created"])
    for _ in range(30):
        tree = node(
            actions=["c2pa.cropped"], ingredients=[{"relationship": "parentOf", "step": tree}]
        )
    found = steps(record(credential(CAPTURED, Claim.NONE, history=tree)), EN)
    assert len(found) == 25
    assert (found[0].kind, found[-1].kind) == ("created", "edited")


def test_quotes_are_chosen_and_in_words() -> None:
    signer = {"name": "Camera", "organisation": "Maker", "list": {"name": "L", "date": "2026"}}
    found = credential(
        CAPTURED,
        Claim.CAPTURED,
        signer=signer,
        revocation="not_checked",
        digital_source_types=[{"type": "digitalCapture"}],
        codes={"success": {}},
    )
    lines = {line.label: line.value for line in quotes(found, EN)}
    assert lines[EN.ui("detail.signer")] == "Camera (Maker)"
    assert lines[EN.ui("detail.revocation")] == EN.ui("revocation.not_checked")
    assert lines[EN.ui("detail.source_types")] == EN.ui("source_type.digitalCapture")
    assert "codes" not in lines
    (value, where) = quotes(label(), EN)
    assert value.value == "trainedAlgorithmicMedia"
    assert where.value == "XMP"


@pytest.mark.parametrize("value", [None, 1, 1.5, True, "x" * 9999, [[1]], {"a": {"b": [2]}}, []])
@pytest.mark.parametrize(
    "code",
    ["c2pa.manifest.verified", "c2pa.parent.broken", "c2pa.parent.claim", "label.aigc.declared"],
)
def test_quotes_bear_any_shape(code: str, value: Any) -> None:
    names = ("signer", "timestamp", "actions", "codes", "statements", "labels", "reasons", "where")
    for line in quotes(Finding("x", code, details=dict.fromkeys(names, value)), EN):
        assert len(line.value) <= 400


def test_small_words() -> None:
    assert name_of("a/b/") == "b"
    assert name_of("\\xff.jpg") == "\\xff.jpg"
    assert size_of(999_999) == "1.0 MB"
    assert shown({"a": [1]}) == '{"a": [1]}'
    assert len(shown("x" * 999)) == 200


@pytest.mark.parametrize("language", ["en", "zh"])
def test_answers_of_methods_in_words(language: str) -> None:
    words = catalogue(language)
    said = {
        fact: answer_in(fact, words)
        for fact in (
            "no_support", "supports", "supports: moderately_strong",
            "not_applicable: no_grid", "not_applicable: not yet known",
        )
    }  # fmt: skip
    assert len(set(said.values())) == len(said)
    assert not any("_" in text for text in said.values())
    assert "not yet known" in said["not_applicable: not yet known"]


def test_every_reason_of_a_method_has_words() -> None:
    from counterproof.audit import forgery, forgery_methods

    source = inspect.getsource(forgery_methods) + inspect.getsource(forgery)
    reasons = set(re.findall(r'_not\("\w+", "(\w+)"\)', source)) | {"no_method"}
    assert len(reasons) >= 10
    for language in ("en", "zh"):
        assert {f"method.reason.{item}" for item in reasons} <= set(
            catalogue(language).tables["ui"]
        )


def answer_in(fact: str, words: Catalogue) -> str:
    shown = page(record(**{"forgery.grid": fact}), words).facts
    return next(line.value for line in shown if line.label == words.ui("fact.forgery.grid"))
