"""The words of a policy report: lines for a terminal, and one HTML file that opens offline."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from counterproof.audit.policy import Example, Judged, PolicyReport
from counterproof.audit.policy_answers import Outcome
from counterproof.audit.writer import Target, open_atomically
from counterproof.text import Catalogue, visible, wrap

__all__ = ["Exposure", "lines", "write_policy_page"]

STATES = ("fail", "unknown", "pass", "not_applicable", "upcoming", "undated", "ended")
"""In the order in which a person should see them."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A citable index of occupational exposure, never a forecast of jobs.

    Source: research of 22 November 2026; both known from summaries, the codes from memory.
    """

    name: str
    year: int
    covers: str
    address: str


EXPOSURE = (
    Exposure(
        "ILO Working Paper 140, Generative AI and Jobs: a refined global index",
        2025,
        "ISCO-08, e.g. 2166, 3431",
        "https://digital-skills-jobs.europa.eu/en/inspiration/research/"
        "generative-ai-and-jobs-refined-global-index-occupational-exposure",
    ),
    Exposure(
        "Eloundou, Manning, Mishkin, Rock: GPTs are GPTs",
        2023,
        "SOC, e.g. 27-1024, 27-4021",
        "https://arxiv.org/abs/2303.10130",
    ),
)


def _counts(report: PolicyReport) -> dict[str, int]:
    found = dict.fromkeys(STATES, 0)
    for item in report.judged:
        found[item.state] += 1
    return {state: n for state, n in found.items() if n}


def lines(report: PolicyReport, words: Catalogue, width: int = 100) -> Iterator[str]:
    """Yield the report as lines for a terminal."""
    yield words.ui("rules.title", n=report.pictures, day=report.as_of.isoformat())
    yield wrap(words.ui("rules.never"), width)
    if report.attested_by:
        yield words.ui("rules.attested", name=report.attested_by)
    for pack, rules in report.packs:
        yield ""
        yield f"{pack.title.in_language(words.language)}  ({', '.join(pack.markets)})"
        for item in sorted(rules, key=lambda item: STATES.index(item.state)):
            state = words.ui(f"rules.state.{item.state}")
            yield f"  [{state}] {item.rule.id}  {item.rule.title.in_language(words.language)}"
            yield f"      {when(item, words)} · {item.rule.citation}"
            for reason in reasons(item, words):
                yield wrap(reason, width, "      ")
            if item.state in ("fail", "unknown"):
                remedy = item.rule.remedy.in_language(words.language)
                yield wrap(f"{words.ui('rules.remedy')}: {remedy}", width, "      ")


def when(item: Judged, words: Catalogue) -> str:
    """Say from which day a rule holds, and how well its citation is known."""
    rule = item.rule
    day = rule.in_force.isoformat() if rule.in_force else words.ui("rules.no_date")
    said = words.ui("rules.in_force", day=day)
    if rule.ended:
        said = words.ui("rules.ended", first=day, last=rule.ended.isoformat())
    return f"{said} · {words.ui(f'rules.confidence.{rule.confidence}')}"


def reasons(item: Judged, words: Catalogue) -> list[str]:
    """Say what the answers rest on, the gravest first, with the number of pictures of each."""
    order = list((Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS, Outcome.NOT_APPLICABLE))
    ranked = sorted(item.reasons.items(), key=lambda kv: (order.index(kv[0][0]), -kv[1], kv[0][1]))
    return [
        words.ui(
            "rules.line",
            outcome=words.ui(f"rules.state.{outcome}"),
            number=f"{n:,}",
            reason=words.ui(f"rules.reason.{reason}"),
        )
        for (outcome, reason), n in ranked
    ]


def write_policy_page(
    report: PolicyReport,
    target: Target,
    words: Catalogue,
    *,
    title: str,
    made_at: dt.datetime,
) -> None:
    """Write one HTML file.

    Raises:
        UserError: if it cannot be written.
    """
    from counterproof.audit.report_layout import document

    def quoted(item: Example) -> str:
        pairs = (f"{name}: {value}" for name, value in item.details.items())
        return visible(" · ".join(pairs), 200)

    text = document(
        "rules.html",
        words,
        {
            "title": visible(title),
            "report": report,
            "counts": _counts(report),
            "states": STATES,
            "when": lambda item: when(item, words),
            "reasons": lambda item: reasons(item, words),
            "quoted": quoted,
            "exposure": EXPOSURE,
            "made_at": made_at.isoformat(sep=" ", timespec="minutes"),
        },
    )
    with open_atomically(target) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
