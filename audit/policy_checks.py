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

from collections.abc import Callable, Mapping
from typing import Any

from counterproof.audit.policy_answers import (
    AI_CLAIMS,
    FAULTS,
    WATERMARKS_READ,
    Check,
    Context,
    Result,
    absent,
    credential,
    failed,
    looked,
    not_asked,
    passed,
    signed_admission,
    standard_marks,
    unasked,
    unknown,
)
from counterproof.audit.policy_labels import (
    AIGC_SCHEMA,
    aigc_carrier,
    aigc_labels,
    aigc_present,
    aigc_provider_code,
    aigc_rule,
    visible_label,
    visible_label_elements,
    visible_label_height,
    visible_label_position,
)
from counterproof.findings import Claim, Integrity, Record, Status, Time

__all__ = ["CHECKS", "SYSTEM_CHECKS"]

# -- marks ------------------------------------------------------------------------------------


def machine_readable_mark(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Any one machine-readable mark that says a model took part."""
    if marks := standard_marks(record):
        return passed("marked", marks=marks)
    return absent(record, context, "c2pa", "label", "watermark")


def signed_declaration(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """An intact credential that says a model took part; the rule fixes signed metadata."""
    if signed_admission(record):
        return passed("signed")
    if answer := unasked(record, context, "c2pa"):
        return answer
    answers = record.verdict.answers
    if answers.integrity is Integrity.UNCHECKED:
        return unknown("unchecked")
    return failed("broken" if answers.integrity is Integrity.BROKEN else "unsigned")


def signed_time(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A trusted time stamp on the credential."""
    if not looked(record, "c2pa"):
        return unknown("not_looked")
    answers = record.verdict.answers
    if answers.integrity is Integrity.NONE:
        return not_asked("no_credential")
    if answers.integrity is not Integrity.INTACT:
        return unknown("unchecked")
    if answers.time is Time.TIMESTAMPED:
        return passed("timestamped")
    found = credential(record)
    if found and found.details.get("timestamp"):
        return unknown("stamp_unlisted")
    return failed("no_timestamp")


def marking_layers(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Signed metadata and a watermark: each verified, claimed, absent or unknown."""
    signed = signed_admission(record)
    found = credential(record)
    details = found.details if found else {}
    seen = any(f.code in WATERMARKS_READ for f in record.findings)
    claimed = bool(details.get("soft_bindings")) or any(
        str(step.get("action", "")).startswith("c2pa.watermarked")
        for step in details.get("actions", ())
    )
    mark = "verified" if seen else "claimed" if claimed else "not_found"
    layers = {"signed": "verified" if signed else "not_found", "watermark": mark}
    if signed and seen:
        return passed("two_layers", layers=layers)
    if answer := unasked(record, context, "c2pa"):
        return answer
    if not signed and record.verdict.answers.integrity is not Integrity.UNCHECKED:
        return failed("layer_missing", layers=layers)
    if not seen and context.facts.get("marks_unreadable_here") is False and not claimed:
        return failed("layer_missing", layers=layers)
    return unknown("layer_unread", layers=layers)


def disclosure_fields(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """What a latent disclosure names: provider, system, version, time, identifier."""
    held = _disclosed(record)
    wanted = tuple(params["fields"])
    missing = [name for name in wanted if not held.get(name)]
    if not missing:
        return passed("fields_present", fields={name: held[name] for name in wanted})
    said = absent(record, context, "c2pa", "label")
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

    found = credential(record)
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
    for label in aigc_labels(record):
        keep("provider_name", label.get("producer"))
        keep("unique_id", label.get("produce_id"))
    return held


# -- standards --------------------------------------------------------------------------------


def c2pa_integrity(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The credential fits the bytes."""
    if not looked(record, "c2pa"):
        return unknown("not_looked")
    match record.verdict.answers.integrity:
        case Integrity.INTACT:
            return passed("intact")
        case Integrity.BROKEN:
            return failed("broken")
        case Integrity.UNCHECKED:
            return unknown("unchecked")
    return not_asked("no_credential")


def _c2pa_details(record: Record) -> Mapping[str, Any] | Result:
    if not looked(record, "c2pa"):
        return unknown("not_looked")
    found = credential(record)
    if found is None:
        return not_asked("no_credential")
    return found.details if found.details.get("actions") is not None else unknown("unchecked")


def c2pa_actions(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The first action of the active manifest is `created` or `opened`."""
    details = _c2pa_details(record)
    if isinstance(details, Result):
        return details
    actions = details["actions"]
    first = str(actions[0].get("action", "")) if actions else ""
    if first in ("c2pa.created", "c2pa.opened"):
        return passed("first_action", action=first)
    if not actions or int(details.get("claim_version") or 0) < 2:
        return unknown("older_claim")
    return failed("first_action_other", action=first)


def c2pa_source_type(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """A `created` action carries a digital source type of the vocabulary."""
    details = _c2pa_details(record)
    if isinstance(details, Result):
        return details
    if not any(step.get("action") == "c2pa.created" for step in details["actions"]):
        return not_asked("nothing_created")
    from counterproof.provenance.iptc import CODES

    types = [
        str(item.get("type"))
        for item in details.get("digital_source_types", ())
        if item.get("role") == "active"
    ]
    if not types:
        return unknown("older_claim") if details.get("claim_version") == 1 else failed("no_type")
    other = [name for name in types if name not in CODES]
    return failed("type_unknown", types=other) if other else passed("type_known", types=types)


def iptc_source_type(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The IPTC source type is spelled as the full address."""
    if not looked(record, "label"):
        return unknown("not_looked")
    found = [f for f in record.findings if f.code == "label.iptc.source_type"]
    if not found:
        return not_asked("no_label")
    wrong = [word for f in found for word in f.details.get("malformed", ())]
    return failed("malformed", faults=wrong) if wrong else passed("full_address")


def iptc_ai_fields(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """AI system and version are filled in; the standard does not require them."""
    fields = [f for f in record.findings if f.code.startswith("label.iptc.ai_fields")]
    if fields and fields[0].details.get("system") and fields[0].details.get("version"):
        return passed("fields_present")
    return unasked(record, context, "label") or failed("fields_missing")


def marks_agree(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """No two statements exclude each other."""
    if record.verdict.status is Status.CONFLICT:
        return failed("contradiction", codes=list(record.verdict.rests_on))
    if not looked(record, "c2pa", "label", "trace"):
        return unknown("not_looked")
    claims = (*AI_CLAIMS, Claim.CAPTURED)
    said = [f for f in record.findings if f.claim in claims and not f.is_weak]
    return passed("agree") if len(said) > 1 else not_asked("fewer_than_two")


def trace_with_mark(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """What a generator left behind stands beside a standard mark."""
    if not looked(record, "trace", "c2pa", "label"):
        return unknown("not_looked")
    traces = [f.code for f in record.findings if f.prefix == "trace" and f.claim in AI_CLAIMS]
    if not traces:
        return not_asked("no_trace")
    if marks := standard_marks(record):
        return passed("marked", marks=marks)
    return failed("trace_only", traces=traces)


def no_reservation(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Nothing in the file reserves it against mining or training."""
    if not looked(record, "rights"):
        return unknown("not_looked")
    rights = [f for f in record.findings if f.prefix == "rights" and f.state not in FAULTS]
    if reserved := [f.code for f in rights if f.claim is Claim.RESERVED]:
        return failed("reserved", codes=reserved)
    if any(f.state == "allowed" for f in rights):
        return passed("allowed")
    return unknown("nothing_stated")


# personal data of the picture itself, which is no metadata
_IN_PICTURE = ("privacy.faces", "privacy.text")


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
        return failed("personal", codes=sorted(set(found)))
    return passed("none_found") if looked(record, "privacy") else unknown("not_looked")


def coverage(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """The record names what ran: provenance data and content-based detection."""
    ran = sorted(record.run.analyzers)
    if not ran:
        return failed("coverage_missing")
    if any(f.state in FAULTS for f in record.findings):
        return unknown("broke_off", ran=ran)
    return passed("coverage_named", ran=ran)


# -- what a record cannot show ----------------------------------------------------------------


def needs_pipeline(record: Record, context: Context, params: Mapping[str, Any]) -> Result:
    """Only two files, before and after, can show it: `audit pipeline`."""
    return unknown("needs_pipeline")


def system_fact(context: Context, params: Mapping[str, Any]) -> Result:
    """Ask the questionnaire.

    Args:
        context: with the facts.
        params: `fact`, and `min` or `max` for a number; a fact without them is yes or no.
    """
    name = params["fact"]
    value = context.facts.get(name)
    if value is None:
        return unknown("not_stated", fact=name)
    if "min" in params or "max" in params:
        good = params.get("min", value) <= value <= params.get("max", value)
    else:
        good = value is True
    return (passed if good else failed)("stated" if good else "stated_otherwise", fact=name)


def nothing(context: Context, params: Mapping[str, Any]) -> Result:
    """Answer for a rule that no check can tell."""
    return unknown("no_check")


CHECKS: dict[str, Check] = {
    "machine_readable_mark": machine_readable_mark,
    "signed_declaration": signed_declaration,
    "signed_time": signed_time,
    "marking_layers": marking_layers,
    "disclosure_fields": disclosure_fields,
    "aigc_present": aigc_present,
    "aigc_schema": aigc_rule(AIGC_SCHEMA),
    "aigc_value": aigc_rule({"label_type", "label_value"}),
    "aigc_charset": aigc_rule({"charset", "charset_space"}),
    "aigc_single": aigc_rule({"several_carriers", "carriers_disagree"}),
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
