"""Pictures that are searched together get the answers that each gets alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from counterproof.audit import copy_batches, feature_lists
from counterproof.audit.copy_batches import search_all
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.copy_search import Match, Searcher
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Settings


def draw(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), rng.integers(60, 190, 3), np.uint8)
    for _ in range(90):
        x, y, w = (int(v) for v in rng.integers(0, (320, 240, 50)))
        ink = [int(v) for v in rng.integers(0, 256, 3)]
        cv2.rectangle(picture, (x, y), (x + w, y + w // 2 + 3), ink, -1)
    assert cv2.imwrite(str(path), picture)
    return path


def test_a_batch_answers_as_one_by_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, asked = tmp_path / "works", tmp_path / "asked"
    works.mkdir()
    asked.mkdir()
    for seed in range(6):
        picture = np.asarray(cv2.imread(str(draw(works / f"{seed}.png", seed))))
        cv2.imwrite(str(asked / f"{seed}.jpg"), picture[20:220, 30:300])
    (asked / "3a.jpg").write_bytes(b"\xff\xd8\xffnothing")
    cv2.imwrite(str(asked / "4a.png"), np.full((90, 90, 3), 128, np.uint8))  # no features
    opened = [(path.name, ImageFile.open(path)) for path in sorted(asked.iterdir())]

    def answers() -> list[tuple[str, bool, list[Match]]]:
        with CopyIndex.open(tmp_path / "w.index") as index:
            found = list(search_all(Searcher(index), opened))
        return [(key, isinstance(image, ImageError), matches) for key, image, matches in found]

    with CopyIndex.open(tmp_path / "w.index", create=True) as index:
        index.add([str(works)], Settings(home=tmp_path))
    alone = answers()
    assert [key for key, _, _ in alone] == [key for key, _ in opened]
    assert [key for key, bad, _ in alone if bad] == ["3a.jpg"]
    names = [[Path(match.reference.path).stem for match in found] for _, _, found in alone]
    assert names == [["0"], ["1"], ["2"], ["3"], [], ["4"], [], ["5"]]
    monkeypatch.setattr(copy_batches, "_WORKS", 1)  # seven at once
    monkeypatch.setattr(feature_lists, "_KEPT", 1)  # and nothing held in memory
    together = answers()
    assert [row[:2] for row in together] == [row[:2] for row in alone]
    for (_, _, one), (_, _, other) in zip(alone, together, strict=True):
        assert [match.to_json() for match in one] == [match.to_json() for match in other]


def test_the_memory_of_a_batch_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [(n, ImageFile.open(draw(tmp_path / f"{n}.png", n))) for n in range(5)]
    with CopyIndex.open(tmp_path / "w.index", create=True) as index:
        index.add([str(tmp_path / "0.png")], Settings(home=tmp_path))
        searcher, sizes = Searcher(index), []
        monkeypatch.setattr(copy_batches, "_WORKS", 1 / 99)
        monkeypatch.setattr(copy_batches, "_MOST_BYTES", 2 * len(asked[0][1].data))
        asks = searcher.votes
        monkeypatch.setattr(
            searcher,
            "votes",
            lambda some: sizes.append(len(some)) or asks(some),  # type: ignore[func-returns-value]
        )
        assert [key for key, _, _ in search_all(searcher, asked)] == list(range(5))
    assert max(sizes) <= 3
    assert sum(sizes) == 5
