"""The manifest store: one SQLite file of credentials, and the bindings that lead back to them.

    manifest  id of the active manifest → the whole C2PA manifest store, as it was signed
    binding   algorithm and value of a watermark or fingerprint → manifest

What is taken in is checked: the signature must hold, and every assertion be the one that was
signed. Bindings to watermarks and content hashes come out of the signed manifest; only the
fingerprint is computed from the picture and vouched for by nobody but the store itself. So a
store is a way to find a credential, never a reason to believe it: `recovery` checks again.
"""

import base64
import binascii
import dataclasses
import datetime as dt
import functools
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from counterproof.errors import ImageError, ProvenanceError, UserError
from counterproof.perceptual import DCT256, SMALL_SIDE, dct256, detail, square
from counterproof.provenance import codes, jumbf
from counterproof.provenance.credentials import Credential, read_credential

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from counterproof.images import ImageFile
    from counterproof.provenance.trust import TrustStore

__all__ = [
    "DEFAULT_NAME",
    "Kept",
    "ManifestStore",
    "default_store",
    "fingerprint",
    "signature_holds",
    "signed_bindings",
]

DEFAULT_NAME = "store.sqlite"
MAX_MANIFEST_BYTES = 64 * 2**20
MAX_VALUE_BYTES = 4096
MIN_DETAIL = 2.0
"""Mean difference of neighbours in grey levels under which a fingerprint says nothing."""

_APPLICATION = 0x43504D53  # "CPMS"
_SCHEMA = 1
_MAX_BINDINGS = 64
# a schema that is no UTF-8 makes the message of SQLite's error undecodable
_DEFECTS = (sqlite3.Error, UnicodeError)
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE manifest (id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, added TEXT NOT NULL,"
    " data BLOB NOT NULL)",
    "CREATE TABLE binding (alg TEXT, value BLOB, manifest TEXT NOT NULL REFERENCES manifest (id),"
    " PRIMARY KEY (alg, value, manifest)) WITHOUT ROWID",
    "CREATE INDEX binding_manifest ON binding (manifest)",
)
_PICTURE_CODES = frozenset(code.removesuffix(".match") + ".mismatch" for code in codes.HASH_MATCHES)


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest in a store.

    Attributes:
        id: label of its active manifest.
        data: the C2PA manifest store.
        store: file that holds it.
        distance: bits by which its fingerprint differs; None if it was found exactly.
    """

    id: str
    data: bytes = field(repr=False)
    store: Path
    distance: int | None = None


def default_store(home: Path) -> Path:
    """Return where `mark` records manifests unless another store is named."""
    return home / DEFAULT_NAME


def fingerprint(image: "ImageFile") -> bytes | None:
    """Return the 256-bit hash of a picture; None if it has too little detail to tell it apart.

    Raises:
        ImageError: if the pixels cannot be read.
    """
    grey = square(image.luminance(SMALL_SIDE))
    return bytes.fromhex(dct256(grey)) if detail(grey) >= MIN_DETAIL else None


def signature_holds(credential: Credential) -> bool:
    """Tell whether a manifest store, read without its picture, is as it was signed.

    The library's word for the active signature and our own check must agree, every assertion
    must be the one that the claim names. That the picture's bytes are not here is the one failure
    that counts for nothing. Parents are another matter: `Credential.broken_parents`.
    """
    reading = credential.reading
    signature = reading.signatures.get(reading.active)
    if reading.status != "read" or reading.ambiguous or signature is None:
        return False
    active = reading.results.get("activeManifest") or {}
    pairs: dict[str, list[tuple[str, str]]] = {
        outcome: [(str(i.get("code", "")), str(i.get("url", ""))) for i in active.get(outcome, ())]
        for outcome in ("failure", "success")
    }
    broken = set(codes.broken_codes(pairs["failure"], pairs["success"])) - _PICTURE_CODES
    unknown = any(codes.is_unknown(code) for code, _ in pairs["failure"])
    said = codes.SIGNATURE_HOLDS in {code for code, _ in pairs["success"]}
    own = signature.holds is True and reading.mismatched.get(reading.active) == ()
    return said and own and not broken and not unknown


def signed_bindings(credential: Credential) -> list[tuple[str, bytes]]:
    """Return algorithm and value of each soft binding that the active manifest states."""
    content = credential.reading.contents.get(credential.reading.active)
    assertions = content.get("assertion_store") if isinstance(content, Mapping) else None
    found: list[tuple[str, bytes]] = []
    for label, value in (assertions or {}).items() if isinstance(assertions, Mapping) else ():
        if str(label).partition("__")[0] != "c2pa.soft-binding" or not isinstance(value, Mapping):
            continue
        blocks = value.get("blocks")
        for block in blocks if isinstance(blocks, list) else ():
            data = _value(block.get("value")) if isinstance(block, Mapping) else None
            if data:
                found.append((str(value.get("alg", ""))[:200], data))
    return found[:_MAX_BINDINGS]


def _value(value: Any) -> bytes | None:
    """Read a binding's value, which the library gives as Base64 or a list of numbers."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
    except (TypeError, ValueError, binascii.Error):
        return None
    return data if len(data) <= MAX_VALUE_BYTES else None


class ManifestStore:
    """An open manifest store. Use `ManifestStore.open`, and as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._known: tuple[str, NDArray[np.uint8], list[str]] | None = None  # at which digest

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Self:
        """Open a store: to read, or, with `create`, to write, making it if it is missing.

        Raises:
            UserError: if it is missing, no manifest store, damaged, or of a newer version.
        """
        path = Path(path)
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise UserError(f"{path}: no such manifest store")
            if path.exists() and not path.is_file():
                raise UserError(f"{path}: expected a manifest store, not a folder or device")
            mode = "rwc" if create else "ro"
            uri = f"{path.absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False
            )
        except (OSError, *_DEFECTS) as err:
            raise UserError(f"{path}: cannot open the manifest store: {err}") from err
        try:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_MANIFEST_BYTES + 2**20)
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA foreign_keys=ON")
            _prepare(connection, path, create)
        except _DEFECTS as err:
            connection.close()
            raise UserError(f"{path}: expected a manifest store: {err}") from err
        except UserError:
            connection.close()
            raise
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def __len__(self) -> int:
        return int(next(self._rows("SELECT count(*) FROM manifest"))[0])

    def ids(self) -> list[str]:
        """Return the ids of all manifests, in order of their coming."""
        return [str(row[0]) for row in self._rows("SELECT id FROM manifest ORDER BY rowid")]

    def add(
        self,
        data: bytes,
        trust: "TrustStore",
        as_of: dt.date,
        fingerprints: Iterable[tuple[str, bytes]] = (),
    ) -> str:
        """Take in a manifest with the bindings that it states; all of it or nothing.

        Args:
            data: a C2PA manifest store.
            trust: the lists, from `load_trust`; a signer on none of them is taken in all the same.
            as_of: the day that "today" means.
            fingerprints: further bindings, computed from the picture.

        Returns:
            The manifest's id.

        Raises:
            ProvenanceError: if it is no manifest store, or not as it was signed.
            UserError: if the store cannot be written.
        """
        credential = read_alone(data, trust, as_of)
        if credential is None or not signature_holds(credential):
            raise ProvenanceError("the manifest is not as it was signed; it is not kept")
        name = credential.reading.active
        bindings = {*signed_bindings(credential), *fingerprints}
        digest = hashlib.sha256(data).hexdigest()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._insert(name, digest, data, bindings)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except _DEFECTS as err:
            raise UserError(f"{self.path}: cannot write the manifest store: {err}") from err
        return name

    def _insert(
        self, name: str, digest: str, data: bytes, bindings: set[tuple[str, bytes]]
    ) -> None:
        found = self._db.execute("SELECT sha256 FROM manifest WHERE id = ?", (name,)).fetchone()
        if found is not None and found[0] != digest:
            raise ProvenanceError(f"another manifest with the id {name} is kept already")
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._db.execute(
            "INSERT OR IGNORE INTO manifest VALUES (?, ?, ?, ?)", (name, digest, now, data)
        )
        rows = [(alg, value, name) for alg, value in sorted(bindings)]
        self._db.executemany("INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", rows)
        state = hashlib.sha256(self.digest().encode() + digest.encode())
        for alg, value, _ in rows:
            state.update(alg.encode() + b"\0" + value)
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'digest'", (state.hexdigest(),))

    def digest(self) -> str:
        """Return a word that changes whenever something is taken in."""
        return str(next(self._rows("SELECT value FROM meta WHERE key = 'digest'"))[0])

    def find(self, alg: str, value: bytes, most: int = 16) -> list[Kept]:
        """Return the manifests that a watermark or fingerprint leads to, newest first."""
        query = (
            "SELECT id, data FROM binding JOIN manifest ON manifest.id = binding.manifest "
            "WHERE alg = ? AND value = ? ORDER BY added DESC, id LIMIT ?"
        )
        return [self._kept(row) for row in self._rows(query, (alg, value, most))]

    def get(self, name: str) -> Kept | None:
        """Return the manifest with an id; None if it is not kept."""
        query = "SELECT id, data FROM manifest WHERE id = ?"
        return next((self._kept(row) for row in self._rows(query, (name,))), None)

    def algorithms(self) -> list[str]:
        """Return the algorithms of all bindings kept, by name."""
        return [str(row[0]) for row in self._rows("SELECT DISTINCT alg FROM binding ORDER BY alg")]

    def near(self, value: bytes, radius: int, most: int = 8) -> list[Kept]:
        """Return the manifests whose fingerprint differs in few bits, nearest first.

        The first call reads all fingerprints; later calls compare with those in hand, until
        something else is taken in.

        Args:
            value: from `fingerprint`.
            radius: most bits of 256 that may differ.
            most: most manifests.
        """
        import numpy as np

        table, names = self._fingerprints()
        if not names:
            return []
        distance = _bits_set()[table ^ np.frombuffer(value, np.uint8)].sum(1, dtype=np.int64)
        order = np.argsort(distance, kind="stable")[:most]
        found = []
        for index in order[distance[order] <= radius]:
            if (kept := self.get(names[index])) is not None:
                found.append(dataclasses.replace(kept, distance=int(distance[index])))
        return found

    def _fingerprints(self) -> tuple["NDArray[np.uint8]", list[str]]:
        """Return all fingerprints, uint8 of shape (n, 32), and whose they are."""
        import numpy as np

        digest = self.digest()
        if self._known is not None and self._known[0] == digest:
            return self._known[1:]
        query = "SELECT value, manifest FROM binding WHERE alg = ? AND length(value) = 32"
        rows = [row for row in self._rows(query, (DCT256,)) if isinstance(row[0], bytes)]
        table = np.frombuffer(b"".join(row[0] for row in rows), np.uint8).reshape(-1, 32)
        self._known = digest, table, [str(row[1]) for row in rows]
        return self._known[1:]

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        if not isinstance(row[0], str) or not isinstance(row[1], bytes):
            raise UserError(f"{self.path}: the manifest store is damaged")
        return Kept(row[0], row[1], self.path)

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values).fetchall()
        except _DEFECTS as err:
            raise UserError(f"{self.path}: the manifest store is damaged: {err}") from err


def read_alone(data: bytes, trust: "TrustStore", as_of: dt.date) -> Credential | None:
    """Read and judge a manifest store without its picture; None if it is none.

    Its `state` is never better than `unchecked`: ask `signature_holds`.
    """
    from counterproof.images import ImageFile

    if len(data) > MAX_MANIFEST_BYTES or not jumbf.is_store(data):
        return None
    try:
        return read_credential(ImageFile.open(data, name="manifest"), trust, as_of)
    except (ImageError, ProvenanceError):
        return None


@functools.cache
def _bits_set() -> "NDArray[np.uint8]":
    """Return how many bits each byte has set."""
    import numpy as np

    return np.array([value.bit_count() for value in range(256)], np.uint8)


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    """Make the tables of an empty file, or check that a file has just these.

    Raises:
        UserError: if it is something else, or of a newer version.
    """
    if create:
        connection.execute("BEGIN IMMEDIATE")  # of two who make it, one waits and finds it made
    try:
        found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master") if row[0]}
        if create and not found:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('digest', '')")
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={_SCHEMA}")
            return
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application == _APPLICATION and version > _SCHEMA:
            raise UserError(f"{path}: made by a newer version of counterproof")
        if application != _APPLICATION or found != set(_TABLES):
            raise UserError(f"{path}: expected a manifest store of counterproof")
        if connection.execute("SELECT count(*) FROM meta WHERE key = 'digest'").fetchone()[0] != 1:
            raise UserError(f"{path}: the manifest store is damaged")
    finally:
        if create and connection.in_transaction:
            connection.execute("COMMIT")
