"""The main job: look at many pictures, keep what was found in a case, yield records in order.

    sources → (known already?) → runner → case → rules → record

Nothing is computed twice: a file whose size and time have not changed, or whose bytes lie in
the case under another name, keeps its record as long as the same analyzers would run and what
they found still holds on the day of the scan.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from counterproof.analysis import Stage
from counterproof.audit import registry, runner
from counterproof.audit.case import Case, Source, present
from counterproof.audit.examine import Plan, ScanSpec
from counterproof.audit.facts import extension_remark
from counterproof.audit.rules import judge
from counterproof.audit.sources import Ref, Shard, expand
from counterproof.findings import Record
from counterproof.settings import Settings, load_settings

__all__ = ["Scanned", "default_case_path", "default_jobs", "relate", "scan", "scan_into"]


@dataclass(frozen=True, slots=True)
class Scanned:
    """One record as it comes out of a scan.

    Attributes:
        record: with its path and the findings of the rules.
        known: True if it was in the case already.
    """

    record: Record
    known: bool


def default_jobs() -> int:
    """Return how many worker processes a scan uses if nobody says: the cores, at most 8."""
    return min(
        os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 1, 8
    )


def default_case_path(home: Path, paths: Iterable[str]) -> Path:
    """Return the case of a scan that names none: the same paths give the same case again."""
    named = [os.path.abspath(path) for path in paths]
    digest = hashlib.sha256("\0".join(named).encode("utf-8", "surrogateescape")).hexdigest()
    name = os.fsencode(os.path.basename(named[0]) if named else "").decode("utf-8", "replace")
    label = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:40] or "scan"
    return home / "cases" / f"{label}-{digest[:10]}.case"


def scan(
    *paths: str | os.PathLike[str],
    settings: Settings | None = None,
    profile: Stage | str = Stage.STANDARD,
    case: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
) -> Iterator[Record]:
    """Look at pictures and yield one record each, in input order.

    Args:
        paths: files, folders (walked) or globs.
        settings: what may be read, and how; from environment and files by default.
        profile: `quick`, `standard` or `deep`.
        case: a file to keep the records in, and to take known ones from; none by default.
        jobs: worker processes.

    Raises:
        CaseError: if the case cannot be opened or written.

    Call it under `if __name__ == "__main__":` in a script: workers import the main module.
    """
    spec = ScanSpec(settings or load_settings(), Stage(profile))
    with contextlib.ExitStack() as stack:
        if case is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="counterproof-"))
            case = Path(folder) / "scan.case"
        opened = stack.enter_context(Case.open(case, create=True))
        for item in scan_into(
            opened, [os.fspath(path) for path in paths], spec, jobs=jobs or default_jobs()
        ):
            yield item.record


def scan_into(
    case: Case,
    paths: Iterable[str],
    spec: ScanSpec,
    *,
    jobs: int,
    shard: Shard | None = None,
) -> Iterator[Scanned]:
    """Look at pictures, keep records in a case, and yield them in input order.

    Args:
        case: open for writing.
        paths: files, folders or globs, as the system names them.
        spec: what runs on each picture.
        jobs: worker processes, at least 1.
        shard: look only at this part.

    Raises:
        CaseError: if the case cannot be written (a full disk); what was committed stays.
        UserError: if a prefix of the spec is unknown.
    """
    plan = spec.prepare()
    case.begin_scan(plan.run)
    case.commit()
    sources: dict[int, Source] = {}
    tasks = _tasks(case, expand(paths, shard), plan, sources)
    outcomes = runner.run(tasks, plan, jobs=jobs, case=case.path)
    for outcome in outcomes:
        path = outcome.task.path
        source = replace(
            sources.pop(outcome.task.number),
            sha256=outcome.sha256,
            sidecar=outcome.sidecar,
            problem=outcome.problem,
        )
        if outcome.format:
            source = replace(source, remark=extension_remark(path, outcome.format))
        if found := outcome.examination:
            case.put_record(found.record, found.sidecar, plan.fingerprint)
            for blob in found.blobs:
                case.put_blob(found.record.sha256, blob)
        case.put_source(source, plan.fingerprint, outcome.task.number)
        record = present(found.record, path, source.remark) if found else case.record_at(path)
        assert record is not None
        yield Scanned(judge(record, spec.settings), known=not found and not outcome.problem)
    case.commit()


def _tasks(
    case: Case,
    refs: Iterable[Ref],
    plan: Plan,
    sources: dict[int, Source],
) -> Iterator[runner.Task | runner.Outcome]:
    """Turn what is to be looked at into tasks; what is known already passes through."""
    day = plan.spec.settings.as_of
    for number, ref in enumerate(refs):
        task = runner.Task(ref.path, number)
        if ref.problem:
            sources[number] = Source(ref.path)
            yield runner.Outcome(task, problem=ref.problem)
            continue
        source = sources[number] = _stat(ref.path)
        old = case.source(ref.path)
        if (
            old
            and old.sha256
            and source.size >= 0
            and (old.size, old.mtime, old.sidecar_mtime)
            == (source.size, source.mtime, source.sidecar_mtime)
            and case.has_record(old.sha256, old.sidecar, plan.fingerprint, day)
        ):
            sources[number] = replace(source, remark=old.remark)
            yield runner.Outcome(task, None, old.sha256, old.sidecar)
        else:
            yield task


def _stat(path: str) -> Source:
    """Note size and times; the worker says what is wrong with a file that has none."""
    try:
        info = os.stat(path)
    except OSError:
        return Source(path)
    sidecar_mtime = 0
    with contextlib.suppress(OSError, ValueError):
        beside = os.stat(os.path.splitext(path)[0] + ".c2pa")
        sidecar_mtime = beside.st_mtime_ns if stat.S_ISREG(beside.st_mode) else 0
    return Source(path, info.st_size, info.st_mtime_ns, sidecar_mtime)


def relate(case: Case, settings: Settings) -> None:
    """Find anew what holds between the pictures of a case."""
    for name, relator in registry.relators().items():
        case.replace_relations(name, relator(case, settings))
    case.set_meta("indices", str(len(settings.indices)))
