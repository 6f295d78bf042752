"""Labels in every carrier; what each claims; what a defective one still says."""

import json
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from counterproof.audit.verdict import decide
from counterproof.containers import walk
from counterproof.errors import ImageError
from counterproof.findings import Basis, Claim, Finding, Status
from counterproof.images import ImageFile
from counterproof.provenance.analyzers import ANALYZERS
from counterproof.provenance.iptc import CODES, read_source_type
from counterproof.settings import Settings
from counterproof.text import catalogue

_CARRIERS = runpy.run_path(str(Path(__file__).with_name("carriers.py")))
picture: Callable[..., ImageFile] = _CARRIERS["picture"]
packet: Callable[..., bytes] = _CARRIERS["packet"]

GOOD = {
    "Label": "1",
    "ContentProducer": "001191110102MACQD9K64010000",
    "ProduceID": "01JDEMO0000000000000000001",
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}
BARE = json.dumps(GOOD)
WRAPPED = json.dumps({"AIGC": GOOD})
BASE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


FORMATS = ("jpeg", "png", "webp", "gif", "tiff", "avif")


def look(image: ImageFile) -> list[Finding]:
    analyzer = ANALYZERS["labels"](Settings(home=Path("unused")))
    found = list(analyzer.analyze(image))
    assert all(isinstance(item, Finding) for item in found)
    findings = [item for item in found if isinstance(item, Finding)]
    json.dumps([finding.to_json() for finding in findings])
    assert all(finding.basis is Basis.DECLARED for finding in findings)
    return findings


def codes(image: ImageFile) -> list[str]:
    return [finding.code for finding in look(image)]


# IPTC digital source type


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("attributes", [False, True])
def test_source_type_in_every_format(form: str, attributes: bool) -> None:
    xmp = packet({"ext:DigitalSourceType": BASE + "trainedAlgorithmicMedia"}, attributes=attributes)
    (finding,) = look(picture(form, xmp=xmp))
    assert finding.code == "label.iptc.source_type"
    assert finding.claim is Claim.SYNTHETIC
    assert finding.details["source_type"] == "trainedAlgorithmicMedia"
    assert "malformed" not in finding.details
    assert finding.details["where"][0]["kind"] == "xmp"


CLAIMS = {
    "trainedAlgorithmicMedia": Claim.SYNTHETIC,
    "compositeWithTrainedAlgorithmicMedia": Claim.MODEL_EDITED,
    "compositeSynthetic": Claim.MODEL_EDITED,
    "digitalCapture": Claim.CAPTURED,
    "computationalCapture": Claim.CAPTURED,
}


@pytest.mark.parametrize("code", CODES)
def test_claims_follow_the_contract(code: str) -> None:
    (finding,) = look(picture(xmp=packet({"ext:DigitalSourceType": BASE + code})))
    assert finding.claim is CLAIMS.get(code, Claim.NONE)
    for language in ("en", "zh"):
        said = catalogue(language).ui(f"source_type.{code}")
        assert said in catalogue(language).sentence(finding)


@pytest.mark.parametrize(
    ("value", "malformed"),
    [
        (BASE + "digitalCapture", ()),
        (BASE.replace("http:", "https:") + "digitalCapture", ()),
        (f"  {BASE}digitalCapture\n", ()),
        (BASE + "digitalCapture/", ("trailing",)),
        (BASE + "DigitalCapture", ("case",)),
        ("digitalCapture", ("bare_code",)),
        ("digsrctype:digitalCapture", ("qcode",)),
        (BASE.removeprefix("http://") + "digitalCapture", ("no_scheme",)),
    ],
)
def test_spellings(value: str, malformed: tuple[str, ...]) -> None:
    found = read_source_type(value)
    assert (found.code, found.claim, found.malformed) == (
        "digitalCapture",
        Claim.CAPTURED,
        malformed,
    )


@pytest.mark.parametrize(
    "value",
    ["", "x" * 1_000_000, BASE, BASE + "trainedAlgorithmicMediaX", "not trainedAlgorithmicMedia"],
)
def test_values_outside_the_vocabulary_claim_nothing(value: str) -> None:
    found = read_source_type(value)
    assert (found.code, found.claim) == ("", Claim.NONE)
    assert "unknown_code" in found.malformed


def test_only_the_property_of_the_picture_counts() -> None:
    """A source type of a depicted artwork or an ingredient says nothing of the picture."""
    value = BASE + "trainedAlgorithmicMedia"
    xmp = packet({"ext:ArtworkOrObject": ""}).replace(
        b"<ext:ArtworkOrObject></ext:ArtworkOrObject>",
        b'<ext:ArtworkOrObject><rdf:Bag><rdf:li rdf:parseType="Resource"><ext:DigitalSourceType>'
        + value.encode()
        + b"</ext:DigitalSourceType></rdf:li></rdf:Bag></ext:ArtworkOrObject>",
    )
    assert look(picture(xmp=xmp)) == []


def test_the_same_name_in_another_namespace_is_no_label() -> None:
    xmp = packet({"shop:DigitalSourceType": BASE + "trainedAlgorithmicMedia", "shop:AIGC": BARE})
    assert look(picture(xmp=xmp)) == []


# IPTC 2025.1


def test_ai_fields_beside_a_source_type_add_no_claim() -> None:
    xmp = packet(
        {
            "ext:DigitalSourceType": BASE + "trainedAlgorithmicMedia",
            "ext:AISystemUsed": "DemoGen",
            "ext:AISystemVersionUsed": "1.2",
            "ext:AIPromptInformation": "a red cube",
            "ext:AIPromptWriterName": "Ann Example",
        }
    )
    source, fields = look(picture("jpeg", xmp=xmp))
    assert source.claim is Claim.SYNTHETIC
    assert (fields.code, fields.claim) == ("label.iptc.ai_fields", Claim.NONE)
    assert fields.details["system"] == "DemoGen"
    assert fields.details["has_prompt"] is True
    assert fields.details["prompt_chars"] == 10
    assert fields.details["names_prompt_writer"] is True
    assert "Ann" not in json.dumps(fields.to_json())
    assert "red cube" not in json.dumps(fields.to_json())
    assert "DemoGen" in catalogue("en").sentence(fields)


@pytest.mark.parametrize("other", [{}, {"ext:DigitalSourceType": BASE + "digitalCapture"}])
def test_ai_fields_alone_leave_it_open(other: dict[str, str]) -> None:
    findings = look(picture(xmp=packet({**other, "ext:AISystemUsed": "DemoGen"})))
    assert findings[-1].code == "label.iptc.ai_fields.possible"
    assert findings[-1].is_weak
    assert decide(findings).status is Status.INCONCLUSIVE


def test_empty_ai_fields_say_nothing() -> None:
    assert look(picture(xmp=packet({"ext:AISystemUsed": "", "ext:AIPromptWriterName": " "}))) == []


# GB 45438


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("attributes", [False, True])
def test_aigc_in_xmp_of_every_format(form: str, attributes: bool) -> None:
    (finding,) = look(picture(form, xmp=packet({"gb:AIGC": BARE}, attributes=attributes)))
    assert (finding.code, finding.claim) == ("label.aigc.declared", Claim.SYNTHETIC)
    (label,) = finding.details["labels"]
    assert label["provider_code"]["check_digit"] is True
    assert label["where"]["kind"] == "xmp"


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize(
    "raw",
    [
        b"ASCII\0\0\0" + WRAPPED.encode(),
        b"UNICODE\0" + WRAPPED.encode("utf-16-be"),
        b"UNICODE\0" + WRAPPED.encode("utf-16-le"),
        b"\0" * 8 + BARE.encode(),
        WRAPPED.encode(),
    ],
)
def test_aigc_in_user_comment(form: str, raw: bytes) -> None:
    (finding,) = look(picture(form, exif={"UserComment": raw}))
    assert finding.code == "label.aigc.declared"
    assert finding.details["labels"][0]["where"]["key"] == "UserComment"


@pytest.mark.parametrize("text", [BARE, WRAPPED])
def test_aigc_in_png_text(text: str) -> None:
    assert codes(picture(texts={"AIGC": text})) == ["label.aigc.declared"]


@pytest.mark.parametrize("form", ["jpeg", "gif"])
def test_aigc_in_a_comment(form: str) -> None:
    assert codes(picture(form, comment=WRAPPED)) == ["label.aigc.declared"]


def test_aigc_as_a_structure_is_read_and_called_defective() -> None:
    inner = "".join(f"<gb:{name}>{value}</gb:{name}>" for name, value in GOOD.items())
    xmp = packet({"gb:AIGC": "@"}).replace(
        b"<gb:AIGC>@", f'<gb:AIGC rdf:parseType="Resource">{inner}'.encode()
    )
    (finding,) = look(picture(xmp=xmp))
    assert (finding.code, finding.claim) == ("label.aigc.invalid", Claim.SYNTHETIC)
    assert finding.details["reason"] == "not_json"


@pytest.mark.parametrize(
    ("value", "code", "status"),
    [
        ("1", "label.aigc.declared", Status.SYNTHETIC_DECLARED),
        ("2", "label.aigc.possible", Status.INCONCLUSIVE),
        ("3", "label.aigc.suspected", Status.INCONCLUSIVE),
    ],
)
def test_values_of_the_label(value: str, code: str, status: Status) -> None:
    findings = look(picture(texts={"AIGC": json.dumps({**GOOD, "Label": value})}))
    assert [finding.code for finding in findings] == [code]
    assert decide(findings).status is status


def test_a_defective_label_that_says_1_is_still_an_admission() -> None:
    findings = look(picture(texts={"AIGC": json.dumps({**GOOD, "Evil": "x", "Label": 1})}))
    assert [finding.code for finding in findings] == ["label.aigc.invalid"]
    assert findings[0].details["reasons"] == ["label_type", "unknown_key"]
    assert decide(findings).status is Status.SYNTHETIC_DECLARED


@pytest.mark.parametrize("value", ['{"Label":"1",', json.dumps({**GOOD, "Label": "AIGC"}), "yes"])
def test_a_label_whose_value_cannot_be_read_is_inconclusive(value: str) -> None:
    findings = look(picture(texts={"AIGC": value}))
    assert [f.code for f in findings] == ["label.aigc.invalid", "label.aigc.unparsed"]
    assert findings[0].claim is Claim.NONE
    assert decide(findings).status is Status.INCONCLUSIVE


def test_a_defective_label_that_says_2_stays_weak() -> None:
    findings = look(picture(texts={"AIGC": json.dumps({**GOOD, "Label": "2", "Evil": "x"})}))
    assert [f.code for f in findings] == ["label.aigc.invalid", "label.aigc.possible"]
    assert decide(findings).status is Status.INCONCLUSIVE


def test_more_than_one_carrier() -> None:
    xmp = packet({"gb:AIGC": BARE})
    same = look(picture(xmp=xmp, texts={"AIGC": WRAPPED}))
    assert [(f.code, f.details["reason"]) for f in same] == [
        ("label.aigc.invalid", "several_carriers")
    ]
    other = json.dumps({**GOOD, "Label": "2"})
    split = look(picture(xmp=xmp, texts={"AIGC": other}))
    assert [f.code for f in split] == ["label.aigc.invalid", "label.aigc.possible"]
    assert split[0].details["reasons"] == ["carriers_disagree", "several_carriers"]
    assert split[0].claim is Claim.SYNTHETIC


@pytest.mark.parametrize(
    "text",
    ["", "AIGC", '{"note": "AIGC and Label"}', '{"x": 1}', "AIGC: " + WRAPPED, "{" * 10_000],
)
def test_texts_that_are_no_label(text: str) -> None:
    assert look(picture(texts={"Comment": text or " "}, exif={"ImageDescription": text})) == []


def test_every_reason_has_words() -> None:
    reasons = (
        *("too_long", "not_json", "not_object", "duplicate_key", "unknown_key", "missing_key"),
        *("empty_value", "value_type", "label_type", "label_value", "charset_space", "charset"),
        *("several_carriers", "carriers_disagree"),
    )
    finding = look(picture(texts={"AIGC": json.dumps({**GOOD, "Evil": "x"})}))[0]
    for language in ("en", "zh"):
        words = catalogue(language)
        assert all(words.ui(f"reason.{reason}") for reason in reasons)
        assert words.ui("reason.unknown_key") in words.sentence(finding)


# Hostile and honest files


@pytest.mark.parametrize("size", [1, 5 * 2**20])
def test_huge_texts_are_bounded(size: int) -> None:
    image = picture(texts={"AIGC": "{" + "[" * size, "Comment": '{"AIGC":' * (size // 8)})
    walked = walk(image.data)
    assert walked.format == "png"
    start = time.process_time()
    look(image)
    assert time.process_time() - start < 1.0


def test_a_thousand_labels_are_listed_briefly() -> None:
    inside = "".join(
        f"<ext:DigitalSourceType>odd{at}</ext:DigitalSourceType><gb:AIGC>{{{at}}}</gb:AIGC>"
        for at in range(1_000)
    )
    xmp = packet({"gb:AIGC": "@"}).replace(b"<gb:AIGC>@</gb:AIGC>", inside.encode())
    findings = look(picture(xmp=xmp))
    assert len(findings) == 10
    assert len(json.dumps([finding.to_json() for finding in findings])) < 20_000
    odd = json.dumps({f"key{at}": "x" for at in range(3_000)})
    findings = look(picture(texts={"AIGC": odd}))
    assert len(json.dumps([finding.to_json() for finding in findings])) < 20_000


def pictures(folder: Path) -> Iterator[ImageFile]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".csv", ".md", ".txt", ".sha256"):
            try:
                yield ImageFile.open(path)
            except ImageError:
                continue


def test_no_photograph_has_a_label(test_data: Path) -> None:
    """None of the original camera and web photographs carries one: none is made up."""
    found = {image.name: codes(image) for image in pictures(test_data / "photos")}
    assert len(found) > 50
    assert not {name: labels for name, labels in found.items() if labels}


def test_hostile_files_are_bounded(test_data: Path) -> None:
    count = 0
    for image in pictures(test_data / "hostile"):
        _ = image.metadata
        start = time.process_time()
        look(image)
        assert time.process_time() - start < 1.0, image.name
        count += 1
    assert count > 300


EXPECTED = {
    "bad_charset_chinese.png": ("charset", Claim.SYNTHETIC),
    "bad_charset_space.png": ("charset_space", Claim.SYNTHETIC),
    "bad_disagree.png": ("carriers_disagree", Claim.SYNTHETIC),
    "bad_json.png": ("not_json", Claim.NONE),
    "bad_label_enum.png": ("label_value", Claim.NONE),
    "bad_label_number.png": ("label_type", Claim.SYNTHETIC),
    "bad_missing_produceid.png": ("missing_key", Claim.SYNTHETIC),
    "bad_unknown_key.png": ("unknown_key", Claim.SYNTHETIC),
}


def test_made_labels_good_and_bad(test_data: Path) -> None:
    folder = test_data / "traces" / "gb45438"
    good = [*folder.glob("ok_*"), *folder.glob("[abcfg]_*"), *folder.glob("signed_*")]
    assert len(good) == 17
    for path in good:
        found = codes(ImageFile.open(path))
        assert "label.aigc.declared" in found, path.name
        assert "label.aigc.invalid" not in found, path.name
    for name, (reason, claim) in EXPECTED.items():
        finding = next(f for f in look(ImageFile.open(folder / name)) if "aigc" in f.code)
        assert finding.code == "label.aigc.invalid", name
        assert (finding.details["reason"], finding.claim) == (reason, claim), name
    assert {path.name for path in folder.glob("bad_*")} == {*EXPECTED, "bad_dst_bare_code.png"}


@pytest.mark.parametrize("name", ["bad_dst_bare_code.png", "g_exiftool.jpg"])
def test_a_bare_source_type_is_read_and_noted(test_data: Path, name: str) -> None:
    finding = look(ImageFile.open(test_data / "traces" / "gb45438" / name))[0]
    assert finding.code == "label.iptc.source_type"
    assert finding.claim is Claim.SYNTHETIC
    assert finding.details["malformed"] == ["bare_code"]


def test_a_vendors_label(test_data: Path) -> None:
    path = test_data / "traces" / "vendor" / "doubao_black_1x1_1.png"
    (finding,) = look(ImageFile.open(path))
    assert finding.code == "label.aigc.declared"
    (label,) = finding.details["labels"]
    assert label["producer"] == "001191110102MACQD9K64010000"
    assert label["provider_code"]["check_digit"] is True
