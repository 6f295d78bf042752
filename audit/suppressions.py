"""Findings that somebody set aside, with a reason and a last day.

Setting aside changes no record and no status: `--fail-on` passes over what is set aside, and the
report lists it with its reason. After its last day a suppression has no effect and is named.
"""

import datetime as dt
import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from counterproof.errors import UserError
from counterproof.findings import PREFIXES, Record, Status, matches_selector

__all__ = ["Suppression", "load_suppressions", "set_aside"]

_FIELDS = {"code", "path", "sha256", "reason", "until"}


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry.

    Attributes:
        code: the start of a code or status.
        path: a pattern as in a shell (`press/*.jpg`); empty for every path.
        sha256: of one file; empty for every file.
        reason: why, for whoever reads the report.
        until: last day on which it holds.
    """

    code: str
    path: str
    sha256: str
    reason: str
    until: dt.date

    def covers(self, record: Record, word: str) -> bool:
        """Tell whether a code or status of a record is meant, whatever the day."""
        return (
            matches_selector(self.code, word)
            and (not self.sha256 or self.sha256 == record.sha256)
            and (not self.path or fnmatch.fnmatchcase(record.path, self.path))
        )


def load_suppressions(path: Path) -> tuple[Suppression, ...]:
    """Read a TOML file of `[[suppress]]` tables.

    Raises:
        UserError: if it cannot be read, or an entry lacks its reason or last day.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise UserError(f"{path}: expected a TOML file: {err}") from err
    entries = table.get("suppress", [])
    if set(table) - {"suppress"} or not isinstance(entries, list):
        raise UserError(f"{path}: expected tables [[suppress]] and nothing else")
    return tuple(_entry(item, f"{path}: entry {n}") for n, item in enumerate(entries, 1))


def _entry(item: object, where: str) -> Suppression:
    if not isinstance(item, dict) or set(item) - _FIELDS:
        raise UserError(f"{where}: expected the fields {', '.join(sorted(_FIELDS))}")
    code, reason, until = item.get("code"), item.get("reason"), item.get("until")
    known = isinstance(code, str) and (
        code.partition(".")[0] in PREFIXES or any(matches_selector(code, s) for s in Status)
    )
    if not known:
        raise UserError(f"{where}: code: expected the start of a code or status, got {code!r}")
    if not isinstance(reason, str) or not reason.strip():
        raise UserError(f"{where}: reason: expected why it is set aside, got {reason!r}")
    if not isinstance(until, dt.date) or isinstance(until, dt.datetime):
        raise UserError(f"{where}: until: expected a last day such as 2027-01-31, got {until!r}")
    path, sha256 = str(item.get("path", "")), str(item.get("sha256", "")).lower()
    return Suppression(str(code), path, sha256, reason.strip(), until)


def set_aside(
    suppressions: Iterable[Suppression], record: Record, words: Iterable[str], day: dt.date
) -> set[str]:
    """Return those codes and statuses of a record that are set aside on a day."""
    live = [item for item in suppressions if day <= item.until]
    return {word for word in words if any(item.covers(record, word) for item in live)}
