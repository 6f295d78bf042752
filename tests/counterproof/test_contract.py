"""`docs/contract.md` and the code name the same things.

The tables of codes, commands and options are written by this file:
`python tests/counterproof/test_contract.py`.
"""

import ast
import dataclasses
import importlib.util
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import click
import jsonschema  # type: ignore[import-untyped]
import pytest

from counterproof.analysis import Stage
from counterproof.app.cli import COMMANDS, cli
from counterproof.audit.case import Case
from counterproof.audit.hashes import DCT256, DHASH, PHASH
from counterproof.audit.verdict import decide
from counterproof.findings import (
    PREFIXES,
    WEAK_STATES,
    Answers,
    Basis,
    Claim,
    FileInfo,
    Finding,
    Record,
    Relation,
    RunInfo,
    Severity,
    Status,
    Verdict,
)
from counterproof.provenance.iptc import CODES
from counterproof.provenance.source_types import claim_of
from counterproof.schema import FACTS, record_schema
from counterproof.settings import Limits, Settings, load_settings
from counterproof.text import catalogue
from counterproof.weights import CardFile, DataSource, Metric, ModelCard, Training

DOC = Path(__file__).parents[2] / "docs" / "contract.md"


def in_source() -> ModuleType:
    """Load the search for codes that `test_text.py` uses."""
    spec = importlib.util.spec_from_file_location("words", Path(__file__).with_name("test_text.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading is this word."""
    found = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    assert len(found) == 1, f"{len(found)} tables begin with {heading!r}"
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in found[0].splitlines()
    ]


def names(heading: str) -> list[str]:
    """Return the first column of a table, each a word in code marks."""
    first = [row[0] for row in rows(DOC.read_text(encoding="utf-8"), heading)]
    assert all(re.fullmatch(r"`[^`]+`", cell) for cell in first), first
    return [cell.strip("`") for cell in first]


def column(heading: str, number: int) -> list[str]:
    return [row[number] for row in rows(DOC.read_text(encoding="utf-8"), heading)]


def marked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def page() -> str:
    """Return the whole page on one line."""
    return " ".join(DOC.read_text(encoding="utf-8").split())


def sentence(pattern: str) -> list[str]:
    """Return the words in code marks after a sentence of the page."""
    found = re.search(pattern + r"((?: `[^`]+`)+)\.", page())
    assert found, pattern
    return marked(found[1])


def fields(kind: Any) -> list[str]:
    return [item.name for item in dataclasses.fields(kind)]


def emitted() -> tuple[set[str], set[str]]:
    """Return the codes of the catalogue that the source gives, and those that it does not."""
    words = in_source()
    literal = set(words.literal_codes(words.sources()))
    patterns = list(words.built_codes(words.sources()))
    known = {code for code in catalogue("en").codes() if not code.startswith("*")}
    given = {
        code
        for code in known
        if code in literal or any(re.fullmatch(pattern, code) for pattern in patterns)
    }
    return given, known - given


def code_rows(codes: set[str]) -> Iterator[list[str]]:
    ordered = sorted(codes, key=lambda code: (PREFIXES.index(code.partition(".")[0]), code))
    for code in ordered:
        yield [f"`{code}`", catalogue("en").code(code)["says"]]


def command_rows() -> Iterator[list[str]]:
    for name, (_, says) in COMMANDS.items():
        yield [f"`{name}`", says]


def option_rows() -> Iterator[list[str]]:
    scan = cli.get_command(click.Context(cli), "scan")
    assert scan is not None
    for item in scan.params:
        if isinstance(item, click.Option):
            yield [" ".join(f"`{name}`" for name in item.opts), item.help or ""]


def written() -> dict[str, list[list[str]]]:
    """Return the tables that are made from the code, by their first heading."""
    given, reserved = emitted()
    return {
        "code | says": list(code_rows(given)),
        "reserved code": list(code_rows(reserved)),
        "command": list(command_rows()),
        "option": list(option_rows()),
    }


def test_statuses() -> None:
    assert names("status") == [str(status) for status in Status]
    words = catalogue("en")
    assert column("status", 1) == [words.status(status)["short"] for status in Status]


def test_answers() -> None:
    kinds = get_type_hints(Answers)
    assert names("question") == list(kinds)
    words = [marked(cell) for cell in column("question", 1)]
    assert words == [[str(word) for word in kind] for kind in kinds.values()]


def test_finding() -> None:
    text = DOC.read_text(encoding="utf-8")
    tables = re.findall(r"^\| field \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    listed = [re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) for table in tables]
    assert listed == [
        fields(Finding),
        ["schema", *fields(Record)],
        fields(Relation),
        fields(ModelCard),
    ]


def test_words_of_a_finding() -> None:
    words = catalogue("en")
    assert names("claim") == [str(claim) for claim in Claim]
    assert column("claim", 1) == [words.ui(f"claim.{claim}") for claim in Claim]
    assert names("basis") == [str(basis) for basis in Basis]
    assert sentence("Severities, lowest first:") == [str(severity) for severity in Severity]
    assert set(sentence("`inconclusive` and never more:")) == WEAK_STATES
    assert names("prefix") == list(PREFIXES)
    assert column("prefix", 1) == [words.ui(f"prefix.{prefix}") for prefix in PREFIXES]


@pytest.mark.parametrize("heading", ["code | says", "reserved code", "command", "option"])
def test_tables_that_are_written(heading: str) -> None:
    found = rows(DOC.read_text(encoding="utf-8"), re.escape(heading) if "|" in heading else heading)
    assert found == written()[heading], "run: python tests/counterproof/test_contract.py"


def test_source_types() -> None:
    listed = dict(zip(names("source type"), column("source type", 1), strict=True))
    claims = {code: claim_of(code, beginning=True) for code in CODES}
    assert listed == {code: f"`{claim}`" for code, claim in claims.items() if claim != "none"}
    assert "algorithmicMedia" in claims
    assert claim_of("trainedAlgorithmicMedia", beginning=False) is Claim.MODEL_EDITED


def test_record() -> None:
    assert names("file") == fields(FileInfo)
    assert names("verdict") == fields(Verdict)
    assert names("run") == fields(RunInfo)
    assert marked(column("run", 1)[1]) == [str(stage) for stage in Stage]


def test_facts() -> None:
    assert names("fact") == list(FACTS)
    told = dict(zip(names("fact"), column("fact", 1), strict=True))
    for name, alg in {"phash": PHASH, "dhash": DHASH, "dct256": DCT256}.items():
        assert told[f"hash.{name}"] == f'`{{"alg": "{alg}", "value": hex}}`'
    schema = DOC.parents[1] / "counterproof" / "schema.py"
    assert schema.is_file()
    given = {
        node.value
        for path, node in in_source().sources()
        if path != schema and isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(FACTS) <= given


def test_example() -> None:
    found = re.search(r"```json\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    value = json.loads(found[1])
    faults = jsonschema.Draft202012Validator(record_schema()).iter_errors(value)
    assert [fault.message for fault in faults] == []
    record = Record.from_json(value)
    assert record.to_json() == value
    assert decide(record.findings) == record.verdict
    for finding in record.findings:
        assert finding.code in emitted()[0]


def test_exit_codes() -> None:
    documented = sys.modules["counterproof.app.cli"].__doc__ or ""
    for number in column("exit code", 0):
        assert re.search(rf"\b{number}\b", documented), number


def test_settings(tmp_path: Path) -> None:
    listed = names("setting")
    assert listed == fields(Settings)
    assert marked(column("setting", 1)[listed.index("limits")]) == fields(Limits)
    told = re.search(r"((?:`\w+`(?:, | and )?)+) are not read from the environment", page())
    assert told is not None
    plain = load_settings(folder=tmp_path, environment={})
    for name in listed:
        named = {f"COUNTERPROOF_{name.upper()}": VALUES.get(name, str(tmp_path / "x"))}
        changed = load_settings(folder=tmp_path, environment=named)
        assert (changed == plain) == (name in marked(told[1])), name


VALUES = {"language": "zh", "as_of": "2020-01-01", "online": "yes"}


def test_case(tmp_path: Path) -> None:
    path = tmp_path / "a.case"
    Case.open(path, create=True).close()
    with sqlite3.connect(path) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
    database.close()
    assert set(names("table")) == {name for name in tables if "_" not in name}


def test_model_card() -> None:
    text = DOC.read_text(encoding="utf-8")
    card = text[text.index("## Model card") :]
    for name, kind in {
        "files": CardFile,
        "data": DataSource,
        "training": Training,
        "metrics": Metric,
    }.items():
        row = re.search(rf"^\| `{name}` \| (.*) \|$", card, re.MULTILINE)
        assert row is not None
        assert marked(row[1]) == fields(kind)


def test_the_page_can_be_wrong() -> None:
    text = "| word | is |\n|---|---|\n| `a` | b \\| c |\n| `d` | e |\n"
    assert rows(text, "word") == [["`a`", "b | c"], ["`d`", "e"]]
    with pytest.raises(AssertionError, match="0 tables"):
        rows(text, "nothing")


def write() -> None:
    """Write the tables that are made from the code into the page."""
    text = DOC.read_text(encoding="utf-8")
    for heading, cells in written().items():
        lines = "".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in cells
        )
        pattern = rf"(^\| {re.escape(heading)}.*\n\|[-|]+\|\n)(?:\|.*\n)*"
        begin = re.search(pattern, text, re.MULTILINE)
        assert begin is not None, heading
        text = text[: begin.end(1)] + lines + text[begin.end() :]
    DOC.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
