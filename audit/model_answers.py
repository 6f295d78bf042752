"""One question asked of a model, answered with a count and its exact interval."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "clopper_pearson", "counted", "unresolved"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, answered.

    Attributes:
        code: what was asked.
        answer: `found`, `clear` or `not_resolvable`.
        k: how many.
        n: of how many.
        low: lower end of the 95 % interval (Clopper–Pearson) of k / n.
        high: its upper end.
        details: further figures, such as `p`.
    """

    code: str
    answer: str
    k: int
    n: int
    low: float
    high: float
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate; (0, 1) of nothing.

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.stats import beta

    if not n:
        return 0.0, 1.0
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high


def counted(code: str, k: int, n: int, answer: str = "", **details: Any) -> Answer:
    """Return the answer of a count: `found` if there is one, else `clear`, unless told."""
    word = answer or ("found" if k else "clear")
    return Answer(code, word, k, n, *clopper_pearson(k, n), details)


def unresolved(code: str, n: int, **reason: Any) -> Answer:
    """Return the answer to a question that these pictures cannot resolve."""
    return Answer(code, "not_resolvable", 0, n, 0.0, 1.0, reason)
