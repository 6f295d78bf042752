"""The details of a credential's finding: what a report draws and a sentence quotes, kept small."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterproof.provenance.history import Ingredient, Step
from counterproof.provenance.jumbf import references
from counterproof.provenance.manifest_store import library_version
from counterproof.provenance.mark_options import MARKING
from counterproof.provenance.products import product_of
from counterproof.provenance.soft_bindings import describe_bindings
from counterproof.provenance.standing import Standing

if TYPE_CHECKING:
    from counterproof.provenance.credentials import Credential

__all__ = ["describe", "named_assertions", "training_entries"]

_MAX_ITEMS = 40
_MAX_TREE = 60
_MAX_CODES = 60


def describe(credential: "Credential", as_of: dt.date) -> dict[str, Any]:
    """Return the details of a `c2pa.manifest.*` finding as JSON values."""
    reading, active = credential.reading, credential.active
    details: dict[str, Any] = {
        "answers": credential.answers.to_json(),
        "library": library_version(),
        "origin": reading.origin,
        "url": reading.url,
        "as_of": as_of.isoformat(),
    }
    if reading.error:
        details["library_error"] = reading.error
    if reading.ambiguous:
        details["ambiguous"] = reading.ambiguous
    if credential.state in ("unparsed", "unfetched"):
        return details
    standing = active.standing
    signature = reading.signatures.get(reading.active)
    steps = list(active.steps())
    types = [item for step in steps for item in step.source_types]
    details |= {
        "manifest": reading.active,
        "manifests": len(reading.contents),
        "generator": active.generator,
        "title": active.title,
        "claim_version": active.claim_version,
        "signer": _signer(credential),
        "signature": {
            "algorithm": signature.algorithm if signature else "",
            "holds": signature.holds if signature else None,
        },
        "timestamp": standing.timestamp_json() if standing else None,
        "product": _product(standing),
        "advisory": standing.advisory.to_json() if standing and standing.advisory else None,
        "revocation": credential.revocation.status,
        "revocation_answer": credential.revocation.to_json()
        if credential.revocation.source
        else None,
        "stapled_ocsp": signature.stapled_ocsp if signature else False,
        "local_identity": standing.local if standing else False,
        "coverage": dict(credential.coverage),
        "capture_uncovered": _uncovered(credential.coverage),
        "actions": [item.to_json() for item in active.actions[:_MAX_ITEMS]],
        "actions_count": len(active.actions),
        "digital_source_types": [
            {
                "type": item.name,
                "manifest": item.manifest,
                "role": item.role,
                "where": item.where,
                "action": item.action,
                "claim": item.claim.value,
            }
            for item in types[:_MAX_ITEMS]
        ],
        "history": _Tree().draw(active),
        "malformed": list(credential.malformed),
        "codes": _codes(reading.results),
        "mismatched_assertions": {
            label: list(found)[:_MAX_ITEMS] for label, found in reading.mismatched.items() if found
        },
    }
    details |= named_assertions(reading.contents.get(reading.active))
    if credential.holds_from:
        details["holds_from"] = credential.holds_from.isoformat()
    if credential.holds_until:
        details["holds_until"] = credential.holds_until.isoformat()
    return details


def _signer(credential: "Credential") -> dict[str, Any] | None:
    """Describe the signer; where nobody vouches for it after all, it only claims its name."""
    if credential.active.standing is None:
        return None
    signer = credential.active.standing.signer_json()
    if credential.answers.trust.value == "unlisted" and "name" in signer:
        signer = {"claims_to_be": signer.pop("name"), **signer, "list": None}
    return signer


def _uncovered(coverage: Mapping[str, Any]) -> bool:
    """Tell whether a capture rests on bytes that are not signed: its picture, time or place."""
    facts = coverage.get("facts") or {}
    lost = any(item.get("state") == "not_covered" for item in facts.values())
    return bool(coverage.get("picture_excluded")) or lost


def _product(standing: Standing | None) -> dict[str, Any] | None:
    found = product_of(standing) if standing else None
    return found.to_json() if found else None


def _codes(results: Mapping[str, Any]) -> dict[str, Any]:
    """Group the library's codes: those of the active manifest, and those of its parents now."""
    active = results.get("activeManifest") or {}
    found: dict[str, Any] = {}
    for outcome in ("success", "informational", "failure"):
        counted = Counter(str(item.get("code", "")) for item in active.get(outcome) or ())
        found[outcome] = dict(sorted(counted.items())[:_MAX_CODES])
    parents = Counter(
        str(item.get("code", ""))
        for delta in results.get("ingredientDeltas") or ()
        for item in (delta.get("validationDeltas") or {}).get("failure") or ()
    )
    found["parents"] = dict(sorted(parents.items())[:_MAX_CODES])
    return found


def named_assertions(content: Any) -> dict[str, Any]:
    """Name soft bindings, training entries and identities of the active manifest."""
    content = content if isinstance(content, Mapping) else {}
    claim, store = content.get("claim"), content.get("assertion_store")
    if not isinstance(claim, Mapping) or not isinstance(store, Mapping):
        return {"soft_bindings": [], "training_mining": {}, "identities": {}, "assertions": []}
    declared = [str(item.get("url")).rpartition("/")[2] for item in references(claim)]
    bindings: list[dict[str, str]] = []
    training: dict[str, str] = {}
    identities: Counter[str] = Counter()
    marking: dict[str, Any] = {}
    for label in declared:
        data = store.get(label)
        data = data if isinstance(data, Mapping) else {}
        if label.startswith("c2pa.soft-binding"):
            bindings.append({"label": label, "alg": str(data.get("alg", ""))[:120]})
        elif "training-mining" in label:
            training |= {name: entry["use"] for name, entry in _entries(data).items()}
        elif label == MARKING:
            marking = _marking(data)
        elif label.startswith("cawg.identity"):
            payload = data.get("signer_payload")
            kind = payload.get("sig_type") if isinstance(payload, Mapping) else ""
            identities[str(kind or "not decoded")[:80]] += 1
    found: dict[str, Any] = {"marking": marking} if marking else {}
    return found | {
        "soft_bindings": describe_bindings(bindings[:_MAX_ITEMS]),
        "training_mining": dict(list(training.items())[:_MAX_ITEMS]),
        "identities": dict(identities),
        "assertions": declared[:_MAX_ITEMS],
    }


def training_entries(content: Any) -> dict[str, dict[str, str]]:
    """Return the entries on training and mining of a manifest: name → `use`, `constraint_info`."""
    content = content if isinstance(content, Mapping) else {}
    claim, store = content.get("claim"), content.get("assertion_store")
    found: dict[str, dict[str, str]] = {}
    if isinstance(claim, Mapping) and isinstance(store, Mapping):
        for item in references(claim):
            label = str(item.get("url")).rpartition("/")[2]
            data = store.get(label)
            if "training-mining" in label and isinstance(data, Mapping):
                found |= _entries(data)
    return dict(list(found.items())[:_MAX_ITEMS])


def _entries(data: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    entries = data.get("entries")
    found: dict[str, dict[str, str]] = {}
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        values = entry if isinstance(entry, Mapping) else {}
        found[str(name)[:120]] = {"use": str(values.get("use") or "")[:60]}
        if info := values.get("constraint_info"):
            found[str(name)[:120]]["constraint_info"] = str(info)[:500]
    return found


def _marking(data: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `mark` signed of the layers it put on, as far as it has the form."""
    found: dict[str, Any] = {"intent": str(data.get("intent", ""))[:40]}
    label = data.get("label")
    if isinstance(label, Mapping):
        box, letter = label.get("box"), label.get("letter_px")
        found["label"] = {"text": str(label.get("text", ""))[:120]}
        places = box if isinstance(box, Mapping) else {}
        numbers = [places[name] for name in "xywh" if isinstance(places.get(name), int)]
        if len(numbers) == 4:
            found["label"]["box"] = numbers
        if isinstance(letter, int):
            found["label"]["letter_px"] = letter
    return found


class _Tree:
    """Draws the chain as nested JSON, at most `_MAX_TREE` nodes of it."""

    def __init__(self) -> None:
        self.left = _MAX_TREE

    def draw(self, step: Step) -> dict[str, Any]:
        self.left -= 1
        standing = step.standing
        signer = standing.signer_json() if standing else {}
        node: dict[str, Any] = {
            "manifest": step.label,
            "role": step.role,
            "title": step.title,
            "generator": step.generator,
            "verified": step.trusted_path,
            "signer": signer.get("name") or signer.get("claims_to_be") or "",
            "named": "name" in signer,
            "trust": standing.trust.value if standing else "none",
            "time": standing.time.value if standing else "none",
            "signed_at": standing.signature.timestamp.time.isoformat()
            if standing and standing.timestamp_list and standing.signature.timestamp
            else None,
            "actions": [action.name for action in step.actions[:_MAX_ITEMS]],
            "source_types": [item.name for item in step.source_types[:_MAX_ITEMS]],
            "redacted": step.redacted,
        }
        node["ingredients"] = [self._ingredient(item) for item in step.ingredients if self.left > 0]
        if len(node["ingredients"]) < len(step.ingredients):
            node["ingredients_count"] = len(step.ingredients)
        return node

    def _ingredient(self, item: Ingredient) -> dict[str, Any]:
        self.left -= 1
        return {
            "title": item.title,
            "format": item.format,
            "relationship": item.relationship,
            "credential": bool(item.manifest),
            "broken": list(item.broken),
            "failures": list(item.failures)[:_MAX_ITEMS],
            "step": self.draw(item.step) if item.step and self.left > 0 else None,
        }
