"""Trust lists and certificates: what is listed for what, when, and how lists come in."""

import base64
import datetime as dt
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from counterproof.app.trust import trust as trust_command
from counterproof.errors import ProvenanceError, UserError
from counterproof.findings import Trust
from counterproof.provenance import cms, remote
from counterproof.provenance.certificates import (
    SIGNER_USAGES,
    TIMESTAMP_USAGES,
    Anchors,
    fingerprint,
    load_certificate,
    path_to_anchor,
)
from counterproof.provenance.trust import add_certificates, load_trust, store_list

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
EMAIL = "1.3.6.1.5.5.7.3.4"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _load(*certificates: x509.Certificate) -> list[Any]:
    return [load_certificate(_der(item)) for item in certificates]


# ------------------------------------------------------------------ certificates


def test_a_chain_reaches_its_root_through_certificates_in_any_order(authority: Any) -> None:
    leaf, intermediate, root = _load(authority.leaf, authority.intermediate, authority.root)
    anchors = Anchors.of([root])
    for chain in ([leaf, intermediate], [leaf, root, intermediate]):
        assert path_to_anchor(chain, anchors, SIGNER_USAGES, NOW) == root
    assert path_to_anchor([leaf], anchors, SIGNER_USAGES, NOW) is None
    assert path_to_anchor([], anchors, SIGNER_USAGES, NOW) is None
    assert path_to_anchor([leaf], Anchors.of([intermediate]), SIGNER_USAGES, NOW) == intermediate
    assert path_to_anchor([leaf], Anchors.of([], [leaf]), SIGNER_USAGES, NOW) == leaf
    assert path_to_anchor([leaf], Anchors.of([leaf]), SIGNER_USAGES, NOW) == leaf


def test_a_chain_is_judged_for_one_usage(authority: Any, make_authority: Any) -> None:
    leaf, intermediate, root = _load(authority.leaf, authority.intermediate, authority.root)
    assert path_to_anchor([leaf, intermediate], Anchors.of([root]), TIMESTAMP_USAGES, NOW) is None
    assert path_to_anchor([leaf], Anchors.of([], [leaf]), TIMESTAMP_USAGES, NOW) is None
    for usages in ((), (TIME_STAMPING,), ("1.3.6.1.5.5.7.3.3",), ("2.5.29.37.0",)):
        strange = make_authority("Strange", usages=usages)
        chain = _load(strange.leaf, strange.intermediate, strange.root)
        anchors = Anchors.of(chain[2:], chain[:1])
        assert path_to_anchor(chain, anchors, SIGNER_USAGES, NOW) is None


def test_an_issuer_that_is_for_time_stamps_issues_no_signers(signing: Any) -> None:
    """The interim list names issuers of time-stamping certificates beside those of signers."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Issuer", "Leaf")
    ]
    issuer = signing.certificate(
        names[0], keys[0], names[0], keys[0], ca=True, usages=(TIME_STAMPING,)
    )
    leaf = signing.certificate(names[1], keys[1], names[0], keys[0], usages=(EMAIL,))
    chain = _load(leaf, issuer)
    assert path_to_anchor(chain, Anchors.of(chain[1:]), SIGNER_USAGES, NOW) is None


def test_a_leaf_is_no_issuer(signing: Any, authority: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Forged")])
    forged = signing.certificate(name, key, authority.leaf.subject, authority.key, usages=(EMAIL,))
    chain = _load(forged, authority.leaf, authority.intermediate)
    assert path_to_anchor(chain, Anchors.of(_load(authority.root)), SIGNER_USAGES, NOW) is None


def test_a_signature_must_fit_not_only_the_name(signing: Any, authority: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Forged")])
    # says that the intermediate issued it, but another key signed
    forged = signing.certificate(name, key, authority.intermediate.subject, key, usages=(EMAIL,))
    chain = _load(forged, authority.intermediate)
    assert path_to_anchor(chain, Anchors.of(_load(authority.root)), SIGNER_USAGES, NOW) is None


def test_every_certificate_on_the_way_must_be_in_force(make_authority: Any) -> None:
    brief = make_authority("Brief", first=NOW - DAY, last=NOW + DAY)
    chain = _load(brief.leaf, brief.intermediate)
    anchors = Anchors.of(_load(brief.root))
    for days, found in ((-2, False), (0, True), (2, False)):
        at = NOW + days * DAY
        assert (path_to_anchor(chain, anchors, SIGNER_USAGES, at) is not None) is found


def _sequence(tag: int, body: bytes) -> bytes:
    size = len(body)
    return bytes([tag, size] if size < 128 else [tag, 0x82, *size.to_bytes(2, "big")]) + body


def test_a_name_in_a_wrong_string_type_is_mended_and_its_signature_still_fits(
    signing: Any,
) -> None:
    """DigiCert's time-stamping certificates for Adobe have `_` in a PrintableString."""
    issuer_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    printable = x509.name._ASN1Type.PrintableString
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, printable)])
        for text in ("Authority", "A-Responder")
    ]
    root = signing.certificate(names[0], issuer_key, names[0], issuer_key, ca=True)
    made = signing.certificate(names[1], key, names[0], issuer_key, usages=(TIME_STAMPING,))
    signed, _ = cms.signed_part(_der(made))
    signed = signed.replace(b"A-Responder", b"A_Responder")
    algorithm = _der(made)[4 + len(signed) :][:12]
    signature = issuer_key.sign(signed, ec.ECDSA(hashes.SHA256()))
    der = _sequence(0x30, signed + algorithm + _sequence(0x03, b"\0" + signature))
    with pytest.raises(ValueError, match="PrintableString"):
        x509.load_der_x509_certificate(der).subject.rfc4514_string()
    loaded = load_certificate(der)
    assert loaded.der == der
    assert loaded.parsed.subject.rfc4514_string() == "CN=A_Responder"
    anchors = Anchors.of(_load(root))
    assert path_to_anchor([loaded], anchors, TIMESTAMP_USAGES, NOW) is not None
    forged = load_certificate(der.replace(b"A_Responder", b"B_Responder"))
    assert path_to_anchor([forged], anchors, TIMESTAMP_USAGES, NOW) is None


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80\0\0", b"x"])
def test_hostile_certificates_and_tokens_are_refused(data: bytes) -> None:
    with pytest.raises(ProvenanceError):
        load_certificate(data)
    with pytest.raises(ProvenanceError):
        cms.read_token(data)


# ------------------------------------------------------------------ lists


def test_the_bundled_lists_are_dated_apart_and_whole() -> None:
    lists = {item.name: item for item in load_trust().lists}
    assert {name: item.trust for name, item in lists.items()} == {
        "c2pa": Trust.OFFICIAL,
        "c2pa-tsa": Trust.OFFICIAL,
        "interim": Trust.INTERIM,
        "interim-tsa": Trust.INTERIM,
    }
    assert {name: item.certificates for name, item in lists.items()} == {
        "c2pa": 30,
        "c2pa-tsa": 22,
        "interim": 27 + 114,
        "interim-tsa": 27,
    }
    assert lists["c2pa"].age_days(dt.date(2026, 8, 6)) == 1


def test_official_lists_are_asked_first(authority: Any, tmp_path: Path, signing: Any) -> None:
    add_certificates(tmp_path, signing.pem(authority.root), "x", "signer")
    assert [item.trust for item in load_trust(tmp_path).of_kind("signer")] == [
        Trust.OFFICIAL,
        Trust.INTERIM,
        Trust.USER,
    ]


def test_what_is_added_is_the_users(authority: Any, tmp_path: Path, signing: Any) -> None:
    for kind, other in (("signer", "tsa"), ("tsa", "signer")):
        home = tmp_path / kind
        add_certificates(home, signing.pem(authority.root), "x", kind)
        add_certificates(home, signing.pem(authority.root), "x", kind)  # twice is once
        store = load_trust(home)
        own = [item for item in store.lists if item.trust is Trust.USER]
        assert [(item.kind, item.certificates) for item in own] == [(kind, 1)]
        assert not [item for item in store.of_kind(other) if item.trust is Trust.USER]
        assert store.digest() != load_trust().digest()
        assert not list((home / "trust" / kind).glob(".new-*"))


def test_the_identity_of_this_installation_is_known_by_name(authority: Any) -> None:
    leaf = load_certificate(_der(authority.leaf))
    store = load_trust()
    assert not store.is_local(leaf)
    assert type(store)(store.lists, frozenset({fingerprint(leaf)})).is_local(leaf)


def _published(authority: Any, day: str, title: str = "C2PA Trust List") -> bytes:
    services = [
        {
            "ServiceInformation": {
                "ServiceStatus": f"http://c2pa.org/conformance/trust-list/{word}",
                "ServiceDigitalIdentity": {
                    "X509Certificates": [{"val": base64.b64encode(_der(item)).decode()}]
                },
            }
        }
        for word, item in (("trusted", authority.root), ("withdrawn", authority.intermediate))
    ]
    information = {"SchemeName": [{"value": title}], "ListIssueDateTime": f"{day}T00:00:00Z"}
    return json.dumps(
        {
            "LoTE": {
                "ListAndSchemeInformation": information,
                "TrustedEntitiesList": [{"TrustedEntityServices": services}],
            }
        }
    ).encode()


def test_a_newer_list_replaces_the_bundled_one_and_never_the_other_way(
    authority: Any, tmp_path: Path
) -> None:
    store_list(tmp_path, _published(authority, "2027-01-01"), "a.json")
    found = next(item for item in load_trust(tmp_path).lists if item.name == "c2pa")
    assert (found.date, found.origin) == (dt.date(2027, 1, 1), "updated")
    assert found.certificates == 1  # what was withdrawn is not taken in
    with pytest.raises(UserError, match="older"):
        store_list(tmp_path, _published(authority, "2026-12-31"), "b.json")
    tsa = store_list(tmp_path, _published(authority, "2027-01-02", "C2PA TSA Trust List"), "c.json")
    assert (tsa.name, tsa.kind) == ("c2pa-tsa", "tsa")
    names = [item.name for item in load_trust(tmp_path).lists]
    assert sorted(names) == ["c2pa", "c2pa-tsa", "interim", "interim-tsa"]


def test_an_update_that_was_tampered_with_is_not_used(authority: Any, tmp_path: Path) -> None:
    store_list(tmp_path, _published(authority, "2027-01-01"), "a.json")
    path = next((tmp_path / "trust" / "lists").glob("*.pem"))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match="remove the folder"):
        load_trust(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b'{"LoTE": 1}', b"[]", b"hello", b"-----BEGIN CERTIFICATE-----\n!\n-----END"],
)
def test_what_is_no_list_is_said_in_one_line(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        store_list(tmp_path, data, "x.json", dt.date(2027, 1, 1))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ the command


def test_the_command(
    authority: Any, signing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    run = CliRunner().invoke
    root = tmp_path / "root.pem"
    root.write_bytes(signing.pem(authority.root))
    added = run(trust_command, ["add", str(root)], catch_exceptions=False)
    assert "Example Newsroom Root" in added.stdout
    (tmp_path / "C2PA-TRUST-LIST.json").write_bytes(_published(authority, "2027-01-01"))
    done = run(trust_command, ["update", str(tmp_path)], catch_exceptions=False)
    assert done.stdout == "c2pa  2027-01-01  1\n"
    listed = run(trust_command, ["list", "--format", "json", "--as-of", "2027-01-11"])
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["c2pa"]["age_days"] == 10
    assert rows["user"]["certificates"] == 1
    for language in ("en", "zh"):
        table = run(trust_command, ["list", "--lang", language, "--as-of", "2029-01-01"])
        assert len(table.stdout.splitlines()) == 6
        assert "c2pa" in table.stderr  # too old


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "missing.pem"], "No such file"),
        (["update"], "--online"),
        (["update", "https://lists.example/x.json"], "--online"),
        (["update", "missing"], "No such file"),
        (["update", "--date", "yesterday"], "YYYY-MM-DD"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(trust_command, arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_key_is_no_certificate(tmp_path: Path) -> None:
    text = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    with pytest.raises(UserError, match="a private key"):
        add_certificates(tmp_path, text, "key.pem", "signer")


# ------------------------------------------------------------------ the network, when asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_an_address_that_is_not_public_is_never_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_args: object, **_kwargs: object) -> list[Any]:
        public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))
        return [public, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 80, 0, 0))]

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a packet would have left")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ProvenanceError, match="not a public address"):
        remote.fetch("http://manifests.example/x")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/x", "http://", "x", "http://[::1", "gopher:x"]
)
def test_only_web_addresses_are_fetched(url: str) -> None:
    with pytest.raises(ProvenanceError):
        remote.fetch(url)


class _Server:
    """Answers one connection after another with prepared bytes, on a pretended public address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[socket.socket] = []
        self.connected: list[tuple[str, int]] = []
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(socket, "create_connection", self.connect)

    def resolve(self, host: str, port: int, **_kwargs: object) -> list[Any]:
        address = "10.0.0.1" if host == "inside.example" else "93.184.215.14"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append(address)
        ours, theirs = socket.socketpair()
        theirs.sendall(self.answers.pop(0))
        theirs.shutdown(socket.SHUT_WR)
        self.asked.append(theirs)
        return ours

    def close(self) -> None:
        for item in self.asked:
            item.close()


def test_a_document_is_fetched_from_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = _Server(monkeypatch, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstore")
    assert remote.fetch("http://manifests.example:8080/x?y=1") == b"store"
    assert server.connected == [("93.184.215.14", 8080)]
    request = server.asked[0].recv(4096)
    assert request.startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: manifests.example:8080\r\n")
    server.close()


def test_a_redirect_is_checked_like_the_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
    server = _Server(monkeypatch, moved % b"http://inside.example/admin")
    with pytest.raises(ProvenanceError, match="not a public address"):
        remote.fetch("http://manifests.example/x")
    assert len(server.connected) == 1
    server.close()
    server = _Server(monkeypatch, *[moved % b"/again"] * 9)
    with pytest.raises(ProvenanceError, match="redirects"):
        remote.fetch("http://manifests.example/x")
    server.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, "more than 1,000 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 2000, "more than"),
        (b"rubbish", "http://manifests.example/x"),
        (b"", "http://manifests.example/x"),
    ],
)
def test_bad_answers_are_errors(
    answer: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = _Server(monkeypatch, answer)
    with pytest.raises(ProvenanceError, match=message):
        remote.fetch("http://manifests.example/x", max_bytes=1_000)
    server.close()


def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_a, **_k: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))],
    )
    ours, theirs = socket.socketpair()

    def connect(_address: object, timeout: float) -> socket.socket:
        ours.settimeout(timeout)
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ProvenanceError):
        remote.fetch("http://manifests.example/x", timeout_s=0.2)
    theirs.close()
