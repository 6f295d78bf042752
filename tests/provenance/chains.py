"""Chains of certificates with one defect each, and sound ones."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
CLAIM = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
DOCUMENT = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")


def _name(common: str, organisation: str | None = "Example Newsroom") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def key_usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def issue(
    subject: x509.Name,
    key: Any,
    issuer: x509.Name,
    issuer_key: Any,
    *,
    ca: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] | None = (EMAIL, CLAIM),
    usage: x509.KeyUsage | None = None,
    no_usage: bool = False,
    aki: bool = True,
    ski: bool = True,
    first: dt.datetime | None = None,
    last: dt.datetime | None = None,
    critical: str = "",
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first or NOW - dt.timedelta(days=1))
        .not_valid_after(last or NOW + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if ski:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(own, critical=False)
    default = key_usage(key_cert_sign=True) if ca else key_usage(digital_signature=True)
    if not no_usage:
        builder = builder.add_extension(usage or default, critical=True)
    if usages and not (ca and usages == (EMAIL, CLAIM)):
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if aki:
        found = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(found, critical=False)
    if critical:
        oid = x509.ObjectIdentifier(critical)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x05\0"), critical=True)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest)


ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT, MIDDLE, LEAF = _name("Root"), _name("Middle"), _name("Signer")
MIDDLE_CERT = issue(MIDDLE, MIDDLE_KEY, ROOT, ROOT_KEY, ca=True)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def key_pem(key: Any, form: str = "PKCS8", password: bytes | None = None) -> bytes:
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
    )
    return data


def chain(key: Any = LEAF_KEY, name: x509.Name = LEAF, **how: Any) -> bytes:
    return pem(issue(name, key, MIDDLE, MIDDLE_KEY, **how), MIDDLE_CERT)


def self_signed(ca: bool = False) -> bytes:
    usage = key_usage(digital_signature=True, key_cert_sign=ca)
    return pem(issue(LEAF, LEAF_KEY, LEAF, LEAF_KEY, ca=ca, usage=usage))


def forged() -> bytes:
    stranger = ec.generate_private_key(ec.SECP256R1())
    return pem(issue(LEAF, LEAF_KEY, MIDDLE, stranger), MIDDLE_CERT)


def no_authority() -> bytes:
    middle = issue(MIDDLE, MIDDLE_KEY, ROOT, ROOT_KEY, usages=None)
    return pem(issue(LEAF, LEAF_KEY, MIDDLE, MIDDLE_KEY), middle)


OLD: dict[str, Any] = {"first": NOW - dt.timedelta(days=400), "last": NOW - dt.timedelta(days=30)}
YOUNG: dict[str, Any] = {"first": NOW + dt.timedelta(days=30), "last": NOW + dt.timedelta(days=300)}

# what is wrong → the code that says so, and whether signing or reading fails for it
VARIANTS: dict[str, tuple[Callable[[], bytes], str, bool]] = {
    "no EKU": (lambda: chain(usages=None), "no_extended_usage", True),
    "any EKU": (
        lambda: chain(usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        "any_extended_usage",
        True,
    ),
    "serverAuth": (
        lambda: chain(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        "wrong_extended_usage",
        True,
    ),
    "codeSigning": (
        lambda: chain(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        "wrong_extended_usage",
        True,
    ),
    "email and timeStamping": (
        lambda: chain(usages=(EMAIL, ExtendedKeyUsageOID.TIME_STAMPING)),
        "mixed_extended_usage",
        True,
    ),
    "documentSigning only": (lambda: chain(usages=(DOCUMENT,)), "unlisted_extended_usage", False),
    "claimSigning only": (lambda: chain(usages=(CLAIM,)), "unlisted_extended_usage", False),
    "no AKI": (lambda: chain(aki=False), "no_authority_key", True),
    "no KU": (lambda: chain(no_usage=True), "no_key_usage", True),
    "nonRepudiation only": (
        lambda: chain(usage=key_usage(content_commitment=True)),
        "no_digital_signature",
        False,
    ),
    "keyEncipherment only": (
        lambda: chain(usage=key_usage(key_encipherment=True)),
        "no_digital_signature",
        True,
    ),
    "keyCertSign on a signer": (
        lambda: chain(usage=key_usage(digital_signature=True, key_cert_sign=True)),
        "leaf_signs_certificates",
        True,
    ),
    "a CA as signer": (
        lambda: chain(ca=True, usage=key_usage(digital_signature=True, key_cert_sign=True)),
        "leaf_is_ca",
        True,
    ),
    "expired": (lambda: chain(**OLD), "expired", True),
    "not yet valid": (lambda: chain(**YOUNG), "not_yet_valid", True),
    "self-signed": (self_signed, "self_signed", False),
    "self-signed CA": (lambda: self_signed(ca=True), "self_signed_ca", True),
    "reversed": (lambda: pem(MIDDLE_CERT) + chain().split(pem(MIDDLE_CERT))[0], "order", True),
    "no intermediate": (
        lambda: pem(issue(LEAF, LEAF_KEY, MIDDLE, MIDDLE_KEY)),
        "no_intermediate",
        False,
    ),
    "no O": (lambda: chain(name=_name("Signer", None)), "no_organisation", False),
    "another issuer": (
        lambda: pem(issue(LEAF, LEAF_KEY, ROOT, ROOT_KEY), MIDDLE_CERT),
        "wrong_issuer",
        True,
    ),
    "forged": (forged, "bad_signature", True),
    "issuer is no CA": (no_authority, "issuer_is_no_ca", True),
    "secp256k1": (
        lambda: chain(ec.generate_private_key(ec.SECP256K1())),
        "key_kind",
        True,
    ),
    "unknown critical": (lambda: chain(critical="1.2.3.4.5"), "unknown_critical", True),
}
