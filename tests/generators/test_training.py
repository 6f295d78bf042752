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
        images=32, noise=True, noise_from=12, mixing=0.9, path_length=2.0, path_every=2,
    ),
    "vae": VaeConfig(
        size=16, latent=8, channels=(8, 8, 8), batch=4, images=32, components=2, critic_from=12,
        critic_channels=(16, 16), classes=2, drawn_from=20,
    ),
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
    from counterproof.generators.task import Batch
    from counterproof.generators.tasks import make_task

    task = make_task(CONFIGS[name], torch.device("cpu"), 0)
    x = torch.from_numpy(pictures.pixels[:4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    label = torch.eye(2)[[0, 1, 0, 1]] if name == "vae" else x.new_zeros(4, 0)
    losses = []
    for step in range(100, 112):  # after the warm-up; the same picture and noise each time
        batch = Batch(x, label, torch.Generator().manual_seed(0), step, 0.0)
        losses.append(task.step(batch, contextlib.nullcontext)["loss"])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["gan", "stylegan"])
def test_every_weight_of_a_generator_learns(name: str, pictures: Pictures) -> None:
    from counterproof.generators.task import Batch
    from counterproof.generators.tasks import make_task

    task = make_task(CONFIGS[name], torch.device("cpu"), 0)
    x = torch.from_numpy(pictures.pixels[:4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    label = torch.eye(2)[[0, 1, 0, 1]]
    for step in range(2):  # blocks start as the identity: their inner weights learn second
        task.step(
            Batch(x, label, torch.Generator().manual_seed(step), step, 0.0, 16),
            contextlib.nullcontext,
        )
    still = [k for k, p in task.nets["main"].named_parameters() if p.grad is None]
    assert not still


def test_more_pictures_can_be_asked_for(pictures: Pictures, tmp_path: Path) -> None:
    import dataclasses

    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.training import CHECKPOINT, Run, train

    _train("vae", pictures, tmp_path)
    more = dataclasses.replace(CONFIGS["vae"], images=48)
    train(more, pictures, Run(tmp_path, 3, precision="float32"))
    known, progress = read_header(tmp_path / CHECKPOINT)
    assert (known.images, progress.images) == (48, 48)


def test_wrong_checkpoints_are_refused(pictures: Pictures, tmp_path: Path) -> None:
    import dataclasses

    from counterproof.generators.checkpoint import read_model
    from counterproof.generators.training import CHECKPOINT, Run, train

    _train("vae", pictures, tmp_path, images=8)
    with pytest.raises(UserError, match="other settings"):
        train(CONFIGS["gan"], pictures, Run(tmp_path, precision="float32"))
    other = dataclasses.replace(pictures, digest="0" * 64)
    with pytest.raises(UserError, match="other pictures"):
        train(CONFIGS["vae"], other, Run(tmp_path, precision="float32"))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        read_model(path)


def test_augmentation_can_be_derived_twice() -> None:
    from counterproof.generators.augment import augment

    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    made = augment(x, 1.0, torch.Generator().manual_seed(1))
    slope = torch.autograd.grad(made.square().sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(slope.square().sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["gan", "stylegan", "vae"])
def test_one_interface_fits_samples_saves_and_loads(
    name: str, pictures: Pictures, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn", reason="a VAE's density needs the extra 'train'")
    from counterproof.generators.generator import Generator
    from counterproof.generators.training import Run

    model = Generator(CONFIGS[name])
    with pytest.raises(UserError, match="not trained yet"):
        model.sample(1)
    model.fit(pictures, Run(tmp_path / "run", 3, precision="float32"))
    made = model.sample(3, 4, "disc")
    assert made.shape == (3, 16, 16, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made[:2], model.sample(2, 4, "disc"))
    assert not np.array_equal(made, model.sample(3, 5, "disc"))
    model.save(tmp_path / "model.safetensors")
    again = Generator.load(tmp_path / "model.safetensors")
    assert np.array_equal(again.sample(3, 4, "disc"), made)
    assert again.facts() == model.facts()
    assert again.facts().classes == ("bar", "disc")
    with pytest.raises(UserError, match="ending in"):
        model.save(tmp_path / "model.pt")


def test_a_codec_is_no_generator() -> None:
    from counterproof.generators.generator import Generator

    with pytest.raises(UserError, match="draws none"):
        Generator(CONFIGS["codec"])


@pytest.mark.parametrize("name", ["gan", "vae", "codec"])
def test_a_run_is_looked_at(name: str, pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="a VAE's density needs the extra 'train'")
    import csv

    from counterproof.generators.snapshots import Observer
    from counterproof.generators.training import Run, train
    from counterproof.provenance import keys
    from counterproof.provenance.mark import assert_marked
    from counterproof.settings import Settings

    keys.init_identity(tmp_path / "home", "Example Studio")
    watcher = Observer(CONFIGS[name], pictures, tmp_path, Settings(home=tmp_path / "home"))
    seen = []

    def notice(progress: Any, logged: dict[str, float], average: Any) -> None:
        if average is not None:
            seen.append(watcher.look(average, progress))

    train(CONFIGS[name], pictures, Run(tmp_path, precision="float32"), notice)
    if name == "codec":
        assert seen == [None]
        return
    with (tmp_path / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["frechet"]) > float(row["frechet_floor"])
    assert (row["n"], row["n_held"]) == ("500", str(pictures.held.sum()))
    assert row["copied"] in ("True", "False")
    assert_marked(next((tmp_path / "snapshots").iterdir()), "generated")


def test_ctrl_c_leaves_a_checkpoint_that_goes_on(pictures: Pictures, tmp_path: Path) -> None:
    import os
    import signal

    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.training import CHECKPOINT, Run, train

    def notice(progress: Any, logged: dict[str, float], average: Any) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    run = Run(tmp_path / "run", 3, precision="float32")
    with pytest.raises(KeyboardInterrupt):
        train(CONFIGS["gan"], pictures, run, notice)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_header(run.out / CHECKPOINT)[1].step == 3
    parts = train(CONFIGS["gan"], pictures, run)
    whole = _train("gan", pictures, tmp_path / "whole")
    ours, theirs = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


ONE_OF_TWO = """
import json, os, sys
from pathlib import Path
from safetensors.torch import save_file
from counterproof.generators.config import config_from_json
from counterproof.generators.dataset import load_pictures
from counterproof.generators.training import Run, train

out = Path(sys.argv[3])
net = train(config_from_json(json.loads(sys.argv[1])), load_pictures(sys.argv[2], 16), Run(out))
held = {key: value.contiguous() for key, value in net.state_dict().items()}
save_file(held, out / f"rank{os.environ['RANK']}.safetensors")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "stylegan", "vae"])
def test_two_processes_hold_the_same_weights(name: str, drawings: Path, tmp_path: Path) -> None:
    import json
    import os
    import subprocess
    import sys

    from safetensors.torch import load_file

    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.training import CHECKPOINT

    (tmp_path / "one.py").write_text(ONE_OF_TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(29_400 + os.getpid() % 1000), str(tmp_path / "one.py")]
    command += [json.dumps(config_to_json(CONFIGS[name])), str(drawings), str(tmp_path / "run")]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    first, second = (load_file(tmp_path / "run" / f"rank{rank}.safetensors") for rank in (0, 1))
    learned = [key for key in first if key != "mapping.average" and not key.endswith(".noise")]
    assert all(torch.equal(first[key], second[key]) for key in learned)
    _, progress = read_header(tmp_path / "run" / CHECKPOINT)
    assert (progress.step, progress.images) == (4, 32)  # two batches of four a step


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "stylegan", "vae"])
def test_export_draws_what_torch_draws(name: str, pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="export needs the extra 'train'")
    pytest.importorskip("sklearn", reason="export needs the extra 'train'")
    from counterproof.generators.generator import Generator
    from counterproof.generators.publishing import export_checkpoint
    from counterproof.generators.sampling import open_sampler
    from counterproof.generators.training import CHECKPOINT

    _train(name, pictures, tmp_path)
    export_checkpoint(tmp_path / CHECKPOINT, tmp_path / "made.onnx", pictures)
    sampler = open_sampler(str(tmp_path / "made.onnx"))
    made = sampler.sample(3, 4, "disc")
    assert np.array_equal(made, sampler.sample(3, 4, "disc"))
    assert np.array_equal(made[:2], sampler.sample(2, 4, "disc"))
    model = Generator.load(tmp_path / CHECKPOINT).fit_density(pictures, 3)
    ours = model.sample(3, 4, "disc")
    assert np.abs(made.astype(int) - ours).max() <= 1
    again = Generator.load(tmp_path / "made.onnx").sample(3, 4, "disc")
    assert np.abs(made.astype(int) - again).max() <= 1
    assert sampler.facts.trained_on.startswith("Trained on ")
    if name == "stylegan":  # with the other's style from the first layer on, it is the other
        flipped, labels = sampler.latents(3, 4)[::-1].copy(), np.array([1, 1, 1])
        mixed = sampler.styled(flipped, sampler.latents(3, 4), labels, 0)
        assert np.array_equal(mixed, made)


def test_a_discriminator_joins_a_vae_late(pictures: Pictures, tmp_path: Path) -> None:
    from counterproof.generators.training import Run, train

    seen: list[tuple[int, bool]] = []

    def notice(progress: Any, logged: dict[str, float], average: Any) -> None:
        seen.append((progress.images, "critic_loss" in logged))

    train(CONFIGS["vae"], pictures, Run(tmp_path, 3, precision="float32"), notice)
    assert [joined for images, joined in seen[:-1] if images <= 12] == [False] * 3
    assert all(joined for images, joined in seen[:-1] if images > 12)


def test_a_vae_of_an_earlier_version_is_read_without_a_discriminator() -> None:
    held = config_to_json(CONFIGS["vae"])
    for name in ("critic_from", "critic_weight", "critic_channels", "critic_rate", "penalty",
                 "penalty_every", "augment_target", "augment_most", "smooth", "classes",
                 "drawn_from"):  # fmt: skip
        del held[name]
    read = config_from_json(held)
    assert isinstance(read, VaeConfig)
    assert (read.critic_from, read.smooth, read.classes, read.drawn_from) == (0, False, 0, 0)


def test_a_density_comes_to_what_latents_are() -> None:
    from counterproof.generators.vae_task import LatentDensity

    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[2.0, 0.0], [0.0, -3.0]])
    factor = torch.tensor([[0.5, 0.0], [0.4, 1.5]])
    density = LatentDensity(2, 2)
    moves = torch.optim.SGD(density.parameters(), 0.05)
    for _ in range(400):
        chosen = torch.randint(2, (64,), generator=rng)
        latents = centres[chosen] + torch.randn(64, 2, generator=rng) @ factor.t()
        moves.zero_grad()
        density.loss(latents, torch.eye(2)[chosen]).backward()  # type: ignore[no-untyped-call]
        moves.step()
    drawn = density.draw(torch.eye(2)[torch.ones(20_000).long()], torch.randn(20_000, 2))
    assert torch.allclose(drawn.mean(0), centres[1], atol=0.15)
    assert torch.allclose(torch.cov(drawn.t()), factor @ factor.t(), atol=0.3)


def test_what_is_drawn_is_judged_late(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterproof.generators.vae_task import VaeTask

    seen, drawn = [], VaeTask._drawn

    def noted(self: Any, batch: Any, autocast: Any) -> Any:
        made = drawn(self, batch, autocast)
        seen.append((batch.images, made.shape))
        return made

    monkeypatch.setattr(VaeTask, "_drawn", noted)
    _train("vae", pictures, tmp_path)
    assert seen == [(images, (2, 3, 16, 16)) for images in (20, 24, 28)]


def test_a_class_is_drawn_from_gaussians_of_its_own(pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="fitting needs the extra 'train'")
    from counterproof.generators.generator import Generator
    from counterproof.generators.projection import project
    from counterproof.generators.training import Run

    model = Generator(CONFIGS["vae"]).fit(pictures, Run(tmp_path, 3, precision="float32"))
    assert model.prior is not None
    assert model.prior.classes.tolist() == [0, 1]
    assert model.prior.weights.sum() == pytest.approx(1)
    sampler = model.sampler()
    for number in (0, 1):
        given = sampler._inputs(range(8), 1, np.full(8, number), 1.0)
        assert (given["component"] == number).all()
    freely = sampler._inputs(range(8), 1, np.full(8, -1), 1.0)
    assert set(freely["component"]) == {0, 1}
    model.save(tmp_path / "vae.safetensors")
    again = Generator.load(tmp_path / "vae.safetensors")
    assert np.array_equal(again.sample(3, 1), model.sample(3, 1))
    near = project(again, pictures.pixels[0], steps=5)
    assert near.psnr_db >= near.start_db - 1.0


def test_a_smooth_decoder_leaves_no_grid_of_two_pixels() -> None:
    from counterproof.generators.tasks import make_task

    def grid(smooth: bool) -> float:
        config = VaeConfig(size=16, latent=8, channels=(8, 8, 8), critic_from=0, smooth=smooth)
        net: Any = make_task(config, torch.device("cpu"), 0).nets["main"]
        shifted = net.up[-2].bias.detach().clone()
        shifted[::4] += 1.0  # one pixel of each square of four
        net.up[-2].bias.data = shifted
        with torch.no_grad():
            made = net(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
        inner = made[:, :, 2:-2, 2:-2]
        return float((inner[:, :, ::2, ::2] - inner[:, :, 1::2, 1::2]).mean().abs())

    assert grid(True) < 0.05 < 0.5 < grid(False)


def test_noise_is_learned_late(pictures: Pictures, tmp_path: Path) -> None:
    early = _train("stylegan", pictures, tmp_path, images=12)
    late = _train("stylegan", pictures, tmp_path, images=20)
    strengths = [
        [float(value) for name, value in net.named_parameters() if name.endswith(".strength")]
        for net in (early, late)
    ]
    assert set(strengths[0]) == {0.0}
    assert 0.0 not in strengths[1]
