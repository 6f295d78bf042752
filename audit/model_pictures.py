"""The pictures of one folder as an audit of a model compares them, kept so that it can go on.

What was read of a picture is kept in `COUNTERPROOF_HOME/audits` until the picture changes: an
audit that was stopped, or is repeated with other folders, does not read it anew.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.copy_search import Query, read_query
from counterproof.audit.local_features import ALGORITHM, DIMENSIONS, Features
from counterproof.audit.sources import expand
from counterproof.audit.sqlite_files import open_sqlite
from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile
from counterproof.perceptual import DCT256
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

__all__ = ["VECTOR_SIDE", "Pictures", "kept_path", "read_folder"]

VECTOR_SIDE = 16
"""Side in pixels at which whole pictures are compared by distance."""
_BATCH = 32
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE picture (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, sha256 TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, vector BLOB NOT NULL, hashes BLOB NOT NULL,
    detail REAL NOT NULL, points BLOB NOT NULL, words BLOB NOT NULL, mirrored BLOB NOT NULL);
CREATE TABLE said (path BLOB PRIMARY KEY, asked TEXT NOT NULL, answer TEXT NOT NULL);
"""
_ALGORITHMS = json.dumps([DCT256, ALGORITHM, VECTOR_SIDE])


@dataclass(frozen=True, slots=True)
class Pictures:
    """The readable pictures of one folder, in the order of their names.

    Attributes:
        paths: as the system names them.
        digests: sha256 of each file, hex.
        vectors: each at 16 × 16 RGB in [0, 1], flat, shape (N, 768).
    """

    paths: tuple[str, ...]
    digests: tuple[str, ...]
    vectors: "Vectors"
    _kept: Path

    def __len__(self) -> int:
        return len(self.paths)

    def queries(self, wanted: Sequence[int]) -> "list[Query]":
        """Return what is searched for of some pictures, where it was read: 70 KB each."""
        with _Kept(self._kept) as kept:
            return [kept.query(os.path.abspath(self.paths[number])) for number in wanted]

    def said(self, asked: str) -> dict[int, str]:
        """Return what was answered to a question, by the number of the picture."""
        with _Kept(self._kept) as kept:
            known = kept.said(asked)
        places = ((n, os.fsencode(os.path.abspath(path))) for n, path in enumerate(self.paths))
        return {number: known[place] for number, place in places if place in known}

    def keep(self, asked: str, answers: Mapping[int, str]) -> None:
        """Keep what was answered to a question, in place of other questions."""
        with _Kept(self._kept) as kept:
            kept.keep(asked, {os.path.abspath(self.paths[n]): a for n, a in answers.items()})


def kept_path(folder: str | os.PathLike[str], home: Path, suffix: str) -> Path:
    """Return where what was read of a folder is kept."""
    place = os.fsencode(os.path.abspath(folder))
    return home / "audits" / f"{hashlib.sha256(place).hexdigest()[:16]}.{suffix}"


def read_folder(
    folder: str | os.PathLike[str],
    name: str,
    settings: Settings,
    advance: Callable[[str], None],
    unread: list[str],
    *,
    searched: bool,
) -> Pictures:
    """Read the pictures of a folder, or what is kept of them.

    Args:
        folder: to read.
        name: `training`, `generated` or `holdout`, for messages.
        settings: where to keep what was read, and limits.
        advance: called with each path when it is done.
        unread: gets the cause for each picture that cannot be read.
        searched: whether what is searched for is read as well.

    Raises:
        UserError: if the folder is missing, or holds fewer than two readable pictures.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: expected a folder of {name} pictures, found no such folder")
    paths, digests, vectors = [], [], []
    path = kept_path(folder, Path(settings.home), "pictures" if searched else "vectors")
    with _Kept(path) as kept:
        for ref in expand([folder]):
            try:
                sha256, vector = kept.read(os.path.abspath(ref.path), settings, searched)
            except ImageError as err:
                unread.append(str(err))
                continue
            finally:
                advance(ref.path)
            paths.append(ref.path)
            digests.append(sha256)
            vectors.append(vector)
        kept.forget_all_but([os.path.abspath(item) for item in paths])
    if len(paths) < 2:
        raise UserError(
            f"{folder}: expected two or more readable {name} pictures, found {len(paths)}"
        )
    table = np.array(vectors, dtype=np.float32) / np.float32(255)
    return Pictures(tuple(paths), tuple(digests), table, path)


class _Kept:
    """What was read of the pictures of one folder, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "_Kept":
        try:
            self._open()
        except (sqlite3.Error, UserError):  # nothing is lost with it: what it holds is read anew
            self.path.unlink(missing_ok=True)
            self._open()
        self._new = 0
        return self

    def __exit__(self, *_: object) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._db.close()

    def _open(self) -> None:
        self._db = open_sqlite(self.path, "audit", create=True, wal=False)
        if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
            self._db.execute("INSERT INTO meta VALUES ('algorithms', ?)", (_ALGORITHMS,))
        row = self._db.execute("SELECT value FROM meta WHERE key = 'algorithms'").fetchone()
        self._db.execute("SELECT max(detail) FROM picture").fetchone()
        self._db.execute("SELECT max(asked) FROM said").fetchone()
        if row != (_ALGORITHMS,):
            self._db.close()
            raise UserError(f"{self.path}: made with other algorithms")

    def read(
        self, path: str, settings: Settings, searched: bool
    ) -> "tuple[str, NDArray[np.uint8]]":
        """Return the digest and the vector of a picture; read it if it is new or has changed."""
        key = os.fsencode(path)
        try:
            info = os.stat(path)
        except OSError as err:
            raise ImageError("missing", f"{path}: {err.strerror}") from err
        row = self._db.execute(
            "SELECT size, mtime, sha256, vector FROM picture WHERE path = ?", (key,)
        ).fetchone()
        if row and row[:2] == (info.st_size, info.st_mtime_ns):
            return row[2], np.frombuffer(row[3], dtype=np.uint8)
        image = ImageFile.open(path, limits=settings.limits)
        vector = _vector(image)
        query = read_query(image) if searched else _unsearched(image)
        found = query.features
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        values: tuple[Any, ...] = (
            *(key, info.st_size, info.st_mtime_ns, query.sha256, *query.size, vector.tobytes()),
            *(query.hashes.tobytes(), query.detail, found.points.tobytes()),
            *(found.words.tobytes(), found.mirrored.tobytes()),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )
        self._db.execute("DELETE FROM said WHERE path = ?", (key,))
        self._new += 1
        if self._new % _BATCH == 0:
            self._db.execute("COMMIT")
        return query.sha256, vector

    def query(self, path: str) -> Query:
        """Return what is searched for of a picture that was read."""
        row = self._db.execute(
            "SELECT sha256, width, height, hashes, detail, points, words, mirrored "
            "FROM picture WHERE path = ?",
            (os.fsencode(path),),
        ).fetchone()
        points = np.frombuffer(row[5], dtype=np.float32).reshape(-1, 2)
        words, mirrored = (
            np.frombuffer(data, dtype=np.int8).reshape(-1, DIMENSIONS) for data in row[6:8]
        )
        hashes = np.frombuffer(row[3], dtype=np.uint64).reshape(8, 4)
        return Query(row[0], (row[1], row[2]), hashes, row[4], Features(points, words, mirrored))

    def forget_all_but(self, paths: Sequence[str]) -> None:
        """Drop the pictures that have gone from the folder."""
        left = {os.fsencode(path) for path in paths}
        rows = self._db.execute("SELECT path FROM picture").fetchall()
        gone = [row for row in rows if row[0] not in left]
        if gone:
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.executemany("DELETE FROM picture WHERE path = ?", gone)
            self._db.executemany("DELETE FROM said WHERE path = ?", gone)

    def said(self, asked: str) -> dict[bytes, str]:
        """Return what was answered to a question, by path."""
        rows = self._db.execute("SELECT path, answer FROM said WHERE asked = ?", (asked,))
        return dict(rows.fetchall())

    def keep(self, asked: str, answers: Mapping[str, str]) -> None:
        """Keep what was answered to a question."""
        rows = [(os.fsencode(path), asked, answer) for path, answer in answers.items()]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")


def _unsearched(image: ImageFile) -> Query:
    none = np.zeros((0, DIMENSIONS), np.int8)
    nothing = Features(np.zeros((0, 2), np.float32), none, none)
    size = (image.info.width, image.info.height)
    return Query(image.sha256, size, np.zeros((8, 4), np.uint64), 0.0, nothing)


def _vector(image: ImageFile) -> "NDArray[np.uint8]":
    """Return the picture at 16 × 16 RGB, flat: pictures of any size compare."""
    import cv2

    small = cv2.resize(
        np.asarray(image.pixels(max_side=64)),
        (VECTOR_SIDE, VECTOR_SIDE),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(small, dtype=np.uint8).ravel()
