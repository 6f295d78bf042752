"""Was the signer's certificate revoked: read from answers that its issuer signed (OCSP).

An answer counts only if the issuer, or a responder that it named, signed it, and if it speaks of
this certificate. `good` needs an answer that was in force at the moment of signing; one that was
good but stale is `unknown`. `revoked` needs a revocation before that moment, or any where the
moment is not proven. Everything else is `not_checked`.

Sources: RFC 6960 §3.2 (acceptance), §4.2.2.2 (responders), §A.1 (GET); C2PA 2.4 §15.9
(answers stapled as `rVals`).
"""

import base64
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from counterproof.provenance.certificates import Certificate, is_issued_by

__all__ = ["Revocation", "issuer_of", "judge_answers", "query_url"]

_MAX_ANSWERS = 8
_MAX_ANSWER_BYTES = 64 * 1024
_SKEW = dt.timedelta(minutes=10)
_MAX_WITHOUT_NEXT = dt.timedelta(days=1)  # an answer that names no end is old after a day
_RANKS = ("revoked", "good", "unknown", "not_checked")


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is known of a certificate's revocation.

    Attributes:
        status: `good`, `revoked`, `unknown` or `not_checked`.
        source: `stapled`, `online` or empty.
        at: when the answer was made; None without one.
        until: how long it was in force; None if it does not say.
        revoked_at: when the certificate was revoked; None if it was not.
        reason: why, in RFC 5280's words; empty if not said.
        note: why an answer does not count: `stale`, `other_certificate`, `not_signed`,
            `unreadable`, `issuer_unknown`; empty otherwise.
    """

    status: str = "not_checked"
    source: str = ""
    at: dt.datetime | None = None
    until: dt.datetime | None = None
    revoked_at: dt.datetime | None = None
    reason: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "status": self.status,
            "source": self.source,
            "at": self.at.isoformat() if self.at else None,
            "until": self.until.isoformat() if self.until else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
            "reason": self.reason,
            "note": self.note,
        }


def issuer_of(leaf: Certificate, candidates: Iterable[Certificate]) -> Certificate | None:
    """Return the certificate that issued another, by name and by signature."""
    return next((item for item in candidates if is_issued_by(leaf, item)), None)


def judge_answers(
    answers: Sequence[bytes],
    leaf: Certificate,
    issuer: Certificate | None,
    moment: dt.datetime,
    *,
    proven: bool,
    source: str = "stapled",
) -> Revocation:
    """Judge what OCSP answers say of a certificate.

    Args:
        answers: DER of OCSP responses.
        leaf: the signer's certificate.
        issuer: of the certificate; None if it is not at hand, and no answer counts.
        moment: of signing, or the day on which the signature is judged.
        proven: whether the moment of signing is known from a trusted time stamp.
        source: where the answers came from.

    Returns:
        The first of `revoked`, `good`, `unknown` that an answer gives; `not_checked` if none.
    """
    found = [_judge(item, leaf, issuer, moment, proven, source) for item in answers[:_MAX_ANSWERS]]
    return min(found, key=lambda item: _RANKS.index(item.status), default=Revocation())


def _judge(
    data: bytes,
    leaf: Certificate,
    issuer: Certificate | None,
    moment: dt.datetime,
    proven: bool,
    source: str,
) -> Revocation:
    if issuer is None:
        return Revocation(source=source, note="issuer_unknown")
    try:
        if len(data) > _MAX_ANSWER_BYTES:
            raise ValueError("too long")
        answer = ocsp.load_der_ocsp_response(data)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Revocation(source=source, note="unreadable")
        single = next((i for i in answer.responses if _is_about(i, leaf, issuer)), None)
        if single is None:
            return Revocation(source=source, note="other_certificate")
        if not _is_signed(answer, issuer):
            return Revocation(source=source, note="not_signed")
        return _weigh(single, moment, proven, source)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Revocation(source=source, note="unreadable")


def _weigh(
    single: ocsp.OCSPSingleResponse, moment: dt.datetime, proven: bool, source: str
) -> Revocation:
    first, last = single.this_update_utc, single.next_update_utc
    status, revoked_at, reason, note = "unknown", None, "", ""
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        revoked_at = single.revocation_time_utc
        reason = single.revocation_reason.value if single.revocation_reason else ""
        # signed before it was revoked: proven only by a trusted time, and worth nothing if the
        # key was already in other hands
        before = proven and revoked_at is not None and moment < revoked_at
        lost = reason in ("keyCompromise", "cACompromise", "aACompromise")
        status = "good" if before and not lost else "revoked"
    elif single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        end = last or first + _MAX_WITHOUT_NEXT
        if first - _SKEW <= moment <= end + _SKEW:
            status = "good"
        else:
            note = "stale"
    return Revocation(status, source, first, last, revoked_at, reason, note)


def _is_about(single: ocsp.OCSPSingleResponse, leaf: Certificate, issuer: Certificate) -> bool:
    """Tell whether an answer is about this certificate of this issuer."""
    if single.serial_number != leaf.parsed.serial_number:
        return False
    by_name = hashes.Hash(single.hash_algorithm)
    by_name.update(leaf.issuer_der)
    by_key = hashes.Hash(single.hash_algorithm)
    by_key.update(_key_bits(issuer.parsed))
    return (
        single.issuer_name_hash == by_name.finalize()
        and single.issuer_key_hash == by_key.finalize()
    )


def _key_bits(certificate: x509.Certificate) -> bytes:
    """Return the public key without its algorithm, as RFC 6960 §4.1.1 hashes it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    raise UnsupportedAlgorithm("a key of this kind issues no certificates here")


def _is_signed(answer: ocsp.OCSPResponse, issuer: Certificate) -> bool:
    """Tell whether the issuer signed an answer, or a responder that the issuer named."""
    for responder in (issuer.parsed, *answer.certificates[:4]):
        if responder is not issuer.parsed and not _may_respond(responder, issuer, answer):
            continue
        if _holds(answer, responder):
            return True
    return False


def _may_respond(
    responder: x509.Certificate, issuer: Certificate, answer: ocsp.OCSPResponse
) -> bool:
    try:
        usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        responder.verify_directly_issued_by(issuer.parsed)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    made = answer.produced_at_utc
    in_force = responder.not_valid_before_utc <= made <= responder.not_valid_after_utc
    return in_force and ExtendedKeyUsageOID.OCSP_SIGNING in usages


def _holds(answer: ocsp.OCSPResponse, responder: x509.Certificate) -> bool:
    key, digest = responder.public_key(), answer.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes)
        else:
            return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def query_url(leaf: Certificate, issuer: Certificate) -> str:
    """Return the address at which the issuer answers about a certificate; '' if it names none.

    The question lies in the address (RFC 6960 §A.1), so that it is fetched like any document.
    """
    try:
        access = leaf.parsed.extensions.get_extension_for_class(
            x509.AuthorityInformationAccess
        ).value
    except x509.ExtensionNotFound:
        return ""
    for item in access:
        place = item.access_location
        is_ocsp = item.access_method == AuthorityInformationAccessOID.OCSP
        if is_ocsp and isinstance(place, x509.UniformResourceIdentifier):
            builder = ocsp.OCSPRequestBuilder().add_certificate(
                leaf.parsed, issuer.parsed, hashes.SHA1()
            )
            der = builder.build().public_bytes(serialization.Encoding.DER)
            return f"{place.value.rstrip('/')}/{quote(base64.b64encode(der).decode(), safe='')}"
    return ""
