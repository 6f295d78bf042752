"""Watermarks and fingerprints that a credential names, and which of them this program reads.

A soft binding ties a credential to the picture's content, so that it can be found again after
the metadata are gone (C2PA 2.4 §9.3 and §18.10). The registered algorithms are listed in
`lists/soft-bindings.json`; reading most of them takes their owner's software.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

__all__ = ["describe_bindings", "registered", "unread"]

_OURS = "counterproof."
_MARKS_IN_TEXT = ("SynthID",)
_MAX_ITEMS = 20


@functools.cache
def registered() -> dict[str, dict[str, str]]:
    """Return algorithm → `name` and `type` (`watermark` or `fingerprint`), as registered."""
    file = resources.files("counterproof.provenance") / "lists" / "soft-bindings.json"
    found: dict[str, dict[str, str]] = json.loads(file.read_bytes())["algorithms"]
    return found


def describe_bindings(bindings: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Add to each soft binding the name and type that its algorithm is registered under.

    A name of `None` means that the algorithm is not on our copy of the list.
    """
    found = []
    for binding in bindings:
        alg = binding.get("alg", "")
        known = registered().get(alg, {})
        found.append(
            {
                **binding,
                "name": known.get("name"),
                "type": known.get("type"),
                "read": alg.startswith(_OURS),
            }
        )
    return found


def unread(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say which marks a credential names that this program cannot read; None if there are none.

    Args:
        details: of the finding on the credential: its `soft_bindings`, and its `actions`, in
            whose text some makers name a watermark that has no binding.
    """
    foreign = [item for item in details.get("soft_bindings", ()) if not item["read"]]
    names = [item["name"] or item["alg"] or "unnamed" for item in foreign]
    for action in details.get("actions", ()):
        text = str(action.get("description", ""))
        names += [mark for mark in _MARKS_IN_TEXT if mark in text]
    if not names:
        return None
    return {
        "names": list(dict.fromkeys(names))[:_MAX_ITEMS],
        "algorithms": [item["alg"] for item in foreign][:_MAX_ITEMS],
        "types": sorted({item["type"] or "unknown" for item in foreign}),
    }
