"""Ask a time-stamping authority for a token over bytes, and read it (RFC 3161).

Signing a picture has its own way to an authority, inside the C2PA library; this one stamps
anything. Whose token it is, is not judged here: `openssl ts -verify` takes the answer as it came.

Source: RFC 3161 §2.4 (messages) and §3.4 (HTTP); DER after X.690.
"""

import hashlib
import secrets
import urllib.error
import urllib.request

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance.cms import Token, read_token

__all__ = ["ask", "request_for", "token_for"]

_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_MAX_BYTES = 256 * 1024
_TIMEOUT_S = 30.0


def request_for(data: bytes) -> bytes:
    """Return the query for a token over these bytes, with a nonce, asking for certificates."""
    imprint = _der(0x30, _SHA256 + _der(0x04, hashlib.sha256(data).digest()))
    nonce = b"\x01" + secrets.token_bytes(8)  # a positive integer
    return _der(0x30, b"\x02\x01\x01" + imprint + _der(0x02, nonce) + b"\x01\x01\xff")


def _der(tag: int, body: bytes) -> bytes:
    """Wrap a body of less than 128 bytes."""
    assert len(body) < 128
    return bytes((tag, len(body))) + body


def ask(url: str, data: bytes) -> bytes:
    """Return an authority's answer over these bytes; the only use of the network here.

    Raises:
        ProvenanceError: if it does not answer, refuses, or stamps something else.
        UserError: if the address is none.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"expected the address of a time-stamping authority, got {url!r}")
    query = urllib.request.Request(
        url, request_for(data), {"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(query, timeout=_TIMEOUT_S) as answer:
            found: bytes = answer.read(_MAX_BYTES)
    except (urllib.error.URLError, OSError, ValueError) as err:
        raise ProvenanceError(f"{url}: the time-stamping authority did not answer: {err}") from err
    token_for(found, data)
    return found


def token_for(answer: bytes, data: bytes) -> Token:
    """Read an answer and check that it stamps these bytes.

    Raises:
        ProvenanceError: if it is malformed or stamps something else.
    """
    token = read_token(answer)
    name, digest = token.imprint
    if hashlib.new(name, data).digest() != digest:
        raise ProvenanceError("the time stamp is not over these bytes")
    return token
