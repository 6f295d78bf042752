"""Ask a time-stamping authority for a token over bytes, and read its answer (RFC 3161).

Whose token it is, is not judged here, only that the certificate in it signed it, and over these
bytes. rfc3161-client makes the question. It does not read the answer: 1.0.9 refuses 71 of the 79
tokens of the test data, among them all of the authority that signers of credentials use most,
whose certificates do not stand in the order that DER asks of a set (test_timestamps.py).

Pictures are stamped by the C2PA library itself, by an address: it has no callback to which
another client could be given.

Source: RFC 3161 §2.4 (messages) and §3.4 (HTTP).
"""

import datetime as dt
import urllib.error
import urllib.request

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance.claim_signature import token_chain
from counterproof.provenance.cms import read_token

__all__ = ["ask", "stamped_at"]

_MAX_BYTES = 256 * 1024
_TIMEOUT_S = 30.0


def ask(url: str, data: bytes) -> bytes:
    """Return an authority's answer over these bytes; the only use of the network here.

    Raises:
        ProvenanceError: if it does not answer, refuses, answers another question, or stamps
            something else.
        UserError: if the address is none.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    if not url.startswith(("http://", "https://")):
        raise UserError(f"expected the address of a time-stamping authority, got {url!r}")
    question = TimestampRequestBuilder(data, HashAlgorithm.SHA256).build()
    query = urllib.request.Request(
        url, question.as_bytes(), {"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(query, timeout=_TIMEOUT_S) as answer:
            found: bytes = answer.read(_MAX_BYTES)
    except (urllib.error.URLError, OSError, ValueError) as err:
        raise ProvenanceError(f"{url}: the time-stamping authority did not answer: {err}") from err
    stamped_at(found, data, nonce=question.nonce)
    return found


def stamped_at(answer: bytes, data: bytes, *, nonce: int | None = None) -> dt.datetime:
    """Return the time that an authority's answer states, if it is signed and over these bytes.

    Args:
        answer: as it came.
        data: what was to be stamped.
        nonce: of the question, to tell an answer to it from an older one; None if not known.

    Raises:
        ProvenanceError: if it is malformed, refuses, answers another question, stamps something
            else, or is not signed by the certificate that it names.
    """
    token = read_token(answer)
    if nonce is not None and token.nonce != nonce:
        raise ProvenanceError("the time stamp answers another question")
    if not token.stamps(data):
        raise ProvenanceError("the time stamp is not over these bytes")
    if not token.signed_by(token_chain(token)[0].parsed.public_key(), data):
        raise ProvenanceError("the time stamp is not signed by the certificate that it names")
    return token.time
