"""Certificates: what one says, and whether a list vouches for it, for one purpose at one moment.

The C2PA library judges certificates against the machine's clock and lets the anchors of one
purpose vouch for another. Here a chain is judged for one purpose, against one list, at one
moment that the caller names. What cannot be read or is of an unknown algorithm does not hold.

Sources: RFC 5280 §6 (path validation, here without name constraints and policies), C2PA 2.4
§14.5 (certificate profile).
"""

import datetime as dt
import functools
import hashlib
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from counterproof.errors import ProvenanceError
from counterproof.provenance import cms

__all__ = [
    "SIGNER_USAGES",
    "TIMESTAMP_USAGES",
    "Anchors",
    "Certificate",
    "fingerprint",
    "is_issued_by",
    "load_certificate",
    "path_to_anchor",
]

SIGNER_USAGES = frozenset(
    {
        "1.3.6.1.5.5.7.3.4",  # emailProtection
        "1.3.6.1.5.5.7.3.36",  # documentSigning
        "1.3.6.1.4.1.311.76.59.1.9",  # Microsoft C2PA signing
        "1.3.6.1.4.1.62558.2.1",  # C2PA claim signing
    }
)
"""Extended key usages with which a certificate may sign claims. Source: C2PA 2.4 §14.5.1 and
the `store.cfg` of the interim list."""

TIMESTAMP_USAGES = frozenset({ExtendedKeyUsageOID.TIME_STAMPING.dotted_string})

_MALFORMED = (
    *(ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What `cryptography` raises for a certificate that it cannot read."""

_ANY_USAGE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string
_MAX_PATH = 8


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with the bytes that its issuer signed.

    Attributes:
        der: as it came.
        parsed: as read; where a name breaks the rules of its string type, of a copy in which
            that type is mended.
        subject_der: whom it is about.
        issuer_der: who is said to have issued it.
        first: when it comes into force.
        last: when it ceases to be in force.
        usages: extended key usages that it states; None if it states none.
        issues_below: how many intermediates may stand between it and a leaf; -1 if it may
            issue none, None without a limit.
    """

    der: bytes
    parsed: x509.Certificate = field(repr=False)
    subject_der: bytes = field(repr=False)
    issuer_der: bytes = field(repr=False)
    first: dt.datetime
    last: dt.datetime
    usages: frozenset[str] | None
    issues_below: int | None

    @property
    def subject(self) -> x509.Name:
        """Whom it is about."""
        return self.parsed.subject

    @property
    def issuer(self) -> x509.Name:
        """Who is said to have issued it."""
        return self.parsed.issuer


@dataclass(frozen=True, slots=True)
class Anchors:
    """Certificates that one list vouches for.

    Attributes:
        roots: certificates that a chain may end in, by subject.
        allowed: SHA-256 of end-entity certificates that are listed by themselves.
    """

    roots: dict[bytes, tuple[Certificate, ...]]
    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, roots: Iterable[Certificate], allowed: Collection[Certificate] = ()) -> "Anchors":
        """Index certificates by their subject."""
        table: dict[bytes, tuple[Certificate, ...]] = {}
        for root in roots:
            table[root.subject_der] = (*table.get(root.subject_der, ()), root)
        return cls(table, frozenset(fingerprint(item) for item in allowed))


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of a certificate, hex."""
    return hashlib.sha256(certificate.der).hexdigest()


@functools.lru_cache(maxsize=512)
def load_certificate(der: bytes) -> Certificate:
    """Read one certificate; the last ones are remembered, since pictures share signers.

    Raises:
        ProvenanceError: if it is malformed.
    """
    try:
        return _parse(der, der)
    except _MALFORMED as err:
        try:
            # DigiCert issues time-stamping certificates for Adobe with `_` in a PrintableString
            return _parse(der, cms.mend_strings(der))
        except (*_MALFORMED, ProvenanceError):
            raise ProvenanceError(f"a certificate is malformed: {err}") from err


def _parse(der: bytes, readable: bytes) -> Certificate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        parsed = x509.load_der_x509_certificate(readable)
        _ = (parsed.public_key(), parsed.serial_number)  # parsed lazily: fail here, not later
        extensions = parsed.extensions
        return Certificate(
            der,
            parsed,
            parsed.subject.public_bytes(),
            parsed.issuer.public_bytes(),
            parsed.not_valid_before_utc,
            parsed.not_valid_after_utc,
            _usages(extensions),
            _issues_below(extensions),
        )


def _usages(extensions: x509.Extensions) -> frozenset[str] | None:
    try:
        stated = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return frozenset(item.dotted_string for item in stated)


def _issues_below(extensions: x509.Extensions) -> int | None:
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return -1
    try:
        may_sign = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign = True
    return basic.path_length if basic.ca and may_sign else -1


def path_to_anchor(
    chain: Sequence[Certificate],
    anchors: Anchors,
    usages: frozenset[str],
    at: dt.datetime,
) -> Certificate | None:
    """Find the listed certificate that vouches for the first one of a chain, at one moment.

    Args:
        chain: the certificate in question, then candidates for the way up, in any order.
        anchors: the list.
        usages: extended key usages of which the first certificate must state one.
        at: the moment at which every certificate on the way must be in force.

    Returns:
        The anchor, or the certificate itself where the list names it; None if there is no way.
    """
    if not chain or not _may(chain[0], usages, must_state=True) or not _in_force(chain[0], at):
        return None
    if fingerprint(chain[0]) in anchors.allowed:
        return chain[0]
    return _climb(chain[0], list(chain[1:]), anchors, usages, at, 0)


def _climb(
    certificate: Certificate,
    pool: list[Certificate],
    anchors: Anchors,
    usages: frozenset[str],
    at: dt.datetime,
    below: int,
) -> Certificate | None:
    if certificate in anchors.roots.get(certificate.subject_der, ()):
        return certificate
    if below >= _MAX_PATH:
        return None
    for anchor in anchors.roots.get(certificate.issuer_der, ()):
        if _issued(anchor, certificate, below) and _in_force(anchor, at) and _may(anchor, usages):
            return anchor
    for index, other in enumerate(pool):
        if _issued(other, certificate, below) and _in_force(other, at) and _may(other, usages):
            rest = pool[:index] + pool[index + 1 :]
            if found := _climb(other, rest, anchors, usages, at, below + 1):
                return found
    return None


def _in_force(certificate: Certificate, at: dt.datetime) -> bool:
    return certificate.first <= at <= certificate.last


def _may(certificate: Certificate, usages: frozenset[str], must_state: bool = False) -> bool:
    """Tell whether a certificate states a usage; an issuer that states none may do any."""
    if certificate.usages is None:
        return not must_state
    if not must_state and _ANY_USAGE in certificate.usages:
        return True
    return bool(certificate.usages & usages)


def is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Tell whether one certificate was issued by the other, by its name and its signature."""
    same = certificate.issuer_der == issuer.subject_der
    return same and _signed(issuer.der, certificate.der)


def _issued(issuer: Certificate, certificate: Certificate, below: int) -> bool:
    """Tell whether one certificate may have issued, and did issue, the other."""
    if issuer.issues_below is not None and below > issuer.issues_below:
        return False
    return is_issued_by(certificate, issuer)


@functools.lru_cache(maxsize=2048)
def _signed(issuer_der: bytes, der: bytes) -> bool:
    """Tell whether an issuer's key signed a certificate, as it came."""
    issuer, certificate = load_certificate(issuer_der), load_certificate(der)
    key, parsed = issuer.parsed.public_key(), certificate.parsed
    try:
        signed, signature = cms.signed_part(certificate.der)
        how, digest = parsed.signature_algorithm_parameters, parsed.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            if not isinstance(how, padding.PKCS1v15 | padding.PSS):
                return False
            key.verify(signature, signed, how, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(signature, signed, how)
        elif isinstance(key, ed25519.Ed25519PublicKey) and how is None:
            key.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, ProvenanceError):
        return False
    return True
