"""No packet leaves: a scan runs with sockets taken away, in the parent and in its workers."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

# Imported by every Python process that finds it on its path, workers included. Opening a socket
# of the internet families is noted and refused; so is asking for the address of a name. The
# audit hook sees calls that native extension modules make through Python as well.
GUARD = """
import os, socket, sys

NOTES = os.environ["SOCKET_NOTES"]

def note(what):
    with open(NOTES, "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {what}\\n")

true_socket = socket.socket

class NoSocket(true_socket):
    def __init__(self, family=-1, *rest, **named):
        if family != socket.AF_UNIX:
            note(f"socket {family}")
            raise OSError("no network in this test")
        super().__init__(family, *rest, **named)

socket.socket = NoSocket

def hook(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto", "socket.gethostbyname"):
        if event == "socket.connect" and isinstance(arguments[1], (str, bytes)):
            return
        note(f"{event} {arguments[1:]}")
        raise OSError("no network in this test")

sys.addaudithook(hook)
note("guarded")
"""


@pytest.fixture
def guarded(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Return an environment without sockets, and the file in which attempts are noted."""
    folder = tmp_path / "guard"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    notes = tmp_path / "notes.txt"
    added = {"PYTHONPATH": str(folder), "SOCKET_NOTES": str(notes), "PYTHONIOENCODING": "utf-8"}
    return os.environ | added, notes


def attempts(notes: Path) -> tuple[set[str], list[str]]:
    """Return the processes that were guarded, and what any of them tried."""
    lines = notes.read_text(encoding="utf-8").splitlines()
    processes = {line.split()[0] for line in lines if line.endswith(" guarded")}
    return processes, [line for line in lines if not line.endswith(" guarded")]


def test_the_guard_guards(guarded: tuple[dict[str, str], Path]) -> None:
    environment, notes = guarded
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/', timeout=1)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no network in this test" in done.stderr
    assert attempts(notes)[1]


def test_a_scan_opens_no_socket(guarded: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    environment, notes = guarded
    done = subprocess.run(
        [
            *(sys.executable, "-m", "counterproof", "scan", "examples", "--profile", "deep"),
            *("-j", "2", "--format", "jsonl", "-o", str(tmp_path / "report.html")),
        ],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode in (0, 3), done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    codes = {finding["code"] for record in records for finding in record["findings"]}
    assert "c2pa.manifest.intact" in codes
    assert not [code for code in codes if code.endswith((".failed", ".timeout"))]
    processes, tried = attempts(notes)
    assert len(processes) >= 2, "the workers were not guarded"
    assert tried == []


REMOTE = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/"
 dcterms:provenance="{url}"/></rdf:RDF></x:xmpmeta>"""


class _Counter(BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Serve on loopback and note every request; yield the address of a manifest."""
    _Counter.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Counter) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/picture.c2pa"
        http.shutdown()
        thread.join()


def test_native_code_fetches_no_remote_manifest(server: str, tmp_path: Path) -> None:
    """The C2PA library has its own sockets, which Python cannot see; a server can."""
    import c2pa

    picture = tmp_path / "remote.jpg"
    Image.new("RGB", (64, 64)).save(picture, xmp=REMOTE.format(url=server).encode())
    with pytest.raises(c2pa.C2paError), picture.open("rb") as stream:
        c2pa.Reader("image/jpeg", stream)
    assert _Counter.seen, "by its defaults the library fetches; if not, this test shows nothing"
    _Counter.seen.clear()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "counterproof", "scan", str(picture), "--profile", "deep"),
            *("--format", "jsonl"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    codes = [finding["code"] for finding in json.loads(done.stdout)["findings"]]
    assert "c2pa.manifest.unfetched" in codes
    assert _Counter.seen == []
