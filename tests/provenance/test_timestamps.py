"""Time stamps made when the test runs, by an authority on loopback (needs the openssl program)."""

import datetime as dt
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from counterproof.errors import ProvenanceError
from counterproof.images import ImageFile
from counterproof.provenance import jumbf
from counterproof.provenance.certificates import read_signature

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
CONFIG = """[tsa]
default_tsa=t
[t]
serial={folder}/serial
crypto_device=builtin
signer_cert={folder}/tsa.pem
certs={folder}/root.pem
signer_key={folder}/key.pem
signer_digest=sha256
default_policy=1.2.3.4.1
digests=sha256,sha384,sha512
accuracy=secs:1
ordering=no
tsa_name=no
ess_cert_id_chain=no
ess_cert_id_alg=sha256
"""


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Time"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


class Clock:
    """A time-stamping authority: its root, and where it answers."""

    def __init__(self, folder: Path, signing: Any) -> None:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        root, leaf = _name("Time Root"), _name("Time Authority")
        self.root = signing.certificate(root, keys[0], root, keys[0], ca=True)
        made = signing.certificate(leaf, keys[1], root, keys[0], usages=(TIME_STAMPING,))
        (folder / "tsa.pem").write_bytes(signing.pem(made))
        (folder / "root.pem").write_bytes(signing.pem(self.root))
        (folder / "serial").write_text("01")
        (folder / "t.cnf").write_text(CONFIG.format(folder=folder))
        (folder / "key.pem").write_bytes(
            keys[1].private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                (folder / "q.tsq").write_bytes(query)
                subprocess.run(
                    [
                        *("openssl", "ts", "-reply", "-config", str(folder / "t.cnf")),
                        *("-queryfile", str(folder / "q.tsq"), "-out", str(folder / "r.tsr")),
                    ],
                    check=True,
                    capture_output=True,
                )
                reply = (folder / "r.tsr").read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}".encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory, signing: Any) -> Iterator[Clock]:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    made = Clock(tmp_path_factory.mktemp("clock"), signing)
    yield made
    made.close()


@pytest.fixture(scope="module")
def brief(make_authority: Any) -> Any:
    """A signer whose certificate ends in two days."""
    return make_authority("Brief", last=dt.datetime.now(dt.UTC) + dt.timedelta(days=2))


@pytest.fixture(scope="module")
def stamped(signing: Any, clock: Clock, brief: Any) -> bytes:
    return bytes(signing.sign(brief, signing.picture(), tsa_url=clock.url)[0])


def test_a_listed_time_outlives_the_certificate(
    signing: Any, clock: Clock, brief: Any, stamped: bytes
) -> None:
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=900)
    seen = signing.look(stamped, brief, as_of=later, tsas=[clock.root])
    assert seen.answers[:3] == ("intact", "user", "timestamped")
    assert seen.status == "synthetic_verified"
    assert seen.details["timestamp"]["counts"] is True
    assert seen.details["timestamp"]["list"]["name"] == "user-tsa"
    assert "holds_until" not in seen.details


def test_an_unlisted_time_counts_for_nothing(
    signing: Any, clock: Clock, brief: Any, stamped: bytes
) -> None:
    today = dt.datetime.now(dt.UTC).date()
    for day, time in ((today, "in_validity"), (today + dt.timedelta(days=30), "expired")):
        seen = signing.look(stamped, brief, as_of=day)
        assert seen.answers[2] == time
        assert seen.details["timestamp"]["counts"] is False


def test_a_signer_list_vouches_for_no_time(
    signing: Any, clock: Clock, brief: Any, stamped: bytes
) -> None:
    class Root:
        root = clock.root

    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    assert signing.look(stamped, brief, Root(), as_of=later).answers[2] == "expired"


def test_a_parent_is_dated_by_the_time_stamp_of_what_quotes_it(
    signing: Any, clock: Clock, brief: Any, authority: Any
) -> None:
    """The parent's certificate has expired since, but its signature existed before that."""
    parent = signing.sign(brief, signing.picture())[0]
    data = signing.chain(authority, parent, tsa_url=clock.url)
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    seen = signing.look(data, brief, authority, as_of=later, tsas=[clock.root])
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
