"""GB 45438 labels as text: every rule has its own reason, whatever the text is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterproof.provenance.aigc import (
    FIELDS,
    credit_code_check,
    judge_carriers,
    read_fields,
    read_label,
    read_provider_code,
)

GOOD: dict[str, Any] = {
    "Label": "1",
    "ContentProducer": "001191110102MACQD9K64010000",
    "ProduceID": "01JDEMO0000000000000000001",
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}


def label(**changes: Any) -> str:
    fields = {**GOOD, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        label(),
        json.dumps({"AIGC": GOOD}),
        f"\ufeff {label()}\0",
        label(Label="2"),
        label(Label="3", ContentProducer="", ProduceID="", ContentPropagator="p", PropagateID="q"),
        label(ReservedCode1=None, ReservedCode2=None, ContentPropagator=None, PropagateID=None),
    ],
)
def test_well_formed(text: str) -> None:
    found = read_label(text)
    assert found.reasons == ()
    assert found.label in ("1", "2", "3")


@pytest.mark.parametrize(
    ("text", "reasons", "reads"),
    [
        (label(ContentProducer="Agent AI"), ("charset_space",), "1"),
        (label(ContentProducer="测试公司"), ("charset",), "1"),
        (label(ContentProducer="测试 公司"), ("charset",), "1"),
        (label(ProduceID="a\tb"), ("charset",), "1"),
        (label(Label="AIGC"), ("label_value",), ""),
        (label(Label="4"), ("label_value",), ""),
        (label(Label=" 1"), ("label_value", "charset_space"), "1"),
        (label(Label=1), ("label_type",), "1"),
        (label(Label=True), ("label_type", "label_value"), ""),
        (label(Label=1.0), ("label_type", "label_value"), ""),
        (label(Label=["1"]), ("label_type",), ""),
        (label(ProduceID=7), ("value_type",), "1"),
        (label(ProduceID=None), ("missing_key",), "1"),
        (label(Label=None), ("missing_key",), ""),
        (label(ProduceID=""), ("empty_value",), "1"),
        (label(Evil="x"), ("unknown_key",), "1"),
        ('{"Label":"1",', ("not_json",), ""),
        ("", ("not_json",), ""),
        ("[" * 60_000, ("not_json",), ""),
        ('{"Label":' + "9" * 10_000 + "}", ("not_json",), ""),
        ("[1]", ("not_object",), ""),
        (json.dumps({"AIGC": ["1"]}), ("not_object",), ""),
        (json.dumps({"AIGC": label()}), ("not_object",), "1"),
        (label()[:-1] + ',"Label":"1"}', ("duplicate_key",), "1"),
        (" " * 70_000 + label(), ("too_long",), ""),
    ],
)
def test_each_rule_has_its_reason(text: str, reasons: tuple[str, ...], reads: str) -> None:
    found = read_label(text)
    assert found.reasons == reasons
    assert found.label == reads


def test_where_names_the_field() -> None:
    assert read_label(label(ContentProducer="a b")).where == {"ContentProducer": ("charset_space",)}


def test_a_platform_may_not_know_the_producer() -> None:
    blank = {"ContentProducer": "", "ProduceID": ""}
    assert read_label(label(Label="1", **blank)).reasons == ("empty_value",)
    assert read_label(label(Label="2", **blank)).reasons == ("empty_value",)
    named = {"ContentPropagator": "p", "PropagateID": "q"}
    assert read_label(label(Label="2", **blank, **named)).reasons == ()


def test_fields_that_are_not_json() -> None:
    found = read_fields(dict(GOOD))
    assert found.label == "1"
    assert found.reasons == ("not_json",)


def test_carriers() -> None:
    one, other = read_label(label()), read_label(label(ProduceID="x"))
    assert judge_carriers([]) == ()
    assert judge_carriers([one]) == ()
    assert judge_carriers([one, read_label(json.dumps({"AIGC": GOOD}))]) == ("several_carriers",)
    assert judge_carriers([one, other]) == ("carriers_disagree", "several_carriers")


@pytest.mark.parametrize("body", ["91350100M000100Y4", "91110102MACQD9K64"])
def test_check_character_of_the_credit_code(body: str) -> None:
    # 91350100M000100Y43 is the example of GB 32100; the other stands in a vendor's label
    assert body + credit_code_check(body) in ("91350100M000100Y43", "91110102MACQD9K640")


def test_provider_code() -> None:
    code = read_provider_code("001191110102MACQD9K64010000")
    assert code is not None
    assert (code.subject, code.binding, code.service, code.check) == ("1", "1", "1", True)
    assert code.to_json()["check_digit"] is True


def test_every_slip_of_one_character_breaks_the_check() -> None:
    """The check catches every single substitution, since 31 is prime and no weight is 0."""
    body = "91110102MACQD9K64"
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    right = credit_code_check(body)
    for at, old in enumerate(body):
        for new in alphabet:
            if new != old:
                assert credit_code_check(body[:at] + new + body[at + 1 :]) != right


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("001191110102MACQD9K65010000", False),  # one digit off
        ("002191110102MACQD9K64010000", None),  # another kind of subject: no such check
        ("001191110102MACQD9K6401000", "none"),
        ("Minimax Agent AI", "none"),
        ("001191110102MACQD9I64010000", "none"),  # I is not of the alphabet
        ("", "none"),
    ],
)
def test_codes_that_are_not_right(text: str, check: bool | str | None) -> None:
    code = read_provider_code(text)
    assert (code.check if code else "none") == check


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    found = read_label(text)
    assert found.reasons or found.label


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), values))
def test_what_is_called_well_formed_keeps_the_rules(fields: dict[str, Any]) -> None:
    found = read_label(json.dumps(fields))
    if not found.reasons:
        assert fields["Label"] in ("1", "2", "3")
        assert set(fields) <= set(FIELDS)
        assert all("!" <= char <= "~" for value in fields.values() for char in value)
