"""Training meets what goes wrong: folders, checkpoints, full disks, a killed process."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from counterproof.app.generators import generators
from counterproof.errors import UserError, WeightsError
from counterproof.generators.config import GanConfig, VaeConfig, config_to_json
from counterproof.generators.dataset import Pictures, load_pictures

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("safetensors", reason="training needs the extra 'train'")

GAN = GanConfig(size=16, classes=2, latent=8, channels=(16, 16), batch=4, images=32)


@pytest.fixture(scope="module")
def pictures(drawings: Path) -> Pictures:
    return load_pictures(drawings, 16)


def _train(pictures: Pictures, out: Path, images: int | None = None, notice: Any = None) -> Any:
    from counterproof.generators.training import Run, train

    return train(GAN, pictures, Run(out, 3, precision="float32", images=images), notice)


def _command(*arguments: str) -> None:
    CliRunner().invoke(generators, list(arguments), catch_exceptions=False)


def test_pictures_beside_class_folders_are_refused(drawings: Path, tmp_path: Path) -> None:
    shutil.copytree(drawings, tmp_path / "set")
    shutil.copy(tmp_path / "set" / "bar" / "00.png", tmp_path / "set" / "stray.png")
    with pytest.raises(UserError, match=r"1 of 41 pictures name no class.*--no-labels"):
        load_pictures(tmp_path / "set", 16)
    assert load_pictures(tmp_path / "set", 16, labels=False).classes == ("all",)


def test_other_files_are_left_out(drawings: Path, tmp_path: Path) -> None:
    shutil.copytree(drawings, tmp_path / "set")
    (tmp_path / "set" / "bar" / "notes.txt").write_text("about these pictures")
    (tmp_path / "set" / "bar" / "words.jpg").write_text("no picture")
    (tmp_path / "set" / "bar" / "empty.png").write_bytes(b"")
    found = load_pictures(tmp_path / "set", 16)
    assert found.digest == load_pictures(drawings, 16).digest
    assert sorted(message.split(":")[0] for message in found.skipped) == [
        "bar/empty.png", "bar/words.jpg",
    ]  # fmt: skip


def test_one_picture_and_an_empty_folder_say_what_is_expected(
    drawings: Path, tmp_path: Path
) -> None:
    for name, count in (("one", 1), ("none", 0)):
        folder = tmp_path / name
        folder.mkdir()
        if count:
            shutil.copy(next(drawings.rglob("*.png")), folder)
        expected = f"{folder}: expected at least 10 readable pictures to train on, found {count}"
        with pytest.raises(UserError, match=re.escape(expected)):
            _command("train", "gan", str(folder), "-o", str(tmp_path / "run"))
        assert not (tmp_path / "run").exists()


def test_a_torn_zip_names_its_entries(packed: Path, tmp_path: Path) -> None:
    data = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as file:
        entry = file.infolist()[3]
    start = entry.header_offset + 30 + len(entry.filename)
    data[start : start + 40] = bytes(40)
    (tmp_path / "torn.zip").write_bytes(data)
    found = load_pictures(tmp_path / "torn.zip", 16)
    assert len(found.pixels) == 39
    assert found.skipped[0].startswith(f"{entry.filename}: ")
    (tmp_path / "half.zip").write_bytes(packed.read_bytes()[:2000])
    with pytest.raises(UserError, match="expected a folder or a zip"):
        load_pictures(tmp_path / "half.zip", 16)


@pytest.mark.parametrize("held", [b"", b"not a checkpoint", b"\xff" * 64, None])
def test_what_is_no_checkpoint_is_named(
    held: bytes | None, pictures: Pictures, tmp_path: Path
) -> None:
    from counterproof.generators.training import CHECKPOINT

    if held is None:  # of another program
        from safetensors.torch import save

        held = save({"weight": torch.zeros(3)}, {"made_by": "another program"})
    (tmp_path / CHECKPOINT).write_bytes(held)
    with pytest.raises(WeightsError, match=CHECKPOINT):
        _train(pictures, tmp_path)


def test_a_checkpoint_of_another_family_is_refused(drawings: Path, tmp_path: Path) -> None:
    from counterproof.generators.training import Run, train

    small = VaeConfig(size=16, latent=8, channels=(8, 8, 8), batch=4, images=8, critic_from=0)
    train(small, load_pictures(drawings, 16), Run(tmp_path, precision="float32"))
    with pytest.raises(UserError, match="holds a checkpoint of another family than gan"):
        _command("train", "gan", str(drawings), "-o", str(tmp_path), "--resume")


@contextlib.contextmanager
def _small_files(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: what a full disk does, without filling one."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_keeps_the_last_checkpoint(pictures: Pictures, tmp_path: Path) -> None:
    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.training import CHECKPOINT

    path = tmp_path / "run" / CHECKPOINT
    _train(pictures, path.parent, 8)
    before = path.read_bytes()
    with _small_files(10_000), pytest.raises(UserError, match=r"cannot be written.*last one stan"):
        _train(pictures, path.parent, 16)
    assert path.read_bytes() == before
    with _small_files(20), pytest.raises(UserError, match=r"log\.csv: cannot be written"):
        _train(pictures, tmp_path / "fresh")
    assert sorted(p.name for p in path.parent.iterdir()) == [CHECKPOINT, "log.csv"]
    _train(pictures, path.parent)
    assert read_header(path)[1].images == 32


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_leaves_no_half_of_an_export(pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="export needs the extra 'train'")
    from counterproof.generators.publishing import export_checkpoint
    from counterproof.generators.training import CHECKPOINT

    _train(pictures, tmp_path, 8)
    (tmp_path / "out").mkdir()
    with _small_files(10_000), pytest.raises(UserError, match=r"made\.onnx: cannot be written"):
        export_checkpoint(tmp_path / CHECKPOINT, tmp_path / "out" / "made.onnx", pictures)
    assert not list((tmp_path / "out").iterdir())


KILLED = """
import json, sys
from pathlib import Path
from counterproof.generators.config import config_from_json
from counterproof.generators.dataset import load_pictures
from counterproof.generators.training import Run, train

def notice(progress, logged, average):
    print(progress.step, flush=True)

run = Run(Path(sys.argv[2]), 3, precision="float32", save_every_s=0.05)
train(config_from_json(json.loads(sys.argv[3])), load_pictures(sys.argv[1], 16), run, notice)
"""


def test_a_killed_run_goes_on_from_its_checkpoint(drawings: Path, tmp_path: Path) -> None:
    import dataclasses

    from counterproof.generators.checkpoint import read_header
    from counterproof.generators.training import CHECKPOINT, Run, train

    out = tmp_path / "run"
    endless = json.dumps(config_to_json(dataclasses.replace(GAN, images=400_000)))
    command = [sys.executable, "-c", KILLED, str(drawings), str(out), endless]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    deadline = time.monotonic() + 100
    for line in process.stdout:
        if (int(line) >= 60 and (out / CHECKPOINT).is_file()) or time.monotonic() > deadline:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    config, progress = read_header(out / CHECKPOINT)
    assert isinstance(config, GanConfig)
    at, stop = progress.step, progress.images + 3 * config.batch
    pictures = load_pictures(drawings, 16)
    parts = train(config, pictures, Run(out, 3, precision="float32", images=stop))
    steps = [int(row.split(",")[0]) for row in (out / "log.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps))
    assert at > 0
    whole = train(
        dataclasses.replace(config), pictures,
        Run(tmp_path / "whole", 3, precision="float32", images=stop),
    )  # fmt: skip
    ours, theirs = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_training_data_is_only_read(drawings: Path, tmp_path: Path) -> None:
    def state() -> list[tuple[str, str, int]]:
        return [
            (str(path), hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in sorted(drawings.rglob("*"))
            if path.is_file()
        ]

    before = state()
    _train(load_pictures(drawings, 16), tmp_path, 8)
    assert state() == before
