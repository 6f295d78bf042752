"""Signing identities: a chain of certificates and whatever signs with its key.

An identity comes from files, from the environment, from a callback (a KMS or HSM), from the key
store that `counterproof keys init` fills, or, where there is none of these, is made on first
use. That one names nobody: readers call it `unlisted` until `trust add`, and it is never enough
for a verified capture.

The key store is `settings.home/keys`: one folder per identity with `chain.pem`, `root.pem` and
`leaf.key`, which `key_making` writes whole or not at all. Private keys are never logged and never
part of a message, a manifest or a `repr`.
"""

import base64
import binascii
import contextlib
import dataclasses
import datetime as dt
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import NameOID

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance.key_making import LEAF_DAYS, ROOT_DAYS, make_folder, pkcs8
from counterproof.provenance.keylint import Defect, lint_chain
from counterproof.provenance.private_key import ALGORITHMS, PrivateKey, algorithm_of, read_key
from counterproof.provenance.standing import name_of
from counterproof.provenance.trust import LOCAL_UNIT, read_certificates
from counterproof.settings import Settings

__all__ = [
    "ENVIRONMENT",
    "Identity",
    "find_identity",
    "from_callback",
    "from_environment",
    "from_files",
    "init_identity",
    "local_identity",
]

ENVIRONMENT = ("COUNTERPROOF_SIGNING_CERT", "COUNTERPROOF_SIGNING_KEY", "COUNTERPROOF_KEY_PASSWORD")
"""Environment variables: the chain in PEM, its key in PEM, and the key's password if it has one.

Both PEM texts may be encoded in Base64, since many CI systems keep no line breaks.
"""

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_MAX_KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs, and how.

    Attributes:
        name: common name of the signer's certificate.
        organisation: of the certificate; older validators refuse a signer without one.
        algorithm: `es256` … `ed25519`.
        chain: PEM, the signer's certificate first.
        origin: `files`, `environment`, `callback`, `store` or `local` (made on first use).
        sign: signs bytes; for ECDSA it returns r ‖ s or DER.
        key: returns the private key in PEM (PKCS#8), where it is ours to hold.
    """

    name: str
    organisation: str
    algorithm: str
    chain: bytes
    origin: str
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)
    key: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)


def find_identity(settings: Settings, environment: Mapping[str, str] | None = None) -> Identity:
    """Return the identity to sign with where none is named.

    The environment comes before the key store, that before the local identity, which is made
    here if there is none; a line on standard error then says so.

    Raises:
        ProvenanceError: if the identity has a defect that readers refuse.
        UserError: if a file of it cannot be read.
    """
    if found := from_environment(environment):
        return found
    folder = settings.home / "keys" / "default"
    if (folder / "chain.pem").is_file():
        return _from_folder(folder, "store")
    return local_identity(settings)


def from_files(
    cert: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    password: bytes | None = None,
    as_of: dt.datetime | None = None,
) -> Identity:
    """Use a chain and a private key of one's own.

    Args:
        cert: PEM, the signer's certificate first, then its intermediates.
        key: private key, PEM or DER.
        password: of the key; by default what COUNTERPROOF_KEY_PASSWORD says.
        as_of: the moment at which the certificates must be in force; now if None.

    Raises:
        ProvenanceError: if the chain or key has a defect that readers refuse.
        UserError: if a file cannot be read.
    """
    if password is None and (text := os.environ.get(ENVIRONMENT[2])):
        password = text.encode()
    private = read_key(_read(Path(key)), str(key), password)
    return _identity(_read(Path(cert)), str(cert), private, "files", as_of)


def from_environment(environment: Mapping[str, str] | None = None) -> Identity | None:
    """Use the chain and key that the environment holds; None if it holds none.

    Raises:
        ProvenanceError: if the chain or key has a defect that readers refuse.
        UserError: if only one of the two is there, or one cannot be read.
    """
    values = os.environ if environment is None else environment
    cert, key, password = (values.get(name, "") for name in ENVIRONMENT)
    if not cert and not key:
        return None
    if not cert or not key:
        missing = ENVIRONMENT[0] if not cert else ENVIRONMENT[1]
        raise UserError(f"{missing} is not set; a chain and a key go together")
    private = read_key(_pem_text(key), ENVIRONMENT[1], password.encode() or None)
    return _identity(_pem_text(cert), ENVIRONMENT[0], private, "environment", None)


def from_callback(
    chain: bytes | str,
    sign: Callable[[bytes], bytes],
    algorithm: str = "",
    *,
    as_of: dt.datetime | None = None,
) -> Identity:
    """Sign with a key that lies elsewhere, as in a KMS or HSM.

    Args:
        chain: PEM, the signer's certificate first, then its intermediates.
        sign: takes the bytes to sign, hashes and signs them with the key of the first
            certificate; for ECDSA it may return r ‖ s or DER.
        algorithm: `es256` … `ed25519`; by default the one for the certificate's key.
        as_of: the moment at which the certificates must be in force; now if None.

    Raises:
        ProvenanceError: if the chain has a defect that readers refuse.
        UserError: if it cannot be read, or the algorithm is not one that C2PA allows.
    """
    pem = chain.encode() if isinstance(chain, str) else chain
    leaf = _checked(pem, "chain", None, as_of)
    chosen = algorithm.lower() or algorithm_of(leaf.public_key())
    if chosen not in ALGORITHMS:
        raise UserError(f"expected an algorithm of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    return _named(pem, leaf, chosen, "callback", sign)


def local_identity(settings: Settings) -> Identity:
    """Return this installation's own identity; make it if there is none.

    Its certificates name no person and no machine. The keys of its root and intermediate are
    not kept, so nothing else can ever be issued under them. An expired one is put aside and
    replaced.

    Raises:
        UserError: if the key store cannot be written.
    """
    folder = settings.home / "keys" / "local"
    if (folder / "chain.pem").is_file():
        leaf = read_certificates(_read(folder / "chain.pem"), str(folder / "chain.pem"))[0]
        if leaf.last > dt.datetime.now(dt.UTC):
            return _from_folder(folder, "local")
        with contextlib.suppress(OSError):  # another process was faster
            folder.rename(folder.with_name(f"local-{leaf.last.date()}"))
    tag = secrets.token_hex(4)
    made = make_folder(
        folder,
        organisation="counterproof user",
        name=f"local identity {tag}",
        algorithm="es256",
        days=LEAF_DAYS,
        unit=LOCAL_UNIT,
        keep_authority=False,
    )
    if made:
        from counterproof.text import catalogue

        text = catalogue(settings.language).ui("keys.first_use", path=str(folder))
        print(text, file=sys.stderr)
    return _from_folder(folder, "local")


def init_identity(
    home: Path,
    organisation: str,
    *,
    name: str = "",
    algorithm: str = "es256",
    days: int = LEAF_DAYS,
) -> Path:
    """Make a root, an intermediate and a signer, and make the signer the one that signs.

    The root's key is needed only to issue another intermediate; keep it elsewhere.

    Args:
        home: the user's folder.
        organisation: who signs, as readers will see it.
        name: common name of the signer; the organisation by default.
        algorithm: of the signer's key.
        days: for which the signer's certificate is in force, at most ten years.

    Returns:
        The folder with `root.pem`, `intermediate.pem`, `chain.pem` and three `.key` files.

    Raises:
        UserError: if there is one already, or the folder cannot be written.
    """
    if not organisation.strip():
        raise UserError("expected the name of an organisation: older validators refuse none")
    if algorithm not in ALGORITHMS:
        raise UserError(f"expected an algorithm of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    if not 1 <= days <= ROOT_DAYS:
        raise UserError(f"expected 1 to {ROOT_DAYS} days, got {days}")
    folder = home / "keys" / "default"
    try:
        made = make_folder(
            folder,
            organisation=organisation.strip(),
            name=name.strip() or organisation.strip(),
            algorithm=algorithm,
            days=days,
            unit="",
            keep_authority=True,
        )
    except ValueError as err:  # such as a name of more than 64 characters
        raise UserError(f"the names do not fit into a certificate: {err}") from err
    if not made:
        raise UserError(f"{folder}: there is an identity already; move the folder away first")
    return folder


# -- reading ----------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from err
    if len(data) > _MAX_KEY_BYTES:
        raise UserError(f"{path}: too large for a certificate or key")
    return data


def _pem_text(text: str) -> bytes:
    """Return PEM that may be encoded in Base64, or have its line breaks spelled out."""
    if "-----BEGIN" in text:
        return text.replace("\\n", "\n").encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _from_folder(folder: Path, origin: str) -> Identity:
    private = read_key(_read(folder / "leaf.key"), str(folder / "leaf.key"))
    return _identity(_read(folder / "chain.pem"), str(folder / "chain.pem"), private, origin, None)


def _identity(
    pem: bytes, name: str, key: PrivateKey, origin: str, as_of: dt.datetime | None
) -> Identity:
    leaf = _checked(pem, name, key, as_of)
    algorithm = algorithm_of(leaf.public_key())
    made = _named(pem, leaf, algorithm, origin, _signing(key, algorithm))
    return dataclasses.replace(made, key=lambda: pkcs8(key))


def _named(
    pem: bytes,
    leaf: x509.Certificate,
    algorithm: str,
    origin: str,
    sign: Callable[[bytes], bytes],
) -> Identity:
    found = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    organisation = str(found[0].value) if found else ""
    name = name_of(read_certificates(pem, "chain")[0])
    blocks = (item.public_bytes(serialization.Encoding.PEM) for item in _parsed(pem))
    return Identity(name, organisation, algorithm, b"".join(blocks), origin, sign)


def _parsed(pem: bytes) -> list[x509.Certificate]:
    return [item.parsed for item in read_certificates(pem, "chain")]


def _checked(
    pem: bytes, name: str, key: PrivateKey | None, as_of: dt.datetime | None
) -> x509.Certificate:
    """Return the first certificate of a chain that readers will accept."""
    fatal = [item for item in lint_chain(pem, name, as_of=as_of, key=key) if item.fatal]
    if fatal:
        raise ProvenanceError(f"{name}: {_sentence(fatal[0])} (`counterproof keys doctor`)")
    return _parsed(pem)[0]


def _sentence(defect: Defect) -> str:
    from counterproof.text import catalogue

    values = {"subject": defect.subject, **defect.details}
    return catalogue("en").ui(f"keys.defect.{defect.code}", **values).rstrip(".")


def _signing(key: PrivateKey, algorithm: str) -> Callable[[bytes], bytes]:
    """Return what signs with a key, as COSE wants its signatures."""

    def sign(data: bytes) -> bytes:
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        digest = _HASHES[algorithm[2:]]
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign
