"""Open the SQLite files that counterproof keeps: cases, indices, and what an audit has read."""

import os
import sqlite3
from pathlib import Path

from counterproof.errors import UserError

__all__ = ["is_sqlite", "open_sqlite"]

_BUSY_S = 30.0


def is_sqlite(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file begins like an SQLite file."""
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def open_sqlite(
    path: Path, what: str, error: type[UserError] = UserError, *, create: bool, wal: bool
) -> sqlite3.Connection:
    """Open a file in which each statement is its own transaction unless one is begun.

    Args:
        path: of the file.
        what: it is, for messages, such as `index`.
        error: to raise.
        create: make it, and its folder, if it is missing.
        wal: write ahead: readers and a writer at once, with two more files beside it.

    Raises:
        UserError: as `error`, if it is missing, of another kind, or cannot be opened.
    """
    if not create and not path.is_file():
        raise error(f"{path}: no such {what}")
    if path.is_file() and path.stat().st_size and not is_sqlite(path):
        raise error(f"{path}: expected a counterproof {what}, got another kind of file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as err:
        raise error(f"{path}: cannot open the {what}: {err}") from err
    try:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error as err:
        connection.close()
        raise error(f"{path}: expected a counterproof {what}: {err}") from err
    return connection
