"""What a credential says of its picture: source types, components, rights, details."""

from typing import Any

import pytest

from counterproof.findings import Basis, Claim

DST = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def created(source_type: str | None = "trainedAlgorithmicMedia") -> dict[str, Any]:
    action: dict[str, Any] = {"action": "c2pa.created"}
    if source_type:
        action["digitalSourceType"] = DST + source_type
    return action


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
