"""`counterproof recover`, as a person and a pipe use it."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counterproof.app.cli import cli
from counterproof.provenance.jumbf import is_store


def scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    low = rng.normal(127, 50, (12, 16, 3)).astype(np.float32)
    large = cv2.resize(low, (640, 480), interpolation=cv2.INTER_CUBIC)
    noisy = large + rng.normal(0, 6, large.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recover")


@pytest.fixture(autouse=True)
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(folder / "home"))
    monkeypatch.setenv("COUNTERPROOF_LANGUAGE", "en")
    for name in ("CERT", "KEY"):
        monkeypatch.delenv(f"COUNTERPROOF_SIGNING_{name}", raising=False)
    return folder / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def lost(folder: Path, home: Path) -> str:
    """A copy that lost its credential; it is marked once."""
    copy = folder / "lost.jpg"
    if not copy.exists():
        scene(1).save(folder / "a.png")
        done = run("mark", str(folder / "a.png"), "--as", "generated", "-o", str(folder / "out"))
        assert done.exit_code == 0
        image = Image.open(folder / "out" / "a.png").convert("RGB")
        image.resize((480, 360)).save(copy, quality=75)
    return str(copy)


def test_there_and_back(lost: str, folder: Path) -> None:
    done = run("recover", lost, "--format", "json", "-o", str(folder / "found.c2pa"))
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["found"], found["by"], found["status"]) == (True, "watermark", "match")
    assert found["manifest"]["title"] == "a.png"
    assert found["manifest"]["signature"]["holds"] is True
    assert (found["claim"], found["basis"]) == ("synthetic", "declared")
    assert is_store((folder / "found.c2pa").read_bytes())
    again = run("recover", lost, "-o", str(folder / "found.c2pa"))
    assert "exists" in str(again.exception).lower()


def test_a_page_for_people(lost: str) -> None:
    page = run("recover", lost).stdout
    assert "found by: watermark" in page
    assert "signer calls itself: local identity" in page
    assert "made by a model" in page
    assert "Does not mean" in page
    assert "水印" in run("recover", lost, "--lang", "zh").stdout


def test_nothing_is_found_for_another_picture(lost: str, folder: Path) -> None:
    scene(2).save(folder / "other.png")
    done = run("recover", str(folder / "other.png"), "--format", "json")
    nothing = {"found": False, "by": None, "status": None, "manifest": None}
    assert (done.exit_code, json.loads(done.stdout)) == (0, nothing)
    out = folder / "none.c2pa"
    done = run("recover", str(folder / "other.png"), "-o", str(out))
    assert "no credential was found" in done.stdout
    assert "no credential was found" in done.stderr
    assert not out.exists()


def test_a_scan_finds_it_too(lost: str) -> None:
    done = run("scan", lost, "--format", "jsonl", "--only", "recovery")
    record = json.loads(done.stdout)
    assert [item["code"] for item in record["findings"]] == ["recovery.match"]
    assert record["verdict"]["status"] == "synthetic_declared"


def test_what_cannot_be_asked(lost: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = folder / "bad.sqlite"
    bad.write_bytes(b"SQLite format 3\0" + bytes(100))
    for extra in (["--store", str(bad)], ["--store", "missing"], ["--key", "missing"]):
        done = run("recover", lost, *extra)
        assert done.exception is not None
        assert not done.stdout
    monkeypatch.setenv("COUNTERPROOF_HOME", str(folder / "nobody"))
    assert "no manifest store yet" in str(run("recover", lost).exception)
    hostile = folder / "hostile.jpg"
    hostile.write_bytes(b"\xff\xd8\xff" + io.BytesIO(bytes(99)).getvalue())
    monkeypatch.setenv("COUNTERPROOF_HOME", str(folder / "home"))
    assert run("recover", str(hostile)).exit_code != 0
