"""What generators write beside a picture, made up, and what the analyzer says of it."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

from counterproof.findings import Basis, Finding
from counterproof.images import ImageFile
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.settings import Settings
from counterproof.text import catalogue

_CARRIERS = runpy.run_path(str(Path(__file__).with_name("carriers.py")))
picture: Callable[..., ImageFile] = _CARRIERS["picture"]
packet: Callable[..., bytes] = _CARRIERS["packet"]
samsung_trailer: Callable[[dict[str, str]], bytes] = _CARRIERS["samsung_trailer"]
PROMPT = "a duck on a pond"
UUID = "00800156-b880-4786-9056-7ca3da449d8c"
INFOTEXT = (
    f"{PROMPT}\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, "
    "Seed: 1, Size: 512x512, Model hash: abc, Model: demo_v1"
)


def look(image: ImageFile) -> list[Finding]:
    analyzer = ANALYZERS["traces"](Settings(home=Path("unused")))
    findings = [item for item in analyzer.analyze(image) if isinstance(item, Finding)]
    text = json.dumps([finding.to_json() for finding in findings])
    assert PROMPT not in text  # a prompt can be personal: only its length is told
    for finding in findings:
        assert finding.basis is Basis.DECLARED
        assert {"kind", "key", "offset"} == finding.details["where"].keys()
        for language in ("en", "zh"):
            assert catalogue(language).sentence(finding)
    return findings


def only(image: ImageFile) -> Finding:
    (finding,) = look(image)
    return finding


def graph(*kinds: str) -> str:
    nodes = {
        str(at): {"class_type": kind, "inputs": {"ckpt_name": "demo.safetensors", "text": PROMPT}}
        for at, kind in enumerate(kinds)
    }
    return json.dumps(nodes)


def workflow(*kinds: str) -> str:
    nodes = [{"id": at, "type": kind} for at, kind in enumerate(kinds)]
    return json.dumps({"nodes": nodes, "links": [], "version": 0.4})


NOVEL = {"Software": "NovelAI", "Source": "Stable Diffusion 1D44365E", "Description": PROMPT}
