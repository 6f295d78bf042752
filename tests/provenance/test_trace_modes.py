"""What a trace says was done: made, made over, filled in, enlarged, and by which program."""

import json

import pytest

from counterproof.findings import Claim
from tests.provenance.trace_texts import (
    INFOTEXT,
    NOVEL,
    PROMPT,
    graph,
    look,
    only,
    picture,
    workflow,
)


@pytest.mark.parametrize(
    ("kinds", "mode", "claim"),
    [
        (("EmptyLatentImage", "KSampler"), "text_to_image", Claim.SYNTHETIC),
        (("LoadImage", "VAEEncode", "KSampler"), "image_to_image", Claim.SYNTHETIC),
        (("LoadImage", "VAEEncodeForInpaint", "KSampler"), "inpaint", Claim.MODEL_EDITED),
        (("LoadImage", "SetLatentNoiseMask", "KSampler"), "inpaint", Claim.MODEL_EDITED),
        (("LoadImage", "ImageUpscaleWithModel", "SaveImage"), "upscale", Claim.MODEL_EDITED),
        (("LoadImage", "FluxKontextProImageNode"), "edit", Claim.MODEL_EDITED),
        (("LoadImage", "ImageScale", "SaveImage"), "no_model", Claim.EDITED),
        (("SomeApiNode", "SaveImage"), None, Claim.SYNTHETIC),
    ],
)
def test_what_a_comfyui_graph_did(kinds: tuple[str, ...], mode: str | None, claim: Claim) -> None:
    for texts in ({"prompt": graph(*kinds)}, {"workflow": workflow(*kinds)}):
        finding = only(picture(texts=texts))
        assert (finding.details["mode"], finding.claim) == (mode, claim)


@pytest.mark.parametrize(
    ("more", "mode", "claim"),
    [
        ("", "text_to_image", Claim.SYNTHETIC),
        (", Denoising strength: 0.7", "image_to_image", Claim.SYNTHETIC),
        (", Denoising strength: 0.7, Hires upscale: 2", "text_to_image", Claim.SYNTHETIC),
        (", Denoising strength: 0.7, Mask blur: 4", "inpaint", Claim.MODEL_EDITED),
    ],
)
def test_what_an_a1111_run_did(more: str, mode: str, claim: Claim) -> None:
    finding = only(picture(texts={"parameters": INFOTEXT + more}))
    assert (finding.details["mode"], finding.claim) == (mode, claim)
    assert finding.details["prompt_chars"] == len(PROMPT)
    assert finding.details["model"] == "demo_v1"


def test_an_enlargement_is_an_edit() -> None:
    text = "Postprocess upscale by: 4, Postprocess upscaler: R-ESRGAN 4x+"
    for key in ("postprocessing", "extras", "parameters"):
        finding = only(picture(texts={key: text}))
        assert (finding.code, finding.claim) == ("trace.a1111", Claim.MODEL_EDITED)
    plain = "Postprocess upscale by: 4, Postprocess upscaler: Lanczos"
    assert look(picture(texts={"parameters": plain})) == []


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", "AUTOMATIC1111 or compatible"),
        (", Version: v1.10.1", "AUTOMATIC1111"),
        (", Version: f2.0.1v1.10.1-previous-1-gabc", "Forge"),
        (", App: SD.Next, Version: 1234", "SD.Next"),
        (", Version: ComfyUI", "ComfyUI"),
        (', Civitai resources: [{"type":"checkpoint"}]', "Civitai"),
    ],
)
def test_which_program_wrote_the_text(more: str, name: str) -> None:
    assert only(picture(texts={"parameters": INFOTEXT + more})).details["generator"] == name


@pytest.mark.parametrize(
    ("request_type", "mode", "claim"),
    [
        ("PromptGenerateRequest", "text_to_image", Claim.SYNTHETIC),
        ("Img2ImgRequest", "image_to_image", Claim.SYNTHETIC),
        ("NativeInfillingRequest", "inpaint", Claim.MODEL_EDITED),
    ],
)
def test_what_novelai_did(request_type: str, mode: str, claim: Claim) -> None:
    settings_ = json.dumps({"request_type": request_type, "signed_hash": "x"})
    finding = only(picture(texts={**NOVEL, "Comment": settings_}))
    assert (finding.details["mode"], finding.claim) == (mode, claim)
    assert finding.details["signed"] is True


@pytest.mark.parametrize(
    ("mode", "claim"),
    [("inpaint", Claim.MODEL_EDITED), ("sdxl_outpaint", Claim.MODEL_EDITED)],
)
def test_what_invokeai_did(mode: str, claim: Claim) -> None:
    found = only(picture(texts={"invokeai_metadata": json.dumps({"generation_mode": mode})}))
    assert found.claim is claim
