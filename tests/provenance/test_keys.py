"""Identities are safe: made once, for their owner only, and never shown."""

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance import keys
from counterproof.provenance.keylint import lint_chain
from counterproof.provenance.private_key import read_key
from counterproof.provenance.trust import LOCAL_UNIT, load_trust
from counterproof.settings import Settings
from tests.provenance.chains import (
    LEAF_KEY,
    OLD,
    chain,
    key_pem,
)


@pytest.mark.parametrize("algorithm", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_init_makes_what_doctor_finds_sound(tmp_path: Path, algorithm: str) -> None:
    folder = keys.init_identity(tmp_path, "Example Press", algorithm=algorithm)
    pem_data = (folder / "chain.pem").read_bytes()
    key = read_key((folder / "leaf.key").read_bytes(), "leaf.key")
    assert lint_chain(pem_data + (folder / "root.pem").read_bytes(), "made", key=key) == []
    found = keys.find_identity(Settings(home=tmp_path), {})
    assert (found.origin, found.organisation) == ("store", "Example Press")
    with pytest.raises(UserError, match="already"):
        keys.init_identity(tmp_path, "Example Press")


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keys.init_identity(tmp_path, "Example Press")
        keys.local_identity(Settings(home=tmp_path))
    finally:
        os.umask(old)
    found = list((tmp_path / "keys").rglob("*.key"))
    assert {path.name for path in found} == {"root.key", "intermediate.key", "leaf.key"}
    assert len(found) == 4  # of the local identity, the keys of its authorities are not kept
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_local_identity_is_made_once_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path)
    first = keys.find_identity(settings, {})
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert str(tmp_path) in said.err
    assert said.out == ""
    again = keys.find_identity(settings, {})
    assert again.chain == first.chain
    assert capsys.readouterr().err == ""
    assert first.origin == "local"


def test_the_local_identity_is_known_as_such_here_and_elsewhere(tmp_path: Path) -> None:
    from counterproof.provenance.trust import read_certificates

    made = keys.local_identity(Settings(home=tmp_path))
    leaf = read_certificates(made.chain, "chain")[0]
    assert load_trust(tmp_path).is_local(leaf)
    assert load_trust(None).is_local(leaf), "another machine tells it by its unit"
    assert LOCAL_UNIT in leaf.subject.rfc4514_string()
    user = os.environ.get("USER", "")
    assert not user or user not in leaf.subject.rfc4514_string()


def test_an_expired_local_identity_is_replaced(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    keys.local_identity(settings)
    folder = tmp_path / "keys" / "local"
    (folder / "chain.pem").write_bytes(chain(**OLD))
    renewed = keys.local_identity(settings)
    assert renewed.origin == "local"
    assert len(list((tmp_path / "keys").glob("local*"))) == 2


def test_keys_from_the_environment() -> None:
    values = {
        "COUNTERPROOF_SIGNING_CERT": chain().decode(),
        "COUNTERPROOF_SIGNING_KEY": base64.b64encode(key_pem(LEAF_KEY)).decode(),
    }
    found = keys.from_environment(values)
    assert found is not None
    assert (found.origin, found.algorithm) == ("environment", "es256")
    locked = values | {
        "COUNTERPROOF_SIGNING_KEY": key_pem(LEAF_KEY, password=b"pass").decode(),
        "COUNTERPROOF_KEY_PASSWORD": "pass",
    }
    assert keys.from_environment(locked) is not None
    assert keys.from_environment({}) is None
    with pytest.raises(UserError, match="COUNTERPROOF_SIGNING_KEY is not set"):
        keys.from_environment({"COUNTERPROOF_SIGNING_CERT": "x"})


def test_files_of_ones_own_and_their_mix_ups(tmp_path: Path) -> None:
    cert, key = tmp_path / "chain.pem", tmp_path / "leaf.key"
    cert.write_bytes(chain())
    key.write_bytes(key_pem(LEAF_KEY, "TraditionalOpenSSL"))  # SEC1, which the library refuses
    assert keys.from_files(cert, key).origin == "files"
    with pytest.raises(UserError, match="private key"):
        keys.from_files(key, cert)
    with pytest.raises(UserError, match="No such file"):
        keys.from_files(tmp_path / "none", key)
    other = tmp_path / "other.key"
    other.write_bytes(key_pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(ProvenanceError, match="does not belong"):
        keys.from_files(cert, other)


def test_no_error_and_no_repr_shows_a_key(tmp_path: Path) -> None:
    secret = key_pem(LEAF_KEY).decode()
    body = secret.splitlines()[1]
    for text in (secret.replace("MIG", "XXX"), secret[:100], key_pem(LEAF_KEY, password=b"p")):
        data = text.encode() if isinstance(text, str) else text
        with pytest.raises(UserError) as caught:
            read_key(data, "broken.key")
        chained: BaseException | None = caught.value
        while chained is not None:
            assert body[:24] not in str(chained)
            chained = chained.__cause__ or chained.__context__
    cert, key = tmp_path / "chain.pem", tmp_path / "leaf.key"
    cert.write_bytes(chain())
    key.write_text(secret)
    shown = repr(keys.from_files(cert, key))
    assert body not in shown
    assert "PRIVATE" not in shown
