"""The case: one SQLite file that holds everything a scan computed.

    meta      schema, version and state of the case, how many indices it was compared with
    source    path, size, mtime → sha256: what lay where, in which order it was last scanned
    record    (sha256, sidecar, fingerprint) → JSON: what was found, whatever the file's name
    relation  what holds between pictures
    blob      maps, crops, manifests, thumbnails
    note      what people wrote down

Write-ahead logging and short transactions: a killed run loses at most the pictures in flight
and one batch (64 records or one second).
"""

import contextlib
import datetime as dt
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from counterproof.audit.examine import unread_record
from counterproof.audit.sqlite_files import open_sqlite
from counterproof.errors import CaseError
from counterproof.findings import (
    Blob,
    Finding,
    Record,
    Relation,
    RunInfo,
    Status,
)

__all__ = ["CASE_SCHEMA", "Case", "Note", "Source", "display_path", "present"]

CASE_SCHEMA = 1
_BATCH_RECORDS = 64
_BATCH_S = 1.0

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (
    path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, sha256 TEXT, sidecar TEXT NOT NULL,
    sidecar_mtime INTEGER NOT NULL, fingerprint TEXT NOT NULL, remark TEXT NOT NULL,
    problem TEXT NOT NULL, scan INTEGER NOT NULL, position INTEGER NOT NULL);
CREATE INDEX source_order ON source (scan, position);
CREATE INDEX source_sha256 ON source (sha256);
CREATE TABLE record (
    sha256 TEXT, sidecar TEXT, fingerprint TEXT, status TEXT NOT NULL,
    holds_from TEXT NOT NULL, holds_until TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (sha256, sidecar, fingerprint));
CREATE TABLE relation (
    relator TEXT NOT NULL, kind TEXT NOT NULL, code TEXT NOT NULL, members TEXT NOT NULL,
    details TEXT NOT NULL);
CREATE TABLE blob (
    sha256 TEXT, name TEXT, media_type TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (sha256, name)) WITHOUT ROWID;
CREATE TABLE note (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL, text TEXT NOT NULL);
"""

_JOIN = """
FROM source LEFT JOIN record USING (sha256, sidecar, fingerprint)
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it lay on the disk.

    Attributes:
        path: as the system names it (undecodable bytes as surrogates).
        size: in bytes; -1 if it could not be read.
        mtime: of the file, in ns; 0 if it could not be read.
        sidecar_mtime: of the `.c2pa` file beside it, in ns; 0 without one.
        sha256: of the file; empty if it could not be read.
        sidecar: sha256 of the sidecar; empty without one.
        remark: what its name says wrongly; empty if nothing.
        problem: `cause: message` if its bytes could not be had.
    """

    path: str
    size: int = -1
    mtime: int = 0
    sidecar_mtime: int = 0
    sha256: str = ""
    sidecar: str = ""
    remark: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What a person wrote about a picture, or about the case (`sha256` empty)."""

    sha256: str
    kind: str
    at: str
    text: str


def display_path(path: str | bytes) -> str:
    r"""Return a path that can be printed: bytes that are not UTF-8 show as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Case:
    """An open case. Use `Case.open`, and as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._pending = 0
        self._committed = time.monotonic()
        self.scan = int(self.meta("scan") or 0)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> Self:
        """Open a case file.

        Args:
            path: of the SQLite file.
            create: make it, and its folder, if it is missing.

        Raises:
            CaseError: if it is missing, not a case, or made by a newer version.
        """
        path = Path(path)
        connection = open_sqlite(path, "case", CaseError, create=create, wal=True)
        try:
            _prepare(path, connection)
        except sqlite3.Error as err:
            connection.close()
            raise CaseError(f"{path}: expected a counterproof case: {err}") from err
        except CaseError:
            connection.close()
            raise
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit and close."""
        with self._guard():
            self.commit()
            self._db.close()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise CaseError(f"{self.path}: cannot write the case: {err}") from err

    def commit(self) -> None:
        """End the batch under way."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._pending = 0
        self._committed = time.monotonic()

    def _write(self, sql: str, values: Sequence[Any]) -> None:
        with self._guard():
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.execute(sql, values)

    # -- meta ---------------------------------------------------------------------------

    def meta(self, key: str) -> str:
        """Return one value of the case's state; empty if it was never set."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def set_meta(self, key: str, value: str) -> None:
        """Keep one value of the case's state."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def begin_scan(self, run: RunInfo) -> None:
        """Start numbering: sources seen from now on belong to a new scan."""
        self.scan += 1
        self.set_meta("scan", str(self.scan))
        self.set_meta("run", json.dumps(run.to_json()))

    def run(self) -> RunInfo:
        """Return how the last scan made its records."""
        text = self.meta("run")
        return RunInfo(**json.loads(text)) if text else RunInfo("", "", {}, {}, "")

    # -- sources and records ------------------------------------------------------------

    def source(self, path: str) -> Source | None:
        """Return what is known of the file at a path."""
        row = self._db.execute(
            "SELECT size, mtime, sidecar_mtime, sha256, sidecar, remark, problem "
            "FROM source WHERE path = ?",
            (os.fsencode(path),),
        ).fetchone()
        return Source(path, *row) if row else None

    def has_record(self, sha256: str, sidecar: str, fingerprint: str, day: dt.date) -> bool:
        """Tell whether a record of these bytes, made the same way, still holds on a day."""
        text = day.isoformat()
        row = self._db.execute(
            "SELECT 1 FROM record WHERE sha256 = ? AND sidecar = ? AND fingerprint = ? "
            "AND holds_from <= ? AND (holds_until = '' OR holds_until > ?)",
            (sha256, sidecar, fingerprint, text, text),
        ).fetchone()
        return row is not None

    def put_source(self, source: Source, fingerprint: str, position: int) -> None:
        """Note what lay at a path in the scan under way."""
        self._write(
            "INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                os.fsencode(source.path),
                source.size,
                source.mtime,
                source.sha256,
                source.sidecar,
                source.sidecar_mtime,
                fingerprint,
                source.remark,
                display_path(source.problem),
                self.scan,
                position,
            ),
        )
        self._pending += 1
        if self._pending >= _BATCH_RECORDS or time.monotonic() - self._committed > _BATCH_S:
            with self._guard():
                self.commit()

    def put_record(self, record: Record, sidecar: str, fingerprint: str) -> None:
        """Keep one record, without its path."""
        value = record.to_json() | {"path": ""}
        self._write(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                record.sha256,
                sidecar,
                fingerprint,
                record.verdict.status.value,
                *_span(record.findings),
                json.dumps(value, ensure_ascii=False, separators=(",", ":")),
            ),
        )

    def records(self, scan: int | None = None) -> Iterator[Record]:
        """Yield records in input order, with their paths.

        Args:
            scan: only those that this scan saw; all by default.
        """
        where, values = ("WHERE scan = ?", (scan,)) if scan is not None else ("", ())
        rows = self._db.execute(
            f"SELECT path, remark, problem, json {_JOIN} {where} ORDER BY scan, position", values
        )
        run = self.run()
        for path, remark, problem, text in rows:
            yield _load(path, remark, problem, text, run)

    def statuses(self, scan: int | None = None) -> Iterator[tuple[str, Status]]:
        """Yield (path for people, status) in the order of `records`, reading no record."""
        where, values = ("WHERE scan = ?", (scan,)) if scan is not None else ("", ())
        rows = self._db.execute(
            f"SELECT path, coalesce(status, 'unreadable') {_JOIN} {where} ORDER BY scan, position",
            values,
        )
        for path, status in rows:
            yield display_path(path), Status(status)

    def record_at(self, path: str) -> Record | None:
        """Return the record of the file at a path, if it was scanned."""
        row = self._db.execute(
            f"SELECT path, remark, problem, json {_JOIN} WHERE path = ?", (os.fsencode(path),)
        ).fetchone()
        if row is None:
            return None
        name, remark, problem, text = row
        return _load(name, remark, problem, text, self.run())

    def words_of(self, sha256: str) -> frozenset[str]:
        """Return every status and code ever recorded of these bytes."""
        words: set[str] = set()
        for (text,) in self._db.execute("SELECT json FROM record WHERE sha256 = ?", (sha256,)):
            value = json.loads(text)
            words.add(value["verdict"]["status"])
            words.update(finding["code"] for finding in value["findings"])
        return frozenset(words)

    def record_count(self, scan: int | None = None) -> int:
        """Count the sources, of one scan or of all."""
        where, values = ("WHERE scan = ?", (scan,)) if scan is not None else ("", ())
        row = self._db.execute(f"SELECT count(*) FROM source {where}", values).fetchone()
        return int(row[0])

    def counts(self, scan: int | None = None) -> dict[Status, int]:
        """Count the sources by status, in the order of the verdict table."""
        where, values = ("WHERE scan = ?", (scan,)) if scan is not None else ("", ())
        rows = self._db.execute(
            f"SELECT coalesce(status, 'unreadable'), count(*) {_JOIN} {where} GROUP BY 1", values
        )
        found = {Status(status): number for status, number in rows}
        return {status: found[status] for status in Status if status in found}

    def facts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (sha256, facts) of each distinct file among the sources, by rising sha256."""
        rows = self._db.execute(
            f"SELECT sha256, max(json) {_JOIN} WHERE json IS NOT NULL "
            "GROUP BY sha256 ORDER BY sha256"
        )
        for sha256, text in rows:
            yield sha256, json.loads(text)["facts"]

    def paths_of(self, sha256: str) -> list[str]:
        """Return where these bytes lie, for people."""
        rows = self._db.execute(
            "SELECT path FROM source WHERE sha256 = ? ORDER BY scan, position", (sha256,)
        )
        return [display_path(path) for (path,) in rows]

    def sha256_starting(self, digits: str) -> list[str]:
        """Return the files whose sha256 starts with these hexadecimal digits."""
        rows = self._db.execute(
            "SELECT DISTINCT sha256 FROM source WHERE substr(sha256, 1, ?) = ? LIMIT 3",
            (len(digits), digits),
        )
        return [sha256 for (sha256,) in rows]

    def location(self, sha256: str) -> str | None:
        """Return one path, as the system names it, where these bytes lay."""
        row = self._db.execute(
            "SELECT path FROM source WHERE sha256 = ? ORDER BY scan, position LIMIT 1", (sha256,)
        ).fetchone()
        return os.fsdecode(row[0]) if row else None

    # -- relations, blobs, notes --------------------------------------------------------

    def replace_relations(self, relator: str, relations: Iterable[Relation]) -> None:
        """Put what a relator found in place of what it had found before."""
        found = list(relations)
        self._write("DELETE FROM relation WHERE relator = ?", (relator,))
        for item in found:
            self._write(
                "INSERT INTO relation VALUES (?, ?, ?, ?, ?)",
                (
                    relator,
                    item.kind,
                    item.code,
                    json.dumps(item.members),
                    json.dumps(item.details, ensure_ascii=False),
                ),
            )
        with self._guard():
            self.commit()

    def relations(self) -> Iterator[Relation]:
        """Yield what holds between pictures."""
        rows = self._db.execute("SELECT kind, code, members, details FROM relation ORDER BY rowid")
        for kind, code, members, details in rows:
            yield Relation(kind, tuple(json.loads(members)), code, json.loads(details))

    def put_blob(self, sha256: str, blob: Blob) -> None:
        """Keep a picture, map or document beside the record of a file."""
        self._write(
            "INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)",
            (sha256, blob.name, blob.media_type, blob.data),
        )

    def blob(self, sha256: str, name: str) -> Blob | None:
        """Return one blob of a file."""
        row = self._db.execute(
            "SELECT media_type, data FROM blob WHERE sha256 = ? AND name = ?", (sha256, name)
        ).fetchone()
        return Blob(name, *row) if row else None

    def add_note(self, note: Note) -> None:
        """Keep what a person wrote."""
        self._write(
            "INSERT INTO note VALUES (?, ?, ?, ?)", (note.sha256, note.kind, note.at, note.text)
        )
        with self._guard():
            self.commit()

    def notes(self, sha256: str | None = None) -> list[Note]:
        """Return the notes on one file, or all."""
        where, values = ("WHERE sha256 = ?", (sha256,)) if sha256 is not None else ("", ())
        rows = self._db.execute(f"SELECT * FROM note {where} ORDER BY at, rowid", values)
        return [Note(*row) for row in rows]

    # -- merging ------------------------------------------------------------------------

    def absorb(self, part: "Case") -> int:
        """Take over the sources, records, blobs and notes of another case.

        Relations are not taken over: they hold between all pictures and are found anew.

        Returns:
            The number of sources taken over.
        """
        with self._guard():
            self.commit()
            base = self.scan
            self._db.execute("ATTACH DATABASE ? AS part", (str(part.path),))
            try:
                self._db.execute("BEGIN")
                for table in ("record", "blob"):
                    self._db.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM part.{table}")
                self._db.execute(
                    "INSERT INTO note SELECT * FROM part.note EXCEPT SELECT * FROM note"
                )
                taken = self._db.execute(
                    "INSERT OR REPLACE INTO source SELECT path, size, mtime, sha256, sidecar, "
                    "sidecar_mtime, fingerprint, remark, problem, scan + ?, position "
                    "FROM part.source",
                    (base,),
                ).rowcount
                self.scan = base + part.scan
                self.set_meta("scan", str(self.scan))
                self.commit()
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._db.execute("DETACH DATABASE part")
        return taken


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables of a new file; check the schema of an old one."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables:
        connection.executescript(
            f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('schema', '{CASE_SCHEMA}'); COMMIT;"
        )
        return
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None:
        raise CaseError(f"{path}: expected a counterproof case, found another SQLite file")
    if int(row[0]) > CASE_SCHEMA:
        raise CaseError(
            f"{path}: made by a newer version (case schema {row[0]}, this one reads up to "
            f"{CASE_SCHEMA}); update counterproof, or name another case with --case"
        )


def _span(findings: Iterable[Finding]) -> tuple[str, str]:
    """Return the days between which all of these findings hold; empty where unbounded."""
    starts = [str(f.details["holds_from"]) for f in findings if f.details.get("holds_from")]
    ends = [str(f.details["holds_until"]) for f in findings if f.details.get("holds_until")]
    return max(starts, default=""), min(ends, default="")


def present(record: Record, path: str | bytes, remark: str) -> Record:
    """Join what was found in the bytes with what depends on where they lie."""
    findings = record.findings
    if remark:
        findings += (Finding("file", "file.extension", details={"remark": remark}),)
    return replace(record, path=display_path(path), findings=findings)


def _load(path: bytes, remark: str, problem: str, text: str | None, run: RunInfo) -> Record:
    """Make a record out of a source row and the JSON of its bytes."""
    if text is None:
        shown = display_path(path)
        cause, _, message = problem.partition(": ")
        return unread_record(shown, cause, message.removeprefix(f"{shown}: "), run)
    return present(Record.from_json(json.loads(text)), path, remark)
