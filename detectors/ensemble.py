"""Several detectors joined: one weight each, fitted on sources that they were not trained on.

`Ensemble` is a scikit-learn classifier over paths. Its members are any of the wing's
estimators. Weights fitted on a member's own training pictures would trust the one that
overfits most; so each member scores whole sources that it never saw, and a logistic
regression weighs those scores. Source: Wolpert, Stacked generalization, 1992.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression

from counterproof.detectors.samples import Sample, balance, folds
from counterproof.errors import UserError

__all__ = ["Ensemble", "stack"]

KIND = "counterproof.ensemble/1"


def stack(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], given: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weigh the held-out logits of several members.

    Args:
        scores: one column a member, shape `(N, M)`; no nan.
        labels: whether machine-made, shape `(N,)`.
        given: weight of each picture, shape `(N,)`.

    Returns:
        Weights, shape `(M,)`, 0 or more, and the bias. A member whose weight would be below 0
        gets 0: it would be trusted against what it says.
    """
    spread = scores.std(0) + 1e-9
    used = np.ones(scores.shape[1], bool)
    weights = np.zeros(scores.shape[1])
    while True:
        columns = scores[:, used] / spread[used]
        model = LogisticRegression(C=1e3, max_iter=1000)
        model.fit(columns, labels, sample_weight=given / given.mean())
        found = model.coef_[0]
        if (found >= 0).all() or used.sum() == 1:
            weights[used] = np.maximum(found, 0) / spread[used]
            return weights, float(model.intercept_[0])
        used[np.flatnonzero(used)[int(np.argmin(found))]] = False


class Ensemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A weighted sum of members' logits.

    Args:
        members: name → estimator with `decision_function`, `save` and `load`.
        folds: groups of whole sources held out in turn to fit the weights, at least 2.
        seed: of the folds.

    Attributes:
        members_: the members, each trained on everything.
        weight_: of each member's logit, shape `(M,)`, in the order of `members`.
        bias_: added to the sum.
        classes_: `[False, True]`; True is machine-made.
    """

    def __init__(self, members: Mapping[str, Any], folds: int = 5, seed: int = 0) -> None:
        self.members = members
        self.folds = folds
        self.seed = seed

    def fit(self, X: Sequence[Path], y: Any, sources: Sequence[str] | None = None) -> Self:
        """Train the members `folds` + 1 times, and the weights once.

        Args:
            X: paths of pictures.
            y: whether each is machine-made.
            sources: the collection of each picture; by default the name of its folder.

        Raises:
            UserError: if a class has fewer sources than folds.
        """
        names = sources if sources is not None else [Path(path).parent.name for path in X]
        samples = [
            Sample(Path(path), bool(label), name)
            for path, label, name in zip(X, y, names, strict=True)
        ]
        fold = folds(samples, self.folds, self.seed)
        labels = np.asarray(y, bool)
        scores = np.full((len(samples), len(self.members)), np.nan)
        for turn in range(self.folds):
            kept = np.flatnonzero(fold != turn).tolist()
            held = np.flatnonzero(fold == turn).tolist()
            for number, member in enumerate(self.members.values()):
                made = _fitted(member, samples, kept)
                scores[held, number] = made.decision_function([X[i] for i in held])
        self.weight_, self.bias_ = stack(scores, labels, balance(samples))
        everything = list(range(len(samples)))
        self.members_ = {
            name: _fitted(member, samples, everything) for name, member in self.members.items()
        }
        self.classes_ = np.array([False, True])
        return self

    def decision_function(self, X: Sequence[Path]) -> NDArray[np.float64]:
        """Return the weighted sum of the members' logits, shape `(N,)`."""
        columns = [member.decision_function(X) for member in self.members_.values()]
        return np.asarray(np.stack(columns, 1) @ self.weight_ + self.bias_)

    def predict_proba(self, X: Sequence[Path]) -> NDArray[np.float64]:
        """Return chances of both classes as fitted on held-out sources, shape `(N, 2)`."""
        chance = 1 / (1 + np.exp(-self.decision_function(X)))
        return np.column_stack([1 - chance, chance])

    def predict(self, X: Sequence[Path]) -> NDArray[np.bool_]:
        """Return whether each sum is above 0."""
        return np.asarray(self.decision_function(X) > 0)

    def save(self, folder: Path) -> None:
        """Write `ensemble.json`, and each member under its name, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, member in self.members_.items():
            member.save(folder / f"{name}{_suffix(member)}")
        content = {
            "kind": KIND,
            "folds": self.folds,
            "seed": self.seed,
            "members": {
                name: {"kind": type(member).__name__, "weight": float(weight)}
                for (name, member), weight in zip(self.members_.items(), self.weight_, strict=True)
            },
            "bias": self.bias_,
        }
        (folder / "ensemble.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: if the folder holds no ensemble, or a member is missing or altered.
        """
        file = folder / "ensemble.json"
        kinds = _kinds()
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["kind"] != KIND:
                raise ValueError("another kind")
            members = {}
            for name, item in content["members"].items():
                kind = kinds[item["kind"]]
                members[name] = kind.load(folder / f"{name}{_suffix(kind)}")
            made = cls(members, content["folds"], content["seed"])
            made.weight_ = np.array([item["weight"] for item in content["members"].values()], float)
            made.bias_ = float(content["bias"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise UserError(f"{file}: expected an ensemble of detectors: {err!r}") from err
        made.members_ = members
        made.classes_ = np.array([False, True])
        return made


def _fitted(member: Any, samples: Sequence[Sample], chosen: Sequence[int]) -> Any:
    own = [samples[i] for i in chosen]
    made = clone(member)
    made.fit(
        [sample.path for sample in own],
        [sample.machine_made for sample in own],
        sample_weight=balance(own),
    )
    return made


def _kinds() -> dict[str, Any]:
    from counterproof.detectors.backbone import Backbone
    from counterproof.detectors.head import Head
    from counterproof.detectors.residual import Residual
    from counterproof.detectors.spectral import Spectral

    return {"Backbone": Backbone, "Head": Head, "Residual": Residual, "Spectral": Spectral}


def _suffix(member: Any) -> str:
    """Return how a member's main file ends: a head is numbers, the others are networks."""
    from counterproof.detectors.head import Head

    kind = member if isinstance(member, type) else type(member)
    return ".npz" if issubclass(kind, Head) else ".onnx"
