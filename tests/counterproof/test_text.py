"""The catalogue: complete in both languages, restrained in its words, safe with hostile text."""

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from counterproof.errors import UserError
from counterproof.findings import (
    PREFIXES,
    Answers,
    Basis,
    Claim,
    Finding,
    Relation,
    Severity,
    Status,
)
from counterproof.text import LANGUAGES, MAX_QUOTE, catalogue, cell_width, visible, wrap

ROOT = Path(__file__).parents[2]
FOLDERS = ("counterproof", "provenance", "audit", "app", "detectors", "generators")
CODE = re.compile(rf"(?:{'|'.join(PREFIXES)})(?:\.[a-z0-9_]+)+")
STATES = ("failed", "timeout", "skipped")
PARTS = ("says", "claimed", "claimed_plainly", "detailed", "means", "does_not_mean", "innocent")

# Strings that have the form of a code and are none: a blob, a fact, and the names of boxes,
# assertions and actions in the C2PA standard (2.4, §18 and §19).
C2PA_NAMES = (
    "actions actions.v2 asset-ref asset-type assertion.store assertions claim claim.v2 "
    "cloud-data databoxes depthmap embedded-data external-reference hash.bmff hash.bmff.v2 "
    "hash.bmff.v3 hash.boxes hash.collection.data hash.data icon ingredient ingredient.v2 "
    "ingredient.v3 metadata redacted session-keys signature soft-binding thumbnail thumbnail.claim "
    "thumbnail.ingredient time-stamp training-mining "
    "color_adjustments converted copied created cropped deleted drawing dubbed edited "
    "edited.metadata enhanced filtered format formatted managed opened orientation placed "
    "printed produced published removed repackaged resized resized.proportional saved "
    "transcoded translated trimmed unknown version_updated watermarked watermarked.bound "
    "watermarked.unbound"
)
NOT_CODES = {f"c2pa.{name}" for name in C2PA_NAMES.split()} | {"c2pa.json", "file.damage"}

FORBIDDEN = {
    "en": re.compile(
        r"\b(fakes?|faked|real|reality|authentic\w*|genuine\w*|forge[drs]?|forger\w*|tamper\w*|"
        r"bogus|doctored|trustworthy|please|simply|obviously)\b|!",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"真实|真伪|真图|假图|虚假|造假|伪造|假的|真的|篡改|可信赖|！|!"),
}
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]")


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield path, node


def literal_codes(nodes: Iterator[tuple[Path, ast.AST]]) -> dict[str, str]:
    """Code → where it stands, for every string literal that has the form of one."""
    found = {}
    for path, node in nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if CODE.fullmatch(node.value):
            found[node.value] = f"{path.name}:{node.lineno}"
    return found


def built_codes(nodes: Iterator[tuple[Path, ast.AST]]) -> dict[str, str]:
    """Pattern → where it stands, for every f-string that begins like a code."""
    found = {}
    for path, node in nodes:
        if not isinstance(node, ast.JoinedStr):
            continue
        pattern = "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z0-9_.]+"
            for part in node.values
        )
        head = node.values[0]
        if isinstance(head, ast.Constant) and re.match(
            rf"(?:{'|'.join(PREFIXES)})\.", str(head.value)
        ):
            found[pattern] = f"{path.name}:{node.lineno}"
    return found


def texts(language: str) -> Iterator[tuple[str, str]]:
    """Every sentence with its place: `code.file.partial.says`."""
    for table, entries in catalogue(language).tables.items():
        for key, entry in entries.items():
            parts = entry if isinstance(entry, dict) else {"": entry}
            for part, text in parts.items():
                yield f"{table}.{key}.{part}".rstrip("."), text


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys() -> None:
    en, zh = (dict(texts(language)) for language in LANGUAGES)
    assert en.keys() == zh.keys()


def test_both_languages_have_the_same_placeholders() -> None:
    en, zh = (dict(texts(language)) for language in LANGUAGES)
    assert {key: placeholders(en[key]) for key in en} == {key: placeholders(zh[key]) for key in zh}


def test_every_sentence_says_something_in_its_own_language() -> None:
    en, zh = (dict(texts(language)) for language in LANGUAGES)
    for key, text in en.items():
        assert text, key
        assert text.strip() == text or key.endswith((".separator", ".join")), key
        assert not re.search(r"[\u4e00-\u9fff]", text), key
    for key, text in zh.items():
        assert text, key
        assert text.strip() == text or key.endswith((".separator", ".join")), key
        if not key.startswith("ui."):
            assert re.search(r"[\u4e00-\u9fff]", text), key
            assert not re.search(r"[\u4e00-\u9fff][,;:?]", text), f"{key}: half-width mark"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_files_are_in_their_canonical_form(language: str) -> None:
    text = (ROOT / "counterproof" / "locale" / f"{language}.json").read_text(encoding="utf-8")
    tables = json.loads(text)
    ordered = {name: dict(sorted(table.items())) for name, table in sorted(tables.items())}
    assert text == json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_enumerations_is_there(language: str) -> None:
    words = catalogue(language)
    assert set(words.tables["status"]) == set(Status)
    answers = {f"{name}.{word}" for name, kind in get_type_hints(Answers).items() for word in kind}
    assert set(words.tables["answer"]) == answers
    for kind in (Claim, Basis, Severity):
        for word in kind:
            assert words.ui(f"{kind.__name__.lower()}.{word}")
    for prefix in PREFIXES:
        assert words.ui(f"prefix.{prefix}")
    for name in get_type_hints(Answers):
        assert words.ui(f"question.{name}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_entries_have_their_parts(language: str) -> None:
    tables = catalogue(language).tables
    assert set(tables) == {"answer", "code", "status", "ui"}
    for entry in tables["status"].values():
        assert set(entry) == {"short", "says", "means", "does_not_mean", "next"}
    for entry in tables["answer"].values():
        assert set(entry) == {"says", "means"}
    for code, entry in tables["code"].items():
        assert {"says", "means", "does_not_mean"} <= set(entry) <= set(PARTS), code
        assert CODE.fullmatch(code) or code in {f"*.{state}" for state in STATES}, code
        for part, text in entry.items():
            allowed = {"prefix"} if code.startswith("*.") else set()
            if part not in ("claimed", "claimed_plainly", "detailed"):
                assert placeholders(text) <= allowed, f"{code}.{part}"
        if "detailed" in entry:
            assert placeholders(entry["detailed"]) - {"prefix", "claim"}, code
        if "claimed" in entry:
            assert "claim" in placeholders(entry["claimed"]), code
    shorts = [entry["short"] for entry in tables["status"].values()]
    assert len(set(shorts)) == len(shorts)


@pytest.mark.parametrize(("language", "stop"), [("en", "."), ("zh", "。")])
def test_sentences_are_whole(language: str, stop: str) -> None:
    for key, text in texts(language):
        table, _, rest = key.partition(".")
        part = rest.rpartition(".")[2]
        if table == "ui" or part == "short":
            continue
        assert text.endswith((stop, "{message}")), key
        if part == "does_not_mean":  # completes the heading, so it never denies a second time
            assert language == "zh" or text.startswith(("That ", "Anything ")), key
            assert text.count(stop) == 1, key
            assert "不表示" not in text, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_judges_a_picture(language: str) -> None:
    for key, text in texts(language):
        assert not FORBIDDEN[language].search(text), f"{key}: {text}"
        assert not EMOJI.search(text), f"{key}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_in_the_source_has_words(language: str) -> None:
    known = set(catalogue(language).codes())
    missing = {
        code: place
        for code, place in literal_codes(sources()).items()
        if code not in known | NOT_CODES and not (code.endswith(STATES) and code.count(".") == 1)
    }
    assert not missing, f"no words for {missing}; if it is no code, name it in NOT_CODES"
    for pattern, place in built_codes(sources()).items():
        assert any(re.fullmatch(pattern, code) for code in known), f"{place}: {pattern}"


def test_our_codes_are_no_names_of_the_standard() -> None:
    assert not NOT_CODES & set(catalogue("en").codes())


def test_the_search_for_codes_finds_them() -> None:
    source = 'Finding("x", "c2pa.surely.missing"); Finding("x", f"label.{state}.missing")'
    nodes = [(Path("made.py"), node) for node in ast.walk(ast.parse(source))]
    assert literal_codes(iter(nodes)) == {"c2pa.surely.missing": "made.py:1"}
    assert list(built_codes(iter(nodes))) == [r"label\.[a-z0-9_.]+\.missing"]


def test_every_sentence_of_the_interface_in_the_source_is_there() -> None:
    known = set(catalogue("en").tables["ui"])
    asked = 0
    for path, node in sources():
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        key = node.args[0]
        if node.func.attr != "ui":
            continue
        if isinstance(key, ast.Constant):
            asked += 1
            assert key.value in known, f"{path.name}:{node.lineno}: no sentence {key.value!r}"
        elif isinstance(key, ast.JoinedStr):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                for part in key.values
            )
            assert any(re.fullmatch(pattern, name) for name in known), f"{path.name}: {pattern}"
    assert asked


def test_catalogue_knows_its_languages() -> None:
    with pytest.raises(UserError, match="expected a language of en, zh, got 'fr'"):
        catalogue("fr")


def test_any_prefix_may_end_in_a_state() -> None:
    for prefix in PREFIXES:
        for state in STATES:
            entry = catalogue("en").code(f"{prefix}.{state}")
            assert catalogue("en").ui(f"prefix.{prefix}") in entry["says"]
    for code in ("nonsense.failed", "c2pa.nonsense", "c2pa", ""):
        with pytest.raises(UserError, match="unknown code"):
            catalogue("en").code(code)


def fault(**details: Any) -> Finding:
    return Finding("x", "file.failed", details=details)


def test_sentence_quotes_details_or_does_without() -> None:
    words = catalogue("en")
    assert words.sentence(fault(message="no memory")).endswith("failed on this picture: no memory")
    assert words.sentence(fault()) == words.code("file.failed")["says"]
    for message in ("", " ", None, True, [], [None], {"a": 1}):
        assert words.sentence(fault(message=message)) == words.code("file.failed")["says"]
    assert "detailed" not in words.describe(fault(message="x"))


def test_sentence_says_what_a_finding_claims() -> None:
    words = catalogue("en")
    signer = {"signer": {"claims_to_be": "A. Signer"}}
    silent = Finding("c2pa", "c2pa.manifest.intact", details=signer)
    assert "claims to be A. Signer" in words.sentence(silent)
    assert "says:" not in words.sentence(silent)
    for claim in (Claim.SYNTHETIC, Claim.MODEL_EDITED, Claim.CAPTURED):
        said = words.sentence(Finding("c2pa", "c2pa.manifest.intact", claim, details=signer))
        assert f"says: {words.ui(f'claim.{claim}')}." in said
    shy = Finding("c2pa", "c2pa.manifest.intact", Claim.SYNTHETIC)
    plainly = words.sentence(shy)
    assert plainly.startswith("An intact Content Credential says: made by a model.")
    quiet = Finding("c2pa", "c2pa.manifest.intact")
    assert words.sentence(quiet) == words.code("c2pa.manifest.intact")["says"]
    assert set(words.describe(silent)) <= {"says", "means", "does_not_mean", "innocent"}


def test_details_cannot_pass_for_the_claim_or_the_analyzer() -> None:
    details = {"claim": "captured", "analyzer": "another", "message": "no"}
    finding = Finding("mine", "file.failed", details=details)
    assert '"mine"' in catalogue("en").sentence(finding)
    credential = Finding("c2pa", "c2pa.manifest.unchecked", Claim.SYNTHETIC, details=details)
    assert "made by a model" in catalogue("en").sentence(credential)


def test_sentence_puts_our_own_words_in_the_readers_language() -> None:
    finding = Finding("x", "file.unreadable", details={"thing": "file", "cause": "truncated"})
    assert "it is cut off" in catalogue("en").sentence(finding)
    assert "文件被截断" in catalogue("zh").sentence(finding)
    other = Finding("x", "file.unreadable", details={"thing": "file", "cause": "eaten"})
    assert "eaten" in catalogue("en").sentence(other)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("{analyzer}", "{analyzer}"),
        ("{0.__class__}", "{0.__class__}"),
        ("{message!r:>1000000}", "{message!r:>1000000}"),
        ("%s %(message)s", "%s %(message)s"),
        ("a\x1b[2Jb\u202ec\nd", r"a\x1b[2Jb\u202ec\nd"),
        ("\ud800", r"\ud800"),
        (7, "7"),
        (0.123456, "0.123"),
        (["a", "b\nc"], r"a, b\nc"),
        (list("abcdefgh"), "a, b, c, d, e …"),
        ([["deep"], "a"], "a"),
    ],
)
def test_sentence_takes_details_as_plain_text(value: object, shown: str) -> None:
    assert catalogue("en").sentence(fault(message=value)).endswith(f"picture: {shown}")


def test_sentence_is_short_whatever_a_file_holds() -> None:
    said = catalogue("en").sentence(fault(message="x" * 10_000_000))
    assert len(said) < MAX_QUOTE + 100
    assert said.endswith("…")
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    assert catalogue("en").sentence(fault(message=deep))


def test_describe_has_words_for_codes_of_other_packages() -> None:
    finding = Finding("their.analyzer", "detector.of_somebody_else")
    for language in LANGUAGES:
        found = catalogue(language).describe(finding)
        assert "their.analyzer" in found["says"]
        assert "detector.of_somebody_else" in found["says"]
    relation = Relation("kind", ("a",), "copy.of_somebody_else")
    assert catalogue("en").sentence(relation)


def test_ui_counts_and_shows_control_characters() -> None:
    words = catalogue("en")
    said = words.ui("explain.near", word="a\x1b", near="b")
    assert "\x1b" not in said
    with pytest.raises(KeyError):
        words.ui("no.such.key")


def test_visible_keeps_what_people_write() -> None:
    for text in ("plain", "张三 的照片", "Ünïcødé – “x”", "日本語、한국어", "عربي"):
        assert visible(text) == text
    assert visible("a\u200bb\ufeff\r") == r"a\u200bb\ufeff\r"
    assert visible("abcdef", limit=4) == "abc…"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [20, 40, 80])
def test_wrap_fills_lines_and_loses_nothing(language: str, width: int) -> None:
    for key, text in texts(language):
        lines = wrap(text, width, "  ").splitlines()
        assert "".join("".join(lines).split()) == "".join(text.split()), key
        for line in lines:
            assert cell_width(line) <= width or " " not in line.strip(), f"{key}: {line}"
            assert len(line.strip()) == 1 or line.strip()[0] not in "，。、；：）”", (
                f"{key}: {line}"
            )
    with_long = wrap(f"see {'x' * 100} there", 20)
    assert with_long.splitlines() == ["see", "x" * 100, "there"]
