"""What a digital source type says of a picture, and where a credential may write one.

Source: IPTC NewsCodes, Digital Source Type (cv.iptc.org/newscodes/digitalsourcetype); C2PA
2.4 §18.15 (actions); the table from type to claim in docs/contract.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from counterproof.findings import Claim

__all__ = ["claim_of", "find_types", "metadata_types", "short_name"]

_BASES = ("cv.iptc.org/newscodes/digitalsourcetype/", "c2pa.org/digitalsourcetype/")
_EDITED = ("compositewithtrainedalgorithmicmedia", "compositesynthetic")
_CAPTURED = ("digitalcapture", "computationalcapture")
_IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_METADATA = ("c2pa.metadata", "cawg.metadata", "stds.iptc", "stds.schema-org.creativework")
_MAX_DEPTH = 6


def short_name(value: str) -> str:
    """Return the word behind the vocabulary's address; any other value as it is.

    >>> short_name("http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture")
    'digitalCapture'
    """
    text = value.strip().removeprefix("https://").removeprefix("http://")
    for base in _BASES:
        if text.lower().startswith(base):
            return text[len(base) :].strip("/")
    return value.strip()


def claim_of(value: str, *, beginning: bool) -> Claim:
    """Return what a digital source type claims.

    Args:
        value: the term or its address.
        beginning: whether it describes how the picture came to be; else a later step.
    """
    word = short_name(value).lower()
    if word == "trainedalgorithmicmedia":
        return Claim.SYNTHETIC if beginning else Claim.MODEL_EDITED
    if word in _EDITED:
        return Claim.MODEL_EDITED
    if word in _CAPTURED and beginning:
        return Claim.CAPTURED
    return Claim.NONE


def find_types(action: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each digital source type of one action, and whether it sits in its parameters."""
    if isinstance(value := action.get("digitalSourceType"), str) and value:
        yield value, False
    for value in _nested(action.get("parameters"), 0):
        yield value, True


def _nested(value: Any, depth: int) -> Iterator[str]:
    """Yield every text under a key that ends in `digitalSourceType`, as Adobe writes them."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if str(key).lower().endswith("digitalsourcetype") and isinstance(item, str) and item:
                yield item
            else:
                yield from _nested(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value[:64]:
            yield from _nested(item, depth + 1)


def metadata_types(label: str, data: Any) -> Iterator[str]:
    """Yield the digital source types that a metadata assertion gives to the whole picture."""
    if not label.lower().startswith(_METADATA) or not isinstance(data, Mapping):
        return
    context = data.get("@context")
    prefixes = context if isinstance(context, Mapping) else {}
    for key, item in data.items():
        prefix, _, local = str(key).rpartition(":")
        if local.lower() != "digitalsourcetype":
            continue
        if prefix and prefixes.get(prefix) != _IPTC_EXTENSION:
            continue
        value = item.get("@id") if isinstance(item, Mapping) else item
        if isinstance(value, str) and value:
            yield value
