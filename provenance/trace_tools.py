"""Traces of programs that people run themselves: what each writes into its pictures.

Each function knows one family. Sources: the programs' own writers and the readers of
sd-parsers and stable-diffusion-prompt-reader, compared with files; details in docs/labels.md.
"""

import re
from collections.abc import Iterable
from typing import Any

from counterproof.provenance.texts import Text
from counterproof.provenance.trace_evidence import Evidence, Family, Trace

__all__ = ["TOOLS"]

_MAX_LINE = 64 * 1024


def _name(value: Any) -> str:
    """Return a value as a short name; empty if it is no text or number."""
    return str(value)[:200] if isinstance(value, str | int | float) else ""


def _chars(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


# AUTOMATIC1111, Forge and the many programs that write the same text

_STEPS = re.compile(r"^Steps: \d{1,5}, [^\n]*", re.MULTILINE)
_SETTING = re.compile(r'([A-Z][\w /-]{0,40}): ("(?:[^"\\]|\\.)*"|[^,\n]*)(?:, |$)')
_SCALERS = ("None", "Lanczos", "Nearest")
_A1111_APPS = (
    ("f", "Forge"),
    ("v", "AUTOMATIC1111"),
    ("ComfyUI", "ComfyUI"),
    ("stable-diffusion.cpp", "stable-diffusion.cpp"),
)


def _a1111(evidence: Evidence) -> Trace | None:
    places = [evidence.png("parameters"), *evidence.comments]
    for text in filter(None, places):
        settings = _infotext(text.value)
        version = settings.get("Version", "")
        if settings and not version.startswith("Fooocus"):
            return Trace(
                text,
                _a1111_app(settings),
                version,
                settings.get("Model", ""),
                _a1111_mode(settings),
                _infotext_prompt(text.value),
            )
    for key in ("postprocessing", "extras", "parameters"):
        extra = evidence.png(key)
        if extra and extra.value.startswith("Postprocess "):
            settings = dict(_SETTING.findall(extra.value[:_MAX_LINE]))
            scaler = settings.get("Postprocess upscaler", "")
            if scaler and scaler not in _SCALERS:
                return Trace(extra, _A1111_APPS[1][1], model=scaler, mode="upscale")
    return None


def _infotext(text: str) -> dict[str, str]:
    """Return the settings of an A1111 text, or nothing if it is none."""
    line = _STEPS.search(text)
    if line is None:
        return {}
    settings = dict(_SETTING.findall(line[0][:_MAX_LINE]))
    known = {"Sampler", "CFG scale", "Seed", "Model", "Model hash", "Distilled CFG Scale"}
    return settings if len(known & settings.keys()) >= 2 else {}


def _infotext_prompt(text: str) -> int:
    line = _STEPS.search(text)
    ends = [line.start() if line else len(text)]
    if (negative := text.find("\nNegative prompt: ")) >= 0:
        ends.append(negative)
    return len(text[: min(ends)].strip()) if not text.startswith("Negative prompt: ") else 0


def _a1111_app(settings: dict[str, str]) -> str:
    version = settings.get("Version", "")
    if "Civitai resources" in settings:
        return "Civitai"
    if app := settings.get("App"):
        return app[:100]
    for start, name in _A1111_APPS:
        if version.startswith(start):
            return name
    return "AUTOMATIC1111 or compatible"


def _a1111_mode(settings: dict[str, str]) -> str:
    if "Mask blur" in settings or "Inpaint area" in settings or "Masked content" in settings:
        return "inpaint"
    # "Denoising strength" also stands in a text-to-image run with an enlarging second pass
    if "Denoising strength" in settings and not any(s.startswith("Hires") for s in settings):
        return "image_to_image"
    return "text_to_image"


# ComfyUI

_SAMPLERS = ("Sampler", "sampler")
_INPAINT_NODES = ("VAEEncodeForInpaint", "SetLatentNoiseMask", "InpaintModelConditioning")
_INPUT_NODES = ("LoadImage", "LoadImageMask", "LoadImageOutput")
# core nodes that only load, cut, scale, join or save: no model touches the picture
_PLAIN_NODES = frozenset(
    {
        *_INPUT_NODES,
        "EmptyImage",
        "ImageBatch",
        "ImageBlend",
        "ImageBlur",
        "ImageCompositeMasked",
        "ImageCrop",
        "ImageInvert",
        "ImagePadForOutpaint",
        "ImageQuantize",
        "ImageScale",
        "ImageScaleBy",
        "ImageScaleToTotalPixels",
        "ImageSharpen",
        "ImageToMask",
        "MaskToImage",
        "Note",
        "PreviewImage",
        "Reroute",
        "SaveImage",
    }
)
_MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name", "model")


def _comfyui(evidence: Evidence) -> Trace | None:
    for text, graph in _comfy_graphs(evidence):
        nodes = [node for node in graph.values() if isinstance(node, dict)]
        kinds = [node["class_type"] for node in nodes if isinstance(node.get("class_type"), str)]
        if kinds:
            inputs = [n["inputs"] for n in nodes if isinstance(n.get("inputs"), dict)]
            model = next((v for key in _MODEL_INPUTS for v in _strings(inputs, key)), "")
            prompts = [*_strings(inputs, "text"), *_strings(inputs, "prompt")]
            return Trace(
                text,
                "ComfyUI",
                model=_name(model),
                mode=_comfy_mode(kinds),
                prompt_chars=max(map(len, prompts), default=0),
                more={"nodes": len(kinds)},
            )
        listed = graph.get("nodes")
        if isinstance(listed, list) and "links" in graph:
            kinds = [
                node["type"]
                for node in listed
                if isinstance(node, dict) and isinstance(node.get("type"), str)
            ]
            if kinds:
                version = _name(graph.get("version"))
                more = {"nodes": len(kinds), "workflow_version": version}
                return Trace(text, "ComfyUI", mode=_comfy_mode(kinds), more=more)
    return None


def _comfy_graphs(evidence: Evidence) -> Iterable[tuple[Text, dict[str, Any]]]:
    """Yield what may be a graph: PNG texts first, then the forms for JPEG and WebP."""
    for key in ("prompt", "workflow"):
        if text := evidence.png(key):
            yield text, evidence.json(text)
    for text in evidence.texts:
        if text.kind == "exif":  # animated WebP: tags 0x0110 and below, `name:{json}`
            name, _, rest = text.value.partition(":")
            if name.lower() in ("prompt", "workflow") and rest.startswith("{"):
                yield text, evidence.json(Text(text.kind, text.key, rest, text.offset))
    for text in evidence.comments:
        graph = evidence.json(text)
        for key in ("prompt", "workflow"):
            inner = graph.get(key)
            if isinstance(inner, str):
                inner = evidence.json(Text(text.kind, text.key, inner, text.offset))
            if isinstance(inner, dict):
                yield text, inner
        yield text, graph


def _strings(inputs: Iterable[dict[str, Any]], key: str) -> list[str]:
    return [value for item in inputs if isinstance(value := item.get(key), str)]


def _comfy_mode(kinds: Iterable[str]) -> str:
    """Tell from the kinds of nodes whether a model made the picture or changed one."""
    found = set(kinds)
    loads = any(kind in _INPUT_NODES for kind in found)
    if found <= _PLAIN_NODES:
        return "no_model"
    if loads and any(kind in _INPAINT_NODES for kind in found):
        return "inpaint"
    if any(word in kind for kind in found for word in _SAMPLERS):
        return "image_to_image" if loads and "VAEEncode" in found else "text_to_image"
    if not loads:
        return ""
    return "upscale" if "ImageUpscaleWithModel" in found else "edit"


# InvokeAI

_DREAM = re.compile(r'"([^"]*)"[^"\n]{0,400}-S ?\d+')


def _invokeai(evidence: Evidence) -> Trace | None:
    text = evidence.png("invokeai_metadata")
    if found := evidence.json(text):
        assert text is not None
        model = found.get("model")
        name = model.get("model_name", model.get("name")) if isinstance(model, dict) else model
        mode = _invoke_mode(_name(found.get("generation_mode")))
        version = _name(found.get("app_version"))
        prompt = _chars(found.get("positive_prompt"))
        return Trace(text, "InvokeAI", version, _name(name), mode, prompt)
    for key in ("invokeai_graph", "invokeai_workflow"):
        text = evidence.png(key)
        if text and isinstance(evidence.json(text).get("nodes"), list | dict):
            return Trace(text, "InvokeAI")
    text = evidence.png("sd-metadata")
    found = evidence.json(text)
    picture = found.get("image")
    if text and isinstance(picture, dict) and ("app_id" in found or "model_weights" in found):
        mode = _invoke_mode(_name(picture.get("type")))
        prompts = picture.get("prompt")
        prompt = sum(
            _chars(item.get("prompt"))
            for item in (prompts if isinstance(prompts, list) else [])
            if isinstance(item, dict)
        )
        model, version = _name(found.get("model_weights")), _name(found.get("app_version"))
        return Trace(text, "InvokeAI", version, model, mode, prompt)
    text = evidence.png("Dream")
    if text and (dream := _DREAM.match(text.value[:_MAX_LINE])):
        return Trace(text, "InvokeAI", prompt_chars=len(dream[1]))
    return None


def _invoke_mode(mode: str) -> str:
    for end, ours in (
        ("txt2img", "text_to_image"),
        ("img2img", "image_to_image"),
        ("inpaint", "inpaint"),
        ("outpaint", "outpaint"),
        ("upscale", "upscale"),
    ):
        if mode.endswith(end):
            return ours
    return ""


# Fooocus

_SCHEMES = ("fooocus", "a1111")


def _fooocus(evidence: Evidence) -> Trace | None:
    for text, scheme in (
        (evidence.png("parameters"), evidence.png("fooocus_scheme")),
        (evidence.exif("UserComment"), evidence.exif("MakerNote")),
    ):
        if text and scheme and scheme.value in _SCHEMES:
            found = evidence.json(text)
            settings = _infotext(text.value)
            if found or settings:
                version = _name(found.get("version")) or settings.get("Version", "")
                model = _name(found.get("base_model")) or settings.get("Model", "")
                prompt = _chars(found.get("prompt")) or _infotext_prompt(text.value)
                return Trace(text, "Fooocus", version, model, prompt_chars=prompt)
    candidates = [evidence.png("parameters"), evidence.png("Comment"), *evidence.comments]
    for place in filter(None, candidates):
        found = evidence.json(place)
        version = _name(found.get("version") or found.get("software"))
        legacy = {"base_model_name", "refiner_model_name", "prompt"} <= found.keys()
        if legacy or re.match(r"(Ruined)?Fooocus\b", version):
            model = _name(found.get("base_model") or found.get("base_model_name"))
            prompt = max(_chars(found.get("prompt")), _chars(found.get("Prompt")))
            return Trace(place, "Fooocus", version, model, prompt_chars=prompt)
        settings = _infotext(place.value)
        if settings.get("Version", "").startswith("Fooocus"):
            prompt = _infotext_prompt(place.value)
            version, model = settings["Version"], settings.get("Model", "")
            return Trace(place, "Fooocus", version, model, prompt_chars=prompt)
    return None


# SwarmUI, Easy Diffusion, Draw Things, mflux, the reference code of FLUX


def _swarmui(evidence: Evidence) -> Trace | None:
    places = [evidence.png("parameters"), *evidence.comments, evidence.exif("Model")]
    for text in filter(None, places):
        found = evidence.json(text).get("sui_image_params")
        if isinstance(found, dict):
            mode = "text_to_image"
            if "maskimage" in found:
                mode = "inpaint"
            elif "initimage" in found or "initimagecreativity" in found:
                mode = "image_to_image"
            version, model = _name(found.get("swarm_version")), _name(found.get("model"))
            return Trace(text, "SwarmUI", version, model, mode, _chars(found.get("prompt")))
    return None


_EASY_KEYS = (
    ("prompt", "negative_prompt", "use_stable_diffusion_model", "num_inference_steps"),
    ("Prompt", "Negative Prompt", "Stable Diffusion model", "Steps"),
)


def _easy_diffusion(evidence: Evidence) -> Trace | None:
    for prompt, negative, model, steps in _EASY_KEYS:
        text = evidence.png(negative)
        stored = evidence.png(model)
        if text and stored and evidence.png(steps):
            chars = len(found.value) if (found := evidence.png(prompt)) else 0
            return Trace(text, "Easy Diffusion", model=stored.value, prompt_chars=chars)
        for comment in evidence.comments:
            fields = evidence.json(comment)
            if {prompt, model, steps} <= fields.keys():
                chars = _chars(fields[prompt])
                return Trace(
                    comment, "Easy Diffusion", model=_name(fields[model]), prompt_chars=chars
                )
    return None


def _draw_things(evidence: Evidence) -> Trace | None:
    text = evidence.xmp("UserComment")
    found = evidence.json(text)
    if text and isinstance(found.get("c"), str) and isinstance(found.get("uc"), str):
        tool = evidence.xmp("CreatorTool")
        if (tool and tool.value == "Draw Things") or {"sampler", "seed", "steps"} <= found.keys():
            model = _name(found.get("model"))
            return Trace(text, "Draw Things", model=model, prompt_chars=len(found["c"]))
    return None


def _mflux(evidence: Evidence) -> Trace | None:
    for text in evidence.comments:
        found = evidence.json(text)
        if version := _name(found.get("mflux_version")):
            mode = "text_to_image"
            if found.get("masked_image_path"):
                mode = "inpaint"
            elif found.get("image_path") or found.get("image_paths"):
                mode = "image_to_image"
            prompt = _chars(found.get("prompt"))
            return Trace(text, "mflux", version, _name(found.get("model")), mode, prompt)
    return None


_FLUX_SOFTWARE = re.compile(r"AI generated;([a-z0-9]{2,20});flux(;[\w-]{1,40})?")
_FLUX_MODES = {"txt2img": "text_to_image", "img2img": "image_to_image"}


def _flux(evidence: Evidence) -> Trace | None:
    text = evidence.exif("Software")
    found = _FLUX_SOFTWARE.fullmatch(text.value) if text else None
    if text is None or found is None:
        return None
    model, prompt = evidence.exif("Model"), evidence.exif("ImageDescription")
    return Trace(
        text,
        "FLUX reference code",
        model=model.value if model else "",
        mode="edit" if found[2] else _FLUX_MODES.get(found[1], ""),
        prompt_chars=len(prompt.value) if prompt else 0,
    )


TOOLS: tuple[Family, ...] = (
    Family("trace.a1111", _a1111),
    Family("trace.comfyui", _comfyui),
    Family("trace.invokeai", _invokeai),
    Family("trace.fooocus", _fooocus),
    Family("trace.swarmui", _swarmui),
    Family("trace.easydiffusion", _easy_diffusion),
    Family("trace.drawthings", _draw_things),
    Family("trace.mflux", _mflux),
    Family("trace.flux", _flux),
)
