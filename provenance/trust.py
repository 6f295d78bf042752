"""Trust lists: whose signatures count as verified, and since when we know.

Three sources, one shape. The official lists of C2PA and the frozen interim list come with the
package; a newer copy of either lies in `HOME/trust/lists`; certificates that the user trusts
lie in `HOME/trust/signer` and `HOME/trust/tsa`. Lists of signers and of time-stamping
authorities never mix: a certificate that vouches for times vouches for no claim. (In the C2PA
library they do, which is why it is given none of them.)
"""

import base64
import binascii
import datetime as dt
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID

from counterproof.errors import ProvenanceError, UserError
from counterproof.findings import Trust
from counterproof.provenance.advisories import NO_ADVISORIES, Advisories, load_advisories
from counterproof.provenance.certificates import (
    SIGNER_USAGES,
    TIMESTAMP_USAGES,
    Anchors,
    Certificate,
    fingerprint,
    load_certificate,
    path_to_anchor,
)

__all__ = [
    "KINDS",
    "LOCAL_UNIT",
    "TrustList",
    "TrustStore",
    "add_certificates",
    "load_trust",
    "read_certificates",
    "store_list",
    "to_pem",
]

KINDS = ("signer", "tsa")

LOCAL_UNIT = "counterproof first-use identity"
"""Organisational unit in the certificates that an installation makes for itself on first use."""

_SCHEMA = "counterproof.trust-lists/1"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_USAGES = {"signer": SIGNER_USAGES, "tsa": TIMESTAMP_USAGES}
_RANK = {Trust.OFFICIAL: 0, Trust.INTERIM: 1, Trust.USER: 2}
_TRUSTED_SERVICE = "/trusted"
_MAX_LIST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class TrustList:
    """One list of certificates for one purpose.

    Attributes:
        name: short and stable: `c2pa`, `c2pa-tsa`, `interim`, `interim-tsa`, `user`, `user-tsa`.
        kind: `signer` or `tsa`.
        trust: what a signer on it is called.
        title: for people.
        date: when it was issued; for the user's own, of the last addition.
        origin: `bundled`, `updated` or `user`.
        source: where it was taken from.
        url: where a newer one is published; empty if unknown.
        sha256: of the files it was read from.
        anchors: the certificates.
        roots: DER of the anchors, in file order.
        allowed: DER of end-entity certificates listed by themselves.
    """

    name: str
    kind: str
    trust: Trust
    title: str
    date: dt.date
    origin: str
    source: str
    url: str
    sha256: str
    anchors: Anchors
    roots: tuple[bytes, ...]
    allowed: tuple[bytes, ...] = ()

    @property
    def certificates(self) -> int:
        """How many certificates it names."""
        return len(self.roots) + len(self.allowed)

    def age_days(self, as_of: dt.date) -> int:
        """Days since it was issued."""
        return (as_of - self.date).days


@dataclass(frozen=True, slots=True)
class TrustStore:
    """All lists in force, official before interim before the user's.

    Attributes:
        lists: in the order in which they are asked.
        local: SHA-256 of certificates that this installation made for itself on first use.
            A capture signed by one of them is never `captured_verified`.
        advisories: signers that are known to be compromised or revoked.
    """

    lists: tuple[TrustList, ...]
    local: frozenset[str] = frozenset()
    advisories: Advisories = NO_ADVISORIES

    def of_kind(self, kind: str) -> tuple[TrustList, ...]:
        """Return the lists for one purpose."""
        return tuple(item for item in self.lists if item.kind == kind)

    def find(
        self, kind: str, chain: Sequence[Certificate], at: dt.datetime
    ) -> tuple[TrustList, Certificate] | None:
        """Find the first list that vouches for a chain at a moment, and by which certificate."""
        for item in self.of_kind(kind):
            if anchor := path_to_anchor(chain, item.anchors, _USAGES[kind], at):
                return item, anchor
        return None

    def is_local(self, certificate: Certificate) -> bool:
        """Tell whether an installation, this one or another, made it for itself on first use."""
        units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return fingerprint(certificate) in self.local or any(u.value == LOCAL_UNIT for u in units)

    def digest(self) -> str:
        """Return a word that changes whenever any list does."""
        words = [f"{item.name}:{item.date}:{item.sha256}" for item in self.lists]
        words.append(self.advisories.sha256)
        return hashlib.sha256("\n".join([*words, *sorted(self.local)]).encode()).hexdigest()

    def dates(self) -> dict[str, str]:
        """Return name → ISO date of each list, the advisories among them where there are any."""
        found = {item.name: item.date.isoformat() for item in self.lists}
        if self.advisories.entries:
            found["advisories"] = self.advisories.date.isoformat()
        return found


def to_pem(certificates: Iterable[bytes]) -> str:
    """Return certificates, each in DER, as one PEM bundle."""
    lines = []
    for der in certificates:
        body = base64.b64encode(der).decode()
        lines.append("-----BEGIN CERTIFICATE-----")
        lines.extend(body[at : at + 64] for at in range(0, len(body), 64))
        lines.append("-----END CERTIFICATE-----\n")
    return "\n".join(lines)


def read_certificates(data: bytes, name: str) -> list[Certificate]:
    """Read certificates from PEM, or one from DER.

    Raises:
        UserError: if there is none, or one is malformed.
    """
    ders = list(_pem_ders(data))
    if not ders and data[:1] == b"\x30":
        ders = [data]
    if not ders:
        what = "a private key" if b"PRIVATE KEY-----" in data else "no certificate"
        raise UserError(f"{name}: expected certificates in PEM, found {what}")
    try:
        return [load_certificate(der) for der in ders]
    except ProvenanceError as err:
        raise UserError(f"{name}: {err}") from err


def _pem_ders(data: bytes) -> Iterator[bytes]:
    for match in _PEM.finditer(data):
        try:
            yield base64.b64decode(b"".join(match[1].split()), validate=True)
        except binascii.Error:
            yield b""


def load_trust(home: Path | None = None) -> TrustStore:
    """Load the bundled lists, newer copies of them, and what the user added.

    Args:
        home: the user's folder; None for the bundled lists alone.

    Raises:
        UserError: if a list in the user's folder is defective.
    """
    bundled = resources.files("counterproof.provenance") / "lists"
    found = {
        item.name: item
        for item in _read_index(
            json.loads((bundled / "lists.json").read_bytes()),
            lambda name: (bundled / name).read_bytes(),
            "bundled",
        )
    }
    if home is not None:
        for item in _updated(home / "trust" / "lists"):
            if item.name not in found or item.date >= found[item.name].date:
                found[item.name] = item
        for kind in KINDS:
            if own := _users(home / "trust" / kind, kind):
                found[own.name] = own
    ranked = sorted(found.values(), key=lambda item: _RANK[item.trust])
    local = _local(home) if home else frozenset()
    return TrustStore(tuple(ranked), local, load_advisories(home))


def _local(home: Path) -> frozenset[str]:
    """Return the SHA-256 of the signers that this installation made for itself."""
    found = set()
    for path in sorted((home / "keys").glob("local*/chain.pem")):
        try:
            found.add(fingerprint(read_certificates(path.read_bytes(), str(path))[0]))
        except OSError as err:
            raise UserError(f"{path}: {err.strerror}") from err
    return frozenset(found)


def _updated(folder: Path) -> list[TrustList]:
    index = folder / "lists.json"
    if not index.is_file():
        return []
    try:
        return list(
            _read_index(
                json.loads(index.read_bytes()), lambda name: (folder / name).read_bytes(), "updated"
            )
        )
    except (OSError, ValueError, KeyError, TypeError, ProvenanceError) as err:
        raise UserError(
            f"{index}: expected what `counterproof trust update` wrote ({err}); remove the folder"
        ) from err


def _read_index(index: dict[str, Any], read: Any, origin: str) -> Iterator[TrustList]:
    if index.get("schema") != _SCHEMA:
        raise ProvenanceError(f"expected schema {_SCHEMA}, got {index.get('schema')!r}")
    for entry in index["lists"]:
        roots: tuple[bytes, ...] = ()
        allowed: tuple[bytes, ...] = ()
        digests = []
        for part in ("anchors", "allowed"):
            if part not in entry:
                continue
            data: bytes = read(entry[part]["file"])
            digest = hashlib.sha256(data).hexdigest()
            if digest != entry[part]["sha256"]:
                raise ProvenanceError(f"{entry[part]['file']} is not the file that was listed")
            digests.append(digest)
            if part == "anchors":
                roots = tuple(_pem_ders(data))
            else:
                allowed = tuple(_pem_ders(data))
        yield _make_list(entry, origin, roots, allowed, "+".join(digests))


def _make_list(
    entry: dict[str, Any],
    origin: str,
    roots: tuple[bytes, ...],
    allowed: tuple[bytes, ...],
    sha256: str,
) -> TrustList:
    anchors = Anchors.of(load_certificate(der) for der in roots)
    listed = frozenset(hashlib.sha256(der).hexdigest() for der in allowed)
    return TrustList(
        name=entry["name"],
        kind=entry["kind"],
        trust=Trust(entry["trust"]),
        title=entry["title"],
        date=dt.date.fromisoformat(entry["date"]),
        origin=origin,
        source=entry.get("source", ""),
        url=entry.get("url", ""),
        sha256=sha256,
        anchors=Anchors(anchors.roots, listed),
        roots=roots,
        allowed=allowed,
    )


def _users(folder: Path, kind: str) -> TrustList | None:
    """Read every certificate that the user added for one purpose."""
    files = sorted(folder.glob("*.pem")) if folder.is_dir() else []
    if not files:
        return None
    ders: dict[bytes, None] = {}
    latest = 0.0
    digest = hashlib.sha256()
    for path in files:
        try:
            data = path.read_bytes()
            latest = max(latest, path.stat().st_mtime)
        except OSError as err:
            raise UserError(f"{path}: {err.strerror}") from err
        for certificate in read_certificates(data, str(path)):
            ders[certificate.der] = None
        digest.update(data)
    name = "user" if kind == "signer" else "user-tsa"
    # An end-entity certificate that the user names is trusted by itself.
    day = dt.datetime.fromtimestamp(latest, dt.UTC).date()
    entry = {"name": name, "kind": kind, "trust": "user", "title": "Added here", "date": str(day)}
    entry["source"] = str(folder)
    return _make_list(entry, "user", tuple(ders), (), digest.hexdigest())


def add_certificates(home: Path, data: bytes, name: str, kind: str) -> list[Certificate]:
    """Add certificates to the user's own list.

    Args:
        home: the user's folder.
        data: PEM or DER.
        name: where the data comes from, for messages.
        kind: `signer` or `tsa`.

    Returns:
        The certificates, also those that were there before.

    Raises:
        UserError: if the data holds no certificate, or the folder cannot be written.
    """
    if kind not in KINDS:
        raise UserError(f"expected a kind of {', '.join(KINDS)}, got {kind!r}")
    certificates = read_certificates(data, name)
    for certificate in certificates:
        path = home / "trust" / kind / f"{fingerprint(certificate)[:32]}.pem"
        if not path.is_file():
            _write(path, to_pem([certificate.der]).encode())
    return certificates


def store_list(home: Path, data: bytes, name: str, date: dt.date | None = None) -> TrustList:
    """Store a newer copy of an official list.

    Args:
        home: the user's folder.
        data: the list as C2PA publishes it: JSON, which carries its date, or PEM.
        name: of the file, which for PEM tells the time-stamping list from the other.
        date: when a PEM list was issued.

    Raises:
        UserError: if it is not such a list, is older than the one in force, or cannot be
            written.
    """
    if len(data) > _MAX_LIST_BYTES:
        raise UserError(f"{name}: {len(data):,} bytes are too many for a trust list")
    if data.lstrip()[:1] == b"{":
        kind, date, ders = _read_published(data, name)
    else:
        kind = "tsa" if "tsa" in Path(name).name.lower() else "signer"
        ders = [item.der for item in read_certificates(data, name)]
    if date is None:
        raise UserError(f"{name}: a PEM list carries no date; say when it was issued with --date")
    wanted = "c2pa-tsa" if kind == "tsa" else "c2pa"
    current = next(item for item in load_trust(home).lists if item.name == wanted)
    if date < current.date:
        raise UserError(f"{name}: of {date}, older than the list of {current.date} in force")
    folder = home / "trust" / "lists"
    pem = to_pem(ders).encode()
    file = f"{wanted}-{date}.pem"
    entry = {
        "name": wanted,
        "kind": kind,
        "trust": "official",
        "title": current.title,
        "date": date.isoformat(),
        "source": name,
        "url": current.url,
        "anchors": {"file": file, "sha256": hashlib.sha256(pem).hexdigest()},
    }
    index = folder / "lists.json"
    entries = json.loads(index.read_bytes())["lists"] if index.is_file() else []
    entries = [item for item in entries if item["name"] != wanted] + [entry]
    _write(folder / file, pem)
    _write(index, (json.dumps({"schema": _SCHEMA, "lists": entries}, indent=1) + "\n").encode())
    return next(item for item in load_trust(home).lists if item.name == wanted)


def _read_published(data: bytes, name: str) -> tuple[str, dt.date, list[bytes]]:
    """Read a list in the JSON form that C2PA publishes (a list of trusted entities)."""
    try:
        scheme = json.loads(data)["LoTE"]
        information = scheme["ListAndSchemeInformation"]
        title = information["SchemeName"][0]["value"]
        date = dt.date.fromisoformat(information["ListIssueDateTime"][:10])
        ders = [
            base64.b64decode(item["val"], validate=True)
            for entity in scheme["TrustedEntitiesList"]
            for service in entity["TrustedEntityServices"]
            if service["ServiceInformation"]["ServiceStatus"].endswith(_TRUSTED_SERVICE)
            for item in service["ServiceInformation"]["ServiceDigitalIdentity"]["X509Certificates"]
        ]
        for der in ders:
            load_certificate(der)
    except (ValueError, KeyError, IndexError, TypeError, ProvenanceError) as err:
        raise UserError(f"{name}: expected a trust list as C2PA publishes it: {err!r}") from err
    if not ders:
        raise UserError(f"{name}: the list names no trusted certificate")
    return ("tsa" if "TSA" in title else "signer"), date, list(dict.fromkeys(ders))


def _write(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as err:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UserError(f"{path}: {err.strerror}") from err
