"""Rules: what is judged of a finished record whenever it is shown, and never cached.

A rule adds findings that claim nothing about the picture itself (a policy, a missing label),
so it cannot move the status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from counterproof.analysis import Rule
from counterproof.audit.page import FAULTS
from counterproof.findings import Claim, Finding, Record, Severity, Status
from counterproof.settings import Settings

__all__ = ["RULES", "judge", "judge_all", "label_missing", "library_outdated"]

_MODEL_MADE = (
    Status.SYNTHETIC_VERIFIED,
    Status.SYNTHETIC_DECLARED,
    Status.MODEL_EDITED_VERIFIED,
    Status.MODEL_EDITED_DECLARED,
)
_LABEL_READERS = {"c2pa", "labels"}


def label_missing(record: Record, settings: Settings) -> Iterator[Finding]:
    """Point at what a model made, as other findings say, that carries no machine-readable label.

    Silent where labels or credentials were not looked for, or broke off.
    """
    from counterproof.audit.policy_answers import standard_marks

    broke = any(f.prefix in ("c2pa", "label") and f.state in FAULTS for f in record.findings)
    if record.verdict.status not in _MODEL_MADE or broke:
        return
    if record.run.analyzers.keys() >= _LABEL_READERS and not standard_marks(record):
        yield Finding("policy", "label.missing", severity=Severity.MEDIUM)


def library_outdated(record: Record, settings: Settings) -> Iterator[Finding]:
    """Point at a credential that a library below the floor read: a kept record of an old scan.

    A new scan reads such a file again; a report made from the case alone cannot.
    """
    from counterproof.provenance.manifest_store import NATIVE_FLOOR, is_outdated

    for finding in record.findings:
        if finding.code.startswith("c2pa.manifest."):
            library = str(finding.details.get("library", ""))
            if is_outdated(library):
                floor = ".".join(map(str, NATIVE_FLOOR))
                details = {"library": library, "floor": f"c2pa-rs {floor}"}
                yield Finding(
                    "policy", "c2pa.library.outdated", severity=Severity.HIGH, details=details
                )


RULES: dict[str, Rule] = {"label_missing": label_missing, "library_outdated": library_outdated}


def judge(record: Record, settings: Settings) -> Record:
    """Return the record with the findings of every rule.

    Raises:
        ValueError: if a rule makes a claim about the picture.
    """
    added = [finding for rule in RULES.values() for finding in rule(record, settings)]
    for finding in added:
        if finding.claim is not Claim.NONE:
            raise ValueError(
                f"rule finding {finding.code} claims {finding.claim}; rules judge only"
            )
    return replace(record, findings=record.findings + tuple(added)) if added else record


def judge_all(records: Iterable[Record], settings: Settings) -> Iterator[Record]:
    """Apply `judge` to each record as it passes."""
    return (judge(record, settings) for record in records)
