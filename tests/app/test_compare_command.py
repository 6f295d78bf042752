"""`counterproof compare` as a person uses it."""

import html
import json
import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw

from counterproof.app.cli import cli
from counterproof.errors import UserError
from counterproof.text import catalogue, cell_width

LABEL = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" a:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF>'
    "</x:xmpmeta>"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    original = Image.effect_noise((256, 192), 90).convert("RGB").resize((512, 384))
    original.save(folder / "a <b>.jpg", quality=92, xmp=LABEL.encode())
    copy = original.copy()
    ImageDraw.Draw(copy).rectangle((100, 100, 180, 170), fill=(250, 20, 20))
    copy.save(folder / "copy.jpg", quality=80)
    return folder / "a <b>.jpg", folder / "copy.jpg"


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(cli, [str(item) for item in arguments], env=environment)


def test_a_page_on_the_terminal(pair: tuple[Path, Path]) -> None:
    result = run("compare", *pair, COLUMNS="60")
    assert result.exit_code == 0, result.output
    ui = catalogue("en").ui
    headings = ["pixels", "credential", "findings", "metadata", "file"]
    places = [result.stdout.index(ui(f"compare.heading.{item}").upper()) for item in headings]
    assert places == sorted(places)
    assert ui("compare.says.changed", n=1) in result.stdout
    assert "\x1b" not in result.stdout
    lost = ui("compare.finding.lost", says="")
    assert lost.strip() in result.stdout  # the label went with the metadata
    long = [line for line in result.stdout.splitlines() if cell_width(line) > 60]
    assert all(" " not in line.strip() for line in long)  # an address stays whole


def test_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("compare", *pair, "--format", "json", "-o", tmp_path / "found.json")
    found = json.loads(result.stdout)
    assert found["schema"] == "counterproof.comparison/1"
    assert found["pixels"]["kind"] == "changed"
    rows = {row["name"]: row for row in found["file"]}
    saved = {"code": "file.saved.program", "saver": "libjpeg"}
    assert rows["stored.saved"]["original"] == {**saved, "quality": 92}
    assert rows["stored.saved"]["copy"] == {**saved, "quality": 80}
    (box,) = found["pixels"]["boxes"]
    assert box == pytest.approx([96, 96, 88, 80], abs=16)
    assert [item["code"] for item in found["findings"]["lost"]] == ["label.iptc.source_type"]
    assert found["metadata"]["removed"] == 1
    assert found["credential"]["change"] == "none"
    assert {item["alg"] for item in found["hashes"]} >= {"imagehash.phash.64"}
    assert found["original"]["schema"] == "counterproof.record/1"
    assert json.loads((tmp_path / "found.json").read_text()) == found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_one_offline_page(pair: tuple[Path, Path], tmp_path: Path, language: str) -> None:
    target = tmp_path / "found.html"
    result = run("compare", *pair, "-o", target, "--lang", language)
    assert result.exit_code == 0
    assert result.stdout == ""
    text = target.read_text(encoding="utf-8")
    assert "default-src 'none'" in html.unescape(text)
    assert "<script" not in text
    assert "a &lt;b&gt;.jpg" in text
    assert "<b>.jpg" not in text
    addresses = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert len(addresses) == 4  # the original, the copy, the original laid over it, the map
    assert all(item.startswith("data:image/webp;base64,") for item in addresses)


def test_what_cannot_be_compared(pair: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pair[1].read_bytes()[:900])
    assert run("compare", pair[0], broken).exit_code == 3
    missing = run("compare", pair[0], tmp_path / "none.jpg")
    assert isinstance(missing.exception, UserError)
    bad = run("compare", *pair, "-o", tmp_path / "found.csv")
    assert isinstance(bad.exception, UserError)


def test_a_film_is_compared_by_its_stored_bytes(tmp_path: Path) -> None:
    made = runpy.run_path(str(Path(__file__).parents[1] / "media_files.py"))
    files = {
        "a.mp4": made["film"](),
        "described.mp4": made["film"](made["keyed"]({"title": "x"})),
        "longer.mp4": made["film"](content=5000),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for other, kind in (("described.mp4", "stream_same"), ("longer.mp4", "stream_other")):
        page = tmp_path / f"{other}.html"
        result = run(
            "compare", tmp_path / "a.mp4", tmp_path / other, "--format", "json", "-o", page
        )
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["pixels"]["kind"] == kind
        assert found["metadata"]["added"] == (1 if other == "described.mp4" else 0)
        shown = html.unescape(page.read_text())
        assert catalogue("en").ui(f"compare.says.{kind}") in shown
        assert catalogue("en").ui(f"compare.pixels.{kind}") in shown
