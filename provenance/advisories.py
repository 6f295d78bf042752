"""Signers that are known to be compromised or revoked: a dated list with a source for each entry.

Revocation is told by an issuer to whoever asks, over the network. This list is for what can be
known without asking: certificates whose private key lies open to everybody, and incidents after
which an issuer withdrew certificates. What such a signer signed is a declaration, whatever trust
list it stands on, and never a verified capture.

The bundled list is `lists/advisories.json`; `HOME/trust/advisories.json`, in the same form, adds
to it.
"""

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID

from counterproof.errors import UserError
from counterproof.provenance.certificates import Certificate, fingerprint

__all__ = ["NO_ADVISORIES", "REASONS", "Advisories", "Advisory", "load_advisories"]

REASONS = ("key_published", "issuer_revoked")
"""`key_published`: the private key is public; `issuer_revoked`: its issuer withdrew it."""

_SCHEMA = "counterproof.advisories/1"
_FILE = "advisories.json"
_ORGANISATION = NameOID.ORGANIZATION_NAME
_MAX_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Advisory:
    """One entry.

    A certificate matches by `sha256`; or by `issuer` and `serial`; or, where the issuer has named
    no serial numbers, by `organisation` and the days on which it came into force.

    Attributes:
        name: short and stable.
        reason: one of `REASONS`.
        source: address of where this was said.
        sha256: of the certificate, hex; empty if the entry is not about one certificate.
        issuer: RFC 4514 name of the issuer; empty if unknown.
        serial: hex, without leading zeros; empty if unknown.
        organisation: of the subject or of its issuer, lower case; empty unless it is what counts.
        issued_from: first day on which a matching certificate came into force; None for any.
        issued_until: last such day; None for any.
        known: day since which this is known.
    """

    name: str
    reason: str
    source: str
    sha256: str = ""
    issuer: str = ""
    serial: str = ""
    organisation: str = ""
    issued_from: dt.date | None = None
    issued_until: dt.date | None = None
    known: dt.date | None = None

    def matches(self, certificate: Certificate) -> bool:
        """Tell whether the entry is about a certificate."""
        if self.sha256:
            return fingerprint(certificate) == self.sha256
        day = certificate.first.date()
        if self.issued_from and day < self.issued_from:
            return False
        if self.issued_until and day > self.issued_until:
            return False
        if self.serial:
            serial = f"{certificate.parsed.serial_number:x}"
            return serial == self.serial and certificate.issuer.rfc4514_string() == self.issuer
        names = (certificate.subject, certificate.issuer)
        named = [item for name in names for item in name.get_attributes_for_oid(_ORGANISATION)]
        return any(str(item.value).strip().lower() == self.organisation for item in named)

    def to_json(self) -> dict[str, Any]:
        """Return what a finding says of it."""
        return {
            "name": self.name,
            "reason": self.reason,
            "source": self.source,
            "known": self.known.isoformat() if self.known else None,
        }


@dataclass(frozen=True, slots=True)
class Advisories:
    """All entries in force.

    Attributes:
        entries: bundled ones before the user's.
        date: of the bundled list.
        sha256: of the files they were read from.
    """

    entries: tuple[Advisory, ...]
    date: dt.date
    sha256: str

    def find(self, chain: Sequence[Certificate]) -> Advisory | None:
        """Return the first entry about the signer, or about a certificate that vouches for it."""
        for place, certificate in enumerate(chain):
            for entry in self.entries:
                if (place == 0 or not entry.organisation) and entry.matches(certificate):
                    return entry
        return None


NO_ADVISORIES = Advisories((), dt.date.min, "")


def load_advisories(home: Path | None = None) -> Advisories:
    """Load the bundled list, and what the user's folder adds to it.

    Raises:
        UserError: if the user's file is not of the form.
    """
    bundled = _bundled()
    path = home / "trust" / _FILE if home else None
    if path is None or not path.is_file():
        return bundled
    try:
        data = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    if len(data) > _MAX_BYTES:
        raise UserError(f"{path}: larger than {_MAX_BYTES:,} bytes")
    try:
        own, _ = _read(data)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise UserError(f"{path}: expected advisories of schema {_SCHEMA}: {err!r}") from err
    digest = hashlib.sha256(bundled.sha256.encode() + data).hexdigest()
    return Advisories((*bundled.entries, *own), bundled.date, digest)


@functools.cache
def _bundled() -> Advisories:
    data = (resources.files("counterproof.provenance") / "lists" / _FILE).read_bytes()
    entries, date = _read(data)
    return Advisories(tuple(entries), date, hashlib.sha256(data).hexdigest())


def _read(data: bytes) -> tuple[Iterable[Advisory], dt.date]:
    value = json.loads(data)
    if value["schema"] != _SCHEMA:
        raise ValueError(f"schema {value['schema']!r}")
    return [_entry(item) for item in value["advisories"]], dt.date.fromisoformat(value["date"])


def _entry(item: dict[str, Any]) -> Advisory:
    def day(name: str) -> dt.date | None:
        return dt.date.fromisoformat(item[name]) if item.get(name) else None

    found = Advisory(
        name=str(item["name"]),
        reason=str(item["reason"]),
        source=str(item["source"]),
        sha256=str(item.get("sha256", "")).lower(),
        issuer=str(item.get("issuer", "")),
        serial=str(item.get("serial", "")).lower().lstrip("0"),
        organisation=str(item.get("organisation", "")).strip().lower(),
        issued_from=day("issued_from"),
        issued_until=day("issued_until"),
        known=day("known"),
    )
    if found.reason not in REASONS:
        raise ValueError(f"{found.name}: reason {found.reason!r}, expected {', '.join(REASONS)}")
    if not (found.sha256 or (found.serial and found.issuer) or found.organisation):
        raise ValueError(f"{found.name}: expected sha256, issuer and serial, or organisation")
    if found.organisation and not (found.issued_from and found.issued_until):
        raise ValueError(f"{found.name}: an organisation needs issued_from and issued_until")
    return found
