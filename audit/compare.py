"""Compare a copy with its original: what changed, and where.

    pixels (aligned) · metadata · credentials · labels and traces · hashes · the file itself

Both pictures are looked at by a scan first, in a worker; pixels and metadata are then compared
by `compare_pixels.py`, records here. Nothing here says that anybody tampered: a copy differs from
its original, and this says in what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.audit.compare_pixels import PixelResult, compare_apart
from counterproof.audit.duplicates import RADIUS_64, RADIUS_256
from counterproof.audit.metadata_fields import Change
from counterproof.findings import Finding, Record

if TYPE_CHECKING:
    from counterproof.settings import Limits

__all__ = ["SCHEMA", "Comparison", "Row", "compare"]

SCHEMA = "counterproof.comparison/1"

_FAULTS = ("failed", "timeout", "skipped")


@dataclass(frozen=True, slots=True)
class Row:
    """One property of both: a fact of the file, an answer, a hash.

    Attributes:
        name: `stored.format`, `fact.camera.make`, `answer.trust` …
        original: JSON value.
        copy: JSON value.
    """

    name: str
    original: Any
    copy: Any

    @property
    def same(self) -> bool:
        """Whether both are equal."""
        return bool(self.original == self.copy)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {"name": self.name, "original": self.original, "copy": self.copy, "same": self.same}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs between an original and a copy.

    Attributes:
        original: its record.
        copy: its record.
        pixels: what became of the pixels.
        metadata: fields added, removed, changed.
        metadata_equal: how many fields are the same in both.
        credential: `none`, `lost`, `gained`, `same` (the same manifest), `continued` (the
            copy's names the original's as what it was made from) or `other`.
        answers: the five answers about the credential of each, and its code.
        lost: findings of the original that the copy has none of, by code.
        gained: findings of the copy that the original has none of.
        kept: codes that both have.
        hashes: algorithm, distance in bits, and the radius of near-duplicates.
        file: facts of the file that differ or that people look for.
    """

    original: Record
    copy: Record
    pixels: PixelResult
    metadata: tuple[Change, ...]
    metadata_equal: int
    credential: str
    answers: tuple[Row, ...]
    lost: tuple[Finding, ...]
    gained: tuple[Finding, ...]
    kept: tuple[str, ...]
    hashes: tuple[dict[str, Any], ...]
    file: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        counts = {kind: 0 for kind in ("added", "removed", "changed")}
        for change in self.metadata:
            counts[change.kind] += 1
        return {
            "schema": SCHEMA,
            "pixels": self.pixels.to_json(),
            "metadata": {
                **counts,
                "equal": self.metadata_equal,
                "changes": [change.to_json() for change in self.metadata],
            },
            "credential": {
                "change": self.credential,
                "answers": [row.to_json() for row in self.answers],
            },
            "findings": {
                "lost": [finding.to_json() for finding in self.lost],
                "gained": [finding.to_json() for finding in self.gained],
                "kept": list(self.kept),
            },
            "hashes": list(self.hashes),
            "file": [row.to_json() for row in self.file],
            "original": self.original.to_json(),
            "copy": self.copy.to_json(),
        }


def compare(
    original: Record, copy: Record, original_path: str, copy_path: str, limits: "Limits"
) -> Comparison:
    """Compare two pictures that a scan has looked at.

    Args:
        original: record of the first.
        copy: record of the second.
        original_path: where it lies, as the system names it.
        copy_path: where it lies.
        limits: what one picture may cost.
    """
    pixels, changes, equal = compare_apart(original_path, copy_path, limits)
    lost, gained, kept = _findings(original, copy)
    return Comparison(
        original,
        copy,
        pixels,
        tuple(changes),
        equal,
        _credential_change(original, copy),
        tuple(_answers(original, copy)),
        lost,
        gained,
        kept,
        tuple(_hashes(original, copy)),
        tuple(_file(original, copy)),
    )


def _manifest(record: Record) -> Finding | None:
    return next((f for f in record.findings if f.code.startswith("c2pa.manifest.")), None)


def _credential_change(original: Record, copy: Record) -> str:
    first, second = _manifest(original), _manifest(copy)
    if first is None or second is None:
        return "none" if first is second else "gained" if first is None else "lost"
    label = first.details.get("manifest")
    if label and label == second.details.get("manifest"):
        return "same"
    tree = second.details.get("history")
    return "continued" if label and label in set(_labels(tree)) else "other"


def _labels(tree: Any, depth: int = 0) -> Iterable[str]:
    if not isinstance(tree, Mapping) or depth > 40:
        return
    yield str(tree.get("manifest", ""))
    for item in tree.get("ingredients") or ():
        if isinstance(item, Mapping):
            yield from _labels(item.get("step"), depth + 1)


def _answers(original: Record, copy: Record) -> Iterable[Row]:
    yield Row("status", original.verdict.status.value, copy.verdict.status.value)
    first, second = _manifest(original), _manifest(copy)
    if first is None and second is None:
        return
    code = first.code if first else "", second.code if second else ""
    yield Row("credential", *code)
    one, other = original.verdict.answers.to_json(), copy.verdict.answers.to_json()
    for name, word in one.items():
        yield Row(f"answer.{name}", word, other[name])


def _findings(
    original: Record, copy: Record
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    def kept(record: Record) -> dict[str, Finding]:
        return {
            finding.code: finding
            for finding in record.findings
            if finding.state not in _FAULTS and not finding.code.startswith("c2pa.manifest.")
        }

    first, second = kept(original), kept(copy)
    return (
        tuple(item for code, item in first.items() if code not in second),
        tuple(item for code, item in second.items() if code not in first),
        tuple(code for code in first if code in second),
    )


_RADII = {"imagehash.phash.64": RADIUS_64, "counterproof.dct256.1": RADIUS_256}


def _hashes(original: Record, copy: Record) -> Iterable[dict[str, Any]]:
    for name in ("hash.phash", "hash.dhash", "hash.dct256"):
        first, second = original.facts.get(name), copy.facts.get(name)
        if not isinstance(first, Mapping) or not isinstance(second, Mapping):
            continue
        if first["alg"] == second["alg"] and len(first["value"]) == len(second["value"]):
            distance = (int(first["value"], 16) ^ int(second["value"], 16)).bit_count()
            yield {
                "alg": first["alg"],
                "bits": 4 * len(first["value"]),
                "distance": distance,
                "radius": _RADII.get(first["alg"]),
            }


def _saved(record: Record) -> dict[str, Any] | None:
    """Return who saved a file last, as far as its structure tells; None if that was not told."""
    found = next((f for f in record.findings if f.code.startswith("file.saved.")), None)
    if found is None:
        return None
    told: dict[str, Any] = {"code": found.code}
    return told | {
        name: found.details[name] for name in ("saver", "quality") if "saver" in found.details
    }


def _file(original: Record, copy: Record) -> Iterable[Row]:
    first, second = original.file.to_json(), copy.file.to_json()
    yield Row("sha256", original.sha256, copy.sha256)
    for name in ("format", "bytes"):
        yield Row(f"stored.{name}", first[name], second[name])
    size = [f"{item['width']} × {item['height']}" for item in (first, second)]
    yield Row("stored.size", *size)
    saved = _saved(original), _saved(copy)
    if any(saved):
        yield Row("stored.saved", *saved)
    for name in ("mode", "bit_depth", "alpha", "frames", "orientation", "planes"):
        if first[name] != second[name]:
            yield Row(f"stored.{name}", first[name], second[name])
    names = sorted(set(original.facts) | set(copy.facts))
    for name in [name for name in names if not name.startswith("hash.")]:
        one, other = original.facts.get(name), copy.facts.get(name)
        if one != other:
            yield Row(f"fact.{name}", one, other)
