"""The trained part of the detector: one weight for each feature of a tile.

`Head` is a scikit-learn classifier over pictures (paths), so that it works in `clone`,
pipelines and cross-validation. A picture's score is the mean logit of its tiles.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from counterproof.detectors.estimator import LogitClassifier
from counterproof.detectors.features import WIDTH, TileTable, extract
from counterproof.errors import UserError

__all__ = ["Head", "fit_tiles", "picture_scores"]


class Head(LogitClassifier):
    """Logistic regression over tile features.

    Args:
        penalty: inverse strength of the ridge penalty, above 0.
        deliveries: random deliveries of each picture in training, at least 1.
        seed: of the deliveries.

    Attributes:
        weight_: of each feature, shape `(WIDTH,)`.
        bias_: added to the sum.
        classes_: `[False, True]`; True is machine-made.
    """

    def __init__(self, penalty: float = 3e-3, deliveries: int = 2, seed: int = 0) -> None:
        self.penalty = penalty
        self.deliveries = deliveries
        self.seed = seed

    def fit(self, X: Sequence[Path], y: Any, sample_weight: Any = None) -> Self:
        """Train on pictures.

        Args:
            X: paths of pictures.
            y: whether each is machine-made.
            sample_weight: of each picture; see `samples.balance`.

        Raises:
            ImageError: if a picture cannot be read.
        """
        from counterproof.detectors.deliveries import at_random

        table = extract(list(X), [at_random] * self.deliveries, seed=self.seed)
        labels = np.asarray(y, bool)
        given = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight)
        self.weight_, self.bias_ = fit_tiles(table, labels, given, penalty=self.penalty)
        self.classes_ = np.array([False, True])
        return self

    def decision_function(self, X: Sequence[Path]) -> NDArray[np.float64]:
        """Return the mean logit of each picture's tiles, as it is, shape `(N,)`."""
        table = extract(list(X), [lambda picture, rng: picture])
        return picture_scores(table, len(X), self.weight_, self.bias_)

    def save(self, path: Path) -> None:
        """Write the head as JSON; `network_file.with_head` puts it into a network."""
        content = {
            "kind": "counterproof.head/1",
            "parameters": self.get_params(),
            "weight": [float(value) for value in self.weight_],
            "bias": self.bias_,
        }
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a head that `save` wrote.

        Raises:
            UserError: if the file is not one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["kind"] != "counterproof.head/1" or len(content["weight"]) != WIDTH:
                raise ValueError("another kind or width")
            made = cls(**content["parameters"])
            made.weight_ = np.array(content["weight"], float)
            made.bias_ = float(content["bias"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise UserError(f"{path}: expected a detector's head: {err}") from err
        made.classes_ = np.array([False, True])
        return made


def fit_tiles(
    table: TileTable,
    labels: NDArray[np.bool_],
    given: NDArray[Any],
    *,
    penalty: float = 3e-3,
) -> tuple[NDArray[np.float64], float]:
    """Fit one weight a feature on the tiles of labelled pictures.

    Features are standardised and clipped at 6 deviations for the fit; the result applies to
    features as they are. About 2 CPU-minutes for 100,000 tiles.

    Args:
        table: tiles; pictures whose weight is 0 are left out.
        labels: whether each picture is machine-made.
        given: weight of each picture, shared by its tiles.
        penalty: inverse strength of the ridge penalty, relative to the mean loss.

    Returns:
        Weights, shape `(WIDTH,)`, and bias.
    """
    used = np.flatnonzero(given[table.picture] > 0)
    picture = table.picture[used]
    rows = table.features[used].astype(np.float32)
    centre = rows.mean(0)
    spread = rows.std(0) + 1e-4
    rows -= centre
    rows /= spread
    np.clip(rows, -6, 6, out=rows)
    weight = given[picture] / np.bincount(picture, minlength=len(labels))[picture]
    weight = weight / weight.sum()
    model = LogisticRegression(C=1 / penalty / 2, max_iter=120, tol=1e-5)
    with warnings.catch_warnings():
        # The last steps move no held-out score; the limit is part of the recipe.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, labels[picture], sample_weight=weight)
    slopes = model.coef_[0] / spread
    return np.asarray(slopes, np.float64), float(model.intercept_[0] - (slopes * centre).sum())


def picture_scores(
    table: TileTable,
    count: int,
    weight: NDArray[np.float64],
    bias: float,
    delivery: int | None = None,
) -> NDArray[np.float64]:
    """Return the mean logit of each picture's tiles; nan where it has none, shape `(count,)`.

    Args:
        table: tiles.
        count: number of pictures.
        weight: of each feature.
        bias: added to the sum.
        delivery: only the tiles of this delivery; None for all.
    """
    logits = np.concatenate(
        [table.features[i : i + 8192] @ weight for i in range(0, len(table.features), 8192)]
        or [np.empty(0)]
    )
    chosen = np.ones(len(logits), bool) if delivery is None else table.delivery == delivery
    picture = table.picture[chosen]
    sums = np.bincount(picture, logits[chosen] + bias, count)
    tiles = np.bincount(picture, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / tiles)
