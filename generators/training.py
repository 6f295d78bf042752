"""The training loop, the same for every family: batches, steps, average, checkpoints, log.

Each step draws from a random stream made of seed, step and process, so that a run that was
stopped goes on bit for bit on the same device. Under `torchrun` every process trains on its own
batches and gradients are averaged. Training room.
"""

import contextlib
import copy
import csv
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from counterproof.errors import UserError, WeightsError
from counterproof.generators import processes
from counterproof.generators.checkpoint import (
    Progress,
    read_checkpoint,
    write_checkpoint,
    write_whole,
)
from counterproof.generators.config import CodecConfig, Config
from counterproof.generators.dataset import Pictures
from counterproof.generators.task import Autocast, Batch, Task
from counterproof.generators.tasks import make_task

__all__ = ["CHECKPOINT", "Run", "train"]

CHECKPOINT = "checkpoint.safetensors"
PRECISIONS = ("float32", "bfloat16")
SEED_STEP = 1_000_003  # a prime, so that seeds of neighbouring runs do not share streams


@dataclass(frozen=True, slots=True)
class Run:
    """How to run a training, which does not change what it computes.

    Attributes:
        out: folder of checkpoint and log.
        seed: of weights, batches and noise.
        device: `cpu`, `cuda`, `cuda:1`, …
        precision: `auto`, `float32` or `bfloat16`; `auto` times both when the run begins.
        minutes: CPU time to spend in this call; None for no limit.
        save_every_s: CPU seconds between checkpoints.
        images: pictures after which to stop in this call; None for those of the config.
        threads: on a CPU; another number may change the last bits of a result.
    """

    out: Path
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    minutes: float | None = None
    save_every_s: float = 60.0
    images: int | None = None
    threads: int = 1


Notice = Callable[[Progress, dict[str, float], nn.Module | None], None]


def train(config: Config, data: Pictures, run: Run, notice: Notice | None = None) -> nn.Module:
    """Train a model, from the checkpoint in `run.out` if there is one.

    Args:
        config: of the model; must be that of the checkpoint, but for the number of pictures.
        data: pictures, of the config's size; for the codec of its size or twice that.
        run: how.
        notice: called after each step with what is logged, and the averaged network where a
            checkpoint was written, else None; and once more when the run ends by itself.

    Returns:
        The averaged network.

    Raises:
        UserError: if the checkpoint is of other data or settings, or cannot be written.
        WeightsError: if it is defective, or a loss is no longer a number.
        KeyboardInterrupt: if the run was stopped, after its checkpoint was written.
    """
    torch.set_num_threads(run.threads)
    rank, world = processes.join()
    device = processes.device_of(run.device)
    task = make_task(config, device, run.seed)
    if world > 1:
        task.shared = processes.average_gradients
        task.shared_number = lambda value: processes.average(value, device)
    average = copy.deepcopy(task.nets["main"]).eval().requires_grad_(False)
    loader = _Loader(config, data, device)
    path = run.out / CHECKPOINT
    if path.is_file():
        progress = _resume(path, task, average, data, config)
    else:
        _make_folder(run.out)
        progress = Progress(0, 0, 0.0, "", run.seed, list(data.classes), loader.shares, data.digest)
        progress.precision = _precision(run, config, loader, device)
    progress.pictures = len(loader.pixels)
    autocast = _autocast(progress.precision, device)
    wanted = min(config.images, run.images or config.images)
    begun, saved = progress.seconds, progress.seconds
    log = _Log(run.out / "log.csv", progress.step) if rank == 0 else None
    with _stopped() as stop:
        while progress.images < wanted:
            spent = run.minutes is not None and progress.seconds - begun >= 60 * run.minutes
            if processes.agreed(spent or stop.is_set(), device):
                break
            start = time.process_time()
            logged = task.step(loader.batch(progress, rank, world, config), autocast)
            if not all(value == value and abs(value) < 1e30 for value in logged.values()):
                raise WeightsError(f"training diverged at step {progress.step}: {logged}")
            progress.step += 1
            progress.images += config.batch * world
            _follow(average, task.nets["main"], progress.images, config)
            progress.seconds += time.process_time() - start
            due = progress.seconds - saved >= run.save_every_s
            if due and rank == 0:
                write_checkpoint(path, task, average, config, progress)
            if due:
                saved = progress.seconds
            if log is not None and (due or progress.step % 50 == 1):
                log.write(progress, logged)
            if notice is not None and rank == 0:
                notice(progress, logged, average if due else None)
    if rank == 0:
        write_checkpoint(path, task, average, config, progress)
        if notice is not None and progress.seconds > saved and not stop.is_set():
            notice(progress, {}, average)
    processes.leave()
    if stop.is_set():
        raise KeyboardInterrupt
    return average


@contextlib.contextmanager
def _stopped() -> Iterator[threading.Event]:
    """Let Ctrl-C or a polite end wait for the step in hand; a second one ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in wanted}

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in wanted:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number in wanted:
            signal.signal(number, before[number])


class _Loader:
    """Draws batches with replacement, half of them mirrored."""

    def __init__(self, config: Config, data: Pictures, device: torch.device) -> None:
        pixels, labels = data.train()
        self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.device, self.known = device, len(data.classes)
        counts = torch.bincount(self.labels, minlength=self.known).double()
        self.shares = [float(share) for share in counts / counts.sum()]
        self.classes = 0 if isinstance(config, CodecConfig) else config.classes
        if self.classes not in (0, self.known):
            raise UserError(f"expected pictures of {self.classes} classes, found {self.known}")

    def batch(self, progress: Progress, rank: int, world: int, config: Config) -> Batch:
        rng = torch.Generator(self.device)
        rng.manual_seed((progress.seed * SEED_STEP + progress.step) * world + rank)
        n = config.batch
        chosen = torch.randint(len(self.pixels), (n,), generator=rng, device=self.device)
        flip = torch.rand(n, 1, 1, 1, generator=rng, device=self.device) < 0.5
        x = self.pixels[chosen].float().div(127.5).sub(1)
        x = torch.where(flip, x.flip(3), x).contiguous(memory_format=torch.channels_last)
        labels = x.new_zeros(n, 0)
        if self.classes:
            labels = F.one_hot(self.labels[chosen], self.classes).float()
        done = min(1.0, progress.images / config.images)
        return Batch(x, labels, rng, progress.step, done, progress.images)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"{path}: cannot be made: {err.strerror}") from err


def _follow(average: nn.Module, net: nn.Module, images: int, config: Config) -> None:
    """Move the averaged weights; early on with a half-life of 5 % of the pictures seen."""
    half_life = max(1.0, min(config.average_images, 0.05 * images))
    keep = 0.5 ** (config.batch / half_life)
    with torch.no_grad():
        for mean, value in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
        for held, fresh in zip(average.buffers(), net.buffers(), strict=True):
            held.copy_(fresh)


def _resume(path: Path, task: Task, average: nn.Module, data: Pictures, config: Config) -> Progress:
    from counterproof.generators.checkpoint import read_header

    known, _ = read_header(path)
    if type(known) is not type(config) or replace(known, images=config.images) != config:
        raise UserError(f"{path}: was trained with other settings; choose another folder")
    progress = read_checkpoint(path, task, average)
    if progress.digest != data.digest:
        raise UserError(f"{path}: was trained on other pictures; choose another folder")
    return progress


def _autocast(precision: str, device: torch.device) -> Autocast:
    if precision == "float32":
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def _precision(run: Run, config: Config, loader: _Loader, device: torch.device) -> str:
    """Time a few steps of a throw-away copy in both precisions; take the faster one.

    With several processes the mean of their times counts, since all must agree.
    """
    if run.precision != "auto":
        return run.precision
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = []
    for precision in PRECISIONS:
        task = make_task(config, device, run.seed)
        trial = Progress(1, 0, 0.0, precision, run.seed, [], [], "")
        for step in range(1, 5):
            if step == 2:  # the first one warms up
                start = clock()
            trial.step = step
            task.step(loader.batch(trial, 0, 1, config), _autocast(precision, device))
        times.append(processes.average(clock() - start, device))
    return PRECISIONS[times.index(min(times))]


class _Log:
    """Rows of a CSV file, appended, so that a resumed run goes on in the same file.

    Args:
        path: of the file.
        step: that the run goes on from; rows of a killed run beyond it are dropped.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.columns = path, ["step", "images", "cpu_s"]
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self.columns = rows[0] if rows else self.columns
        kept = [row for row in rows[1:] if row[0].isdecimal() and int(row[0]) <= step]
        if rows and len(kept) < len(rows) - 1:
            text = "".join(",".join(row) + "\r\n" for row in [self.columns, *kept])
            write_whole(path, text.encode())

    def write(self, progress: Progress, logged: dict[str, float]) -> None:
        fresh = not self.path.is_file()
        if fresh:
            self.columns += [key for key in sorted(logged) if key not in self.columns]
        row = {"step": progress.step, "images": progress.images, "cpu_s": round(progress.seconds)}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
                if fresh:
                    writer.writeheader()
                writer.writerow(row | {key: f"{value:.6g}" for key, value in logged.items()})
        except OSError as err:
            raise UserError(f"{self.path}: cannot be written: {err.strerror}") from err
