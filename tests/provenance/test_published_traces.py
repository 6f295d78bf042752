"""Every trace of generators that is published and was read or tried: its exact key is found.

One row for each exact key of the research behind docs/labels.md. A row is tested on a file made
here, which says nothing of whether a program still writes so, and, where a sample of the program
itself is at hand, on that as well. Rows that research could not confirm are not here.
"""

import gzip
import io
import json
import runpy
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.settings import Settings

_HERE = Path(__file__).parent
_CARRIERS = runpy.run_path(str(_HERE / "carriers.py"))
picture: Callable[..., ImageFile] = _CARRIERS["picture"]
packet: Callable[..., bytes] = _CARRIERS["packet"]
trailer: Callable[[dict[str, str]], bytes] = _CARRIERS["samsung_trailer"]
embed: Callable[..., Any] = runpy.run_path(str(_HERE / "dwt_marks.py"))["embed"]

UUID = "00800156-b880-4786-9056-7ca3da449d8c"
INFOTEXT = (
    "a duck\nNegative prompt: x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: m"
)
NODES = json.dumps({"1": {"class_type": "KSampler", "inputs": {}}})
WORKFLOW = json.dumps({"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4})
SWARM = json.dumps({"sui_image_params": {"prompt": "x"}, "sui_extra_data": {"date": "1"}})
FOOOCUS = json.dumps({"prompt": "x", "base_model": "m", "version": "Fooocus v2.5.5"})
EASY = {"use_stable_diffusion_model": "m", "num_inference_steps": "9"}
TITLES = {"Stable Diffusion model": "m", "Steps": "9"}
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SDXL = "101100111110110010010000011110111011000110011110"
FLUX = "001010101111111010000111100111001111010100101110"


def text(**values: str) -> ImageFile:
    return picture("png", texts=values)


def keyed(values: dict[str, str]) -> ImageFile:
    return picture("png", texts=values)


def comment(value: str, form: str = "jpeg") -> ImageFile:
    return picture(form, exif={"UserComment": b"UNICODE\0" + value.encode("utf-16-be")})


def hidden(word: str, value: str, *, packed: bool) -> ImageFile:
    """Write a text into the lowest bits of alpha, column by column."""
    body = gzip.compress(value.encode(), mtime=0) if packed else value.encode()
    stream = word.encode() + struct.pack(">I", 8 * len(body)) + body
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    pixels = np.full((96, 96, 4), 254, np.uint8)
    column = pixels[:, :, 3].T.reshape(-1).copy()
    column[: len(bits)] |= bits
    pixels[:, :, 3] = column.reshape(96, 96).T
    return saved(pixels)


def marked(bits: str) -> ImageFile:
    """Embed a constant with the method `dwtDct` in a made-up scene."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:512, 0:512]
    base = 127 + 60 * np.sin(x / 37) + 40 * np.cos(y / 23)
    scene = (base[..., None] + rng.normal(0, 8, (512, 512, 3))).clip(0, 255).astype(np.uint8)
    return saved(embed(scene, bits))


def saved(pixels: Any) -> ImageFile:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return ImageFile.open(out.getvalue())


def letters(value: str) -> str:
    return "".join(f"{byte:08b}" for byte in value.encode())


@dataclass(frozen=True)
class Row:
    """One exact key.

    Attributes:
        source: the program or service.
        key: what it writes, and where.
        code: of the finding.
        make: makes a file of our own with that key.
        sample: a file of the program itself, below the test data; empty if none is at hand.
        analyzer: that reads it.
    """

    source: str
    key: str
    code: str
    make: Callable[[], ImageFile]
    sample: str = ""
    analyzer: str = "traces"


GENERATORS = "traces/generators"
ROWS = (
    Row(
        "A1111, Forge",
        "PNG parameters",
        "trace.a1111",
        lambda: text(parameters=INFOTEXT),
        f"{GENERATORS}/AUTOMATIC1111_automatic1111_cropped.png",
    ),
    Row(
        "A1111, Forge",
        "JPEG UserComment, UNICODE, UTF-16BE",
        "trace.a1111",
        lambda: comment(INFOTEXT),
        f"{GENERATORS}/AUTOMATIC1111_automatic1111_cropped.jpg",
    ),
    Row(
        "A1111, Forge",
        "WebP UserComment, UNICODE, UTF-16BE",
        "trace.a1111",
        lambda: comment(INFOTEXT, "webp"),
    ),
    Row(
        "A1111, Forge",
        "alpha stealth_pngcomp",
        "trace.stealth",
        lambda: hidden("stealth_pngcomp", INFOTEXT, packed=True),
        f"{GENERATORS}/AUTOMATIC1111_automatic1111_stealth.png",
        "stealth",
    ),
    Row(
        "ComfyUI",
        "PNG prompt with class_type",
        "trace.comfyui",
        lambda: text(prompt=NODES),
        f"{GENERATORS}/ComfyUI_img2img_cropped.png",
    ),
    Row(
        "ComfyUI",
        "PNG workflow",
        "trace.comfyui",
        lambda: text(workflow=WORKFLOW),
        f"{GENERATORS}/ComfyUI_unclip_2pass_cropped.png",
    ),
    Row(
        "InvokeAI",
        "PNG invokeai_metadata",
        "trace.invokeai",
        lambda: text(invokeai_metadata='{"generation_mode": "txt2img", "model": {"name": "m"}}'),
        f"{GENERATORS}/InvokeAI_invokeai_imeta1.png",
    ),
    Row(
        "InvokeAI",
        "PNG sd-metadata",
        "trace.invokeai",
        lambda: keyed({"sd-metadata": '{"model_weights": "m", "image": {"type": "txt2img"}}'}),
        f"{GENERATORS}/InvokeAI_invokeai_sdmeta1.png",
    ),
    Row(
        "InvokeAI",
        "PNG Dream",
        "trace.invokeai",
        lambda: text(Dream='"a duck" -s 50 -S 2980747362 -W 512'),
        f"{GENERATORS}/InvokeAI_invokeai_dream1.png",
    ),
    Row(
        "Fooocus",
        "PNG parameters JSON with fooocus_scheme",
        "trace.fooocus",
        lambda: text(parameters=FOOOCUS, fooocus_scheme="fooocus"),
    ),
    Row("Fooocus", "PNG Comment", "trace.fooocus", lambda: text(Comment=FOOOCUS)),
    Row("Fooocus", "JPEG comment", "trace.fooocus", lambda: picture("jpeg", comment=FOOOCUS)),
    Row(
        "SwarmUI",
        "PNG parameters with sui_image_params, sui_extra_data",
        "trace.swarmui",
        lambda: text(parameters=SWARM),
    ),
    Row("SwarmUI", "UserComment with the same", "trace.swarmui", lambda: comment(SWARM)),
    Row(
        "SwarmUI",
        "legacy: EXIF Model 0x0110",
        "trace.swarmui",
        lambda: picture("jpeg", exif={"Model": SWARM}),
    ),
    Row(
        "Easy Diffusion",
        "PNG negative_prompt",
        "trace.easydiffusion",
        lambda: keyed({"prompt": "a duck", "negative_prompt": "x", **EASY}),
    ),
    Row(
        "Easy Diffusion",
        "PNG Negative Prompt",
        "trace.easydiffusion",
        lambda: keyed({"Prompt": "a duck", "Negative Prompt": "x", **TITLES}),
    ),
    Row(
        "Draw Things",
        "XMP exif:UserComment JSON with c, uc",
        "trace.drawthings",
        lambda: picture(
            "png",
            xmp=packet(
                {
                    "xap:CreatorTool": "Draw Things",
                    "ex:UserComment": '{"c": "a duck", "uc": "x", "model": "m"}',
                }
            ),
        ),
    ),
    Row(
        "NovelAI",
        "PNG Title, Description, Software, Source, Comment",
        "trace.novelai",
        lambda: text(
            Title="AI generated image",
            Description="a duck",
            Software="NovelAI",
            Source="Stable Diffusion 1D44365E",
            Comment='{"steps": 28}',
        ),
        f"{GENERATORS}/NovelAI_novelai1_cropped.png",
    ),
    Row(
        "NovelAI",
        "alpha, gzip JSON",
        "trace.stealth",
        lambda: hidden(
            "stealth_pngcomp",
            json.dumps({"Software": "NovelAI", "Comment": '{"steps": 28}'}),
            packed=True,
        ),
        analyzer="stealth",
    ),
    Row(
        "NovelAI",
        "Ed25519 signed_hash",
        "trace.novelai.mismatch",  # only NovelAI can sign; test_stealth.py signs with another key
        lambda: text(
            Software="NovelAI",
            Comment=json.dumps({"steps": 28, "signed_hash": "QUFB" * 21 + "QQ=="}),
        ),
        analyzer="stealth",
    ),
    Row(
        "Midjourney",
        "PNG Author; Description with Job ID",
        "trace.midjourney",
        lambda: text(Author="u1", Description=f"a duck Job ID: {UUID}"),
    ),
    Row(
        "Midjourney",
        "XMP DigImageGUID with Job ID",
        "trace.midjourney",
        lambda: picture(
            "png",
            texts={"Description": f"a duck Job ID: {UUID}"},
            xmp=packet({"ext:DigImageGUID": UUID}),
        ),
    ),
    Row(
        "Grok",
        "EXIF ImageDescription Signature and Artist UUID",
        "trace.grok",
        lambda: picture(
            "jpeg", exif={"ImageDescription": "Signature: " + "QUJD" * 30, "Artist": UUID}
        ),
        "traces/vendor/grok-1.jpg",
    ),
    Row(
        "Samsung",
        "trailer with genAIType",
        "trace.samsung",
        lambda: picture("jpeg", trailer=trailer({"PEg_Info": '{"genAIType":8}'})),
        "c2pa/real-outputs/samsung_black_1.png",
    ),
    Row(
        "Meta AI",
        "XMP DigitalSourceType",
        "label.iptc.source_type",
        lambda: picture("jpeg", xmp=packet({"ext:DigitalSourceType": DIGITAL_SOURCE})),
        analyzer="labels",
    ),
    Row(
        "Apple",
        "photoshop:Credit Apple Image Playground",
        "trace.apple",
        lambda: picture("jpeg", xmp=packet({"shop:Credit": "Apple Image Playground"})),
    ),
    Row(
        "Ideogram",
        "EXIF Make Ideogram AI",
        "trace.ideogram",
        lambda: picture("jpeg", exif={"Make": "Ideogram AI"}),
    ),
    Row("Higgsfield", "PNG hf-job-id", "trace.higgsfield", lambda: keyed({"hf-job-id": UUID})),
    Row(
        "Stable Diffusion 1",
        "dwtDct StableDiffusionV1, 136 bits",
        "trace.sd1_mark",
        lambda: marked(letters("StableDiffusionV1")),
        analyzer="fixed_marks",
    ),
    Row(
        "Stable Diffusion 2",
        "dwtDct SDV2, 32 bits",
        "trace.sd2_mark",
        lambda: marked(letters("SDV2")),
        analyzer="fixed_marks",
    ),
    Row(
        "Stable Diffusion XL",
        "dwtDct, 48 bits",
        "trace.sdxl_mark",
        lambda: marked(SDXL),
        analyzer="fixed_marks",
    ),
    Row(
        "FLUX",
        "dwtDct, 46 bits as Python's bin() gives them",
        "trace.flux_mark",
        lambda: marked(FLUX.lstrip("0")),
        analyzer="fixed_marks",
    ),
)
SIGNED = {
    "ChatGPT": ("chatgpt-1.png", "OpenAI"),
    "Firefly": ("firefly-1.png", "Adobe Inc."),
    "FLUX": ("flux-1.jpg", "Black Forest Labs Inc."),
    "Samsung": ("samsung_black_1.png", "Samsung Galaxy"),
}
"""Services that sign, by a file of each and the organisation of its signer."""
SIGNERS_WITHOUT_SAMPLE = ("Google LLC", "Microsoft", "Stability AI Ltd")


def codes(image: ImageFile, analyzer: str) -> set[str]:
    reader = ANALYZERS[analyzer](Settings(home=Path("unused")))
    return {item.code for item in reader.analyze(image) if isinstance(item, Finding)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.source}: {row.key}")
def test_the_exact_key_is_found_in_a_file_of_ours(row: Row) -> None:
    assert row.code in codes(row.make(), row.analyzer)


def test_the_exact_key_is_found_in_the_samples(test_data: Path) -> None:
    with_sample = [row for row in ROWS if row.sample]
    assert len(with_sample) == 11
    for row in with_sample:
        assert row.code in codes(ImageFile.open(test_data / row.sample), row.analyzer), row.sample


def test_services_that_sign(test_data: Path) -> None:
    reader = ANALYZERS["c2pa"](Settings(home=Path("unused")))
    for service, (name, organisation) in SIGNED.items():
        image = ImageFile.open(test_data / "c2pa" / "real-outputs" / name)
        found = [item for item in reader.analyze(image) if isinstance(item, Finding)]
        (read,) = [item for item in found if item.code.startswith("c2pa.manifest.")]
        assert read.details["signer"]["organisation"] == organisation, service
        assert read.claim in (Claim.SYNTHETIC, Claim.MODEL_EDITED), service


@pytest.mark.parametrize("organisation", SIGNERS_WITHOUT_SAMPLE)
def test_services_that_sign_without_a_sample(
    organisation: str, signing: Any, authority: Any
) -> None:
    """Made here, so the signer is on no list and only claims to be it; the text is Gemini's."""
    steps = [
        signing.created(),
        {"action": "c2pa.edited", "description": "Applied imperceptible SynthID watermark."},
    ]
    data, _ = signing.sign(type(authority)(organisation), signing.picture(), steps)
    seen = signing.look(data)
    assert seen.details["signer"]["organisation"] == organisation
    assert "claims_to_be" in seen.details["signer"]
    assert seen.status == "synthetic_declared"
    assert "c2pa.soft_binding.unread" in codes(ImageFile.open(data), "c2pa")


def test_each_finding_of_a_trace_has_a_row() -> None:
    """No family that we read is without an exact key here, but those that we found ourselves."""
    from counterproof.provenance.traces import FAMILIES

    ours = {"trace.mflux", "trace.flux", "trace.google", "trace.facebook"}
    assert {family.code for family in FAMILIES} - {row.code for row in ROWS} == ours
