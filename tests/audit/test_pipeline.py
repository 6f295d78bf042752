"""What becomes of marks between two files."""

import datetime as dt
from typing import Any

import pytest

from counterproof.audit.pipeline import follow
from counterproof.audit.verdict import decide
from counterproof.findings import Basis, Claim, FileInfo, Finding, Record, RunInfo

RAN = dict.fromkeys(("c2pa", "labels", "rights", "watermark"), "1")


def record(*findings: Finding, ran: dict[str, str] = RAN) -> Record:
    run = RunInfo("0", "standard", ran, {}, dt.date(2026, 11, 29).isoformat())
    return Record("a", "0" * 64, FileInfo(), {}, findings, decide(findings), run)


def credential(state: str, manifest: str, **details: Any) -> Finding:
    answers = {"integrity": state, "trust": "unlisted", "time": "in_validity"}
    whole = {"answers": {**answers, "history": "complete", "origin": "synthetic"}}
    details = whole | {"manifest": manifest} | details
    claim = Claim.SYNTHETIC if state == "intact" else Claim.ALTERED
    return Finding("c2pa", f"c2pa.manifest.{state}", claim, Basis.DECLARED, details=details)


IPTC = Finding(
    "labels",
    "label.iptc.source_type",
    Claim.SYNTHETIC,
    Basis.DECLARED,
    details={"source_type": "trainedAlgorithmicMedia"},
)
MARK = Finding(
    "watermark", "watermark.unchecked", Claim.SYNTHETIC, Basis.DECLARED, details={"id": "7"}
)
CHILD = credential("intact", "b", history={"ingredients": [{"step": {"manifest": "a"}}]})


@pytest.mark.parametrize(
    ("before", "after", "outcome", "states"),
    [
        ([IPTC, MARK], [IPTC, MARK], "pass", {"iptc": "kept", "watermark": "kept"}),
        ([IPTC, MARK], [MARK], "fail", {"iptc": "lost", "watermark": "kept"}),
        ([], [IPTC], "not_applicable", {"iptc": "added", "watermark": "absent"}),
        ([credential("intact", "a")], [], "fail", {"credential": "lost"}),
        (
            [credential("intact", "a")],
            [credential("broken", "a")],
            "fail",
            {"credential": "broken"},
        ),
        ([credential("intact", "a")], [CHILD], "pass", {"credential": "kept"}),
        ([IPTC], [Finding("labels", "label.failed")], "unknown", {"iptc": "not_looked"}),
    ],
)
def test_what_became_of_a_mark(
    before: list[Finding], after: list[Finding], outcome: str, states: dict[str, str]
) -> None:
    found = follow(record(*before), record(*after))
    assert found.outcome == outcome
    got = {mark.kind: mark.state for mark in found.marks}
    assert states.items() <= got.items()


def test_a_check_that_did_not_run_loses_nothing() -> None:
    found = follow(record(IPTC), record(ran={}))
    assert (found.outcome, found.lost) == ("unknown", ())


def test_a_visible_label_may_still_be_in_the_pixels() -> None:
    marking = {"label": {"text": "AI"}}
    found = follow(record(credential("intact", "a", marking=marking)), record())
    assert {m.kind: m.state for m in found.marks}["visible"] == "not_looked"
