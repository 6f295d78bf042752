import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterproof.app.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    *("torch", "torchvision", "cv2", "numpy", "scipy", "pandas", "sklearn", "pyarrow"),
    *("onnx", "onnxruntime", "c2pa", "PIL", "pi_heif", "imagehash", "simplejpeg"),
    *("rich", "jinja2", "pebble", "cryptography", "sqlite3", "multiprocessing", "platformdirs"),
}


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level names of all modules that a run of the command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "counterproof", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert "counterproof" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "click" in names, "the list of imports could not be read"
    return names


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_the_front_door_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_needs_no_library(command: str) -> None:
    assert not imported_by(command, "--help") & (HEAVY - {"sqlite3", "multiprocessing"})
