"""The engine against analyzers that are slow, hang, crash and raise, and against a killed run."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof.audit.case import Case
from counterproof.audit.examine import ScanSpec
from counterproof.audit.scan import scan_into
from counterproof.findings import Basis, Record, Status
from counterproof.settings import Settings

DUMMIES = '''
    import ctypes, re, time
    from counterproof.analysis import Analyzer, Stage
    from counterproof.findings import Basis, Claim, Finding

    class Base(Analyzer):
        stage = Stage.DEEP
        prefixes = ("detector",)
        def say(self, word):
            return Finding(self.name, f"detector.{word}", Claim.SYNTHETIC, Basis.CRYPTOGRAPHIC)

    class Early(Base):
        name = "a_early"
        def analyze(self, image):
            yield self.say("early")

    class Hanging(Base):
        """Never returns, and never lets another thread of Python run."""
        name = "b_hanging"
        timeout_s = 0.7
        prefixes = ("forgery",)
        def analyze(self, image):
            if b"hang" in image.data:
                re.match(r"(a+)+$", "a" * 60 + "b")
            yield self.say("calm")

    class Crashing(Base):
        name = "c_crashing"
        prefixes = ("privacy",)
        def analyze(self, image):
            if b"crash" in image.data:
                ctypes.string_at(0)
            return ()

    class Raising(Base):
        name = "d_raising"
        prefixes = ("copy",)
        def analyze(self, image):
            yield self.say("before")
            if b"raise" in image.data:
                raise RuntimeError("no luck at 0x7f1234567890 in /some/where/file.py")

    class Late(Base):
        name = "e_late"
        def analyze(self, image):
            time.sleep(0.02 if b"slow" in image.data else 0)
            yield self.say("late")
'''
NAMES = ("a_early", "b_hanging", "c_crashing", "d_raising", "e_late")


@pytest.fixture
def dummies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package with bad analyzers where this process and its workers find it."""
    site = tmp_path / "site"
    info = site / "dummies-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "dummies.py").write_text(textwrap.dedent(DUMMIES))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dummies\nVersion: 1.0\n")
    classes = dict(zip(NAMES, ("Early", "Hanging", "Crashing", "Raising", "Late"), strict=True))
    lines = [f"{name} = dummies:{cls}" for name, cls in classes.items()]
    (info / "entry_points.txt").write_text("[counterproof.analyzers]\n" + "\n".join(lines))
    monkeypatch.syspath_prepend(site)
    return site


def picture(path: Path, word: str = "", seed: int = 0) -> Path:
    """Write a small JPEG that carries a word in its comment."""
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", comment=word.encode())
    return path


def spec(tmp_path: Path, *only: str) -> ScanSpec:
    return ScanSpec(Settings(home=tmp_path / "home"), only=only)


def scanned(tmp_path: Path, the_spec: ScanSpec, jobs: int = 2) -> list[Record]:
    with Case.open(tmp_path / "t.case", create=True) as case:
        found = scan_into(case, [str(tmp_path / "in")], the_spec, jobs=jobs)
        return [item.record for item in found]


def codes(record: Record) -> list[str]:
    return [finding.code for finding in record.findings]


def test_a_bad_analyzer_costs_only_itself(tmp_path: Path, dummies: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    words = ("", "hang", "crash", "raise", "slow", "hang crash raise", "")
    for number, word in enumerate(words):
        picture(folder / f"{number}.jpg", word, number)
    records = scanned(tmp_path, spec(tmp_path, *NAMES))
    assert [Path(record.path).name for record in records] == [f"{n}.jpg" for n in range(7)]
    every = ["detector.early", "detector.calm", "detector.before", "detector.late"]
    assert codes(records[0]) == codes(records[4]) == codes(records[6]) == every
    assert codes(records[1]) == ["detector.early", "forgery.timeout", *every[2:]]
    assert codes(records[2]) == [*every[:2], "privacy.failed", *every[2:]]
    assert codes(records[3]) == [*every[:3], "copy.failed", "detector.late"]
    assert codes(records[5]) == [
        "detector.early",
        "forgery.timeout",
        "privacy.failed",
        "detector.before",
        "copy.failed",
        "detector.late",
    ]
    assert records[1].findings[1].details["message"] == "stopped after its limit of 0.7 s"
    # the same bytes give the same record: no addresses, no folders
    message = records[3].findings[3].details["message"]
    assert message == "RuntimeError: no luck at 0x… in file.py"


def test_what_comes_from_outside_rests_at_most_on_statistics(tmp_path: Path, dummies: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in" / "a.jpg")
    (record,) = scanned(tmp_path, spec(tmp_path, "a_early"), jobs=1)
    assert record.findings[0].basis is Basis.STATISTICAL
    assert record.verdict.status is Status.SYNTHETIC_SUSPECTED


def test_a_second_scan_computes_nothing(tmp_path: Path, dummies: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.jpg", seed=number)
    the_spec = spec(tmp_path, "a_early")
    with Case.open(tmp_path / "t.case", create=True) as case:
        paths = [str(tmp_path / "in")]
        first = list(scan_into(case, paths, the_spec, jobs=1))
        again = list(scan_into(case, paths, the_spec, jobs=1))
        assert [item.known for item in first] == [False] * 3
        assert [item.known for item in again] == [True] * 3
        assert [item.record for item in again] == [item.record for item in first]
        # the same bytes under another name are known, too
        os.rename(tmp_path / "in" / "1.jpg", tmp_path / "in" / "9.jpg")
        moved = list(scan_into(case, paths, the_spec, jobs=1))
        assert [item.known for item in moved] == [True] * 3
        assert moved[-1].record.path.endswith("9.jpg")
        # other analyzers, another record
        other = list(scan_into(case, paths, spec(tmp_path, "e_late"), jobs=1))
        assert [item.known for item in other] == [False] * 3


def test_a_picture_that_changed_is_looked_at_again(tmp_path: Path, dummies: Path) -> None:
    (tmp_path / "in").mkdir()
    path = picture(tmp_path / "in" / "a.jpg")
    before = scanned(tmp_path, spec(tmp_path, "a_early"), jobs=1)
    picture(path, seed=5)
    after = scanned(tmp_path, spec(tmp_path, "a_early"), jobs=1)
    assert before[0].sha256 != after[0].sha256


SCAN = """
import sys
from pathlib import Path
from counterproof.audit.case import Case
from counterproof.audit.examine import ScanSpec
from counterproof.audit.scan import scan_into
from counterproof.settings import Settings

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])
    base = Path(sys.argv[1])
    spec = ScanSpec(Settings(home=base), only=("e_late",))
    with Case.open(base / "k.case", create=True) as case:
        for item in scan_into(case, [str(base / "in")], spec, jobs=2):
            print("known" if item.known else "new", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_a_killed_scan_goes_on_where_it_was(tmp_path: Path, dummies: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        picture(tmp_path / "in" / f"{number:03}.jpg", "slow", number)
    script = tmp_path / "run.py"
    script.write_text(SCAN)
    command = [sys.executable, str(script), str(tmp_path), str(dummies)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        seen = 0
        while seen < 130:
            assert process.stdout.readline() == b"new\n"
            seen += 1
        os.kill(process.pid, signal.SIGKILL)
    again = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert len(again) == 200
    # at most one batch and the pictures in flight are computed again
    assert again.count("known") >= seen - 64 - 2
    # workers of the killed run have ended by themselves
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _session_lives(process.pid):
        time.sleep(0.1)
    assert not _session_lives(process.pid)


def _session_lives(leader: int) -> bool:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            return True
    return False
