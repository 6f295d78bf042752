"""The implicit label of GB 45438-2025: its fields, its rules, the provider code.

One label is one JSON object, bare or wrapped as `{"AIGC": {…}}`. Reading and judging are apart:
a label that breaks a rule may still say plainly that a model made the picture.

Sources: GB 45438-2025 annex E and 6.1 c), TC260-PG-20252A (provider code), TC260-PG-20259A
(carriers in images), each as quoted in open implementations; the standard's own text was not
at hand. GB 32100-2015 for the check character of the social credit code.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FIELDS",
    "NAMESPACE",
    "AigcLabel",
    "ProviderCode",
    "credit_code_check",
    "judge_carriers",
    "read_fields",
    "read_label",
    "read_provider_code",
]

NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
FIELDS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
_LABELS = ("1", "2", "3")
_MAX_TEXT = 64 * 1024  # characters; a label in use has some 200
_MAX_NAMED = 16  # fields that are named as defective
_PRINTABLE = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class AigcLabel:
    """One label as read.

    Attributes:
        label: `1` is, `2` may be, `3` is suspected to be made by a model; empty if the label
            does not plainly say one of them.
        values: the fields that hold text; a number is shown as it is written.
        reasons: the rules it breaks, each once, in the order found; empty if well-formed.
            `too_long` `not_json` `not_object` `duplicate_key` `unknown_key` `missing_key`
            `empty_value` `value_type` `label_type` `label_value` `charset_space` `charset`
        where: field → the rules that it breaks.
    """

    label: str = ""
    values: dict[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def provider(self) -> "ProviderCode | None":
        """The provider code of the producer; None if it is no 27-character code."""
        return read_provider_code(self.values.get("ContentProducer", ""))


class _Faults:
    """Collects the rules that a label breaks."""

    def __init__(self) -> None:
        self.reasons: dict[str, None] = {}
        self.where: dict[str, tuple[str, ...]] = {}

    def add(self, reason: str, name: str = "") -> None:
        self.reasons[reason] = None
        if len(self.where) >= _MAX_NAMED and name not in self.where:
            return
        if name and reason not in self.where.get(name, ()):
            self.where[name] = (*self.where.get(name, ()), reason)


def read_label(text: str) -> AigcLabel:
    """Read one label and name every rule of the standard that it breaks.

    Args:
        text: JSON, bare or wrapped in an object with the one key `AIGC`.

    >>> read_label('{"Label":"1","ContentProducer":"x","ProduceID":"y"}').label
    '1'
    >>> read_label('{"Label":1,"ContentProducer":"x","ProduceID":"y"}').reasons
    ('label_type',)
    """
    faults = _Faults()
    if len(text) > _MAX_TEXT:
        return AigcLabel(reasons=("too_long",))

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            faults.add("duplicate_key")
        return found

    try:
        value = json.loads(text.strip().strip("\0\ufeff"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return AigcLabel(reasons=("not_json",))
    if isinstance(value, dict) and "AIGC" in value and "Label" not in value:
        value = value["AIGC"]
        if isinstance(value, str):  # some programs write JSON inside JSON
            faults.add("not_object")
            return _inner(value, faults)
    if not isinstance(value, dict):
        return AigcLabel(reasons=("not_object",))
    return _judge(value, faults)


def _inner(text: str, faults: _Faults) -> AigcLabel:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return _judge(value, faults) if isinstance(value, dict) else AigcLabel(reasons=("not_object",))


def read_fields(fields: dict[str, str]) -> AigcLabel:
    """Judge a label whose fields were stored one by one and not as JSON."""
    faults = _Faults()
    faults.add("not_json")
    return _judge(dict(fields), faults)


def _judge(value: dict[str, Any], faults: _Faults) -> AigcLabel:
    values: dict[str, str] = {}
    for name, content in value.items():
        if name not in FIELDS:
            faults.add("unknown_key", name[:64])
            continue
        if isinstance(content, str):
            values[name] = content
        elif isinstance(content, int | float):
            values[name] = json.dumps(content)
            faults.add("label_type" if name == "Label" else "value_type", name)
        else:
            faults.add("label_type" if name == "Label" else "value_type", name)
    label = values.get("Label", "").strip()
    if "Label" in values and values["Label"] not in _LABELS:
        faults.add("label_value", "Label")
    for name in _required(label, values):
        if name not in value:
            faults.add("missing_key", name)
        elif values.get(name) == "":
            faults.add("empty_value", name)
    for name, content in values.items():
        if not _PRINTABLE.fullmatch(content):
            space = " " in content and _PRINTABLE.fullmatch(content.replace(" ", ""))
            faults.add("charset_space" if space else "charset", name)
    return AigcLabel(
        label if label in _LABELS else "", values, tuple(faults.reasons), dict(faults.where)
    )


def _required(label: str, values: dict[str, str]) -> tuple[str, ...]:
    """Return the fields that must not be empty.

    Labels 2 and 3 are a platform's, which may not know who made the content: then its own two
    fields do as well.
    """
    producer, platform = FIELDS[1:3], FIELDS[4:6]
    if label in ("2", "3") and not any(values.get(name) for name in producer):
        return ("Label", *platform)
    return ("Label", *producer)


def judge_carriers(labels: Iterable[AigcLabel]) -> tuple[str, ...]:
    """Name the rules that the labels of one file break together.

    `several_carriers` if there is more than one (6.1 c allows one), `carriers_disagree` if
    their fields differ.
    """
    found = list(labels)
    if len(found) < 2:
        return ()
    if all(label.values == found[0].values for label in found):
        return ("several_carriers",)
    return ("carriers_disagree", "several_carriers")


_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE = re.compile(r"00([0-9A-Z])([0-9A-Z])([0-9A-HJ-NPQRTUWXY]{18})([0-9A-Z])([0-9A-Z]{4})")


@dataclass(frozen=True, slots=True)
class ProviderCode:
    """The parts of a 27-character provider code. Whose it is, is never looked up.

    Attributes:
        subject: `1` for an organisation.
        binding: `1` where the code is bound to the unified social credit code.
        service: `1` generates, `2` propagates, `0` not told apart; other values as they are.
        check: whether the check character of the social credit code is right; None where the
            code is bound to something else.
    """

    subject: str
    binding: str
    service: str
    check: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the parts as JSON values."""
        return {
            "subject": self.subject,
            "binding": self.binding,
            "service": self.service,
            "check_digit": self.check,
        }


def read_provider_code(code: str) -> ProviderCode | None:
    """Split a provider code; None if the text has not its form (a plain name is allowed too).

    >>> read_provider_code("001191110102MACQD9K64010000").check
    True
    """
    found = _CODE.fullmatch(code)
    if found is None:
        return None
    subject, binding, credit, service, _ = found.groups()
    check = (
        credit_code_check(credit[:17]) == credit[17] if (subject, binding) == ("1", "1") else None
    )
    return ProviderCode(subject, binding, service, check)


def credit_code_check(body: str) -> str:
    """Return the 18th character of a unified social credit code.

    Args:
        body: its first 17 characters.

    Raises:
        ValueError: if a character is not of the code's alphabet.

    Source: GB 32100-2015, 31 less the sum of values times 3^i modulo 31.
    """
    total = sum(_ALPHABET.index(char) * pow(3, i, 31) for i, char in enumerate(body))
    return _ALPHABET[-total % 31]
