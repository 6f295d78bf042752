"""The C2PA certificate profile, as rules of pkilint, a linter of certificates that others keep.

pkilint reads a certificate into a tree of nodes and walks its validators over it; each raises
findings, with a code and a severity. Its own validators know RFC 5280 in some hundred rules. The
ones here add what C2PA asks besides, in codes that begin with `profile.`: an ERROR is what signing,
or reading with the C2PA library's defaults, fails for; a WARNING what some validators refuse, or
what leaves a signer untrusted.

A certificate has a *role*, which is its document's name: `SIGNER` signs claims, `ISSUER` stands
above another one in the chain, and `ANY` is one of an unordered chain.

pkilint takes a third of a second to import; so only what lints imports this module.

Sources: C2PA 2.4 §14.5 (certificate profile); RFC 5280; pkilint 0.13. What the C2PA library says
of each rule is held by tests/provenance/test_keys.py.
"""

import datetime as dt
import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from pkilint import loader
from pkilint.itu import bitstring
from pkilint.pkix import certificate, extension, name
from pkilint.validation import (
    ValidationFinding,
    ValidationFindingEncountered,
    ValidationFindingSeverity,
    Validator,
    ValidatorContainer,
)
from pyasn1_alt_modules import rfc5280

from counterproof.provenance.certificates import SIGNER_USAGES, Certificate
from counterproof.provenance.private_key import algorithm_of, kind_of

__all__ = ["ANY", "ISSUER", "SIGNER", "Finding", "lint"]

SIGNER, ISSUER, ANY = "signer", "issuer", "any"

_ERROR, _WARNING = ValidationFindingSeverity.ERROR, ValidationFindingSeverity.WARNING

_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
_ANY_USAGE = "2.5.29.37.0"
_EXCLUSIVE = frozenset({"1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9"})  # timeStamping, OCSPSigning
_USAGE_NAMES = {
    "1.3.6.1.4.1.62558.2.1": "c2pa-kp-claimSigning",
    "1.3.6.1.4.1.311.76.59.1.9": "Microsoft C2PA signing",
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.5.7.3.36": "documentSigning",
}
_KNOWN_EXTENSIONS = frozenset(
    {
        "2.5.29.14",  # subject key identifier
        "2.5.29.15",  # key usage
        "2.5.29.17",  # subject alternative name
        "2.5.29.18",  # issuer alternative name
        "2.5.29.19",  # basic constraints
        "2.5.29.30",  # name constraints
        "2.5.29.31",  # revocation lists
        "2.5.29.32",  # policies
        "2.5.29.33",  # policy mappings
        "2.5.29.35",  # authority key identifier
        "2.5.29.36",  # policy constraints
        "2.5.29.37",  # extended key usage
        "2.5.29.54",  # inhibit any policy
        "1.3.6.1.5.5.7.1.1",  # authority information access
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of one certificate.

    Attributes:
        code: `profile.…` of a rule here, `pkix.…` and others of pkilint's own.
        error: whether the rule calls it an error, not a warning.
        message: what was found; empty where the code says all.
    """

    code: str
    error: bool
    message: str


def lint(item: Certificate, role: str, moment: dt.datetime) -> list[Finding]:
    """List what is wrong with one certificate, by RFC 5280 and by the profile.

    5 ms a certificate.

    Args:
        item: the certificate.
        role: `SIGNER`, `ISSUER` or `ANY`.
        moment: at which it must be in force.
    """
    try:
        document = loader.load_der_certificate(item.der, role, item.subject.rfc4514_string())
    except ValueError as err:  # bytes that OpenSSL reads and pkilint does not
        return [Finding("profile.unjudged", False, str(err)[:200])]
    document.cryptography_object = item.parsed  # where a name's string type was mended
    document.moment = moment
    found = [
        _found(told.finding, told.message or "")
        for result in _linter().validate(document.root)
        for told in result.finding_descriptions
        if told.finding.severity <= _WARNING
    ]
    return list(dict.fromkeys(found))


def _found(finding: Any, message: str) -> Finding:
    if finding == Validator.VALIDATION_FINDING_UNHANDLED_EXCEPTION:
        return Finding("profile.unjudged", False, message[:200])
    return Finding(finding.code, finding.severity <= _ERROR, message)


@functools.cache
def _linter() -> Any:
    """Return pkilint's rules of RFC 5280 and ours behind them."""
    # a rule that fails on a strange certificate is a finding, and no text on standard error
    logging.getLogger("pkilint").addHandler(logging.NullHandler())
    decoders = certificate.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    return certificate.create_pkix_certificate_validator_container(
        decoders,
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container([InForce()]),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([KnownIfCritical()]),
            certificate.create_spki_validator_container([]),
            StrongHash(),
            IssuerIsAuthority(),
            SignerIsNoAuthority(),
            _signer_rules(),
        ],
    )


def _signer_rules() -> Any:
    """Return the rules of a signer's certificate; none of them holds for an authority's."""
    present = extension.ExtensionPresenceValidator
    absent_usage = ValidationFinding(_ERROR, "profile.no_key_usage")
    absent_extended = ValidationFinding(_ERROR, "profile.no_extended_usage")
    return ValidatorContainer(
        path="certificate",
        predicate=lambda node: node.document.name == SIGNER and not node.document.is_ca,
        validators=[
            present(
                path="certificate", extension_oid=rfc5280.id_ce_keyUsage, validation=absent_usage
            ),
            present(
                path="certificate",
                extension_oid=rfc5280.id_ce_extKeyUsage,
                validation=absent_extended,
            ),
            SignsDigitally(),
            UsageOfSigners(),
            NamesOrganisation(),
            KeyOfAllowedKind(),
        ],
    )


class Rule(Validator):
    """One rule: where in the tree it looks, what it may find, and a generator that finds it."""

    def __init__(self, *findings: ValidationFinding, **where: Any) -> None:
        super().__init__(validations=list(findings), **where)

    def validate(self, node: Any) -> Any:
        """Raise the first finding, as pkilint wants it."""
        for finding, message in self.broken(node):
            raise ValidationFindingEncountered(finding, message)

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        """Yield what the node breaks, the gravest first."""
        raise NotImplementedError


class SignerIsNoAuthority(Rule):
    """CA:FALSE for a signer; best not signed by itself. Source: C2PA 2.4 §14.5.1."""

    OWN_AUTHORITY = ValidationFinding(_ERROR, "profile.self_signed_ca")
    AUTHORITY = ValidationFinding(_ERROR, "profile.leaf_is_ca")
    OWN = ValidationFinding(_WARNING, "profile.self_signed")

    def __init__(self) -> None:
        super().__init__(self.OWN_AUTHORITY, self.AUTHORITY, self.OWN, path="certificate")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        if node.document.name != SIGNER:
            return
        own = _self_signed(node.document)
        if node.document.is_ca:
            yield (self.OWN_AUTHORITY if own else self.AUTHORITY), ""
        elif own:
            yield self.OWN, ""


class IssuerIsAuthority(Rule):
    """CA:TRUE for whoever stands above another certificate. Source: RFC 5280 §4.2.1.9."""

    NO_AUTHORITY = ValidationFinding(_ERROR, "profile.issuer_is_no_ca")

    def __init__(self) -> None:
        super().__init__(self.NO_AUTHORITY, path="certificate")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        if node.document.name == ISSUER and not node.document.is_ca:
            yield self.NO_AUTHORITY, ""


class SignsDigitally(Rule):
    """The key usage of a signer has digitalSignature.

    The library takes nonRepudiation alone; the standard does not. Source: C2PA 2.4 §14.5.1.
    """

    LACKING = ValidationFinding(_ERROR, "profile.no_digital_signature")
    TAKEN = ValidationFinding(_WARNING, "profile.no_digital_signature")

    def __init__(self) -> None:
        super().__init__(self.LACKING, self.TAKEN, pdu_class=rfc5280.KeyUsage)

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        if not bitstring.has_named_bit(node, "digitalSignature"):
            other = bitstring.has_named_bit(node, "nonRepudiation")
            yield (self.TAKEN if other else self.LACKING), ""


class UsageOfSigners(Rule):
    """The extended key usage lets the certificate sign claims, and nothing that excludes it.

    Sources: C2PA 2.4 §14.5.1; emailProtection is the only one that the library takes by default.
    """

    ANY_USAGE = ValidationFinding(_ERROR, "profile.any_extended_usage")
    MIXED = ValidationFinding(_ERROR, "profile.mixed_extended_usage")
    WRONG = ValidationFinding(_ERROR, "profile.wrong_extended_usage")
    UNLISTED = ValidationFinding(_WARNING, "profile.unlisted_extended_usage")

    def __init__(self) -> None:
        kinds = self.ANY_USAGE, self.MIXED, self.WRONG, self.UNLISTED
        super().__init__(*kinds, pdu_class=rfc5280.ExtKeyUsageSyntax)

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        usages = [str(child.pdu) for child in node.children.values()]
        named = ", ".join(_USAGE_NAMES.get(item, item) for item in usages)
        if _ANY_USAGE in usages:
            yield self.ANY_USAGE, ""
        if not _EXCLUSIVE.isdisjoint(usages):
            yield self.MIXED, named
        if SIGNER_USAGES.isdisjoint(usages):
            yield self.WRONG, named
        if _EMAIL_PROTECTION not in usages:
            yield self.UNLISTED, named


class NamesOrganisation(Rule):
    """The subject has an organisation. Source: c2pa-rs before 0.37.12 calls it broken without."""

    LACKING = ValidationFinding(_WARNING, "profile.no_organisation")

    def __init__(self) -> None:
        super().__init__(self.LACKING, path="certificate.tbsCertificate.subject")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        if not node.document.get_subject_attributes_by_type(rfc5280.id_at_organizationName):
            yield self.LACKING, ""


class KeyOfAllowedKind(Rule):
    """The key is one that C2PA signs with. Source: C2PA 2.4 §13.2.1."""

    OTHER = ValidationFinding(_ERROR, "profile.key_kind")

    def __init__(self) -> None:
        super().__init__(self.OTHER, path="certificate.tbsCertificate.subjectPublicKeyInfo")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        public = node.document.cryptography_object.public_key()
        if not algorithm_of(public):
            yield self.OTHER, kind_of(public)


class InForce(Rule):
    """The moment that is asked about lies between both dates. Source: RFC 5280 §4.1.2.5."""

    LATE = ValidationFinding(_ERROR, "profile.expired")
    EARLY = ValidationFinding(_ERROR, "profile.not_yet_valid")

    def __init__(self) -> None:
        super().__init__(self.LATE, self.EARLY, path="certificate.tbsCertificate.validity")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        parsed, moment = node.document.cryptography_object, node.document.moment
        if moment > parsed.not_valid_after_utc:
            yield self.LATE, parsed.not_valid_after_utc.date().isoformat()
        elif moment < parsed.not_valid_before_utc:
            yield self.EARLY, parsed.not_valid_before_utc.date().isoformat()


class StrongHash(Rule):
    """No certificate is signed over MD5 or SHA-1. Source: C2PA 2.4 §14.5.1."""

    WEAK = ValidationFinding(_ERROR, "profile.weak_hash")

    def __init__(self) -> None:
        super().__init__(self.WEAK, path="certificate.signatureAlgorithm")

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        digest = node.document.cryptography_object.signature_hash_algorithm
        if isinstance(digest, hashes.SHA1 | hashes.MD5):
            yield self.WEAK, digest.name


class KnownIfCritical(Rule):
    """No critical extension that validators do not know. Source: RFC 5280 §4.2."""

    UNKNOWN = ValidationFinding(_ERROR, "profile.unknown_critical")

    def __init__(self) -> None:
        super().__init__(self.UNKNOWN, pdu_class=rfc5280.Extension)

    def broken(self, node: Any) -> Iterator[tuple[ValidationFinding, str]]:
        oid = str(node.children["extnID"].pdu)
        if (
            "critical" in node.children
            and node.children["critical"].pdu
            and (oid not in _KNOWN_EXTENSIONS)
        ):
            yield self.UNKNOWN, oid


def _self_signed(document: Any) -> bool:
    own = document.cryptography_object
    try:
        own.verify_directly_issued_by(own)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
