"""The words that findings and verdicts are made of: statuses, claims, bases, the five answers.

`findings` passes them on, so that other rooms import from there.
"""

from enum import StrEnum

__all__ = [
    "Basis",
    "Claim",
    "History",
    "Integrity",
    "Origin",
    "Severity",
    "Status",
    "Time",
    "Trust",
]


class Status(StrEnum):
    """What is said of one picture: the first row of the verdict table that applies."""

    UNREADABLE = "unreadable"
    CONFLICT = "conflict"
    ALTERED = "altered"
    SYNTHETIC_VERIFIED = "synthetic_verified"
    MODEL_EDITED_VERIFIED = "model_edited_verified"
    CAPTURED_VERIFIED = "captured_verified"
    SYNTHETIC_DECLARED = "synthetic_declared"
    MODEL_EDITED_DECLARED = "model_edited_declared"
    PROVENANCE_VERIFIED = "provenance_verified"
    SYNTHETIC_SUSPECTED = "synthetic_suspected"
    ALTERED_SUSPECTED = "altered_suspected"
    PROVENANCE_DECLARED = "provenance_declared"
    INCONCLUSIVE = "inconclusive"
    NO_EVIDENCE = "no_evidence"


class Claim(StrEnum):
    """What a finding says of the picture."""

    SYNTHETIC = "synthetic"
    MODEL_EDITED = "model_edited"
    CAPTURED = "captured"
    EDITED = "edited"
    ALTERED = "altered"
    COPY = "copy"
    RESERVED = "reserved"
    PERSONAL_DATA = "personal_data"
    NONE = "none"


class Basis(StrEnum):
    """What a finding rests on, strongest first."""

    CRYPTOGRAPHIC = "cryptographic"
    MARK = "mark"
    DECLARED = "declared"
    STATISTICAL = "statistical"
    HEURISTIC = "heuristic"

    @property
    def strength(self) -> int:
        """4 for `cryptographic` down to 0 for `heuristic`."""
        return len(Basis) - 1 - list(Basis).index(self)


class Severity(StrEnum):
    """What is at stake, never how sure we are. Members rise from `info` to `high`."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for `info` up to 3 for `high`."""
        return list(Severity).index(self)


class Integrity(StrEnum):
    """Do the bytes that the credential covers still match? Its parents' are in `History`."""

    NONE = "none"
    INTACT = "intact"
    BROKEN = "broken"
    UNCHECKED = "unchecked"


class Trust(StrEnum):
    """Which list, if any, the signer's chain reaches."""

    NONE = "none"
    OFFICIAL = "official"
    INTERIM = "interim"
    USER = "user"
    UNLISTED = "unlisted"
    REVOKED = "revoked"


class Time(StrEnum):
    """Was the certificate in force when it signed?"""

    NONE = "none"
    TIMESTAMPED = "timestamped"
    IN_VALIDITY = "in_validity"
    EXPIRED = "expired"


class History(StrEnum):
    """Does every chain of parents reach a beginning?"""

    NONE = "none"
    COMPLETE = "complete"
    PARTIAL = "partial"
    BROKEN = "broken"


class Origin(StrEnum):
    """What the credential says the picture is."""

    NONE = "none"
    SYNTHETIC = "synthetic"
    MODEL_EDITED = "model_edited"
    EDITED = "edited"
    CAPTURED = "captured"
    OTHER = "other"
