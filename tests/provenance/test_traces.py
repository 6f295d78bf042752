"""Traces of generators: each family by its own keys, nothing by a mention."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterproof.errors import ImageError
from counterproof.findings import Claim
from counterproof.images import ImageFile
from counterproof.provenance.traces import FAMILIES
from counterproof.text import catalogue
from tests.provenance.trace_texts import (
    INFOTEXT,
    NOVEL,
    PROMPT,
    UUID,
    graph,
    look,
    only,
    packet,
    picture,
    samsung_trailer,
    workflow,
)

COMFY = graph("KSampler", "CLIPTextEncode", "SaveImage")
SWARM = {"sui_image_params": {"prompt": PROMPT, "model": "m", "swarm_version": "0.9.3"}}
FLUX = {"Software": "AI generated;txt2img;flux", "Make": "Black Forest Labs", "Model": "flux-dev"}
GROK = {"ImageDescription": "Signature: " + "QUJD" * 30, "Artist": UUID}
INVOKE = {"generation_mode": "txt2img", "positive_prompt": PROMPT, "model": {"model_name": "m"}}
DREAM = f'"{PROMPT}" -s 50 -S 2980747362 -W 512 -H 768 -C 5 -A k_lms'
SD_METADATA = {
    "app_id": "invoke-ai/InvokeAI",
    "app_version": "2.3.0",
    "model_weights": "m",
    "image": {"type": "txt2img", "prompt": [{"prompt": PROMPT}]},
}

FOOOCUS = {"prompt": PROMPT, "base_model": "m", "version": "Fooocus v2.5.5"}
EASY = {
    "prompt": PROMPT,
    "negative_prompt": "x",
    "use_stable_diffusion_model": "m",
    "num_inference_steps": "25",
}

EASY_TITLES = {
    "Prompt": PROMPT,
    "Negative Prompt": "x",
    "Stable Diffusion model": "m",
    "Steps": "9",
}

MIDJOURNEY = {"Description": f"{PROMPT} --v 6.1 Job ID: {UUID}", "Author": "u1"}
FBMD = "FBMD01000a" + "99030000" * 11
MFLUX = {"mflux_version": "0.9", "model": "dev", "prompt": PROMPT}


def comment(text: str, code: bytes = b"ASCII\0\0\0") -> dict[str, Any]:
    codec = "utf-16-be" if code == b"UNICODE\0" else "ascii"
    return {"UserComment": code + text.encode(codec)}


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("trace.a1111", "png", {"texts": {"parameters": INFOTEXT}}),
    ("trace.a1111", "jpeg", {"exif": comment(INFOTEXT, b"UNICODE\0")}),
    ("trace.a1111", "webp", {"exif": comment(INFOTEXT, b"UNICODE\0")}),
    ("trace.a1111", "avif", {"exif": comment(INFOTEXT)}),
    ("trace.a1111", "gif", {"comment": INFOTEXT}),
    ("trace.a1111", "png", {"texts": {"parameters": INFOTEXT + ", Version: v1.10.1"}}),
    ("trace.comfyui", "png", {"texts": {"prompt": COMFY}}),
    ("trace.comfyui", "png", {"texts": {"workflow": workflow("KSampler", "SaveImage")}}),
    ("trace.comfyui", "webp", {"exif": {"Model": "prompt:" + COMFY}}),
    ("trace.comfyui", "webp", {"exif": {"Make": "workflow:" + workflow("KSampler")}}),
    ("trace.comfyui", "jpeg", {"exif": comment(json.dumps({"prompt": json.loads(COMFY)}))}),
    ("trace.comfyui", "jpeg", {"exif": comment(json.dumps({"prompt": COMFY}))}),
    ("trace.comfyui", "jpeg", {"exif": comment(COMFY)}),
    ("trace.invokeai", "png", {"texts": {"invokeai_metadata": json.dumps(INVOKE)}}),
    ("trace.invokeai", "png", {"texts": {"sd-metadata": json.dumps(SD_METADATA)}}),
    ("trace.invokeai", "png", {"texts": {"Dream": DREAM}}),
    ("trace.invokeai", "png", {"texts": {"invokeai_graph": '{"nodes": {}}'}}),
    (
        "trace.fooocus",
        "png",
        {"texts": {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}},
    ),
    ("trace.fooocus", "png", {"texts": {"parameters": INFOTEXT + ", Version: Fooocus v2.5.5"}}),
    (
        "trace.fooocus",
        "jpeg",
        {"exif": comment(json.dumps(FOOOCUS)) | {"MakerNote": b"fooocus\0"}},
    ),
    ("trace.fooocus", "jpeg", {"comment": json.dumps(FOOOCUS)}),
    ("trace.swarmui", "png", {"texts": {"parameters": json.dumps(SWARM)}}),
    ("trace.swarmui", "jpeg", {"exif": comment(json.dumps(SWARM))}),
    ("trace.swarmui", "jpeg", {"exif": {"Model": json.dumps(SWARM)}}),
    ("trace.easydiffusion", "png", {"texts": EASY}),
    ("trace.easydiffusion", "png", {"texts": EASY_TITLES}),
    ("trace.easydiffusion", "jpeg", {"exif": comment(json.dumps(EASY))}),
    ("trace.mflux", "png", {"exif": comment(json.dumps(MFLUX))}),
    ("trace.flux", "jpeg", {"exif": FLUX}),
    ("trace.novelai", "png", {"texts": NOVEL}),
    ("trace.novelai", "png", {"texts": {"Software": "NovelAI", "Comment": '{"steps": 28}'}}),
    ("trace.novelai", "webp", {"exif": comment(json.dumps(NOVEL))}),
    (
        "trace.novelai",
        "webp",
        {"exif": comment('{"signed_hash": "QUJD", "request_type": "PromptGenerateRequest"}')},
    ),
    ("trace.midjourney", "png", {"texts": MIDJOURNEY}),
    ("trace.midjourney", "png", {"texts": {"Description": MIDJOURNEY["Description"]}}),
    ("trace.grok", "jpeg", {"exif": GROK}),
    ("trace.ideogram", "jpeg", {"exif": {"Make": "Ideogram AI"}}),
    ("trace.higgsfield", "png", {"texts": {"hf-job-id": UUID}}),
]


@pytest.mark.parametrize(("code", "form", "made"), CASES)
def test_each_family_is_found_and_no_other(code: str, form: str, made: dict[str, Any]) -> None:
    finding = only(picture(form, **made))
    assert finding.code == code
    assert finding.claim is Claim.SYNTHETIC


XMP_CASES: list[tuple[str, Claim, dict[str, str]]] = [
    ("trace.apple", Claim.SYNTHETIC, {"shop:Credit": "Apple Image Playground"}),
    ("trace.google", Claim.SYNTHETIC, {"shop:Credit": "Made with Google AI"}),
    ("trace.google", Claim.MODEL_EDITED, {"shop:Credit": "Edited with Google AI"}),
    ("trace.facebook", Claim.NONE, {"shop:Instructions": FBMD}),
    (
        "trace.drawthings",
        Claim.SYNTHETIC,
        {
            "xap:CreatorTool": "Draw Things",
            "ex:UserComment": json.dumps({"c": PROMPT, "uc": "x", "model": "m"}),
        },
    ),
]


@pytest.mark.parametrize(("code", "claim", "properties"), XMP_CASES)
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_families_in_xmp(
    code: str,
    claim: Claim,
    properties: dict[str, str],
    form: str,
) -> None:
    finding = only(picture(form, xmp=packet(properties)))
    assert (finding.code, finding.claim) == (code, claim)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("entry", ["PEg_Info", "PhotoEditor_Re_Edit_Data"])
def test_samsungs_trailer(form: str, entry: str) -> None:
    trailer = samsung_trailer({"Image_UTC_Data": "1", entry: '{"genAIType":8}'})
    finding = only(picture(form, trailer=trailer))
    assert (finding.code, finding.claim) == ("trace.samsung", Claim.MODEL_EDITED)
    assert finding.details["gen_ai_type"] == 8


@pytest.mark.parametrize(
    "entries",
    [
        {"PEg_Info": '{"genAIType":0}'},
        {"PEg_Info": "{}"},
        {"Image_UTC_Data": '{"genAIType":8}'},
        {"PhotoEditor_Re_Edit_Data": '{"isScaleAI":false,"rotation":1}'},
    ],
)
def test_samsungs_trailer_of_an_ordinary_photograph(entries: dict[str, str]) -> None:
    assert look(picture("jpeg", trailer=samsung_trailer(entries))) == []


def test_midjourney_by_the_same_number_in_xmp() -> None:
    text = {"Description": f"{PROMPT} Job ID: {UUID}"}
    assert look(picture(texts=text)) == []  # a job number alone may be a print shop's
    assert look(picture(texts=text, xmp=packet({"ext:DigImageGUID": "other"}))) == []
    finding = only(picture(texts=text, xmp=packet({"ext:DigImageGUID": UUID})))
    assert finding.code == "trace.midjourney"
    assert finding.details["names_user"] is False


MENTIONS: list[dict[str, Any]] = [
    {"texts": {"Description": "Made without Stable Diffusion, Midjourney or NovelAI."}},
    {"texts": {"Software": "NovelAI"}},
    {"texts": {"Software": "Not NovelAI", "Comment": '{"steps": 28}', "Source": "x"}},
    {"texts": {"parameters": "Steps: 20"}},
    {"texts": {"parameters": "f/2.8, 1/250 s, ISO 100"}},
    {"texts": {"parameters": "Steps: 20, walked up the hill, Seed: none"}},
    {"texts": {"Comment": "I took Steps: 20, CFG scale: 7, Seed: 1, Sampler: x"}},
    {"texts": {"prompt": PROMPT}},
    {"texts": {"prompt": PROMPT, "negative_prompt": "x"}},
    {"texts": {"prompt": '{"question": "where"}', "workflow": '{"approved": true}'}},
    {"texts": {"workflow": '{"nodes": "many", "links": []}'}},
    {"texts": {"Dream": "I had a dream"}},
    {"texts": {"Description": f"Job ID: {UUID} and more"}},
    {"texts": {"Description": "Job ID: 1234"}},
    {"texts": {"hf-job-id": "17"}},
    {"texts": {"fooocus_scheme": "fooocus", "parameters": "none"}},
    {"exif": {"Make": "Ideogram"}},
    {"exif": {"Make": "Canon", "Model": "Canon EOS R5", "Software": "Adobe Photoshop 26.0"}},
    {"exif": {"Software": "AI generated"}},
    {"exif": {"ImageDescription": "Signature: Ann", "Artist": UUID}},
    {"exif": {"ImageDescription": "Signature: " + "QUJD" * 30, "Artist": "Ann Example"}},
    {"exif": {"Model": "prompt:none"}},
]


@pytest.mark.parametrize("made", MENTIONS)
def test_a_mention_accuses_nobody(made: dict[str, Any]) -> None:
    assert look(picture(**made)) == []


@pytest.mark.parametrize(
    "properties",
    [
        {"shop:Credit": "Ann Example, made with Google AI help"},
        {"shop:Credit": "Reuters"},
        {"ext:Credit": "Made with Google AI"},
        {"xap:CreatorTool": "Draw Things"},
        {"ex:UserComment": '{"c": "caption", "uc": 1}'},
        {"ex:UserComment": '{"c": "caption", "uc": "upper case"}'},
    ],
)
def test_a_mention_in_xmp_accuses_nobody(properties: dict[str, str]) -> None:
    assert look(picture(xmp=packet(properties))) == []


def iim(value: bytes) -> bytes:
    """Make a JPEG with one data set of IPTC-IIM, 2:40, in Photoshop's segment."""
    data = b"\x1c\x02\x28" + len(value).to_bytes(2, "big") + value
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data
    segment = b"\xff\xed" + (len(resource) + 2).to_bytes(2, "big") + resource
    plain = picture("jpeg").data
    return plain[:2] + segment + plain[2:]


def test_passage_through_a_platform_claims_nothing() -> None:
    finding = only(ImageFile.open(iim(FBMD.encode())))
    assert (finding.code, finding.claim) == ("trace.facebook", Claim.NONE)
    assert finding.details["where"]["key"] == "2:40"


@pytest.mark.parametrize(
    "value", [b"", b"FBMD", b"FBMD01000a", b"see FBMD01000a99030000", b"FBMD01000a9903000g"]
)
def test_other_instructions_are_no_passage(value: bytes) -> None:
    assert look(ImageFile.open(iim(value))) == []


def test_data_sets_that_lie_about_their_length_are_bounded() -> None:
    look(ImageFile.open(iim(b"\x1c\x02\x28\xff\xff" * 4000)))


def test_every_family_has_words_and_a_test() -> None:
    codes = {family.code for family in FAMILIES}
    tested = {code for code, *_ in CASES} | {code for code, *_ in XMP_CASES} | {"trace.samsung"}
    assert codes == tested
    for language in ("en", "zh"):
        assert codes <= set(catalogue(language).codes())


@pytest.mark.parametrize(
    "text",
    [
        "{" * 2_000_000,
        "[" * 2_000_000,
        '{"a":' * 500_000,
        '{"nodes": [' + "{}," * 1_000_000 + "{}]}",
        "Steps: 1, " + "A: b, " * 300_000,
        "Steps: 1, " + 'A: "' * 300_000,
        "Steps: 1, \n" * 200_000,
        "A" * 2_000_000,
        '"' * 2_000_000,
        '{"class_type": ' + "9" * 1_000_000 + "}",
        "Job ID: " * 200_000,
        " " * 32_000 + "Job ID: x",
        "Steps: 1, " + 'A: "\\' * 16_000,
        'Steps: 1, B: "' + 'A: \\"' * 16_000,
        "Signature: " + "QUJD" * 500_000,
    ],
)
def test_huge_texts_are_bounded(text: str) -> None:
    keys = ("parameters", "prompt", "workflow", "Dream", "Comment", "Description", "sd-metadata")
    image = picture(texts={**dict.fromkeys(keys, text), "Software": "NovelAI"})
    _ = image.metadata
    start = time.process_time()
    look(image)
    assert time.process_time() - start < 1.0


def test_many_texts_are_bounded() -> None:
    texts = {f"key{at}": '{"AIGC": {"Label": "1"}}' for at in range(20_000)}
    image = picture(texts=texts)
    _ = image.metadata
    start = time.process_time()
    assert look(image) == []
    assert time.process_time() - start < 1.0


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_no_trailer_crashes_the_reader(data: bytes) -> None:
    plain = b"\xff\xd8\xff\xd9"
    look(ImageFile.open(plain + data + b"SEFT"))
    size = len(data).to_bytes(4, "little")
    look(ImageFile.open(plain + b"SEFH" + data + size + b"SEFT"))


def test_no_photograph_has_a_trace(test_data: Path) -> None:
    """No original photograph, no crop of one, no hostile file: exact keys accuse nobody.

    One of them went through Facebook, which says nothing of how it was made.
    """
    count, passed = 0, []
    for folder in ("photos", "detect/dev", "hostile", "copies", "forgery"):
        for path in sorted((test_data / folder).rglob("*")):
            if path.is_file():
                try:
                    image = ImageFile.open(path)
                except ImageError:
                    continue
                found = look(image)
                assert {finding.code for finding in found} <= {"trace.facebook"}, path.name
                assert all(finding.claim is Claim.NONE for finding in found)
                passed += [path.name] * len(found)
                count += 1
    assert count > 2000
    assert passed == ["pdq__data__misc-images__small.jpg"]


FOUND = {
    "AUTOMATIC1111_automatic1111_cropped.jpg": "trace.a1111",
    "AUTOMATIC1111_automatic1111_cropped.png": "trace.a1111",
    "ComfyUI_img2img_cropped.png": "trace.comfyui",
    "ComfyUI_night_evening_day_morning_cropped.png": "trace.comfyui",
    "ComfyUI_noisy_latents_3_subjects_cropped.png": "trace.comfyui",
    "ComfyUI_unclip_2pass_cropped.png": "trace.comfyui",
    "InvokeAI_invokeai_dream1.png": "trace.invokeai",
    "InvokeAI_invokeai_imeta1.png": "trace.invokeai",
    "InvokeAI_invokeai_sdmeta1.png": "trace.invokeai",
    "NovelAI_novelai1_cropped.png": "trace.novelai",
    "grok-1.jpg": "trace.grok",
}

# hidden in the alpha channel: pixels, which this analyzer does not read
NEEDS_PIXELS = {"AUTOMATIC1111_automatic1111_stealth.png"}
NO_TRACE = {"doubao_black_1x1_1.png"}


def test_files_of_generators(test_data: Path) -> None:
    folder = test_data / "traces"
    paths = [*(folder / "generators").iterdir(), *(folder / "vendor").iterdir()]
    assert {path.name for path in paths} == FOUND.keys() | NEEDS_PIXELS | NO_TRACE
    for path in paths:
        expected = [FOUND[path.name]] if path.name in FOUND else []
        assert [finding.code for finding in look(ImageFile.open(path))] == expected, path.name


def test_a_file_of_samsungs_editor(test_data: Path) -> None:
    path = test_data / "c2pa" / "real-outputs" / "samsung_black_1.png"
    finding = only(ImageFile.open(path))
    assert (finding.code, finding.claim) == ("trace.samsung", Claim.MODEL_EDITED)
