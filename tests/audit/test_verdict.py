"""The verdict table: every status, with made-up findings, and its one property."""

import itertools
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterproof.audit.verdict import decide
from counterproof.findings import (
    Answers,
    Basis,
    Claim,
    Finding,
    History,
    Integrity,
    Origin,
    Status,
    Time,
    Trust,
)


def found(
    code: str, claim: Claim = Claim.NONE, basis: Basis = Basis.HEURISTIC, **details: Any
) -> Finding:
    return Finding("test", code, claim=claim, basis=basis, details=details)


def credential(
    state: str = "verified",
    claim: Claim = Claim.NONE,
    integrity: Integrity = Integrity.INTACT,
    trust: Trust = Trust.OFFICIAL,
    time: Time = Time.TIMESTAMPED,
    history: History = History.COMPLETE,
    **details: Any,
) -> Finding:
    answers = Answers(integrity, trust, time, history, Origin.NONE)
    cryptographic = state in ("verified", "broken")
    return found(
        f"c2pa.manifest.{state}",
        claim,
        Basis.CRYPTOGRAPHIC if cryptographic else Basis.DECLARED,
        answers=answers.to_json(),
        **details,
    )


SYNTHETIC_LABEL = found("label.iptc.source_type", Claim.SYNTHETIC, Basis.DECLARED)
EDITED_LABEL = found("label.iptc.source_type", Claim.MODEL_EDITED, Basis.DECLARED)
CAPTURED_LABEL = found("label.iptc.source_type", Claim.CAPTURED, Basis.DECLARED)
MARK = found("watermark.match", Claim.SYNTHETIC, Basis.MARK)
DETECTOR = found("detector.synthetic", Claim.SYNTHETIC, Basis.STATISTICAL)
FORGERY = found("forgery.copy_move", Claim.ALTERED, Basis.STATISTICAL)
CAPTURE = credential(claim=Claim.CAPTURED)
BROKEN = credential("broken", Claim.ALTERED, Integrity.BROKEN)
unlisted = partial(credential, trust=Trust.UNLISTED)

ROWS: list[tuple[Status, list[Finding]]] = [
    (Status.UNREADABLE, [found("file.unreadable")]),
    (Status.CONFLICT, [CAPTURE, SYNTHETIC_LABEL]),
    (Status.CONFLICT, [CAPTURE, EDITED_LABEL]),
    (Status.CONFLICT, [CAPTURE, MARK]),
    (Status.CONFLICT, [CAPTURED_LABEL, SYNTHETIC_LABEL]),
    (Status.CONFLICT, [CAPTURED_LABEL, EDITED_LABEL]),
    (Status.CONFLICT, [unlisted("intact", Claim.CAPTURED), SYNTHETIC_LABEL]),
    (Status.CONFLICT, [found("watermark.transplanted", Claim.SYNTHETIC, Basis.MARK)]),
    (Status.ALTERED, [BROKEN]),
    (Status.ALTERED, [BROKEN, SYNTHETIC_LABEL]),
    (
        Status.ALTERED,
        [
            credential(claim=Claim.SYNTHETIC, history=History.BROKEN),
            found("c2pa.parent.broken", Claim.ALTERED, Basis.CRYPTOGRAPHIC),
        ],
    ),
    (Status.SYNTHETIC_VERIFIED, [credential(claim=Claim.SYNTHETIC)]),
    (Status.SYNTHETIC_VERIFIED, [MARK]),
    (Status.SYNTHETIC_VERIFIED, [MARK, CAPTURED_LABEL]),
    (Status.MODEL_EDITED_VERIFIED, [credential(claim=Claim.MODEL_EDITED), SYNTHETIC_LABEL]),
    (Status.CAPTURED_VERIFIED, [CAPTURE]),
    (Status.CAPTURED_VERIFIED, [CAPTURE, DETECTOR, FORGERY]),
    (Status.SYNTHETIC_DECLARED, [SYNTHETIC_LABEL]),
    (Status.SYNTHETIC_DECLARED, [SYNTHETIC_LABEL, EDITED_LABEL]),
    (Status.SYNTHETIC_DECLARED, [unlisted("intact", Claim.SYNTHETIC)]),
    (
        Status.SYNTHETIC_DECLARED,
        [unlisted("unchecked", Claim.SYNTHETIC, Integrity.UNCHECKED)],
    ),
    (Status.SYNTHETIC_DECLARED, [credential(), SYNTHETIC_LABEL]),
    (Status.SYNTHETIC_DECLARED, [found("watermark.unchecked", Claim.SYNTHETIC, Basis.DECLARED)]),
    (Status.MODEL_EDITED_DECLARED, [EDITED_LABEL]),
    (Status.PROVENANCE_VERIFIED, [credential()]),
    (Status.PROVENANCE_VERIFIED, [credential(), DETECTOR]),
    # a verified capture whose history is not whole says who signed, no more
    (Status.PROVENANCE_VERIFIED, [credential(claim=Claim.CAPTURED, history=History.PARTIAL)]),
    (Status.PROVENANCE_VERIFIED, [credential(claim=Claim.CAPTURED, local_identity=True)]),
    (Status.PROVENANCE_VERIFIED, [credential(claim=Claim.CAPTURED, capture_uncovered=True)]),
    (Status.SYNTHETIC_SUSPECTED, [DETECTOR]),
    (Status.SYNTHETIC_SUSPECTED, [DETECTOR, FORGERY]),
    (Status.SYNTHETIC_SUSPECTED, [DETECTOR, unlisted("intact")]),
    (Status.ALTERED_SUSPECTED, [FORGERY]),
    (Status.PROVENANCE_DECLARED, [unlisted("intact")]),
    (Status.PROVENANCE_DECLARED, [credential("intact", time=Time.EXPIRED)]),
    (Status.PROVENANCE_DECLARED, [credential("intact", trust=Trust.REVOKED)]),
    (Status.PROVENANCE_DECLARED, [unlisted("intact", Claim.CAPTURED)]),
    (Status.INCONCLUSIVE, [found("watermark.likely", Claim.SYNTHETIC, Basis.MARK)]),
    (Status.INCONCLUSIVE, [found("detector.unstable", Claim.SYNTHETIC, Basis.STATISTICAL)]),
    (Status.INCONCLUSIVE, [found("label.aigc.possible", Claim.SYNTHETIC, Basis.DECLARED)]),
    (Status.INCONCLUSIVE, [found("label.aigc.suspected", Claim.SYNTHETIC, Basis.DECLARED)]),
    (Status.INCONCLUSIVE, [found("c2pa.manifest.unparsed")]),
    (Status.INCONCLUSIVE, [found("c2pa.manifest.unfetched")]),
    (Status.INCONCLUSIVE, [found("detector.hint", Claim.SYNTHETIC, Basis.HEURISTIC)]),
    (Status.NO_EVIDENCE, []),
    (Status.NO_EVIDENCE, [CAPTURED_LABEL]),
    (Status.NO_EVIDENCE, [found("file.thumbnail.differs", Claim.EDITED)]),
    (Status.NO_EVIDENCE, [found("copy.of", Claim.COPY, Basis.STATISTICAL)]),
    (Status.NO_EVIDENCE, [found("rights.tdm", Claim.RESERVED, Basis.DECLARED)]),
    (Status.NO_EVIDENCE, [found("privacy.gps", Claim.PERSONAL_DATA, Basis.DECLARED)]),
    (Status.NO_EVIDENCE, [found("c2pa.failed"), found("detector.timeout")]),
]


@pytest.mark.parametrize(("status", "findings"), ROWS)
def test_each_row_of_the_table(status: Status, findings: list[Finding]) -> None:
    for order in itertools.permutations(findings):
        assert decide(order).status is status


def test_every_status_has_a_row() -> None:
    assert {status for status, _ in ROWS} == set(Status)


def test_the_verdict_names_what_it_rests_on_and_what_speaks_against_it() -> None:
    verdict = decide([MARK, CAPTURED_LABEL, DETECTOR])
    assert verdict.rests_on == ("watermark.match",)
    assert verdict.against == ("label.iptc.source_type",)
    conflict = decide([CAPTURE, SYNTHETIC_LABEL])
    assert conflict.rests_on == ("c2pa.manifest.verified", "label.iptc.source_type")


def test_answers_come_from_the_credential() -> None:
    verdict = decide([credential("intact", trust=Trust.UNLISTED, time=Time.EXPIRED)])
    assert verdict.answers.trust is Trust.UNLISTED
    assert verdict.answers.time is Time.EXPIRED
    assert verdict.status is Status.PROVENANCE_DECLARED


_SAYS = {
    Status.SYNTHETIC_VERIFIED: "model",
    Status.SYNTHETIC_DECLARED: "model",
    Status.SYNTHETIC_SUSPECTED: "model",
    Status.MODEL_EDITED_VERIFIED: "model",
    Status.MODEL_EDITED_DECLARED: "model",
    Status.CAPTURED_VERIFIED: "captured",
}
_CLAIMS = (Claim.SYNTHETIC, Claim.MODEL_EDITED, Claim.CAPTURED, Claim.ALTERED, Claim.NONE)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    claim = draw(st.sampled_from(_CLAIMS))
    basis = draw(st.sampled_from(list(Basis)))
    if basis is Basis.CRYPTOGRAPHIC:
        if claim is Claim.ALTERED:
            return BROKEN
        return credential(claim=claim, history=draw(st.sampled_from(list(History))))
    weak = draw(st.booleans())
    if basis is Basis.MARK:
        return found("watermark.likely" if weak else "watermark.match", claim, basis)
    if basis is Basis.DECLARED:
        if draw(st.booleans()):
            return credential("intact", claim, trust=Trust.UNLISTED)
        return found("label.aigc.possible" if weak else "label.aigc.declared", claim, basis)
    return found("detector.unstable" if weak else "detector.x", claim, basis)


def one_credential(found: list[Finding]) -> bool:
    """A picture has one active manifest."""
    return sum(finding.code.startswith("c2pa.manifest.") for finding in found) <= 1


@given(st.lists(findings(), max_size=4).filter(one_credential), findings())
@settings(max_examples=400, deadline=None)
def test_weaker_evidence_never_turns_a_claim_into_its_opposite(
    before: list[Finding], added: Finding
) -> None:
    if not one_credential([*before, added]):
        return
    old = decide(before)
    carried = [f for f in before if f.code in old.rests_on and not f.is_weak]
    if not carried or old.status not in _SAYS:
        return
    if max(f.basis.strength for f in carried) <= added.basis.strength:
        return
    new = decide([*before, added])
    assert new.status is Status.CONFLICT or _SAYS.get(new.status) == _SAYS[old.status]


@given(st.lists(findings(), max_size=5), st.sampled_from(["edited", "copy", "reserved", "none"]))
@settings(max_examples=150, deadline=None)
def test_findings_that_say_nothing_of_origin_never_move_the_status(
    before: list[Finding], claim: str
) -> None:
    extra = found("rights.note", Claim(claim), Basis.DECLARED)
    assert decide([*before, extra]).status is decide(before).status
