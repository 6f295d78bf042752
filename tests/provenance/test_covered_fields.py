"""Which facts a signature covers: edits inside and outside an exclusion."""

import hashlib
import io
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from PIL import Image

from counterproof.audit.quotes import quotes
from counterproof.findings import Claim
from counterproof.images import ImageFile
from counterproof.provenance import jumbf
from counterproof.provenance.coverage import coverage_of
from counterproof.text import catalogue

TAGS = {"captured_at": ("exif", 0x9003), "gps": ("gps", 2), "camera": ("ifd0", 0x0110)}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Make="Example Works"/></rdf:RDF>'
    b"</x:xmpmeta>"
)


def photo(fmt: str = "JPEG", xmp: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Example Works", "Example One Camera"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 1.5), 3: "E", 4: (11.0, 34.0, 1.0)})
    out = io.BytesIO()
    extra: dict[str, Any] = {"xmp": xmp} if xmp else {}
    Image.effect_noise((64, 48), 40).convert("RGB").save(out, fmt, exif=exif, **extra)
    return out.getvalue()


def value_of(image: ImageFile, fact: str) -> tuple[int, int]:
    """Return where the value of a tag lies in the file."""
    assert image.exif_directories is not None
    entry = image.exif_directories.entry(*TAGS[fact])
    assert entry is not None
    return image.data.find(image.exif_data) + entry.at, entry.length


def cover(image: ImageFile, *excluded: tuple[int, int], **assertions: Any) -> dict[str, Any]:
    exclusions = [{"start": start, "length": length} for start, length in excluded]
    return coverage_of(image, {"c2pa.hash.data": {"exclusions": exclusions}, **assertions})


def states(found: dict[str, Any]) -> dict[str, str]:
    return {name: item["state"] for name, item in found["facts"].items()}


ALL_SIGNED = dict.fromkeys(TAGS, "signed")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_is_left_out(fmt: str) -> None:
    found = cover(ImageFile.open(photo(fmt)))
    assert states(found)["camera"] == "signed"
    assert states(found) == ALL_SIGNED or fmt == "TIFF"
    assert {item["covered"] for item in found["metadata"]} <= {"signed"}


@pytest.mark.parametrize("fact", list(TAGS))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_exactly_the_fact_inside_an_exclusion_is_named(fact: str, fmt: str) -> None:
    image = ImageFile.open(photo(fmt))
    start, length = value_of(image, fact)
    edited = bytearray(image.data)
    edited[start + 3] ^= 1
    other = ImageFile.open(bytes(edited))
    assert states(cover(other, (start, length))) == {**ALL_SIGNED, fact: "not_covered"}
    picture = 60 if fmt == "WEBP" else len(image.data) - 40  # far from EXIF
    assert states(cover(other, (picture, 20))) == ALL_SIGNED


def test_a_directory_that_is_left_out_leads_anywhere() -> None:
    image = ImageFile.open(photo())
    at = image.data.find(image.exif_data)
    assert set(states(cover(image, (at, 40))).values()) == {"not_covered"}


def test_a_whole_block_left_out() -> None:
    image = ImageFile.open(photo(xmp=XMP))
    (block,) = image.blocks("xmp")
    found = cover(image, (block.offset, block.length))
    assert found["blocks"] == ["xmp"]
    assert states(found) == {**ALL_SIGNED, "camera": "not_covered"}
    kinds = {item["kind"]: item["covered"] for item in found["metadata"]}
    assert (kinds["exif"], kinds["xmp"]) == ("signed", "not_covered")
    assert found["picture_excluded"] is False


def test_boxes_left_out_by_name() -> None:
    image = ImageFile.open(photo("PNG"))
    boxes = {"boxes": [{"names": ["eXIf"], "excluded": True}, {"names": ["IDAT"]}]}
    found = coverage_of(image, {"c2pa.hash.boxes": boxes})
    assert set(states(found).values()) == {"not_covered"}


def test_what_the_credential_itself_states_is_signed() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    stated = {"stds.exif": {"exif:GPSLatitude": "48,8N"}}
    found = cover(ImageFile.open(out.getvalue()), **stated)
    assert found["facts"] == {
        "gps": {"state": "signed", "carriers": [{"where": "credential", "state": "signed"}]}
    }


def test_a_signed_capture_says_what_is_covered(signing: Any, authority: Any) -> None:
    data, _ = signing.sign(
        authority, photo(), [{"action": "c2pa.created", "digitalSourceType": CAPTURE}]
    )
    seen = signing.look(data, authority)
    assert seen.manifest.claim is Claim.CAPTURED
    assert states(seen.details["coverage"]) == ALL_SIGNED
    assert seen.details["capture_uncovered"] is False
    assert seen.status == "captured_verified"
    lines = {line.label: line.value for line in quotes(seen.manifest, catalogue("en"))}
    assert lines["stated in the file"] == "capture time: signed; place: signed; camera: signed"


CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def leave_out(data: bytes, key: Any, place: tuple[int, int]) -> bytes:
    """Sign a signed JPEG anew with one range more that its hash leaves out, in the same bytes."""
    image = ImageFile.open(data)
    (store,) = jumbf.embedded_stores(image)
    (manifest,) = jumbf.read_manifests(store).values()
    box = manifest.assertions["c2pa.hash.data"]
    old = box.content()
    stated = cbor2.loads(old)
    (own,) = stated["exclusions"]
    both = sorted([(own["start"], own["length"]), place])
    kept, at = hashlib.sha256(), 0
    for start, length in both:
        kept.update(data[at:start])
        at = start + length
    kept.update(data[at:])
    exclusions = [{"start": start, "length": length} for start, length in both]
    new = {"exclusions": exclusions, "alg": "sha256", "hash": kept.digest(), "pad": b""}
    new["pad"] = bytes(len(old) - len(cbor2.dumps(new)))
    assertion = box.payload.replace(old, cbor2.dumps(new))
    assert len(assertion) == len(box.payload)
    claim = manifest.claim.replace(
        hashlib.sha256(box.payload).digest(), hashlib.sha256(assertion).digest()
    )
    protected, _, _, signature = cbor2.loads(manifest.signature).value
    signed = cbor2.dumps(["Signature1", protected, b"", claim])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    made = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for before, after in ((box.payload, assertion), (manifest.claim, claim), (signature, made)):
        assert data.count(before) == 1
        data = data.replace(before, after)
    return data


@pytest.mark.parametrize("fact", list(TAGS))
def test_a_signed_file_edited_inside_and_outside_an_exclusion(
    fact: str, signing: Any, authority: Any
) -> None:
    """As a phone's photograph was: its EXIF lay in an exclusion, and it still verified."""
    steps = [{"action": "c2pa.created", "digitalSourceType": CAPTURE}]
    data, _ = signing.sign(authority, photo(), steps)
    data = leave_out(data, authority.key, value_of(ImageFile.open(data), fact))
    image = ImageFile.open(data)
    inside, other = value_of(image, fact)[0], next(name for name in TAGS if name != fact)
    outside = value_of(image, other)[0]
    for edited in (data, signing.flipped(data, inside + 2)):
        seen = signing.look(edited, authority)
        assert seen.answers[:3] == ("intact", "user", "in_validity")
        assert states(seen.details["coverage"]) == {**ALL_SIGNED, fact: "not_covered"}
        assert seen.details["capture_uncovered"] is True
        assert seen.status == "provenance_verified"  # a capture, but not that of a verified one
    assert signing.look(signing.flipped(data, outside + 2), authority).status == "altered"
