"""Detached signatures over bytes, by the same identities that sign pictures.

An ECDSA signature is kept in DER, so that `openssl dgst -verify` takes it too.
"""

import base64
from dataclasses import dataclass
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from counterproof.errors import ProvenanceError
from counterproof.provenance.keys import Identity

__all__ = ["Signature", "check_signature", "sign_bytes"]

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature and who made it.

    Attributes:
        algorithm: `es256` … `ed25519`.
        value: the signature; DER for ECDSA.
        chain: PEM, the signer's certificate first.
    """

    algorithm: str
    value: bytes
    chain: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The signer's certificate.

        Raises:
            ValueError: if the chain holds none.
        """
        return x509.load_pem_x509_certificates(self.chain)[0]

    @property
    def signer(self) -> str:
        """The name that the certificate claims; no list vouches for it here."""
        names = self.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(names[0].value) if names else self.certificate.subject.rfc4514_string()

    def to_json(self) -> dict[str, Any]:
        """Return the signature as JSON values."""
        return {
            "algorithm": self.algorithm,
            "signature": base64.b64encode(self.value).decode(),
            "chain": self.chain.decode(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            KeyError: if a field is missing.
            TypeError: if the value is no object.
            ValueError: if a field is malformed.
        """
        chain = str(value["chain"]).encode()
        made = cls(str(value["algorithm"]), base64.b64decode(value["signature"]), chain)
        _ = made.certificate
        return made


def sign_bytes(data: bytes, identity: Identity) -> Signature:
    """Sign bytes.

    Raises:
        ProvenanceError: if the signer fails.
    """
    try:
        value = identity.sign(data)
    except Exception as err:  # somebody else's signer: whatever it raised
        raise ProvenanceError(f"the signer failed ({type(err).__name__})") from err
    if identity.algorithm.startswith("es") and value[:1] != b"\x30":
        half = len(value) // 2
        r, s = (int.from_bytes(part, "big") for part in (value[:half], value[half:]))
        value = utils.encode_dss_signature(r, s)
    return Signature(identity.algorithm, value, identity.chain)


def check_signature(data: bytes, signature: Signature) -> bool:
    """Tell whether a signature is the certificate's over these bytes."""
    digest = _HASHES.get(signature.algorithm[2:], hashes.SHA256())
    key = signature.certificate.public_key()
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature.value, data, ec.ECDSA(digest))
            case rsa.RSAPublicKey():
                pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
                key.verify(signature.value, data, pss, digest)
            case ed25519.Ed25519PublicKey():
                key.verify(signature.value, data)
            case _:
                return False
    except InvalidSignature:
        return False
    return True
