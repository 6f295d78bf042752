"""Credentials signed when the test runs: every trap has a picture that would fall into it.

Here: who signed and when, and what became of the bytes. Histories, claims and the places where a
credential lies have modules of their own (`test_credential_*.py`).
"""

import datetime as dt
import io
from typing import Any

import pytest

from counterproof.findings import Basis, Claim
from counterproof.images import ImageFile
from counterproof.provenance import manifest_store

DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"


# -- whom and when ----------------------------------------------------------------------------


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


# -- bytes ------------------------------------------------------------------------------------


def test_changed_bytes_are_broken(signing: Any, authority: Any, intact: bytes) -> None:
    pixels = intact.find(b"\xff\xda") + 400
    claim = intact.find(b"test-suite")
    for data, code in (
        (signing.flipped(intact, pixels), "assertion.dataHash.mismatch"),
        (intact + b"\0" * 100, "assertion.dataHash.mismatch"),
        (intact[: int(len(intact) * 0.8)], "assertion.dataHash.mismatch"),
        (intact.replace(b"HELLO-NOTE", b"JELLO-NOTE"), "assertion.hashedURI.mismatch"),
        (intact.replace(b"trainedAlgo", b"digitalCapt"), "assertion.hashedURI.mismatch"),
        (signing.flipped(intact, claim), "claimSignature.mismatch"),
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
    seen = signing.look(signing.flipped(intact, intact.find(b"test-suite")), authority)
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
    bound = [signing.created(), {"action": "c2pa.watermarked.bound"}]
    for actions, code in (
        ([signing.created(None)], "assertion.action.malformed"),
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
