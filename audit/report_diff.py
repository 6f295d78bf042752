"""What is different between two cases: pictures, statuses, findings, and what made the records."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.audit.rules import judge_all
from counterproof.findings import Record, RunInfo
from counterproof.settings import Settings
from counterproof.text import Catalogue, visible

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["DIFF_SCHEMA", "Difference", "PictureChange", "compare_cases", "lines"]

DIFF_SCHEMA = "counterproof.diff/1"


@dataclass(frozen=True, slots=True)
class PictureChange:
    """One picture that both cases hold, and that is not said the same of.

    Attributes:
        path: in the later case.
        same_bytes: whether the file itself is the same.
        status: before and after.
        gained: codes that are new.
        lost: codes that are gone.
    """

    path: str
    same_bytes: bool
    status: tuple[str, str]
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {
            "path": self.path,
            "same_bytes": self.same_bytes,
            "status": list(self.status),
            "gained": list(self.gained),
            "lost": list(self.lost),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different between an earlier and a later case.

    Attributes:
        added: paths that only the later one holds.
        removed: paths that only the earlier one holds.
        moved: path before and after of the same bytes.
        changed: pictures of which something else is said, or whose bytes changed.
        same: how many are said the same of.
        made: analyzers, lists and version that differ, as `name: before → after`.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[tuple[str, str], ...]
    changed: tuple[PictureChange, ...]
    same: int
    made: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values (schema `counterproof.diff/1`)."""
        return {
            "schema": DIFF_SCHEMA,
            "added": list(self.added),
            "removed": list(self.removed),
            "moved": [list(pair) for pair in self.moved],
            "changed": [item.to_json() for item in self.changed],
            "same": self.same,
            "made": list(self.made),
        }


@dataclass(frozen=True, slots=True)
class _Brief:
    sha256: str
    status: str
    codes: frozenset[str]


def compare_cases(before: "Case", after: "Case", settings: Settings) -> Difference:
    """Compare the last scans of two cases by path; what moved is found by its bytes."""
    old, new = (_briefs(case, settings) for case in (before, after))
    by_bytes = {brief.sha256: path for path, brief in old.items() if path not in new}
    moved, added = [], []
    for path, brief in new.items():
        if path in old:
            continue
        if brief.sha256 and (origin := by_bytes.pop(brief.sha256, "")):
            moved.append((origin, path))
        else:
            added.append(path)
    gone = {origin for origin, _ in moved}
    pairs = [(path, old[path], new[path]) for path in new if path in old]
    pairs += [(path, old[origin], new[path]) for origin, path in moved]
    changed = tuple(_change(*pair) for pair in pairs if pair[1] != pair[2])
    return Difference(
        tuple(added),
        tuple(path for path in old if path not in new and path not in gone),
        tuple(moved),
        changed,
        len(pairs) - len(changed),
        tuple(_made(before.run(), after.run())),
    )


def _briefs(case: "Case", settings: Settings) -> dict[str, _Brief]:
    return {record.path: _brief(record) for record in judge_all(case.records(case.scan), settings)}


def _brief(record: Record) -> _Brief:
    codes = frozenset(finding.code for finding in record.findings)
    return _Brief(record.sha256, record.verdict.status.value, codes)


def _change(path: str, old: _Brief, new: _Brief) -> PictureChange:
    return PictureChange(
        path,
        old.sha256 == new.sha256,
        (old.status, new.status),
        tuple(sorted(new.codes - old.codes)),
        tuple(sorted(old.codes - new.codes)),
    )


def _made(old: RunInfo, new: RunInfo) -> Iterator[str]:
    """Name what made the records that differs: a changed reader may be the whole difference."""
    pairs = [("version", old.version, new.version), ("profile", old.profile, new.profile)]
    pairs.append(("as_of", old.as_of, new.as_of))
    for first, second in ((old.analyzers, new.analyzers), (old.trust_lists, new.trust_lists)):
        names = sorted({*first, *second})
        pairs += [(name, first.get(name, "–"), second.get(name, "–")) for name in names]
    yield from (f"{name}: {a} → {b}" for name, a, b in pairs if a != b)


def lines(found: Difference, words: Catalogue) -> Iterator[str]:
    """Yield the difference as lines for a terminal; what changed comes first."""
    for item in found.changed:
        before, after = (words.status(status)["short"] for status in item.status)
        said = before if before == after else f"{before} → {after}"
        bytes_ = "" if item.same_bytes else f"  ({words.ui('diff.bytes')})"
        yield f"{words.ui('diff.changed')}  {visible(item.path)}  {said}{bytes_}"
        yield from (f"    + {code}" for code in item.gained)
        yield from (f"    - {code}" for code in item.lost)
    yield from (f"{words.ui('diff.added')}  {visible(path)}" for path in found.added)
    yield from (f"{words.ui('diff.removed')}  {visible(path)}" for path in found.removed)
    for old, new in found.moved:
        yield f"{words.ui('diff.moved')}  {visible(old)} → {visible(new)}"
    yield from (f"{words.ui('diff.made')}  {visible(text)}" for text in found.made)
    yield words.ui("diff.same", n=found.same)
