"""What the package imports is what it asks for, and it asks for nothing that it does not import."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("counterproof", "provenance", "detectors", "generators", "audit", "app")
MODULES = {
    "c2pa-python": "c2pa",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pi-heif": "pi_heif",
    "protobuf": "google",
    "scikit-learn": "sklearn",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def modules_of(requirements: list[str]) -> set[str]:
    names = [re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def imports() -> Iterator[tuple[str, Path]]:
    """Yield every top-level module that the package imports, with the file that does."""
    for floor in FLOORS:
        for path in (ROOT / floor).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((alias.name.partition(".")[0], path) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.partition(".")[0], path


def test_everything_imported_is_asked_for() -> None:
    known = modules_of(PROJECT["dependencies"]) | {"counterproof"} | sys.stdlib_module_names
    for extra, requirements in PROJECT["optional-dependencies"].items():
        if extra != "dev":
            known |= modules_of(requirements)
    assert sorted(f"{path.name}: {name}" for name, path in imports() if name not in known) == []


def test_everything_asked_for_is_imported() -> None:
    used = {name for name, _ in imports()}
    assert sorted(modules_of(PROJECT["dependencies"]) - used) == []


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    wanted = [*PROJECT["dependencies"]]
    for requirements in PROJECT["optional-dependencies"].values():
        wanted += requirements
    names = {re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in wanted}
    assert sorted(names - set(pins)) == []
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins.values())
