"""The report in a real browser: no request, no script from a file, a page for each picture.

Needs Chromium on the path, or named by `CHROMIUM`: `pytest -m browser`.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from counterproof.audit import thumbnails
from counterproof.audit.report import write_page
from counterproof.audit.verdict import decide
from counterproof.findings import Basis, Claim, FileInfo, Finding, Record, RunInfo, Severity
from counterproof.images import ImageFile
from counterproof.settings import load_settings

pytestmark = pytest.mark.browser
EVIL = (
    "</script><img src=x onerror=document.title='broken'><script>document.title='broken'</script>"
)


def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium; install one or name it in CHROMIUM")
    return found


def render(page: Path, folder: Path, *flags: str) -> str:
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        *flags,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not complaints, complaints
    return done.stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "a.png")
    label = Finding(
        "labels",
        "label.iptc.source_type",
        Claim.SYNTHETIC,
        Basis.DECLARED,
        Severity.MEDIUM,
        details={"value": EVIL},
    )
    image = ImageFile.open(tmp_path / "a.png")
    run = RunInfo("0.1.0", "standard", {}, {}, "2026-11-23")
    info = FileInfo("png", "image/png", 99, 256, 256, 1, "RGB", 8)
    findings = (label,)
    facts = {"software": EVIL}
    record = Record(EVIL, image.sha256, info, facts, findings, decide(findings), run)
    view = thumbnails.View(image.sha256, thumbnails.encode(image, thumbnails.LARGE))
    write_page(record, view, tmp_path / "a.html", load_settings({"language": "en"}))
    return tmp_path / "a.html"


def test_no_script_but_ours_runs_and_our_policy_admits_ours(page: Path, tmp_path: Path) -> None:
    dom = render(page, tmp_path)
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title
    assert title.group(1) != "broken"
    assert "<img" not in dom


def test_nothing_is_wider_than_a_telephone(page: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.html"
    text = page.read_text("utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    measure = "<script>document.title=document.documentElement.scrollWidth</script></body>"
    frame = text.replace("</body>", measure)
    probe.write_text(frame, "utf-8")
    dom = render(probe, tmp_path, "--window-size=500,900")  # the least that headless gives
    title = re.search(r"<title>(\d+)</title>", dom)
    assert title
    assert int(title.group(1)) <= 500


def test_axe_finds_nothing(page: Path, tmp_path: Path) -> None:
    """Run axe-core over the page, every fold opened; `AXE` names its `axe.min.js`."""
    named = os.environ.get("AXE", "")
    if not named or not Path(named).is_file():
        pytest.skip("AXE names no axe.min.js (npm pack axe-core)")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    script = Path(named).read_text("utf-8").replace("</script", "<\\/script")
    run = (
        "addEventListener('load', async () => {"
        "document.querySelectorAll('details').forEach(item => item.open = true);"
        "const said = await axe.run(document);"
        "const out = document.createElement('pre'); out.id = 'axe';"
        "out.textContent = said.passes.length + ' passed: ' +"
        " said.violations.map(item => item.id + ' ' + item.nodes[0].html).join('; ');"
        "document.body.append(out)})"
    )
    changed = tmp_path / "axe.html"
    added = f"<script>{script}</script><script>{run}</script></body>"
    changed.write_text(text.replace("</body>", added), "utf-8")
    shown = render(changed, tmp_path, "--virtual-time-budget=60000")
    found = re.search(r'<pre id="axe">(\d+) passed: (.*?)</pre>', shown, re.DOTALL)
    assert found
    assert int(found[1]) > 20
    assert found[2] == ""
