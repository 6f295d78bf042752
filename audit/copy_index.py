"""An index of reference works: one SQLite file with hashes, local features and hash lists.

    meta       schema, algorithms
    reference  path, size, mtime, sha256, width, height, hash, detail, reservations
    feature    local features of each reference
    listed     value of a hash, its kind (`pdq`, `sha256`), label and source, as imported
    cells      centres of the features' cells, and up to which reference they are sorted
    list       the features again, sorted by cell, so that a search reads few of them

References are added in short transactions: a build that was stopped goes on where it was.
Another index may be added to one, so that parts can be built apart. Hashes of another algorithm
are refused, never compared. A reference that is read anew gets a new number, and no number comes
again: lists that still name the old one are not misled.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from counterproof.audit.case import display_path
from counterproof.audit.feature_lists import LIST_TABLES, FeatureLists
from counterproof.audit.hash_lists import Listed, read_list
from counterproof.audit.local_features import (
    ALGORITHM,
    MAX_REFERENCE,
    REFERENCE_SIDE,
    extract,
)
from counterproof.audit.sources import expand
from counterproof.audit.sqlite_files import is_sqlite, open_sqlite
from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile
from counterproof.perceptual import DCT256, SMALL_SIDE, dct256, detail, square
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["INDEX_SCHEMA", "Added", "CopyIndex", "Reference"]

INDEX_SCHEMA = "counterproof.index/2"
_BATCH = 32
_ROWS = 10_000
_CACHE_KIB = 1 << 17  # of pages: a million works are added in no order of their digests
_COLUMNS = "path, size, mtime, sha256, width, height, hash, detail, reserved"
_NOT_ITS_FAULT = (  # of an index: another program has it, the disk is full, and the like
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
_NAMED = "id, path, sha256, width, height, reserved"
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reference (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB UNIQUE, size INTEGER NOT NULL,
    mtime INTEGER NOT NULL, sha256 TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    hash BLOB NOT NULL, detail REAL NOT NULL, reserved TEXT NOT NULL);
CREATE INDEX reference_sha256 ON reference (sha256);
CREATE TABLE feature (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE listed (
    kind TEXT, value TEXT, label TEXT NOT NULL, source TEXT NOT NULL,
    PRIMARY KEY (kind, value, source)) WITHOUT ROWID;
{LIST_TABLES}"""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference work, without its features.

    Attributes:
        number: its row in the index.
        path: for people.
        location: as the system names it.
        sha256: of the file, hex.
        size: width and height of the upright picture in pixels.
        reserved: codes of the reservations of rights that the file states.
    """

    number: int
    path: str
    location: str
    sha256: str
    size: tuple[int, int]
    reserved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an addition: how many are new, were known, and could not be read."""

    new: int
    known: int
    problems: tuple[str, ...]


class CopyIndex:
    """An open index. Use `CopyIndex.open`, and as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._lists = FeatureLists(connection)
        self._added = 0

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> Self:
        """Open an index.

        Raises:
            UserError: if it is missing, damaged, not an index, or of other algorithms.
        """
        path = Path(path)
        if not create and not path.is_file():
            raise UserError(f"{path}: no such index; make one with `counterproof index build`")
        connection = open_sqlite(path, "index", create=create, wal=False)
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            _prepare(path, connection, create)
        except sqlite3.Error as err:
            connection.close()
            raise _damaged(path, err) from err
        except UserError:
            connection.close()
            raise
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit and close."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._db.close()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as err:
            raise _damaged(self.path, err) from err

    # -- adding -------------------------------------------------------------------------

    def add(
        self,
        paths: Iterable[str],
        settings: Settings,
        advance: Callable[[str], None] = lambda _path: None,
    ) -> Added:
        """Add pictures; those that are here already, by path, size and time, are skipped.

        Args:
            paths: files, folders, or other indices, whose references are taken over.
            settings: limits of a picture, and trust lists for reservations.
            advance: called with each path when it is done.
        """
        new = known = 0
        problems: list[str] = []
        indices: list[str] = []
        pictures: list[str] = []
        for path in paths:
            (indices if os.path.isfile(path) and is_sqlite(path) else pictures).append(path)
        for path in indices:
            new += self._absorb(path)
        for ref in expand(pictures):
            if ref.problem:
                problems.append(ref.problem.partition(": ")[2])
                continue
            try:
                done = self._add_one(ref.path, settings)
            except ImageError as err:
                problems.append(str(err))
            else:
                new, known = new + done, known + (not done)
            advance(ref.path)
        with self._guard():
            if self._db.in_transaction:
                self._db.execute("COMMIT")
        return Added(new, known, tuple(problems))

    def _add_one(self, path: str, settings: Settings) -> bool:
        place = os.path.abspath(path)
        try:
            info = os.stat(place)
        except OSError as err:
            raise ImageError("missing", f"{path}: {err.strerror}") from err
        key = os.fsencode(place)
        row = self._db.execute(
            "SELECT size, mtime FROM reference WHERE path = ?", (key,)
        ).fetchone()
        if row == (info.st_size, info.st_mtime_ns):
            return False
        features, *values = _read_reference(place, settings)
        with self._guard():
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.execute(
                "DELETE FROM feature WHERE id = (SELECT id FROM reference WHERE path = ?)", (key,)
            )
            self._db.execute("DELETE FROM reference WHERE path = ?", (key,))
            number = self._db.execute(
                f"INSERT INTO reference ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (key, info.st_size, info.st_mtime_ns, *values),
            ).lastrowid
            self._db.execute("INSERT INTO feature VALUES (?, ?)", (number, features))
            self._added += 1
            if self._added % _BATCH == 0:
                self._db.execute("COMMIT")
        return True

    def _absorb(self, path: str) -> int:
        if os.path.samefile(path, self.path):
            raise UserError(f"{path}: expected pictures or another index, got the index itself")
        with CopyIndex.open(path):  # names it if it is damaged or foreign
            pass
        with self._guard():
            if self._db.in_transaction:
                self._db.execute("COMMIT")
            try:
                return self._take_over(path)
            except sqlite3.Error:
                _check_whole(path)  # which of the two is it?
                raise

    def _take_over(self, path: str) -> int:
        self._db.execute("ATTACH DATABASE ? AS part", (path,))
        try:
            self._db.execute("BEGIN")
            last = self._db.execute("SELECT ifnull(max(id), 0) FROM reference").fetchone()[0]
            taken = self._db.execute(
                f"INSERT OR IGNORE INTO reference ({_COLUMNS}) "
                f"SELECT {_COLUMNS} FROM part.reference ORDER BY id"
            ).rowcount
            self._db.execute(
                "INSERT INTO feature SELECT own.id, data FROM reference AS own "
                "JOIN part.reference AS other ON other.path = own.path "
                "JOIN part.feature AS taken ON taken.id = other.id "
                "WHERE own.id > ? ORDER BY own.id",
                (last,),
            )
            self._db.execute("INSERT OR IGNORE INTO listed SELECT * FROM part.listed")
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("DETACH DATABASE part")
        return taken

    def import_list(self, path: str) -> int:
        """Take over a hash list: CSV with the columns `hash`, `label`, `source` or without heads.

        Raises:
            UserError: if it cannot be read, or a line holds neither PDQ (64 hex digits) nor
                SHA-256. Both have 64 digits: a column `type` or the heading `pdq` or `sha256`
                says which; PDQ is assumed.
        """
        rows = list(read_list(path))
        with self._guard():
            self._db.execute("BEGIN")
            for item in rows:
                self._db.execute(
                    "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)",
                    (item.kind, item.value, item.label, item.source),
                )
            self._db.execute("COMMIT")
        return len(rows)

    # -- reading ------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._guard():
            return int(self._db.execute("SELECT count(*) FROM reference").fetchone()[0])

    def references(self) -> list[Reference]:
        """Return the reference works in the order in which they were added: 1 KB of memory each."""
        with self._guard():
            rows = self._db.execute(f"SELECT {_NAMED} FROM reference ORDER BY id")
            return [_reference(row) for row in rows]

    def reference(self, number: int) -> Reference:
        """Return the reference work of that number."""
        with self._guard():
            row = self._db.execute(
                f"SELECT {_NAMED} FROM reference WHERE id = ?", (number,)
            ).fetchone()
        return _reference(row)

    def numbered(self, sha256: str) -> list[int]:
        """Return the numbers of the reference works with these bytes."""
        with self._guard():
            rows = self._db.execute("SELECT id FROM reference WHERE sha256 = ?", (sha256,))
            return [row[0] for row in rows]

    def hashes(self) -> "tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.int64]]":
        """Return what is compared of whole pictures, in the order in which they were added.

        Returns:
            The hashes, shape (N, 4), how much detail each picture has and its number, shape (N,).
        """
        count = len(self)
        words = np.empty((count, 4), np.uint64)
        kept, numbers = np.empty(count), np.empty(count, np.int64)
        with self._guard():
            rows = self._db.execute("SELECT hash, detail, id FROM reference ORDER BY id")
            start = 0
            while some := rows.fetchmany(_ROWS):
                part = slice(start, start + len(some))
                data = b"".join(row[0] for row in some)
                words[part] = np.frombuffer(data, dtype=np.uint64).reshape(-1, 4)
                kept[part], numbers[part] = [row[1] for row in some], [row[2] for row in some]
                start += len(some)
        return words[:start], kept[:start], numbers[:start]

    def features(self, number: int) -> bytes:
        """Return the packed features of a reference."""
        with self._guard():
            row = self._db.execute("SELECT data FROM feature WHERE id = ?", (number,)).fetchone()
            return bytes(row[0])

    def sort(self) -> None:
        """Sort the features that were added since the last time, so that `vote` reads few.

        Raises:
            UserError: if that is needed and the file cannot be written.
        """
        with self._guard():
            try:
                self._lists.sort()
            except sqlite3.OperationalError as err:
                if os.access(self.path, os.W_OK):
                    raise
                raise UserError(
                    f"{self.path}: works were added since it was last sorted, and it cannot be "
                    "written; run `counterproof index add` on it once, or search a copy"
                ) from err

    def vote(
        self, words: "NDArray[np.int8]"
    ) -> "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]":
        """Return the works that have features like these, as `FeatureLists.vote`."""
        with self._guard():
            return self._lists.vote(words)

    def listed(self) -> list[Listed]:
        """Return all lines of the hash lists."""
        with self._guard():
            rows = self._db.execute("SELECT kind, value, label, source FROM listed")
            return [Listed(*row) for row in rows]


def _check_whole(path: str) -> None:
    """Read all that is taken over of an index, so that a fault in it is told of it.

    Raises:
        UserError: if it is damaged or foreign.
    """
    with CopyIndex.open(path) as part, part._guard():
        for table, columns in (("reference", _COLUMNS), ("feature", "data"), ("listed", "value")):
            for row in part._db.execute(f"SELECT {columns} FROM {table}"):
                del row


def _prepare(path: Path, connection: sqlite3.Connection, create: bool) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    algorithms = json.dumps([DCT256, ALGORITHM])
    if not tables:
        if not create:
            raise UserError(f"{path}: expected an index of counterproof, got an empty file")
        connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("schema", INDEX_SCHEMA), ("algorithms", algorithms)],
        )
        return
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    found = dict(connection.execute("SELECT key, value FROM meta")) if "meta" in names else {}
    if "reference" not in names or found.get("schema") != INDEX_SCHEMA:
        said = str(found.get("schema"))
        said = f"{said}; build it anew" if "counterproof.index" in said else "another SQLite file"
        raise UserError(f"{path}: expected an index ({INDEX_SCHEMA}), got {said}")
    if found.get("algorithms") != algorithms:
        raise UserError(
            f"{path}: made with {found.get('algorithms')}, this version compares {algorithms}; "
            "build it anew"
        )
    connection.execute("SELECT max(id) FROM reference").fetchone()
    connection.execute("SELECT max(id) FROM feature").fetchone()


def _reference(row: tuple[Any, ...]) -> Reference:
    number, path, sha256, width, height, reserved = row
    codes = tuple(json.loads(reserved))
    return Reference(number, display_path(path), os.fsdecode(path), sha256, (width, height), codes)


def _damaged(path: Path, err: Exception) -> UserError:
    code = getattr(err, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _NOT_ITS_FAULT:
        return UserError(f"{path}: the index cannot be read or written now: {err}")
    return UserError(f"{path}: the index is damaged ({err}); build it anew")


def _read_reference(path: str, settings: Settings) -> tuple[Any, ...]:
    """Read one picture: its features, then the columns of `reference` from sha256 on."""
    image = ImageFile.open(path, limits=settings.limits)
    grey = square(image.luminance(SMALL_SIDE))
    large = image.luminance(REFERENCE_SIDE)
    features = extract(large, MAX_REFERENCE)
    info = image.info
    reserved = [item.code for item in _reservations(image, settings) if item.claim == "reserved"]
    return (
        features.pack(),
        image.sha256,
        info.width,
        info.height,
        bytes.fromhex(dct256(grey)),
        detail(grey),
        json.dumps(reserved),
    )


def _reservations(image: ImageFile, settings: Settings) -> list[Any]:
    from counterproof.findings import Finding
    from counterproof.provenance.rights import RightsAnalyzer

    found = RightsAnalyzer(settings).analyze(image)
    return [item for item in found if isinstance(item, Finding)]
