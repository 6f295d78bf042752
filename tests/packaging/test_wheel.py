"""The wheel holds what the tree holds: a folder that is not listed would be missing silently."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = {
    "app": "counterproof/app",
    "audit": "counterproof/audit",
    "detectors": "counterproof/detectors",
    "generators": "counterproof/generators",
    "provenance": "counterproof/provenance",
    "counterproof": "counterproof",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build a wheel of the tracked files, without network."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip(f"setuptools 77 or newer builds the wheel, got {setuptools.__version__}")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    copy_tree(tree)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "wheel", "--quiet", "--no-index"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(tree)),
        ],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as file:
        yield file


def copy_tree(target: Path) -> None:
    """Copy what the project is made of, links kept, nothing that a build left behind."""
    for path in tree_files():
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / path).read_bytes())
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        (target / name).write_bytes((ROOT / name).read_bytes())
    for floor in FLOORS:
        if floor != "counterproof":
            (target / "counterproof" / floor).symlink_to(f"../{floor}")


def tree_files() -> list[Path]:
    """Return every file of the floors, without links, caches and hidden files."""
    return sorted(
        path.relative_to(ROOT)
        for floor in FLOORS
        for path in walk(ROOT / floor)
        if path.suffix != ".pyc"
    )


def walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def installed_name(path: Path) -> str:
    floor, *rest = path.parts
    return "/".join([FLOORS[floor], *rest])


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {installed_name(path) for path in tree_files()}
    got = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert sorted(expected - got) == [], "missing from the wheel"
    assert sorted(got - expected) == [], "in the wheel, not in the tree"
    assert {"counterproof/py.typed", "counterproof/app/cli.py"} <= got


def test_files_arrive_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    for path in tree_files():
        assert wheel.read(installed_name(path)) == (ROOT / path).read_bytes(), path


def test_the_wheel_carries_its_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    names = [name.partition(".dist-info/")[2] for name in wheel.namelist()]
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= set(names)
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "counterproof = counterproof.app.cli:main" in wheel.read(entry_points).decode()


@pytest.mark.parametrize("floor", [floor for floor in FLOORS if floor != "counterproof"])
def test_the_links_are_links(floor: str) -> None:
    link = ROOT / "counterproof" / floor
    if not link.is_symlink():
        pytest.skip("links are checked out as text here; the install works, editors are blind")
    assert link.readlink() == Path("..") / floor
