"""Signing: every algorithm, a signer elsewhere, a time stamp, and what the library says of it."""

import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from counterproof.errors import ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.sign import Ingredient, actions_of, sign, training_of
from counterproof.settings import Settings

if TYPE_CHECKING:
    from tests.local_pki import LocalPki

DST = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = actions_of([{"action": "c2pa.created", "digitalSourceType": DST}])


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


def test_no_authority_is_asked_unless_named(identity: keys.Identity, local_pki: "LocalPki") -> None:
    before = local_pki.asked
    with local_pki.clock():
        sign(png(), "image/png", identity, [CREATED], name="a.png")
    assert local_pki.asked == before


@pytest.fixture
def broken_clock() -> Iterator[str]:
    """An authority that answers with an error."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_an_authority_that_fails_leaves_no_file(identity: keys.Identity, broken_clock: str) -> None:
    with pytest.raises(ProvenanceError):
        sign(png(), "image/png", identity, [CREATED], name="a.png", tsa=broken_clock)


def test_a_time_stamp(identity: keys.Identity, local_pki: "LocalPki", signing: Any) -> None:
    before = local_pki.asked
    with local_pki.clock() as url:
        signed = sign(png(), "image/png", identity, [CREATED], name="a.png", tsa=url)
    assert local_pki.asked == before + 1
    state, found = read(signed.data)
    assert state == "Valid"
    assert "time" in found["signature_info"]
    seen = signing.look(signed.data, tsas=[local_pki.certificate("root")])
    assert seen.details["answers"]["time"] == "timestamped"


def test_a_signer_that_an_authority_issued(local_pki: "LocalPki", signing: Any) -> None:
    """A chain made by another program's authority signs, and leads to its root."""
    identity = keys.from_callback(local_pki.chain(), local_pki.sign)
    signed = sign(png(), "image/png", identity, [CREATED], name="a.png")

    class Root:
        root = local_pki.certificate("root")

    assert signing.look(signed.data, Root()).answers[:2] == ("intact", "user")
    assert signing.look(signed.data).answers[:2] == ("intact", "unlisted")
