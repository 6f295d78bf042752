"""Compare the terminal output that the README shows with what the examples give now.

    python checks/readme.py [--write]

Elapsed time and the place of the case differ from run to run and are left out. Exit code 0, or 1
with the difference; `--write` puts the new output into the README instead.
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- output: examples -->\n```\n", "```"


def printed() -> str:
    """Return what the README's first command prints on a terminal, made independent of the run."""
    with tempfile.TemporaryDirectory() as folder:
        report = str(Path(folder) / "report.html")
        command = ["scan", "examples", "--format", "text", "--lang", "en", "-o", report]
        done = subprocess.run(
            [sys.executable, "-m", "counterproof", *command],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": "utf-8", "COUNTERPROOF_HOME": folder},
        )
        text = done.stdout.decode().replace(report, "report.html")
        text = text.replace(str(Path(folder) / "cases"), "~/.local/share/counterproof/cases")
    text = re.sub(
        r"examples-\w{10}\.case", "examples-6c281b0655.case", text
    )  # from the folder's path
    return re.sub(r"\d+:\d\d$", "0:02", text, count=1, flags=re.MULTILINE).strip("\n") + "\n"


def main() -> int:
    """Compare, or write."""
    page = README.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    shown, _, after = rest.partition(END)
    now = printed()
    if now == shown:
        return 0
    if "--write" in sys.argv[1:]:
        README.write_text(before + BEGIN + now + END + after, encoding="utf-8")
        return 0
    lines = difflib.unified_diff(
        shown.splitlines(), now.splitlines(), "README.md", "now", "", "", 1
    )
    print("\n".join([*lines, "README.md is out of date; run: python checks/readme.py --write"]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
