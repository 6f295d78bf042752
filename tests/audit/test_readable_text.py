"""Reading text in pictures and filling what leads to a person; needs the extra `privacy`."""

import itertools
import socket
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from counterproof.analysis import Stage
from counterproof.audit import registry
from counterproof.audit.readable_text import (
    Line,
    _rows,
    _starts,
    joined,
    personal_places,
    views,
)
from counterproof.audit.redact import redact
from counterproof.audit.text_models import MODELS, _session, is_installed
from counterproof.errors import MissingExtra, WeightsError
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings

CARD = "4111 1111 1111 1111"


def sheet(lines: list[str], size: int = 20, sides: tuple[int, int] = (480, 240)) -> Image.Image:
    picture = Image.new("RGB", sides, (236, 232, 220))
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(lines):
        draw.text((24, 24 + 60 * number), text, (20, 20, 30), font=ImageFont.load_default(size))
    return picture


def png(picture: Image.Image, path: Path) -> ImageFile:
    picture.save(path, "PNG")
    return ImageFile.open(str(path))


needs_models = pytest.mark.skipif(not is_installed(), reason="needs the extra privacy")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_parts_of_a_number_are_joined() -> None:
    parts = [Line(text, (40 + 60 * at, 100 + at, 50, 20)) for at, text in enumerate(CARD.split())]
    far = Line("total", (900, 100, 60, 20))
    assert [[item.text for item in row] for row in _rows([far, *parts])] == [
        CARD.split(),
        ["total"],
    ]


@pytest.mark.parametrize("side", [1, 736, 737, 2900, 12_345])
def test_tiles_cover_a_side(side: int) -> None:
    starts = _starts(side)
    assert starts[0] == 0
    assert starts[-1] + 736 >= side
    assert all(b - a <= 544 for a, b in itertools.pairwise(starts))


@needs_models
def test_places_lie_on_the_text() -> None:
    picture = sheet([CARD, "jane.doe@example.org", "open from 9 to 17"])
    places = personal_places(np.asarray(picture))
    assert [item.kind for item in places] == ["card", "email"]
    for place, top in zip(places, (24, 84), strict=True):
        x, y, w, h = place.box
        assert x <= 26
        assert y <= top + 4
        assert y + h >= top + 16
        assert x + w >= 150


@needs_models
def test_nothing_in_ordinary_text() -> None:
    picture = sheet(["Opening hours 9:00 - 17:30", "EAN 4006381333931", "Lot 2024-03-12/0042"])
    assert personal_places(np.asarray(picture)) == []


@needs_models
def test_small_letters_of_a_large_picture() -> None:
    picture = Image.new("RGB", (1700, 1200), (200, 210, 205))
    picture.paste(sheet([CARD], 14), (1100, 900))
    places = personal_places(np.asarray(picture))
    assert [item.kind for item in places] == ["card"]
    assert places[0].box[0] > 1090
    assert places[0].box[1] > 890


def test_parts_of_a_line_in_two_tiles_are_joined() -> None:
    def quad(x: int, y: int, w: int, h: int) -> NDArray[np.float32]:
        return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)

    parts = [quad(10, 10, 500, 20), quad(400, 11, 300, 20), quad(10, 34, 500, 20)]
    lines = sorted((item.min(axis=0).tolist(), item.max(axis=0).tolist()) for item in joined(parts))
    assert lines == [([10, 10], [700, 31]), ([10, 34], [510, 54])]


@needs_models
@pytest.mark.parametrize("sides", [(1, 1), (3, 900), (900, 3), (40, 40)])
def test_odd_shapes(sides: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*sides, 3), dtype=np.uint8)
    assert personal_places(noise) == []


@needs_models
def test_finding_names_kinds_and_never_the_text(tmp_path: Path) -> None:
    chosen = registry.choose(Settings(home=tmp_path), Stage.QUICK, only=["text"])
    image = png(sheet([CARD, "jane.doe@example.org"]), tmp_path / "a.png")
    (found,) = [item for item in chosen[0].analyze(image) if isinstance(item, Finding)]
    assert (found.code, found.claim) == ("privacy.text", Claim.PERSONAL_DATA)
    assert found.details["count"] == {"card": 1, "email": 1}
    assert len(found.regions) == 2
    said = repr(found.to_json())
    assert "4111" not in said
    assert "jane" not in said


@needs_models
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_redacted_lines_cannot_be_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form.lower()}"
    sheet([CARD, "open from 9 to 17"]).save(path, form)
    made = redact(ImageFile.open(str(path)), Settings(home=tmp_path), text=True)
    pixels = ImageFile.open(made.data).pixels()
    assert len(made.boxes) == 1
    assert pixels[26:40, 30:200].max() <= 24
    read = [line.text for lines in views(pixels) for line in lines]
    assert any("9 to 17" in text for text in read)
    assert not any("1111" in text for text in read)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _session.cache_clear()
    with pytest.raises(MissingExtra, match=r"counterproof\[privacy\]"):
        registry.choose(Settings(home=tmp_path), Stage.DEEP, only=["text"])
    assert "text" not in {
        item.name for item in registry.choose(Settings(home=tmp_path), Stage.DEEP)
    }
    image = png(sheet([CARD]), tmp_path / "a.png")
    with pytest.raises(MissingExtra, match="reading the text"):
        redact(image, Settings(home=tmp_path), text=True)


@needs_models
def test_other_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "lines", (MODELS["lines"][0], "0" * 64))
    _session.cache_clear()
    with pytest.raises(WeightsError, match="expected SHA-256 000"):
        personal_places(np.zeros((64, 64, 3), np.uint8))


@needs_models
def test_a_line_upside_down_and_a_line_on_its_side() -> None:
    picture = sheet([CARD])
    for turn in (180, 90):
        places = personal_places(np.asarray(picture.rotate(turn, expand=True)))
        assert [item.kind for item in places] == ["card"]
