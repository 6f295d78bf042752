"""What a check answers with, and how it reads a record: the ground that all checks stand on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from counterproof.findings import Claim, Finding, Integrity, Origin, Record, Status

__all__ = [
    "AI_CLAIMS",
    "FAULTS",
    "WATERMARKS_READ",
    "Check",
    "Context",
    "Outcome",
    "Result",
    "absent",
    "ai_made",
    "credential",
    "failed",
    "looked",
    "not_asked",
    "passed",
    "signed_admission",
    "standard_marks",
    "unasked",
    "unknown",
]


class Outcome(StrEnum):
    """What a check answers; none of them says that anybody keeps or breaks a law."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Result:
    """One answer.

    Attributes:
        outcome: what is answered.
        reason: one stable word; the catalogue has its sentence.
        details: JSON values that show what the answer rests on.
    """

    outcome: Outcome
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What the operator states.

    Attributes:
        content: `generated`, `model-edited`, `captured`, or empty for nothing.
        facts: of the system, as the questionnaire has them.
    """

    content: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Check: TypeAlias = Callable[[Record, Context, Mapping[str, Any]], Result]

AI_CLAIMS = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
FAULTS = ("failed", "timeout", "skipped")
WATERMARKS_READ = ("watermark.match", "watermark.unchecked")
# prefix of a code → the analyzer that answers for it
_READERS = {
    "c2pa": "c2pa",
    "label": "labels",
    "trace": "traces",
    "rights": "rights",
    "watermark": "watermark",
    "privacy": "privacy",
}


def passed(reason: str, **details: Any) -> Result:
    """Answer that the picture shows what the rule asks for."""
    return Result(Outcome.PASS, reason, details)


def failed(reason: str, **details: Any) -> Result:
    """Answer that it lacks it, at a place that the rule fixes."""
    return Result(Outcome.FAIL, reason, details)


def unknown(reason: str, **details: Any) -> Result:
    """Answer that it could not be told."""
    return Result(Outcome.UNKNOWN, reason, details)


def not_asked(reason: str) -> Result:
    """Answer that the rule does not ask this of the picture."""
    return Result(Outcome.NOT_APPLICABLE, reason)


# -- what a record says -----------------------------------------------------------------------


def looked(record: Record, *prefixes: str) -> bool:
    """Tell whether these kinds of check ran to their end, on a picture that could be read."""
    if record.verdict.status is Status.UNREADABLE:
        return False
    broke = {f.prefix for f in record.findings if f.state in FAULTS}
    ran = {name.partition("_")[0] for name in record.run.analyzers}
    return all(_READERS[p] in ran and p not in broke for p in prefixes)


def ai_made(record: Record, context: Context) -> bool | None:
    """Tell whether a model took part: by firm evidence, else by what the operator states."""
    firm = any(
        f.claim in AI_CLAIMS and not f.is_weak and f.basis.strength >= 2 for f in record.findings
    )
    if firm or context.content in ("generated", "model-edited"):
        return True
    return False if context.content == "captured" else None


def credential(record: Record) -> Finding | None:
    """Return the finding on the active manifest."""
    return next((f for f in record.findings if f.code.startswith("c2pa.manifest.")), None)


def signed_admission(record: Record) -> bool:
    """Tell whether an intact credential says that a model took part."""
    answers = record.verdict.answers
    return answers.integrity is Integrity.INTACT and answers.origin in (
        Origin.SYNTHETIC,
        Origin.MODEL_EDITED,
    )


def standard_marks(record: Record) -> list[str]:
    """Name the machine-readable marks that say a model took part, signed and unsigned."""
    found = ["c2pa"] if signed_admission(record) else []
    for finding in record.findings:
        if finding.claim not in AI_CLAIMS:
            continue
        if finding.code == "label.iptc.source_type":
            found.append("iptc")
        elif finding.code in ("label.aigc.declared", "label.aigc.invalid"):
            found.append("aigc")
        elif finding.code in WATERMARKS_READ:
            found.append("watermark")
    return list(dict.fromkeys(found))


def unasked(record: Record, context: Context, *prefixes: str) -> Result | None:
    """Answer where a missing mark says nothing; None where it counts.

    It counts in a picture that a model made, if analyzers with these prefixes looked for it.
    """
    made = ai_made(record, context)
    if made is False:
        return not_asked("captured")
    if made is None:
        return unknown("content_unknown")
    return None if looked(record, *prefixes) else unknown("not_looked")


def absent(record: Record, context: Context, *prefixes: str) -> Result:
    """Answer for a mark that was not found in places that no rule fixes."""
    if answer := unasked(record, context, *prefixes):
        return answer
    if context.facts.get("marks_unreadable_here") is False:
        return failed("absent")
    return unknown("other_marks")
