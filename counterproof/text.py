"""Text for people: `locale/en.json` and `locale/zh.json`, looked up by code.

A catalogue has these tables, with the same keys in every language:

    status   status → {short, says, means, does_not_mean, next}
    code     code, or *.state → {says, means, does_not_mean, innocent?, detailed?, claimed?,
             claimed_plainly?}
    answer   question.word → {says, means}
    ui       key → sentence with {placeholders}

`says`, `means`, `innocent` and `next` are sentences that stand alone; `does_not_mean` completes
a heading ("Does not mean: that …"). None of them has placeholders, but for `{prefix}` in the
entries `*.state`. What a finding says of *this* picture goes into `detailed`: the sentence
`says` with `{placeholders}` named like keys of the finding's details (`{signer.name}` goes down
into objects). It is used when the finding has all of them, `says` otherwise, so an analyzer may
leave any of them out. `claimed` and then `claimed_plainly` are tried before it, for a finding that
claims something, and may quote `{claim}`. A value, or an item of a list, that is a word of ours,
such as a cause, is put in the reader's language where `ui` has it as `name.value`:
`cause.truncated`, `claim.synthetic`.

Details come out of untrusted files. They are put in as plain text, once, never as a format:
control characters shown as escapes, on one line, cut to `MAX_QUOTE` characters. Escaping for
HTML or for a terminal's mark-up is left to who prints it.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Mapping
from importlib import resources
from typing import Any

from counterproof.errors import UserError
from counterproof.findings import PREFIXES, Claim, Finding, Relation

__all__ = ["LANGUAGES", "MAX_QUOTE", "Catalogue", "catalogue", "cell_width", "visible", "wrap"]

LANGUAGES = ("en", "zh")

MAX_QUOTE = 120
"""Most characters of one detail that a sentence quotes."""

MAX_ITEMS = 5
"""Most items of a list that a sentence quotes."""

_FILLED = ("claimed", "claimed_plainly", "detailed")  # the first that can be filled is said
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)\}")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


class Catalogue:
    """The sentences of one language."""

    def __init__(self, language: str, tables: dict[str, dict[str, Any]]) -> None:
        self.language = language
        self.tables = tables

    def codes(self) -> list[str]:
        """Return every code that the catalogue explains, sorted."""
        return sorted(self.tables["code"])

    def code(self, code: str) -> dict[str, str]:
        """Return the sentences of one code.

        `<prefix>.failed`, `.timeout` and `.skipped` share one entry each (`*.failed` …).

        Raises:
            UserError: if the code is unknown.
        """
        found = self._entry(code)
        if found is None:
            raise UserError(f"unknown code {code!r}; `counterproof explain` lists all")
        prefix = code.partition(".")[0]
        title = self.tables["ui"].get(f"prefix.{prefix}", "…")
        return {name: text.replace("{prefix}", title) for name, text in found.items()}

    def describe(self, found: Finding | Relation) -> dict[str, str]:
        """Return the sentences of one finding or relation, `says` with its details filled in.

        Never raises: a code without words, from another package's analyzer, is named as such.
        """
        values = {"code": found.code, **found.details}
        if isinstance(found, Finding):
            claim = None if found.claim is Claim.NONE else found.claim.value
            values |= {"analyzer": found.analyzer, "claim": claim}
        if self._entry(found.code) is None:
            said = self._fill(self.tables["ui"]["finding.unknown"], values)
            return {"says": said or found.code, "means": "", "does_not_mean": ""}
        entry = self.code(found.code)
        filled = [self._fill(entry.pop(name, ""), values) for name in _FILLED]
        return entry | {"says": next(filter(None, filled), entry["says"])}

    def sentence(self, found: Finding | Relation) -> str:
        """Return what one finding or relation says, in one sentence."""
        return self.describe(found)["says"]

    def status(self, status: str) -> dict[str, str]:
        """Return the sentences of one status."""
        found: dict[str, str] = self.tables["status"][status]
        return found

    def answer(self, question: str, word: str) -> dict[str, str]:
        """Return the sentences of one of the five answers, such as `trust`, `interim`."""
        found: dict[str, str] = self.tables["answer"][f"{question}.{word}"]
        return found

    def ui(self, key: str, **values: object) -> str:
        """Return one sentence of the interface with its placeholders filled in.

        Where `n` is 1 and the table has `key.one`, that is used. Control characters
        among the values are shown as escapes, since the name of a file can hold anything.
        """
        table: dict[str, str] = self.tables["ui"]
        template = table[key]
        if values.get("n") == 1:
            template = table.get(f"{key}.one", template)
        if not values:
            return template
        safe = {
            name: visible(item) if isinstance(item, str) else item for name, item in values.items()
        }
        return template.format(**safe)

    def _entry(self, code: str) -> dict[str, str] | None:
        table: dict[str, dict[str, str]] = self.tables["code"]
        if code in table:
            return table[code]
        prefix, state = code.partition(".")[0], code.rpartition(".")[2]
        return table.get(f"*.{state}") if prefix in PREFIXES else None

    def _fill(self, template: str, details: Mapping[str, Any]) -> str:
        """Put details into a sentence; return '' if one of them is missing."""
        texts: dict[str, str] = {}
        for name in _PLACEHOLDER.findall(template):
            value: Any = details
            for step in name.split("."):
                value = value.get(step) if isinstance(value, Mapping) else None
            ui = self.tables["ui"]
            known = ui.get(f"{name}.{value}") if isinstance(value, str) else None
            if isinstance(value, list):
                value = [ui.get(f"{name}.{v}", v) if isinstance(v, str) else v for v in value]
            texts[name] = known or self._quote(value)
            if not texts[name]:
                return ""
        return _PLACEHOLDER.sub(lambda match: texts[match[1]], template)

    def _quote(self, value: Any) -> str:
        match value:
            case bool() | None:
                return ""
            case int():
                return str(value)
            case float():
                return f"{value:.3g}"
            case str():
                return visible(value.strip(), MAX_QUOTE)
            case list() | tuple():
                items = [text for item in value[:MAX_ITEMS] if (text := self._quote_item(item))]
                joined: str = self.tables["ui"]["list.separator"].join(items)
                return f"{joined} …" if joined and len(value) > MAX_ITEMS else joined
        return ""

    def _quote_item(self, item: Any) -> str:
        return "" if isinstance(item, list | tuple) else self._quote(item)


@functools.cache
def catalogue(language: str = "en") -> Catalogue:
    """Load the sentences of one language.

    Raises:
        UserError: if the language is not one of `LANGUAGES`.
    """
    if language not in LANGUAGES:
        raise UserError(f"expected a language of {', '.join(LANGUAGES)}, got {language!r}")
    file = resources.files("counterproof") / "locale" / f"{language}.json"
    return Catalogue(language, json.loads(file.read_text(encoding="utf-8")))


def visible(text: str, limit: int = 0) -> str:
    r"""Show control, format and unpaired characters as escapes; cut to a length if one is given.

    A file could otherwise hide what it is called, or write into a terminal.

    >>> visible("IMG\x1b[31m_1\u202egpj.exe\n")
    'IMG\\x1b[31m_1\\u202egpj.exe\\n'
    """
    if limit and len(text) > limit:
        text = f"{text[: limit - 1].rstrip()}…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _HIDDEN else char for char in text
    )


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for wide, none for combining.

    >>> cell_width("a图")
    3
    """
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


_NO_START = frozenset("，。、；：！？）》」』】”’…％%,.;:!?)]}")
_NO_END = frozenset("（《「『【“‘([{")


def wrap(text: str, width: int = 80, indent: str = "") -> str:
    """Break a text into lines of at most `width` columns, Chinese between any two characters.

    No line begins with a closing mark or ends with an opening one. A word longer than a line
    stays whole.

    >>> print(wrap("由模型生成，也不表示。", width=10))
    由模型生
    成，也不表
    示。
    """
    room = max(width - cell_width(indent), 1)
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        joined = line + piece
        if line and cell_width(joined.rstrip()) > room:
            lines.append(line.rstrip())
            joined = piece.lstrip()
        line = joined
    lines.append(line.rstrip())
    return "\n".join(f"{indent}{item}" if item else "" for item in lines)


def _pieces(text: str) -> list[str]:
    """Split a text at the places where a line may break; white space ends a piece."""
    pieces: list[str] = []
    for part in re.findall(r"\S+\s*", text):
        start = 0
        for at in range(1, len(part)):
            before, after = part[at - 1], part[at]
            wide = unicodedata.east_asian_width(before) in "WF"
            wide = wide or unicodedata.east_asian_width(after) in "WF"
            if wide and not (after in _NO_START or after.isspace() or before in _NO_END):
                pieces.append(part[start:at])
                start = at
        pieces.append(part[start:])
    return pieces
