"""The checks that rule packs name: each asks one thing of a record or of stated facts.

A check answers *pass*, *fail*, *unknown* or *not_applicable*, with one word for the reason
(`rules.reason.<word>` in the catalogue). The rules that all of them keep:

- what did not run, broke off or cannot be read is *unknown*, never *fail*;
- a picture of which nothing says that a model took part is *unknown*: finding nothing proves
  nothing. Who knows better says so (`Context.content`);
- a missing mark *fails* only where the rule itself fixes the place that was looked at, or where
  the operator states that there are no marks but those that this program reads;
- watermark readers are positive only: not finding one says nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from counterproof.findings import Claim, Finding, Integrity, Origin, Record, Status, Time

__all__ = ["CHECKS", "SYSTEM_CHECKS", "Context", "Outcome", "Result", "standard_marks"]


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

_AI = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
_FAULTS = ("failed", "timeout", "skipped")
_READ = ("watermark.match", "watermark.unchecked")
# prefix of a code → the analyzer that answers for it
_READERS = {
    "c2pa": "c2pa",
    "label": "labels",
    "trace": "traces",
    "rights": "rights",
    "watermark": "watermark",
    "privacy": "privacy",
}


def _pass(reason: str, **details: Any) -> Result:
    return Result(Outcome.PASS, reason, details)


def _fail(reason: str, **details: Any) -> Result:
    return Result(Outcome.FAIL, reason, details)


def _unknown(reason: str, **details: Any) -> Result:
    return Result(Outcome.UNKNOWN, reason, details)


def _not(reason: str) -> Result:
    return Result(Outcome.NOT_APPLICABLE, reason)


# -- what a record says -----------------------------------------------------------------------


def _looked(record: Record, *prefixes: str) -> bool:
    """Tell whether these kinds of check ran to their end, on a picture that could be read."""
    if record.verdict.status is Status.UNREADABLE:
        return False
    broke = {f.prefix for f in record.findings if f.state in _FAULTS}
    ran = {name.partition("_")[0] for name in record.run.analyzers}
    return all(_READERS[p] in ran and p not in broke for p in prefixes)


def _ai_made(record: Record, context: Context) -> bool | None:
    """Tell whether a model took part: by firm evidence, else by what the operator states."""
    firm = any(f.claim in _AI and not f.is_weak and f.basis.strength >= 2 for f in record.findings)
    if firm or context.content in ("generated", "model-edited"):
        return True
    return False if context.content == "captured" else None


def _credential(record: Record) -> Finding | None:
    return next((f for f in record.findings if f.code.startswith("c2pa.manifest.")), None)


def _signed_admission(record: Record) -> bool:
    answers = record.verdict.answers
    return answers.integrity is Integrity.INTACT and answers.origin in (
        Origin.SYNTHETIC,
        Origin.MODEL_EDITED,
    )


def standard_marks(record: Record) -> list[str]:
    """Name the machine-readable marks that say a model took part, signed and unsigned."""
    found = ["c2pa"] if _signed_admission(record) else []
    for finding in record.findings:
        if finding.claim not in _AI:
            continue
        if finding.code == "label.iptc.source_type":
            found.append("iptc")
        elif finding.code in ("label.aigc.declared", "label.aigc.invalid"):
            found.append("aigc")
        elif finding.code in _READ:
            found.append("watermark")
    return list(dict.fromkeys(found))


def _absent(record: Record, context: Context, *prefixes: str) -> Result:
    """Answer for a mark that was not found in places that no rule fixes."""
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    if not _looked(record, *prefixes):
        return _unknown("not_looked")
    if context.facts.get("marks_unreadable_here") is False:
        return _fail("absent")
    return _unknown("other_marks")


# -- marks ------------------------------------------------------------------------------------


def machine_readable_mark(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Any one machine-readable mark that says a model took part."""
    if marks := standard_marks(record):
        return _pass("marked", marks=marks)
    return _absent(record, context, "c2pa", "label", "watermark")


def signed_declaration(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """An intact credential that says a model took part; the rule fixes signed metadata."""
    if _signed_admission(record):
        return _pass("signed")
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    if not _looked(record, "c2pa"):
        return _unknown("not_looked")
    answers = record.verdict.answers
    if answers.integrity is Integrity.UNCHECKED:
        return _unknown("unchecked")
    return _fail("broken" if answers.integrity is Integrity.BROKEN else "unsigned")


def signed_time(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A trusted time stamp on the credential."""
    if not _looked(record, "c2pa"):
        return _unknown("not_looked")
    answers = record.verdict.answers
    if answers.integrity is Integrity.NONE:
        return _not("no_credential")
    if answers.integrity is not Integrity.INTACT:
        return _unknown("unchecked")
    if answers.time is Time.TIMESTAMPED:
        return _pass("timestamped")
    found = _credential(record)
    if found and found.details.get("timestamp"):
        return _unknown("stamp_unlisted")
    return _fail("no_timestamp")


def marking_layers(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Signed metadata and a watermark: each verified, claimed, absent or unknown."""
    signed = _signed_admission(record)
    found = _credential(record)
    details = found.details if found else {}
    seen = any(f.code in _READ for f in record.findings)
    claimed = bool(details.get("soft_bindings")) or any(
        str(step.get("action", "")).startswith("c2pa.watermarked")
        for step in details.get("actions", ())
    )
    mark = "verified" if seen else "claimed" if claimed else "not_found"
    layers = {"signed": "verified" if signed else "not_found", "watermark": mark}
    if signed and seen:
        return _pass("two_layers", layers=layers)
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    if not _looked(record, "c2pa"):
        return _unknown("not_looked")
    if not signed and record.verdict.answers.integrity is not Integrity.UNCHECKED:
        return _fail("layer_missing", layers=layers)
    if not seen and context.facts.get("marks_unreadable_here") is False and not claimed:
        return _fail("layer_missing", layers=layers)
    return _unknown("layer_unread", layers=layers)


def disclosure_fields(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """What a latent disclosure names: provider, system, version, time, identifier."""
    held = _disclosed(record)
    wanted = tuple(params["fields"])
    missing = [name for name in wanted if not held.get(name)]
    if not missing:
        return _pass("fields_present", fields={name: held[name] for name in wanted})
    said = _absent(record, context, "c2pa", "label")
    reason = {"absent": "fields_missing", "other_marks": "fields_elsewhere"}.get(
        said.reason, said.reason
    )
    return Result(said.outcome, reason, {"missing": missing})


def _disclosed(record: Record) -> dict[str, str]:
    """Read the fields of a latent disclosure out of credential and labels."""
    held: dict[str, str] = {}

    def keep(name: str, value: Any) -> None:
        if isinstance(value, str) and value.strip():
            held.setdefault(name, value.strip()[:120])

    found = _credential(record)
    if found and record.verdict.answers.integrity is Integrity.INTACT:
        details = found.details
        signer = details.get("signer") or {}
        keep("provider_name", signer.get("organisation"))
        keep("provider_name", signer.get("name") or signer.get("claims_to_be"))
        keep("unique_id", details.get("manifest"))
        keep("created_at", (details.get("timestamp") or {}).get("time"))
        for step in details.get("actions", ()):
            keep("created_at", step.get("when"))
            if step.get("agent") != "counterproof":  # who marked it is not who made it
                keep("system_name", step.get("agent"))
                keep("system_version", step.get("agent_version"))
    for finding in record.findings:
        if finding.code.startswith("label.iptc.ai_fields"):
            keep("system_name", finding.details.get("system"))
            keep("system_version", finding.details.get("version"))
    for label in _aigc(record):
        keep("provider_name", label.get("producer"))
        keep("unique_id", label.get("produce_id"))
    return held


# -- GB 45438-2025 ----------------------------------------------------------------------------


def _aigc(record: Record) -> list[Mapping[str, Any]]:
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
    if _aigc(record):
        return _pass("label_present")
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    return _fail("label_absent") if _looked(record, "label") else _unknown("not_looked")


def _aigc_rule(faults: Iterable[str]) -> Check:
    """Make a check that fails where the label shows one of these faults."""
    bad = frozenset(faults)

    def check(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
        if not _aigc(record):
            return _not("no_label") if _looked(record, "label") else _unknown("not_looked")
        reasons = _aigc_reasons(record)
        if found := sorted(reasons & bad):
            return _fail("label_fault", faults=found)
        if reasons & _UNREADABLE and not bad & _UNREADABLE:
            return _unknown("label_unparsed")
        return _pass("label_holds")

    return check


_UNREADABLE = frozenset({"too_long", "not_json", "not_object"})
_SCHEMA = _UNREADABLE | {
    "duplicate_key",
    "unknown_key",
    "missing_key",
    "empty_value",
    "value_type",
}


def aigc_carrier(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The place of the label: XMP, the EXIF user comment, or the PNG text `AIGC`."""
    labels = _aigc(record)
    if not labels:
        return _not("no_label") if _looked(record, "label") else _unknown("not_looked")
    places = [label.get("where") or {} for label in labels]
    named = [f"{place.get('kind', '')} {place.get('key', '')}".strip() for place in places]
    if any(not place.get("kind") for place in places):
        return _unknown("place_unknown")
    other = [name for name, place in zip(named, places, strict=True) if not _in_guide(place)]
    return _fail("place_other", places=other) if other else _pass("place_holds", places=named)


def _in_guide(place: Mapping[str, Any]) -> bool:
    kind, key = str(place.get("kind")), str(place.get("key", ""))
    return kind == "xmp" or (kind == "text" and key == "AIGC") or key.lower() == "usercomment"


def aigc_provider_code(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The form and the check character of a provider code."""
    labels = _aigc(record)
    if not labels:
        return _not("no_label") if _looked(record, "label") else _unknown("not_looked")
    codes = [label["provider_code"] for label in labels if label.get("provider_code")]
    if any(code.get("check_digit") is False for code in codes):
        return _fail("code_check")
    if any(code.get("check_digit") for code in codes):
        return _pass("code_holds")
    return _unknown("code_name")


# -- visible label ----------------------------------------------------------------------------


def _drawn(record: Record) -> Mapping[str, Any] | None:
    """Return what a signed record says of the visible label: text, box, height of letters."""
    found = _credential(record)
    if found is None or record.verdict.answers.integrity is not Integrity.INTACT:
        return None
    marking = found.details.get("marking")
    return marking.get("label") if isinstance(marking, Mapping) else None


def _undrawn(record: Record, context: Context) -> Result:
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    return _unknown("look_yourself")


def visible_label(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A label that people see: drawn into the picture, or shown beside it."""
    if label := _drawn(record):
        return _pass("label_drawn", text=label.get("text", ""))
    said = _undrawn(record, context)
    if said.reason != "look_yourself":
        return said
    beside = context.facts.get("label_shown_beside")
    if beside is True:
        return _pass("label_beside")
    if beside is False and context.facts.get("label_drawn_elsewhere") is False:
        return _fail("label_nowhere")
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
    return (_pass if whole else _fail)("elements" if whole else "elements_missing", text=text)


def visible_label_height(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Ink height of the lowest letter against the shortest side."""
    label = _drawn(record)
    side = min(record.file.width, record.file.height)
    if label is None or not side or not isinstance(label.get("letter_px"), int):
        return _undrawn(record, context)
    share = label["letter_px"] / side
    enough = share >= float(params["min_share"])
    return (_pass if enough else _fail)("height" if enough else "height_low", share=round(share, 4))


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
    return (_pass if at_edge else _fail)("edge" if at_edge else "not_edge", box=box)


# -- standards --------------------------------------------------------------------------------


def c2pa_integrity(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The credential fits the bytes."""
    if not _looked(record, "c2pa"):
        return _unknown("not_looked")
    match record.verdict.answers.integrity:
        case Integrity.INTACT:
            return _pass("intact")
        case Integrity.BROKEN:
            return _fail("broken")
        case Integrity.UNCHECKED:
            return _unknown("unchecked")
    return _not("no_credential")


def _c2pa_details(record: Record) -> Mapping[str, Any] | Result:
    if not _looked(record, "c2pa"):
        return _unknown("not_looked")
    found = _credential(record)
    if found is None:
        return _not("no_credential")
    return found.details if found.details.get("actions") is not None else _unknown("unchecked")


def c2pa_actions(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The first action of the active manifest is `created` or `opened`."""
    details = _c2pa_details(record)
    if isinstance(details, Result):
        return details
    actions = details["actions"]
    first = str(actions[0].get("action", "")) if actions else ""
    if first in ("c2pa.created", "c2pa.opened"):
        return _pass("first_action", action=first)
    if not actions or int(details.get("claim_version") or 0) < 2:
        return _unknown("older_claim")
    return _fail("first_action_other", action=first)


def c2pa_source_type(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A `created` action carries a digital source type of the vocabulary."""
    details = _c2pa_details(record)
    if isinstance(details, Result):
        return details
    if not any(step.get("action") == "c2pa.created" for step in details["actions"]):
        return _not("nothing_created")
    from counterproof.provenance.iptc import CODES

    types = [
        str(item.get("type"))
        for item in details.get("digital_source_types", ())
        if item.get("role") == "active"
    ]
    if not types:
        return _unknown("older_claim") if details.get("claim_version") == 1 else _fail("no_type")
    other = [name for name in types if name not in CODES]
    return _fail("type_unknown", types=other) if other else _pass("type_known", types=types)


def iptc_source_type(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The IPTC source type is spelled as the full address."""
    if not _looked(record, "label"):
        return _unknown("not_looked")
    found = [f for f in record.findings if f.code == "label.iptc.source_type"]
    if not found:
        return _not("no_label")
    wrong = [word for f in found for word in f.details.get("malformed", ())]
    return _fail("malformed", faults=wrong) if wrong else _pass("full_address")


def iptc_ai_fields(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """AI system and version are filled in; the standard does not require them."""
    fields = [f for f in record.findings if f.code.startswith("label.iptc.ai_fields")]
    if fields and fields[0].details.get("system") and fields[0].details.get("version"):
        return _pass("fields_present")
    made = _ai_made(record, context)
    if made is False:
        return _not("captured")
    if made is None:
        return _unknown("content_unknown")
    return _fail("fields_missing") if _looked(record, "label") else _unknown("not_looked")


def marks_agree(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """No two statements exclude each other."""
    if record.verdict.status is Status.CONFLICT:
        return _fail("contradiction", codes=list(record.verdict.rests_on))
    if not _looked(record, "c2pa", "label", "trace"):
        return _unknown("not_looked")
    claims = (*_AI, Claim.CAPTURED)
    said = [f for f in record.findings if f.claim in claims and not f.is_weak]
    return _pass("agree") if len(said) > 1 else _not("fewer_than_two")


def trace_with_mark(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """What a generator left behind stands beside a standard mark."""
    if not _looked(record, "trace", "c2pa", "label"):
        return _unknown("not_looked")
    traces = [f.code for f in record.findings if f.prefix == "trace" and f.claim in _AI]
    if not traces:
        return _not("no_trace")
    if marks := standard_marks(record):
        return _pass("marked", marks=marks)
    return _fail("trace_only", traces=traces)


def no_reservation(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Nothing in the file reserves it against mining or training."""
    if not _looked(record, "rights"):
        return _unknown("not_looked")
    rights = [f for f in record.findings if f.prefix == "rights" and f.state not in _FAULTS]
    if reserved := [f.code for f in rights if f.claim is Claim.RESERVED]:
        return _fail("reserved", codes=reserved)
    if any(f.state == "allowed" for f in rights):
        return _pass("allowed")
    return _unknown("nothing_stated")


_IN_PICTURE = ("privacy.faces",)  # personal data of the picture itself, which is no metadata


def no_personal_metadata(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Metadata without place, serial number or names."""
    found = [
        f.code
        for f in record.findings
        if f.claim is Claim.PERSONAL_DATA and f.code not in _IN_PICTURE
    ]
    if record.facts.get("gps.present"):
        found.append("gps.present")
    if found:
        return _fail("personal", codes=sorted(set(found)))
    return _pass("none_found") if _looked(record, "privacy") else _unknown("not_looked")


def coverage(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The record names what ran: provenance data and content-based detection."""
    ran = sorted(record.run.analyzers)
    if not ran:
        return _fail("coverage_missing")
    if any(f.state in _FAULTS for f in record.findings):
        return _unknown("broke_off", ran=ran)
    return _pass("coverage_named", ran=ran)


# -- what a record cannot show ----------------------------------------------------------------


def needs_pipeline(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Only two files, before and after, can show it: `audit pipeline`."""
    return _unknown("needs_pipeline")


def system_fact(context: Context, params: Mapping[str, Any]) -> Result:
    """Ask the questionnaire.

    Args:
        context: with the facts.
        params: `fact`, and `min` or `max` for a number; a fact without them is yes or no.
    """
    name = params["fact"]
    value = context.facts.get(name)
    if value is None:
        return _unknown("not_stated", fact=name)
    if "min" in params or "max" in params:
        good = params.get("min", value) <= value <= params.get("max", value)
    else:
        good = value is True
    return (_pass if good else _fail)("stated" if good else "stated_otherwise", fact=name)


def nothing(context: Context, params: Mapping[str, Any]) -> Result:
    """Answer for a rule that no check can tell."""
    return _unknown("no_check")


CHECKS: dict[str, Check] = {
    "machine_readable_mark": machine_readable_mark,
    "signed_declaration": signed_declaration,
    "signed_time": signed_time,
    "marking_layers": marking_layers,
    "disclosure_fields": disclosure_fields,
    "aigc_present": aigc_present,
    "aigc_schema": _aigc_rule(_SCHEMA),
    "aigc_value": _aigc_rule({"label_type", "label_value"}),
    "aigc_charset": _aigc_rule({"charset", "charset_space"}),
    "aigc_single": _aigc_rule({"several_carriers", "carriers_disagree"}),
    "aigc_carrier": aigc_carrier,
    "aigc_provider_code": aigc_provider_code,
    "visible_label": visible_label,
    "visible_label_elements": visible_label_elements,
    "visible_label_height": visible_label_height,
    "visible_label_position": visible_label_position,
    "c2pa_integrity": c2pa_integrity,
    "c2pa_actions": c2pa_actions,
    "c2pa_source_type": c2pa_source_type,
    "iptc_source_type": iptc_source_type,
    "iptc_ai_fields": iptc_ai_fields,
    "marks_agree": marks_agree,
    "trace_with_mark": trace_with_mark,
    "no_reservation": no_reservation,
    "no_personal_metadata": no_personal_metadata,
    "coverage": coverage,
    "marks_survive": needs_pipeline,
    "credential_survives": needs_pipeline,
}
"""Checks of one record, by name."""

SYSTEM_CHECKS: dict[str, Callable[[Context, Mapping[str, Any]], Result]] = {
    "system_fact": system_fact,
    "none": nothing,
}
"""Checks that are asked once and not of each picture, by name."""
