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

__all__ = ["RULES", "judge", "judge_all", "label_missing"]

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


RULES: dict[str, Rule] = {"label_missing": label_missing}


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
