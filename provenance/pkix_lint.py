"""What pkilint, a linter that others keep, says of a certificate by the general rules of RFC 5280.

`keylint` names what the C2PA profile forbids; nearly all of that RFC 5280 allows, so that a
general linter is silent on it. The other way round, pkilint knows some hundred rules of encoding,
names, serial numbers and extensions that have nothing to do with C2PA, and keeps up with them.
What it finds is a warning here: the C2PA library signs and reads with such certificates.

Needs the extra `lint`. 5 ms a certificate.

Sources: RFC 5280; pkilint 0.13, its `lint_pkix_cert`.
"""

import functools
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from counterproof.errors import MissingExtra
from counterproof.provenance.keylint import Defect
from counterproof.provenance.trust import read_certificates

__all__ = ["general_defects"]

_TOLD = ("WARNING", "ERROR", "FATAL")
_NAMED_BY_US = frozenset(
    {
        "pkix.authority_key_identifier_extension_absent",  # no_authority_key
        "pkix.ee_certificate_keycertsign_keyusage_set",  # leaf_signs_certificates
        "pkix.extended_key_usage_extension_with_timestamping_not_critical",  # mixed_extended_usage
    }
)
"""Findings that `keylint` names as well; its sentence says what to do."""

_SUGGESTED = frozenset({"pkix.certificate_skid_end_entity_missing"})
"""Findings on what RFC 5280 only recommends (§4.2.1.2) and no C2PA validator asks for."""


def general_defects(pem: bytes, name: str) -> list[Defect]:
    """List what is wrong with each certificate of a chain by RFC 5280.

    Args:
        pem: the certificates.
        name: where they come from, for messages.

    Returns:
        Defects of code `rfc5280`, never fatal, each with the linter's own code.

    Raises:
        MissingExtra: if pkilint is not installed.
        UserError: if there is no certificate, or one is malformed.
    """
    validator, load = _linter()
    found: list[Defect] = []
    for certificate in read_certificates(pem, name):
        data = certificate.parsed.public_bytes(Encoding.DER)
        subject = certificate.subject.rfc4514_string()[:200]
        try:
            results = validator.validate(load(data, "certificate").root)
        except ValueError as err:  # bytes that OpenSSL reads and pkilint does not
            found.append(_defect("unreadable", subject, str(err)))
            continue
        for result in results:
            for item in result.finding_descriptions:
                code = item.finding.code
                if item.finding.severity.name in _TOLD and code not in _NAMED_BY_US | _SUGGESTED:
                    found.append(_defect(code, subject, item.message or ""))
    return [item for index, item in enumerate(found) if item not in found[:index]]


def _defect(code: str, subject: str, message: str) -> Defect:
    said = f"{code} ({' '.join(message.split())[:200]})" if message else code
    return Defect("rfc5280", False, subject, {"found": said})


@functools.cache
def _linter() -> tuple[Any, Any]:
    """Return pkilint's validator of certificates, and its loader of DER."""
    try:
        from pkilint import loader
        from pkilint.pkix import certificate, extension, name
    except ModuleNotFoundError as err:
        raise MissingExtra("checking certificates against RFC 5280", "lint") from err
    decoders = certificate.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    validator = certificate.create_pkix_certificate_validator_container(
        decoders,
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return validator, loader.load_certificate
