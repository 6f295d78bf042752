"""Credentials signed when the test runs: every trap has a picture that would fall into it."""

import datetime as dt
import importlib.metadata
import io
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counterproof.errors import CounterproofError, UserError
from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import credentials, manifest_store
from counterproof.provenance.credentials import CredentialsAnalyzer, read_credential
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings

DST = "http://cv.iptc.org/newscodes/digitalsourcetype/"
DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent0"]}}


def created(source_type: str | None = "trainedAlgorithmicMedia") -> dict[str, Any]:
    action: dict[str, Any] = {"action": "c2pa.created"}
    if source_type:
        action["digitalSourceType"] = DST + source_type
    return action


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


# ------------------------------------------------------------------ whom and when


def test_a_listed_signer_makes_it_verified(signing: Any, authority: Any, intact: bytes) -> None:
    seen = signing.look(intact, authority)
    assert seen.answers == ("intact", "user", "in_validity", "complete", "synthetic")
    assert (seen.state, seen.status) == ("verified", "synthetic_verified")
    assert seen.manifest.basis is Basis.CRYPTOGRAPHIC
    assert seen.details["signer"]["name"] == "Example Newsroom Signer"
    assert seen.details["signer"]["list"]["name"] == "user"
    assert seen.details["revocation"] == "not_checked"


def test_an_unlisted_signer_is_intact_and_only_claims_its_name(signing: Any, intact: bytes) -> None:
    seen = signing.look(intact)
    assert seen.answers == ("intact", "unlisted", "in_validity", "complete", "synthetic")
    assert (seen.state, seen.status) == ("intact", "synthetic_declared")
    assert seen.manifest.basis is Basis.DECLARED
    assert "name" not in seen.details["signer"]
    assert seen.details["signer"]["claims_to_be"] == "Example Newsroom Signer"


def test_an_anchor_of_time_stamps_vouches_for_no_claim(
    signing: Any, authority: Any, intact: bytes
) -> None:
    """The library's own gate leaks: to it, an anchor of any kind makes a claim trusted."""
    seen = signing.look(intact, tsas=[authority.root])
    assert seen.answers[1] == "unlisted"


def test_the_library_alone_would_have_trusted_it(
    signing: Any, authority: Any, intact: bytes
) -> None:
    import c2pa

    anchor = {
        "trust_kind": "tsa",
        "trust_uri": "urn:x",
        "trust_anchors": signing.pem(authority.root).decode(),
    }
    context = c2pa.Context.from_dict({"version": 1, "trust": {"anchors": [anchor]}})
    with c2pa.Reader("image/jpeg", io.BytesIO(intact), None, context=context) as reader:
        assert reader.get_validation_state() == "Trusted"  # if not, the trap is gone


def test_a_certificate_for_documents_may_sign(signing: Any, make_authority: Any) -> None:
    """The library's default set of usages would call its signature invalid."""
    documents = make_authority("Documents", usages=(DOCUMENT_SIGNING,))
    data = signing.sign(documents, signing.picture())[0]
    assert signing.look(data, documents).state == "verified"


def test_the_day_decides_not_the_clock(signing: Any, make_authority: Any) -> None:
    now = dt.datetime.now(dt.UTC)
    brief = make_authority(
        "Brief", first=now - dt.timedelta(days=10), last=now + dt.timedelta(days=10)
    )
    data = signing.sign(brief, signing.picture())[0]
    today = now.date()
    for offset, time, status in (
        (-11, "expired", "synthetic_declared"),
        (-10, "in_validity", "synthetic_verified"),
        (0, "in_validity", "synthetic_verified"),
        (10, "in_validity", "synthetic_verified"),
        (11, "expired", "synthetic_declared"),
    ):
        day = today + dt.timedelta(days=offset)
        seen = signing.look(data, brief, as_of=day)
        assert (seen.answers[0], seen.answers[1], seen.answers[2]) == ("intact", "user", time)
        assert seen.status == status
        # what is said to hold until a day does hold on its eve, and not on that day
        for key, last in (("holds_from", 0), ("holds_until", -1)):
            if edge := seen.details.get(key):
                inside = dt.date.fromisoformat(edge) + dt.timedelta(days=last)
                assert signing.look(data, brief, as_of=inside).answers == seen.answers
        if until := seen.details.get("holds_until"):
            after = signing.look(data, brief, as_of=dt.date.fromisoformat(until))
            if offset <= 10:
                assert after.answers != seen.answers


def test_an_expired_signer_is_still_named(signing: Any, make_authority: Any) -> None:
    now = dt.datetime.now(dt.UTC)
    brief = make_authority("Brief", last=now + dt.timedelta(days=2))
    data = signing.sign(brief, signing.picture())[0]
    seen = signing.look(data, brief, as_of=now.date() + dt.timedelta(days=30))
    assert seen.state == "intact"
    assert seen.details["signer"]["name"] == "Brief Signer"


# ------------------------------------------------------------------ bytes


def test_changed_bytes_are_broken(signing: Any, authority: Any, intact: bytes) -> None:
    pixels = intact.find(b"\xff\xda") + 400
    claim = intact.find(b"test-suite")
    for data, code in (
        (_flip(intact, pixels), "assertion.dataHash.mismatch"),
        (intact + b"\0" * 100, "assertion.dataHash.mismatch"),
        (intact[: int(len(intact) * 0.8)], "assertion.dataHash.mismatch"),
        (intact.replace(b"HELLO-NOTE", b"JELLO-NOTE"), "assertion.hashedURI.mismatch"),
        (intact.replace(b"trainedAlgo", b"digitalCapt"), "assertion.hashedURI.mismatch"),
        (_flip(intact, claim), "claimSignature.mismatch"),
    ):
        for trusted in ((), (authority,)):
            seen = signing.look(data, *trusted)
            assert (seen.state, seen.status) == ("broken", "altered")
            assert code in seen.details["codes"]["failure"]
            assert seen.manifest.basis is Basis.CRYPTOGRAPHIC
            assert seen.manifest.claim is Claim.ALTERED


def test_a_claim_that_its_certificate_did_not_sign_names_nobody(
    signing: Any, authority: Any, intact: bytes
) -> None:
    seen = signing.look(_flip(intact, intact.find(b"test-suite")), authority)
    assert seen.answers[:3] == ("broken", "unlisted", "none")
    assert seen.details["signer"]["claims_to_be"] == "Example Newsroom Signer"
    assert "name" not in seen.details["signer"]


def test_a_credential_copied_to_another_picture(signing: Any, intact: bytes) -> None:
    store = ImageFile.open(intact).blocks("c2pa")[-1]
    start = intact.find(b"\xff\xdb", store.offset + store.length)  # a store may hold these bytes
    other = signing.picture(9)
    data = other[:2] + intact[2:start] + other[other.find(b"\xff\xdb") :]
    assert signing.look(data).status == "altered"


def test_a_rule_that_is_not_about_bytes_leaves_it_intact(signing: Any, authority: Any) -> None:
    """The library calls both Invalid; nothing in them was changed after signing."""
    bound = [created(), {"action": "c2pa.watermarked.bound"}]
    for actions, code in (
        ([created(None)], "assertion.action.malformed"),
        (bound, "assertion.action.softBindingMissing"),
    ):
        data = signing.sign(authority, signing.picture(), actions, strict=False)[0]
        seen = signing.look(data, authority)
        assert seen.answers[0] == "intact"
        assert seen.details["malformed"] == [code]


def test_a_code_that_nobody_knows_accuses_nobody(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = manifest_store._ask_library

    for strange in ("assertion.future.mismatch", "signingCredential", "general.error", ""):

        def invent(*args: Any, code: str = strange) -> Any:
            text, document = ask(*args)
            document["validation_results"]["activeManifest"]["failure"].append(
                {"code": code, "url": ""}
            )
            return text, document

        monkeypatch.setattr(manifest_store, "_ask_library", invent)
        seen = signing.look(intact, authority)
        assert seen.answers[:2] == ("unchecked", "user")
        assert seen.status == "synthetic_declared"


def test_what_matches_and_does_not_is_unchecked(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early Truepic files: the library finds the hash matching and dislikes the exclusion."""
    ask = manifest_store._ask_library

    def invent(*args: Any) -> Any:
        text, document = ask(*args)
        active = document["validation_results"]["activeManifest"]
        url = next(i["url"] for i in active["success"] if i["code"] == "assertion.dataHash.match")
        active["failure"].append({"code": "assertion.dataHash.mismatch", "url": url})
        return text, document

    monkeypatch.setattr(manifest_store, "_ask_library", invent)
    assert signing.look(intact, authority).answers[0] == "unchecked"


def test_identities_are_counted_and_never_break_the_credential(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = manifest_store._ask_library

    def invent(*args: Any) -> Any:
        text, document = ask(*args)
        for code in ("cawg.ica.did_unavailable", "cawg.x509.signature.mismatch"):
            document["validation_results"]["activeManifest"]["failure"].append(
                {"code": code, "url": ""}
            )
        return text, document

    monkeypatch.setattr(manifest_store, "_ask_library", invent)
    assert signing.look(intact, authority).state == "verified"


# ------------------------------------------------------------------ parents


def test_a_label_that_stands_in_a_parent_only(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    data = signing.chain(other, intact)
    seen = signing.look(data, authority, other)
    assert seen.answers == ("intact", "user", "in_validity", "complete", "synthetic")
    assert seen.status == "synthetic_verified"
    history = seen.details["history"]
    assert history["ingredients"][0]["step"]["source_types"] == ["trainedAlgorithmicMedia"]
    found = seen.details["digital_source_types"]
    assert [(item["role"], item["where"]) for item in found] == [("parent", "action")]


def test_an_unverified_parent_only_declares(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    data = signing.chain(other, intact)
    seen = signing.look(data, other)
    assert seen.state == "verified"
    assert seen.manifest.claim is Claim.NONE
    said = seen.coded("c2pa.parent.claim")
    assert said is not None
    assert (said.claim, said.basis) == (Claim.SYNTHETIC, Basis.DECLARED)
    assert seen.status == "synthetic_declared"


def test_a_verified_parent_under_an_unlisted_signer_declares(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    seen = signing.look(signing.chain(other, intact), authority)
    assert (seen.state, seen.status) == ("intact", "synthetic_declared")


def test_a_parent_that_was_changed_before_it_was_taken_in(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    """To the library the outer manifest is Trusted, and no failure is on its list."""
    changed = _flip(intact, intact.find(b"\xff\xda") + 400)
    seen = signing.look(signing.chain(other, changed), authority, other)
    assert seen.state == "verified"
    assert not seen.details["codes"]["failure"]
    assert seen.answers[3] == "broken"
    broken = seen.coded("c2pa.parent.broken")
    assert broken is not None
    assert broken.details["codes"] == {"assertion.dataHash.mismatch": ["in.jpg"]}
    assert seen.status == "altered"


def test_a_parent_two_generations_up(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    changed = _flip(intact, intact.find(b"\xff\xda") + 400)
    data = signing.chain(authority, signing.chain(other, changed))
    assert signing.look(data, authority, other).status == "altered"


def test_a_parent_that_was_forged_in_the_store(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    data = signing.chain(other, intact).replace(b"trainedAlgo", b"digitalCapt", 1)
    assert signing.look(data, authority, other).status == "altered"


def test_an_expired_parent_is_not_broken(signing: Any, other: Any, make_authority: Any) -> None:
    now = dt.datetime.now(dt.UTC)
    brief = make_authority("Brief", last=now + dt.timedelta(days=2))
    data = signing.chain(other, signing.sign(brief, signing.picture())[0])
    seen = signing.look(data, brief, other, as_of=now.date() + dt.timedelta(days=30))
    assert seen.coded("c2pa.parent.broken") is None
    assert seen.answers[3] == "complete"
    assert seen.status == "synthetic_declared"


def test_a_parent_without_credential_leaves_the_history_partial(
    signing: Any, authority: Any
) -> None:
    seen = signing.look(signing.chain(authority, signing.picture(3)), authority)
    assert seen.answers == ("intact", "user", "in_validity", "partial", "edited")
    assert seen.status == "provenance_verified"


def test_a_redacted_parent_leaves_the_history_partial(
    signing: Any, authority: Any, intact: bytes
) -> None:
    import c2pa

    with c2pa.Reader("image/jpeg", io.BytesIO(intact), None, context=signing.context()) as reader:
        label = reader.get_active_manifest()["label"]
    uri = f"self#jumbf=/c2pa/{label}/c2pa.assertions/org.example.note"
    redacted = {
        "action": "c2pa.redacted",
        "reason": "c2pa.PII.present",
        "parameters": {"redacted": uri},
    }
    data = signing.chain(authority, intact, [OPENED, redacted], extra={"redactions": [uri]})
    seen = signing.look(data, authority)
    assert seen.answers[:4] == ("intact", "user", "in_validity", "partial")
    assert seen.coded("c2pa.parent.broken") is None


# ------------------------------------------------------------------ what is said


def _adobe(source_type: str) -> dict[str, Any]:
    return {
        "action": "c2pa.edited",
        "parameters": {"com.adobe.digitalSourceType": DST + source_type},
    }


@pytest.mark.parametrize(
    ("actions", "claim", "status"),
    [
        ([created()], "synthetic", "synthetic_verified"),
        ([created("digitalCapture")], "captured", "captured_verified"),
        ([created("computationalCapture")], "captured", "captured_verified"),
        ([created("algorithmicMedia")], "none", "provenance_verified"),
        ([created("digitalCreation")], "none", "provenance_verified"),
        ([created("noSuchTerm")], "none", "provenance_verified"),
        ([created("compositeSynthetic")], "model_edited", "model_edited_verified"),
        (
            [created("compositeWithTrainedAlgorithmicMedia")],
            "model_edited",
            "model_edited_verified",
        ),
        (
            [created("digitalCapture"), _adobe("trainedAlgorithmicMedia")],
            "model_edited",
            "model_edited_verified",
        ),
        (
            [created("digitalCapture"), _adobe("compositeWithTrainedAlgorithmicMedia")],
            "model_edited",
            "model_edited_verified",
        ),
        (
            [
                created("digitalCapture"),
                {"action": "c2pa.edited", "digitalSourceType": DST + "trainedAlgorithmicMedia"},
            ],
            "model_edited",
            "model_edited_verified",
        ),
        (
            [created("digitalCapture"), {"action": "c2pa.color_adjustments"}],
            "captured",
            "captured_verified",
        ),
    ],
)
def test_source_types(
    signing: Any, authority: Any, actions: list[dict[str, Any]], claim: str, status: str
) -> None:
    seen = signing.look(signing.sign(authority, signing.picture(), actions)[0], authority)
    assert seen.manifest.claim.value == claim
    assert seen.status == status


def test_a_machine_made_component_makes_a_composite(
    signing: Any, authority: Any, intact: bytes
) -> None:
    placed = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["parent0"]}}
    actions = [created("digitalCapture"), placed]
    seen = signing.look(signing.chain(authority, intact, actions, "componentOf"), authority)
    assert seen.manifest.claim is Claim.MODEL_EDITED
    assert seen.status == "model_edited_verified"


def test_a_picture_that_was_only_asked_with_says_nothing(
    signing: Any, authority: Any, intact: bytes
) -> None:
    data = signing.chain(authority, intact, [created("digitalCreation")], "inputTo")
    seen = signing.look(data, authority)
    assert seen.manifest.claim is Claim.NONE
    assert seen.status == "provenance_verified"


def test_a_capture_with_an_unverified_model_step_is_neither_captured_nor_a_conflict(
    signing: Any, authority: Any, other: Any, intact: bytes
) -> None:
    placed = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["parent0"]}}
    actions = [created("digitalCapture"), placed]
    data = signing.chain(other, intact, actions, "componentOf")
    seen = signing.look(data, other)
    assert seen.manifest.claim is Claim.NONE
    assert seen.status == "model_edited_declared"


def test_a_captured_picture_that_was_edited_keeps_its_origin(
    signing: Any, authority: Any, other: Any
) -> None:
    photo = signing.sign(authority, signing.picture(), [created("digitalCapture")])[0]
    seen = signing.look(signing.chain(other, photo), authority, other)
    assert seen.answers == ("intact", "user", "in_validity", "complete", "captured")
    assert seen.status == "captured_verified"


def test_only_a_verified_credential_vouches_for_a_capture(signing: Any, authority: Any) -> None:
    photo = signing.sign(authority, signing.picture(), [created("digitalCapture")])[0]
    seen = signing.look(photo)
    assert (seen.manifest.claim, seen.manifest.basis) == (Claim.CAPTURED, Basis.DECLARED)
    assert seen.status == "provenance_declared"


def test_a_label_in_signed_metadata(signing: Any, authority: Any) -> None:
    data = {
        "@context": {"px": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
        "px:DigitalSourceType": DST + "trainedAlgorithmicMedia",
    }
    made = signing.sign(
        authority,
        signing.picture(),
        [created("digitalCreation")],
        assertions=[{"label": "c2pa.metadata", "data": data}],
    )[0]
    seen = signing.look(made, authority)
    assert seen.manifest.claim is Claim.SYNTHETIC
    assert "metadata" in [item["where"] for item in seen.details["digital_source_types"]]


def test_details_name_bindings_and_rights_and_leave_nothing_out_of_the_hash(
    signing: Any, authority: Any
) -> None:
    binding = {"alg": "org.example.mark", "blocks": [{"scope": {}, "value": list(b"0101")}]}
    mining = {"entries": {"cawg.ai_generative_training": {"use": "notAllowed"}}}
    data = signing.sign(
        authority,
        signing.picture(),
        [created(), {"action": "c2pa.watermarked.bound"}],
        assertions=[
            {"label": "c2pa.soft-binding", "data": binding},
            {"label": "cawg.training-mining", "data": mining},
        ],
    )[0]
    details = signing.look(data, authority).details
    assert [item["alg"] for item in details["soft_bindings"]] == ["org.example.mark"]
    assert details["training_mining"] == {"cawg.ai_generative_training": "notAllowed"}
    assert details["coverage"]["bindings"] == ["c2pa.hash.data"]
    assert details["coverage"]["beyond"] == []
    assert details["capture_uncovered"] is False
    assert details["local_identity"] is False
    assert details["generator"] == "test-suite 1"


# ------------------------------------------------------------------ where it lies


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
    second = signing.sign(authority, signing.picture(), [created("digitalCapture")])[0]
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


# ------------------------------------------------------------------ cost, safety, size


def test_a_picture_without_credential_never_meets_the_library(signing: Any) -> None:
    """Not even its module is imported."""
    program = """
import io, sys
from pathlib import Path
from counterproof.images import ImageFile
from counterproof.provenance.credentials import CredentialsAnalyzer
from counterproof.settings import Settings
image = ImageFile.open(sys.stdin.buffer.read())
assert list(CredentialsAnalyzer(Settings(home=Path("none"))).analyze(image)) == []
assert "c2pa" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], input=signing.picture(), check=True, timeout=60)


def test_no_socket_is_opened(
    signing: Any, authority: Any, intact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a packet would have left")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert signing.look(intact, authority).state == "verified"


def test_mutated_stores_never_crash(signing: Any, authority: Any, intact: bytes) -> None:
    rng = random.Random(7)
    start, end = 20, intact.find(b"\xff\xdb")
    states = set()
    trust = load_trust(signing.home(authority))
    original = read_credential(ImageFile.open(intact), trust, dt.date.today())
    assert original is not None
    for _ in range(120):
        data = bytearray(intact)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(start, end)] = rng.randrange(256)
        found = read_credential(ImageFile.open(bytes(data)), trust, dt.date.today())
        states.add(found.state if found else "none")
        if found is not None and found.state == "verified":
            # only padding, which nobody signs, was hit: all that is said is as before
            assert found.reading.contents == original.reading.contents
            assert found.active.standing == original.active.standing
    assert {"broken", "unparsed"} <= states


def test_a_long_history_stays_small(signing: Any, authority: Any, intact: bytes) -> None:
    data = intact
    for _ in range(6):
        data = signing.chain(authority, data)
    many = [signing.Ingredient(intact, "componentOf", title=f"{i}.jpg") for i in range(80)]
    data = signing.sign(
        authority, signing.picture(), [created("digitalCapture")], ingredients=many
    )[0]
    seen = signing.look(data, authority)
    import json

    assert len(json.dumps(seen.details)) < 100_000
    assert seen.details["history"]["ingredients_count"] == 80


def test_a_library_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest_store.library_version.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "0.30.0")
    with pytest.raises(UserError, match=r"c2pa-python 0\.30\.0 is too old"):
        manifest_store.library_version()
    monkeypatch.undo()
    manifest_store.library_version.cache_clear()


def test_the_fingerprint_follows_the_lists(signing: Any, authority: Any) -> None:
    def fingerprint(home: Path) -> str:
        return CredentialsAnalyzer(Settings(home=home)).fingerprint()

    plain, own = signing.home(), signing.home(authority)
    assert fingerprint(plain) == fingerprint(plain)
    assert fingerprint(plain) != fingerprint(own)
    lists = CredentialsAnalyzer(Settings(home=own)).lists()
    assert {"c2pa", "c2pa-tsa", "interim", "user"} <= set(lists)


def test_the_manifest_is_kept_as_evidence(signing: Any, intact: bytes) -> None:
    from counterproof.findings import Blob

    analyzer = CredentialsAnalyzer(Settings(home=signing.home()))
    found = list(analyzer.analyze(ImageFile.open(intact)))
    blobs = [item for item in found if isinstance(item, Blob)]
    named = [name for item in found if isinstance(item, Finding) for name in item.evidence]
    assert [blob.name for blob in blobs] == [credentials.BLOB_NAME]
    assert set(named) == {credentials.BLOB_NAME}


def test_errors_are_ours(signing: Any, tmp_path: Path) -> None:
    bad = tmp_path / "trust" / "signer"
    bad.mkdir(parents=True)
    (bad / "x.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CounterproofError):
        load_trust(tmp_path)
