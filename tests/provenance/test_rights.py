"""Reservations of rights: read from XMP and from credentials, for what they say and no more."""

import io
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterproof.findings import Basis, Claim, Finding
from counterproof.images import ImageFile
from counterproof.provenance import soft_bindings
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.provenance.rights import PLUS, TDM
from counterproof.settings import Settings
from counterproof.text import catalogue

_CARRIERS = runpy.run_path(str(Path(__file__).with_name("carriers.py")))
picture: Callable[..., ImageFile] = _CARRIERS["picture"]
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
NAMESPACES = f'xmlns:p="{PLUS}" xmlns:t="{TDM}" xmlns:h="http://www.w3.org/ns/tdmrep#"'


def look(image: ImageFile) -> list[Finding]:
    analyzer = ANALYZERS["rights"](Settings(home=Path("unused")))
    findings = [item for item in analyzer.analyze(image) if isinstance(item, Finding)]
    for finding in findings:
        for language in ("en", "zh"):
            assert catalogue(language).sentence(finding)
    return findings


def packet(inner: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        f'22-rdf-syntax-ns#"><rdf:Description rdf:about="" {NAMESPACES}>{inner}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def codes(inner: str, form: str = "jpeg") -> list[tuple[str, Claim]]:
    findings = look(picture(form, xmp=packet(inner)))
    assert all(finding.basis is Basis.DECLARED for finding in findings)
    return [(finding.code, finding.claim) for finding in findings]


PROHIBITED = {
    "DMI-PROHIBITED": "all",
    "DMI-PROHIBITED-AIMLTRAINING": "model_training",
    "DMI-PROHIBITED-GENAIMLTRAINING": "generative_training",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": "all_but_search",
    "DMI-PROHIBITED-SEECONSTRAINT": "see_constraint",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": "see_embedded",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR": "see_linked",
}
RESERVED = ("rights.data_mining", Claim.RESERVED)
ALLOWED = ("rights.data_mining.allowed", Claim.NONE)
UNKNOWN = ("rights.data_mining.unknown", Claim.NONE)


@pytest.mark.parametrize("value", PROHIBITED)
def test_the_seven_reservations(value: str) -> None:
    inner = f"<p:DataMining>{VOCABULARY}{value}</p:DataMining>"
    (finding,) = look(picture("png", xmp=packet(inner)))
    assert (finding.code, finding.claim) == RESERVED
    assert finding.details["scope"] == PROHIBITED[value]
    for language in ("en", "zh"):
        words = catalogue(language)
        assert words.ui(f"scope.{PROHIBITED[value]}") in words.sentence(finding)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "gif", "tiff", "avif"])
def test_every_carrier(form: str) -> None:
    inner = f"<p:DataMining>{VOCABULARY}DMI-PROHIBITED</p:DataMining>"
    assert codes(inner, form) == [RESERVED]


@pytest.mark.parametrize(
    "value",
    [
        "DMI-PROHIBITED",
        "dmi-prohibited",
        "plus:DMI-PROHIBITED",
        f" {VOCABULARY}DMI-PROHIBITED ",
        "https://ns.useplus.org/LDF/vocab/DMI-PROHIBITED",
    ],
)
def test_other_spellings_of_a_value(value: str) -> None:
    assert codes(f"<p:DataMining>{value}</p:DataMining>") == [RESERVED]


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        (f"<p:DataMining>{VOCABULARY}DMI-ALLOWED</p:DataMining>", [ALLOWED]),
        (f"<p:DataMining>{VOCABULARY}DMI-UNSPECIFIED</p:DataMining>", []),
        ("<p:DataMining></p:DataMining>", []),
        ("<p:DataMining>no AI please</p:DataMining>", [UNKNOWN]),
        ("<p:DataMining>http://example.org/DMI-PROHIBITED</p:DataMining>", [UNKNOWN]),
        (f'<p:DataMining rdf:resource="{VOCABULARY}DMI-ALLOWED"/>', [ALLOWED]),
        ("<t:DataMining>DMI-PROHIBITED</t:DataMining>", []),
        ("<t:reservation>1</t:reservation>", [("rights.tdm", Claim.RESERVED)]),
        ("<h:reservation>1</h:reservation>", [("rights.tdm", Claim.RESERVED)]),
        ("<t:reservation>0</t:reservation>", [("rights.tdm.allowed", Claim.NONE)]),
        ("<t:reservation>yes</t:reservation>", []),
        ("<t:policy>https://example.org/p</t:policy>", []),
        ("<p:reservation>1</p:reservation>", []),
    ],
)
def test_values(inner: str, found: list[tuple[str, Claim]]) -> None:
    assert codes(inner) == found


def test_the_most_reserving_value_counts() -> None:
    inner = (
        "<p:DataMining><rdf:Bag><rdf:li>DMI-ALLOWED</rdf:li><rdf:li>DMI-PROHIBITED</rdf:li>"
        "</rdf:Bag></p:DataMining><t:reservation>1</t:reservation>"
        "<t:policy>https://example.org/p</t:policy>"
    )
    mining, tdm = look(picture("jpeg", xmp=packet(inner)))
    assert mining.claim is Claim.RESERVED
    assert tdm.details["policy"] == "https://example.org/p"


def test_a_picture_without_reserves_nothing() -> None:
    assert look(picture("jpeg")) == []
    assert codes("<p:OtherConstraints>by contract</p:OtherConstraints>") == []


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=100)
def test_no_packet_is_a_crash(text: str) -> None:
    body = f"<p:DataMining>{text}</p:DataMining>".encode("utf-8", "replace")
    look(picture("jpeg", xmp=packet("").replace(b"</rdf:Description>", body)))


MINING = "cawg.training-mining"


def entries(*uses: str) -> list[dict[str, Any]]:
    named = {f"cawg.use{at}": {"use": use} for at, use in enumerate(uses)}
    return [{"label": MINING, "data": {"entries": named}}]


def signed_rights(home: Path, data: bytes) -> list[Finding]:
    found = ANALYZERS["rights"](Settings(home=home)).analyze(ImageFile.open(data))
    return [item for item in found if isinstance(item, Finding)]


def test_a_verified_credential_reserves_cryptographically(
    signing: Any, authority: Any, other: Any
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (160, 120), "teal").save(picture, "JPEG")
    data, _ = signing.sign(authority, picture.getvalue(), assertions=entries("notAllowed"))
    (finding,) = signed_rights(signing.home(authority), data)
    assert (finding.code, finding.claim) == ("rights.training_mining", Claim.RESERVED)
    assert finding.basis is Basis.CRYPTOGRAPHIC
    assert finding.details["credential"] == "verified"
    assert finding.details["holds_until"]
    (finding,) = signed_rights(signing.home(other), data)
    assert (finding.basis, finding.details["credential"]) == (Basis.DECLARED, "intact")
    for changed in (
        data.replace(b"notAllowed", b"notAllowee"),
        data.replace(b"jnotAllowed", b"gallowed"),
        data[:-200] + bytes(200),
    ):
        assert changed != data
        assert signed_rights(signing.home(authority), changed) == []


@pytest.mark.parametrize(
    ("uses", "found"),
    [
        (("allowed", "allowed"), "rights.training_mining.allowed"),
        (("allowed", "constrained"), "rights.training_mining"),
        (("maybe",), None),
        ((), None),
    ],
)
def test_uses(signing: Any, authority: Any, uses: tuple[str, ...], found: str | None) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (160, 120), "teal").save(picture, "JPEG")
    options = {"assertions": entries(*uses), "strict": False}
    data, _ = signing.sign(authority, picture.getvalue(), **options)
    codes = [finding.code for finding in signed_rights(signing.home(authority), data)]
    assert codes == ([found] if found else [])


def test_samples(test_data: Path) -> None:
    """Nine files of ours reserve, and of other makers' credentials four do and one allows."""
    folder = test_data / "traces" / "gb45438"
    names = sorted(
        path.name for path in folder.iterdir() if path.name[1] == "_" or "signed" in path.name
    )
    for name in names:
        found = {finding.code for finding in look(ImageFile.open(folder / name))}
        assert "rights.data_mining" in found, name
        assert ("rights.training_mining" in found) == name.startswith("signed"), name
    assert len(names) == 10
    entries: dict[str, list[str]] = {
        "generated/softbinding.jpg": ["ai_generative_training"],
        "encypher/x509-es256-bestpractice-jpeg.jpg": ["ai_generative_training"],
        "c2pa-rs/C_with_CAWG_data.jpg": ["ai_inference", "ai_generative_training"],
        "c2pa-rs-cawg/adobe_connected_identities.jpg": [],
    }
    for name, reserved in entries.items():
        (finding,) = look(ImageFile.open(test_data / "c2pa" / name))
        assert finding.details["reserved"] == reserved
        assert finding.claim is (Claim.RESERVED if reserved else Claim.NONE)
        assert finding.basis is Basis.DECLARED  # their signers are on no list


def test_no_photograph_reserves_by_accident(test_data: Path) -> None:
    for path in sorted((test_data / "photos").rglob("*")):
        if path.is_file() and path.suffix != ".csv":
            assert look(ImageFile.open(path)) == [], path.name


def test_soft_bindings_by_name(test_data: Path) -> None:
    analyzer = ANALYZERS["c2pa"](Settings(home=Path("unused")))
    expected = {
        "generated/softbinding.jpg": ["TrustMark P (Adobe)"],
        "real-outputs/example_wm_signed.jpg": ["TrustMark Q (Adobe)"],
        "c2pa-rs-cawg/adobe_connected_identities.jpg": [
            "TrustMark P (Adobe)",
            "Image Comparator Network (Adobe)",
        ],
        "real-outputs/firefly-1.png": None,
    }
    for name, names in expected.items():
        image = ImageFile.open(test_data / "c2pa" / name)
        found: list[Any] = [
            item.details["names"]
            for item in analyzer.analyze(image)
            if isinstance(item, Finding) and item.code == "c2pa.soft_binding.unread"
        ]
        assert found == ([names] if names else []), name


@pytest.mark.parametrize(
    ("details", "names"),
    [
        ({}, None),
        ({"soft_bindings": [{"alg": "counterproof.chip384.1"}]}, None),
        ({"soft_bindings": [{"alg": "com.example.unregistered"}]}, ["com.example.unregistered"]),
        ({"soft_bindings": [{"alg": ""}]}, ["unnamed"]),
        (
            {"actions": [{"description": "Applied imperceptible SynthID watermark."}]},
            ["SynthID"],
        ),
        ({"actions": [{"action": "c2pa.edited"}]}, None),
    ],
)
def test_which_marks_are_unread(details: dict[str, Any], names: list[str] | None) -> None:
    bindings = soft_bindings.describe_bindings(details.get("soft_bindings", []))
    found = soft_bindings.unread({**details, "soft_bindings": bindings})
    assert (found["names"] if found else None) == names


def test_the_list_names_each_algorithm() -> None:
    for alg, entry in soft_bindings.registered().items():
        assert entry.keys() == {"name", "type"}, alg
        assert entry["type"] in ("watermark", "fingerprint"), alg
