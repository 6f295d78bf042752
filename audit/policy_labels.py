"""Checks of labels after GB 45438-2025: the one in the metadata, and the one that people see."""

from collections.abc import Iterable, Mapping
from typing import Any

from counterproof.audit.policy_answers import (
    Check,
    Context,
    Result,
    credential,
    failed,
    looked,
    not_asked,
    passed,
    unasked,
    unknown,
)
from counterproof.findings import Integrity, Record

__all__ = [
    "AIGC_SCHEMA",
    "aigc_carrier",
    "aigc_labels",
    "aigc_present",
    "aigc_provider_code",
    "aigc_rule",
    "visible_label",
    "visible_label_elements",
    "visible_label_height",
    "visible_label_position",
]

# -- GB 45438-2025 ----------------------------------------------------------------------------


def aigc_labels(record: Record) -> list[Mapping[str, Any]]:
    """Return the implicit labels that were read, well-formed or not."""
    found = [f for f in record.findings if f.code.startswith("label.aigc.")]
    return list(found[0].details.get("labels", ())) if found else []


def _aigc_reasons(record: Record) -> set[str]:
    return {
        str(reason)
        for f in record.findings
        if f.code == "label.aigc.invalid"
        for reason in f.details.get("reasons", ())
    }


def aigc_present(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The implicit label in the file's metadata; the measures fix the place."""
    if aigc_labels(record):
        return passed("label_present")
    return unasked(record, context, "label") or failed("label_absent")


def aigc_rule(faults: Iterable[str]) -> Check:
    """Make a check that fails where the label shows one of these faults."""
    bad = frozenset(faults)

    def check(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
        if not aigc_labels(record):
            return not_asked("no_label") if looked(record, "label") else unknown("not_looked")
        reasons = _aigc_reasons(record)
        if found := sorted(reasons & bad):
            return failed("label_fault", faults=found)
        if reasons & _UNREADABLE and not bad & _UNREADABLE:
            return unknown("label_unparsed")
        return passed("label_holds")

    return check


_UNREADABLE = frozenset({"too_long", "not_json", "not_object"})
AIGC_SCHEMA = _UNREADABLE | {
    "duplicate_key",
    "unknown_key",
    "missing_key",
    "empty_value",
    "value_type",
}


def aigc_carrier(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The place of the label: XMP, the EXIF user comment, or the PNG text `AIGC`."""
    labels = aigc_labels(record)
    if not labels:
        return not_asked("no_label") if looked(record, "label") else unknown("not_looked")
    places = [label.get("where") or {} for label in labels]
    named = [f"{place.get('kind', '')} {place.get('key', '')}".strip() for place in places]
    if any(not place.get("kind") for place in places):
        return unknown("place_unknown")
    other = [name for name, place in zip(named, places, strict=True) if not _in_guide(place)]
    return failed("place_other", places=other) if other else passed("place_holds", places=named)


def _in_guide(place: Mapping[str, Any]) -> bool:
    kind, key = str(place.get("kind")), str(place.get("key", ""))
    return kind == "xmp" or (kind == "text" and key == "AIGC") or key.lower() == "usercomment"


def aigc_provider_code(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The form and the check character of a provider code."""
    labels = aigc_labels(record)
    if not labels:
        return not_asked("no_label") if looked(record, "label") else unknown("not_looked")
    codes = [label["provider_code"] for label in labels if label.get("provider_code")]
    if any(code.get("check_digit") is False for code in codes):
        return failed("code_check")
    if any(code.get("check_digit") for code in codes):
        return passed("code_holds")
    return unknown("code_name")


# -- visible label ----------------------------------------------------------------------------


def _drawn(record: Record) -> Mapping[str, Any] | None:
    """Return what a signed record says of the visible label: text, box, height of letters."""
    found = credential(record)
    if found is None or record.verdict.answers.integrity is not Integrity.INTACT:
        return None
    marking = found.details.get("marking")
    return marking.get("label") if isinstance(marking, Mapping) else None


def _undrawn(record: Record, context: Context) -> Result:
    return unasked(record, context) or unknown("look_yourself")


def visible_label(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A label that people see: drawn into the picture, or shown beside it."""
    if label := _drawn(record):
        return passed("label_drawn", text=label.get("text", ""))
    said = _undrawn(record, context)
    if said.reason != "look_yourself":
        return said
    beside = context.facts.get("label_shown_beside")
    if beside is True:
        return passed("label_beside")
    if beside is False and context.facts.get("label_drawn_elsewhere") is False:
        return failed("label_nowhere")
    return said


_AI_WORDS = ("人工智能", "ai")
_MADE_WORDS = ("生成", "合成")


def visible_label_elements(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """An AI word and a word for generation in the label's text.

    Source: GB 45438-2025 5.2, as quoted in open implementations.
    """
    label = _drawn(record)
    if label is None:
        return _undrawn(record, context)
    text = str(label.get("text", "")).lower()
    whole = any(w in text for w in _AI_WORDS) and any(w in text for w in _MADE_WORDS)
    return (passed if whole else failed)("elements" if whole else "elements_missing", text=text)


def visible_label_height(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Ink height of the lowest letter against the shortest side."""
    label = _drawn(record)
    side = min(record.file.width, record.file.height)
    if label is None or not side or not isinstance(label.get("letter_px"), int):
        return _undrawn(record, context)
    share = label["letter_px"] / side
    enough = share >= float(params["min_share"])
    return (passed if enough else failed)(
        "height" if enough else "height_low", share=round(share, 4)
    )


_EDGE_SHARE = 0.15


def visible_label_position(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The label's box reaches into the outer 15 % of the picture.

    Source: 15 % is our reading of *edge or corner*; the standard gives no number.
    """
    label = _drawn(record)
    box = label.get("box") if label else None
    width, height = record.file.width, record.file.height
    if not (isinstance(box, list) and len(box) == 4 and width and height):
        return _undrawn(record, context)
    x, y, w, h = box
    gaps = (x / width, y / height, (width - x - w) / width, (height - y - h) / height)
    at_edge = min(gaps) <= _EDGE_SHARE
    return (passed if at_edge else failed)("edge" if at_edge else "not_edge", box=box)
