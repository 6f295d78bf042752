"""Every family: shapes, gradients, one step lowers the loss, and a stopped run goes on exactly."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterproof.errors import UserError, WeightsError
from counterproof.generators.config import (
    CodecConfig,
    Config,
    GanConfig,
    StyleganConfig,
    VaeConfig,
    config_from_json,
    config_to_json,
)
from counterproof.generators.dataset import Pictures, load_pictures

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("safetensors", reason="training needs the extra 'train'")

CONFIGS: dict[str, Config] = {
    "gan": GanConfig(size=16, classes=2, latent=8, channels=(16, 16), batch=4, images=32),
    "stylegan": StyleganConfig(
        size=16, classes=2, latent=8, base=64, most=16, critic_channels=(16, 16), batch=4,
        images=32, noise=True, mixing=0.9, path_length=2.0, path_every=2,
    ),
    "vae": VaeConfig(size=16, latent=8, channels=(8, 8, 8), batch=4, images=32, components=2),
    "codec": CodecConfig(size=16, channels=(8, 8, 8), latent=4, batch=4, images=32),
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(drawings: Path) -> Pictures:
    torch.set_num_threads(1)
    return load_pictures(drawings, 16)


def _train(name: str, pictures: Pictures, out: Path, images: int | None = None) -> Any:
    from counterproof.generators.training import Run, train

    return train(CONFIGS[name], pictures, Run(out, 3, precision="float32", images=images))


@pytest.mark.parametrize("name", CONFIGS)
def test_config_survives_json(name: str) -> None:
    assert config_from_json(config_to_json(CONFIGS[name])) == CONFIGS[name]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stopped_run_goes_on_bit_for_bit(name: str, pictures: Pictures, tmp_path: Path) -> None:
    whole = _train(name, pictures, tmp_path / "whole")
    _train(name, pictures, tmp_path / "parts", images=16)
    parts = _train(name, pictures, tmp_path / "parts")
    ours, theirs = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    rows = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert rows[0].startswith("step,images,cpu_s,")


@pytest.mark.parametrize("name", ["vae", "codec"])
def test_the_loss_falls(name: str, pictures: Pictures) -> None:
    from counterproof.generators.tasks import Batch, make_task

    task = make_task(CONFIGS[name], torch.device("cpu"), 0)
    x = torch.from_numpy(pictures.pixels[:4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    losses = []
    for step in range(100, 112):  # after the warm-up; the same picture and noise each time
        batch = Batch(x, x.new_zeros(4, 0), torch.Generator().manual_seed(0), step, 0.0)
        losses.append(task.step(batch, contextlib.nullcontext)["loss"])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["gan", "stylegan"])
def test_every_weight_of_a_generator_learns(name: str, pictures: Pictures) -> None:
    from counterproof.generators.snapshots import draw
    from counterproof.generators.tasks import Batch, make_task

    task = make_task(CONFIGS[name], torch.device("cpu"), 0)
    x = torch.from_numpy(pictures.pixels[:4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    label = torch.eye(2)[[0, 1, 0, 1]]
    for step in range(2):  # blocks start as the identity: their inner weights learn second
        task.step(
            Batch(x, label, torch.Generator().manual_seed(step), step, 0.0), contextlib.nullcontext
        )
    still = [k for k, p in task.nets["main"].named_parameters() if p.grad is None]
    assert not still
    made = draw(task.nets["main"], 3, 0)
    assert made is not None
    assert made.shape == (3, 16, 16, 3)
    assert made.dtype == np.uint8


def test_wrong_checkpoints_are_refused(pictures: Pictures, tmp_path: Path, drawings: Path) -> None:
    from counterproof.generators.checkpoint import read_average
    from counterproof.generators.training import CHECKPOINT, Run, train

    _train("vae", pictures, tmp_path, images=8)
    with pytest.raises(UserError, match="other settings"):
        train(CONFIGS["gan"], pictures, Run(tmp_path, precision="float32"))
    other = load_pictures(drawings / "bar", 16)
    with pytest.raises(UserError, match="other pictures"):
        train(CONFIGS["vae"], other, Run(tmp_path, precision="float32"))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        read_average(path)


def test_augmentation_can_be_derived_twice() -> None:
    from counterproof.generators.augment import augment

    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    made = augment(x, 1.0, torch.Generator().manual_seed(1))
    slope = torch.autograd.grad(made.square().sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(slope.square().sum(), x)[0].abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "stylegan", "vae"])
def test_export_draws_what_torch_draws(name: str, pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="export needs the extra 'train'")
    pytest.importorskip("sklearn", reason="export needs the extra 'train'")
    from counterproof.generators.checkpoint import read_average
    from counterproof.generators.publishing import export_checkpoint
    from counterproof.generators.sampling import open_sampler, to_pixels
    from counterproof.generators.training import CHECKPOINT

    _train(name, pictures, tmp_path)
    export_checkpoint(tmp_path / CHECKPOINT, tmp_path / "made.onnx", pictures)
    sampler = open_sampler(str(tmp_path / "made.onnx"))
    made = sampler.sample(3, 4, "disc")
    assert np.array_equal(made, sampler.sample(3, 4, "disc"))
    assert np.array_equal(made[:2], sampler.sample(2, 4, "disc"))
    if name == "vae":
        return  # its density is in the file only
    _, _, net = read_average(tmp_path / CHECKPOINT)
    z = torch.from_numpy(sampler.latents(3, 4))
    ours = to_pixels(net(z, torch.eye(2)[[1, 1, 1]]).numpy())
    assert np.abs(made.astype(int) - ours).max() <= 1
    if name == "stylegan":  # with the other's style from the first layer on, it is the other
        flipped, labels = sampler.latents(3, 4)[::-1].copy(), np.array([1, 1, 1])
        mixed = sampler.styled(flipped, sampler.latents(3, 4), labels, 0)
        assert np.array_equal(mixed, made)
