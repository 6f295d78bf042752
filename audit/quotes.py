"""What a finding quotes of the file, chosen and in words, for whoever shows it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from counterproof.audit.history import action_word
from counterproof.findings import Finding
from counterproof.text import Catalogue, visible

__all__ = ["Line", "quotes"]

_MAX_VALUE = 200
_MAX_LINES = 14


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what stands beside it."""

    label: str
    value: str


def quotes(finding: Finding, words: Catalogue) -> tuple[Line, ...]:
    """Return what the finding's details say, as labelled lines; empty values are left out."""
    if finding.code.startswith("c2pa.manifest."):
        found = _credential(finding.details, words)
    elif finding.code == "c2pa.parent.broken":
        found = _titles(finding.details, words)
    elif finding.code == "c2pa.parent.claim":
        found = _statements(finding.details, words)
    elif finding.code.startswith("label.aigc."):
        found = _aigc(finding.details, words)
    else:
        found = _plain(finding.details, words)
    return tuple(line for line in found if line.value)[:_MAX_LINES]


# Details that other parts of a page show, or that only programs read.
_SILENT = frozenset(
    {
        "analyzer",
        "answers",
        "coverage",
        "false_positive_rate",
        "history",
        "holds_from",
        "holds_until",
        "prompt_chars",
        "score",
        "source_type",
    }
)


# Details whose values are codes with words of their own in the catalogue.
_WORDED = frozenset(
    {"answer", "disagree", "goes_by", "likelihood", "mode", "not_tested", "reason", "strongest_at"}
)


def _plain(details: Mapping[str, Any], words: Catalogue) -> Iterator[Line]:
    """Quote every detail of a code that needs no choosing, in the order of the finding."""
    for name, value in details.items():
        if name in _SILENT or value in (None, "", [], {}, False):
            continue
        if name == "where":
            yield Line(_label("where", words), _places(value, words))
        elif name == "cause" and f"cause.{value}" in words.tables["ui"]:
            yield Line(_label("cause", words), words.ui(f"cause.{value}"))
        elif name in _WORDED:
            items = value if isinstance(value, list) else [value]
            said = words.ui("list.separator").join(_word(name, item, words) for item in items)
            yield Line(_label(name, words), said)
        else:
            yield Line(_label(name, words), _value(value, words))


def _credential(details: Mapping[str, Any], words: Catalogue) -> Iterator[Line]:
    signer = _map(details.get("signer"))
    listed = _map(signer.get("list"))
    if name := _text(signer.get("name")):
        yield Line(_label("signer", words), _joined(name, _text(signer.get("organisation"))))
        when = words.ui(
            "quote.list", name=_text(listed.get("name")), date=_text(listed.get("date"))
        )
        yield Line(_label("list", words), when if listed else "")
        if product := _map(details.get("product")):
            key = (
                "quote.product"
                if len(_list(product.get("levels"))) == 1
                else "quote.product.several"
            )
            text = words.ui(
                key,
                name=_text(product.get("name")),
                level=_value(product.get("levels"), words),
                since=_text(product.get("conformant")),
                date=_text(product.get("list_date")),
            )
            yield Line(_label("product", words), text)
    elif name := _text(signer.get("claims_to_be")):
        yield Line(_label("claims_to_be", words), name)
    yield Line(_label("issuer", words), _text(signer.get("issuer")))
    stamp = _map(details.get("timestamp"))
    if stamp:
        key = "quote.stamp" if stamp.get("counts") else "quote.stamp.unlisted"
        text = words.ui(key, time=_time(stamp.get("time")), name=_text(stamp.get("authority")))
        yield Line(_label("timestamp", words), text)
    if details.get("revocation") in ("good", "revoked", "not_checked", "unknown"):
        word = words.ui(f"revocation.{details['revocation']}")
        yield Line(_label("revocation", words), word)
    yield Line(_label("program", words), _text(details.get("generator")))
    yield Line(_label("title", words), _text(details.get("title")))
    done = [_text(_map(item).get("action")) for item in _list(details.get("actions"))]
    named = dict.fromkeys(action_word(item, words) for item in done if item)
    yield Line(_label("actions", words), _value(list(named), words))
    yield _types(details.get("digital_source_types"), words)
    uncovered = [*_list(_map(details.get("coverage")).get("blocks"))]
    yield Line(_label("uncovered", words), _places(uncovered, words))
    yield _ranges(_list(_map(details.get("coverage")).get("beyond")), words)
    yield _facts(_map(_map(details.get("coverage")).get("facts")), words)
    identities = list(_map(details.get("identities")))
    yield Line(_label("identities", words), _value(identities, words))
    yield Line(_label("training", words), _value(_map(details.get("training_mining")), words))
    yield Line(_label("url", words), _text(details.get("url")))
    yield Line(_label("library_error", words), _text(details.get("library_error")))
    yield Line(_label("malformed", words), _value(_list(details.get("malformed")), words))


def _ranges(ranges: list[Any], words: Catalogue) -> Line:
    """Name the bytes outside the credential that no hash covers."""
    said = [
        f"{item[0]:,}–{item[0] + item[1] - 1:,}"
        for item in ranges[:6]
        if isinstance(item, list) and len(item) == 2 and item[1]
    ]
    more = " …" if len(ranges) > 6 else ""
    return Line(_label("ranges", words), words.ui("list.separator").join(said).strip() + more)


def _facts(facts: Mapping[str, Any], words: Catalogue) -> Line:
    """Say of capture time, place and camera whether the signature covers them."""
    said = [
        words.ui(f"covered.{state}", what=words.ui(f"covered.what.{name}"))
        for name in ("captured_at", "gps", "camera")
        if (state := _map(facts.get(name)).get("state")) in ("signed", "not_covered")
    ]
    return Line(_label("facts", words), "; ".join(said))


def _titles(details: Mapping[str, Any], words: Catalogue) -> Iterator[Line]:
    titles = [item for found in _map(details.get("codes")).values() for item in _list(found)]
    yield Line(_label("parents", words), _value(list(dict.fromkeys(titles)), words))
    yield Line(_label("failed", words), _value(list(_map(details.get("codes"))), words))


def _statements(details: Mapping[str, Any], words: Catalogue) -> Iterator[Line]:
    yield _types(details.get("statements"), words)


def _types(value: Any, words: Catalogue) -> Line:
    names = dict.fromkeys(_text(_map(item).get("type")) for item in _list(value))
    said = [_word("source_type", name, words) for name in names if name]
    return Line(_label("source_types", words), words.ui("list.separator").join(said))


def _aigc(details: Mapping[str, Any], words: Catalogue) -> Iterator[Line]:
    reasons = [_word("reason", item, words) for item in _list(details.get("reasons"))]
    yield Line(_label("reason", words), words.ui("list.separator").join(reasons))
    for item in _list(details.get("labels")):
        label = _map(item)
        for name in ("label", "producer", "produce_id", "where"):
            value = label.get(name)
            text = _places(value, words) if name == "where" else _value(value, words)
            yield Line(_label(name, words), text)


def _label(name: str, words: Catalogue) -> str:
    known: str = words.tables["ui"].get(f"detail.{name}", "")
    return known or visible(name.replace("_", " "))[:60]


def _word(table: str, value: Any, words: Catalogue) -> str:
    known: str = words.tables["ui"].get(f"{table}.{value}", "")
    return known or _value(value, words)


def _places(value: Any, words: Catalogue) -> str:
    """Name the kinds of block that a text stands in: XMP, EXIF, a PNG text."""
    kinds: dict[str, None] = {}
    for item in value if isinstance(value, list) else [value]:
        kind = _text(item.get("kind")) if isinstance(item, Mapping) else _text(item)
        key = _text(item.get("key")) if isinstance(item, Mapping) else ""
        name = _word("block", kind, words)
        kinds[f"{name} ({key})" if key else name] = None
    return words.ui("list.separator").join(item for item in kinds if item)


def _value(value: Any, words: Catalogue) -> str:
    """Write a JSON value for people, on one line and cut to a length."""
    match value:
        case None:
            return ""
        case bool():
            return words.ui("fact.yes" if value else "fact.no")
        case str():
            return _text(value)
        case list():
            items = [text for item in value[:12] if (text := _value(item, words))]
            return _cut(words.ui("list.separator").join(items))
        case dict():
            items = [
                f"{visible(str(name))}: {text}"
                for name, item in list(value.items())[:12]
                if (text := _value(item, words))
            ]
            return _cut("; ".join(items))
        case float():
            return f"{value:.4g}"
    return str(value)


def _text(value: Any) -> str:
    return _cut(visible(value[: 8 * _MAX_VALUE])) if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1].rstrip()}…"


def _joined(name: str, organisation: str) -> str:
    return f"{name} ({organisation})" if organisation and organisation != name else name


def _time(value: Any) -> str:
    text = _text(value)
    return f"{text[:10]} {text[11:16]} UTC" if text.endswith("+00:00") else text[:25]


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
