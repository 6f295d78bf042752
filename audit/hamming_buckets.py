"""Hashes of 256 bits sorted into buckets, so that a search touches few of them (extra `scale`).

Each hash is cut into m parts of some 22 bits. Let r = m q + a with a < m. Of two hashes within r
bits, one of the first a + 1 parts differs in at most q bits, or one of the others in at most q - 1
(else they would differ in (a + 1) (q + 1) + (m - a - 1) q = r + 1 or more): it is enough to look
into the buckets that near. Source: multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012, §2.2).
"""

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

__all__ = ["Buckets"]

_MOST_PROBES = 30_000  # buckets looked into; beyond that every hash is looked at


class Buckets:
    """All hashes, and for each part of them which hashes have which value."""

    def __init__(self, words: "Words") -> None:
        self.words = words
        self.width = int(np.clip(round(np.log2(max(len(words), 2))), 8, 23))
        self.parts = 256 // self.width
        size = 1 << self.width
        self.starts = np.zeros((self.parts, size + 1), np.int32)
        self.members = np.zeros((self.parts, len(words)), np.int32)
        for part in range(self.parts):
            _fill(words, part * self.width, self.width, self.starts[part], self.members[part])

    def pays(self, radius_bits: int) -> bool:
        """Tell whether the buckets that would be looked into are few."""
        return int(self._probes(radius_bits).sum()) <= _MOST_PROBES

    def _probes(self, radius_bits: int) -> "NDArray[np.int64]":
        """Return how many buckets of each part are looked into."""
        most, rest = divmod(radius_bits, self.parts)
        many, few = _count(self.width, most), _count(self.width, most - 1)
        return np.array([many] * (rest + 1) + [few] * (self.parts - rest - 1))

    def within(self, word: "Words", radius_bits: int) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Return places and distances of all hashes within a distance, in no order."""
        masks, probes = _masks(self.width, radius_bits // self.parts), self._probes(radius_bits)
        keys = np.array([_key(word, part * self.width, self.width) for part in range(self.parts)])
        places, bits = _collect(
            self.words, word, radius_bits, keys, masks, probes, self.starts, self.members
        )
        places, first = np.unique(places, return_index=True)
        return places, bits[first]

    def scan(self, word: "Words", radius_bits: int) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Look at every hash."""
        bits = _distances(self.words, word)
        places = np.flatnonzero(bits <= radius_bits)
        return places, bits[places]


@cache
def _masks(width: int, most: int) -> "NDArray[np.int64]":
    """Return all words of `width` bits with at most `most` bits set, those with fewest first."""
    return np.array(
        [
            sum(1 << bit for bit in chosen)
            for count in range(most + 1)
            for chosen in itertools.combinations(range(width), count)
        ],
        dtype=np.int64,
    )


def _count(width: int, most: int) -> int:
    from math import comb

    return sum(comb(width, count) for count in range(most + 1))


def _key_of(word: Any, at: int, width: int) -> Any:
    """Cut `width` bits out of four words of 64, from bit `at`."""
    first, shift = at >> 6, at & 63
    value = word[first] >> np.uint64(shift)
    if shift + width > 64:
        value |= word[first + 1] << np.uint64(64 - shift)
    return np.int64(value & np.uint64((1 << width) - 1))


_key = numba.njit(inline="always")(_key_of)


def _ones_of(x: Any) -> Any:
    """Count bits (Warren, "Hacker's Delight", §5-1)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


_ones = numba.njit(inline="always")(_ones_of)


def _fill_of(words: Any, at: int, width: int, starts: Any, members: Any) -> None:
    """Sort by one part: counting sort."""
    for i in range(len(words)):
        starts[_key(words[i], at, width) + 1] += 1
    for value in range(1 << width):
        starts[value + 1] += starts[value]
    place = starts[:-1].copy()
    for i in range(len(words)):
        value = _key(words[i], at, width)
        members[place[value]] = i
        place[value] += 1


def _collect_of(
    words: Any,
    word: Any,
    radius: int,
    keys: Any,
    masks: Any,
    probes: Any,
    starts: Any,
    members: Any,
) -> Any:
    room = 1024
    places, bits = np.empty(room, np.int64), np.empty(room, np.int16)
    count = 0
    for part in range(len(keys)):
        for mask in masks[: probes[part]]:
            value = keys[part] ^ mask
            for place in range(starts[part, value], starts[part, value + 1]):
                i = members[part, place]
                far = _ones(words[i, 0] ^ word[0]) + _ones(words[i, 1] ^ word[1])
                if far > radius:
                    continue
                far += _ones(words[i, 2] ^ word[2]) + _ones(words[i, 3] ^ word[3])
                if far > radius:
                    continue
                if count == room:
                    more, others = np.empty(2 * room, np.int64), np.empty(2 * room, np.int16)
                    more[:room], others[:room] = places, bits
                    places, bits, room = more, others, 2 * room
                places[count], bits[count] = i, far
                count += 1
    return places[:count], bits[:count]


def _distances_of(words: Any, word: Any) -> Any:
    found = np.empty(len(words), np.int16)
    for i in range(len(words)):
        found[i] = (
            _ones(words[i, 0] ^ word[0])
            + _ones(words[i, 1] ^ word[1])
            + _ones(words[i, 2] ^ word[2])
            + _ones(words[i, 3] ^ word[3])
        )
    return found


_fill = numba.njit(_fill_of)
_collect = numba.njit(_collect_of)
_distances = numba.njit(_distances_of)
