"""Every error that counterproof raises on purpose.

    CounterproofError
    ├── UserError          a bad option, path, setting or list: exit code 2
    │   ├── MissingExtra   a feature that needs an optional install
    │   └── CaseError      a case that cannot be opened, or was made by a newer version
    ├── ImageError         one image cannot be read; becomes an `unreadable` or partial record
    ├── ProvenanceError    a credential, key, label or trust list is defective
    └── WeightsError       a model file is missing, altered or not described by its card

Only the top floor (`counterproof.app`) turns these into exit codes.
"""

__all__ = [
    "CaseError",
    "CounterproofError",
    "ImageError",
    "MissingExtra",
    "ProvenanceError",
    "UserError",
    "WeightsError",
]


class CounterproofError(Exception):
    """Base of every error that counterproof raises on purpose."""


class UserError(CounterproofError):
    """Something the user asked for cannot be done; the message says what to do instead."""


class MissingExtra(UserError):
    """A feature needs an optional install."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'counterproof[{extra}]'")
        self.extra = extra


class CaseError(UserError):
    """A case cannot be opened or written."""


class ImageError(CounterproofError):
    """One image cannot be read within the limits.

    Attributes:
        cause: a short stable word: `missing`, `forbidden`, `empty`, `too_large`,
            `too_many_pixels`, `unknown_format`, `truncated`, `damaged`, `unsupported`,
            `not_examined` (video, sound or a document: it has no picture to look at).
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ProvenanceError(CounterproofError):
    """A credential, key, label or trust list is defective."""


class WeightsError(CounterproofError):
    """A model file is missing, altered, or not described by its card."""
