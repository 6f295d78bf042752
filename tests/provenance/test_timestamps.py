"""Time stamps made when the test runs, by a local authority on loopback."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from cryptography import x509

from counterproof.errors import CounterproofError, ProvenanceError
from counterproof.images import ImageFile
from counterproof.provenance import cms, jumbf
from counterproof.provenance.claim_signature import read_signature
from counterproof.provenance.timestamp import ask, stamped_at

if TYPE_CHECKING:
    from tests.local_pki import LocalPki


@pytest.fixture(scope="module")
def clock(local_pki: "LocalPki") -> Iterator[str]:
    with local_pki.clock() as url:
        yield url


@pytest.fixture(scope="module")
def clock_root(local_pki: "LocalPki") -> x509.Certificate:
    return local_pki.certificate("root")


@pytest.fixture(scope="module")
def brief(make_authority: Any) -> Any:
    """A signer whose certificate ends in two days."""
    return make_authority("Brief", last=dt.datetime.now(dt.UTC) + dt.timedelta(days=2))


@pytest.fixture(scope="module")
def stamped(signing: Any, clock: str, brief: Any) -> bytes:
    return bytes(signing.sign(brief, signing.picture(), tsa_url=clock.encode())[0])


def test_a_listed_time_outlives_the_certificate(
    signing: Any, clock_root: x509.Certificate, brief: Any, stamped: bytes
) -> None:
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=900)
    seen = signing.look(stamped, brief, as_of=later, tsas=[clock_root])
    assert seen.answers[:3] == ("intact", "user", "timestamped")
    assert seen.status == "synthetic_verified"
    assert seen.details["timestamp"]["counts"] is True
    assert seen.details["timestamp"]["list"]["name"] == "user-tsa"
    assert "holds_until" not in seen.details


def test_an_unlisted_time_counts_for_nothing(signing: Any, brief: Any, stamped: bytes) -> None:
    today = dt.datetime.now(dt.UTC).date()
    for day, time in ((today, "in_validity"), (today + dt.timedelta(days=30), "expired")):
        seen = signing.look(stamped, brief, as_of=day)
        assert seen.answers[2] == time
        assert seen.details["timestamp"]["counts"] is False


def test_a_signer_list_vouches_for_no_time(
    signing: Any, clock_root: x509.Certificate, brief: Any, stamped: bytes
) -> None:
    class Root:
        root = clock_root

    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    assert signing.look(stamped, brief, Root(), as_of=later).answers[2] == "expired"


def test_a_parent_is_dated_by_the_time_stamp_of_what_quotes_it(
    signing: Any, clock: str, clock_root: x509.Certificate, brief: Any, authority: Any
) -> None:
    """The parent's certificate has expired since, but its signature existed before that."""
    parent = signing.sign(brief, signing.picture())[0]
    data = signing.chain(authority, parent, tsa_url=clock.encode())
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    seen = signing.look(data, brief, authority, as_of=later, tsas=[clock_root])
    assert seen.status == "synthetic_verified"
    seen = signing.look(data, brief, authority, as_of=later)
    assert seen.status == "synthetic_declared"


def test_a_token_fits_one_signature_only(stamped: bytes) -> None:
    store = jumbf.embedded_stores(ImageFile.open(stamped))[0]
    (manifest,) = jumbf.read_manifests(store).values()
    signature = read_signature(manifest.signature, manifest.claim)
    assert signature.holds
    assert signature.timestamp is not None
    assert signature.timestamp.holds
    start = manifest.signature.find(b"sigTst2")
    for at in range(start + 60, start + 700, 23):
        changed = bytearray(manifest.signature)
        changed[at] ^= 1
        try:
            again = read_signature(bytes(changed), manifest.claim)
        except ProvenanceError:
            continue
        if again.timestamp is not None and again.timestamp.holds:
            assert again.timestamp.time == signature.timestamp.time


# -- answers over anything ----------------------------------------------------------------


def test_a_stamp_over_bytes(local_pki: "LocalPki", clock: str) -> None:
    answer = ask(clock, b"some bytes")
    age = dt.datetime.now(dt.UTC) - stamped_at(answer, b"some bytes")
    assert abs(age) < dt.timedelta(minutes=1)
    with pytest.raises(ProvenanceError, match="not over these bytes"):
        stamped_at(answer, b"other bytes")
    with pytest.raises(ProvenanceError, match="another question"):
        stamped_at(answer, b"some bytes", nonce=1)


def test_a_changed_or_forged_stamp_does_not_hold(clock: str) -> None:
    answer = ask(clock, b"some bytes")
    time = stamped_at(answer, b"some bytes")
    for at in range(len(answer)):
        changed = bytearray(answer)
        changed[at] ^= 1
        try:
            again = stamped_at(bytes(changed), b"some bytes")
        except ProvenanceError:
            continue
        assert again == time, f"byte {at}"  # an unsigned part, such as another certificate
    for bad in (b"", b"\x30\x03\x30\x01\x00", answer[:50], b"\x30\x80" * 9):
        with pytest.raises(ProvenanceError):
            stamped_at(bad, b"some bytes")


def test_an_answer_that_refuses_says_so() -> None:
    text = b"\x30\x0a\x0c\x08too late"
    status = b"\x02\x01\x02" + text
    body = b"\x30" + bytes([len(status)]) + status
    with pytest.raises(ProvenanceError, match="refuses"):
        stamped_at(b"\x30" + bytes([len(body)]) + body, b"x")


def test_another_client_verifies_what_was_asked(local_pki: "LocalPki", clock: str) -> None:
    from rfc3161_client import VerifierBuilder, decode_timestamp_response

    verifier = VerifierBuilder(roots=[local_pki.certificate("root")]).build()
    assert verifier.verify_message(decode_timestamp_response(ask(clock, b"data")), b"data")


def test_tokens_in_credentials_read_alike(test_data: Path) -> None:
    """Our reader against rfc3161-client, where that one reads a token at all."""
    from rfc3161_client import decode_timestamp_response

    alike = refused = 0
    for path in sorted((test_data / "c2pa").rglob("*.*")):
        for value in _tokens(path):
            try:
                ours = cms.read_token(value)
            except ProvenanceError:  # 21:63:37, in a sample that is meant so
                continue
            bare = value if value[4:6] != b"\x30\x03" else value[9:]
            try:
                theirs = decode_timestamp_response(_answer(bare)).tst_info
            except ValueError:
                refused += 1
                continue
            assert theirs.gen_time.replace(microsecond=0) == ours.time.replace(microsecond=0)
            assert theirs.message_imprint.message == ours.imprint[1]
            assert theirs.nonce == ours.nonce
            alike += 1
    assert alike >= 8
    assert refused > alike, "rfc3161-client reads what it refused; let it read our answers too"


def _tokens(path: Path) -> Iterator[bytes]:
    """Yield the time stamps of every manifest of a file."""
    try:
        stores = jumbf.embedded_stores(ImageFile.open(path))
        manifests = [item for store in stores for item in jumbf.read_manifests(store).values()]
    except CounterproofError:
        return
    for manifest in manifests:
        try:
            headers = cbor2.loads(manifest.signature)
        except (cbor2.CBORDecodeError, ValueError):
            continue
        unprotected = headers.value[1] if isinstance(headers, cbor2.CBORTag) else {}
        for name in ("sigTst", "sigTst2"):
            for token in (unprotected.get(name) or {}).get("tstTokens", []):
                yield bytes(token["val"])


def _answer(token: bytes) -> bytes:
    """Wrap a bare token as an authority's answer: granted."""
    body = b"\x30\x03\x02\x01\x00" + token
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return b"\x30" + bytes([0x80 | len(size)]) + size + body
