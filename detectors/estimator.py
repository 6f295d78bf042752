"""What the estimators of this wing share: chances from a logit, and a model saved as two files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from counterproof.detectors.deliveries import at_random
from counterproof.detectors.gathering import described, open_picture
from counterproof.errors import UserError, WeightsError
from counterproof.weights import session_of

__all__ = ["LogitClassifier", "RowClassifier", "read_model", "write_model"]


class LogitClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier whose `decision_function` is the logit of *machine-made*."""

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logit of each picture, shape `(N,)`."""
        raise NotImplementedError

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return uncalibrated chances of both classes, shape `(N, 2)`."""
        chance = 1 / (1 + np.exp(-self.decision_function(X)))
        return np.column_stack([1 - chance, chance])

    def predict(self, X: Any) -> NDArray[np.bool_]:
        """Return whether each logit is above 0."""
        return np.asarray(self.decision_function(X) > 0)


class RowClassifier(LogitClassifier):
    """One that describes each picture by a row of numbers; it takes paths, or such rows.

    With rows, `clone`, pipelines and cross-validation describe each picture only once.

    Attributes:
        deliveries: random deliveries of each path in training; rows are taken as they are.
        seed: of the deliveries.
    """

    deliveries: int
    seed: int

    def describe(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the numbers of one picture, `uint8` RGB `(H, W, 3)`, shape `(width,)`."""
        raise NotImplementedError

    def rows(self, X: Any) -> NDArray[np.float32]:
        """Return `X` if it holds rows, else the numbers of each path's picture as it is.

        Raises:
            ImageError: if a picture cannot be read.
        """
        if _holds_rows(X):
            return np.asarray(X, np.float32)
        return np.stack([self.describe(np.asarray(open_picture(Path(path)))) for path in X])

    def training_rows(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
        """Return rows, labels and weights to train on: of paths, one for each delivery.

        Raises:
            ImageError: if a picture cannot be read.
        """
        labels = np.asarray(y, bool)
        given = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
        if _holds_rows(X):
            return np.asarray(X, np.float32), labels, given
        found = described(
            X,
            lambda view: self.describe(view)[None],
            [at_random] * self.deliveries,
            seed=self.seed,
        )
        return found.values, labels[found.picture], given[found.picture]


def _holds_rows(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.dtype.kind == "f"


def write_model(path: Path, model: bytes, kind: str, content: dict[str, Any]) -> None:
    """Write a model as `path` (ONNX), and what describes it as JSON beside it.

    Args:
        path: of the ONNX file.
        model: its bytes.
        kind: such as `counterproof.spectral/1`.
        content: what else the description holds, as JSON values.
    """
    head = {"kind": kind, "sha256": hashlib.sha256(model).hexdigest()}
    path.write_bytes(model)
    text = json.dumps({**head, **content}, indent=1)
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def read_model(path: Path, kind: str) -> tuple[bytes, dict[str, Any]]:
    """Read what `write_model` wrote; nothing in it is unpickled.

    Returns:
        The model, and its description.

    Raises:
        UserError: if the files are not of this kind, were altered, or hold no model.
    """
    try:
        model = path.read_bytes()
        content: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if content["kind"] != kind:
            raise ValueError("another kind")
        if content["sha256"] != hashlib.sha256(model).hexdigest():
            raise ValueError("the ONNX file is not the one that the JSON file describes")
        session_of(model, path)
    except (OSError, ValueError, KeyError, TypeError, WeightsError) as err:
        name = kind.removeprefix("counterproof.").partition("/")[0]
        raise UserError(f"{path}: expected a {name} detector: {err}") from err
    return model, content
