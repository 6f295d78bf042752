"""What the metadata and the rest of a file tell of persons: the analyzer `privacy`.

Findings name the fields and count them; they never repeat a value, since records and reports are
passed on. None of them moves the status (claim `personal_data`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.audit.embedded import remains, small_pictures
from counterproof.audit.facts import SMALL_SIDE, compare_thumbnail
from counterproof.audit.hidden_parts import hidden_parts
from counterproof.audit.personal_fields import PersonalField, personal_fields
from counterproof.errors import ImageError
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile
from counterproof.settings import Limits

__all__ = ["PrivacyAnalyzer", "identities"]

_CODES = {
    "gps": ("privacy.gps", Severity.MEDIUM),
    "person": ("privacy.person", Severity.MEDIUM),
    "contact": ("privacy.contact", Severity.MEDIUM),
    "serial": ("privacy.serial", Severity.LOW),
    "place": ("privacy.place", Severity.LOW),
    "identifier": ("privacy.identifier", Severity.INFO),
}
_LIMITS = Limits(max_pixels=4_000_000, max_decode_bytes=64 * 2**20)
_MAX_NAMES = 24
_IDENTITY_KEYS = frozenset({"author", "creator", "publisher", "credentialSubject"})


class PrivacyAnalyzer(Analyzer):
    """Finds places, persons, cameras, small pictures and remains in a file."""

    name: ClassVar[str] = "privacy"
    prefixes: ClassVar[tuple[str, ...]] = ("privacy",)
    stage: ClassVar[Stage] = Stage.STANDARD
    timeout_s: ClassVar[float] = 10.0
    version: ClassVar[str] = "4"

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield `privacy.*` findings; decodes a small view where the file holds previews."""
        fields = personal_fields(image)
        for kind, (code, severity) in _CODES.items():
            if found := [item for item in fields if item.kind == kind]:
                yield self._finding(code, severity, _named(found))
        if names := identities(image):
            yield self._finding("privacy.identity", Severity.MEDIUM, {"fields": names})
        if rest := remains(image):
            code = "privacy.remains" if rest.picture else "privacy.trailer"
            severity = Severity.HIGH if rest.picture else Severity.LOW
            details = {"offset": rest.offset, "bytes": rest.length}
            yield self._finding(code, severity, details)
        if ways := hidden_parts(image):
            yield self._finding("privacy.cropped", Severity.HIGH, {"fields": ways})
        yield from self._previews(image)

    def _previews(self, image: ImageFile) -> Iterator[Finding]:
        found = small_pictures(image)
        if not found:
            return
        try:
            small = image.luminance(SMALL_SIDE)
        except ImageError:
            return  # there is no picture to show more than
        for item in found:
            try:
                view = ImageFile.open(item.data, limits=_LIMITS).luminance(SMALL_SIDE)
            except ImageError:
                continue
            differs, details = compare_thumbnail(small, view, image.orientation)
            if differs:
                details = {"fields": [item.where], **details}
                yield self._finding("privacy.preview", Severity.HIGH, details)

    def _finding(self, code: str, severity: Severity, details: dict[str, Any]) -> Finding:
        return Finding(
            self.name, code, Claim.PERSONAL_DATA, Basis.DECLARED, severity, details=details
        )


def _named(fields: list[PersonalField]) -> dict[str, Any]:
    names = list(dict.fromkeys(f"{item.group}:{item.name}" for item in fields))
    return {"fields": names[:_MAX_NAMES], "n": len(fields)}


def identities(image: ImageFile) -> list[str]:
    """Name the assertions of a picture's manifests that tell who made it, without the values."""
    from counterproof.provenance.manifest_store import carries_credential, read_store

    if not carries_credential(image):
        return []
    reading = read_store(image)
    found: list[str] = []
    for content in reading.contents.values() if reading else ():
        store = content.get("assertion_store") if isinstance(content, Mapping) else None
        for label, value in store.items() if isinstance(store, Mapping) else ():
            if label.startswith("cawg.identity") or _names_someone(value, 6):
                found.append(label)
    return list(dict.fromkeys(found))[:_MAX_NAMES]


def _names_someone(value: Any, depth: int) -> bool:
    """Tell whether a value holds an author, creator or publisher with a name."""
    if depth <= 0:
        return False
    if isinstance(value, Mapping):
        for key, inner in value.items():
            last = str(key).rpartition(":")[2]
            if last in _IDENTITY_KEYS and inner:
                return True
            if _names_someone(inner, depth - 1):
                return True
        return False
    return isinstance(value, list) and any(_names_someone(item, depth - 1) for item in value[:50])
