"""Why two verifiers differ: a rule holds only where the file's bytes show what it names."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from counterproof.images import ImageFile
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
causes: dict[str, Any] = runpy.run_path(str(BENCHMARKS / "crosscheck_causes.py"))


def case(data: bytes, source: bytes, **said: Any) -> Any:
    settings = Settings(home=Path("unused"))
    credential = read_credential(ImageFile.open(data), load_trust(None), settings.as_of)
    assert credential is not None
    base = {"about": "reach", "first": "unchecked", "second": "broken", "first_codes": []}
    return causes["Case"](data, source, credential, {**base, "second_codes": [], **said})


def test_nothing_is_explained_where_nothing_was_changed(signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, signing.picture())
    for first in ("unchecked", "broken", "intact"):
        for second in ("unchecked", "broken", "intact"):
            for about in ("reach", "parents", "signer", "bytes"):
                made = case(data, data, about=about, first=first, second=second)
                assert causes["cause_of"](made) == causes["UNEXPLAINED"], (about, first, second)


def test_a_segment_that_stands_twice(signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, signing.picture())
    (block,) = ImageFile.open(data).blocks("c2pa")
    end = block.offset + block.length
    twice = data[:end] + data[block.offset : end] + data[end:]
    assert causes["cause_of"](case(twice, data)) == "piece_twice"
    assert causes["cause_of"](case(twice, data, first="broken")) == causes["UNEXPLAINED"]


@pytest.mark.parametrize("word", [b"jumbf=", b"c2pa.signature"])
def test_a_changed_reference_to_the_signature(word: bytes, signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, signing.picture())
    at = data.index(b"isignature") + data[data.index(b"isignature") :].index(word)
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    said = {"first": "broken", "second": "unchecked", "second_codes": ["claimSignature.missing"]}
    assert causes["cause_of"](case(changed, data, **said)) == "signature_reference"
    assert causes["cause_of"](case(data, data, **said)) == causes["UNEXPLAINED"]


def test_a_header_that_segments_repeat(signing: Any, authority: Any) -> None:
    data, _ = signing.sign(authority, signing.picture())
    (block,) = ImageFile.open(data).blocks("c2pa")
    at = block.offset + 6  # the box instance number
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    said = {"first": "intact", "second": "unchecked", "second_error": "no manifest found"}
    assert causes["cause_of"](case(changed, data, **said)) == "segment_header"


def test_every_rule_is_in_the_page() -> None:
    page = (BENCHMARKS.parent / "docs" / "credentials.md").read_text(encoding="utf-8")
    for rule in causes["RULES"]:
        assert f"| `{rule.__name__}` |" in page
