"""The report of 1,000 pictures, and what a killed audit computes again.

    python benchmarks/audit.py report            size, requests named, rerun, by number of pictures
    python benchmarks/audit.py resume [COUNT]    kill -9 in the middle of a scan, then scan again

`report` makes a case of 1,000 pictures, 300 of them drawn as files so that views are made, all
of them in need of eyes, which is the most that a report can hold; it writes the report twice and
compares the bytes but for the time of making. `resume` draws COUNT pictures (10,000), starts a
scan, kills it with its workers when half of them are in the case, scans again, and counts by the
case how many were computed twice: a record that lay in the case is never computed again, so the
loss is what was computed and not yet committed.
"""

import argparse
import datetime as dt
import os
import platform
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from report import make

from counterproof import __version__
from counterproof.audit.case import Case
from counterproof.audit.report import write_report
from counterproof.settings import Settings

JOBS = 2


def report(count: int) -> None:
    """Print size, rerun and addresses of one report."""
    with tempfile.TemporaryDirectory() as name:
        folder, pages = Path(name), []
        with Case.open(folder / "a.case", create=True) as case:
            make(case, folder, count, eyes=True, views=300)
            start = time.process_time()
            for made_at in (dt.datetime(2026, 1, 1), dt.datetime(2026, 2, 2)):
                page = folder / "a.html"
                settings = Settings(folder, "en", dt.date(2026, 1, 1))
                write_report(case, page, settings, scan=case.scan, made_at=made_at)
                pages.append(page.read_text(encoding="utf-8"))
            cpu = (time.process_time() - start) / 2
    same = pages[0].replace("2026-01-01 00:00", "") == pages[1].replace("2026-02-02 00:00", "")
    loads = re.findall(r"""(?:src|href|action)=["']?(?:https?:|//)""", pages[0])
    size = len(pages[0].encode()) / 1e6
    print("| pictures | MB of HTML | CPU s | rerun same but for the time | addresses loaded |")
    print("|--:|--:|--:|---|--:|")
    print(f"| {count:,} | {size:.2f} | {cpu:.1f} | {'yes' if same else 'no'} | {len(loads)} |")


def known(case: Path) -> int:
    """Count the records that are committed; 0 while there is no case."""
    try:
        with sqlite3.connect(f"file:{case}?mode=ro", uri=True, timeout=5) as db:
            return int(db.execute("SELECT count(*) FROM record").fetchone()[0])
    except sqlite3.Error:
        return 0


def scan(folder: Path, case: Path) -> list[str]:
    """Return the command of one scan."""
    flags = ["--case", str(case), "--profile", "quick", "-j", str(JOBS), "--format", "jsonl"]
    return [sys.executable, "-m", "counterproof", "scan", str(folder), *flags, "-q"]


def resume(count: int) -> None:
    """Print how many pictures a killed scan computes again."""
    with tempfile.TemporaryDirectory() as name:
        folder, case = Path(name) / "in", Path(name) / "a.case"
        folder.mkdir()
        for number in range(count):
            color = (number % 256, number // 256 % 256, number // 65536)
            Image.new("RGB", (24, 24), color).save(folder / f"{number:06}.png")
        out = Path(name) / "first.jsonl"
        with out.open("wb") as stream:
            work = subprocess.Popen(scan(folder, case), stdout=stream, start_new_session=True)
            while known(case) < count // 2 and work.poll() is None:
                time.sleep(0.02)
            os.killpg(work.pid, signal.SIGKILL)
            work.wait()
        shown = out.read_bytes().count(b"\n")
        kept = known(case)
        subprocess.run(scan(folder, case), stdout=subprocess.DEVNULL, check=True)
        whole = known(case)
    again = max(0, shown - kept)
    print("| pictures | in the case when killed | shown before | computed again | in the end |")
    print("|--:|--:|--:|--:|--:|")
    print(f"| {count:,} | {kept:,} | {shown:,} | {again} and ≤ {2 * JOBS} in flight | {whole:,} |")


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["report", "resume"])
    parser.add_argument("count", type=int, nargs="?", default=0)
    options = parser.parse_args()
    print(f"counterproof {__version__}, Python {platform.python_version()}, {platform.machine()}\n")
    if options.what == "report":
        report(options.count or 1_000)
    else:
        resume(options.count or 10_000)


if __name__ == "__main__":
    main()
