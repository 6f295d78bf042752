"""Signers known to be compromised or revoked: what they sign is a declaration."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from counterproof.errors import UserError
from counterproof.provenance.advisories import REASONS, Advisories, load_advisories
from counterproof.provenance.certificates import Certificate, fingerprint, load_certificate
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.trust import load_trust, read_certificates
from counterproof.settings import Settings
from counterproof.text import catalogue

CAPTURED = "digitalCapture"


def leaf(authority: Any, signing: Any) -> Certificate:
    return read_certificates(signing.pem(authority.leaf), "leaf")[0]


def advise(home: Path, **entry: Any) -> None:
    base = {"name": "test", "reason": "key_published", "source": "https://example.org/1"}
    value = {
        "schema": "counterproof.advisories/1",
        "date": "2026-11-01",
        "advisories": [{**base, **entry}],
    }
    path = home / "trust" / "advisories.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def captured(signing: Any, make_authority: Any) -> tuple[Any, bytes]:
    """A capture of a signer of its own, so that the advisory touches no other test."""
    authority = make_authority("Example Camera")
    action = {
        "action": "c2pa.created",
        "digitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{CAPTURED}",
    }
    return authority, signing.sign(authority, signing.picture(), [action])[0]


def entries(certificate: Certificate) -> list[dict[str, Any]]:
    first = certificate.first.date()
    return [
        {"sha256": fingerprint(certificate)},
        {
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"00{certificate.parsed.serial_number:X}",
        },
        {
            "organisation": "EXAMPLE camera",
            "issued_from": first.isoformat(),
            "issued_until": first.isoformat(),
            "reason": "issuer_revoked",
        },
    ]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_leaf_on_the_list_never_verifies_a_capture(
    kind: int, signing: Any, captured: tuple[Any, bytes]
) -> None:
    authority, data = captured
    before = signing.look(data, authority)
    assert before.status == "captured_verified"
    home = signing.home(authority)
    digest = CredentialsAnalyzer(Settings(home=home)).fingerprint()
    entry = entries(leaf(authority, signing))[kind]
    advise(home, **entry)
    after = signing.look(data, authority)
    assert after.status == "provenance_declared"
    assert after.answers[:3] == ("intact", "revoked", "in_validity")
    assert after.state == "intact"
    assert "name" not in after.details["signer"]
    assert after.details["signer"]["claims_to_be"] == "Example Camera Signer"
    found = after.coded("c2pa.signer.advisory")
    assert found.details["advisory"]["source"] == "https://example.org/1"
    for language in ("en", "zh"):
        said = catalogue(language).sentence(found)
        assert "{" not in said
        reason = entry.get("reason", "key_published")
        assert catalogue(language).ui(f"advisory.reason.{reason}") in said
    assert CredentialsAnalyzer(Settings(home=home)).fingerprint() != digest


def test_what_the_list_does_not_name_is_untouched(
    signing: Any, captured: tuple[Any, bytes]
) -> None:
    authority, data = captured
    certificate = leaf(authority, signing)
    day = certificate.first.date() + dt.timedelta(days=1)
    home = signing.home(authority)
    others = [
        {"sha256": "0" * 64},
        {"issuer": "CN=Somebody", "serial": f"{certificate.parsed.serial_number:x}"},
        {"issuer": certificate.issuer.rfc4514_string(), "serial": "1"},
        {
            "organisation": "example camera",
            "issued_from": day.isoformat(),
            "issued_until": day.isoformat(),
        },
    ]
    for entry in others:
        advise(home, **entry)
        assert signing.look(data, authority).status == "captured_verified"


def test_an_issuer_on_the_list_takes_its_signers_along(
    signing: Any, captured: tuple[Any, bytes]
) -> None:
    authority, data = captured
    issuer = read_certificates(signing.pem(authority.intermediate), "issuer")[0]
    advise(signing.home(authority), sha256=fingerprint(issuer))
    assert signing.look(data, authority).answers[1] == "revoked"


def test_an_organisation_counts_in_the_issuer_too(signing: Any, make_authority: Any) -> None:
    """A camera's certificate may name the camera, and only its issuer the maker."""
    maker = make_authority("NIKON CORPORATION")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Camera 1")])
    (nikon,) = (entry for entry in load_advisories().entries if entry.organisation)
    for day, known in ((dt.date(2025, 9, 1), True), (dt.date(2025, 10, 1), False)):
        first = dt.datetime.combine(day, dt.time(), dt.UTC)
        made = signing.certificate(
            subject, maker.key, maker.intermediate.subject, maker.middle_key, first=first
        )
        (certificate,) = read_certificates(signing.pem(made), "made")
        assert nikon.matches(certificate) is known


def test_a_parent_on_the_list_is_not_verified(
    signing: Any, captured: tuple[Any, bytes], other: Any
) -> None:
    authority, data = captured
    child = signing.chain(other, data)
    home = signing.home(other, authority)
    before = signing.look(child, other, authority)
    assert before.details["history"]["ingredients"][0]["step"]["verified"] is True
    advise(home, sha256=fingerprint(leaf(authority, signing)))
    after = signing.look(child, other, authority)
    assert after.details["history"]["ingredients"][0]["step"]["verified"] is False
    assert after.coded("c2pa.signer.advisory") is None  # the last signer is another


def test_the_bundled_list() -> None:
    found = load_advisories()
    assert isinstance(found, Advisories)
    assert len({entry.name for entry in found.entries}) == len(found.entries) >= 13
    for entry in found.entries:
        assert entry.source.startswith("https://")
        assert entry.reason in REASONS
        assert entry.known is not None
        assert entry.known <= found.date
    trust = load_trust(None)
    assert trust.dates()["advisories"] == found.date.isoformat()
    listed = [
        entry.name
        for item in trust.lists
        for der in item.allowed
        for entry in found.entries
        if entry.matches(load_certificate(der))
    ]
    assert listed == []  # no list vouches for a signer whose key is public


def test_public_keys_of_test_files_are_on_the_bundled_list(test_data: Path) -> None:
    folder = test_data / "c2pa" / "certs-c2pa-rs"
    if not folder.is_dir():
        pytest.skip(f"no certificates at {folder}")
    found = load_advisories()
    for name in ("es256", "ps256", "ed25519"):
        path = folder / f"{name}.pub"
        if path.is_file():
            chain = read_certificates(path.read_bytes(), str(path))
            advisory = found.find(chain)
            assert advisory is not None
            assert advisory.reason == "key_published"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": "other", "date": "2026-01-01", "advisories": []}',
        '{"schema": "counterproof.advisories/1", "date": "x", "advisories": []}',
        '{"schema": "counterproof.advisories/1", "date": "2026-01-01", "advisories": [{}]}',
        '{"schema": "counterproof.advisories/1", "date": "2026-01-01", "advisories": '
        '[{"name": "a", "reason": "issuer_revoked", "source": "s", "organisation": "everyone"}]}',
        '{"schema": "counterproof.advisories/1", "date": "2026-01-01", "advisories": '
        '[{"name": "a", "reason": "whim", "source": "s", "sha256": "00"}]}',
    ],
)
def test_a_malformed_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trust" / "advisories.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=r"advisories\.json: expected advisories of schema"):
        load_advisories(tmp_path)
