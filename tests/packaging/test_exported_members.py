import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import counterproof

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("counterproof", "provenance", "detectors", "generators", "audit", "app")
MODULES = sorted(
    path for floor in FLOORS for path in (ROOT / floor).glob("*.py") if path.stem != "__main__"
)

TRAINING = ("constriction", "onnx", "safetensors", "sklearn", "torch")
"""Packages of the extra `[train]`, which training rooms import at the top."""


def test_the_public_names() -> None:
    assert counterproof.__all__ == ["ImageFile", "Record", "__version__", "mark", "scan"]


@pytest.mark.parametrize("name", counterproof.__all__)
def test_each_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(counterproof, name) is getattr(counterproof, name)
    assert name in dir(counterproof)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = counterproof.no_such_name


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import counterproof; "
        "print(*(m for m in set(sys.modules) - before if m.startswith('counterproof')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split() == ["counterproof"]


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == counterproof.__version__
    assert f"## [{counterproof.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def _module_name(path: Path) -> str:
    floor = "" if path.parent.name == "counterproof" else f".{path.parent.name}"
    stem = "" if path.stem == "__init__" else f".{path.stem}"
    return f"counterproof{floor}{stem}"


@pytest.mark.parametrize("path", MODULES, ids=_module_name)
def test_every_module_lists_what_it_offers(path: Path) -> None:
    """`__all__` is there, sorted, and names what exists; whoever defines code defines it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not any(not isinstance(node, ast.Expr) for node in tree.body):
        return
    try:
        module = importlib.import_module(_module_name(path))
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in TRAINING:
            raise
        pytest.skip(f"a training room; needs {err.name}")
    assert hasattr(module, "__all__"), f"{path}: __all__ is missing"
    for name in module.__all__:
        assert hasattr(module, name), f"{path}: __all__ names {name!r}, which is not there"
