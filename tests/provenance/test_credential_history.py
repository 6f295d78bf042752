"""Parents of a credential: what stands in them, and what was done to them before and after."""

import datetime as dt
import io
from typing import Any

from counterproof.findings import Basis, Claim


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
    changed = signing.flipped(intact, intact.find(b"\xff\xda") + 400)
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
    changed = signing.flipped(intact, intact.find(b"\xff\xda") + 400)
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
    data = signing.chain(authority, intact, [signing.OPENED, redacted], extra={"redactions": [uri]})
    seen = signing.look(data, authority)
    assert seen.answers[:4] == ("intact", "user", "in_validity", "partial")
    assert seen.coded("c2pa.parent.broken") is None
