"""What the estimators of this wing share: chances from a logit, and a model saved as two files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from counterproof.errors import UserError, WeightsError
from counterproof.weights import session_of

__all__ = ["LogitClassifier", "read_model", "write_model"]


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
