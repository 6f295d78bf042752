"""Rules: what is judged of a finished record whenever it is shown, and never cached.

A rule adds findings that claim nothing about the picture itself (a policy, a missing label),
so it cannot move the status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from counterproof.analysis import Rule
from counterproof.findings import Claim, Record
from counterproof.settings import Settings

__all__ = ["RULES", "judge", "judge_all"]

RULES: dict[str, Rule] = {}


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
