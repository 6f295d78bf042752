"""`counterproof explain`: what a status, an answer or a code says, means and does not mean."""

import difflib
from typing import get_type_hints

import click

from counterproof.app.options import language_option
from counterproof.errors import UserError
from counterproof.findings import PREFIXES, Answers, Status, matches_selector
from counterproof.settings import load_settings
from counterproof.text import Catalogue, catalogue, wrap

__all__ = ["explain"]

WIDTH = 80
_PARTS = ("means", "does_not_mean", "innocent", "next")
_ENDINGS = ("failed", "timeout", "skipped")


@click.command()
@click.argument("word", required=False)
@language_option
def explain(word: str | None, lang: str | None) -> None:
    """Say what a status, an answer or a code means, and does not.

    WORD is one of them (no_evidence, trust.interim, c2pa.manifest.broken), or the start of
    several (synthetic, trust, c2pa). Without it, all are listed.
    """
    words = catalogue(load_settings({"language": lang}).language)
    click.echo(_list(words, _names(words)) if word is None else _explain(words, word))


def _explain(words: Catalogue, word: str) -> str:
    asked = word.strip().lower()
    names = _names(words)
    if asked not in names:
        asked = asked.replace("-", "_").replace(" ", ".")
    if asked in names:
        return _entry(words, asked)
    prefix, _, rest = asked.partition(".")
    if prefix in PREFIXES and (rest in _ENDINGS or _covered(words, asked)):
        return _entry(words, asked)
    chosen = [name for name in names if matches_selector(asked, name)]
    if asked in PREFIXES:
        chosen += [f"{asked}.{ending}" for ending in _ENDINGS]
    chosen = chosen or [name for name in words.tables["answer"] if name.endswith(f".{asked}")]
    if len(chosen) == 1:
        return _entry(words, chosen[0])
    if chosen:
        return _list(words, chosen)
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    key = "explain.near" if near else "explain.unknown"
    raise UserError(words.ui(key, word=word, near=words.ui("list.separator").join(near)))


def _names(words: Catalogue) -> list[str]:
    """Every status in the order of the verdict table, every answer, every code by prefix."""
    answers = [f"{name}.{word}" for name, kind in get_type_hints(Answers).items() for word in kind]
    prefixes = [*PREFIXES, "*"]
    codes = sorted(words.codes(), key=lambda code: prefixes.index(code.partition(".")[0]))
    return [*Status, *answers, *codes]


def _covered(words: Catalogue, code: str) -> bool:
    try:
        return bool(words.code(code))
    except UserError:
        return False


def _find(words: Catalogue, name: str) -> dict[str, str]:
    if name in words.tables["status"]:
        return words.status(name)
    if name in words.tables["answer"]:
        return words.answer(*name.split("."))
    return words.code(name)


def _entry(words: Catalogue, name: str) -> str:
    """Lay out one word: its name and place, what it says, then each part under its heading."""
    found = _find(words, name)
    if name in words.tables["status"]:
        place = found["short"]
    elif name in words.tables["answer"]:
        place = words.ui(f"question.{name.partition('.')[0]}")
    else:
        place = words.ui(f"prefix.{name.partition('.')[0]}")
    lines = [f"{name}  ({place})", "", wrap(found["says"], WIDTH, "  ")]
    for part in _PARTS:
        if text := found.get(part):
            lines += ["", f"  {words.ui(f'heading.{part}')}", wrap(text, WIDTH, "    ")]
    return "\n".join(lines)


def _list(words: Catalogue, names: list[str]) -> str:
    """Lay out many words, grouped, each with what it says."""
    groups: dict[str, list[str]] = {"explain.statuses": [], "explain.answers": []}
    groups |= {"explain.codes": [], "explain.any": []}
    for name in names:
        if name in words.tables["status"]:
            groups["explain.statuses"].append(name)
        elif name in words.tables["answer"]:
            groups["explain.answers"].append(name)
        elif name.rpartition(".")[2] in _ENDINGS:
            groups["explain.any"].append(name)
        else:
            groups["explain.codes"].append(name)
    column = max(len(name) for name in names) + 4
    blocks = []
    for heading, members in groups.items():
        if members:
            rows = [_row(name, _find(words, name)["says"], column) for name in members]
            blocks.append("\n".join([words.ui(heading), *rows]))
    return "\n\n".join([*blocks, wrap(words.ui("explain.more"), WIDTH)])


def _row(name: str, says: str, column: int) -> str:
    text = wrap(says, WIDTH - column).splitlines()
    first = f"  {name}".ljust(column) + text[0]
    return "\n".join([first, *(" " * column + line for line in text[1:])])
