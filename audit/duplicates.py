"""Find pictures that are nearly the same, by their hashes: exact within two radii.

Two pictures are near-duplicates if their 64-bit pHashes differ in at most 10 bits and their
256-bit hashes in at most 40. Groups are what such pairs connect. Only different files count:
the same bytes under two paths have one sha256. Pictures without detail, such as skies and
black frames, are left out, because all of them look alike to a hash.

The search is exact: two 64-bit words that differ in at most 11 bits have one quarter in which
they differ in at most 2 (pigeonhole), so that it is enough to compare words whose quarters are
that close (multi-index hashing: Norouzi, Punjani, Fleet, CVPR 2012).

Source of the radii: of 1,816 pictures, every pair within (12, 64) bits that has detail shows the
same scene (30 pairs). Of copies of 205 pictures, found are: recompression to quality 20,
rescaling to a quarter, squashing to a square, blur, greyscale, contrast, a crop of 2 %: all;
brightness 0.99; a logo 0.78, a caption 0.63, a crop of 5 %: 0.31; mirrored: none. Among 92,477
crops of those pictures, 4.3 thousand million pairs, 6 groups join crops of different pictures,
all of them nearly even surfaces with one edge.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from counterproof.audit.hashes import DCT256, PHASH
from counterproof.findings import Relation
from counterproof.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit.case import Case

    Words = NDArray[np.uint64]
    Indices = NDArray[np.int64]

__all__ = ["CODE", "MIN_DETAIL", "RADIUS_64", "RADIUS_256", "groups", "relate"]

CODE = "copy.near_duplicate"
RADIUS_64 = 10
RADIUS_256 = 40
MIN_DETAIL = 1.5
"""Least mean difference of neighbours, in grey levels, of a picture that is compared."""

_QUARTERS = 4
_CHUNK = 2_000_000  # candidate pairs compared at once: about 100 MB
_MAX_DIAMETER = 2_000  # members of a group whose distances are all measured


def relate(case: "Case", settings: Settings) -> Iterable[Relation]:
    """Yield one relation per group of near-duplicates, of two members or more.

    `details` hold the algorithms, both radii, and the largest distances inside the group.
    """
    names, words, longs = _read(case.facts())
    for members in groups(words, longs):
        details: dict[str, Any] = {
            "alg": [PHASH, DCT256],
            "radius_bits": [RADIUS_64, RADIUS_256],
            "max_distance_bits": _diameter(longs[members]),
        }
        yield Relation("near_duplicate", tuple(names[i] for i in members), CODE, details)


def _read(facts: Iterator[tuple[str, dict[str, Any]]]) -> "tuple[list[str], Words, Words]":
    """Collect the hashes of all pictures with detail: names, (N,) words and (N, 4) words."""
    names: list[str] = []
    data = bytearray()
    for sha256, values in facts:
        short, long = values.get("hash.phash"), values.get("hash.dct256")
        if not short or not long or short.get("alg") != PHASH or long.get("alg") != DCT256:
            continue
        if values.get("hash.detail", 0.0) < MIN_DETAIL:
            continue
        names.append(sha256)
        data += bytes.fromhex(short["value"]) + bytes.fromhex(long["value"])
    table = np.frombuffer(bytes(data), dtype=np.uint64).reshape(-1, 5)
    return names, np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1:])


def groups(words: "Words", longs: "Words") -> "list[list[int]]":
    """Group near-duplicates; exact within `RADIUS_64` and `RADIUS_256` bits.

    Memory is flat: about 50 bytes a picture and 100 MB of candidate pairs at once.

    Args:
        words: 64-bit hashes, shape (N,).
        longs: 256-bit hashes, shape (N, 4).

    Returns:
        Groups of two members or more, members rising, groups by their first member.
    """
    if not len(words):
        return []
    table = np.column_stack([words, longs])
    unique, _, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    short, long = np.ascontiguousarray(unique[:, 0]), np.ascontiguousarray(unique[:, 1:])
    root = np.arange(len(unique))
    for left, right in itertools.chain(_neighbours(short), _candidates(short, root)):
        apart = root[left] != root[right]
        left, right = left[apart], right[apart]
        near = np.bitwise_count(short[left] ^ short[right]) <= RADIUS_64
        left, right = left[near], right[near]
        distance = np.bitwise_count(long[left] ^ long[right]).sum(axis=1, dtype=np.int64)
        close = distance <= RADIUS_256
        _join(root, left[close], right[close])
    labels = root[inverse.ravel()]
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    found = [part.tolist() for part in np.split(order, starts[1:]) if len(part) > 1]
    return sorted(found)


def _neighbours(words: "Words") -> "Iterator[tuple[Indices, Indices]]":
    """Yield pairs that lie close together when sorted: joins most of a dense group at once."""
    for turn in range(0, 64, 8):
        turned = (words << np.uint64(turn)) | (words >> np.uint64((64 - turn) % 64))
        order = np.argsort(turned, kind="stable")
        for step in (1, 2, 4, 8):
            yield order[:-step], order[step:]


def _candidates(words: "Words", root: "Indices") -> "Iterator[tuple[Indices, Indices]]":
    """Yield pairs of indices that agree nearly in one quarter, unless `root` has joined them.

    A pair may come twice. `root` is read anew for every set of buckets.
    """
    bits = 64 // _QUARTERS
    size = 1 << bits
    masks = [m for m in range(size) if m.bit_count() <= RADIUS_64 // _QUARTERS]
    for quarter in range(_QUARTERS):
        keys = (words >> np.uint64(bits * quarter)).astype(np.int64) & (size - 1)
        order = np.argsort(keys, kind="stable")
        buckets, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        place = np.full(size, -1)  # of each key among the buckets
        place[buckets] = np.arange(len(buckets))
        for mask in masks:
            roots = root[order]
            low, high = np.minimum.reduceat(roots, starts), np.maximum.reduceat(roots, starts)
            other = place[buckets ^ mask]
            joined = (low == high) & (low == low[other]) & (high == high[other])
            kept = np.flatnonzero((other >= np.arange(len(buckets))) & ~joined)
            for left, right in _product(starts, counts, kept, other[kept]):
                yield order[left], order[right]


def _product(
    starts: "Indices", counts: "Indices", ones: "Indices", others: "Indices"
) -> "Iterator[tuple[Indices, Indices]]":
    """Yield every pair of a member of bucket `ones[i]` and one of `others[i]`, in chunks."""
    # each member of the first bucket is paired with the whole of the second
    member = _ranges(starts[ones], counts[ones])
    partner = np.repeat(others, counts[ones])
    same = np.repeat(ones == others, counts[ones])
    # inside one bucket, a member is paired with those behind it only
    begins = np.where(same, member + 1, starts[partner])
    widths = starts[partner] + counts[partner] - begins
    ends = np.cumsum(widths)
    at = 0
    while at < len(member):
        base = ends[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, base + _CHUNK, side="right")))
        left = np.repeat(member[at:stop], widths[at:stop])
        right = _ranges(begins[at:stop], widths[at:stop])
        if len(left):
            yield left, right
        at = stop


def _ranges(starts: "Indices", widths: "Indices") -> "Indices":
    """Return start, start + 1, … of each range, one behind the other."""
    total = int(widths.sum())
    shift = np.repeat(starts - (np.cumsum(widths) - widths), widths)
    found: Indices = np.arange(total) + shift
    return found


def _join(root: "Indices", left: "Indices", right: "Indices") -> None:
    """Join the groups that pairs connect; `root` names each member's group by its least index."""
    while len(left):
        one, other = root[left], root[right]
        low, high = np.minimum(one, other), np.maximum(one, other)
        apart = low != high
        if not apart.any():
            return
        left, right, low, high = left[apart], right[apart], low[apart], high[apart]
        np.minimum.at(root, high, low)
        while True:  # follow to the end of each chain
            following = root[root]
            if np.array_equal(following, root):
                break
            root[:] = following


def _diameter(longs: "Words") -> int:
    """Return the largest distance between two members, of the first 2,000 in a larger group."""
    longs = longs[:_MAX_DIAMETER]
    return max(
        int(np.bitwise_count(longs ^ one).sum(axis=1, dtype=np.int64).max()) for one in longs
    )
