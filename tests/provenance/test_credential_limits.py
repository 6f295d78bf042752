"""What reading a credential may cost, and that nothing hostile gets through."""

import datetime as dt
import importlib.metadata
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterproof.errors import CounterproofError, UserError
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.provenance import credentials_scan, manifest_store
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings


def test_a_picture_without_credential_never_meets_the_library(signing: Any) -> None:
    """Not even its module is imported."""
    program = """
import io, sys
from pathlib import Path
from counterproof.images import ImageFile
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.settings import Settings
image = ImageFile.open(sys.stdin.buffer.read())
assert list(CredentialsAnalyzer(Settings(home=Path("none"))).analyze(image)) == []
assert "c2pa" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], input=signing.picture(), check=True, timeout=60)


def test_no_socket_is_opened(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a packet would have left")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert signing.look(intact, authority).state == "verified"


def test_mutated_stores_never_crash(signing: Any, authority: Any, intact: bytes) -> None:
    rng = random.Random(7)
    start, end = 20, intact.find(b"\xff\xdb")
    states = set()
    trust = load_trust(signing.home(authority))
    original = read_credential(ImageFile.open(intact), trust, dt.date.today())
    assert original is not None
    for _ in range(120):
        data = bytearray(intact)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(start, end)] = rng.randrange(256)
        found = read_credential(ImageFile.open(bytes(data)), trust, dt.date.today())
        states.add(found.state if found else "none")
        if found is not None and found.state == "verified":
            # only padding, which nobody signs, was hit: all that is said is as before
            assert found.reading.contents == original.reading.contents
            assert found.active.standing == original.active.standing
    assert {"broken", "unparsed"} <= states


def test_a_long_history_stays_small(signing: Any, authority: Any, intact: bytes) -> None:
    data = intact
    for _ in range(6):
        data = signing.chain(authority, data)
    many = [signing.Ingredient(intact, "componentOf", title=f"{i}.jpg") for i in range(80)]
    data = signing.sign(
        authority, signing.picture(), [signing.created("digitalCapture")], ingredients=many
    )[0]
    seen = signing.look(data, authority)
    import json

    assert len(json.dumps(seen.details)) < 100_000
    assert seen.details["history"]["ingredients_count"] == 80


def test_a_library_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest_store.library_version.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "0.30.0")
    with pytest.raises(UserError, match=r"c2pa-python 0\.30\.0 is too old"):
        manifest_store.library_version()
    monkeypatch.undo()
    manifest_store.library_version.cache_clear()


def test_the_fingerprint_follows_the_lists(signing: Any, authority: Any) -> None:
    def fingerprint(home: Path) -> str:
        return CredentialsAnalyzer(Settings(home=home)).fingerprint()

    plain, own = signing.home(), signing.home(authority)
    assert fingerprint(plain) == fingerprint(plain)
    assert fingerprint(plain) != fingerprint(own)
    lists = CredentialsAnalyzer(Settings(home=own)).lists()
    assert {"c2pa", "c2pa-tsa", "interim", "user"} <= set(lists)


def test_the_manifest_is_kept_as_evidence(signing: Any, intact: bytes) -> None:
    from counterproof.findings import Blob

    analyzer = CredentialsAnalyzer(Settings(home=signing.home()))
    found = list(analyzer.analyze(ImageFile.open(intact)))
    blobs = [item for item in found if isinstance(item, Blob)]
    named = [name for item in found if isinstance(item, Finding) for name in item.evidence]
    assert [blob.name for blob in blobs] == [credentials_scan.BLOB_NAME]
    assert set(named) == {credentials_scan.BLOB_NAME}


def test_errors_are_ours(signing: Any, tmp_path: Path) -> None:
    bad = tmp_path / "trust" / "signer"
    bad.mkdir(parents=True)
    (bad / "x.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CounterproofError):
        load_trust(tmp_path)
