"""`counterproof serve`: what it refuses, and that curl could ask it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("uvicorn")

from counterproof.app.cli import cli
from counterproof.errors import MissingExtra, UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def stored(home: Path) -> Path:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(home / "a.png")
    out = str(home / "out")
    done = run("mark", str(home / "a.png"), "--as", "generated", "--no-watermark", "-o", out)
    assert done.exit_code == 0
    return home


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_without_a_store_there_is_nothing_to_serve(home: Path) -> None:
    done = run("serve")
    assert isinstance(done.exception, UserError)
    assert "no manifest store" in str(done.exception)
    bad = home / "bad.sqlite"
    bad.write_bytes(b"SQLite format 3\0 and no more")
    done = run("serve", "--store", str(bad))
    assert str(bad) in str(done.exception)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "--name"),
        (["--host", "example.org"], "IPv4"),
        (["--host", "203.0.113.7"], "cannot listen"),
    ],
)
def test_an_address_that_cannot_be_served(stored: Path, options: list[str], says: str) -> None:
    done = run("serve", *options)
    assert isinstance(done.exception, UserError)
    assert says in str(done.exception)


def test_the_extra_is_named_where_it_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run("serve")
    assert isinstance(done.exception, MissingExtra)
    assert "counterproof[serve]" in str(done.exception)


def test_it_answers_over_a_socket(stored: Path) -> None:
    command = [sys.executable, "-m", "counterproof", "serve", "--port", "0", "--lang", "en"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            assert server.stderr is not None
            address = server.stderr.readline().split()[2]
            assert address.startswith("http://127.0.0.1:")
            asked = f"{address}/services/supportedAlgorithms"
            with urllib.request.urlopen(asked, timeout=60) as answer:
                assert {"alg": "counterproof.dct256.1"} in json.load(answer)["fingerprints"]
            other = urllib.request.Request(asked, headers={"Host": "rebound.example"})
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(other, timeout=60)
        finally:
            server.terminate()
            server.wait(30)
