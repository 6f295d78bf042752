"""The trained part of the detector: one weight for each feature of the network.

`Head` is a scikit-learn classifier over paths or rows of features, so that it works in `clone`,
pipelines and cross-validation.
"""

import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from counterproof import weights
from counterproof.detectors.estimator import RowClassifier
from counterproof.detectors.features import (
    MODEL,
    PARTS,
    TILES,
    LinearHead,
    describe,
    read_head,
)
from counterproof.detectors.tiles import cut
from counterproof.errors import UserError

__all__ = ["PENALTY", "SCALE", "Head", "fit_rows"]


PENALTY = 1 / 60
"""Strength of the ridge penalty, relative to the mean loss. Source: docs/detectors.md, what moved
it."""

SCALE = np.repeat([(256 / width) ** 0.5 for width in PARTS.values()], [*PARTS.values()])
"""Of each standardised feature, so that each depth of the network counts alike, whatever its
width. Source: as above."""


class Head(RowClassifier):
    """Logistic regression over features of a picture: the mean over its tiles.

    A head is linear, so that the logit of the mean is the mean of the tiles' logits.

    Args:
        penalty: strength of the ridge penalty, above 0.
        deliveries: random deliveries of each path in training, at least 1; rows are taken as
            they are.
        seed: of the deliveries.

    Attributes:
        weight_: of each feature, shape `(WIDTH,)`.
        bias_: added to the sum.
        usual_: mean of the training rows, shape `(WIDTH,)`.
        classes_: `[False, True]`; True is machine-made.
    """

    def __init__(self, penalty: float = PENALTY, deliveries: int = 2, seed: int = 0) -> None:
        self.penalty = penalty
        self.deliveries = deliveries
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train.

        Args:
            X: paths, or `float` rows of shape `(N, WIDTH)`.
            y: whether each is machine-made.
            sample_weight: of each; see `samples.balance`.

        Raises:
            ImageError: if a picture cannot be read.
        """
        rows, labels, given = self.training_rows(X, y, sample_weight)
        self.usual_ = rows.mean(0)
        self.weight_, self.bias_ = fit_rows(rows, labels, given, penalty=self.penalty, scale=SCALE)
        self.classes_ = np.array([False, True])
        return self

    def describe(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mean of what the bundled network makes of the tiles of a picture.

        About 6 ms of CPU a tile.
        """
        return np.asarray(describe(cut(pixels, TILES).pixels).mean(0), np.float32)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logit of each path, as it is, or row, shape `(N,)`."""
        return np.asarray(self.rows(X) @ self.weight_ + self.bias_, np.float64)

    def save(self, path: Path) -> None:
        """Write what scans read, a `LinearHead` of the bundled network.

        Args:
            path: ends with `.npz`.
        """
        weight, usual = (value.astype(np.float32) for value in (self.weight_, self.usual_))
        LinearHead(weight, self.bias_, usual, weights.open(MODEL).sha256).save(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a head that `save` wrote; how it was trained is not kept.

        Raises:
            UserError: if the file is not one, or of another network.
        """
        try:
            kept = read_head(path.read_bytes())
        except (OSError, ValueError) as err:
            raise UserError(f"{path}: expected a detector's head: {err}") from err
        if kept.network != weights.open(MODEL).sha256:
            raise UserError(f"{path}: a head of another network; train it again")
        made = cls()
        made.weight_, made.bias_, made.usual_ = kept.weight.astype(float), kept.bias, kept.usual
        made.classes_ = np.array([False, True])
        return made


def fit_rows(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    given: NDArray[Any],
    *,
    penalty: float = PENALTY,
    scale: NDArray[Any] | float = 1.0,
) -> tuple[NDArray[np.float64], float]:
    """Fit one weight a feature.

    Features are standardised and clipped at 6 deviations for the fit; the result applies to
    features as they are. About 3 s of CPU for 10,000 rows.

    Args:
        rows: features of views, shape `(N, width)`.
        labels: whether each is machine-made, shape `(N,)`.
        given: weight of each, shape `(N,)`.
        penalty: strength of the ridge penalty, relative to the mean loss.
        scale: of each standardised feature: a larger one is penalised less.

    Returns:
        Weights, shape `(width,)`, and bias.
    """
    centre = rows.mean(0)
    spread = rows.std(0) + 1e-4
    scaled = ((rows - centre) / spread).clip(-6, 6) * scale
    model = LogisticRegression(C=1 / penalty / 2, max_iter=120, tol=1e-5)
    with warnings.catch_warnings():
        # The last steps move no held-out score; the limit is part of the recipe.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaled.astype(np.float32), labels, sample_weight=given / given.sum())
    slopes = model.coef_[0] * scale / spread
    return np.asarray(slopes, np.float64), float(model.intercept_[0] - (slopes * centre).sum())
