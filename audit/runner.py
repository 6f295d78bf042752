"""Run `examine` over many pictures in worker processes; results come out in input order.

A worker that crashes, or that the watchdog of `examine` ends, takes no other picture with it:
what it had handed over is read back, the analyzer that was running becomes a finding
(`.timeout` or `.failed`), and the picture goes on with the analyzers that are left.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, replace
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from counterproof.analysis import Analyzer
from counterproof.audit.case import Case
from counterproof.audit.examine import (
    Examination,
    Handover,
    Plan,
    Progress,
    ScanSpec,
    examine,
    fault_finding,
    finish,
)
from counterproof.errors import ImageError
from counterproof.images import ImageFile

__all__ = ["OPEN_TIMEOUT_S", "Outcome", "Task", "run"]

OPEN_TIMEOUT_S = 20.0
_WINDOW = 64
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to look at.

    Attributes:
        path: as the system names it.
        number: unique in this run.
        progress: where an ended worker left off.
        attempts: how often a worker ended with no analyzer to blame.
    """

    path: str
    number: int
    progress: Progress | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: which.
        examination: the record and what belongs beside it; None if its bytes could not be
            had, or if a record of the same bytes is already in the case.
        sha256: of the file; empty if its bytes could not be had.
        sidecar: sha256 of the sidecar, or empty.
        format: of the file by content.
        problem: `cause: message` if its bytes could not be had.
    """

    task: Task
    examination: Examination | None = None
    sha256: str = ""
    sidecar: str = ""
    format: str = ""
    problem: str = ""


@dataclass(slots=True)
class _Worker:
    """What one worker process keeps between pictures."""

    plan: Plan
    handover: Handover
    case: Case | None


_worker: _Worker | None = None  # one per worker process, set by `_start`, never in the parent


def _start(spec: ScanSpec, folder: str, case: str | None) -> None:
    """Prepare a worker process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    import cv2

    cv2.setNumThreads(1)
    # stays open as long as the process lives
    file = Path(folder, f"{os.getpid()}.progress").open("w+b")  # noqa: SIM115
    known = Case.open(case) if case else None
    _worker = _Worker(spec.prepare(), Handover(file), known)


def _work(task: Task) -> Outcome:
    """Look at one picture, in a worker process."""
    worker = _worker
    assert worker is not None
    plan = worker.plan
    worker.handover.begin(task.number)
    try:
        with worker.handover.watchdog(OPEN_TIMEOUT_S):
            image = ImageFile.open(task.path, limits=plan.spec.settings.limits)
            sha256, sidecar, kind = image.sha256, image.sidecar_sha256, image.format
    except ImageError as err:
        return Outcome(task, problem=f"{err.cause}: {err}")
    day = plan.spec.settings.as_of
    if worker.case and worker.case.has_record(sha256, sidecar, plan.fingerprint, day):
        return Outcome(task, None, sha256, sidecar, kind)
    found = examine(image, plan, task.progress, worker.handover)
    return Outcome(replace(task, progress=None), found, sha256, sidecar, kind)


def run(
    tasks: Iterable[Task | Outcome],
    plan: Plan,
    *,
    jobs: int,
    case: Path | None = None,
) -> Iterator[Outcome]:
    """Look at pictures in worker processes.

    Args:
        tasks: what to look at; an `Outcome` among them is passed through in its place.
        plan: what runs on each.
        jobs: worker processes, at least 1.
        case: where records of the same bytes may already lie.

    Yields:
        One outcome per task, in the order of the tasks.
    """
    limit_s = OPEN_TIMEOUT_S + sum(analyzer.timeout_s for analyzer in plan.analyzers) + 30.0
    with tempfile.TemporaryDirectory(prefix="counterproof-") as folder, _single_threaded():
        pool = ProcessPool(
            max_workers=jobs,
            context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(plan.spec, folder, str(case) if case else None),
        )
        waiting: deque[Outcome | tuple[Task, Future[Outcome]]] = deque()
        try:
            for item in tasks:
                if isinstance(item, Task):
                    waiting.append((item, pool.schedule(_work, args=[item], timeout=limit_s)))
                else:
                    waiting.append(item)
                while len(waiting) >= _WINDOW or (waiting and _is_done(waiting[0])):
                    yield _settle(waiting.popleft(), pool, Path(folder), plan, limit_s)
            while waiting:
                yield _settle(waiting.popleft(), pool, Path(folder), plan, limit_s)
            pool.close()  # type: ignore[no-untyped-call]
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _is_done(item: "Outcome | tuple[Task, Future[Outcome]]") -> bool:
    return isinstance(item, Outcome) or item[1].done()


def _settle(
    item: "Outcome | tuple[Task, Future[Outcome]]",
    pool: ProcessPool,
    folder: Path,
    plan: Plan,
    limit_s: float,
) -> Outcome:
    """Wait for one outcome; send the picture back as often as a worker ends over it."""
    if isinstance(item, Outcome):
        return item
    task, future = item
    while True:
        try:
            return future.result()
        except (ProcessExpired, TimeoutError) as err:
            ended = _after_end(task, _left_behind(folder, task.number), plan.analyzers, err)
        if isinstance(ended, Outcome):
            return ended
        if ended.progress and len(ended.progress.done) == len(plan.analyzers):
            found = finish(ended.progress, plan)
            sha256, sidecar = ended.progress.sha256, ended.progress.sidecar
            return Outcome(task, found, sha256, sidecar, ended.progress.info.format)
        task = ended
        future = pool.schedule(_work, args=[task], timeout=limit_s)


def _left_behind(folder: Path, number: int) -> Progress | None:
    """Return what the worker that had this task handed over before it ended."""
    for path in folder.glob("*.progress"):
        progress = Handover.read(path, number)
        if progress is not None:
            path.unlink(missing_ok=True)
            return progress
    return None


def _after_end(
    task: Task, progress: Progress | None, analyzers: tuple[Analyzer, ...], err: Exception
) -> Task | Outcome:
    """Decide what follows the end of a worker: blame an analyzer, or give the picture up."""
    running = next((a for a in analyzers if progress and a.name == progress.running), None)
    if progress is None or running is None:
        if task.attempts == 0:
            return replace(task, attempts=1)
        return Outcome(task, problem=f"damaged: {task.path}: reading it ends the process")
    if time.time() - progress.started >= running.timeout_s or isinstance(err, TimeoutError):
        message = f"stopped after its limit of {running.timeout_s:g} s"
        progress.observations.append(fault_finding(running, "timeout", message))
    else:
        message = f"the worker process ended ({getattr(err, 'exitcode', err)})"
        progress.observations.append(fault_finding(running, "failed", message))
    progress.done.append(running.name)
    progress.running = ""
    return replace(task, progress=progress)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Give worker processes one thread each: the pictures are what runs in parallel."""
    before: Mapping[str, str | None] = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: os.environ.get(name, "1") for name in _THREADS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
