"""Pages link to what exists, the index names every page, and nothing names a private place."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    inside = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_the_index_names_every_page() -> None:
    index = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert sorted(pages - index) == []


def test_no_file_names_a_package_host() -> None:
    """Who installs chooses the host; a name in the tree would overrule or betray it."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    host = re.compile(r"--(extra-)?index-" + r"url|--find-" + r"links")
    suffixes = {".toml", ".txt", ".cfg", ".yaml", ".yml", ".sh", ".md", ".py", ""}
    named = [ROOT / name for name in done.stdout.split("\0") if Path(name).suffix in suffixes]
    found = [p for p in named if p.is_file() and host.search(p.read_text("utf-8", "replace"))]
    assert found == []
