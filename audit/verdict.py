"""From findings to one status: the verdict table, read from the top.

`decide` is a pure function of the findings. The first row that applies gives the status.
Bases rise from `heuristic` to `cryptographic`; only findings that are *declared* or stronger
can contradict one another, and adding a finding of a weaker basis never turns a claim into
its opposite (`tests/audit/test_verdict.py` holds this as a property).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from counterproof.findings import (
    Answers,
    Basis,
    Claim,
    Finding,
    History,
    Integrity,
    Status,
    Verdict,
)

__all__ = ["decide"]

_ADMISSIONS = (Claim.SYNTHETIC, Claim.MODEL_EDITED)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The findings of one picture, asked by claim and basis."""

    findings: Sequence[Finding]
    answers: Answers
    credential: Finding | None

    def claims(self, claim: Claim, *bases: Basis) -> list[Finding]:
        """Return the firm findings with this claim on one of these bases."""
        return [
            finding
            for finding in self.findings
            if finding.claim is claim and finding.basis in bases and not finding.is_weak
        ]

    def verified(self, claim: Claim) -> list[Finding]:
        return self.claims(claim, Basis.CRYPTOGRAPHIC, Basis.MARK)

    def declared(self, claim: Claim) -> list[Finding]:
        return self.claims(claim, Basis.DECLARED)

    def coded(self, *codes: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.code in codes]


def decide(findings: Iterable[Finding]) -> Verdict:
    """Return the status of one picture, what it rests on and what speaks against it.

    Source: the verdict table in docs/contract.md.
    """
    every = tuple(findings)
    credential = next((f for f in every if f.code.startswith("c2pa.manifest.")), None)
    answers = Answers()
    if credential is not None and "answers" in credential.details:
        answers = Answers.from_json(credential.details["answers"])
    evidence = _Evidence(every, answers, credential)
    for status, row in _TABLE:
        if found := row(evidence):
            return Verdict(status, answers, _codes(found), _against(status, evidence, found))
    return Verdict(Status.NO_EVIDENCE, answers)


def _codes(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.code for finding in findings))


def _against(status: Status, evidence: _Evidence, found: list[Finding]) -> tuple[str, ...]:
    """Name the findings that claim the opposite of what the status says."""
    if status is Status.CONFLICT:
        return ()
    said = {finding.claim for finding in found}
    opposite: set[Claim] = set()
    if said & set(_ADMISSIONS):
        opposite = {Claim.CAPTURED}
    elif Claim.CAPTURED in said:
        opposite = {*_ADMISSIONS, Claim.ALTERED}
    return _codes(f for f in evidence.findings if f.claim in opposite and f not in found)


def _unreadable(evidence: _Evidence) -> list[Finding]:
    return evidence.coded("file.unreadable")


def _conflict(evidence: _Evidence) -> list[Finding]:
    """Find statements that cannot hold together.

    An admission (made or edited by a model) counts from anyone, also beside a verified
    capture. A vouching declaration (captured) contests other declarations only.
    """
    transplanted = [f for f in evidence.findings if f.state == "transplanted"]
    if transplanted:
        return transplanted
    proven = [f for claim in _ADMISSIONS for f in evidence.verified(claim)]
    admitted = [f for claim in _ADMISSIONS for f in evidence.declared(claim)]
    if captured := evidence.verified(Claim.CAPTURED):
        return captured + proven + admitted if proven or admitted else []
    vouched = evidence.declared(Claim.CAPTURED)
    return vouched + admitted if vouched and admitted and not proven else []


def _altered(evidence: _Evidence) -> list[Finding]:
    return evidence.claims(Claim.ALTERED, Basis.CRYPTOGRAPHIC)


def _captured_verified(evidence: _Evidence) -> list[Finding]:
    """A verified capture whose whole history is known and signed by more than our own key."""
    found = evidence.claims(Claim.CAPTURED, Basis.CRYPTOGRAPHIC)
    details = evidence.credential.details if evidence.credential else {}
    complete = evidence.answers.history is History.COMPLETE and evidence.answers.verified
    uncovered = details.get("local_identity") or details.get("capture_uncovered")
    return found if found and complete and not uncovered else []


def _provenance_verified(evidence: _Evidence) -> list[Finding]:
    return evidence.coded("c2pa.manifest.verified") if evidence.answers.verified else []


def _provenance_declared(evidence: _Evidence) -> list[Finding]:
    read = (Integrity.INTACT, Integrity.UNCHECKED)
    if evidence.credential is None or evidence.answers.integrity not in read:
        return []
    return [evidence.credential]


def _inconclusive(evidence: _Evidence) -> list[Finding]:
    """Claims too weak or too split to carry a status of their own."""
    claims = (*_ADMISSIONS, Claim.ALTERED)
    return [
        finding
        for finding in evidence.findings
        if finding.is_weak
        or (finding.claim in claims and finding.basis.strength <= Basis.STATISTICAL.strength)
    ]


def _suspected(claim: Claim, *bases: Basis) -> Callable[[_Evidence], list[Finding]]:
    return lambda evidence: evidence.claims(claim, *bases)


_TABLE: tuple[tuple[Status, Callable[[_Evidence], list[Finding]]], ...] = (
    (Status.UNREADABLE, _unreadable),
    (Status.CONFLICT, _conflict),
    (Status.ALTERED, _altered),
    (Status.SYNTHETIC_VERIFIED, lambda e: e.verified(Claim.SYNTHETIC)),
    (Status.MODEL_EDITED_VERIFIED, lambda e: e.verified(Claim.MODEL_EDITED)),
    (Status.CAPTURED_VERIFIED, _captured_verified),
    (Status.SYNTHETIC_DECLARED, lambda e: e.declared(Claim.SYNTHETIC)),
    (Status.MODEL_EDITED_DECLARED, lambda e: e.declared(Claim.MODEL_EDITED)),
    (Status.PROVENANCE_VERIFIED, _provenance_verified),
    (Status.SYNTHETIC_SUSPECTED, _suspected(Claim.SYNTHETIC, Basis.STATISTICAL)),
    (Status.ALTERED_SUSPECTED, _suspected(Claim.ALTERED, Basis.STATISTICAL)),
    (Status.PROVENANCE_DECLARED, _provenance_declared),
    (Status.INCONCLUSIVE, _inconclusive),
)
