"""Revocation: what an issuer's answers are worth, stapled and fetched."""

import base64
import datetime as dt
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from counterproof.errors import ProvenanceError
from counterproof.provenance import keys, remote
from counterproof.provenance.certificates import Certificate, load_certificate
from counterproof.provenance.revocation import Revocation, issuer_of, judge_answers, query_url
from counterproof.provenance.sign import actions_of, sign

if TYPE_CHECKING:
    from tests.local_pki import LocalPki

CREATED = actions_of(
    [
        {
            "action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
            "trainedAlgorithmicMedia",
        }
    ]
)
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
DER = serialization.Encoding.DER


class Issuer:
    """A root that issues leaves and answers about them."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Answering CA")])
        self.root = self.issue(self.key, self.name, ca=True)
        self.leaf_key = ec.generate_private_key(ec.SECP256R1())
        address = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP,
            x509.UniformResourceIdentifier("http://ocsp.example.org/a"),
        )
        self.leaf = self.issue(
            self.leaf_key,
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Signer")]),
            x509.AuthorityInformationAccess([address]),
        )

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        name: x509.Name,
        *extensions: x509.ExtensionType,
        ca: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 100 * DAY)
            .not_valid_after(NOW + 100 * DAY)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        for item in extensions:
            builder = builder.add_extension(item, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def answer(
        self,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        *,
        about: x509.Certificate | None = None,
        first: dt.datetime = NOW - DAY,
        last: dt.datetime | None = NOW + DAY,
        revoked_at: dt.datetime | None = None,
        reason: x509.ReasonFlags | None = None,
        responder: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    ) -> bytes:
        signer, key = responder or (self.root, self.key)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                about or self.leaf,
                self.root,
                hashes.SHA1(),
                status,
                first,
                last,
                revoked_at,
                reason,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
        )
        if responder:
            builder = builder.certificates([signer])
        return builder.sign(key, hashes.SHA256()).public_bytes(DER)


GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def loaded(certificate: x509.Certificate) -> Certificate:
    return load_certificate(certificate.public_bytes(DER))


def judged(
    issuer: Issuer, *answers: bytes, moment: dt.datetime = NOW, proven: bool = True
) -> Revocation:
    leaf, root = loaded(issuer.leaf), loaded(issuer.root)
    return judge_answers(answers, leaf, root, moment, proven=proven)


def test_no_answer(issuer: Issuer) -> None:
    assert judged(issuer).status == "not_checked"


def test_good_at_the_moment_of_signing(issuer: Issuer) -> None:
    found = judged(issuer, issuer.answer())
    assert (found.status, found.source, found.note) == ("good", "stapled", "")


@pytest.mark.parametrize("moment", [NOW - 5 * DAY, NOW + 5 * DAY])
def test_good_but_stale_is_unknown(issuer: Issuer, moment: dt.datetime) -> None:
    found = judged(issuer, issuer.answer(), moment=moment)
    assert (found.status, found.note) == ("unknown", "stale")


def test_an_answer_without_an_end_is_old_after_a_day(issuer: Issuer) -> None:
    answer = issuer.answer(last=None)
    assert judged(issuer, answer, moment=NOW - DAY / 2).status == "good"
    assert judged(issuer, answer, moment=NOW + DAY).status == "unknown"


def test_the_issuer_does_not_know(issuer: Issuer) -> None:
    assert judged(issuer, issuer.answer(UNKNOWN)).status == "unknown"


def test_revoked(issuer: Issuer) -> None:
    answer = issuer.answer(REVOKED, revoked_at=NOW - 10 * DAY, reason=x509.ReasonFlags.superseded)
    assert judged(issuer, answer).status == "revoked"
    before = NOW - 20 * DAY
    assert judged(issuer, answer, moment=before).status == "good"  # proven to be earlier
    assert judged(issuer, answer, moment=before, proven=False).status == "revoked"
    lost = issuer.answer(REVOKED, revoked_at=NOW - 10 * DAY, reason=x509.ReasonFlags.key_compromise)
    found = judged(issuer, lost, moment=before)
    assert (found.status, found.reason) == ("revoked", "keyCompromise")
    assert judged(issuer, issuer.answer(), lost).status == "revoked"  # whichever comes first


def test_who_may_answer(issuer: Issuer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Responder")])
    may = issuer.issue(key, name, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]))
    not_ = issuer.issue(key, name, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]))
    assert judged(issuer, issuer.answer(responder=(may, key))).status == "good"
    stranger = Issuer()
    for responder in ((not_, key), (stranger.root, stranger.key)):
        found = judged(issuer, issuer.answer(REVOKED, revoked_at=NOW, responder=responder))
        assert (found.status, found.note) == ("not_checked", "not_signed")


def test_about_another_certificate(issuer: Issuer) -> None:
    stranger = Issuer()
    answer = issuer.answer(about=stranger.leaf)
    assert judged(issuer, answer).note == "other_certificate"
    leaf = loaded(issuer.leaf)
    assert judge_answers([answer], leaf, None, NOW, proven=True).note == "issuer_unknown"
    assert issuer_of(leaf, [loaded(stranger.root)]) is None
    assert issuer_of(leaf, [loaded(stranger.root), loaded(issuer.root)]) == loaded(issuer.root)


def test_defective_answers(issuer: Issuer) -> None:
    good = issuer.answer()
    failed = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    for bad in (b"", b"\x30\x80", good[:40], failed.public_bytes(DER), bytes(70_000)):
        assert judged(issuer, bad).status == "not_checked"
    for at in range(0, len(good), 7):
        broken = bytearray(good)
        broken[at] ^= 0x41
        assert judged(issuer, bytes(broken)).status in ("not_checked", "unknown", "good")


def test_the_address_of_a_question(issuer: Issuer) -> None:
    url = query_url(loaded(issuer.leaf), loaded(issuer.root))
    assert url.startswith("http://ocsp.example.org/a/")
    assert "/" not in url.removeprefix("http://ocsp.example.org/a/")
    assert query_url(loaded(issuer.root), loaded(issuer.root)) == ""


# -- in a picture ------------------------------------------------------------------------


def stapled(data: bytes, answer: bytes) -> bytes:
    """Put an answer into the padding of a signature, which nothing covers."""
    at = data.find(b"\xd2\x84")  # COSE_Sign1, tagged
    value = cbor2.loads(data[at:])
    protected, unprotected, payload, signature = value.value
    size = len(cbor2.dumps(value))
    headers = {**unprotected, "rVals": {"ocspVals": [answer]}}
    headers["pad"] = b""
    for _ in range(3):
        now = len(cbor2.dumps(cbor2.CBORTag(18, [protected, headers, payload, signature])))
        headers["pad"] = bytes(len(headers["pad"]) + size - now)
    made = cbor2.dumps(cbor2.CBORTag(18, [protected, headers, payload, signature]))
    assert len(made) == size
    return data[:at] + made + data[at + size :]


def about(authority: Any, status: ocsp.OCSPCertStatus, **times: Any) -> bytes:
    """Let the intermediate of a signer answer about it."""
    issuer = Issuer()
    issuer.root, issuer.key = authority.intermediate, authority.middle_key
    return issuer.answer(status, about=authority.leaf, **times)


@pytest.mark.parametrize(
    ("status", "revocation", "trust", "state"),
    [
        (GOOD, "good", "user", "verified"),
        (REVOKED, "revoked", "revoked", "intact"),
        (UNKNOWN, "unknown", "user", "verified"),
    ],
)
def test_a_stapled_answer(
    signing: Any,
    authority: Any,
    intact: bytes,
    status: ocsp.OCSPCertStatus,
    revocation: str,
    trust: str,
    state: str,
) -> None:
    when = NOW - 10 * DAY if status is REVOKED else None
    data = stapled(intact, about(authority, status, revoked_at=when))
    seen = signing.look(data, authority)
    assert seen.details["revocation"] == revocation
    assert seen.details["revocation_answer"]["source"] == "stapled"
    assert (seen.details["answers"]["trust"], seen.state) == (trust, state)


def test_nothing_stapled_is_not_checked(signing: Any, authority: Any, intact: bytes) -> None:
    assert signing.look(intact, authority).details["revocation"] == "not_checked"


def test_asking_needs_an_address_and_leave(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(url: str, **_: Any) -> bytes:
        asked.append(url)
        if len(asked) > 1:
            raise ProvenanceError("no answer")
        return about(authority, REVOKED, revoked_at=NOW - 10 * DAY)

    monkeypatch.setattr(remote, "fetch", fetch)
    signing.look(intact, authority)
    assert not asked  # offline
    assert signing.look(intact, authority, online=True).details["revocation"] == "not_checked"
    assert not asked  # its certificate names no address
    named: Callable[..., str] = lambda *_: "http://ocsp.example.org/q"  # noqa: E731
    monkeypatch.setattr("counterproof.provenance.credentials_scan.query_url", named)
    seen = signing.look(intact, authority, online=True)
    assert seen.details["revocation_answer"]["source"] == "online"
    assert (seen.details["answers"]["trust"], seen.state) == ("revoked", "intact")
    assert seen.details["holds_until"] == str(dt.datetime.now(dt.UTC).date() + DAY)
    assert signing.look(intact, authority, online=True).details["revocation"] == "not_checked"
    assert signing.look(intact, online=True).details["revocation"] == "not_checked"
    assert len(asked) == 2  # a signer on no list is nobody to ask about


def test_another_authority_answers_what_we_ask(
    local_pki: "LocalPki", signing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question as it is sent, answered by certomancer's responder, judged in a picture."""
    ours = {}
    for name in ("signer", "revoked"):
        identity = keys.from_callback(
            local_pki.chain(name), functools.partial(local_pki.sign, name=name)
        )
        ours[name] = sign(signing.picture(fmt="PNG"), "image/png", identity, [CREATED], name=name)

    class Root:
        root = local_pki.certificate("root")

    def fetch(url: str, **_: Any) -> bytes:
        return local_pki.status(base64.b64decode(unquote(url.rpartition("/")[2])))

    monkeypatch.setattr(remote, "fetch", fetch)
    good = signing.look(ours["signer"].data, Root(), online=True)
    assert good.details["revocation"] == "good"
    assert good.details["revocation_answer"]["source"] == "online"
    gone = signing.look(ours["revoked"].data, Root(), online=True)
    assert gone.details["revocation"] == "revoked"
    assert gone.details["revocation_answer"]["reason"] == "keyCompromise"
    assert (gone.answers[1], gone.state) == ("revoked", "intact")
    assert signing.look(ours["revoked"].data, Root()).details["revocation"] == "not_checked"
