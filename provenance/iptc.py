"""IPTC digital source types as people write them: the vocabulary, its forms, its misspellings.

Source: IPTC NewsCodes, Digital Source Type, release 2024-10-23; C2PA 2.2 §18.15 adds `empty`
and `trainedAlgorithmicData`. What a type claims is said in `source_types`.
"""

import re
from dataclasses import dataclass

from counterproof.findings import Claim
from counterproof.provenance.source_types import claim_of

__all__ = ["CODES", "EXTENSION", "SourceType", "read_source_type"]

EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
"""Namespace of the IPTC extension schema; its prefix differs from writer to writer."""

CODES = (
    "algorithmicMedia",
    "algorithmicallyEnhanced",
    "composite",
    "compositeCapture",
    "compositeSynthetic",
    "compositeWithTrainedAlgorithmicMedia",
    "computationalCapture",
    "dataDrivenMedia",
    "digitalArt",
    "digitalCapture",
    "digitalCreation",
    "empty",
    "humanEdits",
    "minorHumanEdits",
    "multiFrameComputationalCapture",
    "negativeFilm",
    "positiveFilm",
    "print",
    "screenCapture",
    "softwareImage",
    "trainedAlgorithmicData",
    "trainedAlgorithmicMedia",
    "virtualRecording",
)
_BY_LOWER = {code.lower(): code for code in CODES}
_FORM = re.compile(
    r"(?P<scheme>https?:)?(?P<base>//)?(?P<host>cv\.iptc\.org/newscodes|c2pa\.org)"
    r"/digitalsourcetype/(?P<uri>[A-Za-z]{1,64})(?P<slash>[/#]?)"
    r"|digsrctype:(?P<qcode>[A-Za-z]{1,64})|(?P<bare>[A-Za-z]{1,64})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SourceType:
    """One digital source type as written in a file.

    Attributes:
        code: as the vocabulary spells it; empty if it is none of its codes.
        claim: what the code says of the picture.
        malformed: how the spelling departs from the full address of the code: `bare_code`,
            `qcode`, `no_scheme`, `trailing`, `case`, `unknown_code`; empty if it does not.
    """

    code: str
    claim: Claim
    malformed: tuple[str, ...]


def read_source_type(value: str) -> SourceType:
    """Read one value, in its full form or a shorter one that people write.

    >>> read_source_type("http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture").claim
    <Claim.CAPTURED: 'captured'>
    >>> read_source_type("trainedAlgorithmicMedia").malformed
    ('bare_code',)
    """
    found = _FORM.fullmatch(value.strip())
    if found is None:
        return SourceType("", Claim.NONE, ("unknown_code",))
    written = found["uri"] or found["qcode"] or found["bare"]
    code = _BY_LOWER.get(written.lower(), "")
    faults = {
        "bare_code": found["bare"] is not None,
        "qcode": found["qcode"] is not None,
        "no_scheme": found["uri"] is not None and not (found["scheme"] and found["base"]),
        "trailing": bool(found["slash"]),
        "case": bool(code) and code != written,
        "unknown_code": not code,
    }
    malformed = tuple(name for name, holds in faults.items() if holds)
    return SourceType(code, claim_of(code, beginning=True), malformed)
