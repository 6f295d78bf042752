import ast
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
    """Whoever defines code defines `__all__`, and it names only what the module binds.

    Read, not imported: training rooms need an extra that the light install lacks.
    """
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if all(isinstance(node, ast.Expr) for node in body):
        return
    bound = {name: node for node in body for name in _bound_names(node)}
    assert "__all__" in bound, f"{path}: __all__ is missing"
    listed = bound["__all__"]
    assert isinstance(listed, ast.Assign), f"{path}: __all__ is not a plain list"
    if "__getattr__" not in bound:
        assert set(ast.literal_eval(listed.value)) <= bound.keys(), path


def _bound_names(node: ast.stmt) -> list[str]:
    """The names that one statement at the top of a module binds."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign() | ast.AnnAssign():
            inside = ast.walk(node)
            return [
                n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            ]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
        case ast.If() | ast.Try():
            return [name for inner in node.body for name in _bound_names(inner)]
    return []
