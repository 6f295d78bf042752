"""The exact defect of an unsound chain is named, and what is fatal is refused."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance import keys
from counterproof.provenance.keylint import lint_chain
from counterproof.provenance.sign import actions_of, sign
from counterproof.text import catalogue
from tests.provenance.chains import (
    LEAF,
    LEAF_KEY,
    MIDDLE,
    MIDDLE_KEY,
    NOW,
    ROOT,
    ROOT_KEY,
    VARIANTS,
    chain,
    issue,
    key_usage,
    pem,
)

ACTIONS = actions_of(
    [
        {
            "action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
            "trainedAlgorithmicMedia",
        }
    ]
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_doctor_names_the_exact_defect(variant: str) -> None:
    make, code, fatal = VARIANTS[variant]
    found = lint_chain(make(), variant)
    assert [(item.code, item.fatal) for item in found if item.code != "rfc5280"] == [(code, fatal)]


@pytest.mark.parametrize("variant", [name for name, (_, _, bad) in VARIANTS.items() if not bad])
def test_what_is_only_a_warning_signs(variant: str, png: bytes) -> None:
    identity = keys.from_callback(VARIANTS[variant][0](), _signing(LEAF_KEY))
    assert sign(png, "image/png", identity, [ACTIONS], name=variant).store


@pytest.mark.parametrize("variant", [name for name, (_, _, bad) in VARIANTS.items() if bad])
def test_what_is_fatal_is_refused_with_its_reason(variant: str) -> None:
    with pytest.raises(ProvenanceError, match="keys doctor") as caught:
        keys.from_callback(VARIANTS[variant][0](), lambda data: b"")
    assert len(str(caught.value)) > 40


def test_the_library_agrees_that_they_are_fatal(png: bytes) -> None:
    """Our word against the library's, for every variant that it judges when signing."""
    ours = {"another issuer", "forged", "issuer is no CA", "unknown critical"}
    for variant, (make, _, fatal) in VARIANTS.items():
        if not fatal or variant in ours | {"secp256k1"}:
            continue
        data = make()
        identity = keys.Identity("x", "x", "es256", data, "callback", _signing(LEAF_KEY))
        with pytest.raises(ProvenanceError):
            sign(png, "image/png", identity, [ACTIONS], name=variant)


@pytest.fixture(scope="module")
def png() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 199)).save(out, "PNG")
    return out.getvalue()


def _signing(key: Any) -> Callable[[bytes], bytes]:
    return lambda data: bytes(key.sign(data, ec.ECDSA(hashes.SHA256())))  # DER, as a KMS gives it


def test_a_sound_chain_has_no_defect() -> None:
    assert lint_chain(chain(), "sound") == []


def test_every_defect_has_words() -> None:
    for _, code, _ in VARIANTS.values():
        for language in ("en", "zh"):
            assert f"keys.defect.{code}" in catalogue(language).tables["ui"]


def test_a_key_of_another_certificate() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert [item.code for item in lint_chain(chain(), "x", key=other)] == ["key_mismatch"]


def test_the_linter_adds_what_rfc_5280_forbids() -> None:
    middle = issue(MIDDLE, MIDDLE_KEY, ROOT, ROOT_KEY, ca=True, ski=False)
    (found,) = lint_chain(pem(issue(LEAF, LEAF_KEY, MIDDLE, MIDDLE_KEY), middle), "x")
    assert (found.code, found.fatal, found.subject) == ("rfc5280", False, MIDDLE.rfc4514_string())
    assert found.rule == "pkix.certificate_skid_ca_missing"


def test_every_rule_of_the_profile_has_words() -> None:
    from counterproof.provenance.certificate_profile import _linter

    codes = {item.code for item in _linter().validations if item.code.startswith("profile.")}
    assert len(codes) >= 15
    for code in codes:
        assert f"keys.defect.{code.removeprefix('profile.')}" in catalogue("zh").tables["ui"]


def test_what_the_linter_cannot_judge_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from counterproof.provenance import certificate_profile

    def broken(self: Any, node: Any) -> Any:
        raise RuntimeError("strange")

    monkeypatch.setattr(certificate_profile.NamesOrganisation, "broken", broken)
    found = lint_chain(chain(), "x")
    assert [(item.code, item.fatal, item.details["found"]) for item in found] == [
        ("unjudged", False, "strange")
    ]
    assert capsys.readouterr().err == ""


def test_a_chain_signed_with_pss_holds() -> None:
    from cryptography.hazmat.primitives.asymmetric import padding

    key = rsa.generate_private_key(65537, 2048)
    builder = (
        x509.CertificateBuilder()
        .subject_name(MIDDLE)
        .issuer_name(MIDDLE)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=9))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    authority = builder.sign(key, hashes.SHA256(), rsa_padding=pss)
    leaf = issue(LEAF, LEAF_KEY, MIDDLE, key)
    assert lint_chain(pem(leaf, authority), "x") == []


def test_certificates_of_others_are_all_judged(test_data: Path) -> None:
    """Certificates as authorities issue them: every one is read, whatever is wrong with it."""
    files = sorted((test_data / "c2pa" / "trust").rglob("*.pem"))
    files += sorted((test_data / "c2pa" / "certs-c2pa-rs").rglob("*.pub"))
    chains = 0
    for path in files:
        try:
            found = lint_chain(path.read_bytes(), path.name)
        except UserError:  # such as a list of hashes
            continue
        chains += 1
        assert "unjudged" not in {item.code for item in found}, path
    assert chains >= 10
