"""Text for people: `locale/en.json` and `locale/zh.json`, looked up by code.

A catalogue has these tables, with the same keys in every language:

    status   status → {short, says, means, does_not_mean}
    code     code, or prefix.*.state → {says, means, does_not_mean, innocent (optional)}
    answer   question.word → {says, means}
    ui       key → sentence with {placeholders}
"""

import functools
import json
from importlib import resources
from typing import Any

from counterproof.errors import UserError

__all__ = ["LANGUAGES", "Catalogue", "catalogue"]

LANGUAGES = ("en", "zh")


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
        table = self.tables["code"]
        generic = f"*.{code.rpartition('.')[2]}"
        found = table.get(code) or table.get(generic)
        if found is None:
            raise UserError(f"unknown code {code!r}; `counterproof explain` lists all")
        return {
            name: text.replace("{prefix}", code.partition(".")[0]) for name, text in found.items()
        }

    def status(self, status: str) -> dict[str, str]:
        """Return the sentences of one status."""
        found: dict[str, str] = self.tables["status"][status]
        return found

    def answer(self, question: str, word: str) -> dict[str, str]:
        """Return the sentences of one of the five answers, such as `trust`, `interim`."""
        found: dict[str, str] = self.tables["answer"][f"{question}.{word}"]
        return found

    def ui(self, key: str, **values: object) -> str:
        """Return one sentence of the interface with its placeholders filled in."""
        template: str = self.tables["ui"][key]
        return template.format(**values) if values else template


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
