"""A reservation of rights of any source stays in the marked picture, as a scan reads it."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from counterproof.errors import UserError
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.keys import find_identity
from counterproof.provenance.mark import MarkedImage, mark
from counterproof.provenance.rights import PLUS, TDM, RightsAnalyzer, reserved_properties
from counterproof.provenance.sign import actions_of, sign
from counterproof.settings import Settings

PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalArt"
CREATED = actions_of([{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    keys.init_identity(home, "Example Press")
    return Settings(home=home)


def picture(fmt: str = "PNG", *properties: str, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:200, 0:320]
    base = 127 + 70 * np.sin(x / 17 + seed) + 40 * np.cos(y / 11)
    pixels = (base[..., None] + rng.normal(0, 8, (200, 320, 3))).clip(0, 255).astype(np.uint8)
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:tdm="{TDM}" xmlns:plus="{PLUS}" {" ".join(properties)}/></rdf:RDF></x:xmpmeta>'
    )
    out = io.BytesIO()
    options: dict[str, Any] = {"xmp": packet.encode()} if properties else {}
    if fmt == "PNG" and properties:
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet)
    Image.fromarray(pixels).save(out, fmt, **options)
    return out.getvalue()


def signed(entries: dict[str, dict[str, str]], settings: Settings, label: str = "cawg") -> bytes:
    assertion = {"label": f"{label}.training-mining", "data": {"entries": entries}}
    assertions = [CREATED, assertion]
    return sign(picture(), "image/png", find_identity(settings), assertions, name="a.png").data


def reserved(made: MarkedImage, settings: Settings) -> dict[str, dict[str, Any]]:
    found = RightsAnalyzer(settings).analyze(ImageFile.open(made.data))
    return {
        item.code: item.details
        for item in found
        if isinstance(item, Finding) and item.claim is Claim.RESERVED
    }


TDM_ONE = ('tdm:reservation="1"', 'tdm:policy="https://example.org/terms"')


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_what_the_file_itself_says_stays(fmt: str, settings: Settings) -> None:
    source = picture(fmt, *TDM_ONE, f'plus:DataMining="{PROHIBITED}"')
    made = mark(source, "model-edited", settings=settings)
    assert made.layers["watermark"].state == "applied"
    found = reserved(made, settings)
    assert found["rights.tdm"]["policy"] == "https://example.org/terms"
    assert found["rights.data_mining"]["value"] == "DMI-PROHIBITED"
    assert made.reserved == ("rights.data_mining", "rights.tdm")


def test_the_word_of_an_old_credential_is_signed_anew(settings: Settings) -> None:
    entries = {
        "c2pa.ai_training": {"use": "notAllowed"},
        "c2pa.data_mining": {"use": "constrained", "constraint_info": "ask first"},
        "c2pa.ai_inference": {"use": "allowed"},
    }
    made = mark(signed(entries, settings, "c2pa"), "model-edited", settings=settings)
    details = reserved(made, settings)["rights.training_mining"]
    assert details["entries"] == {
        "cawg.ai_training": "notAllowed",
        "cawg.data_mining": "constrained",
    }
    assert made.reserved == ("rights.training_mining",)
    again = mark(made.data, "model-edited", settings=settings)
    assert reserved(again, settings)["rights.training_mining"]["entries"] == details["entries"]
    assert b"ask first" in again.data


def test_what_a_parent_or_a_component_reserves_is_carried(settings: Settings) -> None:
    parent = picture("PNG", *TDM_ONE, seed=1)
    made = mark(picture(), "model-edited", settings=settings, parent=parent)
    assert reserved(made, settings)["rights.tdm"]["policy"] == "https://example.org/terms"
    part = picture(
        "JPEG",
        'plus:DataMining="DMI-PROHIBITED-SEECONSTRAINT"',
        'plus:OtherConstraints="no models"',
        seed=2,
    )
    made = mark(picture(), "model-composite", settings=settings, components=[part])
    assert reserved_properties(ImageFile.open(made.data)) == {
        (PLUS, "DataMining"): f"{PROHIBITED}-SEECONSTRAINT",
        (PLUS, "OtherConstraints"): "no models",
    }


def test_where_xmp_cannot_be_written_the_credential_says_it(settings: Settings) -> None:
    parent = picture("PNG", *TDM_ONE, f'plus:DataMining="{PROHIBITED}-AIMLTRAINING"', seed=1)
    made = mark(picture(), "model-edited", settings=settings, parent=parent, labels=False)
    found = reserved(made, settings)
    assert list(found) == ["rights.training_mining"]
    assert found["rights.training_mining"]["entries"] == {
        "cawg.ai_training": "notAllowed",
        "cawg.ai_generative_training": "notAllowed",
        "cawg.data_mining": "constrained",
    }


def test_what_is_reserved_is_not_marked_as_allowed(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"rights\.tdm"):
        mark(picture("PNG", *TDM_ONE), "model-edited", settings=settings, training="allowed")
    made = mark(picture("PNG", *TDM_ONE), "model-edited", settings=settings, training="not-allowed")
    assert set(reserved(made, settings)) == {
        "rights.tdm",
        "rights.data_mining",
        "rights.training_mining",
    }


def test_nothing_is_reserved_that_no_source_reserves(settings: Settings) -> None:
    made = mark(picture("PNG", 'tdm:reservation="0"'), "model-edited", settings=settings)
    assert made.reserved == ()
    assert reserved(made, settings) == {}
