"""Look at one picture: what every engine runs, here or on a cluster.

Each analyzer has a time limit of its own. A watchdog that needs no Python thread ends the
worker process when the limit passes, so that even a hang inside a C library is cut short.
After each analyzer the findings are handed over (`Progress`), so that such an end costs only
the analyzer that hung.
"""

import contextlib
import faulthandler
import hashlib
import os
import pickle
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from counterproof import __version__
from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.audit import registry
from counterproof.audit.facts import has_readable_metadata
from counterproof.audit.verdict import decide
from counterproof.errors import ImageError
from counterproof.findings import (
    RECORD_SCHEMA,
    Basis,
    Blob,
    Claim,
    Fact,
    FileInfo,
    Finding,
    Record,
    RunInfo,
    Severity,
)
from counterproof.images import ImageFile
from counterproof.settings import Settings

__all__ = [
    "Examination",
    "Handover",
    "Plan",
    "Progress",
    "ScanSpec",
    "examine",
    "fault_finding",
    "finish",
    "unread_record",
]


_NOT_EXAMINED = "not_examined"


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """What a scan runs on each picture; the same spec gives the same record.

    Attributes:
        settings: what may be read, and how.
        profile: `quick`, `standard` or `deep`.
        only: prefixes or analyzers to run; all of the profile if empty.
        skip: prefixes or analyzers to leave out.
    """

    settings: Settings
    profile: Stage = Stage.STANDARD
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def prepare(self) -> "Plan":
        """Make the analyzers, once per process.

        Raises:
            UserError: if a prefix in `only` or `skip` is unknown.
        """
        analyzers = registry.choose(self.settings, self.profile, self.only, self.skip)
        lists: dict[str, str] = {}
        ran = {analyzer.name: analyzer.fingerprint() for analyzer in analyzers}
        for analyzer in analyzers:
            lists |= analyzer.lists()
        parts = [RECORD_SCHEMA, self.profile.value, repr(self.settings.limits)]
        parts += [f"{name}={fingerprint}" for name, fingerprint in ran.items()]
        day = self.settings.as_of.isoformat()
        return Plan(
            self,
            analyzers,
            RunInfo(__version__, self.profile.value, ran, lists, day),
            hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16],
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec with its analyzers in hand.

    Attributes:
        spec: what the scan runs.
        analyzers: made from it, cheapest stage first.
        run: how its records are made, as they state it.
        fingerprint: digest of everything that could change a record of the same bytes.
    """

    spec: ScanSpec
    analyzers: tuple[Analyzer, ...]
    run: RunInfo
    fingerprint: str


@dataclass(slots=True)
class Progress:
    """What is known of one picture so far; survives the end of the worker that found it."""

    sha256: str = ""
    sidecar: str = ""
    info: FileInfo = field(default_factory=FileInfo)
    observations: list[Observation] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    running: str = ""
    started: float = 0.0
    pixel_fault: str = ""
    has_metadata: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """A record with what belongs beside it in the case.

    Attributes:
        record: without a path: the same bytes give the same record wherever they lie.
        sidecar: sha256 of the sidecar, or empty.
        blobs: maps, crops, manifests.
    """

    record: Record
    sidecar: str
    blobs: tuple[Blob, ...]


class Handover:
    """Writes `Progress` to a file after each analyzer; the parent reads it if we are ended.

    The file lies in a folder that only this user can read, made for one run.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self.file = file
        self._quiet = Path(os.devnull).open("w") if file else None  # noqa: SIM115

    @contextlib.contextmanager
    def watchdog(self, limit_s: float) -> Iterator[None]:
        """End this process if the block takes longer than its limit.

        The watchdog is a thread of C that needs no interpreter lock. Without a file nobody
        waits for what we hand over, and we must not end the process: there is no limit then.
        """
        if self._quiet is None:
            yield
            return
        faulthandler.dump_traceback_later(limit_s, exit=True, file=self._quiet)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def begin(self, number: int) -> None:
        """Forget the picture before this one."""
        if self.file:
            self.file.seek(0)
            self.file.truncate()
            self.put({"number": number})

    def put(self, change: dict[str, Any]) -> None:
        """Append one change; a reader joins them in order."""
        if self.file:
            pickle.dump(change, self.file)
            self.file.flush()

    @staticmethod
    def read(path: Path, number: int) -> Progress | None:
        """Join the changes that a worker left behind, up to the first that is cut short.

        Returns:
            What it knew of picture `number`; None if it was not looking at it.
        """
        progress = Progress()
        try:
            with path.open("rb") as file:
                if pickle.load(file) != {"number": number}:
                    return None
                while True:
                    _apply(progress, pickle.load(file))
        except (OSError, EOFError, pickle.UnpicklingError):
            return progress if progress.sha256 else None


def _apply(progress: Progress, change: dict[str, Any]) -> None:
    for name, value in change.items():
        if name in ("observations", "done"):
            getattr(progress, name).extend(value)
        else:
            setattr(progress, name, value)


def examine(
    image: ImageFile,
    plan: Plan,
    progress: Progress | None = None,
    handover: Handover | None = None,
) -> Examination:
    """Run the analyzers over one picture and make its record.

    Args:
        image: the picture.
        plan: what to run.
        progress: where an ended worker left off; analyzers in `done` are not run again.
        handover: told after each analyzer.
    """
    handover = handover or Handover(None)
    progress = progress or Progress()
    change: dict[str, Any] = {"sha256": image.sha256, "sidecar": image.sidecar_sha256}
    if not progress.sha256:
        change["has_metadata"] = has_readable_metadata(image)
        try:
            change["info"] = image.info
        except ImageError as err:
            change |= {"info": _known(image), "pixel_fault": _fault(err, image)}
        except Exception as err:
            change |= {"info": _known(image), "pixel_fault": f"damaged: {_reason(err)}"}
    _apply(progress, change)
    handover.put({name: getattr(progress, name) for name in Progress.__slots__})
    for analyzer in plan.analyzers:
        if analyzer.name in progress.done:
            continue
        start = {"running": analyzer.name, "started": time.time()}
        _apply(progress, start)
        handover.put(start)
        with handover.watchdog(analyzer.timeout_s):
            found, fault = _run(analyzer, image, capped=registry.is_outside(analyzer))
        end = {"observations": found, "done": [analyzer.name], "running": ""}
        if fault:
            end["pixel_fault"] = fault
        _apply(progress, end)
        handover.put(end)
    image.release()
    return finish(progress, plan)


def _run(analyzer: Analyzer, image: ImageFile, capped: bool) -> tuple[list[Observation], str]:
    """Run one analyzer; return what it observed, and why pixels could not be had.

    This is the one place that catches everything: a failing analyzer becomes a finding.
    """
    found: list[Observation] = []
    fault = ""
    try:
        for item in analyzer.analyze(image):
            if capped and isinstance(item, Finding):
                item = replace(item, basis=registry.cap_basis(item.basis))
            found.append(item)
    except ImageError as err:
        fault = _fault(err, image)
        message = fault.partition(": ")[2]
        found.append(fault_finding(analyzer, "skipped", message, err.cause))
        if err.cause == _NOT_EXAMINED:  # no fault of the file: it has no picture to look at
            fault = ""
    except Exception as err:
        found.append(fault_finding(analyzer, "failed", _reason(err)))
    return found, fault


def fault_finding(analyzer: Analyzer, state: str, message: str, cause: str = "") -> Finding:
    """Make the finding that says an analyzer failed, timed out or had to skip a picture."""
    details: dict[str, Any] = {"analyzer": analyzer.name, "message": _plain(message)}
    if cause:
        details["cause"] = cause
    return Finding(analyzer.name, f"{analyzer.prefixes[0]}.{state}", details=details)


def _fault(err: ImageError, image: ImageFile) -> str:
    """Say why pixels could not be had, without the name of the file."""
    return f"{err.cause}: {str(err).removeprefix(f'{image.name}: ')}"


def _reason(err: BaseException) -> str:
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__


def _plain(message: str) -> str:
    """Drop folders and addresses in memory: the same bytes must give the same record."""
    message = re.sub(r"(?:[A-Za-z]:)?[\\/](?:[^\s:\\/]+[\\/])+", "", message)
    return re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", message)[:400]


def _known(image: ImageFile) -> FileInfo:
    """What is known of a file that no reader opens."""
    found = image.metadata
    return FileInfo(found.format, found.mime, len(image.data), found.width, found.height)


def finish(progress: Progress, plan: Plan) -> Examination:
    """Make a record of what is known, whole or cut short."""
    findings = [item for item in progress.observations if isinstance(item, Finding)]
    findings = _join_unexamined(findings)
    facts = {item.name: item.value for item in progress.observations if isinstance(item, Fact)}
    blobs = tuple(item for item in progress.observations if isinstance(item, Blob))
    undecodable = progress.pixel_fault or any(f.code == "file.partial" for f in findings)
    supports = any(f.claim is not Claim.NONE for f in findings) or any(
        f.code.startswith("c2pa.manifest.") for f in findings
    )
    if undecodable and not progress.has_metadata and not supports:
        findings = [_unreadable(progress, findings), *findings]
    if any(finding.code in ("file.unreadable", "file.partial") for finding in findings):
        # said once for the file, not again by each analyzer that wanted its pixels
        findings = [finding for finding in findings if finding.code != "file.skipped"]
    record = Record(
        path="",
        sha256=progress.sha256,
        file=progress.info,
        facts=facts,
        findings=tuple(findings),
        verdict=decide(findings),
        run=plan.run,
    )
    return Examination(record, progress.sidecar, blobs)


def _join_unexamined(findings: list[Finding]) -> list[Finding]:
    """Name the checks that had nothing to look at in the one finding that says so."""
    left = [f for f in findings if f.details.get("cause") == _NOT_EXAMINED]
    names = sorted({str(f.details["analyzer"]) for f in left})
    return [
        replace(f, details=f.details | {"checks": names})
        if f.code == "file.content.unexamined"
        else f
        for f in findings
        if f not in left
    ]


def _unreadable(progress: Progress, findings: list[Finding]) -> Finding:
    cause, _, message = progress.pixel_fault.partition(": ")
    for finding in findings:
        if finding.code == "file.partial":
            cause = finding.details.get("cause", cause)
            message = finding.details.get("message", message)
    return unreadable(cause or "damaged", message)


def unreadable(cause: str, message: str) -> Finding:
    """Make the finding of a picture of which nothing could be read."""
    return Finding(
        "file",
        "file.unreadable",
        basis=Basis.HEURISTIC,
        severity=Severity.LOW,
        details={
            "thing": "folder" if cause.startswith("folder_") else "file",
            "cause": cause,
            "message": _plain(message),
        },
    )


def unread_record(path: str, cause: str, message: str, run: RunInfo) -> Record:
    """Make the record of a file whose bytes could not be had at all."""
    findings = (unreadable(cause, message),)
    return Record(path, "", FileInfo(), {}, findings, decide(findings), run)
