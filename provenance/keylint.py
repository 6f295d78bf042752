"""Name the exact defect of a signing certificate, its chain or its key.

The C2PA library refuses a certificate with "the certificate is invalid" and no reason. Here each
defect has a code of its own, and its sentence lies in the text catalogue as `keys.defect.CODE`.

Each certificate is judged by pkilint, a linter that others keep: by its rules of RFC 5280 and by
the C2PA profile that `certificate_profile` adds to them. How certificates hang together is judged
here: order, issuers, signatures, depth, and whose key it is. pkilint has a rule on signatures,
but none for chains of more than two, and 0.13 takes RSASSA-PSS for PKCS #1.

Sources: C2PA 2.4 §14.5 (certificate profile); RFC 5280 §4 and §6; the library's behaviour,
variant by variant, is held by tests/provenance/test_keys.py.
"""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from counterproof.provenance.certificates import Certificate
from counterproof.provenance.private_key import PrivateKey, same_key
from counterproof.provenance.trust import read_certificates

__all__ = ["Defect", "lint_chain"]

_NAMED = {
    "pkix.authority_key_identifier_extension_absent": "no_authority_key",
    "pkix.ca_certificate_keycertsign_keyusage_not_set": "issuer_is_no_ca",
    "pkix.certificate_version_is_not_v3": "version",
    "pkix.ee_certificate_keycertsign_keyusage_set": "leaf_signs_certificates",
}
"""pkilint's own rules for which signing or reading fails, and what we call them."""

_SILENT = frozenset(
    {
        "pkix.certificate_skid_end_entity_missing",
        "pkix.extended_key_usage_extension_with_timestamping_not_critical",
    }
)
"""What RFC 5280 only recommends (§4.2.1.2), and what `mixed_extended_usage` says as well."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong with a chain or a key.

    Attributes:
        code: short and stable.
        fatal: whether signing, or reading with the library's defaults, fails for it. Others
            are what some validators refuse, or what leaves a signer untrusted.
        subject: of the certificate in question; empty for the chain or the key.
        details: what the sentence quotes.
        rule: of the linter that found it, in the linter's own words; empty for ours.
    """

    code: str
    fatal: bool
    subject: str = ""
    details: dict[str, str] = field(default_factory=dict)
    rule: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the defect as JSON values."""
        return {
            "code": self.code,
            "severity": "error" if self.fatal else "warning",
            "rule": self.rule,
            "subject": self.subject,
            "details": dict(self.details),
        }


def lint_chain(
    pem: bytes,
    name: str,
    *,
    as_of: dt.datetime | None = None,
    key: PrivateKey | None = None,
) -> list[Defect]:
    """List what is wrong with a chain, what is fatal first.

    Args:
        pem: the signer's certificate, then its intermediates.
        name: where it comes from, for messages.
        as_of: the moment at which it must be in force; now if None.
        key: the private key that should belong to the first certificate.

    Raises:
        UserError: if there is no certificate, or one is malformed.
    """
    from counterproof.provenance.certificate_profile import ANY, ISSUER, SIGNER

    chain = read_certificates(pem, name)
    moment = as_of or dt.datetime.now(dt.UTC)
    found = [*_order(chain)]
    roles = [ANY] * len(chain) if found else [SIGNER, *[ISSUER] * (len(chain) - 1)]
    for certificate, role in zip(chain, roles, strict=True):
        found += _judged(certificate, role, moment)
    if roles[0] == SIGNER:
        found += _links(chain)
    if b"PRIVATE KEY-----" in pem:
        found.append(Defect("key_in_chain", False))
    if key is not None and not same_key(key, chain[0].parsed.public_key()):
        found.append(Defect("key_mismatch", True, _name(chain[0])))
    return sorted(found, key=lambda item: not item.fatal)


def _judged(certificate: Certificate, role: str, moment: dt.datetime) -> Iterator[Defect]:
    """Yield what the linter finds in one certificate, in our words where we have them."""
    from counterproof.provenance.certificate_profile import SIGNER, lint

    subject = _name(certificate)
    for item in lint(certificate, role, moment):
        own, _, code = item.code.partition(".")
        named = _NAMED.get(item.code, "")
        if named == "no_authority_key" and (role != SIGNER or _self_signed(certificate)):
            named = ""  # the library asks it of signers only, and not of those above whom is nobody
        if own == "profile":
            details = {"found": item.message} if item.message else {}
            yield Defect(code, item.error, subject, details, item.code)
        elif named:
            yield Defect(named, True, subject, {}, item.code)
        elif item.code not in _SILENT:
            said = f"{item.code} ({' '.join(item.message.split())[:200]})"
            details = {"found": said if item.message else item.code}
            yield Defect("rfc5280", False, subject, details, item.code)


def _name(certificate: Certificate) -> str:
    return _named(certificate.subject)


def _named(name: x509.Name) -> str:
    return name.rfc4514_string()[:200] or "(no name)"


def _extension(certificate: Certificate, kind: type[x509.ExtensionType]) -> Any:
    try:
        return certificate.parsed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_ca(certificate: Certificate) -> bool:
    basic = _extension(certificate, x509.BasicConstraints)
    return bool(basic and basic.ca)


def _self_signed(certificate: Certificate) -> bool:
    return certificate.subject == certificate.issuer and _issued(certificate, certificate)


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _order(chain: Sequence[Certificate]) -> Iterator[Defect]:
    """Find a chain that does not begin with its signer, which makes other rules moot."""
    if len(chain) > 1 and _is_ca(chain[0]):
        leaf = next((item for item in chain if not _is_ca(item)), None)
        if leaf is not None:
            yield Defect("order", True, _name(chain[0]), {"leaf": _name(leaf)})


def _links(chain: Sequence[Certificate]) -> Iterator[Defect]:
    """Check that every certificate was issued by the next one."""
    if len(chain) == 1 and not _self_signed(chain[0]):
        yield Defect("no_intermediate", False, _name(chain[0]), {"issuer": _named(chain[0].issuer)})
    for below, (certificate, issuer) in enumerate(itertools.pairwise(chain)):
        names = {"issuer": _name(issuer), "expected": _named(certificate.issuer)}
        if certificate.issuer != issuer.subject:
            yield Defect("wrong_issuer", True, _name(certificate), names)
            continue
        basic = _extension(issuer, x509.BasicConstraints)
        if basic is not None and basic.path_length is not None and below > basic.path_length:
            yield Defect("path_too_long", True, _name(issuer))
        if not _issued(issuer, certificate):
            yield Defect("bad_signature", True, _name(certificate), names)
