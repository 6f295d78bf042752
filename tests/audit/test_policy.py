"""Rule packs and the checks they name: each check passes, fails and stays unknown."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterproof.audit import policy_checks, policy_labels
from counterproof.audit.policy import evaluate
from counterproof.audit.policy_answers import Context, Outcome
from counterproof.audit.policy_checks import CHECKS, SYSTEM_CHECKS
from counterproof.audit.policy_packs import load_packs, read_pack, select
from counterproof.audit.rules import judge
from counterproof.audit.verdict import decide
from counterproof.errors import UserError
from counterproof.findings import Basis, Claim, FileInfo, Finding, Record, RunInfo
from counterproof.settings import Settings
from counterproof.text import LANGUAGES, catalogue

RAN = dict.fromkeys(("file", "c2pa", "labels", "traces", "rights", "watermark"), "1")
DAY = dt.date(2026, 11, 29)
NO_OTHERS = Context("generated", {"marks_unreadable_here": False})
GENERATED = Context("generated")


def record(
    *findings: Finding, ran: dict[str, str] | None = None, facts: dict[str, Any] | None = None
) -> Record:
    run = RunInfo("0", "standard", RAN if ran is None else ran, {}, DAY.isoformat())
    info = FileInfo("jpeg", "image/jpeg", 1000, 1000, 800, 1, "RGB", 8)
    return Record("a.jpg", "0" * 64, info, facts or {}, findings, decide(findings), run)


def credential(state: str = "intact", **details: Any) -> Finding:
    answers = {
        "integrity": "intact",
        "trust": "unlisted",
        "time": "in_validity",
        "history": "complete",
        "origin": "synthetic",
    } | details.pop("answers", {})
    base = {
        "answers": answers,
        "manifest": "urn:c2pa:1",
        "signer": {"claims_to_be": "Example", "organisation": "Example"},
        "claim_version": 2,
        "actions": [
            {
                "action": "c2pa.created",
                "agent": "Example Model",
                "agent_version": "3",
                "when": "2026-11-01T00:00:00Z",
            }
        ],
        "digital_source_types": [{"type": "trainedAlgorithmicMedia", "role": "active"}],
    }
    claim = Claim.ALTERED if state == "broken" else Claim.SYNTHETIC
    basis = Basis.CRYPTOGRAPHIC if state == "broken" else Basis.DECLARED
    return Finding("c2pa", f"c2pa.manifest.{state}", claim, basis, details=base | details)


def broken() -> Finding:
    return credential("broken", answers={"integrity": "broken"})


def drawn(**label: Any) -> Finding:
    whole = {"text": "AI生成", "box": [800, 740, 200, 60], "letter_px": 48} | label
    return credential(marking={"intent": "generated", "label": whole})


def aigc(*reasons: str, **label: Any) -> Finding:
    one = {"label": "1", "provider_code": None, "where": {"kind": "xmp", "key": "TC260:AIGC"}}
    code = "label.aigc.invalid" if reasons else "label.aigc.declared"
    details = {"labels": [one | label], "reasons": list(reasons)}
    return Finding("labels", code, Claim.SYNTHETIC, Basis.DECLARED, details=details)


def declared(code: str, claim: Claim = Claim.SYNTHETIC, **details: Any) -> Finding:
    return Finding("x", code, claim, Basis.DECLARED, details=details)


TRACE = declared("trace.a1111")
MARK = Finding("watermark", "watermark.match", Claim.SYNTHETIC, Basis.MARK)
IPTC = declared("label.iptc.source_type", source_type="trainedAlgorithmicMedia")
FAILED = Finding("c2pa", "c2pa.failed")
FIELDS = {"fields": ["provider_name", "system_name", "system_version", "created_at", "unique_id"]}
SHARE = {"min_share": 0.05}

# check → (passes, fails, unknown); each a record, what is stated, and the parameters
Case = tuple[Record, Context, dict[str, Any]]
NOTHING = Context()
ROWS: dict[str, tuple[Case, Case, Case]] = {
    "machine_readable_mark": (
        (record(IPTC), NOTHING, {}),
        (record(TRACE), NO_OTHERS, {}),
        (record(), GENERATED, {}),
    ),
    "signed_declaration": (
        (record(credential()), NOTHING, {}),
        (record(IPTC), NOTHING, {}),
        (record(IPTC, FAILED), NOTHING, {}),
    ),
    "signed_time": (
        (record(credential(answers={"time": "timestamped"})), NOTHING, {}),
        (record(credential()), NOTHING, {}),
        (record(credential(timestamp={"time": "2026-11-01"})), NOTHING, {}),
    ),
    "marking_layers": (
        (record(credential(), MARK), NOTHING, {}),
        (record(MARK), NOTHING, {}),
        (record(credential(soft_bindings=[{"alg": "x"}])), NO_OTHERS, {}),
    ),
    "disclosure_fields": (
        (record(credential()), NOTHING, FIELDS),
        (record(IPTC), NO_OTHERS, FIELDS),
        (record(IPTC), NOTHING, FIELDS),
    ),
    "aigc_present": (
        (record(aigc()), NOTHING, {}),
        (record(IPTC), NOTHING, {}),
        (record(), NOTHING, {}),
    ),
    "aigc_schema": (
        (record(aigc()), NOTHING, {}),
        (record(aigc("missing_key")), NOTHING, {}),
        (record(ran={}), NOTHING, {}),
    ),
    "aigc_value": (
        (record(aigc()), NOTHING, {}),
        (record(aigc("label_value")), NOTHING, {}),
        (record(aigc("not_json")), NOTHING, {}),
    ),
    "aigc_charset": (
        (record(aigc("missing_key")), NOTHING, {}),
        (record(aigc("charset")), NOTHING, {}),
        (record(aigc("not_json")), NOTHING, {}),
    ),
    "aigc_single": (
        (record(aigc()), NOTHING, {}),
        (record(aigc("several_carriers")), NOTHING, {}),
        (record(aigc("too_long")), NOTHING, {}),
    ),
    "aigc_carrier": (
        (record(aigc()), NOTHING, {}),
        (record(aigc(where={"kind": "text", "key": "Comment"})), NOTHING, {}),
        (record(aigc(where={})), NOTHING, {}),
    ),
    "aigc_provider_code": (
        (record(aigc(provider_code={"check_digit": True})), NOTHING, {}),
        (record(aigc(provider_code={"check_digit": False})), NOTHING, {}),
        (record(aigc()), NOTHING, {}),
    ),
    "visible_label": (
        (record(drawn()), NOTHING, {}),
        (
            record(IPTC),
            Context("", {"label_shown_beside": False, "label_drawn_elsewhere": False}),
            {},
        ),
        (record(IPTC), NOTHING, {}),
    ),
    "visible_label_elements": (
        (record(drawn()), NOTHING, {}),
        (record(drawn(text="AI")), NOTHING, {}),
        (record(credential()), NOTHING, {}),
    ),
    "visible_label_height": (
        (record(drawn()), NOTHING, SHARE),
        (record(drawn(letter_px=39)), NOTHING, SHARE),
        (record(drawn(letter_px=None)), NOTHING, SHARE),
    ),
    "visible_label_position": (
        (record(drawn()), NOTHING, {}),
        (record(drawn(box=[400, 350, 200, 60])), NOTHING, {}),
        (record(credential()), NOTHING, {}),
    ),
    "c2pa_integrity": (
        (record(credential()), NOTHING, {}),
        (record(broken()), NOTHING, {}),
        (record(credential(answers={"integrity": "unchecked"})), NOTHING, {}),
    ),
    "c2pa_actions": (
        (record(credential()), NOTHING, {}),
        (record(credential(actions=[{"action": "c2pa.edited"}])), NOTHING, {}),
        (record(credential(actions=[])), NOTHING, {}),
    ),
    "c2pa_source_type": (
        (record(credential()), NOTHING, {}),
        (record(credential(digital_source_types=[])), NOTHING, {}),
        (record(ran={}), NOTHING, {}),
    ),
    "iptc_source_type": (
        (record(IPTC), NOTHING, {}),
        (record(declared("label.iptc.source_type", malformed=["bare_code"])), NOTHING, {}),
        (record(IPTC, ran={}), NOTHING, {}),
    ),
    "iptc_ai_fields": (
        (
            record(IPTC, declared("label.iptc.ai_fields", Claim.NONE, system="M", version="1")),
            NOTHING,
            {},
        ),
        (record(IPTC), NOTHING, {}),
        (record(), NOTHING, {}),
    ),
    "marks_agree": (
        (record(IPTC, aigc()), NOTHING, {}),
        (record(IPTC, declared("label.iptc.source_type", Claim.CAPTURED)), NOTHING, {}),
        (record(IPTC, FAILED), NOTHING, {}),
    ),
    "trace_with_mark": (
        (record(TRACE, IPTC), NOTHING, {}),
        (record(TRACE), NOTHING, {}),
        (record(TRACE, FAILED), NOTHING, {}),
    ),
    "no_reservation": (
        (record(declared("rights.tdm.allowed", Claim.NONE)), NOTHING, {}),
        (record(declared("rights.tdm", Claim.RESERVED)), NOTHING, {}),
        (record(), NOTHING, {}),
    ),
    "no_personal_metadata": (
        (record(ran=RAN | {"privacy": "1"}), NOTHING, {}),
        (record(facts={"gps.present": True}), NOTHING, {}),
        (record(), NOTHING, {}),
    ),
    "coverage": (
        (record(), NOTHING, {}),
        (record(ran={}), NOTHING, {}),
        (record(FAILED), NOTHING, {}),
    ),
}
PIPELINE = {"marks_survive", "credential_survives"}


def test_every_check_of_a_file_has_its_three_records() -> None:
    assert set(ROWS) == set(CHECKS) - PIPELINE


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_check_passes_fails_and_stays_unknown(name: str) -> None:
    got = [CHECKS[name](*row).outcome for row in ROWS[name]]
    assert got == [Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN]


@pytest.mark.parametrize("name", sorted(set(CHECKS) - PIPELINE - {"coverage"}))
def test_no_check_fails_a_picture_that_could_not_be_read(name: str) -> None:
    unreadable = record(Finding("file", "file.unreadable"), ran={})
    params = {**FIELDS, **SHARE}
    assert CHECKS[name](unreadable, GENERATED, params).outcome is not Outcome.FAIL
    assert CHECKS[name](unreadable, NOTHING, params).outcome is not Outcome.FAIL


@pytest.mark.parametrize("name", sorted(set(CHECKS) - PIPELINE))
def test_finding_nothing_fails_nobody(name: str) -> None:
    assert CHECKS[name](record(), NOTHING, {**FIELDS, **SHARE}).outcome is not Outcome.FAIL


def test_a_stated_capture_is_asked_for_no_mark() -> None:
    check: Callable[..., Any] = policy_checks.machine_readable_mark
    assert check(record(), Context("captured"), {}).outcome is Outcome.NOT_APPLICABLE


def test_a_face_is_no_metadata() -> None:
    face = Finding("faces", "privacy.faces", Claim.PERSONAL_DATA)
    serial = Finding("privacy", "privacy.serial", Claim.PERSONAL_DATA)
    check, ran = CHECKS["no_personal_metadata"], RAN | {"privacy": "1"}
    assert check(record(face, ran=ran), NOTHING, {}).outcome is Outcome.PASS
    assert check(record(face, serial, ran=ran), NOTHING, {}).outcome is Outcome.FAIL


def test_a_fact_is_yes_no_or_not_stated() -> None:
    check = SYSTEM_CHECKS["system_fact"]
    hours = {"fact": "takedown_hours", "max": 48}
    assert check(Context("", {"takedown_hours": 24}), hours).outcome is Outcome.PASS
    assert check(Context("", {"takedown_hours": 72}), hours).outcome is Outcome.FAIL
    assert check(Context(), hours).outcome is Outcome.UNKNOWN
    yes = {"fact": "detector_free"}
    assert check(Context("", {"detector_free": True}), yes).outcome is Outcome.PASS
    assert check(Context("", {"detector_free": False}), yes).outcome is Outcome.FAIL


def test_every_rule_names_a_check_and_every_fact_is_asked() -> None:
    from counterproof.audit.questionnaire import FACTS

    rules = [rule for pack in load_packs() for rule in pack.rules]
    assert {rule.check for rule in rules} == set(CHECKS) | set(SYSTEM_CHECKS)
    facts = {rule.params["fact"] for rule in rules if rule.check == "system_fact"}
    stated = {"marks_unreadable_here", "label_shown_beside", "label_drawn_elsewhere"}
    assert facts | stated == set(FACTS)
    assert len(rules) > 70


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_a_sentence(language: str) -> None:
    import inspect

    source = inspect.getsource(policy_checks) + inspect.getsource(policy_labels)
    made = set(re.findall(r'\b(?:passed|failed|unknown|not_asked)\)?\(\s*"([a-z_]+)"', source))
    words = catalogue(language).tables["ui"]
    assert len(made) > 40
    assert [word for word in sorted(made) if f"rules.reason.{word}" not in words] == []


def test_no_rule_promises_compliance() -> None:
    for pack in load_packs():
        for rule in pack.rules:
            said = [rule.title, rule.remedy, *([rule.note] if rule.note else [])]
            text = " ".join(f"{item.en} {item.zh}" for item in said)
            assert "complian" not in text.lower(), rule.id
            assert "合规" not in text, rule.id


def one(report: Any, name: str) -> Any:
    return next(item for item in report.judged if item.rule.id == name)


def test_a_rule_before_its_day_is_upcoming_and_fails_nobody() -> None:
    records = [record(IPTC)]
    before = evaluate(records, dt.date(2026, 8, 1), markets=["EU"], context=NO_OTHERS)
    after = evaluate(records, dt.date(2026, 8, 2), markets=["EU"], context=NO_OTHERS)
    assert (one(before, "EU-50-2").state, one(after, "EU-50-2").state) == ("upcoming", "pass")
    assert one(before, "EU-50-2").to_json()["in_force"] is False
    unsigned = evaluate(records, dt.date(2026, 6, 9), markets=["EU"])
    assert one(unsigned, "COP-1.1.1").state == "upcoming"
    assert one(unsigned, "COP-1.1.1").outcome is Outcome.FAIL


def test_a_recalled_rule_never_passes_or_fails() -> None:
    stated = Context("", {"label_log_months": 1, "training_summary_published": True})
    report = evaluate([record(IPTC)], DAY, context=stated)
    for name in ("CN-9", "EU-53-1"):
        assert one(report, name).state == "unknown"
        assert list(one(report, name).reasons) == [(Outcome.UNKNOWN, "recalled")]


def test_a_rule_without_a_day_is_shown_so() -> None:
    report = evaluate([record()], DAY, markets=["US-UT"])
    assert one(report, "UT-276").state == "undated"
    assert one(report, "UT-276").to_json()["in_force"] is None


def test_an_ended_rule_is_shown_so() -> None:
    text = """
id = "t"
market = ["EU"]
title = {en = "t", zh = "t"}
source = "x"
checked = 2026-01-01
[[rule]]
id = "T-1"
title = {en = "t", zh = "t"}
role = ["provider"]
citation = "c"
in_force = 2020-01-01
ended = 2025-01-01
severity = "low"
check = "coverage"
remedy = {en = "r", zh = "r"}
confidence = "quoted"
"""
    rule = read_pack(text, "t.toml").rules[0]
    days = (dt.date(2019, 1, 1), dt.date(2024, 12, 31), dt.date(2025, 1, 1))
    assert [rule.holds_on(day) for day in days] == [False, True, False]
    with pytest.raises(ValueError, match="T-1: unknown word 'maker'"):
        read_pack(text.replace('"provider"', '"maker"'), "t.toml")
    with pytest.raises(ValueError, match=r"t\.toml: malformed pack"):
        read_pack(text.replace('check = "coverage"', ""), "t.toml")


def test_roles_and_markets_choose() -> None:
    def ids(**asked: list[str]) -> set[str]:
        return {rule.id for _, rules in select(load_packs(), **asked) for rule in rules}

    assert "CA-31B" in ids(markets=["US"], roles=["platform"])
    assert "CA-31B" not in ids(markets=["US-WA"], roles=["platform"])
    assert "CA-31B" not in ids(markets=["US-CA"], roles=["provider"])
    assert "MARKS-AGREE" in ids(markets=["EU"], roles=["platform"])
    with pytest.raises(UserError, match="expected a market of EU"):
        select(load_packs(), ["Mars"])
    with pytest.raises(UserError, match="expected a role of provider"):
        select(load_packs(), [], ["king"])


def test_a_trace_without_a_label_is_pointed_at() -> None:
    settings = Settings(home=Path("unused"))

    def codes(*findings: Finding, **given: Any) -> list[str]:
        judged = judge(record(*findings, **given), settings)
        return [f.code for f in judged.findings if f.prefix == "label"]

    assert codes(TRACE) == ["label.missing"]
    assert codes(TRACE, MARK) == []
    assert codes(TRACE, IPTC) == ["label.iptc.source_type"]
    assert codes() == []
    assert codes(TRACE, FAILED) == []
    assert codes(TRACE, ran={"traces": "1"}) == []
