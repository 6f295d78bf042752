"""Where a credential lies: in every container, beside the picture, alone, or elsewhere."""

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counterproof.findings import Claim
from counterproof.images import ImageFile
from counterproof.provenance import manifest_store

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">'
    b'<rect width="40" height="30" fill="#369"/></svg>'
)


@pytest.mark.parametrize(
    ("fmt", "mime"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
        ("SVG", "image/svg+xml"),
    ],
)
def test_every_carrier(signing: Any, authority: Any, fmt: str, mime: str) -> None:
    data = SVG if fmt == "SVG" else signing.picture(fmt=fmt)
    signed = signing.sign(authority, data, mime=mime)[0]
    image = ImageFile.open(signed)
    assert manifest_store.carries_credential(image)
    assert not manifest_store.carries_credential(ImageFile.open(data))
    seen = signing.look(image, authority)
    assert seen.status == "synthetic_verified"
    assert seen.details["coverage"]["beyond"] == []
    assert seen.details["capture_uncovered"] is False


def test_a_sidecar_beside_the_picture(signing: Any, authority: Any, tmp_path: Path) -> None:
    data, store = signing.sign(authority, signing.picture(), embed=False)
    assert data == signing.picture()
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "a.c2pa").write_bytes(store)
    seen = signing.look(ImageFile.open(tmp_path / "a.jpg"), authority)
    assert seen.status == "synthetic_verified"
    assert seen.details["origin"] == "sidecar"
    (tmp_path / "a.c2pa").write_bytes(b"not a store")
    assert signing.look(ImageFile.open(tmp_path / "a.jpg"), authority).state == "unparsed"


def test_a_lone_store_is_unchecked_and_says_nothing_of_a_picture(
    signing: Any, authority: Any
) -> None:
    store = signing.sign(authority, signing.picture(), embed=False)[1]
    seen = signing.look(store, authority)
    assert (seen.state, seen.answers[0]) == ("unchecked", "unchecked")
    assert seen.manifest.claim is Claim.NONE
    assert seen.details["origin"] == "alone"


def test_a_broken_box_is_unparsed_and_inconclusive(signing: Any, intact: bytes) -> None:
    seen = signing.look(intact.replace(b"jumb", b"jumX", 1))
    assert (seen.state, seen.status) == ("unparsed", "inconclusive")
    assert set(seen.answers) == {"none"}
    assert seen.details["library_error"]


def test_two_stores_in_one_file_are_not_plainly_one(
    signing: Any, authority: Any, intact: bytes
) -> None:
    second = signing.sign(authority, signing.picture(), [signing.created("digitalCapture")])[0]
    block = intact[2 : intact.find(b"\xff\xdb")]
    other = second[2 : second.find(b"\xff\xdb")]
    at = other.find(b"JP") + 2
    renumbered = other[:at] + bytes([other[at], other[at + 1] ^ 0x40]) + other[at + 2 :]
    data = intact[:2] + block + renumbered + intact[intact.find(b"\xff\xdb") :]
    assert signing.look(data, authority).state in ("unchecked", "broken", "unparsed")


def test_a_store_that_lies_elsewhere_is_named_and_not_fetched(
    signing: Any, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/m.c2pa"
    data = signing.sign(authority, signing.picture(), embed=False, url=url)[0]
    seen = signing.look(data, authority)
    assert (seen.state, seen.status) == ("unfetched", "inconclusive")
    assert seen.details["url"] == url
    # and asked to go online, it still does not ask this machine
    seen = signing.look(data, authority, online=True)
    assert seen.state == "unfetched"
    assert "not a public address" in seen.details["fetch_error"]
    assert seen.details["holds_until"] <= seen.details["as_of"]  # asked for again next time
    with pytest.raises(TimeoutError):
        server.accept()
    server.close()


def test_a_store_that_was_fetched(
    signing: Any, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterproof.provenance import remote

    data, store = signing.sign(
        authority, signing.picture(), embed=False, url="https://m.example/m.c2pa"
    )
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return bytes(store)

    monkeypatch.setattr(remote, "fetch", fetch)
    assert signing.look(data, authority).state == "unfetched"
    assert asked == []
    seen = signing.look(data, authority, online=True)
    assert asked == ["https://m.example/m.c2pa"]
    assert (seen.state, seen.details["origin"]) == ("verified", "remote")


def test_an_address_inside_the_picture_is_not_elsewhere(signing: Any) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
        b'rdf-syntax-ns#"><rdf:Description xmlns:q="http://purl.org/dc/terms/" q:provenance="%s"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    for url, found in ((b"self#jumbf=/c2pa/x", 0), (b"https://m.example/a", 1), (b"", 0)):
        out = io.BytesIO()
        Image.open(io.BytesIO(signing.picture())).save(out, "JPEG", xmp=xmp % url)
        assert len(signing.look(out.getvalue()).findings) == found
