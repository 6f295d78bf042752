"""Who signed a claim, and was the certificate in force: judged for a day, never by the clock."""

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from counterproof.findings import Time, Trust
from counterproof.provenance.advisories import Advisory
from counterproof.provenance.certificates import Certificate, fingerprint
from counterproof.provenance.claim_signature import ClaimSignature
from counterproof.provenance.trust import TrustList, TrustStore

__all__ = ["Standing", "judge", "name_of"]

_NOON = dt.time(12, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a claim's signature is worth on one day.

    Attributes:
        trust: which kind of list its signer's chain reaches.
        time: whether the certificate was in force when it signed.
        listed: the list that vouches for the signer; None without one.
        timestamp_list: the list that vouches for the time; None without a trusted time.
        moment: at which the chain was judged.
        holds_from: first day on which all this is so; None if it always was.
        holds_until: first day on which it may no longer be so; None if it always will.
        local: whether the signer is this installation's own identity.
        advisory: that the signer, or who vouches for it, is known to be compromised or revoked.
        signature: what was judged.
    """

    trust: Trust
    time: Time
    listed: TrustList | None
    timestamp_list: TrustList | None
    moment: dt.datetime
    holds_from: dt.date | None
    holds_until: dt.date | None
    local: bool
    signature: ClaimSignature
    advisory: Advisory | None = None

    @property
    def verified(self) -> bool:
        """The signature holds, by a listed signer, in force when it signed."""
        return (
            self.signature.holds is True
            and self.trust in (Trust.OFFICIAL, Trust.INTERIM, Trust.USER)
            and self.time in (Time.TIMESTAMPED, Time.IN_VALIDITY)
        )

    @property
    def proven_by(self) -> dt.datetime | None:
        """A moment at which the signature provably existed; None without a trusted time."""
        return self.moment if self.time is Time.TIMESTAMPED else None

    def signer_json(self) -> dict[str, Any]:
        """Describe the signer: a name if a list vouches for it, else what it claims to be."""
        leaf = self.signature.chain[0]
        _, organisation, issuer = _names(leaf)
        return {
            ("name" if self.listed else "claims_to_be"): name_of(leaf),
            "organisation": organisation,
            "issuer": issuer,
            "serial": f"{leaf.parsed.serial_number:x}",
            "sha256": fingerprint(leaf),
            "not_before": leaf.first.isoformat(),
            "not_after": leaf.last.isoformat(),
            "list": _list_json(self.listed),
        }

    def timestamp_json(self) -> dict[str, Any] | None:
        """Describe the time stamp and whether it counts; None without one."""
        stamp = self.signature.timestamp
        if stamp is None:
            return None
        return {
            "time": stamp.time.isoformat(),
            "authority": name_of(stamp.chain[0]),
            "holds": stamp.holds,
            "counts": self.timestamp_list is not None,
            "list": _list_json(self.timestamp_list),
        }


def _list_json(item: TrustList | None) -> dict[str, str] | None:
    return {"name": item.name, "date": item.date.isoformat()} if item else None


def name_of(certificate: Certificate) -> str:
    """Return the common name of a certificate's subject, else its organisation."""
    name, organisation, _ = _names(certificate)
    return name or organisation


@functools.lru_cache(maxsize=512)
def _names(certificate: Certificate) -> tuple[str, str, str]:
    """Return the subject's common name and organisation, and the issuer's name."""

    def said(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
        found = name.get_attributes_for_oid(oid)
        return str(found[0].value)[:200] if found else ""

    subject, issuer = certificate.subject, certificate.issuer
    return (
        said(subject, NameOID.COMMON_NAME),
        said(subject, NameOID.ORGANIZATION_NAME),
        said(issuer, NameOID.COMMON_NAME) or said(issuer, NameOID.ORGANIZATION_NAME),
    )


def judge(
    signature: ClaimSignature,
    trust: TrustStore,
    as_of: dt.date,
    known_by: dt.datetime | None = None,
) -> Standing:
    """Judge a claim's signature.

    A time stamp counts only if its authority's chain reaches a list of such authorities; then
    the day no longer matters. Without one the certificate must be in force on the day; an
    expired one is judged at the last moment of its life, so that its signer is still named.

    Args:
        signature: of the claim.
        trust: the lists.
        as_of: the day that "today" means.
        known_by: a moment at which the signature provably existed, from the trusted time stamp
            of a manifest that quotes this one.
    """
    leaf = signature.chain[0]
    first, last = leaf.first, leaf.last
    stamp = signature.timestamp
    stamped = trust.find("tsa", stamp.chain, stamp.time) if stamp and stamp.holds else None
    moment = stamp.time if stamp and stamped else known_by
    dated = moment is None
    if moment is not None:
        time = Time.TIMESTAMPED if first <= moment <= last else Time.EXPIRED
    else:
        in_force = first.date() <= as_of <= last.date()
        time = Time.IN_VALIDITY if in_force else Time.EXPIRED
        moment = dt.datetime.combine(as_of, _NOON)
    moment = min(max(moment, first), last)
    found = trust.find("signer", signature.chain, moment)
    advisory = trust.advisories.find(signature.chain)
    if advisory is not None:
        found = None  # whoever holds the key may have signed: no list vouches for a name
    holds_from = holds_until = None
    if dated:
        involved = [*signature.chain, *([found[1]] if found else [])]
        days = {item.first.date() for item in involved}
        days |= {_day_after(item.last) for item in involved}
        holds_from = max((day for day in days if day <= as_of), default=None)
        holds_until = min((day for day in days if day > as_of), default=None)
    return Standing(
        trust=_trust(found[0] if found else None, advisory),
        time=time,
        listed=found[0] if found else None,
        timestamp_list=stamped[0] if stamped else None,
        moment=moment,
        holds_from=holds_from,
        holds_until=holds_until,
        local=trust.is_local(leaf),
        signature=signature,
        advisory=advisory,
    )


def _trust(listed: TrustList | None, advisory: Advisory | None) -> Trust:
    if advisory is not None:
        return Trust.REVOKED
    return listed.trust if listed else Trust.UNLISTED


def _day_after(moment: dt.datetime) -> dt.date:
    return min(moment.date(), dt.date.max - _DAY) + _DAY
