"""Make a root, an intermediate and a signer, and write them as a folder that appears whole.

Private keys are created with mode 0600 in a folder of mode 0700, under another name first.

Sources: C2PA 2.4 §14.5 (certificate profile); RFC 5280 §4.2 (extensions). What is made here
satisfies `keylint`, which a test holds.
"""

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from counterproof.errors import UserError
from counterproof.provenance.private_key import PrivateKey

__all__ = ["LEAF_DAYS", "ROOT_DAYS", "make_folder", "pkcs8"]

ROOT_DAYS = 3650
LEAF_DAYS = 1825
"""Five years: without a time stamp a credential is verified only while its signer is in force."""

_CLAIM_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
_CURVES: dict[str, ec.EllipticCurve] = {
    "es256": ec.SECP256R1(),
    "es384": ec.SECP384R1(),
    "es512": ec.SECP521R1(),
}
_RSA_BITS = 3072
_BACKDATE = dt.timedelta(hours=1)  # clocks differ


def pkcs8(key: PrivateKey) -> bytes:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _new_key(algorithm: str) -> PrivateKey:
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ps"):
        return rsa.generate_private_key(65537, _RSA_BITS)
    return ec.generate_private_key(_CURVES[algorithm])


def make_folder(
    folder: Path,
    *,
    organisation: str,
    name: str,
    algorithm: str,
    days: int,
    unit: str,
    keep_authority: bool,
) -> bool:
    """Write an identity into a folder that appears whole; False if it was there before."""
    subjects = [
        _subject(organisation, f"{name} {role}".strip()[:64], unit)
        for role in ("root", "intermediate", "")
    ]
    keys: list[PrivateKey] = [_new_key("es256"), _new_key("es256"), _new_key(algorithm)]
    spans = (ROOT_DAYS, ROOT_DAYS, min(days, ROOT_DAYS))
    certificates = [
        _issue(subjects, keys, index, dt.timedelta(days=span)) for index, span in enumerate(spans)
    ]
    pems = [item.public_bytes(serialization.Encoding.PEM) for item in certificates]
    files = {"root.pem": pems[0], "intermediate.pem": pems[1], "chain.pem": pems[2] + pems[1]}
    kept = zip(("root.key", "intermediate.key", "leaf.key"), keys, strict=True)
    for file, key in kept if keep_authority else [("leaf.key", keys[2])]:
        files[file] = pkcs8(key)
    temporary = ""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = tempfile.mkdtemp(dir=folder.parent, prefix=".new-")  # mode 0700
        for file, data in files.items():
            _write_private(Path(temporary) / file, data, 0o600 if file.endswith(".key") else 0o644)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
            return False
        temporary = ""
    except OSError as err:
        raise UserError(f"{folder}: {err.strerror}") from err
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def _write_private(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _subject(organisation: str, common: str, unit: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)]
    if unit:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _issue(
    subjects: Sequence[x509.Name], keys: Sequence[PrivateKey], index: int, span: dt.timedelta
) -> x509.Certificate:
    """Issue the root (0), the intermediate (1) or the signer (2)."""
    above = max(0, index - 1)
    key, issuer_key, ca = keys[index], keys[above], index < 2
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subjects[index])
        .issuer_name(subjects[above])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + span)
        .add_extension(x509.BasicConstraints(ca, 0 if index == 1 else None), critical=True)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not ca:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, _CLAIM_SIGNING])
        builder = builder.add_extension(usages, critical=False)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest)
