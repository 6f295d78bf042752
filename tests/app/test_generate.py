"""`generate`: same seed, same pictures; every one is marked; bad input gets one clear error."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from counterproof.app.generate import generate
from counterproof.app.generators import generators
from counterproof.errors import UserError, WeightsError
from counterproof.generators.sampling import open_sampler
from counterproof.provenance.mark import assert_marked

# mean of each picture of seed 11, from the weights that ship; a grey level of tolerance
GOLDEN = {
    "gan": [107.0, 153.8, 114.1, 148.8],
    "vae": [116.6, 116.2, 86.8, 134.0],
    "stylegan": [129.4, 114.9, 128.9, 128.0],
}


@pytest.mark.parametrize("native", [False, True])
def test_every_picture_is_marked(tmp_path: Path, native: bool) -> None:
    flags = ["--native"] if native else []
    arguments = ["--model", "vae", "-n", "2", "-o", str(tmp_path), "--label", "pants", *flags]
    result = CliRunner().invoke(generate, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["preview.png", "vae-0-0000.png", "vae-0-0001.png"]
    for name in written:
        assert_marked(tmp_path / name, "generated")


def test_the_manifest_says_what_the_model_was_trained_on(tmp_path: Path) -> None:
    import io
    import json

    import c2pa

    arguments = ["--model", "vae", "-n", "1", "-o", str(tmp_path)]
    CliRunner().invoke(generate, arguments, catch_exceptions=False)
    data = (tmp_path / "vae-0-0000.png").read_bytes()
    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        document = json.loads(reader.json())
    said = json.dumps(document["manifests"][document["active_manifest"]]["assertions"])
    assert said.count("Trained on clothing-dataset-small") == 2
    assert "3,047 pictures, CC0-1.0" in said


def test_the_same_seed_draws_the_same_pictures() -> None:
    sampler = open_sampler("vae")
    four, two = sampler.sample(4, 11, "pants"), sampler.sample(2, 11, "pants")
    assert four.shape == (4, 64, 64, 3)
    assert four.dtype == np.uint8
    assert np.array_equal(four[:2], two)
    assert not np.array_equal(four, sampler.sample(4, 12, "pants"))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_weights_draw_what_they_drew(name: str) -> None:
    made = open_sampler(name).sample(4, 11)
    assert made.mean((1, 2, 3)) == pytest.approx(GOLDEN[name], abs=0.5)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a label of dress"):
        open_sampler("vae").sample(1, 0, "spoon")
    with pytest.raises(UserError, match="seed"):
        open_sampler("vae").sample(1, -1)
    with pytest.raises(UserError, match="expected a model of gan, vae, stylegan"):
        open_sampler(str(tmp_path / "nothing.onnx"))
    (tmp_path / "odd.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match=r"odd\.onnx"):
        open_sampler(str(tmp_path / "odd.onnx"))


def test_existing_pictures_are_kept(tmp_path: Path) -> None:
    (tmp_path / "vae-0-0000.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        CliRunner().invoke(
            generate, ["--model", "vae", "-o", str(tmp_path)], catch_exceptions=False
        )
    assert (tmp_path / "vae-0-0000.png").read_bytes() == b"mine"


def test_styles_are_mixed_as_a_marked_grid(tmp_path: Path) -> None:
    from counterproof.images import ImageFile

    arguments = ["mix", "stylegan", "-n", "2", "--seed", "4", "-o", str(tmp_path)]
    CliRunner().invoke(generators, arguments, catch_exceptions=False)
    path = tmp_path / "stylegan-mix-4.png"
    assert_marked(path, "generated")
    sheet = ImageFile.open(path).pixels().astype(int)
    sampler = open_sampler("stylegan")
    z, labels = sampler.latents(4, 4), sampler.labels(4, 4)
    side, scale = 64, sheet.shape[0] / 200  # three pictures of 64 pixels and four gaps of 2
    cell = sheet[round(68 * scale) : round(132 * scale), round(2 * scale) : round(66 * scale)]
    shape = sampler.styled(z[:1], z[:1], labels[:1], sampler.facts.depth)[0]
    assert shape.shape == (side, side, 3)
    assert abs(cell.mean() - shape.mean()) < 3
    with pytest.raises(UserError, match="expected a stylegan model"):
        CliRunner().invoke(generators, ["mix", "gan", "-o", str(tmp_path)], catch_exceptions=False)


def test_truncation_draws_more_usual_pictures() -> None:
    sampler = open_sampler("stylegan")
    wide, narrow = (sampler.sample(16, 5, "pants", value) for value in (1.0, 0.3))
    assert narrow.astype(float).std(0).mean() < 0.7 * wide.astype(float).std(0).mean()


def test_list_names_the_classes() -> None:
    result = CliRunner().invoke(generators, ["list"], catch_exceptions=False)
    assert "pants" in result.output


def test_a_file_that_cannot_be_read_shows_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from counterproof.app.cli import main

    pytest.importorskip("constriction", reason="the codec needs the extra 'codec'")
    (tmp_path / "odd.cpi").write_bytes(b"not such a file")
    arguments = ["generators", "decompress", str(tmp_path / "odd.cpi"), "-o", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["counterproof", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 3
    assert "not a file of this codec" in capsys.readouterr().err
