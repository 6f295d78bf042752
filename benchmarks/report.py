"""What a report costs: size of the file, CPU time, resident memory, by number of pictures.

    python benchmarks/report.py [COUNT…]          1000 10000 100000 by default

The cases hold made-up records with long paths: one picture in twenty says that a model made
it, one in a hundred carries a credential with a history, one in three names a camera; of the
rest nothing is known. Each size runs in a process of its own. `--eyes` makes every picture one
that needs eyes, which is the most that a report can hold; `--views` draws so many pictures as
files, so that views are made of them.
"""

import argparse
import hashlib
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from counterproof import __version__
from counterproof.audit.case import Case, Source
from counterproof.audit.report import write_report
from counterproof.audit.verdict import decide
from counterproof.findings import Basis, Claim, FileInfo, Finding, Record, RunInfo, Severity
from counterproof.settings import Settings

RUN = RunInfo(__version__, "standard", {"labels": "1"}, {"official": "2026-01-01"}, "2026-01-01")
LABEL = Finding(
    "labels",
    "label.iptc.source_type",
    Claim.SYNTHETIC,
    Basis.DECLARED,
    Severity.MEDIUM,
    details={"source_type": "trainedAlgorithmicMedia", "value": "trainedAlgorithmicMedia"},
)
NODE = {"actions": ["c2pa.created"], "source_types": ["digitalCapture"], "ingredients": []}
CREDENTIAL = Finding(
    "c2pa",
    "c2pa.manifest.unchecked",
    Claim.NONE,
    Basis.DECLARED,
    details={"history": NODE | {"generator": "Sample Camera 1.0", "signer": "Sample"}},
)


def make(case: Case, folder: Path, count: int, eyes: bool, views: int) -> None:
    """Fill a case with made-up records."""
    case.begin_scan(RUN)
    for number in range(count):
        name = f"{number // 500:04}/2026-05-{number % 28 + 1:02}_assignment_IMG_{number:06}.jpg"
        path = folder / "archive" / name
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        if number < views:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((640, 480), 60 + number % 60).convert("RGB").save(path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        findings = (LABEL,) if eyes or number % 20 == 0 else ()
        findings += (CREDENTIAL,) if number % 100 == 0 else ()
        facts = {"camera.make": "Sample", "camera.model": "X100"} if number % 3 == 0 else {}
        info = FileInfo("jpeg", "image/jpeg", 2_000_000, 640, 480, 1, "RGB", 8)
        record = Record("", sha256, info, facts, findings, decide(findings), RUN)
        case.put_record(record, "", "print")
        case.put_source(Source(str(path), 2_000_000, 1, 0, sha256), "print", number)
    case.commit()


def measure(count: int, eyes: bool, views: int) -> None:
    """Write one report and print a row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Case.open(folder / "a.case", create=True) as case:
            make(case, folder, count, eyes, views)
            start = time.process_time()
            write_report(case, folder / "a.html", Settings(folder, "en"), scan=case.scan)
            cpu = time.process_time() - start
        size = (folder / "a.html").stat().st_size / 1e6
    top = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {count:,} | {size:.2f} | {cpu:.1f} | {top:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--eyes", action="store_true")
    parser.add_argument("--views", type=int, default=0)
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        measure(options.counts[0], options.eyes, options.views)
        return
    print(f"counterproof {__version__}, Python {platform.python_version()}, {platform.machine()}\n")
    print("| pictures | MB of HTML | CPU s | peak MiB |\n|--:|--:|--:|--:|", flush=True)
    for count in options.counts:
        flags = ["--views", str(options.views), *(["--eyes"] if options.eyes else [])]
        subprocess.run([sys.executable, __file__, str(count), "--row", *flags], check=True)


if __name__ == "__main__":
    main()
