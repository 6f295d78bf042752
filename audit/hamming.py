"""All hashes of 256 bits within some distance of one: exact, over many millions.

Plain NumPy looks at every hash: half of each first, the rest only where that half is near
enough. With the extra `scale` most are never looked at: hashes that differ in at most r bits agree
in one of m parts but for r // m bits (multi-index hashing: Norouzi, Punjani, Fleet, CVPR 2012).
Both give the same answer.
"""

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from counterproof.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.audit import hamming_buckets

    Words = NDArray[np.uint64]
    Places = NDArray[np.int64]
    Bits = NDArray[np.int16]

__all__ = ["HammingIndex", "has_scale"]

_MANY = 100_000
_BLOCK = 1 << 15  # hashes at a time: what is added up stays in the cache


def has_scale() -> bool:
    """Tell whether the extra `scale` is installed."""
    return importlib.util.find_spec("numba") is not None


class HammingIndex:
    """Hashes in memory: 32 bytes each, in buckets some 80 more."""

    def __init__(self, words: "Words", *, buckets: bool | None = None) -> None:
        """Take the hashes.

        Args:
            words: shape (N, 4).
            buckets: sort them into buckets, which needs the extra `scale`; by default if it is
                installed and there are more than 100,000.

        Raises:
            MissingExtra: if buckets are asked for and numba is missing.
        """
        self._count = len(words)
        if buckets is None:
            buckets = has_scale() and self._count > _MANY
        self._buckets: hamming_buckets.Buckets | None = None
        self._columns: list[Words] = []
        if buckets:
            if not has_scale():
                raise MissingExtra("searching hashes by buckets", "scale")
            from counterproof.audit.hamming_buckets import Buckets

            self._buckets = Buckets(np.ascontiguousarray(words))
        else:
            self._columns = [np.ascontiguousarray(words[:, i]) for i in range(4)]

    def __len__(self) -> int:
        return self._count

    def within(self, word: "Words", radius_bits: int) -> "tuple[Places, Bits]":
        """Return the hashes within a distance of one.

        Args:
            word: shape (4,).
            radius_bits: largest distance, 0 to 256.

        Returns:
            Their places and their distances, by rising distance, then place.

        >>> index = HammingIndex(np.array([[0, 0, 0, 7], [0, 0, 0, 1]], np.uint64))
        >>> index.within(np.zeros(4, np.uint64), 2)
        (array([1]), array([1], dtype=int16))
        """
        word = np.ascontiguousarray(word, dtype=np.uint64)
        if self._buckets is not None and self._buckets.pays(radius_bits):
            places, bits = self._buckets.within(word, radius_bits)
        else:
            places, bits = self._scan(word, radius_bits)
        order = np.lexsort((places, bits))
        return places[order], bits[order]

    def _scan(self, word: "Words", radius_bits: int) -> "tuple[Places, Bits]":
        if self._buckets is not None:
            return self._buckets.scan(word, radius_bits)
        places, bits = [], []
        first, second, third, fourth = self._columns
        for start in range(0, self._count, _BLOCK):
            part = slice(start, start + _BLOCK)
            half = np.bitwise_count(first[part] ^ word[0])
            half += np.bitwise_count(second[part] ^ word[1])  # at most 128
            near = np.flatnonzero(half <= radius_bits)
            if not len(near):
                continue
            total = half[near].astype(np.int16)
            total += np.bitwise_count(third[part][near] ^ word[2])
            total += np.bitwise_count(fourth[part][near] ^ word[3])
            kept = total <= radius_bits
            places.append(near[kept] + start)
            bits.append(total[kept])
        if not places:
            return np.zeros(0, np.int64), np.zeros(0, np.int16)
        return np.concatenate(places).astype(np.int64), np.concatenate(bits)
