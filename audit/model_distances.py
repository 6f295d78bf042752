"""What distances between whole pictures say of a model: beside the count, never alone.

Averages over many pictures miss a few copies, and outputs that are merely blurred lie nearer to
everything.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.model_answers import Answer, clopper_pearson, counted, unresolved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit.model_pictures import Pictures

    Vectors = NDArray[np.float32]
    Distances = NDArray[np.float64]

__all__ = ["NON_MEMBERS", "coverage", "distances", "membership", "secondary"]

NON_MEMBERS = 2_995
"""Fewest non-members at which a false positive rate of 0.1 % can be told from none: with 0 of
2,995 the upper 95 % bound is 0.1 % (rule of three)."""
_ROUNDS = 999
_ALPHA = 0.01


def distances(one: "Vectors", other: "Vectors") -> "Distances":
    """Return the distance of each of one to each of the other."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * (one @ other.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float64)


def membership(made: "Pictures", members: "Pictures", others: "Pictures | None") -> Answer:
    """Tell members from non-members by how near the output comes to them.

    Source: a distance-based attack without shadow models (Chen et al., "GAN-Leaks", CCS 2020,
    §5.2), reported at low false positive rates (Carlini et al., IEEE S&P 2022).
    """
    n = len(members)
    unseen = len(others) if others else 0
    if others is None or unseen < NON_MEMBERS:
        reason: dict[str, Any] = {"non_members": unseen, "needed": NON_MEMBERS}
        return unresolved("model.membership", n, **reason)
    inside = distances(members.vectors, made.vectors).min(axis=1)
    outside = np.sort(distances(others.vectors, made.vectors).min(axis=1))
    figures: dict[str, Any] = {"non_members": unseen}
    counts = {}
    for rate in (0.01, 0.001):
        limit = outside[int(rate * unseen)]
        counts[rate] = int((inside < limit).sum())
        low, high = clopper_pearson(counts[rate], n)
        figures[f"tpr_at_{rate}"] = [counts[rate] / n, low, high]
    low, high = clopper_pearson(counts[0.01], n)
    _, false_high = clopper_pearson(int(0.01 * unseen), unseen)
    answer = "found" if low > false_high else "clear"
    return Answer("model.membership", answer, counts[0.01], n, low, high, figures)


def secondary(
    made: "Pictures", members: "Pictures", others: "Pictures | None", *, found: bool
) -> list[Answer]:
    """Compare distances of output and holdout to the training set, against a resampled null.

    `model.data_copying`: how many outputs lie nearer than the middle of the holdout, by the
    statistic of Mann and Whitney (Meehan, Chaudhuri, Dasgupta, "A Non-Parametric Test to Detect
    Data-Copying in Generative Models", AISTATS 2020, in one cell). `model.tail_distance`: the 5th
    percentile of nearest over second nearest distance.
    """
    n = len(made)
    codes = ("model.data_copying", "model.tail_distance")
    if others is None:
        return [unresolved(code, n, reason="no holdout") for code in codes]
    first, second = _two_nearest(made, members), _two_nearest(others, members)
    one, other = first[:, 0], second[:, 0]
    answers = [
        _compared(codes[0], one, other, _middle_rank, float(np.median(other)), found),
    ]
    one, other = (item[:, 0] / np.maximum(item[:, 1], 1e-9) for item in (first, second))
    limit = float(np.percentile(other, 5))
    answers.append(_compared(codes[1], one, other, _low_tail, limit, found))
    return answers


def _two_nearest(folder: "Pictures", members: "Pictures") -> "Distances":
    """Return the distances to the two nearest training pictures, rising."""
    table = distances(folder.vectors, members.vectors)
    return np.asarray(np.sort(np.partition(table, 1, axis=1)[:, :2], axis=1))


def _compared(
    code: str,
    one: "Distances",
    other: "Distances",
    statistic: "Callable[[Distances, Distances], float]",
    limit: float,
    found: bool,
) -> Answer:
    """Compare a low statistic with its null: the same pictures dealt out at random."""
    seen = statistic(one, other)
    both = np.concatenate([one, other])
    rng = np.random.default_rng(0)
    as_low = 1
    for _ in range(_ROUNDS):
        mixed = rng.permutation(both)
        as_low += statistic(mixed[: len(one)], mixed[len(one) :]) <= seen
    p = as_low / (_ROUNDS + 1)
    k, n = int((one < limit).sum()), len(one)
    word = ("found" if found else "not_resolvable") if p <= _ALPHA else "clear"
    return counted(code, k, n, word, statistic=seen, p=p, never_alone=True)


def _middle_rank(one: "Distances", other: "Distances") -> float:
    """Mean rank of the first among both: low where the first lies nearer."""
    ranks = np.concatenate([one, other]).argsort().argsort()
    return float(ranks[: len(one)].mean())


def _low_tail(one: "Distances", other: "Distances") -> float:
    return float(np.percentile(one, 5) - np.percentile(other, 5))


def coverage(made: "Vectors", training: "Vectors") -> dict[str, float]:
    """Return precision, recall and coverage with five neighbours.

    Source: Kynkäänniemi et al., NeurIPS 2019; Naeem et al., ICML 2020 (coverage).
    """
    k = min(5, len(training) - 1, len(made) - 1)
    among, output = distances(training, training), distances(made, made)
    reach, own = np.partition(among, k, axis=1)[:, k], np.partition(output, k, axis=1)[:, k]
    across = distances(made, training)
    return {
        "precision": float((across <= reach[None]).any(axis=1).mean()),
        "recall": float((across <= own[:, None]).any(axis=0).mean()),
        "coverage": float((across <= reach[None]).any(axis=0).mean()),
    }
