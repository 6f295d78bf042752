"""Which marks of a picture survive what was done to it: one scan before, one after.

Two files make the fact certain, so a loss is a failure here and not a suspicion.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from counterproof.findings import Claim, Finding, Integrity, Record, Status

__all__ = ["PIPELINE_SCHEMA", "Mark", "Pipeline", "follow"]

PIPELINE_SCHEMA = "counterproof.pipeline/1"

_KINDS = ("credential", "iptc", "aigc", "watermark", "visible", "rights")
_READERS = {
    "credential": "c2pa",
    "iptc": "labels",
    "aigc": "labels",
    "watermark": "watermark",
    "visible": "c2pa",
    "rights": "rights",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One kind of mark, before and after.

    Attributes:
        kind: `credential`, `iptc`, `aigc`, `watermark`, `visible`, `rights`.
        before: what it said; empty if it was not there.
        after: what it says; empty if it is not there.
        state: `kept`, `changed`, `lost`, `broken`, `added`, `absent`, or `not_looked`.
    """

    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    state: str

    def to_json(self) -> dict[str, Any]:
        """Return the mark as JSON values."""
        return {
            "kind": self.kind,
            "state": self.state,
            "before": list(self.before),
            "after": list(self.after),
        }


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What became of the marks of one picture."""

    before: Record
    after: Record
    marks: tuple[Mark, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """Kinds that were there and are gone or broken."""
        return tuple(item.kind for item in self.marks if item.state in ("lost", "broken"))

    @property
    def outcome(self) -> str:
        """`fail` if a mark was lost, `pass` if all were kept, else what stopped us saying so."""
        if self.lost:
            return "fail"
        had = [item for item in self.marks if item.before]
        if not had:
            return "not_applicable"
        settled = all(item.state in ("kept", "changed") for item in had)
        return "pass" if settled else "unknown"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values (schema `counterproof.pipeline/1`)."""
        return {
            "schema": PIPELINE_SCHEMA,
            "before": {"path": self.before.path, "sha256": self.before.sha256},
            "after": {"path": self.after.path, "sha256": self.after.sha256},
            "outcome": self.outcome,
            "lost": list(self.lost),
            "marks": [item.to_json() for item in self.marks],
        }


def follow(before: Record, after: Record) -> Pipeline:
    """Compare the marks of a picture before and after some step."""
    return Pipeline(before, after, tuple(_mark(kind, before, after) for kind in _KINDS))


def _mark(kind: str, before: Record, after: Record) -> Mark:
    had, has = (tuple(_said(kind, record)) for record in (before, after))
    if not _looked(kind, before) or not _looked(kind, after):
        return Mark(kind, had, has, "not_looked")
    if kind == "credential" and has and after.verdict.answers.integrity is Integrity.BROKEN:
        was = before.verdict.answers.integrity
        return Mark(kind, had, has, "kept" if was is Integrity.BROKEN else "broken")
    if not had:
        return Mark(kind, had, has, "added" if has else "absent")
    if not has:
        # what the credential recorded may still be in the pixels, which nobody read
        return Mark(kind, had, has, "not_looked" if kind == "visible" else "lost")
    return Mark(kind, had, has, "kept" if set(had) <= set(has) else "changed")


def _looked(kind: str, record: Record) -> bool:
    broke = {f.prefix for f in record.findings if f.state in ("failed", "timeout", "skipped")}
    reader = _READERS[kind]
    prefix = {"labels": "label"}.get(reader, reader)
    unreadable = record.verdict.status is Status.UNREADABLE
    return reader in record.run.analyzers and prefix not in broke and not unreadable


def _said(kind: str, record: Record) -> Iterable[str]:
    """Say in short what the marks of one kind state."""
    for finding in record.findings:
        yield from _short(kind, finding)


def _short(kind: str, finding: Finding) -> Iterable[str]:
    code, details = finding.code, finding.details
    if kind == "credential" and code.startswith("c2pa.manifest."):
        yield str(details.get("manifest") or code)
        yield from _parents(details.get("history"))
    elif kind == "iptc" and code == "label.iptc.source_type":
        yield str(details.get("source_type") or details.get("value"))
    elif kind == "aigc" and code.startswith("label.aigc.") and "labels" in details:
        for label in details["labels"]:
            yield " ".join(str(label.get(n) or "–") for n in ("label", "producer", "produce_id"))
    elif kind == "watermark" and finding.prefix == "watermark" and finding.claim is not Claim.NONE:
        yield str(details.get("id") or code)
    elif kind == "visible" and code.startswith("c2pa.manifest."):
        label = (details.get("marking") or {}).get("label")
        if label:
            yield str(label.get("text"))
    elif kind == "rights" and finding.claim is Claim.RESERVED:
        yield code


def _parents(step: Any) -> Iterable[str]:
    """Name the manifests of the chain, so that a credential kept as a parent counts as kept."""
    if not isinstance(step, dict):
        return
    for item in step.get("ingredients", ()):
        inner = item.get("step")
        if isinstance(inner, dict):
            yield str(inner.get("manifest"))
            yield from _parents(inner)
