"""The gate of a release: what a detector must show before it may ship.

Each shortfall is one sentence with the figures that it rests on. None means that the gate
is passed, on this set; it never means that the detector is good enough for another.
"""

import math

from counterproof.detectors import measures
from counterproof.detectors.evaluation import Evaluation, Treated
from counterproof.detectors.nuisances import FOREST
from counterproof.errors import MissingExtra, UserError

__all__ = ["shortfalls"]


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
    if not math.isfinite(first.source_area.value):
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
