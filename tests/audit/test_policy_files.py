"""Every check that a file can answer has files that pass, that fail, and that leave it open.

The files are made here and examined as a scan does; `test_policy.py` asks the same checks of
records, where each outcome is easier to reach.
"""

import importlib.util
import io
import json
import runpy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterproof.analysis import Stage
from counterproof.audit.examine import ScanSpec, examine
from counterproof.audit.policy_answers import Context
from counterproof.audit.policy_checks import CHECKS
from counterproof.findings import Record
from counterproof.images import ImageFile
from counterproof.provenance.mark_options import MARKING
from counterproof.settings import Settings

HERE = Path(__file__).parent.parent / "provenance"
carriers = runpy.run_path(str(HERE / "carriers.py"))
signers = runpy.run_path(str(HERE / "conftest.py"))
packet: Callable[[dict[str, str]], bytes] = carriers["packet"]

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
IPTC = {"ext:DigitalSourceType": f"{TYPES}trainedAlgorithmicMedia"}
LABEL = {
    "Label": "1",
    "ContentProducer": "001191110102MACQD9K64010000",
    "ProduceID": "01JDEMO0000000000000000001",
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}
TRACE = {"parameters": "a hill\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: demo"}
MINING = "http://ns.useplus.org/ldf/vocab/"
NOTHING = Context()
GENERATED = Context("generated")
NO_OTHERS = Context("generated", {"marks_unreadable_here": False})
NOT_SHOWN = Context("", {"label_shown_beside": False, "label_drawn_elsewhere": False})
DRAWN = {"text": "AI生成", "box": {"x": 100, "y": 100, "w": 50, "h": 18}, "letter_px": 12}
STEP = {
    "action": "c2pa.created",
    "digitalSourceType": f"{TYPES}trainedAlgorithmicMedia",
    "softwareAgent": {"name": "Example Model", "version": "3"},
    "when": "2026-11-01T00:00:00Z",
}


def made(form: str = "png", **how: Any) -> bytes:
    return bytes(carriers["picture"](form, **how).data)


def label(**changes: Any) -> bytes:
    fields = {k: v for k, v in (LABEL | changes).items() if v is not None}
    return made(xmp=packet({"gb:AIGC": json.dumps(fields)}))


def reserved(word: str) -> bytes:
    inner = packet({"ex:UserComment": "x"}).decode()
    tag = (
        f'<p:DataMining xmlns:p="http://ns.useplus.org/ldf/xmp/1.0/">{MINING}{word}</p:DataMining>'
    )
    return made(xmp=inner.replace("</rdf:Description>", f"{tag}</rdf:Description>").encode())


def with_place() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 1.0, 2.0), 3: "E", 4: (11.0, 3.0, 4.0)})
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "grey").save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return signers["Signing"](tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="module")
def clock(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Start an authority for time stamps; None where certomancer is not installed."""
    if importlib.util.find_spec("certomancer") is None:
        yield None
        return
    pki = request.getfixturevalue("local_pki")
    with pki.clock() as url:
        yield SimpleNamespace(url=url.encode(), root=pki.certificate("root"))


@pytest.fixture(scope="module")
def sign(signing: Any) -> Callable[..., bytes]:
    authority = signers["Authority"]()

    def signed(*steps: dict[str, Any], drawn: dict[str, Any] | None = None, **how: Any) -> bytes:
        data = {"intent": "generated"} | ({"label": drawn} if drawn else {})
        assertions = [{"label": MARKING, "data": data}] if drawn else []
        return bytes(
            signing.sign(
                authority,
                how.pop("data", None) or signers["picture"](),
                list(steps) or [STEP],
                assertions=assertions,
                strict=False,
                **how,
            )[0]
        )

    return signed


Row = tuple[bytes | str, Context]
# check → files that pass, fail, leave it open; a word names a signed file of `signed_files`
ROWS: dict[str, tuple[Row, Row, Row]] = {
    "machine_readable_mark": (
        (made(xmp=packet(IPTC)), NOTHING),
        (made(texts=TRACE), NO_OTHERS),
        (made(), GENERATED),
    ),
    "signed_declaration": (
        ("intact", NOTHING),
        (made(xmp=packet(IPTC)), NOTHING),
        (made(), NOTHING),
    ),
    "marking_layers": (
        ("marked", NOTHING),
        (made(xmp=packet(IPTC)), NOTHING),
        ("intact", NOTHING),
    ),
    "disclosure_fields": (
        ("intact", NOTHING),
        (made(xmp=packet(IPTC)), NO_OTHERS),
        (made(xmp=packet(IPTC)), NOTHING),
    ),
    "aigc_present": ((label(), NOTHING), (made(xmp=packet(IPTC)), NOTHING), (made(), NOTHING)),
    "aigc_schema": ((label(), NOTHING), (label(ProduceID=None), NOTHING), ("damaged", NOTHING)),
    "aigc_value": (
        (label(), NOTHING),
        (label(Label="4"), NOTHING),
        (made(xmp=packet({"gb:AIGC": "{no json"})), NOTHING),
    ),
    "aigc_charset": (
        (label(), NOTHING),
        (label(ContentProducer="测试"), NOTHING),
        (made(xmp=packet({"gb:AIGC": "{no json"})), NOTHING),
    ),
    "aigc_single": (
        (label(), NOTHING),
        (
            made(xmp=packet({"gb:AIGC": json.dumps(LABEL)}), texts={"AIGC": json.dumps(LABEL)}),
            NOTHING,
        ),
        (made(xmp=packet({"gb:AIGC": "{no json"})), NOTHING),
    ),
    "aigc_carrier": (
        (label(), NOTHING),
        (made(texts={"Comment": json.dumps({"AIGC": LABEL})}), NOTHING),
        ("damaged", NOTHING),
    ),
    "aigc_provider_code": (
        (label(), NOTHING),
        (label(ContentProducer="001191110102MACQD9K65010000"), NOTHING),
        (label(ContentProducer="Example"), NOTHING),
    ),
    "visible_label": (("drawn", NOTHING), (made(xmp=packet(IPTC)), NOT_SHOWN), (made(), GENERATED)),
    "visible_label_elements": (("drawn", NOTHING), ("drawn short", NOTHING), ("intact", NOTHING)),
    "visible_label_height": (("drawn", NOTHING), ("drawn short", NOTHING), ("intact", NOTHING)),
    "visible_label_position": (("drawn", NOTHING), ("drawn short", NOTHING), ("intact", NOTHING)),
    "c2pa_integrity": (("intact", NOTHING), ("broken", NOTHING), ("damaged", NOTHING)),
    "c2pa_actions": (("intact", NOTHING), ("edited", NOTHING), ("damaged", NOTHING)),
    "c2pa_source_type": (("intact", NOTHING), ("untyped", NOTHING), ("damaged", NOTHING)),
    "signed_time": (("stamped", NOTHING), ("intact", NOTHING), ("damaged", NOTHING)),
    "iptc_source_type": (
        (made(xmp=packet(IPTC)), NOTHING),
        (made(xmp=packet({"ext:DigitalSourceType": "trainedAlgorithmicMedia"})), NOTHING),
        ("damaged", NOTHING),
    ),
    "iptc_ai_fields": (
        (
            made(
                xmp=packet(
                    IPTC | {"ext:AISystemUsed": "Example Model", "ext:AISystemVersionUsed": "3"}
                )
            ),
            NOTHING,
        ),
        (made(xmp=packet(IPTC)), NOTHING),
        (made(), NOTHING),
    ),
    "marks_agree": (
        (made(xmp=packet(IPTC | {"gb:AIGC": json.dumps(LABEL)})), NOTHING),
        (
            made(
                xmp=packet(
                    {
                        "ext:DigitalSourceType": f"{TYPES}digitalCapture",
                        "gb:AIGC": json.dumps(LABEL),
                    }
                )
            ),
            NOTHING,
        ),
        ("damaged", NOTHING),
    ),
    "trace_with_mark": (
        (made(texts=TRACE, xmp=packet(IPTC)), NOTHING),
        (made(texts=TRACE), NOTHING),
        ("damaged", NOTHING),
    ),
    "no_reservation": (
        (reserved("DMI-ALLOWED"), NOTHING),
        (reserved("DMI-PROHIBITED"), NOTHING),
        (made(), NOTHING),
    ),
    "no_personal_metadata": ((made(), NOTHING), (with_place(), NOTHING), ("damaged", NOTHING)),
}


@pytest.fixture(scope="module")
def files(
    sign: Callable[..., bytes], clock: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    from counterproof.provenance.keys import init_identity
    from counterproof.provenance.mark import mark

    home = tmp_path_factory.mktemp("keys")
    init_identity(home, "Example")
    own = Settings(home=home)
    intact = sign()
    middle = {"x": 60, "y": 50, "w": 20, "h": 8}
    return {
        "intact": intact,
        "broken": signers["flipped"](intact, len(intact) - 200),
        "drawn": sign(drawn=DRAWN),
        "drawn short": sign(drawn={"text": "AI", "box": middle, "letter_px": 2}),
        "edited": sign({"action": "c2pa.edited"}),
        "untyped": sign({"action": "c2pa.created"}),
        "marked": mark(signers["picture"](size=(320, 256)), "generated", settings=own).data,
        **({"stamped": sign(tsa_url=clock.url)} if clock else {}),
        "damaged": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
    }


@pytest.fixture(scope="module")
def look(clock: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Record]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    if clock:  # its stamps count once its root stands on the user's list
        (settings.home / "trust" / "tsa").mkdir(parents=True)
        (settings.home / "trust" / "tsa" / "clock.pem").write_bytes(signers["pem"](clock.root))
    plan = ScanSpec(
        settings,
        Stage.STANDARD,
        only=("watermark", "c2pa", "label", "trace", "rights", "privacy", "file"),
    ).prepare()

    @cache
    def seen(data: bytes) -> Record:
        return examine(ImageFile.open(data, name="a"), plan).record

    return seen


# a record of no scan, and two files beside one another, are no file; `test_policy.py` and
# `test_pipeline.py` have them
ELSEWHERE = {"coverage", "marks_survive", "credential_survives"}


def test_every_check_has_its_files() -> None:
    assert set(ROWS) | ELSEWHERE == set(CHECKS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_files_pass_fail_and_leave_open(
    name: str, files: dict[str, bytes], look: Callable[[bytes], Record]
) -> None:
    params = {
        "fields": ["provider_name", "system_name", "system_version", "created_at", "unique_id"],
        "min_share": 0.05,
    }
    got = []
    for data, context in ROWS[name]:
        if data == "stamped" and data not in files:
            pytest.skip("the openssl program is not installed")
        record = look(files[data] if isinstance(data, str) else data)
        got.append(CHECKS[name](record, context, params).outcome.value)
    assert got == ["pass", "fail", "unknown"]
