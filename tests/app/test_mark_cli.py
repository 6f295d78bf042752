"""`counterproof mark` and `counterproof keys`, as a person and a pipe use them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counterproof.app.cli import cli
from counterproof.provenance.mark import assert_marked
from counterproof.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERPROOF_LANGUAGE", "en")
    for name in ("CERT", "KEY"):
        monkeypatch.delenv(f"COUNTERPROOF_SIGNING_{name}", raising=False)
    return tmp_path / "home"


def picture(folder: Path, name: str, fmt: str = "PNG") -> str:
    rng = np.random.default_rng(len(name))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, fmt)
    path.write_bytes(out.getvalue())
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_a_stranger_marks_pictures_with_no_set_up(home: Path, tmp_path: Path) -> None:
    names = [picture(tmp_path, "a.png"), picture(tmp_path, "b.jpg", "JPEG")]
    done = run("mark", *names, "--as", "generated", "-o", str(tmp_path / "out"))
    assert done.exit_code == 0
    paths = [tmp_path / "out" / Path(name).name for name in names]
    assert done.stdout.split() == [str(path) for path in paths]
    assert "local signing identity" in done.stderr
    assert "2 pictures marked" in done.stderr
    for path in paths:
        assert_marked(path, "generated", settings=Settings(home=home))
    again = run("mark", names[0], "--as", "generated", "-o", str(tmp_path / "more"))
    assert "local signing identity" not in again.stderr
    scanned = run("scan", str(tmp_path / "out"), "--format", "jsonl")
    statuses = [json.loads(line)["verdict"]["status"] for line in scanned.stdout.splitlines()]
    assert statuses == ["synthetic_declared"] * 2


def test_init_then_trust_then_verified(home: Path, tmp_path: Path) -> None:
    made = run("keys", "init", "--organisation", "Example Press")
    assert made.exit_code == 0
    root = made.stdout.strip()
    name = picture(tmp_path, "a.png")
    run("mark", name, "--as", "model-edited", "-o", str(tmp_path / "out"))
    assert run("trust", "add", root).exit_code == 0
    scanned = run("scan", str(tmp_path / "out" / "a.png"), "--format", "jsonl")
    verdict = json.loads(scanned.stdout)["verdict"]
    assert verdict["status"] == "model_edited_verified"
    assert verdict["answers"]["trust"] == "user"
    sound = run("keys", "doctor", str(Path(root).with_name("chain.pem")))
    assert (sound.exit_code, "no defect" in sound.stdout) == (0, True)


def test_the_doctor_says_what_is_wrong(home: Path, tmp_path: Path) -> None:
    root = Path(run("keys", "init", "--organisation", "Example Press").stdout.strip())
    middle = root.with_name("intermediate.pem").read_bytes()
    chain = root.with_name("chain.pem").read_bytes()
    turned = tmp_path / "turned.pem"
    turned.write_bytes(middle + chain[: len(chain) - len(middle)])
    done = run("keys", "doctor", str(turned))
    assert done.exit_code == 1
    assert "put the signer's certificate first" in done.stdout
    found = json.loads(run("keys", "doctor", str(turned), "--format", "json").stdout)
    assert [item["code"] for item in found["defects"]] == ["order"]
    late = run("keys", "doctor", str(root.with_name("chain.pem")), "--as-of", "2099-01-01")
    assert late.exit_code == 1
    assert late.stdout.count("expired") >= 2
    key = root.with_name("leaf.key")
    key.chmod(0o644)
    shown = run("keys", "doctor", str(root.with_name("chain.pem")), "--key", str(key))
    assert shown.exit_code == 0
    assert "key_readable" in shown.stdout
    wrong = root.with_name("root.key")
    assert run("keys", "doctor", str(root.with_name("chain.pem")), "--key", str(wrong)).exit_code
    zh = run("keys", "doctor", str(turned), "--lang", "zh")
    assert "签名者证书" in zh.stdout


def test_keys_of_ones_own(home: Path, tmp_path: Path) -> None:
    root = Path(run("keys", "init", "--organisation", "Example Press").stdout.strip())
    own = tmp_path / "own"
    root.parent.rename(own)
    options = ["--cert", str(own / "chain.pem"), "--signing-key", str(own / "leaf.key")]
    name = picture(tmp_path, "a.png")
    arguments = ["mark", name, "--as", "captured", "-o", str(tmp_path / "out"), "--format", "jsonl"]
    done = run(*arguments, *options)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["signer"] == "Example Press"
    assert not (home / "keys" / "local").exists()
    for bad in (options[:2], [*options[:3], str(own / "root.key")], [*options[:3], "nowhere"]):
        assert run(*arguments, *bad, "--overwrite").exception is not None


def test_one_bad_picture_stops_no_other(home: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnot")
    good = picture(tmp_path, "good.png")
    done = run("mark", str(bad), good, "--as", "generated", "-o", str(tmp_path / "out"))
    assert done.exit_code == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    assert "bad.png: not marked" in done.stderr


def test_what_is_missing_is_told(home: Path, tmp_path: Path) -> None:
    name = picture(tmp_path, "a.gif", "GIF")
    done = run("mark", name, "--as", "generated", "-o", str(tmp_path / "out"))
    assert "watermark missing: the format cannot take it" in done.stderr
    done = run("mark", name, "--as", "generated", "-o", str(tmp_path / "zh"), "--lang", "zh")
    assert "水印缺少：该格式无法容纳" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--as", "real"],
        [],
        ["--as", "generated", "--training", "maybe"],
        ["--as", "generated", "--tsa", "example.org"],
        ["--as", "generated", "--label", "人工智能"],
        ["--as", "generated", "--key", "missing"],
    ],
)
def test_bad_options_end_in_a_line(arguments: list[str], home: Path, tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    done = run("mark", name, "-o", str(tmp_path / "out"), *arguments)
    assert done.exception is not None
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_two_pictures_of_one_name_are_refused_at_once(home: Path, tmp_path: Path) -> None:
    names = [picture(tmp_path / "x", "a.png"), picture(tmp_path / "y", "A.png")]
    done = run("mark", *names, "--as", "generated", "-o", str(tmp_path / "out"))
    assert "would both be written" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_every_option_reaches_the_manifest(home: Path, tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    parts: list[Any] = ["--system", "Example Model", "--system-version", "3", "--prompt", "a <b>"]
    parts += ["--producer", "001191110102MACQD9K64010000", "--training", "constrained"]
    parts += ["--constraint", "ask us", "--label", "AI", "--sidecar", "--no-watermark"]
    done = run("mark", name, "--as", "generated", "-o", str(tmp_path / "out"), *parts)
    assert done.exit_code == 0
    made = (tmp_path / "out" / "a.png").read_bytes()
    for text in (b"Example Model", b"a &lt;b&gt;", b"001191110102MACQD9K64010000", b"ask us"):
        assert text in made
    store = (tmp_path / "out" / "a.c2pa").read_bytes()
    assert b"Example Model" in store
    assert_marked(tmp_path / "out" / "a.png", "generated", settings=Settings(home=home))


def test_a_private_mark_is_read_with_its_key_only(home: Path, tmp_path: Path) -> None:
    y, x = np.mgrid[0:300, 0:400]
    noise = np.random.default_rng(1).normal(0, 8, (300, 400))
    ramp = (120 + 60 * np.sin(x / 31) * np.cos(y / 23) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "a.png")
    for name in ("secret", "other"):
        (tmp_path / name).write_bytes(name.encode() * 4)
    out, secret = str(tmp_path / "out"), str(tmp_path / "secret")
    made = run("mark", str(tmp_path / "a.png"), "--as", "generated", "-o", out, "--key", secret)
    assert made.exit_code == 0, made.output

    def seen(*arguments: str) -> tuple[list[tuple[str, str]], str]:
        path = str(tmp_path / "out" / "a.png")
        found = json.loads(run("show", path, "--format", "json", *arguments).stdout)
        codes = [(item["code"], item["basis"]) for item in found["findings"]]
        return [item for item in codes if item[0].startswith("watermark.")], found["verdict"][
            "status"
        ]

    assert seen("--key", secret) == ([("watermark.match", "mark")], "synthetic_verified")
    for without in ((), ("--key", str(tmp_path / "other"))):
        assert seen(*without)[0] in ([], [("watermark.likely", "statistical")])
        assert seen(*without)[1] == "synthetic_declared"
