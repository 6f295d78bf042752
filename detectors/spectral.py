"""A detector without a network: one weight for each number of `spectral_features`.

It trains in seconds once the numbers are made, and says what it goes by. `Spectral` is a
scikit-learn classifier over paths or rows of numbers.

A linear model was chosen on held-out sources: boosted and randomised trees on the same numbers
did no better (docs/detectors.md, the spectral detector).
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from counterproof.detectors.estimator import RowClassifier, read_model, write_model
from counterproof.detectors.spectral_features import FAMILIES, NAMES, WIDTH, describe, family
from counterproof.errors import MissingExtra, UserError
from counterproof.weights import session_of

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Reason", "Spectral"]

REACH = 6.0
"""Deviations at which a number is cut, so that one odd number cannot decide alone."""

KIND = "counterproof.spectral/1"


@dataclass(frozen=True, slots=True)
class Reason:
    """What one family of numbers adds to a score.

    Attributes:
        family: see `spectral_features.FAMILIES`.
        words: what the family measures.
        weight: of all pictures, how far the family moves the logit (deviation, 0 or more); of
            one picture, what it adds to the logit: above 0 speaks for *machine-made*.
    """

    family: str
    words: str
    weight: float


class Spectral(RowClassifier):
    """Logistic regression over frequency and noise numbers of a picture.

    Args:
        penalty: strength of the ridge penalty, relative to the mean loss, above 0.
        deliveries: random deliveries of each path in training, at least 1; rows are taken as
            they are.
        seed: of the deliveries.

    Attributes:
        onnx_: the model: input `numbers` `(N, WIDTH)`, outputs `logit` `(N,)` and `parts`
            `(N, WIDTH)`, what each number adds.
        strongest_: families by how far they move the logit of the training pictures.
        classes_: `[False, True]`; True is machine-made.
    """

    def __init__(self, penalty: float = 1e-2, deliveries: int = 2, seed: int = 0) -> None:
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
            UserError: if rows have another width.
        """
        rows, labels, given = self.training_rows(_checked(X), y, sample_weight)
        centre, spread = rows.mean(0), rows.std(0) + 1e-4
        scaled = np.clip((rows - centre) / spread, -REACH, REACH)
        model = LogisticRegression(C=1 / self.penalty / 2, max_iter=200, tol=1e-5)
        with warnings.catch_warnings():
            # The last steps move no held-out score; the limit is part of the recipe.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, labels, sample_weight=given / given.sum())
        self.onnx_ = _as_onnx(centre, spread, model.coef_[0], float(model.intercept_[0]))
        self.strongest_ = _reasons(scaled * model.coef_[0], lambda parts: float(parts.std()))
        self.classes_ = np.array([False, True])
        return self

    def describe(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the numbers of one picture, see `spectral_features.describe`."""
        return describe(pixels)

    def _run(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = self.rows(_checked(X))
        logit, parts = _session(self.onnx_).run(None, {"numbers": rows})
        return np.asarray(logit, np.float64), np.asarray(parts, np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logit of each path or row, shape `(N,)`."""
        return self._run(X)[0]

    def score_pixels(self, pixels: NDArray[np.uint8]) -> float:
        """Return the logit of one picture, `uint8` RGB `(H, W, 3)`."""
        return float(self.decision_function(describe(pixels)[None])[0])

    def explain(self, X: Any) -> list[Reason]:
        """Return what each family adds to the logit of one picture, the strongest first.

        Args:
            X: one path or row, in a list or array of length 1.
        """
        return _reasons(self._run(X)[1][:1], lambda parts: float(parts[0]))

    def save(self, path: Path) -> None:
        """Write the model as `path` (ONNX), and what describes it as JSON beside it."""
        content = {
            "parameters": self.get_params(),
            "numbers": list(NAMES),
            "strongest": [
                {"family": item.family, "words": item.words, "weight": round(item.weight, 4)}
                for item in self.strongest_
            ],
        }
        write_model(path, self.onnx_, KIND, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model that `save` wrote.

        Raises:
            UserError: if the files are not one, were altered, or name other numbers.
        """
        model, content = read_model(path, KIND)
        try:
            if content["numbers"] != list(NAMES):
                raise ValueError("other numbers")
            made = cls(**content["parameters"])
            made.strongest_ = [Reason(**item) for item in content["strongest"]]
        except (ValueError, KeyError, TypeError) as err:
            raise UserError(f"{path}: expected a spectral detector: {err}") from err
        made.onnx_ = model
        made.classes_ = np.array([False, True])
        return made


def scaled(model: bytes, share: float) -> bytes:
    """Return a spectral model whose logit, and what each number adds to it, is `share` of it.

    Args:
        model: `Spectral.onnx_`.
        share: 0 or more.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(model)
    for item in graph.graph.initializer:
        if item.name in ("weight", "bias"):
            value = (numpy_helper.to_array(item) * share).astype(np.float32)
            item.CopyFrom(numpy_helper.from_array(value, item.name))
    return bytes(graph.SerializeToString())


def _checked(X: Any) -> Any:
    """Return `X`, unless it holds rows of another width."""
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and X.shape[1:] != (WIDTH,):
        raise UserError(f"expected rows of {WIDTH} numbers, got an array of shape {X.shape}")
    return X


def _reasons(parts: NDArray[Any], measure: Any) -> list[Reason]:
    """Add up parts by family, shape `(N, WIDTH)`, and sort by how far each moves the logit."""
    own = np.array([family(name) for name in NAMES])
    found = [
        Reason(name, words, measure(parts[:, own == name].sum(1)))
        for name, (words, _) in FAMILIES.items()
    ]
    return sorted(found, key=lambda item: -abs(item.weight))


@lru_cache(maxsize=4)
def _session(model: bytes) -> "onnxruntime.InferenceSession":
    return session_of(model, Path("spectral.onnx"))


def _as_onnx(
    centre: NDArray[Any], spread: NDArray[Any], weight: NDArray[Any], bias: float
) -> bytes:
    """Write the few steps from numbers to a logit as an ONNX model."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as err:
        raise MissingExtra("onnx", "train") from err
    values = {
        "centre": centre,
        "spread": spread,
        "low": np.array(-REACH),
        "high": np.array(REACH),
        "weight": weight,
        "bias": np.array([bias]),
        "axis": np.array([1], np.int64),
    }
    tensors = [
        numpy_helper.from_array(
            value if value.dtype == np.int64 else value.astype(np.float32), name
        )
        for name, value in values.items()
    ]
    nodes = [
        helper.make_node("Sub", ["numbers", "centre"], ["moved"]),
        helper.make_node("Div", ["moved", "spread"], ["wide"]),
        helper.make_node("Clip", ["wide", "low", "high"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "weight"], ["parts"]),
        helper.make_node("ReduceSum", ["parts", "axis"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "spectral",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", WIDTH])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("parts", TensorProto.FLOAT, ["n", WIDTH]),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())
