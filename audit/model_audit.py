"""Does a generative model give its training pictures back? Counted, with intervals.

The headline counts generated pictures that are verified near-copies of a training picture: by
hash in eight flips and turns, by local features on one placement, or, for small pictures, by a
distance far below that to the other training pictures (Carlini et al., "Extracting Training
Data from Diffusion Models", USENIX Security 2023, §4.1 and §5.1 for the relative distance).
The same procedure runs over held-out pictures; Fisher's exact test compares the two counts.

Averages over many pictures miss a few copies, and outputs that are merely blurred lie nearer to
everything: the distances reported beside the count say *found* only where the count does.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.case import display_path
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.duplicates import MIN_DETAIL
from counterproof.audit.sources import expand
from counterproof.errors import ImageError, UserError
from counterproof.findings import Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit.copy_search import Match, Query, Searcher

    Vectors = NDArray[np.float32]
    Distances = NDArray[np.float64]

__all__ = ["SCHEMA", "Answer", "ModelAudit", "audit_model", "clopper_pearson"]

SCHEMA = "counterproof.model_audit/1"
NON_MEMBERS = 2_995
"""Fewest non-members at which a false positive rate of 0.1 % can be told from none: with 0 of
2,995 the upper 95 % bound is 0.1 % (rule of three)."""
SMALL_SIDE = 128
RELATIVE = 0.4
"""Largest distance to the nearest training picture, over the mean of the 50 next, at which a
small generated picture is a near-copy. Set by judgement; no benchmark has chosen it yet."""
AGREEMENT = 0.8
"""Least correlation of a picture with the work laid over it. Set by judgement; in
`benchmarks/model_audit.py` all planted copies passed it."""
_AGREE_SIDE = 128
_NEAREST = 50
_VECTOR_SIDE = 16
_ROUNDS = 999
_ALPHA = 0.01


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


@dataclass(frozen=True, slots=True)
class ModelAudit:
    """All that was asked of one model.

    Attributes:
        answers: the headline first.
        relations: verified pairs, surest first: `members` are (generated, training) sha256.
        measures: precision, recall and coverage in the space of small pictures.
        unread: pictures that could not be read, with the cause.
    """

    answers: tuple[Answer, ...]
    relations: tuple[Relation, ...]
    measures: dict[str, float]
    unread: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the audit as JSON values."""
        return {
            "schema": SCHEMA,
            "answers": [item.to_json() for item in self.answers],
            "relations": [item.to_json() for item in self.relations],
            "measures": self.measures,
            "unread": list(self.unread),
        }


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


@dataclass(slots=True)
class _Folder:
    """The readable pictures of one folder."""

    paths: list[str]
    queries: "list[Query]"
    vectors: "Vectors"


def audit_model(
    generated: str | os.PathLike[str],
    training: str | os.PathLike[str],
    holdout: str | os.PathLike[str] | None = None,
    *,
    settings: Settings,
    advance: Callable[[str], None] = lambda _path: None,
) -> ModelAudit:
    """Audit a folder of generated pictures against the pictures the model was trained on.

    The index of the training pictures is kept in `settings.home/audits`, so that an audit that
    was stopped, or is repeated with other pictures, does not read them anew.

    Args:
        generated: folder of the model's output.
        training: folder of its training pictures.
        holdout: folder of pictures like them that the model has not seen.
        settings: where to keep the index, and limits.
        advance: called with each path when it is read.

    Raises:
        UserError: if a folder is missing, or holds fewer than two readable pictures.
    """
    from counterproof.audit.copy_search import Searcher

    unread: list[str] = []
    members = _read(training, "training", settings, advance, unread)
    made = _read(generated, "generated", settings, advance, unread)
    others = _read(holdout, "holdout", settings, advance, unread) if holdout else None
    with _open_index(os.fspath(training), members.paths, settings) as index:
        searcher = Searcher(index)
        place = {item.location: n for n, item in enumerate(searcher.references)}
        twins = _twins(searcher)
        pairs = _copies(made, members, searcher, place)
        control = _copies(others, members, searcher, place) if others else {}
    answers = [_headline(len(pairs), made, control, others)]
    duplicates = _answer("model.training_duplicates", len(twins), len(members.paths))
    answers.append(duplicates)
    if others:
        answers.append(_answer("model.holdout_copies", len(control), len(others.paths)))
    answers.append(_membership(made, members, others))
    answers += _secondary(made, members, others, found=answers[0].answer == "found")
    relations = sorted(pairs.values(), key=lambda item: -float(item.details["confidence"]))
    measures = _coverage(made.vectors, members.vectors)
    return ModelAudit(tuple(answers), tuple(relations), measures, tuple(unread))


def _read(
    folder: str | os.PathLike[str],
    name: str,
    settings: Settings,
    advance: Callable[[str], None],
    unread: list[str],
) -> _Folder:
    from counterproof.audit.copy_search import read_query

    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: expected a folder of {name} pictures, found no such folder")
    paths, queries, vectors = [], [], []
    for ref in expand([folder]):
        try:
            image = ImageFile.open(ref.path, limits=settings.limits)
            query, vector = read_query(image), _vector(image)
        except ImageError as err:
            unread.append(str(err))
            continue
        finally:
            advance(ref.path)
        paths.append(ref.path)
        queries.append(query)
        vectors.append(vector)
    if len(paths) < 2:
        raise UserError(
            f"{folder}: expected two or more readable {name} pictures, found {len(paths)}"
        )
    return _Folder(paths, queries, np.array(vectors, dtype=np.float32))


def _vector(image: ImageFile) -> "Vectors":
    """Return the picture at 16 × 16 RGB in [0, 1], flat: pictures of any size compare."""
    import cv2

    small = cv2.resize(
        np.asarray(image.pixels(max_side=64)),
        (_VECTOR_SIDE, _VECTOR_SIDE),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(small, dtype=np.float32).ravel() / np.float32(255)


def _open_index(training: str, paths: Sequence[str], settings: Settings) -> CopyIndex:
    """Open the kept index of a training folder; begin anew if pictures have gone from it."""
    place = os.path.abspath(training)
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    path = Path(settings.home) / "audits" / f"{name}.index"
    wanted = {os.path.abspath(item) for item in paths}
    for _ in range(2):
        index = CopyIndex.open(path, create=True)
        index.add(paths, settings)
        if {item.location for item in index.references()} == wanted:
            break
        index.close()
        path.unlink()
    return index


def _twins(searcher: "Searcher") -> set[int]:
    """Return the training pictures whose hash is near that of another one."""
    from counterproof.audit.duplicates import RADIUS_256

    hashes, detail = searcher.index.hashes()
    found: set[int] = set()
    for number, word in enumerate(hashes):
        far = np.bitwise_count(hashes ^ word).sum(axis=1, dtype=np.int64)
        near = (far <= RADIUS_256) & (detail >= MIN_DETAIL)
        near[number] = False
        if near.any() and detail[number] >= MIN_DETAIL:
            found.add(number)
    return found


def _copies(
    folder: _Folder, members: _Folder, searcher: "Searcher", place: dict[str, int]
) -> dict[int, Relation]:
    """Return the pictures of a folder that are near-copies of a training picture."""
    nearest, ratio, mirrored = _relative(folder.vectors, members.vectors)
    found: dict[int, Relation] = {}
    for number, query in enumerate(folder.queries):
        details: dict[str, Any] = {"generated": display_path(folder.paths[number])}
        near = (
            match
            for match in searcher.search(query, most=3)
            if match.by == "bytes" or _agreement(folder.paths[number], match) >= AGREEMENT
        )
        best = next(near, None)
        if best:
            details |= best.to_json() | {"training": best.reference.path}
            details.pop("path")
            sha256 = best.reference.sha256
        elif max(query.size) <= SMALL_SIDE and ratio[number] <= RELATIVE:
            path = members.paths[nearest[number]]
            details |= {
                "training": display_path(path),
                "transform": "mirrored" if mirrored[number] else "none",
                "overlap": 1.0,
                "confidence": round(float(1 - ratio[number] / 2), 4),
                "by": "distance",
                "relative_distance": round(float(ratio[number]), 4),
            }
            sha256 = members.queries[nearest[number]].sha256
        else:
            continue
        found[number] = Relation("copy", (query.sha256, sha256), "copy.of", details)
    return found


def _agreement(path: str, match: "Match") -> float:
    """Return the correlation of a picture with the work laid over it, where both are.

    Pictures that were taken before one background share details in the same places without
    one being a copy of the other; over their whole area they do not agree.
    """
    import cv2

    try:
        one = np.asarray(ImageFile.open(path).luminance(_AGREE_SIDE))
        other = np.asarray(ImageFile.open(match.reference.location).luminance(_AGREE_SIDE))
    except ImageError:  # it was readable before: it has gone meanwhile
        return 0.0
    if match.fit:
        size = ImageFile.open(path).info
        to_one = np.diag([one.shape[1] / size.width, one.shape[0] / size.height])
        width, height = match.reference.size
        back = np.diag([width / other.shape[1], height / other.shape[0], 1.0])
        matrix = to_one @ match.fit.matrix @ back
        frame = (one.shape[1], one.shape[0])
        laid = [cv2.warpAffine(other, matrix, frame)]
        inside = cv2.warpAffine(np.full(other.shape, 255, np.uint8), matrix, frame) == 255
    else:
        square = (_VECTOR_SIDE * 2, _VECTOR_SIDE * 2)
        one = np.asarray(cv2.resize(one, square, interpolation=cv2.INTER_AREA))
        whole = np.asarray(cv2.resize(other, square, interpolation=cv2.INTER_AREA))
        laid = [v for w in (whole, whole.T) for v in (w, w[::-1], w[:, ::-1], w[::-1, ::-1])]
        inside = np.ones(one.shape, dtype=bool)
    if inside.sum() < 64:
        return 0.0
    return max(_correlation(one[inside], np.asarray(item)[inside]) for item in laid)


def _correlation(one: "NDArray[np.uint8]", other: "NDArray[np.uint8]") -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def _relative(
    vectors: "Vectors", training: "Vectors"
) -> "tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]":
    """Return the nearest training picture of each, and its distance over that of the next 50."""
    flipped = vectors.reshape(-1, _VECTOR_SIDE, _VECTOR_SIDE, 3)[:, :, ::-1]
    straight = _distances(vectors, training)
    turned = _distances(flipped.reshape(len(vectors), -1), training)
    mirrored = turned.min(axis=1) < straight.min(axis=1)
    table = np.where(mirrored[:, None], turned, straight)
    nearest = table.argmin(axis=1)
    count = min(_NEAREST + 1, table.shape[1])
    ranked = np.sort(np.partition(table, count - 1, axis=1)[:, :count], axis=1)
    # a duplicate in the training set is no stranger: the second nearest is left out as well
    rest = ranked[:, 2:] if count > 3 else ranked[:, 1:]
    ratio = ranked[:, 0] / np.maximum(rest.mean(axis=1), 1e-6)
    # among very few training pictures no distance is telling
    return nearest, ratio if count > 10 else np.ones(len(ratio)), mirrored


def _distances(one: "Vectors", other: "Vectors") -> "NDArray[np.float64]":
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * (one @ other.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float64)


def _answer(code: str, k: int, n: int, **details: Any) -> Answer:
    return Answer(code, "found" if k else "clear", k, n, *clopper_pearson(k, n), details)


def _headline(
    k: int, made: _Folder, control: dict[int, Relation], others: _Folder | None
) -> Answer:
    """Answer the main question: copies, and more of them than among unseen pictures."""
    from scipy.stats import fisher_exact

    n = len(made.paths)
    if not others or not k:
        return _answer("model.copies", k, n)
    held, count = len(control), len(others.paths)
    p = float(fisher_exact([[k, n - k], [held, count - held]], alternative="greater").pvalue)
    answer = "found" if not held or p <= 0.05 else "not_resolvable"
    figures = {"holdout_k": held, "holdout_n": count, "p": p}
    return Answer("model.copies", answer, k, n, *clopper_pearson(k, n), figures)


def _membership(made: _Folder, members: _Folder, others: _Folder | None) -> Answer:
    """Tell members from non-members by how near the output comes to them.

    Source: a distance-based attack without shadow models (Chen et al., "GAN-Leaks", CCS 2020,
    §5.2), reported at low false positive rates (Carlini et al., IEEE S&P 2022).
    """
    n = len(members.paths)
    unseen = len(others.paths) if others else 0
    if others is None or unseen < NON_MEMBERS:
        reason: dict[str, Any] = {"non_members": unseen, "needed": NON_MEMBERS}
        return Answer("model.membership", "not_resolvable", 0, n, 0.0, 1.0, reason)
    inside = _distances(members.vectors, made.vectors).min(axis=1)
    outside = np.sort(_distances(others.vectors, made.vectors).min(axis=1))
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


def _secondary(
    made: _Folder, members: _Folder, others: _Folder | None, *, found: bool
) -> list[Answer]:
    """Compare distances of output and holdout to the training set, against a resampled null.

    `model.data_copying`: how many outputs lie nearer than the middle of the holdout, by the
    statistic of Mann and Whitney (Meehan, Chaudhuri, Dasgupta, "A Non-Parametric Test to Detect
    Data-Copying in Generative Models", AISTATS 2020, in one cell). `model.tail_distance`: the 5th
    percentile of nearest over second nearest distance.
    """
    n = len(made.paths)
    codes = ("model.data_copying", "model.tail_distance")
    if others is None:
        reason: dict[str, Any] = {"reason": "no holdout"}
        return [Answer(c, "not_resolvable", 0, n, 0.0, 1.0, reason) for c in codes]
    first, second = _two_nearest(made, members), _two_nearest(others, members)
    one, other = first[:, 0], second[:, 0]
    answers = [
        _compared(codes[0], one, other, _middle_rank, float(np.median(other)), found),
    ]
    one, other = (item[:, 0] / np.maximum(item[:, 1], 1e-9) for item in (first, second))
    limit = float(np.percentile(other, 5))
    answers.append(_compared(codes[1], one, other, _low_tail, limit, found))
    return answers


def _two_nearest(folder: _Folder, members: _Folder) -> "Distances":
    """Return the distances to the two nearest training pictures, rising."""
    table = _distances(folder.vectors, members.vectors)
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
    figures: dict[str, Any] = {"statistic": seen, "p": p, "never_alone": True}
    return Answer(code, word, k, n, *clopper_pearson(k, n), figures)


def _middle_rank(one: "Distances", other: "Distances") -> float:
    """Mean rank of the first among both: low where the first lies nearer."""
    ranks = np.concatenate([one, other]).argsort().argsort()
    return float(ranks[: len(one)].mean())


def _low_tail(one: "Distances", other: "Distances") -> float:
    return float(np.percentile(one, 5) - np.percentile(other, 5))


def _coverage(made: "Vectors", training: "Vectors") -> dict[str, float]:
    """Return precision, recall and coverage with five neighbours.

    Source: Kynkäänniemi et al., NeurIPS 2019; Naeem et al., ICML 2020 (coverage).
    """
    k = min(5, len(training) - 1, len(made) - 1)
    among, output = _distances(training, training), _distances(made, made)
    reach, own = np.partition(among, k, axis=1)[:, k], np.partition(output, k, axis=1)[:, k]
    across = _distances(made, training)
    return {
        "precision": float((across <= reach[None]).any(axis=1).mean()),
        "recall": float((across <= own[:, None]).any(axis=0).mean()),
        "coverage": float((across <= reach[None]).any(axis=0).mean()),
    }
