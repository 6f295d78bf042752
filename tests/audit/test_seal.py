"""A seal names what changed, and other programs accept its signature and its time stamp."""

import json
import shutil
import sqlite3
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

from counterproof.app.cli import cli
from counterproof.audit.seal import root_of

if TYPE_CHECKING:
    from tests.local_pki import LocalPki

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl program is not installed"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERPROOF_LANGUAGE", "en")
    for name in ("CERT", "KEY"):
        monkeypatch.delenv(f"COUNTERPROOF_SIGNING_{name}", raising=False)
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures and their case, scanned once: a scan starts a process."""
    root = tmp_path_factory.mktemp("scanned")
    folder = root / "in"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (number * 40, 90, 30)).save(folder / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERPROOF_HOME", str(root / "home"))
        done = run("scan", folder, "--case", root / "a.case", "--profile", "quick", "-j", "1", "-q")
    assert done.exit_code == 0
    return root


@pytest.fixture
def case(scanned: Path, tmp_path: Path) -> Path:
    """A copy of that case with a note; its pictures stay where they were scanned."""
    path = tmp_path / "a.case"
    shutil.copy(scanned / "a.case", path)
    assert run("case", "note", path, "-m", "first").exit_code == 0
    return path


@pytest.fixture
def bundle(case: Path, tmp_path: Path) -> Path:
    target = tmp_path / "b.zip"
    assert run("case", "seal", case, "-o", target).exit_code == 0
    return target


def changes(target: Path, *flags: str) -> list[tuple[str, int, str, str]]:
    done = run("case", "verify", target, "--format", "json", *flags)
    found = json.loads(done.stdout)["changes"]
    assert done.exit_code == (1 if found else 0)
    return [(item["part"], item["line"], item["what"], item["how"]) for item in found]


def rewrite(bundle: Path, name: str, data: bytes) -> None:
    with zipfile.ZipFile(bundle) as old:
        parts = {item: old.read(item) for item in old.namelist()}
    with zipfile.ZipFile(bundle, "w") as new:
        for item, content in (parts | {name: data}).items():
            new.writestr(item, content)


def read(bundle: Path, name: str) -> bytes:
    with zipfile.ZipFile(bundle) as file:
        return file.read(name)


def test_a_tree_of_known_leaves() -> None:
    """RFC 9162 §2.1.1: an odd leaf rises, so [a, b, c] is node(node(a, b), c)."""
    from hashlib import sha256

    a, b, c = (sha256(bytes([n])).digest() for n in range(3))
    left = sha256(b"\x01" + a + b).digest()
    assert root_of([a]) == a
    assert root_of([a, b, c]) == sha256(b"\x01" + left + c).digest()
    assert root_of([a, b, c]) != root_of([b, a, c])


def test_what_was_sealed_holds(case: Path, bundle: Path) -> None:
    assert changes(case) == []
    assert changes(bundle, "--inputs") == []
    names = set(zipfile.ZipFile(bundle).namelist())
    assert {"records.jsonl", "notes.jsonl", "report.html", "seal.json", "seal.sig"} <= names
    said = run("case", "verify", bundle).stdout
    assert said.startswith("As sealed: 5 lines and files")


def test_a_changed_record_of_the_case_is_named(case: Path, bundle: Path, tmp_path: Path) -> None:
    with sqlite3.connect(case) as db:
        (name, text) = db.execute(
            "SELECT source.path, json FROM record JOIN source USING (sha256) "
            "ORDER BY position LIMIT 1 OFFSET 1"
        ).fetchone()
        sha256 = json.loads(text)["sha256"]
        text = text.replace('"no_evidence"', '"captured_verified"')
        db.execute("UPDATE record SET json = ? WHERE sha256 = ?", (text, sha256))
    db.close()
    assert changes(case) == [("records.jsonl", 2, name.decode(), "changed")]


def test_a_later_note_is_an_addition_and_a_lost_record_a_loss(case: Path, bundle: Path) -> None:
    run("case", "note", case, "-m", "second")
    assert changes(case) == [("notes.jsonl", 2, "second", "added")]
    with sqlite3.connect(case) as db:
        db.execute("DELETE FROM source WHERE position = 0")
        db.execute("DELETE FROM note")
    db.close()
    assert sorted(changes(case)) == [
        ("notes.jsonl", 1, "", "missing"),
        ("records.jsonl", 1, "", "missing"),
    ]


def test_a_changed_bundle_is_found_out(bundle: Path) -> None:
    lines = read(bundle, "records.jsonl").splitlines(keepends=True)
    swapped = b"".join([lines[1], lines[0], lines[2]])
    report, document = read(bundle, "report.html"), read(bundle, "seal.json")
    rewrite(bundle, "records.jsonl", swapped)
    assert changes(bundle) == [("records.jsonl", 0, "", "changed")]
    rewrite(bundle, "records.jsonl", b"".join(lines))
    rewrite(bundle, "report.html", report + b" ")
    assert [item[0] for item in changes(bundle)] == ["report.html"]
    rewrite(bundle, "report.html", report)
    sealed = json.loads(document)
    sealed["root"] = "0" * 64
    rewrite(bundle, "seal.json", json.dumps(sealed).encode())
    assert {item[3] for item in changes(bundle)} == {"signature", "root"}


def test_a_changed_or_lost_input_is_named(bundle: Path, scanned: Path) -> None:
    one, two = scanned / "in" / "1.png", scanned / "in" / "2.png"
    kept = one.read_bytes(), two.read_bytes()
    one.write_bytes(b"other")
    two.unlink()
    found = changes(bundle, "--inputs")
    one.write_bytes(kept[0])
    two.write_bytes(kept[1])
    assert [(part, line, how) for part, line, _, how in found] == [
        ("input", 2, "changed"),
        ("input", 3, "missing"),
    ]


def test_what_is_no_bundle_or_no_seal_is_said(case: Path, tmp_path: Path) -> None:
    broken = tmp_path / "x.zip"
    broken.write_bytes(b"PK\x03\x04 nothing")
    for target, said in (
        (broken, "expected a bundle"),
        (case, "not sealed"),
        (tmp_path / "none", "No such file"),
    ):
        assert said in str(run("case", "verify", target).exception)
    done = run("case", "seal", case, "-o", tmp_path / "b.zip", "--tsa", "ftp://x")
    assert "time-stamping" in str(done.exception)
    assert not (tmp_path / "b.zip").exists()


def openssl(*arguments: object) -> str:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@needs_openssl
def test_openssl_accepts_the_signature(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as file:
        file.extractall(tmp_path / "out")
    out = tmp_path / "out"
    key = openssl("x509", "-in", out / "chain.pem", "-pubkey", "-noout")
    (out / "key.pem").write_text(key)
    checked = ("dgst", "-sha256", "-verify", out / "key.pem", "-signature", out / "seal.sig")
    assert "Verified OK" in openssl(*checked, out / "seal.json")


def test_a_time_stamp_is_kept_and_holds_elsewhere(
    case: Path, tmp_path: Path, local_pki: "LocalPki"
) -> None:
    from rfc3161_client import VerifierBuilder, decode_timestamp_response

    bundle = tmp_path / "b.zip"
    with local_pki.clock() as url:
        done = run("case", "seal", case, "-o", bundle, "--tsa", url)
    assert done.exit_code == 0, done.exception
    answer = decode_timestamp_response(read(bundle, "seal.tsr"))
    verifier = VerifierBuilder(roots=[local_pki.certificate("root")]).build()
    assert verifier.verify_message(answer, read(bundle, "seal.json"))
    found = json.loads(run("case", "verify", bundle, "--format", "json").stdout)
    assert found["stamped_at"]
    assert found["changes"] == []
    assert changes(case) == []


@needs_openssl
def test_openssl_accepts_the_time_stamp(case: Path, tmp_path: Path, local_pki: "LocalPki") -> None:
    with local_pki.clock() as url:
        run("case", "seal", case, "-o", tmp_path / "b.zip", "--tsa", url)
    for name in ("seal.json", "seal.tsr"):
        (tmp_path / name).write_bytes(read(tmp_path / "b.zip", name))
    root = tmp_path / "root.pem"
    root.write_bytes(local_pki.certificate("root").public_bytes(Encoding.PEM))
    asked = ("ts", "-verify", "-data", tmp_path / "seal.json", "-in", tmp_path / "seal.tsr")
    assert "Verification: OK" in openssl(*asked, "-CAfile", root)
    (tmp_path / "seal.json").write_bytes(b"another")
    refused = subprocess.run(
        ["openssl", *map(str, asked), "-CAfile", str(root)], capture_output=True, check=False
    )
    assert refused.returncode != 0


def test_a_time_stamp_that_nobody_signed_is_named(
    case: Path, tmp_path: Path, local_pki: "LocalPki"
) -> None:
    bundle = tmp_path / "b.zip"
    with local_pki.clock() as url:
        run("case", "seal", case, "-o", bundle, "--tsa", url)
    stamp = read(bundle, "seal.tsr")
    forged = stamp[:-8] + bytes(8)  # the end of its signature
    rewrite(bundle, "seal.tsr", forged)
    assert [item[0] for item in changes(bundle)] == ["seal.tsr"]


def test_an_authority_that_does_not_answer_leaves_no_bundle(case: Path, tmp_path: Path) -> None:
    done = run("case", "seal", case, "-o", tmp_path / "b.zip", "--tsa", "http://127.0.0.1:9/")
    assert "did not answer" in str(done.exception)
    assert not (tmp_path / "b.zip").exists()
