"""One picture's page as plain text in one language, before any layout.

The HTML report and `counterproof show` print the same `Page`, so that they cannot differ in
what they say. Nothing here knows of HTML or terminals.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from counterproof.analysis import Stage
from counterproof.audit.history import Step, steps
from counterproof.audit.quotes import Line, quotes
from counterproof.findings import Claim, Finding, Record, Severity, Status
from counterproof.text import Catalogue, visible

__all__ = [
    "QUESTIONS",
    "Answer",
    "Coverage",
    "Group",
    "Line",
    "Page",
    "Reason",
    "missing",
    "name_of",
    "needs_eyes",
    "page",
    "rank",
    "shown",
    "size_of",
    "strongest",
]

QUESTIONS = ("integrity", "trust", "time", "history", "origin")
FAULTS = ("failed", "timeout", "skipped")

_UNASKED = ("not_checked", "unknown")
_MAX_REASONS = 24
_MAX_LINES = 40
_MAX_VALUE = 200  # characters of one value that a file holds
# What needs eyes comes first; the order of the verdict table decides the rest.
_FIRST = (
    Status.CONFLICT,
    Status.ALTERED,
    Status.SYNTHETIC_VERIFIED,
    Status.SYNTHETIC_DECLARED,
    Status.MODEL_EDITED_VERIFIED,
    Status.MODEL_EDITED_DECLARED,
    Status.SYNTHETIC_SUSPECTED,
    Status.ALTERED_SUSPECTED,
    Status.INCONCLUSIVE,
    Status.UNREADABLE,
    Status.PROVENANCE_DECLARED,
    Status.PROVENANCE_VERIFIED,
    Status.CAPTURED_VERIFIED,
    Status.NO_EVIDENCE,
)
_NEEDS_EYES = _FIRST.index(Status.INCONCLUSIVE)
_RANKS = {status: index for index, status in enumerate(_FIRST)}


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding, in words.

    Attributes:
        code: of the finding.
        prefix: first word of the code.
        group: what the catalogue calls the prefix.
        says: what was found.
        means: what follows.
        does_not_mean: what does not follow.
        innocent: causes that are nobody's deceit; may be empty.
        basis: what it rests on, in words.
        carries: whether the status rests on it.
        against: whether it speaks against the status.
        rate: how often honest pictures are flagged; empty without a probability.
        quotes: what the file says, in its own words.
        evidence: names of blobs in the case.
        regions: `(x, y, w, h)` in pixels of the upright full-size picture.
    """

    code: str
    prefix: str
    group: str
    says: str
    means: str
    does_not_mean: str
    innocent: str
    basis: str
    carries: bool
    against: bool
    rate: str
    quotes: tuple[Line, ...]
    evidence: tuple[str, ...]
    regions: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the five answers about the credential."""

    question: str
    word: str
    asks: str
    says: str
    means: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which checks there were: what a record does not say by itself.

    Attributes:
        profile: what the scan ran.
        ran: prefixes that an analyzer of the scan answers for.
        later: prefix → the cheapest profile that would answer for it.
    """

    profile: str
    ran: frozenset[str]
    later: Mapping[str, Stage]


@dataclass(frozen=True, slots=True)
class Page:
    """All that is said of one picture."""

    name: str
    path: str
    sha256: str
    status: Status
    short: str
    says: str
    means: str
    does_not_mean: str
    reasons: tuple[Reason, ...]
    more_reasons: int
    answers: tuple[Answer, ...]
    history: tuple[Step, ...]
    facts: tuple[Line, ...]
    hashes: tuple[Line, ...]
    unchecked: tuple[Line, ...]
    further: tuple[str, ...]
    commands: tuple[str, ...]
    width: int
    height: int

    @property
    def headline(self) -> tuple[str, ...]:
        """The strongest reasons in a sentence each: both sides of a conflict, else one."""
        carrying = [reason.says for reason in self.reasons if reason.carries]
        if not carrying:
            return (self.says,)
        return tuple(dict.fromkeys(carrying))[: 2 if self.status is Status.CONFLICT else 1]

    @property
    def groups(self) -> tuple["Group", ...]:
        """The findings by prefix, the group with the strongest one first."""
        found: dict[str, list[Reason]] = {}
        for reason in self.reasons:
            found.setdefault(reason.group, []).append(reason)
        return tuple(Group(title, tuple(reasons)) for title, reasons in found.items())


@dataclass(frozen=True, slots=True)
class Group:
    """Findings whose codes share a prefix, under what the catalogue calls it."""

    title: str
    reasons: tuple[Reason, ...]


def page(record: Record, words: Catalogue, coverage: Coverage | None = None) -> Page:
    """Put one record into words."""
    said = words.status(record.verdict.status)
    kept = [finding for finding in strongest(record) if finding.state not in FAULTS]
    return Page(
        name=name_of(record.path),
        path=visible(record.path),
        sha256=record.sha256,
        status=record.verdict.status,
        short=said["short"],
        says=said["says"],
        means=said["means"],
        does_not_mean=said["does_not_mean"],
        reasons=tuple(_reason(finding, record, words) for finding in kept[:_MAX_REASONS]),
        more_reasons=max(0, len(kept) - _MAX_REASONS),
        answers=_answers(record, words),
        history=steps(record, words),
        facts=tuple(_facts(record, words)),
        hashes=tuple(_hashes(record)),
        unchecked=tuple(_unchecked(record, words, coverage)),
        further=tuple(_further(record, words)),
        commands=tuple(_commands(record, coverage)),
        width=record.file.width,
        height=record.file.height,
    )


def rank(record: Record) -> tuple[int, int]:
    """Order pictures by how much they need eyes: smaller first."""
    stakes = max((finding.severity.rank for finding in record.findings), default=0)
    return _RANKS[record.verdict.status], -stakes


def needs_eyes(record: Record) -> bool:
    """Tell whether a person should look at a picture first."""
    stakes = any(f.severity.rank >= Severity.MEDIUM.rank for f in record.findings)
    place = _RANKS[record.verdict.status]
    return place < _NEEDS_EYES or (stakes and record.verdict.status is Status.NO_EVIDENCE)


def strongest(record: Record) -> list[Finding]:
    """Sort findings: what the status rests on, what speaks against it, then by strength."""
    carrying, against = record.verdict.rests_on, record.verdict.against

    def key(finding: Finding) -> tuple[int, bool, int, int]:
        place = 0 if finding.code in carrying else 1 if finding.code in against else 2
        silent = finding.claim is Claim.NONE
        return place, silent, -finding.basis.strength, -finding.severity.rank

    return sorted(record.findings, key=key)


def _reason(finding: Finding, record: Record, words: Catalogue) -> Reason:
    said = words.describe(finding)
    return Reason(
        code=finding.code,
        prefix=finding.prefix,
        group=words.ui(f"prefix.{finding.prefix}"),
        says=said["says"],
        means=said["means"],
        does_not_mean=said["does_not_mean"],
        innocent=said.get("innocent", ""),
        basis=words.ui(f"basis.{finding.basis}"),
        carries=finding.code in record.verdict.rests_on,
        against=finding.code in record.verdict.against,
        rate=_rate(finding, words),
        quotes=quotes(finding, words),
        evidence=finding.evidence,
        regions=finding.regions,
    )


def _rate(finding: Finding, words: Catalogue) -> str:
    """Say how often honest pictures are flagged; a probability never stands alone."""
    rate = finding.details.get("false_positive_rate")
    if finding.probability is None or not isinstance(rate, Mapping):
        return ""
    value, number = rate.get("value"), rate.get("n")
    if not isinstance(value, (int, float)) or not isinstance(number, int):
        return ""
    return words.ui("page.rate", flagged=round(1000 * value), n=number)


def _answers(record: Record, words: Catalogue) -> tuple[Answer, ...]:
    found = record.verdict.answers.to_json()
    return tuple(
        Answer(name, found[name], words.ui(f"question.{name}"), said["says"], said["means"])
        for name in QUESTIONS
        for said in [words.answer(name, found[name])]
    )


_FACTS = (
    "camera.make",
    "camera.model",
    "camera.lens",
    "software",
    "captured_at",
    "gps.present",
)


def _facts(record: Record, words: Catalogue) -> Iterable[Line]:
    file = record.file
    yield Line(words.ui("fact.path"), visible(record.path))
    if file.format:
        yield Line(words.ui("fact.format"), f"{file.format.upper()} ({file.mime})")
    if file.width:
        mega = file.width * file.height / 1e6
        size = f"{file.width:,} × {file.height:,}"
        text = words.ui("fact.pixels", size=size, mega=f"{mega:.1f}") if mega >= 0.1 else size
        yield Line(words.ui("fact.size"), text)
    if file.bytes:
        yield Line(words.ui("fact.bytes"), size_of(file.bytes))
    if file.frames > 1:
        yield Line(words.ui("fact.frames"), f"{file.frames:,}")
    if file.mode:
        depth = words.ui("fact.depth", bits=file.bit_depth, mode=file.mode)
        yield Line(words.ui("fact.stored"), depth)
    if file.alpha:
        yield Line(words.ui("fact.alpha"), words.ui("fact.yes"))
    if file.planes:
        yield Line(words.ui("fact.planes"), visible(", ".join(file.planes)))
    for name in _FACTS:
        if name in record.facts:
            yield Line(words.ui(f"fact.{name}"), _fact(name, record.facts[name], words))
    others = sorted(set(record.facts) - set(_FACTS))
    table = words.tables["ui"]
    for name in [name for name in others if not name.startswith("hash.")][:_MAX_LINES]:
        value = _fact(name, record.facts[name], words)
        yield Line(table.get(f"fact.{name}", visible(name, 60)), value)
    if record.sha256:
        yield Line("SHA-256", record.sha256)


def _hashes(record: Record) -> Iterable[Line]:
    for name in sorted(name for name in record.facts if name.startswith("hash."))[:_MAX_LINES]:
        value = record.facts[name]
        if isinstance(value, Mapping) and {"alg", "value"} <= set(value):
            yield Line(shown(value["alg"]), shown(value["value"]))


def _fact(name: str, value: Any, words: Catalogue) -> str:
    if isinstance(value, bool):
        return words.ui("fact.yes" if value else "fact.no")
    if name.startswith("forgery.") and isinstance(value, str):
        return _answer(value, words)
    return shown(value)


def _answer(fact: str, words: Catalogue) -> str:
    """Say in words what a method of `forgery` answered: `word` or `word: detail`."""
    word, _, detail = fact.partition(": ")
    table = words.tables["ui"]
    if word == "supports" and f"likelihood.{detail}" in table:
        return words.ui("method.answer.supports_by", likelihood=table[f"likelihood.{detail}"])
    if word == "not_applicable":
        reason = table.get(f"method.reason.{detail}", detail)
        return words.ui("method.answer.not_applicable", reason=reason)
    return table.get(f"method.answer.{word}") or shown(fact)


def _unchecked(record: Record, words: Catalogue, coverage: Coverage | None) -> Iterable[Line]:
    """Name what did not run or broke off, each with the reason."""
    for finding in record.findings:
        if finding.state in FAULTS:
            reason = finding.details.get("message") or finding.details.get("reason") or ""
            yield Line(words.code(finding.code)["says"], shown(reason))
        elif finding.code == "file.partial":
            yield Line(words.sentence(finding), shown(finding.details.get("message", "")))
    for finding in record.findings:
        if finding.details.get("revocation") in _UNASKED:
            yield Line(words.ui("gap.revocation"), words.ui("gap.revocation.why"))
            break
    if coverage is not None:
        yield from missing(words, coverage)


def missing(words: Catalogue, coverage: Coverage) -> list[Line]:
    """Name the kinds of check that the scan did not run, each with the reason."""
    reasons: dict[str, list[str]] = {}
    for prefix in ("c2pa", "label", "trace", "watermark", "detector", "forgery", "privacy", "copy"):
        if prefix in coverage.ran:
            continue
        why = words.ui("gap.copy.why" if prefix == "copy" else "gap.absent")
        if (stage := coverage.later.get(prefix)) is not None:
            why = words.ui("gap.profile", profile=coverage.profile, other=stage.value)
            if Stage(coverage.profile or "deep").includes(stage):
                why = words.ui("gap.chosen")
        reasons.setdefault(why, []).append(words.ui(f"gap.{prefix}"))
    join = words.ui("gap.join").join
    return [Line(words.ui("gap.list", names=join(names)), why) for why, names in reasons.items()]


def _further(record: Record, words: Catalogue) -> Iterable[str]:
    """Say what a person can do next, beyond this program."""
    if text := words.status(record.verdict.status).get("next"):
        yield text
    codes = {finding.code for finding in record.findings}
    if "c2pa.manifest.unfetched" in codes:
        yield words.ui("further.unfetched")
    silent = record.verdict.status in (Status.NO_EVIDENCE, Status.INCONCLUSIVE)
    if silent and not any(name.startswith("camera.") for name in record.facts):
        yield words.ui("further.stripped")


def _commands(record: Record, coverage: Coverage | None) -> Iterable[str]:
    """Give the commands that look closer, ready to paste."""
    path = record.path
    if any(unicodedata.category(char).startswith("C") for char in path):
        return
    if path.startswith("-"):
        path = f"./{path}"
    quoted = shlex.quote(path)
    if coverage and any(stage is Stage.DEEP for stage in coverage.later.values()):
        yield f"counterproof show --profile deep {quoted}"
    elif coverage and coverage.later:
        yield f"counterproof show {quoted}"
    if any(finding.code == "c2pa.manifest.unfetched" for finding in record.findings):
        yield f"counterproof show --online {quoted}"
    yield f"counterproof explain {record.verdict.status.value}"


def name_of(path: str) -> str:
    """Return the last part of a path, made visible.

    >>> name_of("press/03/flood.jpg")
    'flood.jpg'
    """
    return visible(re.split(r"[\\/](?!x[0-9a-f]{2})", path.rstrip("/"))[-1] or path)


def size_of(number: int) -> str:
    """Write a number of bytes in decimal units.

    >>> size_of(999), size_of(18_200), size_of(2_100_000)
    ('999 B', '18 kB', '2.1 MB')
    """
    if number < 1000:
        return f"{number} B"
    value, unit = number / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def shown(value: Any, limit: int = _MAX_VALUE) -> str:
    """Write one JSON value for people: one line, nothing hidden, cut to a length.

    >>> shown(["a", "b"]), shown(None), shown({"a": 1})
    ('a, b', '', '{"a": 1}')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return visible(value, limit)
    if isinstance(value, (list, tuple)) and all(
        isinstance(item, (str, int, float)) for item in value
    ):
        return visible(", ".join(str(item) for item in value[:50]), limit)
    if isinstance(value, (Mapping, list, tuple)):
        return visible(json.dumps(value, ensure_ascii=False, sort_keys=True), limit)
    return visible(str(value), limit)
