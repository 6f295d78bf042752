"""What an exact search over millions of 256-bit hashes costs.

    python benchmarks/hamming.py --count 10000000
    python benchmarks/hamming.py --count 10000000 --real works.index

Random hashes, or those of an index (distinct photographs) with 4 to 64 bits flipped, since real
hashes crowd: their bits are not independent. Queries are members with at most 31 bits flipped.
Every method answers the same queries; that all find the member is checked. Process CPU time of
one thread; faiss's exact search (`IndexBinaryFlat`) runs in the same process as a measure.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.hamming import HammingIndex

RADIUS = 31
Words = np.ndarray[Any, np.dtype[np.uint64]]


def flip(words: Words, least: int, most: int, rng: np.random.Generator) -> Words:
    """Flip some bits of each; a place that is drawn twice is flipped back, so at most `most`."""
    words = words.copy()
    counts = rng.integers(least, most + 1, len(words))
    rows = np.arange(len(words))
    for turn in range(most):
        bit = rng.integers(0, 256, len(words))
        on = rows[counts > turn]
        words[on, bit[on] >> 6] ^= np.uint64(1) << (bit[on] & 63).astype(np.uint64)
    return words


def measured(name: str, queries: Words, ask: Callable[[Words], Any]) -> list[Any]:
    answers = []
    before = time.process_time()
    for word in queries:
        answers.append(ask(word))
    spent = 1000 * (time.process_time() - before) / len(queries)
    print(f"{name}: {spent:.3f} CPU-ms a query, {len(queries)} queries", flush=True)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--real", metavar="INDEX", help="hashes of this index, with bits flipped")
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    if args.real:
        with CopyIndex.open(args.real) as index:
            own = index.hashes()[0]
        print(len(own), "real hashes")
        words = np.concatenate(
            [
                flip(own[rng.integers(0, len(own), size)], 4, 64, rng)
                for size in np.diff(np.linspace(0, args.count, 41).astype(int))
            ]
        )
    else:
        words = rng.integers(0, 2**64, (args.count, 4), dtype=np.uint64)
    places = rng.integers(0, len(words), args.queries)
    queries = flip(words[places], 0, RADIUS, rng)

    def check(found: list[Any]) -> None:
        assert all(p in f[0] for p, f in zip(places, found, strict=False))

    plain = HammingIndex(words, buckets=False)
    scanned = measured("plain NumPy", queries[:20], lambda q, i=plain: i.within(q, RADIUS))
    check(scanned)
    print("found a query, mean:", np.mean([len(f[0]) for f in scanned]))
    del plain
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(256)
    flat.add(words.view(np.uint8).reshape(-1, 32))
    near = measured(
        "faiss BinaryFlat, nearest",
        queries[:20],
        lambda q, i=flat: i.search(q.view(np.uint8).reshape(1, -1), 1)[0][0, 0],
    )
    assert all(int(one) <= RADIUS for one in near)
    del flat
    before = time.process_time()
    sorted_ = HammingIndex(words, buckets=True)
    print(f"sorted into buckets in {time.process_time() - before:.1f} CPU-s, compiling included")
    sorted_.within(queries[0], RADIUS)  # compiles
    found = measured("buckets, extra scale", queries, lambda q: sorted_.within(q, RADIUS))
    check(found)
    for one, other in zip(scanned, found, strict=False):
        assert one[0].tolist() == other[0].tolist()


if __name__ == "__main__":
    main()
