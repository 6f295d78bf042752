"""Error rates of the methods that have no card: how many of how many, on what, by which command.

What a likelihood word, the report and the public statement say of errors comes from here. A test
holds each count to docs/benchmarks.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

__all__ = ["MEASURED", "Measured", "rate", "thresholds"]

_PHOTOS = "photographs of open licence, treated in ten ways"
_FORGERY = "python benchmarks/forgery.py PHOTOS --split report"
_CODINGS = "python benchmarks/forgery_codings.py PHOTOS"
_ORIGINALS = "python benchmarks/forgery_originals.py look FOLDER"
_PRIVACY = "python benchmarks/audit_privacy.py counted detect/dev"
_TEXT = "python benchmarks/audit_privacy_text.py"


@dataclass(frozen=True, slots=True)
class Measured:
    """One count.

    Attributes:
        code: the code whose method was measured.
        kind: `accused` (what is innocent, yet reported) or `found` (what is there, and reported).
        hits: how many were reported.
        n: of how many that the method judged.
        set: of what, in English as in the cards of models.
        command: that counts again.
    """

    code: str
    kind: str
    hits: int
    n: int
    set: str
    command: str

    @property
    def analyzer(self) -> str:
        """The analyzer that reports the code."""
        prefix, _, subject = self.code.partition(".")
        return prefix if prefix == "forgery" else subject

    @property
    def value(self) -> float:
        """The share that was reported."""
        return round(self.hits / self.n, 4)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval (Clopper and Pearson, 1934)."""
        return _end(self.hits, self.n, False)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return _end(self.hits, self.n, True)


MEASURED = (
    Measured("forgery.copy_move", "accused", 4, 811, _PHOTOS, _FORGERY),
    Measured("forgery.copy_move", "found", 143, 148, "a part copied, JPEG 70 to 90", _FORGERY),
    Measured("forgery.grid", "accused", 0, 1160, _PHOTOS, _FORGERY),
    Measured("forgery.grid", "found", 24, 29, "a part put in, saved without loss", _FORGERY),
    Measured("forgery.double_jpeg", "accused", 1, 144, _PHOTOS, _FORGERY),
    Measured("forgery.double_jpeg", "found", 80, 87, "a part put in between two JPEGs", _CODINGS),
    Measured("forgery.noise", "accused", 1, 65, _PHOTOS, _FORGERY),
    Measured("forgery.noise", "found", 1, 4, "a part put in", _FORGERY),
    Measured("forgery.metadata", "accused", 12, 430, "JPEGs as cameras wrote them", _ORIGINALS),
    Measured("forgery.metadata", "found", 1347, 1347, "resized, cut or under a name", _ORIGINALS),
    Measured("privacy.faces", "accused", 4, 218, "crops of photographs without a face", _PRIVACY),
    Measured("privacy.faces", "found", 18, 21, "faces of 18 pixels or more", _PRIVACY),
    Measured("privacy.text", "accused", 0, 320, "crops of photographs", f"{_TEXT} alarms"),
    Measured("privacy.text", "found", 105, 108, "invented lines of 12 to 24 px", f"{_TEXT} recall"),
)
"""All counts, by code. Source: docs/benchmarks.md, "Altered pictures" and "Privacy"."""


def rate(code: str, kind: str) -> Measured | None:
    """Return what was counted of a code, or None."""
    return next((item for item in MEASURED if (item.code, item.kind) == (code, kind)), None)


def thresholds() -> Mapping[str, float]:
    """Return the level from which each code is reported, as the record's `score` has it.

    `forgery.metadata` has none: it compares what is written.
    """
    from counterproof.audit import copy_move, double_jpeg, faces, jpeg_grid, noise_levels
    from counterproof.audit.readable_text import MIN_SCORE

    return {
        "forgery.copy_move": copy_move.MAX_DIFFERENCE,
        "forgery.grid": jpeg_grid.MAX_FOREIGN,
        "forgery.double_jpeg": double_jpeg.MIN_SCORE,
        "forgery.noise": noise_levels.FACTOR,
        "privacy.faces": faces.MIN_SCORE_UPRIGHT,
        "privacy.text": MIN_SCORE,
    }


@cache
def _end(hits: int, n: int, upper: bool) -> float:
    from scipy.stats import beta

    if upper:
        return 1.0 if hits == n else round(float(beta.ppf(0.975, hits + 1, n - hits)), 4)
    return 0.0 if hits == 0 else round(float(beta.ppf(0.025, hits, n - hits + 1)), 4)
