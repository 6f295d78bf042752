"""The gate of a release: what a detector must show before it may ship.

Each shortfall is one sentence with the figures that it rests on. None means that the gate
is passed, on this set; it never means that the detector is good enough for another.
"""

from collections.abc import Mapping

from counterproof.detectors import measures
from counterproof.detectors.evaluation import Evaluation, Treated
from counterproof.detectors.measures import Interval
from counterproof.detectors.nuisances import FOREST
from counterproof.errors import MissingExtra, UserError

__all__ = ["shortfalls", "worst_kinds"]


def shortfalls(found: Evaluation) -> list[str]:
    """Say where the lower 95 % bound of a scorer does not beat what no content tells.

    Under every delivery the scorer must beat each baseline that saw the same view. Under the
    first it must also beat those that saw the files as they were found, sizes, compression and
    quantisation tables included.

    Raises:
        MissingExtra: if the forest could not be trained because scikit-learn is missing.
        UserError: if the set has too few sources to hold one out, or too small ones.
    """
    if FOREST not in found.nuisances:
        try:
            import sklearn  # noqa: F401
        except ModuleNotFoundError as err:
            raise MissingExtra("the gate's random forest (scikit-learn)", "train") from err
        raise UserError("the gate needs at least 2 sources of each class, to hold sources out")
    first = found.treated[0]
    if not first.areas:
        raise UserError(f"the gate needs a source of {measures.LEAST} machine-made pictures")
    sentences = [text for row in found.treated for text in _beaten(row, row.nuisances, "same view")]
    return [*_beaten(first, found.nuisances, "files as found"), *sentences]


def _beaten(row: Treated, baselines: dict[str, float], seen: str) -> list[str]:
    """Name the strongest baseline where it reaches the scorer's lower bound."""
    name = max(baselines, key=lambda name: baselines[name], default="")
    if not name or row.source_area.low > baselines[name]:
        return []
    return [
        f"{row.treatment}: area {row.source_area}, its lower bound does not beat "
        f"{baselines[name]:.3f} of {name} ({seen})"
    ]


def worst_kinds(accused: Mapping[str, Interval], most: float) -> list[str]:
    """Say which kinds of hard photographs may be accused too often; the worst first.

    A mean over kinds would hide the one that is accused; so each kind is asked by itself, by
    the upper bound of its interval. A kind of few pictures can only pass with few accused.

    Args:
        accused: share of each kind that is accused, with its 95 % interval.
        most: highest upper bound that passes, 0 to 1.
    """
    over = [(kind, share) for kind, share in accused.items() if not share.high <= most]
    return [
        f"{kind}: {share} accused, the upper bound lies above {most:.3f}"
        for kind, share in sorted(over, key=lambda item: -item[1].high)
    ]
