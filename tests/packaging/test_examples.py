"""The example pictures are what their page and the README say of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import counterproof
from counterproof.findings import Status

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROW = re.compile(r"\| `([\w.-]+)` \| `(\w+)` \|")


@pytest.fixture(scope="module")
def promised() -> dict[str, Status]:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    return {name: Status(status) for name, status in ROW.findall(page)}


def test_every_example_is_what_its_page_says(promised: dict[str, Status]) -> None:
    records = list(counterproof.scan(EXAMPLES, jobs=1))
    found = {Path(record.path).name: record.verdict.status for record in records}
    assert found == promised


def test_the_page_lists_every_picture(promised: dict[str, Status]) -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".jpg", ".png")}
    assert files == set(promised)


def test_the_examples_are_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir() if path.is_file()) < 600_000


def test_no_key_is_kept() -> None:
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert b"PRIVATE KEY-----" not in path.read_bytes(), path


def test_the_readme_shows_what_the_terminal_shows() -> None:
    script = EXAMPLES.parent / "checks" / "readme.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
