"""What a scan looks at: order, links, odd names, lists and shards."""

import os
import sys
from pathlib import Path

import pytest

from counterproof.audit.examine import unreadable
from counterproof.audit.sources import Ref, Shard, expand, read_list
from counterproof.errors import UserError
from counterproof.text import catalogue

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def paths(*given: object, shard: Shard | None = None) -> list[str]:
    return [Path(ref.path).name for ref in expand(map(str, given), shard)]


def test_a_folder_is_walked_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "sub/z.webp", "sub/deep/y.heic", "c.JPG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert paths(tmp_path) == ["a.png", "b.jpg", "c.JPG", "y.heic", "z.webp"]


def test_in_a_folder_name_or_content_makes_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "BM list.txt").write_text("BM is not a bitmap")
    (tmp_path / "upload").write_bytes(JPEG)
    (tmp_path / "broken.jpg").write_bytes(b"")
    (tmp_path / "broken.c2pa").write_bytes(b"")
    assert paths(tmp_path) == ["broken.jpg", "upload"]
    assert paths(tmp_path / "notes.txt") == ["notes.txt"]  # a file that is named is looked at


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    assert paths(tmp_path) == ["a.jpg", "link.jpg"]


def test_globs_that_the_shell_left_alone(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "sub/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    assert paths(tmp_path / "*.jpg") == ["1.jpg", "2.jpg"]
    assert paths(tmp_path / "**" / "*.jpg") == ["1.jpg", "2.jpg", "3.jpg"]
    (tmp_path / "[x].jpg").write_bytes(JPEG)
    assert paths(tmp_path / "[x].jpg") == ["[x].jpg"]


def test_a_missing_path_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    found = list(expand([str(tmp_path / "no.jpg"), str(tmp_path)]))
    assert found[0].problem.startswith("missing: ")
    assert [Path(ref.path).name for ref in found] == ["no.jpg", "a.jpg"]


@pytest.mark.skipif(sys.platform == "darwin", reason="names must be UTF-8 there")
def test_names_of_any_encoding(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(raw)).write_bytes(JPEG)
    (ref,) = expand([str(tmp_path)])
    assert os.fsencode(ref.path) == raw


def test_shards_split_and_cover(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jpg").write_bytes(JPEG)
    parts = [paths(tmp_path, shard=Shard.parse(f"{i}/3")) for i in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(paths(tmp_path))
    assert all(parts)
    for text in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"):
        with pytest.raises(UserError, match="shard"):
            Shard.parse(text)


def test_lists_by_line_or_by_nul(tmp_path: Path) -> None:
    listing = tmp_path / "list"
    listing.write_bytes(b"a.jpg\nb c.jpg\r\n\ncaf\xe9.jpg\n")
    assert read_list(str(listing)) == ["a.jpg", "b c.jpg", os.fsdecode(b"caf\xe9.jpg")]
    listing.write_bytes(b"a\nb.jpg\0c.jpg\0")
    assert read_list(str(listing)) == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(UserError, match="cannot read the list"):
        read_list(str(tmp_path / "none"))


def test_refs_are_plain_values() -> None:
    assert Ref("a") == Ref("a", "")


def test_a_folder_that_cannot_be_opened_is_called_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    (ref,) = expand([str(tmp_path)])
    cause, _, message = ref.problem.partition(": ")
    assert message == f"{tmp_path}: Permission denied"
    said = catalogue("en").sentence(unreadable(cause, message))
    assert said == "This folder could not be read: no permission to read it."
    assert "文件夹" in catalogue("zh").sentence(unreadable(cause, message))
