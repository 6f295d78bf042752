"""Signing: every algorithm, a signer elsewhere, a time stamp, and what the library says of it."""

import http.server
import io
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counterproof.errors import ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.sign import Ingredient, actions_of, sign, training_of
from counterproof.settings import Settings

DST = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = actions_of([{"action": "c2pa.created", "digitalSourceType": DST}])
CONFIG = """[tsa]
default_tsa=t
[t]
serial={folder}/serial
crypto_device=builtin
signer_cert={folder}/tsa.pem
certs={folder}/root.pem
signer_key={folder}/tsa.key
signer_digest=sha256
default_policy=1.2.3.4.1
digests=sha256,sha384,sha512
accuracy=secs:1
ordering=no
tsa_name=no
ess_cert_id_chain=no
ess_cert_id_alg=sha256
"""


def png(colour: int = 99) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), (colour, 50, 7)).save(out, "PNG")
    return out.getvalue()


def read(data: bytes, store: bytes | None = None) -> tuple[str, dict[str, Any]]:
    """Read with the library's own defaults."""
    import c2pa

    with c2pa.Reader("image/png", io.BytesIO(data), store) as reader:
        document = json.loads(reader.json())
        found: dict[str, Any] = document["manifests"][document["active_manifest"]]
        return reader.get_validation_state(), found


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> keys.Identity:
    home = tmp_path_factory.mktemp("home")
    keys.init_identity(home, "Example Press")
    return keys.find_identity(Settings(home=home), {})


@pytest.mark.parametrize("algorithm", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_every_algorithm_by_key_and_by_callback(algorithm: str, tmp_path: Path) -> None:
    folder = keys.init_identity(tmp_path, "Example Press", algorithm=algorithm)
    held = keys.from_files(folder / "chain.pem", folder / "leaf.key")
    away = keys.from_callback(held.chain, held.sign)
    assert away.key is None
    for signer in (held, away):
        made = sign(png(), "image/png", signer, [CREATED], name="a.png")
        state, found = read(made.data)
        assert state == "Valid"
        assert found["signature_info"]["issuer"] == "Example Press"
    if algorithm == "ps256":
        assert held.algorithm == "ps384", "the strongest that fits a key of 3,072 bits"


def test_embedded_or_beside(identity: keys.Identity) -> None:
    inside = sign(png(), "image/png", identity, [CREATED], name="a.png", title="A picture")
    assert ImageFile.open(inside.data).blocks("c2pa")
    assert read(inside.data)[1]["title"] == "A picture"
    beside = sign(png(), "image/png", identity, [CREATED], name="a.png", sidecar=True)
    assert beside.data == png()
    assert read(png(), beside.store)[0] == "Valid"


def test_a_broken_parent_is_kept_and_stays_broken(identity: keys.Identity) -> None:
    parent = bytearray(sign(png(), "image/png", identity, [CREATED], name="a.png").data)
    import zlib

    at = parent.index(b"IDAT")
    length = int.from_bytes(parent[at - 4 : at], "big")
    parent[at : at + 4 + length] = b"IDAT" + zlib.compress(b"\0" * (24 * 97))[:length].ljust(
        length, b"\0"
    )
    opened = actions_of(
        [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["ingredient0"]}}]
    )
    quoted = [Ingredient(bytes(parent), "image/png", "parent.png")]
    made = sign(png(1), "image/png", identity, [opened], name="b.png", ingredients=quoted)
    _, found = read(made.data)
    codes = json.dumps(found["ingredients"][0])
    assert "assertion.dataHash.mismatch" in codes


@pytest.mark.parametrize(
    "steps",
    [
        [{"action": "c2pa.edited"}],
        [{"action": "c2pa.created"}],
        [
            {"action": "c2pa.created", "digitalSourceType": DST},
            {"action": "c2pa.watermarked.bound"},
        ],
    ],
)
def test_what_readers_would_refuse_is_never_written(
    steps: list[dict[str, Any]], identity: keys.Identity
) -> None:
    with pytest.raises(ProvenanceError, match=r"a\.png: could not be signed"):
        sign(png(), "image/png", identity, [actions_of(steps)], name="a.png")


def test_training() -> None:
    found = training_of("constrained", "ask us")["data"]["entries"]
    assert found["cawg.data_mining"] == {"use": "constrained", "constraint_info": "ask us"}
    with pytest.raises(UserError):
        training_of("perhaps")


class Clock(http.server.BaseHTTPRequestHandler):
    """A time-stamping authority on loopback; `folder` None answers with an error."""

    folder: Path | None = None
    hits = 0

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).hits += 1
        if self.folder is None:
            self.send_error(500)
            return
        (self.folder / "q.tsq").write_bytes(query)
        done = subprocess.run(
            [
                *("openssl", "ts", "-reply", "-config", str(self.folder / "t.cnf")),
                *("-queryfile", str(self.folder / "q.tsq"), "-out", str(self.folder / "r.tsr")),
            ],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        body = (self.folder / "r.tsr").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[tuple[type[Clock], str]]:
    handler = type("OneClock", (Clock,), {"hits": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_no_authority_is_asked_unless_named(
    identity: keys.Identity, clock: tuple[type[Clock], str]
) -> None:
    handler, _ = clock
    sign(png(), "image/png", identity, [CREATED], name="a.png")
    assert handler.hits == 0


def test_an_authority_that_fails_leaves_no_file(
    identity: keys.Identity, clock: tuple[type[Clock], str]
) -> None:
    handler, url = clock
    with pytest.raises(ProvenanceError):
        sign(png(), "image/png", identity, [CREATED], name="a.png", tsa=url)
    assert handler.hits > 0


def test_a_time_stamp(
    identity: keys.Identity, clock: tuple[type[Clock], str], signing: Any, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the authority needs the openssl program")
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    handler, url = clock
    made = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Root", "Clock")
    ]
    root = signing.certificate(names[0], made[0], names[0], made[0], ca=True)
    leaf = signing.certificate(names[1], made[1], names[0], made[0], usages=("1.3.6.1.5.5.7.3.8",))
    (tmp_path / "root.pem").write_bytes(signing.pem(root))
    (tmp_path / "tsa.pem").write_bytes(signing.pem(leaf))
    (tmp_path / "serial").write_text("01")
    (tmp_path / "t.cnf").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "tsa.key").write_bytes(
        made[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    handler.folder = tmp_path
    signed = sign(png(), "image/png", identity, [CREATED], name="a.png", tsa=url)
    state, found = read(signed.data)
    assert (state, handler.hits) == ("Valid", 1)
    assert "time" in found["signature_info"]
    seen = signing.look(signed.data, tsas=[root])
    assert seen.details["answers"]["time"] == "timestamped"
