"""How the report is laid out: templates, styles, the order of statuses, the first sentences."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from counterproof import __version__
from counterproof.audit.error_levels import FACTOR, QUALITY
from counterproof.audit.page import QUESTIONS
from counterproof.audit.report_pictures import Leaf
from counterproof.audit.selection import Gathered
from counterproof.audit.writer import Target, open_atomically
from counterproof.findings import Answers, Basis, Severity, Status
from counterproof.text import Catalogue, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["DISPUTE_KINDS", "FAMILIES", "document", "render", "write_bodies"]

_MAX_REGIONS = 60
_PAGES_BYTES = 2_400_000
_TEMPLATES = Path(__file__).parent / "templates"
DISPUTE_KINDS = ("dispute", "outcome.upheld", "outcome.corrected", "outcome.withdrawn")
"""Kinds of notes that make a dispute, and end it."""

# What a status means by colour and by the strength of its outline; `report.css` has both.
FAMILIES = {
    Status.CONFLICT: "contra",
    Status.ALTERED: "contra",
    Status.SYNTHETIC_VERIFIED: "model",
    Status.SYNTHETIC_DECLARED: "model",
    Status.MODEL_EDITED_VERIFIED: "model",
    Status.MODEL_EDITED_DECLARED: "model",
    Status.CAPTURED_VERIFIED: "signed",
    Status.PROVENANCE_VERIFIED: "signed",
    Status.PROVENANCE_DECLARED: "signed",
    Status.SYNTHETIC_SUSPECTED: "lead",
    Status.ALTERED_SUSPECTED: "lead",
    Status.INCONCLUSIVE: "lead",
    Status.UNREADABLE: "quiet",
    Status.NO_EVIDENCE: "quiet",
}


@dataclass(frozen=True, slots=True)
class Inline:
    """A style or a script, with the digest by which the page's policy admits it."""

    text: "Markup"
    digest: str

    @classmethod
    def of(cls, text: str) -> "Inline":
        """Take our own text, never a file's: it is not escaped."""
        from markupsafe import Markup

        digest = hashlib.sha256(text.encode()).digest()
        return cls(Markup(text), f"sha256-{base64.b64encode(digest).decode()}")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shared(words: Catalogue) -> dict[str, Any]:
    """Return what every template may ask for."""
    return {
        "words": words,
        "ui": words.ui,
        "visible": visible,
        "families": FAMILIES,
        "statuses": list(FAMILIES),
        "questions": QUESTIONS,
        "answer_words": {name: list(kind) for name, kind in get_type_hints(Answers).items()},
        "bases": list(Basis),
        "dispute_kinds": DISPUTE_KINDS,
        "severities": list(Severity)[::-1],
        "figure": _figure,
        "levels_of_coding": {"quality": QUALITY, "factor": FACTOR},
        "version": __version__,
    }


def _figure(value: float) -> str:
    """Write a measured figure with the four digits that anybody reads.

    >>> _figure(24.69606107635778), _figure(0.0028), _figure(1160), _figure(-12.0)
    ('24.7', '0.0028', '1,160', '-12')
    """
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.4g}"


def document(template: str, words: Catalogue, context: dict[str, Any]) -> str:
    """Lay out a small page of its own in the style of the report, without a script."""
    style = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "extra.css")
    )
    shared = _shared(words) | {
        "lang": {"zh": "zh-Hans"}.get(words.language, words.language),
        "style": Inline.of(style),
    }
    return _environment().get_template(template).render(**shared | context)


def write_bodies(leaves: list[Leaf], words: Catalogue) -> list[Leaf]:
    """Lay out the pages, as many as there is room for; return those."""
    from markupsafe import Markup

    template = _environment().get_template("picture.html")
    shared = _shared(words)
    room = _PAGES_BYTES
    for number, leaf in enumerate(leaves):
        boxes = [box for reason in leaf.page.reasons for box in reason.regions][:_MAX_REGIONS]
        text = template.render(**shared, leaf=leaf, regions=boxes)
        room -= len(text.encode("utf-8", "backslashreplace"))
        if room < 0:
            return leaves[:number]
        leaf.body = Markup(text)  # already escaped by the template
    return leaves


def render(target: Target, words: Catalogue, context: dict[str, Any]) -> None:
    """Stream the report through its template to a file that appears whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    style = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "extra.css")
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    counts = context["found"].counts
    style += "".join(
        f".bar .s-{status}{{flex-grow:{number}}}\n" for status, number in counts.items() if number
    )
    context |= _shared(words) | {
        "lang": {"zh": "zh-Hans"}.get(words.language, words.language),
        "style": Inline.of(style),
        "script": Inline.of(script),
        "hurry": _hurry(context["found"], words),
    }
    template = _environment().get_template("report.html")
    with open_atomically(target) as stream:
        for chunk in _chunks(template.generate(context), 65_536):
            stream.write(chunk.encode("utf-8", "backslashreplace"))


def _chunks(parts: Iterable[str], size: int) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for part in parts:
        held.append(part)
        length += len(part)
        if length >= size:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


# What the person in a hurry reads: a sentence per group of statuses.
_HURRY: tuple[tuple[str, tuple[Status, ...]], ...] = (
    ("hurry.conflict", (Status.CONFLICT,)),
    ("hurry.altered", (Status.ALTERED,)),
    ("hurry.synthetic", (Status.SYNTHETIC_VERIFIED, Status.SYNTHETIC_DECLARED)),
    ("hurry.model_edited", (Status.MODEL_EDITED_VERIFIED, Status.MODEL_EDITED_DECLARED)),
    ("hurry.suspected", (Status.SYNTHETIC_SUSPECTED, Status.ALTERED_SUSPECTED)),
    (
        "hurry.signed",
        (Status.CAPTURED_VERIFIED, Status.PROVENANCE_VERIFIED, Status.PROVENANCE_DECLARED),
    ),
    ("hurry.unknown", (Status.INCONCLUSIVE, Status.UNREADABLE)),
    ("hurry.no_evidence", (Status.NO_EVIDENCE,)),
)


def _hurry(found: Gathered, words: Catalogue) -> list[str]:
    """Say in a few sentences what there is, for a person in a hurry."""
    said = []
    for key, statuses in _HURRY:
        if number := sum(found.counts[status] for status in statuses):
            said.append(words.ui(key, n=number, number=f"{number:,}"))
    return said or [words.ui("hurry.empty")]
