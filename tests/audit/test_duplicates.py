"""Near-duplicates: exact within the radii, however the hashes are spread."""

import io
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from counterproof.audit import duplicates
from counterproof.audit.analyzers import RELATORS
from counterproof.audit.duplicates import (
    CODE,
    MIN_DETAIL,
    RADIUS_64,
    RADIUS_256,
    groups,
    relate,
)
from counterproof.audit.hashes import DCT256, PHASH, HashAnalyzer
from counterproof.errors import ImageError
from counterproof.findings import Fact
from counterproof.images import ImageFile
from counterproof.settings import Settings

Words = NDArray[np.uint64]
SETTINGS = Settings(home=Path())


class Facts:
    """A case that has facts and nothing else."""

    def __init__(self, facts: dict[str, dict[str, Any]]) -> None:
        self._facts = facts

    def facts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from sorted(self._facts.items())


def related(facts: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    found = list(relate(Facts(facts), SETTINGS))  # type: ignore[arg-type]
    for relation in found:
        assert (relation.kind, relation.code) == ("near_duplicate", CODE)
        assert relation.details["alg"] == [PHASH, DCT256]
        assert relation.details["radius_bits"] == [RADIUS_64, RADIUS_256]
        json.dumps(relation.to_json())
    return [relation.members for relation in found]


def fact(short: int, long: int, detail: float = 9.0) -> dict[str, Any]:
    return {
        "hash.phash": {"alg": PHASH, "value": f"{short:016x}"},
        "hash.dct256": {"alg": DCT256, "value": f"{long:064x}"},
        "hash.detail": detail,
    }


def flipped(value: int, bits: int, length: int, seed: int = 0) -> int:
    for place in random.Random(seed).sample(range(length), bits):
        value ^= 1 << place
    return value


def test_both_radii_count() -> None:
    short, long = random.Random(1).getrandbits(64), random.Random(2).getrandbits(256)

    def pair(short_bits: int, long_bits: int) -> bool:
        other = fact(flipped(short, short_bits, 64), flipped(long, long_bits, 256))
        return related({"a": fact(short, long), "b": other}) == [("a", "b")]

    assert pair(0, 0)
    assert pair(RADIUS_64, RADIUS_256)
    assert not pair(RADIUS_64 + 1, 0)
    assert not pair(0, RADIUS_256 + 1)
    relation = next(
        iter(
            relate(
                Facts({"a": fact(short, long), "b": fact(short, flipped(long, 7, 256))}),  # type: ignore[arg-type]
                SETTINGS,
            )
        )
    )
    assert relation.details["max_distance_bits"] == 7


def test_every_spread_of_differing_bits_is_found() -> None:
    chance = random.Random(3)
    for seed in range(20):
        short, long = chance.getrandbits(64), chance.getrandbits(256)
        other = fact(flipped(short, RADIUS_64, 64, seed), long)
        assert related({"a": fact(short, long), "b": other}) == [("a", "b")]


def test_what_has_no_detail_or_no_hash_is_left_out() -> None:
    assert not related({name: fact(1, 1, MIN_DETAIL - 0.01) for name in "abc"})
    assert related({name: fact(1, 1, MIN_DETAIL) for name in "abc"}) == [("a", "b", "c")]
    assert not related({})
    assert not related({"a": {}, "b": fact(1, 1)})
    foreign = fact(1, 1)
    foreign["hash.phash"] = {"alg": "other.phash", "value": "0" * 16}
    assert not related({"a": foreign, "b": fact(1, 1)})


def brute(words: Words, longs: Words) -> list[list[int]]:
    """Compare all pairs, join them one by one."""
    group = list(range(len(words)))
    for one, other in itertools.combinations(range(len(words)), 2):
        near = int(words[one] ^ words[other]).bit_count() <= RADIUS_64
        far = sum(int(part).bit_count() for part in longs[one] ^ longs[other])
        if near and far <= RADIUS_256:
            kept, gone = group[one], group[other]
            group = [kept if name == gone else name for name in group]
    found: dict[int, list[int]] = {}
    for index, name in enumerate(group):
        found.setdefault(name, []).append(index)
    return sorted(members for members in found.values() if len(members) > 1)


def clustered(rng: np.random.Generator, count: int, centres: int) -> tuple[Words, Words]:
    """Hashes that lie around a few centres, some within the radii and some beyond."""
    top = np.iinfo(np.uint64).max
    words = rng.integers(0, top, centres, np.uint64)[rng.integers(0, centres, count)]
    longs = rng.integers(0, top, (1, 4), np.uint64).repeat(count, axis=0)
    for _ in range(8):
        kept = rng.random(count) < 0.8
        words ^= np.where(kept, np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64), 0)
    for _ in range(30):
        longs[np.arange(count), rng.integers(0, 4, count)] ^= np.uint64(1) << rng.integers(
            0, 64, count
        ).astype(np.uint64)
    return words, longs


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_those_of_comparing_all_pairs(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_CHUNK", 500)  # many chunks
    rng = np.random.default_rng(seed)
    words, longs = clustered(rng, 160, 3 + 10 * seed)
    expected = brute(words, longs)
    assert expected
    assert groups(words, longs) == expected


def test_the_order_of_pictures_does_not_matter() -> None:
    words, longs = clustered(np.random.default_rng(9), 200, 40)
    order = np.random.default_rng(1).permutation(200)
    turned = groups(words[order], longs[order])
    assert sorted(sorted(order[members].tolist()) for members in turned) == groups(words, longs)


def test_equal_hashes_and_dense_groups_stay_cheap() -> None:
    rng = np.random.default_rng(4)
    start = time.process_time()
    words, longs = np.full(50_000, 5, np.uint64), np.full((50_000, 4), 6, np.uint64)
    assert groups(words, longs) == [list(range(50_000))]
    for _ in range(4):
        words ^= np.uint64(1) << rng.integers(0, 64, 50_000).astype(np.uint64)
    assert groups(words, longs) == [list(range(50_000))]
    assert time.process_time() - start < 10


@pytest.mark.slow
def test_a_hundred_thousand_pictures() -> None:
    rng = np.random.default_rng(5)
    top = np.iinfo(np.uint64).max
    words = rng.integers(0, top, 100_000, np.uint64)
    longs = rng.integers(0, top, (100_000, 4), np.uint64)
    words[50_000:50_100] = words[:100] ^ np.uint64(0b1011)
    longs[50_000:50_100] = longs[:100]
    start = time.process_time()
    found = groups(words, longs)
    assert time.process_time() - start < 20
    assert found == [[n, 50_000 + n] for n in range(100)]


def hashed(data: bytes | Path) -> dict[str, Any]:
    found = HashAnalyzer(SETTINGS).analyze(ImageFile.open(data))
    return {item.name: item.value for item in found if isinstance(item, Fact)}


def test_copies_of_real_pictures(test_data: Path) -> None:
    """What is found of the copies that come with the collections, and what is not."""
    folder = test_data / "copies" / "pdq"
    name = "pdq__data__bridge-mods__"
    facts = {}
    for path in sorted(folder.glob(f"{name}*")):
        facts[path.stem.removeprefix(name)] = hashed(path)
    (group,) = related(facts)
    assert {"aaa-orig", "blur-a-little", "shrink-a-little", "square-256x256"} <= set(group)
    turned = {}
    for path in sorted(folder.glob("*__dih__*")):
        turned[path.stem] = hashed(path)
    assert not related(turned)  # turned and mirrored ones are not found this way


def encode(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", **options)
    return out.getvalue()


@pytest.mark.slow
def test_recall_and_false_alarms_on_photographs(test_data: Path) -> None:
    """Distinct photographs are kept apart, light changes are found."""
    facts: dict[str, dict[str, Any]] = {}
    found, wanted = 0, 0
    paths = sorted((test_data / "detect" / "dev" / "real").glob("*.jpg"))[::60]
    for path in paths:
        try:
            original = hashed(path)
        except ImageError:
            continue
        facts[path.name] = original
        if original["hash.detail"] < MIN_DETAIL:
            continue
        picture = Image.fromarray(ImageFile.open(path).pixels())
        changes = (
            encode(picture, quality=20),
            encode(picture.resize((picture.width // 2, picture.height // 2)), quality=75),
            encode(picture.convert("L"), quality=75),
            encode(ImageEnhance.Contrast(picture).enhance(1.3), quality=75),
            encode(ImageOps.crop(picture, picture.width // 100), quality=75),
        )
        for data in changes:
            wanted += 1
            found += len(related({"a": original, "b": hashed(data)}))
    assert wanted > 50
    assert found / wanted > 0.98
    assert not related(facts)


def test_the_relator_is_offered() -> None:
    relator = RELATORS["near_duplicates"]
    assert relator.name == "near_duplicates"
    case: Any = Facts({"a": fact(1, 1), "b": fact(1, 1)})
    assert [relation.members for relation in relator(case, SETTINGS)] == [("a", "b")]
