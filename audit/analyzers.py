"""The analyzers and relators that this wing offers to a scan, by name.

Factories import what they make only when they are called: this module is read by every command.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from counterproof.analysis import Analyzer, AnalyzerFactory, Relator
from counterproof.findings import Relation
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["ANALYZERS", "RELATORS"]


def _file(settings: Settings) -> Analyzer:
    from counterproof.audit.facts import FileAnalyzer

    return FileAnalyzer(settings)


def _saved(settings: Settings) -> Analyzer:
    from counterproof.audit.saved_by import SavedByAnalyzer

    return SavedByAnalyzer(settings)


def _hashes(settings: Settings) -> Analyzer:
    from counterproof.audit.hashes import HashAnalyzer

    return HashAnalyzer(settings)


def _privacy(settings: Settings) -> Analyzer:
    from counterproof.audit.privacy_metadata import PrivacyAnalyzer

    return PrivacyAnalyzer(settings)


def _faces(settings: Settings) -> Analyzer:
    from counterproof.audit.faces import FacesAnalyzer

    return FacesAnalyzer(settings)


def _text(settings: Settings) -> Analyzer:
    from counterproof.audit.readable_text import TextAnalyzer

    return TextAnalyzer(settings)


def _forgery(settings: Settings) -> Analyzer:
    from counterproof.audit.forgery import ForgeryAnalyzer

    return ForgeryAnalyzer(settings)


class _NearDuplicates:
    name = "near_duplicates"

    def __call__(self, case: "Case", settings: Settings) -> Iterable[Relation]:
        from counterproof.audit.duplicates import relate

        return relate(case, settings)


class _Copies:
    name = "index"

    def __call__(self, case: "Case", settings: Settings) -> Iterable[Relation]:
        from counterproof.audit.copies import relate

        return relate(case, settings)


ANALYZERS: dict[str, AnalyzerFactory] = {
    "file": _file,
    "saved": _saved,
    "hashes": _hashes,
    "privacy": _privacy,
    "faces": _faces,
    "text": _text,
    "forgery": _forgery,
}
RELATORS: dict[str, Relator] = {
    "near_duplicates": _NearDuplicates(),
    "index": _Copies(),
}
