"""The audit of a model inside a case, and as a section of the report of that case.

A report reads the case and never the pictures, so that small views of the pairs are kept as well.
"""

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterproof.audit.copy_words import how
from counterproof.audit.model_audit import ModelAudit
from counterproof.audit.model_words import Row, lead, rows
from counterproof.audit.thumbnails import Size, encode
from counterproof.errors import ImageError
from counterproof.findings import Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings
from counterproof.text import Catalogue, visible

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["KINDS", "ModelSection", "keep_in_case", "section_of"]

ANSWER, PAIR = "model", "model_pair"
KINDS = (ANSWER, PAIR)
"""Kinds of relations that are shown in this section and not among the groups of pictures."""
_RELATOR = "model_audit"
_VIEW = Size("leak.webp", 240, 60)
_MOST_PAIRS = 24


@dataclass(frozen=True, slots=True)
class Shown:
    """A generated picture and the training picture that it repeats.

    Attributes:
        says: how that was found.
        sides: for both, what it is, its path, and its view as a data address or empty.
    """

    says: str
    sides: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class ModelSection:
    """What the report shows of an audit; `more` pairs are left out."""

    lead: tuple[str, ...]
    folders: str
    rows: tuple[Row, ...]
    pairs: tuple[Shown, ...]
    more: int


def keep_in_case(
    case: "Case", found: ModelAudit, folders: dict[str, str], settings: Settings
) -> None:
    """Keep the answers and the pairs of an audit in a case, in place of an earlier one.

    Args:
        case: open.
        found: the audit.
        folders: `generated`, `training` and `holdout` as they were named.
        settings: limits for the views.
    """
    relations = [
        Relation(ANSWER, (), item.code, item.to_json() | {"folders": folders})
        for item in found.answers
    ]
    for pair in found.relations:
        relations.append(Relation(PAIR, pair.members, pair.code, pair.details))
    case.replace_relations(_RELATOR, relations)
    for pair in found.relations[:_MOST_PAIRS]:
        paths = (pair.details["generated"], pair.details["training"])
        for sha256, path in zip(pair.members, paths, strict=True):
            try:
                image = ImageFile.open(path, limits=settings.limits)
                case.put_blob(sha256, encode(image, _VIEW))
            except ImageError:  # it has gone meanwhile; its path is shown
                continue
    case.commit()


def section_of(case: "Case", words: Catalogue) -> ModelSection | None:
    """Put the kept audit of a case into words; None without one."""
    answers = [item for item in case.relations() if item.kind == ANSWER]
    if not answers:
        return None
    told = [item.details for item in answers]
    pairs = [item for item in case.relations() if item.kind == PAIR]
    named = {name: visible(path) for name, path in told[0]["folders"].items()}
    folders = words.ui("audit.folders", **named)
    if "holdout" in named:
        folders += " " + words.ui("audit.unseen", holdout=named["holdout"])
    return ModelSection(
        tuple(lead(told, words)),
        folders,
        tuple(rows(told, words)),
        tuple(_shown(case, item, words) for item in pairs[:_MOST_PAIRS]),
        max(0, len(pairs) - _MOST_PAIRS),
    )


def _shown(case: "Case", pair: Relation, words: Catalogue) -> Shown:
    sides = []
    names = (("audit.generated", "generated"), ("audit.training", "training"))
    for sha256, (label, name) in zip(pair.members, names, strict=True):
        blob = case.blob(sha256, _VIEW.name)
        data = f"data:image/webp;base64,{base64.b64encode(blob.data).decode()}" if blob else ""
        sides.append((words.ui(label), visible(pair.details[name]), data))
    return Shown(words.ui("audit.pair", how=how(pair.details, words)), tuple(sides))
