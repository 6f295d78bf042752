"""Time-stamp tokens (RFC 3161), as far as a claim's time needs them, and DER by hand.

A token is CMS signed data (RFC 5652 §5) over a statement of a time and a digest. Only definite
lengths are read; a token in BER's indefinite form is refused and so proves no time.
"""

import datetime as dt
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from counterproof.errors import ProvenanceError

__all__ = ["Token", "mend_strings", "read_token", "signed_part"]

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
_PSS = bytes.fromhex("2a864886f70d01010a")
_DIGESTS: dict[bytes, tuple[str, hashes.HashAlgorithm]] = {
    bytes.fromhex("608648016503040201"): ("sha256", hashes.SHA256()),
    bytes.fromhex("608648016503040202"): ("sha384", hashes.SHA384()),
    bytes.fromhex("608648016503040203"): ("sha512", hashes.SHA512()),
}
_GRANTED = (0, 1)  # RFC 3161 §2.4.2: granted, granted with modifications
_MAX_CERTIFICATES = 32
_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True, slots=True)
class _Node:
    """One DER value: its tag, its content, and the whole of it with its header."""

    tag: int
    body: bytes
    whole: bytes

    def children(self) -> list["_Node"]:
        return _nodes(self.body)


def _nodes(data: bytes) -> list[_Node]:
    found, at = [], 0
    while at < len(data):
        node = _node(data, at)
        found.append(node)
        at += len(node.whole)
    return found


def _node(data: bytes, at: int = 0) -> _Node:
    try:
        tag, length = data[at], data[at + 1]
    except IndexError as err:
        raise ProvenanceError("a time stamp ends early") from err
    start = at + 2
    if tag & 0x1F == 0x1F or length == 0x80:
        raise ProvenanceError("a time stamp is not in the form that DER asks for")
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if size_missing := max(0, start + length - len(data)):
        raise ProvenanceError(f"a time stamp lacks {size_missing} bytes")
    return _Node(tag, data[start : start + length], data[at : start + length])


@dataclass(frozen=True, slots=True)
class Token:
    """One time-stamp token.

    Attributes:
        time: that the authority states.
        imprint: algorithm's name and digest of what it stamped.
        content: the statement, as signed.
        nonce: of the question that it answers; None if it states none.
        certificates: DER of each certificate in the token.
        signer: how the token names its signer's certificate: issuer and serial number, DER,
            or a key identifier.
        digest: OID of the digest over the statement.
        attributes: signed attributes, DER with the tag of a SET.
        scheme: OID of the signature's algorithm.
        signature: over the attributes.
    """

    time: dt.datetime
    imprint: tuple[str, bytes]
    content: bytes
    nonce: int | None
    certificates: tuple[bytes, ...]
    signer: bytes
    digest: bytes
    attributes: bytes
    scheme: bytes
    signature: bytes

    def names(self, certificate: x509.Certificate) -> bool:
        """Tell whether this certificate is the one that the token names as its signer's."""
        node = _node(self.signer)
        if node.tag == 0x30:
            # the signature is checked with its key, so that the serial number is enough
            parts = node.children()
            serial = int.from_bytes(parts[-1].body, "big", signed=True)
            return len(parts) == 2 and serial == certificate.serial_number
        try:
            key = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return False
        return node.body == key.value.digest

    def stamps(self, message: bytes) -> bool:
        """Tell whether the token is over this message, whoever signed it."""
        name, digest = self.imprint
        return hashlib.new(name, message).digest() == digest

    def signed_by(self, key: CertificatePublicKeyTypes, message: bytes) -> bool:
        """Tell whether a key signed this token, and the token stamps the message."""
        if not self.stamps(message) or self.digest not in _DIGESTS:
            return False
        hash_name, algorithm = _DIGESTS[self.digest]
        stated = _attribute(self.attributes, _MESSAGE_DIGEST)
        if stated != hashlib.new(hash_name, self.content).digest():
            return False
        try:
            if isinstance(key, rsa.RSAPublicKey):
                scheme: padding.AsymmetricPadding = padding.PKCS1v15()
                if self.scheme == _PSS:
                    scheme = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
                key.verify(self.signature, self.attributes, scheme, algorithm)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self.signature, self.attributes, ec.ECDSA(algorithm))
            else:
                return False
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


def _attribute(attributes: bytes, name: bytes) -> bytes:
    for item in _node(attributes).children():
        parts = item.children()
        if len(parts) == 2 and parts[0].body == name and (values := parts[1].children()):
            return values[0].body
    return b""


def read_token(data: bytes) -> Token:
    """Read a time-stamp token, or the response of an authority that holds one.

    Raises:
        ProvenanceError: if it is malformed, or of a form that is not read.
    """
    try:
        return _read(data)
    except (IndexError, ValueError) as err:
        raise ProvenanceError(f"a time stamp is malformed: {err}") from err


def _read(data: bytes) -> Token:
    parts = _node(data).children()
    if parts[0].tag == 0x30:  # a response: status, then the token
        status = parts[0].children()
        if int.from_bytes(status[0].body, "big") not in _GRANTED:
            said = b" ".join(item.body for part in status[1:2] for item in part.children())
            text = said.decode("utf-8", "replace")[:200]
            raise ProvenanceError(f"the time-stamping authority refuses: {text or 'no reason'}")
        parts = parts[1].children()
    if parts[0].body != _SIGNED_DATA:
        raise ProvenanceError("a time stamp is not CMS signed data")
    fields = parts[1].children()[0].children()
    kind, wrapped = fields[2].children()
    if kind.body != _TST_INFO:
        raise ProvenanceError("a time stamp holds no statement of a time")
    content = wrapped.children()[0].body
    certificates = next((item for item in fields[3:] if item.tag == 0xA0), None)
    signer = fields[-1].children()[0].children()
    attributes = signer[3]
    if attributes.tag != 0xA0:
        raise ProvenanceError("a time stamp signs no attributes")
    statement = _node(content).children()
    imprint = statement[2].children()
    algorithm = _DIGESTS.get(imprint[0].children()[0].body)
    if algorithm is None:
        raise ProvenanceError("a time stamp uses a digest that is not read")
    return Token(
        time=_time(statement[4].body),
        imprint=(algorithm[0], imprint[1].body),
        content=content,
        nonce=_nonce(statement[5:]),
        certificates=tuple(
            item.whole for item in (certificates.children() if certificates else ())
        )[:_MAX_CERTIFICATES],
        signer=signer[1].whole,
        digest=signer[2].children()[0].body,
        attributes=b"\x31" + attributes.whole[1:],
        scheme=signer[4].children()[0].body,
        signature=signer[5].body,
    )


def _nonce(rest: list[_Node]) -> int | None:
    """Find the only integer after the time: accuracy is a sequence, ordering a boolean."""
    found = next((item for item in rest if item.tag == 0x02), None)
    return int.from_bytes(found.body, "big", signed=True) if found else None


def _time(text: bytes) -> dt.datetime:
    if not (found := _TIME.fullmatch(text)):
        raise ProvenanceError("a time stamp states no time in UTC")
    moment = dt.datetime.strptime(found[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    fraction = (found[2] or b"0").decode().ljust(6, "0")[:6]
    return moment.replace(microsecond=int(fraction))


def signed_part(certificate: bytes) -> tuple[bytes, bytes]:
    """Return what the issuer of a certificate signed, and the signature.

    Raises:
        ProvenanceError: if the certificate is malformed.
    """
    parts = _node(certificate).children()
    if len(parts) != 3 or parts[2].tag != 0x03:
        raise ProvenanceError("a certificate is malformed")
    return parts[0].whole, parts[2].body[1:]


_PRINTABLE = re.compile(rb"[A-Za-z0-9 '()+,\-./:=?]*")


def mend_strings(der: bytes) -> bytes:
    """Return DER of equal length in which text of a wrong PrintableString is a UTF8String.

    Raises:
        ProvenanceError: if the bytes are not DER.
    """
    mended = bytearray(der)
    stack = [(0, len(der))]
    while stack:
        at, end = stack.pop()
        while at < end:
            node = _node(der[:end], at)
            body = at + len(node.whole) - len(node.body)
            if node.tag & 0x20:
                stack.append((body, at + len(node.whole)))
            elif node.tag == 0x13 and not _PRINTABLE.fullmatch(node.body):
                mended[at] = 0x0C
            at += len(node.whole)
    return bytes(mended)
