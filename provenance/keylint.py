"""Name the exact defect of a signing certificate, its chain or its key.

The C2PA library refuses a certificate with "the certificate is invalid" and no reason. Each
rule here has a code of its own, and its sentence lies in the text catalogue as
`keys.defect.CODE`. The rules are those of the C2PA profile, checked with `cryptography`. A
linter that others keep (`pkix_lint`) adds the general rules of RFC 5280; it cannot stand in for
these, as it names 3 of the 25 defective variants of the tests: RFC 5280 allows most of them.

Sources: C2PA 2.4 §14.5 (certificate profile); RFC 5280 §4; the library's behaviour, variant by
variant, is held by tests/provenance/test_keys.py.
"""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from counterproof.errors import UserError
from counterproof.provenance.certificates import SIGNER_USAGES, Certificate
from counterproof.provenance.trust import read_certificates

__all__ = ["ALGORITHMS", "Defect", "PrivateKey", "algorithm_of", "lint_chain", "read_key"]

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Signature algorithms that C2PA allows. Source: C2PA 2.4 §13.2.1."""

_BY_CURVE = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MIN_RSA_BITS = 2048
_DEFAULT_USAGE = ExtendedKeyUsageOID.EMAIL_PROTECTION
_EXCLUSIVE = (ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.OCSP_SIGNING)
_USAGE_NAMES = {
    "1.3.6.1.4.1.62558.2.1": "c2pa-kp-claimSigning",
    "1.3.6.1.4.1.311.76.59.1.9": "Microsoft C2PA signing",
    "1.3.6.1.5.5.7.3.36": "documentSigning",
}
_KNOWN_EXTENSIONS = frozenset(
    {
        "2.5.29.14",  # subject key identifier
        "2.5.29.15",  # key usage
        "2.5.29.17",  # subject alternative name
        "2.5.29.18",  # issuer alternative name
        "2.5.29.19",  # basic constraints
        "2.5.29.30",  # name constraints
        "2.5.29.31",  # revocation lists
        "2.5.29.32",  # policies
        "2.5.29.33",  # policy mappings
        "2.5.29.35",  # authority key identifier
        "2.5.29.36",  # policy constraints
        "2.5.29.37",  # extended key usage
        "2.5.29.54",  # inhibit any policy
        "1.3.6.1.5.5.7.1.1",  # authority information access
    }
)


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong with a chain or a key.

    Attributes:
        code: short and stable.
        fatal: whether signing, or reading with the library's defaults, fails for it. Others
            are what some validators refuse, or what leaves a signer untrusted.
        subject: of the certificate in question; empty for the chain or the key.
        details: what the sentence quotes.
    """

    code: str
    fatal: bool
    subject: str = ""
    details: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the defect as JSON values."""
        return {
            "code": self.code,
            "severity": "error" if self.fatal else "warning",
            "subject": self.subject,
            "details": dict(self.details),
        }


def read_key(data: bytes, name: str, password: bytes | None = None) -> PrivateKey:
    """Read a private key. No part of it ever stands in an error.

    Args:
        data: PEM (PKCS#8, or SEC1 and PKCS#1 as OpenSSL writes them) or DER.
        name: where it comes from, for messages.
        password: of an encrypted key.

    Raises:
        UserError: if it is no private key, is encrypted under another password, or is of a
            kind that C2PA does not allow.
    """
    load = (
        serialization.load_pem_private_key
        if b"-----BEGIN" in data
        else serialization.load_der_private_key
    )
    reason = ""
    key: Any = None
    try:
        key = load(data, password=password)
    except TypeError:
        reason = (
            "it is encrypted; name its password in COUNTERPROOF_KEY_PASSWORD"
            if password is None
            else "it is not encrypted, but a password was given"
        )
    except (ValueError, UnsupportedAlgorithm):
        reason = "no private key that can be read"
        if b"-----BEGIN CERTIFICATE" in data:
            reason = "a certificate, where a private key was expected"
        elif password is not None:
            reason = "no private key that this password opens"
    if reason:  # outside the handler: no chained error that might quote the key
        raise UserError(f"{name}: {reason}")
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        return key
    raise UserError(f"{name}: {type(key).__name__} is of a kind that C2PA does not allow")


def algorithm_of(key: Any) -> str:
    """Return the algorithm for a public key, `es256` …; empty if C2PA allows none."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _BY_CURVE.get(key.curve.name, "")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return "ps256" if key.key_size < 3072 else "ps384"
    return ""


def lint_chain(
    pem: bytes,
    name: str,
    *,
    as_of: dt.datetime | None = None,
    key: PrivateKey | None = None,
) -> list[Defect]:
    """List what is wrong with a chain, what is fatal first.

    Args:
        pem: the signer's certificate, then its intermediates.
        name: where it comes from, for messages.
        as_of: the moment at which it must be in force; now if None.
        key: the private key that should belong to the first certificate.

    Raises:
        UserError: if there is no certificate, or one is malformed.
    """
    chain = read_certificates(pem, name)
    moment = as_of or dt.datetime.now(dt.UTC)
    found = [*_order(chain)]
    if not found:
        found += [*_leaf(chain[0]), *_links(chain)]
    for certificate in chain:
        found += _dates(certificate, moment)
        found += _form(certificate)
    if b"PRIVATE KEY-----" in pem:
        found.append(Defect("key_in_chain", False))
    if key is not None and _public(key.public_key()) != _public(chain[0].parsed.public_key()):
        found.append(Defect("key_mismatch", True, _name(chain[0])))
    return sorted(found, key=lambda item: not item.fatal)


def _public(key: Any) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_bytes(serialization.Encoding.DER, spki)
    return data


def _name(certificate: Certificate) -> str:
    return _named(certificate.subject)


def _named(name: x509.Name) -> str:
    return name.rfc4514_string()[:200] or "(no name)"


def _extension(certificate: Certificate, kind: type[x509.ExtensionType]) -> Any:
    try:
        return certificate.parsed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_ca(certificate: Certificate) -> bool:
    basic = _extension(certificate, x509.BasicConstraints)
    return bool(basic and basic.ca)


def _self_signed(certificate: Certificate) -> bool:
    return certificate.subject == certificate.issuer and _issued(certificate, certificate)


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _order(chain: Sequence[Certificate]) -> Iterator[Defect]:
    """Find a chain that does not begin with its signer, which makes other rules moot."""
    if len(chain) > 1 and _is_ca(chain[0]):
        leaf = next((item for item in chain if not _is_ca(item)), None)
        if leaf is not None:
            yield Defect("order", True, _name(chain[0]), {"leaf": _name(leaf)})


def _leaf(leaf: Certificate) -> Iterator[Defect]:
    subject = _name(leaf)
    ca, own = _is_ca(leaf), _self_signed(leaf)
    if ca:
        yield Defect("self_signed_ca" if own else "leaf_is_ca", True, subject)
        return  # what an authority's certificate holds besides is right for an authority
    if own:
        yield Defect("self_signed", False, subject)
    if not leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        yield Defect("no_organisation", False, subject)
    yield from _key_usage(leaf)
    yield from _extended_usage(leaf)
    if _extension(leaf, x509.AuthorityKeyIdentifier) is None and not own:
        yield Defect("no_authority_key", True, subject)
    public = leaf.parsed.public_key()
    if not algorithm_of(public):
        yield Defect("key_kind", True, subject, {"found": _kind_of(public)})


def _kind_of(key: Any) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


def _key_usage(leaf: Certificate) -> Iterator[Defect]:
    usage = _extension(leaf, x509.KeyUsage)
    subject = _name(leaf)
    if usage is None:
        yield Defect("no_key_usage", True, subject)
        return
    if not usage.digital_signature:
        # the library takes nonRepudiation alone; the standard does not
        yield Defect("no_digital_signature", not usage.content_commitment, subject)
    if usage.key_cert_sign:
        yield Defect("leaf_signs_certificates", True, subject)


def _extended_usage(leaf: Certificate) -> Iterator[Defect]:
    stated = _extension(leaf, x509.ExtendedKeyUsage)
    subject = _name(leaf)
    if stated is None:
        yield Defect("no_extended_usage", True, subject)
        return
    usages = list(stated)
    named = {"found": ", ".join(_usage_name(item) for item in usages)}
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        yield Defect("any_extended_usage", True, subject)
    elif any(item in _EXCLUSIVE for item in usages):
        yield Defect("mixed_extended_usage", True, subject, named)
    elif not any(item.dotted_string in SIGNER_USAGES for item in usages):
        yield Defect("wrong_extended_usage", True, subject, named)
    elif _DEFAULT_USAGE not in usages:
        yield Defect("unlisted_extended_usage", False, subject, named)


def _usage_name(usage: x509.ObjectIdentifier) -> str:
    known = _USAGE_NAMES.get(usage.dotted_string) or getattr(usage, "_name", "")
    return known if known and known != "Unknown OID" else usage.dotted_string


def _links(chain: Sequence[Certificate]) -> Iterator[Defect]:
    """Check that every certificate was issued by the next one."""
    if len(chain) == 1 and not _self_signed(chain[0]):
        yield Defect("no_intermediate", False, _name(chain[0]), {"issuer": _named(chain[0].issuer)})
    for below, (certificate, issuer) in enumerate(itertools.pairwise(chain)):
        names = {"issuer": _name(issuer), "expected": _named(certificate.issuer)}
        if certificate.issuer != issuer.subject:
            yield Defect("wrong_issuer", True, _name(certificate), names)
            continue
        usage = _extension(issuer, x509.KeyUsage)
        if not _is_ca(issuer) or (usage is not None and not usage.key_cert_sign):
            yield Defect("issuer_is_no_ca", True, _name(issuer))
        basic = _extension(issuer, x509.BasicConstraints)
        if basic is not None and basic.path_length is not None and below > basic.path_length:
            yield Defect("path_too_long", True, _name(issuer))
        if not _issued(issuer, certificate):
            yield Defect("bad_signature", True, _name(certificate), names)


def _dates(certificate: Certificate, moment: dt.datetime) -> Iterator[Defect]:
    if moment > certificate.last:
        day = {"date": certificate.last.date().isoformat()}
        yield Defect("expired", True, _name(certificate), day)
    elif moment < certificate.first:
        day = {"date": certificate.first.date().isoformat()}
        yield Defect("not_yet_valid", True, _name(certificate), day)


def _form(certificate: Certificate) -> Iterator[Defect]:
    parsed = certificate.parsed
    if parsed.version is not x509.Version.v3:
        yield Defect("version", True, _name(certificate), {"found": parsed.version.name})
    digest = parsed.signature_hash_algorithm
    if isinstance(digest, hashes.SHA1 | hashes.MD5):
        yield Defect("weak_hash", True, _name(certificate), {"found": digest.name})
    for extension in parsed.extensions:
        oid = extension.oid.dotted_string
        if extension.critical and oid not in _KNOWN_EXTENSIONS:
            yield Defect("unknown_critical", True, _name(certificate), {"found": oid})
