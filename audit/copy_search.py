"""Find the reference works that a picture shows, whole or in part.

Two ways, joined: the 256-bit hash in its eight flips and turns, compared exactly with every
reference; and local features, whose votes choose a few references that are then laid over the
picture. A match rests on a hash that is very near, or on enough features that agree on one
placement. Pictures without detail match by their bytes only: skies look alike. Last, where the
work's file is at hand, it is laid over the picture and compared over the whole shared area.

Source of the thresholds: part `tune` of `benchmarks/copies.py`, 40 photographs in 19 ways: all
copies and no false placement lie beyond them (docs/benchmarks.md). Its part `report` has others.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.agreement import agreement, whole_placement
from counterproof.audit.copy_index import CopyIndex, Reference
from counterproof.audit.duplicates import MIN_DETAIL
from counterproof.audit.hamming import HammingIndex, has_scale
from counterproof.audit.local_features import (
    MAX_QUERY,
    QUERY_SIDE,
    Features,
    Fit,
    extract,
    fit,
)
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.perceptual import SMALL_SIDE, dct256, detail, square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Voted = tuple[NDArray[np.int64], NDArray[np.float64]]  # places of works, weight of each vote

__all__ = ["AGREEMENT", "HASH_BITS", "INLIERS", "Match", "Query", "Searcher", "read_query"]

HASH_BITS = 40
"""Largest distance of hashes, of 256 bits, at which they alone make a match."""
NEAR_BITS = 88
NEAR_INLIERS = 7
INLIERS = 11
"""Least features on one placement that alone make a match; `NEAR_INLIERS` where the hashes are
within `NEAR_BITS`, or the whole shared area, none of it left out, agrees at `SURE`."""
SURE = 0.9
AGREEMENT = 0.6
"""Least agreement over the shared area, `SPARED` of it left out, of any other match."""
SPARED = 0.25
"""What may be written or drawn over a copy. Where details are few nothing is left out: two cats
before dark walls then agree as well."""

_CANDIDATES = 20
_FEWEST = 4  # features of a picture that make a placement
_BLOCK = 1 << 16
_MANY = 200_000  # references from which sorting their hashes into buckets pays
_TURNS = (
    "none",
    "mirrored",
    "turned_180",
    "mirrored_turned_180",
    "transposed",
    "turned_90",
    "transversed",
    "turned_270",
)


@dataclass(frozen=True, slots=True)
class Match:
    """One reference that a picture shows.

    Attributes:
        reference: the work.
        transform: how the copy was turned: `none`, `mirrored`, `turned_90` (with the clock),
            `turned_180`, `turned_270`, `mirrored_turned_90` …; by quarter turns, else
            `turned_N` with N in degrees.
        overlap: share of the reference's area that the picture shows.
        confidence: in [0, 1], for putting matches in order; not a rate of error.
        by: `bytes`, `hash`, `features`.
        distance_bits: of the hashes, in the flip or turn that fits best.
        fit: the placement, if features found one.
        agrees: how well the whole shared area agrees, 0 to 1, `SPARED` of it left out unless
            details are few; None if it was not compared, since the work's file is not at hand.
    """

    reference: Reference
    transform: str
    overlap: float
    confidence: float
    by: str
    distance_bits: int
    fit: Fit | None = None
    agrees: float | None = None

    def placement(self, picture: tuple[int, int]) -> "NDArray[np.float64]":
        """Return how the work lies in a picture of that width and height.

        Returns:
            2 × 3, from pixels of the work to pixels of the picture.
        """
        if self.fit is not None:
            return self.fit.matrix
        return whole_placement(self.transform, self.reference.size, picture)

    def to_json(self) -> dict[str, Any]:
        """Return the match as JSON values."""
        value: dict[str, Any] = {
            "path": self.reference.path,
            "transform": self.transform,
            "overlap": round(self.overlap, 4),
            "confidence": round(self.confidence, 4),
            "by": self.by,
            "sha256": self.reference.sha256,
            "distance_bits": self.distance_bits,
        }
        if self.agrees is not None:
            value["agreement"] = round(self.agrees, 4)
        if self.fit:
            value |= {
                "inliers": self.fit.inliers,
                "scale": round(self.fit.scale, 4),
                "region": list(self.fit.region),
                "source_region": list(self.fit.source),
            }
        return value


@dataclass(frozen=True, slots=True)
class Query:
    """What is compared of one picture.

    Attributes:
        sha256: of the file.
        size: width and height of the upright picture in pixels.
        hashes: in the eight flips and turns, `uint64`, shape (8, 4).
        detail: as `perceptual.detail`.
        features: local features, with those of the mirrored picture.
    """

    sha256: str
    size: tuple[int, int]
    hashes: "Words"
    detail: float
    features: Features


@dataclass(frozen=True, slots=True)
class Votes:
    """For which works the features of a picture vote, and those of the mirrored picture."""

    straight: "Voted"
    mirrored: "Voted"


def read_query(image: ImageFile) -> Query:
    """Read what is compared of a picture.

    Raises:
        ImageError: if it cannot be decoded.
    """
    grey = square(image.luminance(SMALL_SIDE))
    features = extract(image.luminance(QUERY_SIDE), MAX_QUERY, query=True)
    info = image.info
    return Query(image.sha256, (info.width, info.height), _eight(grey), detail(grey), features)


def _eight(grey: "NDArray[np.float64]") -> "Words":
    """Hash the picture as the reference would have lain, for each of `_TURNS`."""
    views = []
    for view in (grey, grey.T):
        views += [view, view[:, ::-1], view[::-1, ::-1], view[::-1]]
    # what undoes a turn by 90 degrees is a turn by 270
    order = (0, 1, 2, 3, 4, 7, 6, 5)
    data = b"".join(bytes.fromhex(dct256(np.ascontiguousarray(views[i]))) for i in order)
    return np.frombuffer(data, dtype=np.uint64).reshape(8, 4)


class Searcher:
    """An index ready to be searched: 48 bytes a reference in memory, features stay in the file."""

    def __init__(self, index: CopyIndex) -> None:
        """Read the hashes; sort the features of what was added since the last search."""
        self.index = index
        index.sort()
        hashes, self._detail, self._numbers = index.hashes()
        self._hamming: HammingIndex | None = None
        self._hashes: list[NDArray[np.uint64]] = []
        if len(hashes) > _MANY and has_scale():
            self._hamming = HammingIndex(hashes)
        else:
            self._hashes = [np.ascontiguousarray(hashes[:, i]) for i in range(4)]

    # -- searching ----------------------------------------------------------------------

    def search(
        self,
        query: Query,
        image: ImageFile | None = None,
        *,
        excluding: str = "",
        most: int = 20,
        votes: "Votes | None" = None,
    ) -> list[Match]:
        """Return the references that a picture shows, surest first.

        Args:
            query: what `read_query` read.
            image: the picture, to compare its whole area with the works; without it that is
                left out.
            excluding: a path, as the system names it, that is not compared: a reference that
                is searched for among its own index.
            most: matches returned.
            votes: what `votes` returned for the query; without it, it is asked.
        """
        if not len(self._numbers):
            return []
        distances, turns = self._distances(query.hashes)
        found: dict[int, Match] = {}
        for number in self.index.numbered(query.sha256):
            item = self.index.reference(number)
            place = int(np.searchsorted(self._numbers, number))
            found[place] = Match(item, "none", 1.0, 1.0, "bytes", 0)
        flat = query.detail < MIN_DETAIL
        if not flat:
            near = np.flatnonzero((distances <= HASH_BITS) & (self._detail >= MIN_DETAIL))
            for place in near.tolist():
                if place not in found:
                    bits = int(distances[place])
                    sure = 1 - bits / (4.0 * HASH_BITS)
                    name = _TURNS[turns[place]]
                    found[place] = Match(self._reference(place), name, 1.0, sure, "hash", bits)
        votes = votes or self.votes([query])[0]
        for place, mirrored in self._candidates(votes, distances, turns, flat):
            bits, weak = int(distances[place]), image is not None
            match = self._verify(query, place, mirrored, bits, flat=flat, weak=weak)
            if match and place not in found:
                found[place] = match
            elif match and _better(match, known := found[place]):
                # found both ways: no less sure than either says, else twins by hash crowd it out
                sure = max(match.confidence, known.confidence)
                found[place] = replace(match, confidence=sure)
        kept = [
            item for item in found.values() if not excluding or item.reference.location != excluding
        ]
        kept.sort(key=lambda item: (-item.confidence, item.reference.number))
        if image is not None:
            kept = [same for item in kept[:most] if (same := _compared(item, image, flat))]
        return kept[:most]

    def votes(self, queries: Sequence[Query]) -> "list[Votes]":
        """Let the features of pictures vote for works.

        The lists of features are read once for all: among a million works sixty pictures cost
        little more reading than ten.
        """
        tables = [t for query in queries for t in (query.features.words, query.features.mirrored)]
        tables = [table if len(table) >= _FEWEST else table[:0] for table in tables]
        if not tables or not len(self._numbers):
            none = np.zeros(0, np.int64), np.zeros(0)
            return [Votes(none, none)] * len(queries)
        rows, numbers, weight = self.index.vote(np.concatenate(tables))
        places = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        there = self._numbers[places] == numbers  # the others have gone since they were sorted
        places, weight = places[there], weight[there]
        ends = np.searchsorted(rows[there], np.cumsum([len(table) for table in tables])).tolist()
        voted = [(places[a:b], weight[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return [Votes(*pair) for pair in zip(voted[::2], voted[1::2], strict=True)]

    def _reference(self, place: int) -> Reference:
        return self.index.reference(int(self._numbers[place]))

    def _distances(self, hashes: "Words") -> "tuple[NDArray[np.int16], NDArray[np.int8]]":
        """Compare with every reference; return the least of eight distances, and which it is.

        Exact; columns of 64 bits in blocks that stay in the cache. Among very many references,
        with the extra `scale`, a distance beyond `HASH_BITS` is given as 257.
        """
        count = len(self._numbers)
        least = np.full(count, 257, dtype=np.int16)
        which = np.zeros(count, dtype=np.int8)
        if self._hamming is not None:
            for number, word in enumerate(hashes):
                places, bits = self._hamming.within(word, HASH_BITS)
                closer = bits < least[places]
                least[places[closer]] = bits[closer]
                which[places[closer]] = number
            return least, which
        for start in range(0, count, _BLOCK):
            part = slice(start, start + _BLOCK)
            for number, words in enumerate(hashes):
                total = np.bitwise_count(self._hashes[0][part] ^ words[0]).astype(np.int16)
                for i in range(1, 4):
                    total += np.bitwise_count(self._hashes[i][part] ^ words[i])
                closer = total < least[part]
                least[part][closer] = total[closer]
                which[part][closer] = number
        return least, which

    def _candidates(
        self, votes: "Votes", distances: "NDArray[Any]", turns: "NDArray[Any]", flat: bool
    ) -> Iterator[tuple[int, bool]]:
        """Yield references worth laying over the picture, and whether mirrored."""
        seen = set()
        for mirrored, (places, weight) in enumerate((votes.straight, votes.mirrored)):
            total = np.bincount(places, weight, minlength=len(distances))
            count = min(_CANDIDATES, len(total))
            top = np.argpartition(-total, count - 1)[:count]
            for place in top[total[top] > 0].tolist():
                seen.add((place, bool(mirrored)))
                yield place, bool(mirrored)
        if not flat:
            count = min(8, len(distances))
            close = np.argpartition(distances, count - 1)[:count]
            for place in close[distances[close] <= NEAR_BITS].tolist():
                mirrored = _TURNS[turns[place]] in (
                    "mirrored",
                    "mirrored_turned_180",
                    "transposed",
                    "transversed",
                )
                if (place, mirrored) not in seen:
                    yield place, mirrored

    def _verify(
        self, query: Query, place: int, mirrored: bool, bits: int, *, flat: bool, weak: bool
    ) -> Match | None:
        """Lay a reference over the picture; `weak` if its whole area is compared later."""
        item = self._reference(place)
        reference = Features.unpack(self.index.features(item.number))
        found = fit(query.features, reference, query.size, item.size, mirrored=mirrored)
        if found is None:
            return None
        near = not flat and bits <= NEAR_BITS
        fewest = NEAR_INLIERS if near or weak else INLIERS
        if found.inliers < fewest:
            return None
        sure = 1 - 0.5 * float(np.exp(-(found.inliers - 4) / 9.0))
        return Match(item, _name(found), found.kept, sure, "features", bits, found)


def _compared(match: Match, image: ImageFile, flat: bool) -> Match | None:
    """Compare the whole shared area with the work's file; None if that leaves no match."""
    if match.by == "bytes":
        return match
    near = not flat and match.distance_bits <= NEAR_BITS
    alone = match.fit is None or near or match.fit.inliers >= INLIERS
    agrees = None
    with contextlib.suppress(ImageError):  # else the work is no longer at hand
        work = ImageFile.open(match.reference.location, limits=image.limits)
        if work.sha256 == match.reference.sha256:
            placement = match.placement((image.info.width, image.info.height))
            agrees = agreement(image, work, placement, spared=SPARED if alone else 0.0)
    if agrees is None:
        return match if alone else None
    return replace(match, agrees=agrees) if agrees >= (AGREEMENT if alone else SURE) else None


def _better(one: Match, other: Match) -> bool:
    if other.by == "bytes":
        return False
    return one.confidence > other.confidence or other.fit is None


def _name(found: Fit) -> str:
    """Name the turn that a placement contains, by quarter turns where it is one."""
    angle = round(found.angle_deg) % 360
    quarter = min((0, 90, 180, 270, 360), key=lambda value: abs(value - angle))
    if abs(quarter - angle) <= 3:
        angle = quarter % 360
    parts = ["mirrored"] if found.mirrored else []
    parts += [f"turned_{angle}"] if angle else []
    name = "_".join(parts) or "none"
    return {"mirrored_turned_90": "transversed", "mirrored_turned_270": "transposed"}.get(
        name, name
    )
