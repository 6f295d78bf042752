"""Every tag as exiftool reads it: shut in, with a floor, and never a finding."""

import io
import os
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.cli import cli
from counterproof.audit import exiftool
from counterproof.audit.exiftool import find_exiftool, read_tags
from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits of the system")


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of ours where exiftool is looked for."""
    path = folder / "exiftool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


VERSION = 'if [ "$3" = "-ver" ]; then echo 12.99; exit; fi\n'


def image() -> ImageFile:
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0110] = "Camera 9"
    Image.new("RGB", (20, 10)).save(data, "JPEG", exif=exif)
    return ImageFile.open(data.getvalue(), name="a.jpg")


def test_tags_keep_their_order_and_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '[{"SourceFile":"-","IFD0:Model":"A\\nB","IFD0:Model":7,"X:List":["a",{"b":1}]}]'
    stand_in(tmp_path, f"{VERSION}cat >/dev/null; printf '%s' '{answer}'", monkeypatch)
    found = find_exiftool()
    assert found == (str(tmp_path / "exiftool"), "12.99")
    dump = read_tags(image(), found)
    assert dump.tags == (("IFD0:Model", "A B"), ("IFD0:Model", "7"), ("X:List", "a, b: 1"))
    assert (dump.version, dump.complete) == ("12.99", True)


def test_it_gets_bytes_and_nothing_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    script = (
        f"{VERSION}"
        'printf \'[{"A:Args":"%s","A:Home":"%s","A:Secret":"%s","A:Bytes":"%s","A:Here":"%s"}]\' '
        '"$*" "$HOME" "$SECRET_TOKEN" "$(wc -c)" "$(ls | wc -l)"'
    )
    stand_in(tmp_path, script, monkeypatch)
    picture = image()
    tags = dict(read_tags(picture, find_exiftool()).tags)
    assert tags["A:Args"] == "-config -j -G1 -a -u -"
    assert "a.jpg" not in tags["A:Args"]
    assert tags["A:Secret"] == ""
    assert int(tags["A:Bytes"]) == len(picture.data)
    assert tags["A:Here"].strip() == "0"
    assert not Path(tags["A:Home"]).exists()


def test_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "written"
    script = f"{VERSION}cat >/dev/null; (echo data > {target}) 2>/dev/null; printf '[{{}}]'"
    stand_in(tmp_path, script, monkeypatch)
    read_tags(image(), find_exiftool())
    assert not target.exists() or target.read_bytes() == b""


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cat >/dev/null; printf 'no json'", "answered no tags"),
        ("cat >/dev/null; printf '[1]'", "answered no tags"),
        ("cat >/dev/null; exit 1", "took too long"),
        ("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", "too long"),
        ("sleep 60", "took too long"),
    ],
)
def test_what_breaks_off_is_one_error(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exiftool, "_MAX_OUTPUT", 100_000)
    stand_in(tmp_path, VERSION + script, monkeypatch)
    found = find_exiftool()
    monkeypatch.setattr(exiftool, "_TIMEOUT_S", 2.0)
    with pytest.raises(ImageError, match=f"a.jpg: exiftool .*{reason}"):
        read_tags(image(), found)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 12.16", r"12\.16 is too old: at least 12\.38"),
        ("echo hello", "expected a version"),
        ("exit 3", "expected a version"),
    ],
)
def test_a_version_below_the_floor_is_refused(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, script, monkeypatch)
    with pytest.raises(UserError, match=reason):
        find_exiftool()


def test_without_exiftool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="exiftool was not found"):
        find_exiftool()


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_show_lists_them(tmp_path: Path) -> None:
    path, page = tmp_path / "a.jpg", tmp_path / "a.html"
    path.write_bytes(image().data)
    result = CliRunner().invoke(
        cli, ["show", str(path), "--tags", "--profile", "quick", "-o", str(page)]
    )
    assert result.exit_code == 0, result.output
    assert "Camera 9" in page.read_text()
    assert "IFD0:Model" in page.read_text()
    text = CliRunner().invoke(cli, ["show", str(path), "--tags", "--profile", "quick"]).output
    assert "IFD0:Model" in text
    assert "AS EXIFTOOL" in text
