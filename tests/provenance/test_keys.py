"""Identities are safe and sound, and the exact defect of an unsound one is named."""

import base64
import datetime as dt
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance import keys
from counterproof.provenance.keylint import lint_chain
from counterproof.provenance.private_key import read_key
from counterproof.provenance.sign import actions_of, sign
from counterproof.provenance.trust import LOCAL_UNIT, load_trust
from counterproof.settings import Settings
from counterproof.text import catalogue

NOW = dt.datetime.now(dt.UTC)
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
CLAIM = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
DOCUMENT = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
ACTIONS = actions_of(
    [
        {
            "action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
            "trainedAlgorithmicMedia",
        }
    ]
)


def _name(common: str, organisation: str | None = "Example Newsroom") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def issue(
    subject: x509.Name,
    key: Any,
    issuer: x509.Name,
    issuer_key: Any,
    *,
    ca: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] | None = (EMAIL, CLAIM),
    usage: x509.KeyUsage | None = None,
    no_usage: bool = False,
    aki: bool = True,
    ski: bool = True,
    first: dt.datetime | None = None,
    last: dt.datetime | None = None,
    critical: str = "",
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first or NOW - dt.timedelta(days=1))
        .not_valid_after(last or NOW + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if ski:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(own, critical=False)
    default = _usage(key_cert_sign=True) if ca else _usage(digital_signature=True)
    if not no_usage:
        builder = builder.add_extension(usage or default, critical=True)
    if usages and not (ca and usages == (EMAIL, CLAIM)):
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if aki:
        found = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(found, critical=False)
    if critical:
        oid = x509.ObjectIdentifier(critical)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x05\0"), critical=True)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest)


ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT, MIDDLE, LEAF = _name("Root"), _name("Middle"), _name("Signer")
MIDDLE_CERT = issue(MIDDLE, MIDDLE_KEY, ROOT, ROOT_KEY, ca=True)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def key_pem(key: Any, form: str = "PKCS8", password: bytes | None = None) -> bytes:
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
    )
    return data


def chain(key: Any = LEAF_KEY, name: x509.Name = LEAF, **how: Any) -> bytes:
    return pem(issue(name, key, MIDDLE, MIDDLE_KEY, **how), MIDDLE_CERT)


def self_signed(ca: bool = False) -> bytes:
    usage = _usage(digital_signature=True, key_cert_sign=ca)
    return pem(issue(LEAF, LEAF_KEY, LEAF, LEAF_KEY, ca=ca, usage=usage))


def forged() -> bytes:
    stranger = ec.generate_private_key(ec.SECP256R1())
    return pem(issue(LEAF, LEAF_KEY, MIDDLE, stranger), MIDDLE_CERT)


def no_authority() -> bytes:
    middle = issue(MIDDLE, MIDDLE_KEY, ROOT, ROOT_KEY, usages=None)
    return pem(issue(LEAF, LEAF_KEY, MIDDLE, MIDDLE_KEY), middle)


OLD: dict[str, Any] = {"first": NOW - dt.timedelta(days=400), "last": NOW - dt.timedelta(days=30)}
YOUNG: dict[str, Any] = {"first": NOW + dt.timedelta(days=30), "last": NOW + dt.timedelta(days=300)}
# what is wrong → the code that says so, and whether signing or reading fails for it
VARIANTS: dict[str, tuple[Callable[[], bytes], str, bool]] = {
    "no EKU": (lambda: chain(usages=None), "no_extended_usage", True),
    "any EKU": (
        lambda: chain(usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        "any_extended_usage",
        True,
    ),
    "serverAuth": (
        lambda: chain(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        "wrong_extended_usage",
        True,
    ),
    "codeSigning": (
        lambda: chain(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        "wrong_extended_usage",
        True,
    ),
    "email and timeStamping": (
        lambda: chain(usages=(EMAIL, ExtendedKeyUsageOID.TIME_STAMPING)),
        "mixed_extended_usage",
        True,
    ),
    "documentSigning only": (lambda: chain(usages=(DOCUMENT,)), "unlisted_extended_usage", False),
    "claimSigning only": (lambda: chain(usages=(CLAIM,)), "unlisted_extended_usage", False),
    "no AKI": (lambda: chain(aki=False), "no_authority_key", True),
    "no KU": (lambda: chain(no_usage=True), "no_key_usage", True),
    "nonRepudiation only": (
        lambda: chain(usage=_usage(content_commitment=True)),
        "no_digital_signature",
        False,
    ),
    "keyEncipherment only": (
        lambda: chain(usage=_usage(key_encipherment=True)),
        "no_digital_signature",
        True,
    ),
    "keyCertSign on a signer": (
        lambda: chain(usage=_usage(digital_signature=True, key_cert_sign=True)),
        "leaf_signs_certificates",
        True,
    ),
    "a CA as signer": (
        lambda: chain(ca=True, usage=_usage(digital_signature=True, key_cert_sign=True)),
        "leaf_is_ca",
        True,
    ),
    "expired": (lambda: chain(**OLD), "expired", True),
    "not yet valid": (lambda: chain(**YOUNG), "not_yet_valid", True),
    "self-signed": (self_signed, "self_signed", False),
    "self-signed CA": (lambda: self_signed(ca=True), "self_signed_ca", True),
    "reversed": (lambda: pem(MIDDLE_CERT) + chain().split(pem(MIDDLE_CERT))[0], "order", True),
    "no intermediate": (
        lambda: pem(issue(LEAF, LEAF_KEY, MIDDLE, MIDDLE_KEY)),
        "no_intermediate",
        False,
    ),
    "no O": (lambda: chain(name=_name("Signer", None)), "no_organisation", False),
    "another issuer": (
        lambda: pem(issue(LEAF, LEAF_KEY, ROOT, ROOT_KEY), MIDDLE_CERT),
        "wrong_issuer",
        True,
    ),
    "forged": (forged, "bad_signature", True),
    "issuer is no CA": (no_authority, "issuer_is_no_ca", True),
    "secp256k1": (
        lambda: chain(ec.generate_private_key(ec.SECP256K1())),
        "key_kind",
        True,
    ),
    "unknown critical": (lambda: chain(critical="1.2.3.4.5"), "unknown_critical", True),
}


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
        .add_extension(_usage(key_cert_sign=True), critical=True)
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
