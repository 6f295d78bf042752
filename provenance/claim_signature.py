"""The COSE signature of a claim: who made it, whether it holds, and when it was made.

Sources: RFC 9052 §4.4 (COSE_Sign1), RFC 9360 (x5chain), RFC 5652 (CMS), RFC 3161 (time-stamp
tokens), C2PA 2.4 §13.2 (algorithms).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from counterproof.errors import ProvenanceError
from counterproof.provenance import cms
from counterproof.provenance.certificates import Certificate, load_certificate

__all__ = ["ClaimSignature", "Timestamp", "read_signature", "token_chain"]

_MAX_CHAIN = 32
_ALGORITHMS = {-7: "es256", -35: "es384", -36: "es512", -37: "ps256", -38: "ps384", -39: "ps512"}
_ALGORITHMS |= {-8: "ed25519", -19: "ed25519"}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A time-stamp token on a claim's signature.

    Attributes:
        time: that the authority states.
        holds: whether the token is signed by `chain[0]` and covers this signature.
        chain: the authority's certificate first, then whatever else the token carries.
    """

    time: dt.datetime
    holds: bool
    chain: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class ClaimSignature:
    """The COSE signature of one claim.

    Attributes:
        algorithm: `es256` … `ed25519`; the bare number where unknown.
        chain: the signer's certificate first, then the intermediates it came with.
        holds: whether the first certificate's key signed these bytes of the claim; None if
            we cannot tell, since the algorithm is none that we know.
        timestamp: of the signature; None without one that could be read.
        stapled_ocsp: whether revocation answers are stapled to it.
        ocsp: those answers, DER.
    """

    algorithm: str
    chain: tuple[Certificate, ...]
    holds: bool | None
    timestamp: Timestamp | None = None
    stapled_ocsp: bool = False
    ocsp: tuple[bytes, ...] = field(default=(), repr=False)


def read_signature(signature: bytes, claim: bytes) -> ClaimSignature:
    """Read and check the signature of a claim.

    Args:
        signature: CBOR of the COSE_Sign1 structure.
        claim: the bytes that it covers.

    Raises:
        ProvenanceError: if the structure or its certificates cannot be read.
    """
    protected, headers, unprotected, value = _cose(signature)
    algorithm = _ALGORITHMS.get(headers.get(1, 0), str(headers.get(1)))
    chain = _chain(headers, unprotected)
    covered = cbor2.dumps(["Signature1", protected, b"", claim])
    holds = _verify_claim(chain[0], algorithm, value, covered)
    return ClaimSignature(
        algorithm,
        chain,
        holds,
        _timestamp(unprotected, protected, value, claim),
        bool(stapled := _stapled(unprotected)),
        stapled,
    )


def _cose(data: bytes) -> tuple[bytes, dict[Any, Any], dict[Any, Any], bytes]:
    try:
        value = cbor2.loads(data)
        value = value.value if isinstance(value, cbor2.CBORTag) else value
        protected, unprotected, _, signature = value
        headers = cbor2.loads(protected) if protected else {}
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, OverflowError) as err:
        raise ProvenanceError(f"the claim's signature is not COSE: {err}") from err
    # cbor2 gives immutable mappings inside a tag, in some releases not a dict
    typed = isinstance(headers, Mapping) and isinstance(unprotected, Mapping)
    if not typed or not isinstance(signature, bytes) or not isinstance(protected, bytes):
        raise ProvenanceError("the claim's signature is not COSE")
    return protected, dict(headers), dict(unprotected), signature


def _stapled(unprotected: dict[Any, Any]) -> tuple[bytes, ...]:
    """Return the OCSP answers in the header `rVals`. Source: C2PA 2.4 §15.9, ETSI TS 119 152."""
    values = unprotected.get("rVals")
    found = values.get("ocspVals") if isinstance(values, Mapping) else None
    items = found if isinstance(found, list | tuple) else ()
    return tuple(item for item in items[:_MAX_CHAIN] if isinstance(item, bytes))


def _chain(*headers: dict[Any, Any]) -> tuple[Certificate, ...]:
    for header in headers:
        for key in (33, "x5chain"):
            if (found := header.get(key)) is None:
                continue
            items = list(found) if isinstance(found, list | tuple) else [found]
            if items and all(isinstance(item, bytes) for item in items):
                return tuple(load_certificate(item) for item in items[:_MAX_CHAIN])
    raise ProvenanceError("the claim's signature names no certificate")


def _verify_claim(
    certificate: Certificate, algorithm: str, signature: bytes, covered: bytes
) -> bool | None:
    key = certificate.parsed.public_key()
    try:
        if algorithm == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, covered)
        elif algorithm.startswith("es") and isinstance(key, ec.EllipticCurvePublicKey):
            if signature[:1] != b"\x30" or len(signature) in (64, 96, 132):
                half = len(signature) // 2
                signature = utils.encode_dss_signature(
                    int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
                )
            key.verify(signature, covered, ec.ECDSA(_HASHES[algorithm[2:]]))
        elif algorithm.startswith("ps") and isinstance(key, rsa.RSAPublicKey):
            digest = _HASHES[algorithm[2:]]
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(signature, covered, scheme, digest)
        else:
            return None
    except UnsupportedAlgorithm:
        return None
    except (InvalidSignature, ValueError):
        return False
    return True


def _timestamp(
    unprotected: dict[Any, Any], protected: bytes, signature: bytes, claim: bytes
) -> Timestamp | None:
    """Read the first token of `sigTst2` (over the signature) or `sigTst` (over the claim).

    Source: C2PA 2.4 §10.3.2.5 and, for version 1 claims, C2PA 1.4 §10.3.2.5.
    """
    for key, covered in (("sigTst2", cbor2.dumps(signature)), ("sigTst", claim)):
        container = unprotected.get(key)
        tokens = container.get("tstTokens") if isinstance(container, Mapping) else None
        if not isinstance(tokens, Sequence) or not tokens or not isinstance(tokens[0], Mapping):
            continue
        value = tokens[0].get("val")
        if not isinstance(value, bytes):
            continue
        message = cbor2.dumps(["CounterSignature", protected, b"", covered])
        try:
            token = cms.read_token(value)
            chain = token_chain(token)
            return Timestamp(
                token.time, token.signed_by(chain[0].parsed.public_key(), message), chain
            )
        except ProvenanceError:
            continue
    return None


def token_chain(token: cms.Token) -> tuple[Certificate, ...]:
    """Return the certificate of a token's signer, then the others that it carries.

    Raises:
        ProvenanceError: if it does not carry its signer's.
    """
    found: list[Certificate] = []
    for der in token.certificates:
        try:
            found.append(load_certificate(der))
        except ProvenanceError:
            continue  # one that is not needed may be malformed
    signers = [item for item in found if token.names(item.parsed)]
    if not signers:
        raise ProvenanceError("a time stamp does not carry its signer's certificate")
    return (signers[0], *(item for item in found if item is not signers[0]))
