"""The answers of an audit of a model in words: for the terminal, a page, and a case's report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterproof.text import Catalogue

__all__ = ["Row", "lead", "rows"]

Told = Mapping[str, Any]  # an answer as `Answer.to_json` gives it


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: what was asked, the answer, the count, its 95 % interval, and a remark.

    Where nothing could be counted both are empty, and the remark says what is missing.
    """

    asked: str
    answer: str
    count: str
    span: str
    remark: str


def lead(answers: Sequence[Told], words: Catalogue) -> list[str]:
    """Say the headline: how many copies, how many among the unseen, and what that cannot show."""
    head = answers[0]
    details = head["details"]
    said = [words.ui(f"audit.lead.{head['answer']}", k=head["k"], of=head["n"])]
    if details.get("holdout_n"):
        figures = {"k": details["holdout_k"], "of": details["holdout_n"]}
        said.append(words.ui("audit.compared", **figures, p=f"{details['p']:.2g}"))
    if details.get("closer"):
        said.append(words.ui("audit.closer", k=details["closer"]))
    if details.get("holdout_leaked"):
        said.append(words.ui("audit.leaked", k=details["holdout_leaked"]))
    if head["answer"] == "clear":
        said.append(words.ui("audit.limit"))
    return said


def rows(answers: Sequence[Told], words: Catalogue) -> Iterator[Row]:
    """Yield a row for each answer, the headline first."""
    for item in answers:
        asked, details = words.code(item["code"])["says"], item["details"]
        answer = words.ui(f"audit.answer.{item['answer']}")
        remark = ""
        if "needed" in details:
            figures = {"needed": f"{details['needed']:,}", "n": f"{details['non_members']:,}"}
            remark = words.ui("audit.needs.unseen", **figures)
        elif "reason" in details:
            remark = words.ui("audit.needs.holdout")
        if remark:
            yield Row(asked, answer, "", "", remark)
            continue
        if item["answer"] == "not_resolvable" and details.get("never_alone"):
            remark = words.ui("audit.alone")
        span = f"{100 * item['low']:.2f}–{100 * item['high']:.2f} %"
        yield Row(asked, answer, f"{item['k']:,} / {item['n']:,}", span, remark)
