"""Find the reference works that a picture shows, whole or in part.

Two ways, joined: the 256-bit hash in its eight flips and turns, compared exactly with every
reference; and local features, whose votes choose a few references that are then laid over the
picture. A match rests on a hash that is very near, or on enough features that agree on one
placement. Pictures without detail match by their bytes only: skies look alike. Last, where the
work's file is at hand, it is laid over the picture and compared over the whole shared area.

Source of the thresholds: set by judgement before `benchmarks/copies.py` was run, which reports on
them; nothing was moved after it. `AGREEMENT` was chosen on its part `tune`.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.agreement import agreement, whole_placement
from counterproof.audit.copy_index import CopyIndex, Reference
from counterproof.audit.duplicates import MIN_DETAIL
from counterproof.audit.hamming import HammingIndex, has_scale
from counterproof.audit.local_features import (
    DIMENSIONS,
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

__all__ = ["AGREEMENT", "HASH_BITS", "INLIERS", "Match", "Query", "Searcher", "read_query"]

HASH_BITS = 40
"""Largest distance of hashes, of 256 bits, at which they alone make a match."""
NEAR_BITS = 88
NEAR_INLIERS = 7
INLIERS = 11
"""Least features on one placement that alone make a match; `NEAR_INLIERS` where the hashes are
within `NEAR_BITS`, or the whole shared area agrees at `SURE`."""
SURE = 0.9
AGREEMENT = 0.6
"""Least agreement over the shared area, `SPARED` of it left out, of any match."""
SPARED = 0.25

_CANDIDATES = 20
_NEIGHBOURS = 3  # references that one feature votes for
_PROBES = 6
_PER_CELL = 400
_TRAIN = 40_000
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
        agrees: how well the whole shared area agrees, 0 to 1, `SPARED` of it left out; None if
            it was not compared, since the work's file is not at hand.
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


@dataclass(slots=True)
class Searcher:
    """An index in memory, ready to be searched: 10 KB a reference.

    Attributes:
        index: the open index.
        references: its works.
    """

    index: CopyIndex
    references: list[Reference] = field(default_factory=list)
    _hashes: "list[NDArray[np.uint64]]" = field(default_factory=list)
    _hamming: HammingIndex | None = None
    _detail: Any = None
    _packed: list[bytes] = field(default_factory=list)
    _centres: Any = None
    _starts: Any = None
    _words: Any = None
    _owners: Any = None
    _by_sha: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.references = self.index.references()
        hashes, self._detail = self.index.hashes()
        if len(hashes) > _MANY and has_scale():
            self._hamming = HammingIndex(hashes)
        else:
            self._hashes = [np.ascontiguousarray(hashes[:, i]) for i in range(4)]
        self._packed = list(self.index.features())
        for place, item in enumerate(self.references):
            self._by_sha.setdefault(item.sha256, []).append(place)
        self._sort_features()

    def _sort_features(self) -> None:
        """Put the features of all references into cells around k-means centres."""
        size = 4 + DIMENSIONS
        counts = [len(data) // size for data in self._packed]
        table = np.frombuffer(b"".join(self._packed), dtype=np.uint8).reshape(-1, size)
        words = table[:, 4:].view(np.int8)
        owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        kept = self.index.cells()
        if kept is not None:
            with np.load(io.BytesIO(kept), allow_pickle=False) as stored:
                self._centres, cells = stored["centres"], stored["cells"]
        if kept is None or len(cells) != len(words):
            self._centres, cells = _cluster(words)
            out = io.BytesIO()
            np.savez(out, centres=self._centres, cells=cells)
            self.index.keep_cells(out.getvalue())
        order = np.argsort(cells, kind="stable")
        self._words, self._owners = words[order], owners[order]
        self._starts = np.searchsorted(cells[order], np.arange(len(self._centres) + 1))

    # -- searching ----------------------------------------------------------------------

    def search(
        self,
        query: Query,
        image: ImageFile | None = None,
        *,
        excluding: str = "",
        most: int = 20,
    ) -> list[Match]:
        """Return the references that a picture shows, surest first.

        Args:
            query: what `read_query` read.
            image: the picture, to compare its whole area with the works; without it that is
                left out.
            excluding: a path, as the system names it, that is not compared: a reference that
                is searched for among its own index.
            most: matches returned.
        """
        if not self.references:
            return []
        distances, turns = self._distances(query.hashes)
        found: dict[int, Match] = {}
        for place in self._by_sha.get(query.sha256, ()):
            item = self.references[place]
            found[place] = Match(item, "none", 1.0, 1.0, "bytes", 0)
        flat = query.detail < MIN_DETAIL
        if not flat:
            near = np.flatnonzero((distances <= HASH_BITS) & (self._detail >= MIN_DETAIL))
            for place in near.tolist():
                if place not in found:
                    bits = int(distances[place])
                    sure = 1 - bits / (4.0 * HASH_BITS)
                    name = _TURNS[turns[place]]
                    found[place] = Match(self.references[place], name, 1.0, sure, "hash", bits)
        for place, mirrored in self._candidates(query, distances, turns, flat):
            bits, weak = int(distances[place]), image is not None
            match = self._verify(query, place, mirrored, bits, flat=flat, weak=weak)
            if match and (place not in found or _better(match, found[place])):
                found[place] = match
        kept = [
            item for item in found.values() if not excluding or item.reference.location != excluding
        ]
        kept.sort(key=lambda item: (-item.confidence, item.reference.number))
        if image is not None:
            kept = [same for item in kept[:most] if (same := _compared(item, image, flat))]
        return kept[:most]

    def _distances(self, hashes: "Words") -> "tuple[NDArray[np.int16], NDArray[np.int8]]":
        """Compare with every reference; return the least of eight distances, and which it is.

        Exact; columns of 64 bits in blocks that stay in the cache. Among very many references,
        with the extra `scale`, a distance beyond `HASH_BITS` is given as 257.
        """
        count = len(self.references)
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
        self, query: Query, distances: "NDArray[Any]", turns: "NDArray[Any]", flat: bool
    ) -> Iterator[tuple[int, bool]]:
        """Yield references worth laying over the picture, and whether mirrored."""
        seen = set()
        for mirrored in (False, True):
            words = query.features.mirrored if mirrored else query.features.words
            if len(words) < 4:
                return
            votes = self._vote(words)
            count = min(_CANDIDATES, len(votes))
            top = np.argpartition(-votes, count - 1)[:count]
            for place in top[votes[top] > 0].tolist():
                seen.add((place, mirrored))
                yield place, mirrored
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

    def _vote(self, words: "NDArray[np.int8]") -> "NDArray[np.float64]":
        """Let each feature vote for the references of its nearest neighbours."""
        votes = np.zeros(len(self.references))
        if not len(self._words):
            return votes
        a = words.astype(np.float32)
        far = (self._centres**2).sum(axis=1)[None] - 2 * (a @ self._centres.T)
        probes = min(_PROBES, len(self._centres))
        cells = np.argpartition(far, probes - 1, axis=1)[:, :probes]
        best = np.full((len(a), _NEIGHBOURS), np.inf, dtype=np.float32)
        owner = np.full((len(a), _NEIGHBOURS), -1, dtype=np.int32)
        members = np.repeat(np.arange(len(a)), probes)
        flat = cells.ravel()
        order = np.argsort(flat, kind="stable")
        bounds = np.searchsorted(flat[order], np.arange(len(self._centres) + 1))
        squares = (a * a).sum(axis=1)
        for cell in np.unique(flat).tolist():
            low, high = self._starts[cell], self._starts[cell + 1]
            if low == high:
                continue
            who = members[order[bounds[cell] : bounds[cell + 1]]]
            b = self._words[low:high].astype(np.float32)
            apart = squares[who][:, None] + (b * b).sum(axis=1)[None] - 2 * (a[who] @ b.T)
            take = min(_NEIGHBOURS, apart.shape[1])
            near = np.argpartition(apart, take - 1, axis=1)[:, :take]
            values = np.hstack([best[who], np.take_along_axis(apart, near, axis=1)])
            owners = np.hstack([owner[who], self._owners[low:high][near]])
            keep = np.argpartition(values, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
            best[who] = np.take_along_axis(values, keep, axis=1)
            owner[who] = np.take_along_axis(owners, keep, axis=1)
        distance = np.sqrt(np.maximum(best, 0))
        valid = owner >= 0
        weight = np.exp(-((np.where(valid, distance, np.inf) / 55.0) ** 2))
        np.add.at(votes, owner[valid], weight[valid])
        return votes

    def _verify(
        self, query: Query, place: int, mirrored: bool, bits: int, *, flat: bool, weak: bool
    ) -> Match | None:
        """Lay a reference over the picture; `weak` if its whole area is compared later."""
        item = self.references[place]
        reference = Features.unpack(self._packed[place])
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
    agrees = None
    with contextlib.suppress(ImageError):  # else the work is no longer at hand
        work = ImageFile.open(match.reference.location, limits=image.limits)
        if work.sha256 == match.reference.sha256:
            placement = match.placement((image.info.width, image.info.height))
            agrees = agreement(image, work, placement, spared=SPARED)
    near = not flat and match.distance_bits <= NEAR_BITS
    alone = match.fit is None or near or match.fit.inliers >= INLIERS
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


def _cluster(words: "NDArray[np.int8]") -> "tuple[Any, NDArray[np.uint16]]":
    """Find centres of the features, and the nearest of each; one cell where there are few."""
    import cv2

    count = int(min(4096, max(1, len(words) // _PER_CELL)))
    if count == 1:
        return np.zeros((1, DIMENSIONS), np.float32), np.zeros(len(words), np.uint16)
    rng = np.random.default_rng(0)
    sample = words[rng.permutation(len(words))[: min(_TRAIN, 60 * count)]].astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_COUNT, 8, 0.0)
    _, _, centres = cv2.kmeans(sample, count, None, stop, 1, cv2.KMEANS_RANDOM_CENTERS)  # type: ignore[call-overload]
    centres = np.asarray(centres, dtype=np.float32)
    cells = np.empty(len(words), dtype=np.uint16)
    half = (centres**2).sum(axis=1)[None] / 2
    for start in range(0, len(words), 8192):
        part = words[start : start + 8192].astype(np.float32)
        cells[start : start + 8192] = (half - part @ centres.T).argmin(axis=1)
    return centres, cells
