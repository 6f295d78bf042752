"""Searching hashes: with and without the extra the same, exact answer."""

import numpy as np
import pytest

from counterproof.audit import hamming
from counterproof.audit.hamming import HammingIndex
from counterproof.errors import MissingExtra


def table(count: int, seed: int = 0) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    for i in range(200):  # neighbours of the first, at every distance
        words[i + 1] = words[0]
        for bit in rng.choice(256, i % 50, replace=False).tolist():
            words[i + 1, bit >> 6] ^= np.uint64(1) << np.uint64(bit & 63)
    return words


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("radius", [0, 10, 31, 40, 100, 256])
def test_every_hash_within_the_radius_is_found(buckets: bool, radius: int) -> None:
    if buckets:
        pytest.importorskip("numba")
    words = table(3000)
    places, bits = HammingIndex(words, buckets=buckets).within(words[0], radius)
    far = np.bitwise_count(words ^ words[0]).sum(axis=1, dtype=np.int64)
    order = np.lexsort((np.arange(len(far)), far))
    expected = order[: int((far <= radius).sum())]
    assert places.tolist() == expected.tolist()
    assert bits.tolist() == far[expected].tolist()


def test_an_empty_index_finds_nothing() -> None:
    index = HammingIndex(np.zeros((0, 4), np.uint64))
    assert len(index) == 0
    assert index.within(np.zeros(4, np.uint64), 31)[0].tolist() == []


def test_buckets_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "has_scale", lambda: False)
    assert len(HammingIndex(table(300))) == 300
    with pytest.raises(MissingExtra, match="scale"):
        HammingIndex(table(300), buckets=True)
