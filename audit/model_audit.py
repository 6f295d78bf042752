"""Does a generative model give its training pictures back? Counted, with intervals.

The headline counts generated pictures that are verified near-copies of a training picture: by
hash in eight flips and turns or by local features on one placement, confirmed over the whole
shared area; or, for small pictures, by a distance far below that to the other training pictures
(Carlini et al., "Extracting Training Data from Diffusion Models", USENIX Security 2023, §4.1 and
§5.1 for the relative distance). The same procedure runs over held-out pictures; Fisher's exact
test compares the two counts.

Two pictures of one thing from one spot are alike by nature. Where held-out pictures are near-copies
too, the counts alone cannot tell two copies from that; but a copy agrees with its work more
closely than such pictures do, which is looked at then.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof import __version__
from counterproof.audit.agreement import agreement, whole_placement
from counterproof.audit.case import display_path
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.duplicates import MIN_DETAIL
from counterproof.audit.local_features import ALGORITHM
from counterproof.audit.model_answers import Answer, clopper_pearson, counted
from counterproof.audit.model_distances import (
    NON_MEMBERS,
    coverage,
    distances,
    membership,
    secondary,
)
from counterproof.audit.model_pictures import VECTOR_SIDE, Pictures, kept_path, read_folder
from counterproof.errors import ImageError, UserError
from counterproof.findings import Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit.copy_search import Match, Query, Searcher, Votes
    from counterproof.audit.model_drawn import Draw

__all__ = ["NON_MEMBERS", "SCHEMA", "Answer", "ModelAudit", "audit_model", "clopper_pearson"]

SCHEMA = "counterproof.model_audit/1"
SMALL_SIDE = 128
RELATIVE = 0.25
"""Largest distance to the nearest training picture, over the mean of the next, at which a small
generated picture may be a near-copy. Of 450 unseen photographs of clothing at 64 pixels, the
nearest to 900 others had 0.41, of 1,381 more two alike 0.28; of 40 copies saved at JPEG 20, the
farthest had 0.18."""
LIKE = 0.9
"""Least agreement of such a picture with the work: pictures of pale things on white floors lie near
each other as well, but agree at 0.85 or less (the nearest pairs of 160 such photographs)."""
SAME = 0.02
"""Root mean square of the differences, of values in [0, 1], at which training pictures are taken
for one that is repeated. Set by judgement."""
WHOLE_BITS = 48
"""Largest distance of hashes at which a picture may be a copy of the whole work. Source of this and
the next two: `benchmarks/model_audit.py` on 2,400 photographs of clothing at 64 pixels. Copies that
were saved at JPEG 20, coloured or mirrored had 42 at most, and agreed at 0.969 or more."""
AGREEMENT = 0.95
"""Least agreement of such a picture with the work laid over it. Of other pictures of the set within
those bits the nearest had 0.93."""
PART_AGREEMENT = 0.99
"""Least agreement of any other picture, which also needs as many details as make a match alone.
Cut copies had 0.993 or more and 11 details; the nearest other pictures, one thing photographed
twice, 0.973, and T-shirts on one blanket 0.981 but 9 details. Among 1,381 others a black T-shirt
photographed twice had 0.984, the lowest of 58 cut copies 0.992."""
CLOSER = 0.5
"""Largest disagreement (1 less the agreement) of a copy, over the least of the held-out pictures,
at which likeness by nature does not explain it. Set by judgement before
`benchmarks/model_audit.py` was run."""
_NEAREST = 50  # of the next training pictures; of a set of fewer than 500, a tenth
_BATCH = 64


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


def audit_model(
    generated: "str | os.PathLike[str] | Draw",
    training: str | os.PathLike[str],
    holdout: str | os.PathLike[str] | None = None,
    *,
    settings: Settings,
    advance: Callable[[str], None] = lambda _path: None,
    drawn: str | os.PathLike[str] | None = None,
    count: int = 1000,
) -> ModelAudit:
    """Audit a model's pictures against those it was trained on.

    What was read of the pictures, and what each was found to show, is kept in
    `settings.home/audits`: an audit that was stopped goes on, and one that is repeated with other
    folders does not read them anew.

    Args:
        generated: folder of the model's output; or a callable that draws: it takes a number of
            pictures and a seed, and returns `uint8` RGB, shape (N, H, W, 3).
        training: folder of its training pictures.
        holdout: folder of pictures like them that the model has not seen.
        settings: where to keep what was read, and limits.
        advance: called with each path when it is read.
        drawn: folder where a callable's pictures are kept; what is there is not drawn again.
        count: how many it draws.

    Raises:
        UserError: if a folder is missing, or holds fewer than two readable pictures, or a
            callable comes without a folder or returns something else, or one folder is named
            for two.
    """
    from counterproof.audit.copy_search import Searcher
    from counterproof.audit.model_drawn import draw_into

    if callable(generated):
        if drawn is None:
            raise UserError("expected drawn=FOLDER, where the model's pictures are to be kept")
        generated = draw_into(generated, drawn, count, advance)
    _check_apart({"generated": generated, "training": training, "holdout": holdout})
    unread: list[str] = []
    members = read_folder(training, "training", settings, advance, unread, searched=False)
    made = read_folder(generated, "generated", settings, advance, unread, searched=True)
    others = None
    if holdout:
        others = read_folder(holdout, "holdout", settings, advance, unread, searched=True)
    with _open_index(training, members.paths, settings) as index:
        searcher = Searcher(index)
        twins = _twins(searcher)
        pairs = _copies(made, members, searcher)
        control = _copies(others, members, searcher) if others else {}
    seen = set(members.digests)
    answers = [_headline(pairs, made, control, others, seen)]
    answers.append(counted("model.training_duplicates", len(twins), len(members)))
    if others:
        answers.append(counted("model.holdout_copies", len(control), len(others)))
    answers.append(membership(made, members, others))
    answers += secondary(made, members, others, found=answers[0].answer == "found")
    relations = sorted(pairs.values(), key=lambda item: -_agrees(item))
    measures = coverage(made.vectors, members.vectors)
    return ModelAudit(tuple(answers), tuple(relations), measures, tuple(unread))


def _check_apart(folders: "dict[str, str | os.PathLike[str] | None]") -> None:
    known: dict[str, str] = {}
    for name, folder in folders.items():
        if folder is None:
            continue
        other = known.setdefault(os.path.realpath(folder), name)
        if other != name:
            raise UserError(
                f"{os.fspath(folder)}: expected {other} and {name} pictures in folders of their "
                "own, got one folder for both"
            )


def _open_index(
    training: str | os.PathLike[str], paths: Sequence[str], settings: Settings
) -> CopyIndex:
    """Open the kept index of a training folder; begin anew if pictures have gone from it."""
    path = kept_path(training, Path(settings.home), "index")
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

    hashes, detail, _ = searcher.index.hashes()
    found: set[int] = set()
    for number, word in enumerate(hashes):
        far = np.bitwise_count(hashes ^ word).sum(axis=1, dtype=np.int64)
        near = (far <= RADIUS_256) & (detail >= MIN_DETAIL)
        near[number] = False
        if near.any() and detail[number] >= MIN_DETAIL:
            found.add(number)
    return found


def _copies(folder: Pictures, members: Pictures, searcher: "Searcher") -> dict[int, Relation]:
    """Return the pictures of a folder that are near-copies of a training picture."""
    nearest, ratio, mirrored = _relative(folder, members)
    given = {display_path(os.path.abspath(path)): display_path(path) for path in members.paths}
    asked = _question(members)
    known = folder.said(asked)
    for start in range(0, len(folder), _BATCH):
        numbers = [n for n in range(start, min(start + _BATCH, len(folder))) if n not in known]
        fresh: dict[int, str] = {}
        queries = folder.queries(numbers)
        for number, query, votes in zip(numbers, queries, searcher.votes(queries), strict=True):
            path = folder.paths[number]
            details = _searched(path, query, votes, searcher)
            if details is None and max(query.size) <= SMALL_SIDE and ratio[number] <= RELATIVE:
                work = members.paths[nearest[number]]
                details = _near(path, work, float(ratio[number]), bool(mirrored[number]))
                details["sha256"] = members.digests[nearest[number]]
                if details["agreement"] < LIKE:
                    details = None
            fresh[number] = json.dumps(details)
        if fresh:
            folder.keep(asked, fresh)
            known |= fresh
    found: dict[int, Relation] = {}
    for number, answer in sorted(known.items()):
        if (details := json.loads(answer)) is not None:
            pair = (folder.digests[number], details.pop("sha256"))
            details["training"] = given.get(details["training"], details["training"])
            details = {"generated": display_path(folder.paths[number]), **details}
            found[number] = Relation("copy", pair, "copy.of", details)
    return found


def _question(members: Pictures) -> str:
    """Name what is asked of a picture: which training pictures, and how."""
    how = (__version__, ALGORITHM, RELATIVE, LIKE, SAME, WHOLE_BITS, AGREEMENT, PART_AGREEMENT)
    total = hashlib.sha256(json.dumps([how, members.paths, members.digests]).encode())
    return total.hexdigest()


def _searched(
    path: str, query: "Query", votes: "Votes", searcher: "Searcher"
) -> dict[str, Any] | None:
    """Return the work that a picture shows, if the two agree over the whole shared area."""
    best: tuple[float, Match] | None = None
    for match in searcher.search(query, most=3, votes=votes):
        agrees = 1.0 if match.by == "bytes" else _agreement(path, match)
        if agrees >= _needed(match) and (best is None or agrees > best[0]):
            best = agrees, match
    if best is None:
        return None
    agrees, match = best
    details = match.to_json() | {"training": match.reference.path, "agreement": round(agrees, 4)}
    details.pop("path")
    return details


def _needed(match: "Match") -> float:
    """Return the least agreement at which a match is a near-copy; above 1 if none suffices."""
    from counterproof.audit.copy_search import INLIERS

    if match.distance_bits <= WHOLE_BITS:
        return AGREEMENT
    return PART_AGREEMENT if match.fit and match.fit.inliers >= INLIERS else 2.0


def _agreement(path: str, match: "Match") -> float:
    try:
        image = ImageFile.open(path)
        work = ImageFile.open(match.reference.location)
        placement = match.placement((image.info.width, image.info.height))
        return agreement(image, work, placement) or 0.0
    except ImageError:  # it was readable before: it has gone meanwhile
        return 0.0


def _near(path: str, work: str, ratio: float, mirrored: bool) -> dict[str, Any]:
    """Describe a small picture that is far nearer to one training picture than to the others."""
    transform = "mirrored" if mirrored else "none"
    try:
        image, other = ImageFile.open(path), ImageFile.open(work)
        sizes = [(item.info.width, item.info.height) for item in (other, image)]
        agrees = agreement(image, other, whole_placement(transform, *sizes)) or 0.0
    except ImageError:
        agrees = 0.0
    return {
        "training": display_path(work),
        "transform": transform,
        "overlap": 1.0,
        "confidence": round(1 - ratio / 2, 4),
        "by": "distance",
        "relative_distance": round(ratio, 4),
        "agreement": round(agrees, 4),
    }


def _agrees(pair: Relation) -> float:
    return float(pair.details["agreement"])


def _relative(
    folder: Pictures, members: Pictures
) -> "tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]":
    """Return the nearest training picture of each, and its distance over that of the next.

    Training pictures that are repeated, byte for byte, count once.
    """
    first: dict[str, int] = {}
    for number, digest in enumerate(members.digests):
        first.setdefault(digest, number)
    distinct = np.fromiter(first.values(), np.int64)
    works = members.vectors[distinct]
    flipped = folder.vectors.reshape(-1, VECTOR_SIDE, VECTOR_SIDE, 3)[:, :, ::-1]
    straight = distances(folder.vectors, works)
    turned = distances(flipped.reshape(len(folder), -1), works)
    mirrored = turned.min(axis=1) < straight.min(axis=1)
    table = np.where(mirrored[:, None], turned, straight)
    nearest = table.argmin(axis=1)
    ratio = np.ones(len(table))
    count = min(_NEAREST, max(1, len(works) // 10))
    reach = SAME * float(works.shape[1]) ** 0.5
    chosen = np.unique(nearest)
    among = distances(works[chosen], works)
    for number, row in enumerate(table):
        # one that is repeated, saved anew, is no stranger to itself
        strangers = row[among[np.searchsorted(chosen, nearest[number])] > reach]
        if len(strangers) > 10:  # among very few training pictures no distance is telling
            rest = np.partition(strangers, count - 1)[:count]
            ratio[number] = row[nearest[number]] / max(float(rest.mean()), 1e-6)
    return distinct[nearest], ratio, mirrored


def _headline(
    pairs: dict[int, Relation],
    made: Pictures,
    control: dict[int, Relation],
    others: Pictures | None,
    seen: set[str],
) -> Answer:
    """Answer the main question: copies, and more or closer ones than among unseen pictures.

    Held-out pictures that are training pictures, byte for byte, are not unseen; they count
    neither way.
    """
    from scipy.stats import fisher_exact

    k, n = len(pairs), len(made)
    if others is None or not k:
        return counted("model.copies", k, n)
    leaked = {number for number, digest in enumerate(others.digests) if digest in seen}
    held = [_agrees(item) for number, item in control.items() if number not in leaked]
    count = len(others) - len(leaked)
    table = [[k, n - k], [len(held), count - len(held)]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    figures: dict[str, Any] = {"holdout_k": len(held), "holdout_n": count, "p": p}
    if leaked:
        figures["holdout_leaked"] = len(leaked)
    if not held or p <= 0.05:
        return counted("model.copies", k, n, **figures)
    allowed = CLOSER * (1 - max(held))
    closer = sum(1 - _agrees(item) <= allowed for item in pairs.values())
    figures |= {"closest_holdout": max(held), "closer": closer}
    word = "found" if closer else "not_resolvable"
    return counted("model.copies", k, n, word, **figures)
