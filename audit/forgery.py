"""Signs in the pixels that a part was changed: the analyzer `forgery`, profile `deep`.

Each method answers *supports*, *no support* or *not applicable* (fact `forgery.METHOD`), with what
it needs; a finding is made only where one supports. Silence means nothing: most changes leave no
such sign. How strongly a finding speaks is capped by the number of photographs on which its method
was measured (`details.likelihood`).

Source: scale of likelihood words after ENFSI guideline for evaluative reporting (2015), table 1;
figures from docs/benchmarks.md, "Altered pictures".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.audit.forgery_methods import Answer, answers
from counterproof.audit.measured import rate
from counterproof.findings import Basis, Blob, Claim, Fact, Finding, Severity
from counterproof.images import ImageFile

__all__ = ["WORTH", "ForgeryAnalyzer", "Worth", "combined", "likelihood_word"]

_TOGETHER = "combined"
_MAP_SIDE = 960
_MAP_COLOUR = (255, 140, 0)  # orange, half transparent


@dataclass(frozen=True, slots=True)
class Worth:
    """What a method's support is taken for.

    Attributes:
        claim: `altered` counts for the status; `edited` is shown and moves none.
        basis: how it is known.
        severity: what is at stake.
        counts: whether it was measured on enough innocent photographs to count in the combination.
    """

    claim: Claim
    basis: Basis
    severity: Severity
    counts: bool = False


WORTH = {
    "copy_move": Worth(Claim.EDITED, Basis.STATISTICAL, Severity.LOW, counts=True),
    "grid": Worth(Claim.ALTERED, Basis.STATISTICAL, Severity.MEDIUM, counts=True),
    "double_jpeg": Worth(Claim.EDITED, Basis.STATISTICAL, Severity.LOW, counts=True),
    "noise": Worth(Claim.EDITED, Basis.HEURISTIC, Severity.LOW),
    "metadata": Worth(Claim.EDITED, Basis.DECLARED, Severity.INFO),
}
"""By method; how often each errs stands in `measured`."""


class ForgeryAnalyzer(Analyzer):
    """Looks for parts that stand twice in a picture, or have a JPEG history of their own."""

    name: ClassVar[str] = "forgery"
    prefixes: ClassVar[tuple[str, ...]] = ("forgery",)
    stage: ClassVar[Stage] = Stage.DEEP
    timeout_s: ClassVar[float] = 60.0
    version: ClassVar[str] = "7"

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield the answer of each method, and findings with maps where one supports.

        Raises:
            ImageError: if the picture cannot be decoded.
        """
        said = list(answers(image))
        for answer in said:
            yield Fact(f"forgery.{answer.method}", answer.fact)
            if answer.word == "supports":
                yield from self._finding(image, answer)
        yield Fact(f"forgery.{_TOGETHER}", combined(said))

    def _finding(self, image: ImageFile, answer: Answer) -> Iterator[Observation]:
        worth = WORTH[answer.method]
        details = dict(answer.details)
        if worth.counts:
            details["likelihood"] = _word(_ratio_of(answer.method))
        evidence: tuple[str, ...] = ()
        if answer.mask is not None:
            evidence = (f"{answer.method.replace('_', '-')}.png",)
            yield Blob(evidence[0], "image/png", _map(answer.mask, image))
        yield Finding(
            self.name,
            f"forgery.{answer.method}",
            worth.claim,
            worth.basis,
            worth.severity,
            regions=answer.boxes,
            evidence=evidence,
            details=details,
        )


def combined(said: Sequence[Answer]) -> str:
    """Join the answers of the methods that were measured on enough innocent photographs.

    The strongest counts, and no others are multiplied on top: that their errors are independent
    was not shown. Where none of them applies nothing is known, and where none supports nothing is
    said for the picture either, since most changes leave no sign.

    Returns:
        `supports: <word>`, `no_support`, or `not_applicable: <reason>`.
    """
    counted = [answer for answer in said if WORTH[answer.method].counts]
    if all(answer.word == "not_applicable" for answer in counted):
        return "not_applicable: no_method"
    ratios = [_ratio_of(answer.method) for answer in counted if answer.word == "supports"]
    if not ratios:
        return "no_support"
    return f"supports: {_word(max(ratios))}"


def likelihood_word(found: float, accused: float) -> str:
    """Say how strongly a finding can speak at most, by the measured ends of two intervals.

    Args:
        found: lower end of the share of changed pictures that are found.
        accused: upper end of the share of innocent pictures that are accused.

    >>> likelihood_word(0.83, 0.03), likelihood_word(0.95, 0.5), likelihood_word(0.95, 0.005)
    ('moderate', 'limited', 'moderately_strong')
    """
    return _word(_ratio(found, accused))


def _ratio_of(method: str) -> float:
    """Return the ratio of a method that counts: its lowest share found, over its most accused."""
    found = rate(f"forgery.{method}", "found")
    accused = rate(f"forgery.{method}", "accused")
    assert found
    assert accused
    return _ratio(found.low, accused.high)


def _ratio(found: float, accused: float) -> float:
    return found / accused if accused > 0 else 1.0


def _word(ratio: float) -> str:
    for least, word in ((1000, "strong"), (100, "moderately_strong"), (10, "moderate")):
        if ratio >= least:
            return word
    return "limited"


def _map(mask: Any, image: ImageFile) -> bytes:
    """Draw a mask, of whatever size it is, as a picture to lay over the view."""
    import io

    import cv2
    import numpy as np
    from PIL import Image

    width, height = image.info.width, image.info.height
    scale = min(1.0, _MAP_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    rgba = np.zeros((*shown.shape, 4), np.uint8)
    rgba[shown > 0] = (*_MAP_COLOUR, 150)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", optimize=True)
    return out.getvalue()
