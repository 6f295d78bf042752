"""Projection comes closer than the closest sample; exported files come back into torch."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from counterproof.app.generators import generators
from counterproof.errors import UserError, WeightsError
from counterproof.generators.sampling import open_sampler
from counterproof.provenance.mark import assert_marked

for needed in ("torch", "safetensors", "onnx", "onnxscript", "sklearn"):
    pytest.importorskip(needed, reason="projection needs the extra 'train'")


@pytest.mark.parametrize("name", ["stylegan", "vae"])
def test_a_bundled_file_draws_the_same_in_torch(name: str) -> None:
    from counterproof.generators.generator import Generator

    model = Generator.load(name)
    ours, theirs = model.sample(4, 11), open_sampler(name).sample(4, 11)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert model.facts().trained_on.startswith("Trained on ")
    with pytest.raises(UserError, match="cannot be saved again"):
        model.save("again.onnx")


def test_a_search_comes_closer_than_the_closest_sample() -> None:
    from counterproof.generators.generator import Generator
    from counterproof.generators.projection import project

    model = Generator.load("stylegan")
    wanted = model.sample(1, 977)[0]
    found = project(model, wanted, steps=25)
    assert found.psnr_db > found.start_db + 1
    assert found.pixels.shape == (64, 64, 3)
    assert found.latent.shape == (open_sampler("stylegan").facts.depth, 128)
    with pytest.raises(UserError, match="64 × 64"):
        project(model, wanted[:32])


def test_the_command_writes_marked_pictures(tmp_path: Path) -> None:
    y, x = np.mgrid[0:90, 0:120]
    picture = np.stack([y, x, 255 - y], 2).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "mine.png")
    (tmp_path / "odd.png").write_bytes(b"not a picture")
    arguments = ["project", "vae", str(tmp_path / "odd.png"), str(tmp_path / "mine.png")]
    arguments += ["-o", str(tmp_path / "out"), "--steps", "5"]
    result = CliRunner().invoke(generators, arguments)
    assert result.exit_code == 3
    assert "odd.png" in result.output
    assert_marked(tmp_path / "out" / "mine.png", "generated")


def test_files_without_settings_are_refused(tmp_path: Path) -> None:
    import onnx

    from counterproof.generators.exported import read_exported
    from counterproof.generators.sampling import METADATA, read_model_file

    data = read_model_file("stylegan")
    with pytest.raises(WeightsError, match="not an ONNX model"):
        read_exported(data[:1000], "cut.onnx")
    model = onnx.load_from_string(data)
    entry = next(item for item in model.metadata_props if item.key == METADATA)
    kept = entry.value
    entry.value = kept.replace('"config": "', '"other": "')
    with pytest.raises(WeightsError, match="no settings"):
        read_exported(model.SerializeToString(), "old.onnx")
    entry.value = kept
    del model.graph.initializer[0]
    with pytest.raises(WeightsError, match="lacks weights"):
        read_exported(model.SerializeToString(), "thin.onnx")
