"""The index of reference works: copies found, strangers not, damage named, builds resumed."""

import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from counterproof.app.cli import cli
from counterproof.app.index import index as command
from counterproof.audit import copy_index, copy_search, feature_lists, hamming
from counterproof.audit.copies import relate
from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.copy_search import Searcher, read_query
from counterproof.audit.local_features import MAX_REFERENCE, Features, extract
from counterproof.audit.pdq import pdq
from counterproof.errors import UserError
from counterproof.findings import Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings
from counterproof.text import catalogue

Pixels = NDArray[np.uint8]
EN = catalogue("en")


def scene(seed: int, side: int = 420) -> Pixels:
    """A picture with detail at several scales that no other seed has."""
    rng = np.random.default_rng(seed)
    picture = np.full((side * 3 // 4, side, 3), rng.integers(60, 190, 3), np.uint8)
    for _ in range(110):
        x, y = int(rng.integers(0, side)), int(rng.integers(0, side * 3 // 4))
        ink = [int(v) for v in rng.integers(0, 256, 3)]
        if rng.random() < 0.5:
            cv2.circle(picture, (x, y), int(rng.integers(3, 40)), ink, -1)
        else:
            w, h = rng.integers(4, 70, 2)
            cv2.rectangle(picture, (x, y), (x + int(w), y + int(h)), ink, -1)
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.0)
    return np.asarray(blurred, dtype=np.uint8)


def save(path: Path, picture: Pixels, quality: int = 88) -> str:
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture), [1, quality])
    return str(path)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An index of eight works, and their folder."""
    folder = tmp_path_factory.mktemp("works")
    for seed in range(8):
        save(folder / f"{seed}.jpg", scene(seed))
    path = tmp_path_factory.mktemp("index") / "works.index"
    with CopyIndex.open(path, create=True) as made:
        assert made.add([str(folder)], Settings(home=folder)).new == 8
    return path, folder


def search(path: Path, picture: Pixels, quality: int = 85) -> list[Any]:
    data = cv2.imencode(".jpg", np.ascontiguousarray(picture), [1, quality])[1].tobytes()
    with CopyIndex.open(path) as opened:
        return Searcher(opened).search(read_query(ImageFile.open(data)))


def inset(picture: Pixels) -> Pixels:
    ground = scene(90, 640)
    small = cv2.resize(picture, (250, 188), interpolation=cv2.INTER_AREA)
    ground[200 : 200 + 188, 300 : 300 + 250] = small
    return ground


@pytest.mark.parametrize(
    ("change", "transform", "overlap"),
    [
        (lambda a: a, "none", 1.0),
        (lambda a: a[:, ::-1], "mirrored", 1.0),
        (lambda a: a[::-1, ::-1], "turned_180", 1.0),
        (lambda a: cv2.rotate(a, cv2.ROTATE_90_CLOCKWISE), "turned_90", 1.0),
        (lambda a: cv2.rotate(a, cv2.ROTATE_90_COUNTERCLOCKWISE), "turned_270", 1.0),
        (lambda a: a.transpose(1, 0, 2), "transposed", 1.0),
        (lambda a: a[::-1, ::-1].transpose(1, 0, 2), "transversed", 1.0),
        (lambda a: a[60:240, 100:340], "none", 0.33),
        (lambda a: cv2.resize(a, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA), "none", 1.0),
        (inset, "none", 1.0),
    ],
)
def test_a_copy_is_found(
    works: tuple[Path, Path], change: Any, transform: str, overlap: float
) -> None:
    found = search(works[0], change(scene(3)))
    assert [Path(match.reference.path).name for match in found] == ["3.jpg"]
    assert found[0].transform == transform
    assert found[0].overlap == pytest.approx(overlap, abs=0.05)


@pytest.mark.parametrize("turn", range(8))
def test_the_hash_alone_knows_flips_and_turns(works: tuple[Path, Path], turn: int) -> None:
    picture = scene(5)
    view = picture.transpose(1, 0, 2) if turn >= 4 else picture
    view = view[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
    data = cv2.imencode(".png", np.ascontiguousarray(view))[1].tobytes()
    query = read_query(ImageFile.open(data))
    with CopyIndex.open(works[0]) as opened:
        searcher = Searcher(opened)
        by_features = searcher.search(query)
        nothing = Features(np.zeros((0, 2), np.float32), *[np.zeros((0, 32), np.int8)] * 2)
        blind = type(query)(query.sha256, query.size, query.hashes, query.detail, nothing)
        by_hash = searcher.search(blind)
    assert [match.by for match in by_hash] == ["hash"]
    assert by_hash[0].transform == by_features[0].transform
    assert by_features[0].by == "features"
    assert by_features[0].confidence >= by_hash[0].confidence


def test_strangers_and_even_surfaces_are_not_found(works: tuple[Path, Path]) -> None:
    for seed in range(40, 44):
        assert search(works[0], scene(seed)) == []
    assert search(works[0], np.full((300, 400, 3), 200, np.uint8)) == []


def test_a_reference_takes_at_most_ten_kilobytes() -> None:
    grey = cv2.cvtColor(scene(1, 512), cv2.COLOR_BGR2GRAY)
    features = extract(np.asarray(grey, np.uint8), MAX_REFERENCE)
    packed = features.pack()
    assert len(features.words) > 100
    assert len(packed) <= 5_000
    back = Features.unpack(packed)
    assert back.pack() == packed
    apart = np.linalg.norm(back.words.astype(float) - features.words, axis=1)
    assert apart.mean() < 0.15 * np.linalg.norm(features.words.astype(float), axis=1).mean()
    assert np.allclose(back.points, features.points, atol=1e-4)


def test_a_stopped_build_goes_on(
    works: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = copy_index._read_reference
    seen: list[str] = []

    def stops(path: str, settings: Settings) -> Any:
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(path)
        return read(path, settings)

    monkeypatch.setattr(copy_index, "_read_reference", stops)
    target, settings = tmp_path / "part.index", Settings(home=tmp_path)
    with pytest.raises(KeyboardInterrupt), CopyIndex.open(target, create=True) as made:
        made.add([str(works[1])], settings)
    monkeypatch.setattr(copy_index, "_read_reference", read)
    with CopyIndex.open(target) as made:
        again = made.add([str(works[1])], settings)
        assert (again.new, again.known) == (3, 5)
        assert len(made) == 8


def test_indices_are_joined(works: tuple[Path, Path], tmp_path: Path) -> None:
    save(tmp_path / "other.jpg", scene(20))
    target = tmp_path / "joined.index"
    with CopyIndex.open(target, create=True) as made:
        made.add([str(tmp_path / "other.jpg"), str(works[0])], Settings(home=tmp_path))
        assert len(made) == 9
    assert Path(search(target, scene(6))[0].reference.path).name == "6.jpg"


def test_two_levels_of_centres_and_several_parts_find_the_same(
    works: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_lists, "_PER_CELL", 10)
    monkeypatch.setattr(feature_lists, "_FLAT", 20)
    monkeypatch.setattr(feature_lists, "_COARSE", 8)
    monkeypatch.setattr(feature_lists, "_FINE", 8)
    monkeypatch.setattr(feature_lists, "_PART", 3)
    monkeypatch.setattr(feature_lists, "_KEPT", 500)  # lists come and go while it searches
    target = tmp_path / "parts.index"
    with CopyIndex.open(target, create=True) as made:
        made.add([str(works[0])], Settings(home=tmp_path))
        made.sort()
    with sqlite3.connect(target) as db:
        assert {row[0] >> 16 for row in db.execute("SELECT id FROM list")} == {0, 1, 2}
    for seed in (0, 4, 7):
        found = search(target, scene(seed)[40:280, 60:380])
        assert [Path(match.reference.path).name for match in found] == [f"{seed}.jpg"]


def test_works_that_are_added_later_are_sorted_in(
    works: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_lists, "_PART", 3)
    target, more = tmp_path / "grown.index", tmp_path / "more.jpg"
    target.write_bytes(works[0].read_bytes())
    with CopyIndex.open(target) as opened:
        opened.sort()
        save(more, scene(21))
        opened.add([str(more)], Settings(home=tmp_path))
        sorted_: list[int] = []
        monkeypatch.setattr(
            feature_lists.FeatureLists, "_sort_part", lambda _self, part, *_: sorted_.append(part)
        )
        opened.sort()
    assert sorted_ == [3]  # the first three are left as they are
    monkeypatch.undo()
    assert Path(search(target, scene(21)[20:300, 50:400])[0].reference.path).name == "more.jpg"


def test_a_work_that_changed_is_found_as_it_is_now(tmp_path: Path) -> None:
    folder, target = tmp_path / "works", tmp_path / "w.index"
    folder.mkdir()
    save(folder / "a.jpg", scene(60))
    with CopyIndex.open(target, create=True) as made:
        made.add([str(folder)], Settings(home=tmp_path))
        made.sort()
        save(folder / "a.jpg", scene(61))
        assert made.add([str(folder)], Settings(home=tmp_path)).new == 1
    assert search(target, scene(60)[40:300, 40:360]) == []
    assert len(search(target, scene(61)[40:300, 40:360])) == 1


def test_an_unsorted_index_that_cannot_be_written_says_so(
    works: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_self: Any, *_: Any) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(feature_lists.FeatureLists, "sort", refuses)
    monkeypatch.setattr("os.access", lambda *_: False)
    with CopyIndex.open(works[0]) as opened, pytest.raises(UserError, match="index add"):
        Searcher(opened)


def test_damaged_and_foreign_files_are_named(works: tuple[Path, Path], tmp_path: Path) -> None:
    text, other, cut = tmp_path / "a.index", tmp_path / "b.index", tmp_path / "c.index"
    text.write_text("hello")
    sqlite3.connect(other).execute("CREATE TABLE meta (key, value)").connection.commit()
    cut.write_bytes(works[0].read_bytes()[:9000])
    old = tmp_path / "d.index"
    old.write_bytes(works[0].read_bytes())
    with sqlite3.connect(old) as db:
        db.execute("UPDATE meta SET value = '[]' WHERE key = 'algorithms'")
    for path, says in ((text, "expected"), (other, "expected"), (cut, "damaged"), (old, "anew")):
        with pytest.raises(UserError, match=says) as caught:
            CopyIndex.open(path).references()
        assert str(path) in str(caught.value)


def test_many_works_are_searched_by_buckets(
    works: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    data = cv2.imencode(".jpg", scene(6)[:, ::-1], [1, 80])[1].tobytes()
    query = read_query(ImageFile.open(data))
    nothing = Features(np.zeros((0, 2), np.float32), *[np.zeros((0, 32), np.int8)] * 2)
    blind = replace(query, features=nothing)
    with CopyIndex.open(works[0]) as opened:
        plain = Searcher(opened).search(blind)
        monkeypatch.setattr(copy_search, "_MANY", 4)
        monkeypatch.setattr(hamming, "_MANY", 4)
        many = Searcher(opened)
        assert many._hamming is not None
        assert many.search(blind) == plain
        assert [Path(item.reference.path).name for item in plain] == ["6.jpg"]


def test_a_match_must_agree_over_the_shared_area(
    works: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ImageFile.open(save(tmp_path / "copy.jpg", scene(3)[:, ::-1]))
    query = read_query(image)
    with CopyIndex.open(works[0]) as opened:
        searcher = Searcher(opened)
        (match,) = searcher.search(query, image)
        assert match.agrees is not None
        assert match.agrees > 0.95
        assert match.to_json()["agreement"] == round(match.agrees, 4)
        monkeypatch.setattr(copy_search, "agreement", lambda *_, **__: 0.5)
        assert searcher.search(query, image) == []
        known = opened.reference
        monkeypatch.setattr(opened, "reference", lambda n: replace(known(n), location="/gone"))
        (match,) = searcher.search(query, image)
        assert match.agrees is None


def test_the_command_answers_each_picture(works: tuple[Path, Path], tmp_path: Path) -> None:
    save(tmp_path / "copy.jpg", scene(2)[:, ::-1])
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xffnothing")
    page = tmp_path / "pairs.html"
    arguments = ["search", str(works[0]), str(tmp_path), "--format", "jsonl", "-o", str(page)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["bad.jpg", "copy.jpg"]
    assert "error" in rows[0]
    (match,) = rows[1]["matches"]
    assert Path(match["path"]).name == "2.jpg"
    assert match["transform"] == "mirrored"
    assert match["overlap"] > 0.95
    assert 0 < match["confidence"] <= 1
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "<rect" in text
    assert "http" not in text.replace("http-equiv", "")


def test_hash_lists_are_read_and_met(works: tuple[Path, Path], tmp_path: Path) -> None:
    picture = tmp_path / "wanted.png"
    cv2.imwrite(str(picture), scene(30))
    value = pdq(ImageFile.open(picture).pixels()).value
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    lines = tmp_path / "list.csv"
    lines.write_text(f"hash,label,source,type\n{value},one,desk,pdq\n{digest},two,desk,sha256\n")
    target = tmp_path / "lists.index"
    result = CliRunner().invoke(command, ["import", str(lines), "-o", str(target)])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(command, ["search", str(target), str(picture)])
    row = json.loads(result.stdout)
    assert {(hit["label"], hit["distance_bits"]) for hit in row["listed"]} == {
        ("one", 0),
        ("two", 0),
    }
    lines.write_text("hash,label\nnot-a-hash,x\n")
    with CopyIndex.open(target) as opened, pytest.raises(UserError, match="line 2"):
        opened.import_list(str(lines))


def test_geometry_confirms_a_listed_hash_where_the_work_is_indexed(
    works: tuple[Path, Path], tmp_path: Path
) -> None:
    wanted, other = works[1] / "4.jpg", tmp_path / "other.png"
    cv2.imwrite(str(other), scene(31))
    value, far = (pdq(ImageFile.open(item).pixels(512)).value for item in (wanted, other))
    lines = tmp_path / "list.csv"
    lines.write_text(f"hash,label,source\n{value},one,desk\n{far},two,desk\n")
    target = tmp_path / "w.index"
    target.write_bytes(works[0].read_bytes())
    assert CliRunner().invoke(command, ["import", str(lines), "-o", str(target)]).exit_code == 0
    copy = Path(save(tmp_path / "copy.jpg", scene(4), 40))
    arguments = ["search", str(target), str(copy), str(other)]
    result = CliRunner().invoke(command, arguments)
    first, second = (json.loads(line)["listed"] for line in result.stdout.splitlines())
    assert [hit["label"] for hit in first] == ["one"]
    assert Path(first[0]["confirmed_by"]["path"]).name == "4.jpg"
    assert first[0]["confirmed_by"]["overlap"] > 0.9
    assert [hit["label"] for hit in second] == ["two"]
    assert "confirmed_by" not in second[0]  # alike by its hash alone
    said = CliRunner().invoke(command, [*arguments, "--format", "text"]).stdout
    assert said.count("Confirmed: geometry") == 1


class Scanned:
    """A case of one picture that was scanned."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sha256 = ImageFile.open(path).sha256

    def facts(self) -> Any:
        yield self.sha256, {"hash.dct256": {}}

    def location(self, _sha256: str) -> str:
        return self.path

    def record_at(self, _path: str) -> None:
        return None


def test_a_scan_relates_copies_and_lost_reservations(tmp_path: Path) -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tdm="http://www.w3.org/ns/tdmrep/" tdm:reservation="1"/></rdf:RDF></x:xmpmeta>'
    )
    segment = b"http://ns.adobe.com/xap/1.0/\0" + packet
    plain = Path(save(tmp_path / "copy.jpg", scene(50))).read_bytes()
    work = tmp_path / "work.jpg"
    work.write_bytes(
        plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
    )
    target = tmp_path / "w.index"
    with CopyIndex.open(target, create=True) as made:
        made.add([str(work)], Settings(home=tmp_path))
        assert made.references()[0].reserved == ("rights.tdm",)
    settings = Settings(home=tmp_path, indices=(target,))
    case: Any = Scanned(str(tmp_path / "copy.jpg"))
    found: list[Relation] = list(relate(case, settings))
    assert [item.code for item in found] == ["copy.of", "rights.lost"]
    assert found[0].details["transform"] == "none"
    same: Any = Scanned(str(work))
    assert list(relate(same, settings)) == []


def test_pdq_is_the_published_one(test_data: Path) -> None:
    """The value that its authors publish for their bridge, in all their libraries' tests."""
    folder = test_data / "copies" / "pdq"
    bridge = folder / "pdq__data__bridge-mods__aaa-orig.jpg"
    if not bridge.is_file():
        pytest.skip("the bridge of PDQ's tests is not here")
    from PIL import Image

    found = pdq(np.asarray(Image.open(bridge).convert("RGB")))
    expected = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
    assert (found.value, found.quality) == (expected, 100)


def test_an_even_surface_has_no_pdq_quality() -> None:
    assert pdq(np.full((200, 300, 3), 90, np.uint8)).quality == 0


def test_the_report_of_a_scan_names_the_work_that_was_copied(tmp_path: Path) -> None:
    works, pictures, target = tmp_path / "works", tmp_path / "in", tmp_path / "w.index"
    for folder in (works, pictures):
        folder.mkdir()
    save(works / "own.jpg", scene(70))
    save(pictures / "copy.jpg", scene(70)[:, ::-1])
    with CopyIndex.open(target, create=True) as made:
        made.add([str(works)], Settings(home=tmp_path))
    case, page = tmp_path / "a.case", tmp_path / "a.html"
    arguments = ["scan", str(pictures), "--profile", "quick", "-j", "1", "--case", str(case)]
    for more, says in (([], True), (["--index", str(target)], False)):
        scanned = CliRunner().invoke(cli, [*arguments, *more, "--format", "text"])
        assert scanned.exit_code == 0
        assert ("copy.jpg: shows 100 % of" in scanned.stdout) is not says
        assert CliRunner().invoke(cli, ["report", str(case), "-o", str(page)]).exit_code == 0
        text = page.read_text()
        assert ("own.jpg (mirrored, by details" in text) is not says
        assert (EN.ui("gap.copy.why") in text) is says
        assert ("own.jpg" in text) is not says
