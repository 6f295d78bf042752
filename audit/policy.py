"""Rules over the records of a case: how many pictures each is met by, and what that rests on.

A result is evidence for or against one rule. It never says that anybody complies with a law:
most duties bind people and systems, and several may be met by means that no file shows.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from counterproof import __version__
from counterproof.audit.policy_answers import Context, Outcome, Result
from counterproof.audit.policy_checks import CHECKS, SYSTEM_CHECKS
from counterproof.audit.policy_packs import Pack, Rule, load_packs, select
from counterproof.findings import Record

__all__ = ["POLICY_SCHEMA", "Example", "Judged", "PolicyReport", "evaluate"]

POLICY_SCHEMA = "counterproof.policy/1"
_EXAMPLES = 10  # pictures named per rule and outcome


@dataclass(frozen=True, slots=True)
class Example:
    """One picture with its answer to one rule."""

    path: str
    sha256: str
    outcome: Outcome
    reason: str
    details: dict[str, Any]


@dataclass(slots=True)
class Judged:
    """One rule with its answers.

    Attributes:
        rule: what was asked.
        standing: on the day of the audit: `in_force`, `upcoming`, `ended`, or `undated` where its
            first day was not established.
        counts: outcome → number of pictures; one answer in all for a system's fact.
        reasons: (outcome, reason) → number.
        examples: the first pictures of each outcome, *fail* and *unknown* before *pass*.
    """

    rule: Rule
    standing: str
    counts: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The gravest answer: one picture that fails is a failure to look at."""
        for outcome in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS):
            if self.counts[outcome]:
                return outcome
        return Outcome.NOT_APPLICABLE

    @property
    def state(self) -> str:
        """The standing, or for a rule in force its outcome: what is not in force never fails."""
        return self.outcome.value if self.standing == "in_force" else self.standing

    def add(self, path: str, sha256: str, result: Result) -> None:
        """Count one answer; a rule known from memory answers *unknown* whatever was found."""
        if self.rule.confidence == "recalled" and result.outcome in (Outcome.PASS, Outcome.FAIL):
            found = {"would_be": result.outcome.value, **result.details}
            result = Result(Outcome.UNKNOWN, "recalled", found)
        self.counts[result.outcome] += 1
        self.reasons[result.outcome, result.reason] += 1
        kept = sum(item.outcome is result.outcome for item in self.examples)
        if path and kept < _EXAMPLES and result.outcome is not Outcome.NOT_APPLICABLE:
            self.examples.append(
                Example(path, sha256, result.outcome, result.reason, result.details)
            )

    def to_json(self) -> dict[str, Any]:
        """Return the rule and its answers as JSON values."""
        rule = self.rule
        return {
            "id": rule.id,
            "pack": rule.pack,
            "title": {"en": rule.title.en, "zh": rule.title.zh},
            "roles": list(rule.roles),
            "markets": list(rule.markets),
            "citation": rule.citation,
            "confidence": rule.confidence,
            "in_force_from": rule.in_force.isoformat() if rule.in_force else None,
            "ended": rule.ended.isoformat() if rule.ended else None,
            "in_force": None if self.standing == "undated" else self.standing == "in_force",
            "severity": rule.severity.value,
            "check": rule.check,
            "state": self.state,
            "outcome": self.outcome.value,
            "counts": {item.value: self.counts[item] for item in Outcome},
            "reasons": [
                {"outcome": outcome.value, "reason": reason, "n": n}
                for (outcome, reason), n in sorted(self.reasons.items())
            ],
            "examples": [
                {
                    "path": item.path,
                    "sha256": item.sha256,
                    "outcome": item.outcome.value,
                    "reason": item.reason,
                    "details": item.details,
                }
                for item in self.examples
            ],
            "remedy": {"en": rule.remedy.en, "zh": rule.remedy.zh},
            "note": {"en": rule.note.en, "zh": rule.note.zh} if rule.note else None,
        }


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What rules find in a case.

    Attributes:
        as_of: the day that decides what is in force.
        markets: asked for; all if empty.
        roles: asked for; all if empty.
        content: what the operator states the pictures are; empty for nothing.
        pictures: how many records were asked.
        attested_by: who signed the questionnaire; empty if nobody did.
        packs: each with its rules, judged.
    """

    as_of: dt.date
    markets: tuple[str, ...]
    roles: tuple[str, ...]
    content: str
    pictures: int
    attested_by: str
    packs: tuple[tuple[Pack, tuple[Judged, ...]], ...]

    @property
    def judged(self) -> Iterator[Judged]:
        """Every rule, in the order of the packs."""
        return (item for _, rules in self.packs for item in rules)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values (schema `counterproof.policy/1`)."""
        return {
            "schema": POLICY_SCHEMA,
            "version": __version__,
            "as_of": self.as_of.isoformat(),
            "markets": list(self.markets),
            "roles": list(self.roles),
            "content": self.content,
            "pictures": self.pictures,
            "attested_by": self.attested_by,
            "packs": [
                {
                    "id": pack.id,
                    "title": {"en": pack.title.en, "zh": pack.title.zh},
                    "source": pack.source,
                    "checked": pack.checked.isoformat(),
                    "voluntary": pack.voluntary,
                    "rules": [item.to_json() for item in rules],
                }
                for pack, rules in self.packs
            ],
        }


def evaluate(
    records: Iterable[Record],
    as_of: dt.date,
    *,
    markets: Iterable[str] = (),
    roles: Iterable[str] = (),
    context: Context | None = None,
    attested_by: str = "",
) -> PolicyReport:
    """Ask every rule of the chosen markets and roles of every record; one pass, constant memory.

    Args:
        records: of a case.
        as_of: decides what is in force; what is not yet is answered all the same.
        markets: of `policy_packs.MARKETS`; all if empty.
        roles: of `policy_packs.ROLES`; all if empty.
        context: what the operator states.
        attested_by: who signed what the operator states.

    Raises:
        UserError: if a market or role is unknown.
    """
    context = context or Context()
    places, who = tuple(markets), tuple(roles)
    chosen = [
        (pack, tuple(_judged(rule, as_of) for rule in rules))
        for pack, rules in select(load_packs(), places, who)
    ]
    every = [item for _, rules in chosen for item in rules]
    for item in every:
        if check := SYSTEM_CHECKS.get(item.rule.check):
            item.add("", "", check(context, item.rule.params))
    asked = [item for item in every if item.rule.check in CHECKS]
    total = 0
    for record in records:
        total += 1
        for item in asked:
            result = CHECKS[item.rule.check](record, context, item.rule.params)
            item.add(record.path, record.sha256, result)
    return PolicyReport(as_of, places, who, context.content, total, attested_by, tuple(chosen))


def _judged(rule: Rule, day: dt.date) -> Judged:
    if rule.in_force is None:
        return Judged(rule, "undated")
    if rule.holds_on(day):
        return Judged(rule, "in_force")
    return Judged(rule, "upcoming" if day < rule.in_force else "ended")
