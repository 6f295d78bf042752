"""A package of somebody else's adds an analyzer by entry point, and cannot rise above its rank."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package of `tests/outside_package` into a folder of its own."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip(f"setuptools 77 or newer builds the package, got {setuptools.__version__}")
    folder = tmp_path_factory.mktemp("outside")
    source, target = folder / "source", folder / "target"
    shutil.copytree(ROOT / "tests" / "outside_package", source)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-index"),
            *("--no-deps", "--no-build-isolation", "--target", str(target), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    return target


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "counterproof", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(installed), "PYTHONIOENCODING": "utf-8"},
    )


def scan(installed: Path, picture: Path, *arguments: str) -> dict[str, Any]:
    done = run(installed, "scan", str(picture), "--format", "jsonl", "-j", "1", *arguments)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_the_analyzer_runs_and_its_basis_is_capped(installed: Path, tmp_path: Path) -> None:
    picture = tmp_path / "white.png"
    Image.new("RGB", (32, 32), "white").save(picture)
    record = scan(installed, picture)
    assert record["facts"]["brightness"] == 255.0
    (finding,) = (f for f in record["findings"] if f["analyzer"] == "brightness")
    assert (finding["code"], finding["claim"]) == ("detector.brightness", "synthetic")
    assert finding["basis"] == "statistical"
    assert record["verdict"]["status"] == "synthetic_suspected"
    assert "brightness" in record["run"]["analyzers"]


def test_it_can_be_left_out(installed: Path, tmp_path: Path) -> None:
    picture = tmp_path / "white.png"
    Image.new("RGB", (32, 32), "white").save(picture)
    record = scan(installed, picture, "--skip", "brightness")
    assert "brightness" not in record["facts"]
    assert record["verdict"]["status"] == "no_evidence"


def test_without_the_package_there_is_no_such_analyzer(tmp_path: Path) -> None:
    done = run(tmp_path, "scan", str(tmp_path), "--only", "brightness")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown prefix 'brightness'")


def test_doctor_names_it(installed: Path) -> None:
    done = run(installed, "doctor", "--format", "json")
    assert done.returncode == 0, done.stderr
    (check,) = (c for c in json.loads(done.stdout)["checks"] if c["name"] == "brightness")
    assert check["remark"] == "from another package"


def test_a_package_that_does_not_import_is_named(installed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(installed, broken)
    (broken / "counterproof_brightness.py").write_text("import no_such_module\n")
    done = run(broken, "scan", str(tmp_path))
    assert done.returncode == 2
    assert "'brightness' of package counterproof-brightness" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_guide_shows_the_same_code() -> None:
    guide = (ROOT / "docs" / "analyzers.md").read_text(encoding="utf-8")
    for name in ("pyproject.toml", "counterproof_brightness.py"):
        text = (ROOT / "tests" / "outside_package" / name).read_text(encoding="utf-8")
        assert text.strip() in guide, name
