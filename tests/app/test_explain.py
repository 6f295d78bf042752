"""`counterproof explain`: every word has its page, a slip gets a hint."""

import subprocess
import sys
from collections.abc import Mapping
from typing import get_type_hints

import pytest
from click.testing import CliRunner, Result

from counterproof.app.explain import WIDTH, explain
from counterproof.errors import UserError
from counterproof.findings import Answers, Status
from counterproof.text import LANGUAGES, catalogue, cell_width

ANSWERS = [f"{name}.{word}" for name, kind in get_type_hints(Answers).items() for word in kind]
WORDS = [*Status, *ANSWERS, *catalogue("en").codes(), "c2pa.failed", "forgery.timeout"]


def run(*arguments: str, env: Mapping[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(explain, arguments, env=env, catch_exceptions=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_explain_every_word(language: str) -> None:
    words = catalogue(language)
    for word in WORDS:
        result = run(word, "--lang", language)
        assert result.exit_code == 0
        assert result.stdout.startswith(word)
        assert words.ui("heading.means") in result.stdout
        if word not in ANSWERS:
            assert words.ui("heading.does_not_mean") in result.stdout
        assert all(cell_width(line) <= WIDTH for line in result.stdout.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
def test_explain_lists_all(language: str) -> None:
    lines = run("--lang", language).stdout.splitlines()
    first = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(first) == sorted([*Status, *ANSWERS, *catalogue(language).codes()])
    assert all(cell_width(line) <= WIDTH for line in lines)


def test_explain_takes_the_start_of_several() -> None:
    said = run("c2pa").stdout
    for word in ("c2pa.manifest.broken", "c2pa.parent.claim", "c2pa.timeout"):
        assert f"  {word} " in said
    assert "label." not in said
    assert "unreadable" not in run("synthetic").stdout
    assert "synthetic_suspected" in run("synthetic").stdout
    assert "trust.interim" in run("trust").stdout
    assert "model.failed" in run("model").stdout


def test_explain_takes_an_answer_by_its_last_word() -> None:
    assert run("interim").stdout == run("trust.interim").stdout
    broken = run("broken").stdout
    assert "integrity.broken" in broken
    assert "history.broken" in broken


def test_explain_forgives_the_way_of_writing() -> None:
    assert run("No-Evidence").stdout == run("no_evidence").stdout


@pytest.mark.parametrize("word", ["confict", "c2pa.manifest.brokn", "trust.offical"])
def test_explain_names_the_nearest(word: str) -> None:
    with pytest.raises(UserError, match="nearest: ") as caught:
        run(word)
    near = {"confict": "conflict", "trust.offical": "trust.official"}
    assert near.get(word, "c2pa.manifest.broken") in str(caught.value)


@pytest.mark.parametrize("word", ["", "zzzzzzzz", "../../etc", "nonsense.failed", "\x1b[2J"])
def test_explain_refuses_what_is_no_word(word: str) -> None:
    with pytest.raises(UserError) as caught:
        run(word)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_explain_speaks_the_language_of_the_environment() -> None:
    clear: dict[str, str | None] = {"LC_ALL": "", "LANG": "", "COUNTERPROOF_LANGUAGE": None}
    assert "表示" in run("conflict", env=clear | {"LANG": "zh_CN.UTF-8"}).stdout
    assert "Means" in run("conflict", env=clear | {"LANG": "de_DE.UTF-8"}).stdout
    assert "表示" in run("conflict", env=clear | {"COUNTERPROOF_LANGUAGE": "zh"}).stdout
    both = clear | {"LANG": "zh_CN.UTF-8", "COUNTERPROOF_LANGUAGE": "zh"}
    assert "Means" in run("conflict", "--lang", "en", env=both).stdout


def test_explain_exits_with_two_and_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "counterproof", "explain", "confict"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    said = 'error: no code, status or answer is called "confict"; nearest: conflict'
    assert done.stderr.splitlines() == [said]
