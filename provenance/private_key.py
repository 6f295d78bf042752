"""Read a private key, and tell which signature algorithm goes with a key.

Sources: C2PA 2.4 §13.2.1 (algorithms); RFC 5958 and RFC 5915 (how keys are written).
"""

from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from counterproof.errors import UserError

__all__ = ["ALGORITHMS", "PrivateKey", "algorithm_of", "kind_of", "read_key", "same_key"]

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Signature algorithms that C2PA allows. Source: C2PA 2.4 §13.2.1."""

_BY_CURVE = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MIN_RSA_BITS = 2048


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


def kind_of(key: Any) -> str:
    """Return what kind a public key is of, in words: `RSA, 1024 bits`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


def same_key(key: PrivateKey, public: Any) -> bool:
    """Tell whether a private key belongs to a public one."""
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bool(key.public_key().public_bytes(*form) == public.public_bytes(*form))
