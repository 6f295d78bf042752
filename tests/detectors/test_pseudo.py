"""Pseudo-pictures: the same scene, through every kind of decoder, made once."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.detectors import detectors
from counterproof.detectors import pseudo
from counterproof.detectors.pseudo import KINDS, Kind
from counterproof.detectors.samples import Sample
from counterproof.errors import UserError
from tests.detectors.drawn import textured

pytest.importorskip("torch")
pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / f"{turn}.png" for turn in range(4)]
    for turn, path in enumerate(paths):
        Image.fromarray(textured(130, 150, turn)).save(path)
    return paths


def test_kinds_cover_strides_enlarging_noise_and_critics() -> None:
    assert len({kind.name for kind in KINDS}) == 12
    assert {kind.stride for kind in KINDS} == {2, 4, 8}
    assert {kind.latent for kind in KINDS} == {"plain", "noisy"}
    assert any(kind.adversarial for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_keeps_the_shape(kind: Kind) -> None:
    net = pseudo.autoencoder(kind, width=4).eval()
    pixels = textured(70, 91)
    assert pseudo.decoded(net, pixels).shape == pixels.shape


@pytest.mark.parametrize("kind", [KINDS[8], KINDS[9], KINDS[10], KINDS[11]], ids=lambda k: k.name)
def test_strips_give_what_the_whole_would(kind: Kind) -> None:
    net = pseudo.autoencoder(kind, width=4).eval()
    pixels = textured(600, 96)
    apart = pseudo.decoded(net, pixels).astype(int) - pseudo._run(net, pixels)
    assert np.abs(apart).max() <= 1  # rounding


def test_training_brings_the_scene_back(photographs: list[Path]) -> None:
    kind = Kind(2, "nearest", "noisy", True)
    pixels = textured(130, 150, 0)
    errors = []
    pool = pseudo.patches(photographs)
    assert pool.shape == (80, pseudo.PATCH, pseudo.PATCH, 3)
    for steps in (0, 30):
        net = pseudo.trained(kind, pool, steps=steps, batch=2)
        made = pseudo.decoded(net, pixels).astype(float)
        errors.append(float(np.abs(made - pixels).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_pictures_are_written_once_with_their_table(
    photographs: list[Path], tmp_path: Path
) -> None:
    told: list[str] = []
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    kinds = (Kind(2, "shuffle"), Kind(4, "transposed"))
    given = [Sample(path, False, "camera") for path in (*photographs, broken)]
    out = tmp_path / "out"
    table = pseudo.write_pictures(given, out, kinds=kinds, steps=1, told=told.append)
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    made = [row for row in rows if row["label"] == "fake"]
    assert [row["source"] for row in made] == [
        f"pseudo-{kinds[number // 2].name}" for number in range(4)
    ]
    assert [row["source"] for row in rows if row["label"] == "real"] == ["camera"] * 4
    for row in rows:
        with Image.open(out / row["file"]) as opened:
            assert opened.size == (150, 130)
    assert all((out / row["file"]).is_file() for row in rows)
    assert any("broken.png" in text for text in told)
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path != table}
    (out / made[0]["file"]).unlink()
    pseudo.write_pictures(given, out, kinds=kinds, steps=1)
    again = {path: path.stat().st_mtime_ns for path in kept}
    assert sum(kept[path] != again[path] for path in kept) == 2  # the decoder was kept
    with pytest.raises(UserError, match="readable photographs"):
        pseudo.write_pictures(given[-1:], out)


def test_the_recipe_takes_photographs_alone(photographs: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "set" / "real" / "camera"
    place.mkdir(parents=True)
    for path in photographs[:2]:
        (place / path.name).write_bytes(path.read_bytes())
    command = ["train", str(tmp_path / "set"), "-o", str(tmp_path / "out"), "--recipe", "pseudo"]
    done = CliRunner().invoke(detectors, [*command, "--steps", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 4
    assert len(list((tmp_path / "out" / "decoders").iterdir())) == 2
