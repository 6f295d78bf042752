"""A second, independent verifier reads each credential; where it differs, that is a finding.

The verifier is encypher-c2pa, an implementation of its own (extra `crosscheck`). It is given
our trust lists in place of its own, the moment at which we judged the signature, and no network;
its telemetry is switched off for every call. Its word never moves a status: a disagreement says
that one of the two programs has a defect or that the standard leaves room, and is for a person
to look at. docs/credentials.md lists the disagreements that are known, with their causes.
"""

import functools
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.errors import MissingExtra
from counterproof.findings import Claim, Fact, Finding, Integrity, Severity
from counterproof.provenance import codes
from counterproof.provenance.credentials import Credential, read_credential
from counterproof.provenance.manifest_store import carries_credential, library_version
from counterproof.provenance.trust import TrustStore, load_trust, to_pem

if TYPE_CHECKING:
    import datetime as dt

    from counterproof.images import ImageFile

__all__ = [
    "CrosscheckAnalyzer",
    "SecondReading",
    "disagreement",
    "read_again",
    "verifier_version",
]

EXTRA = "crosscheck"
_PACKAGE = "encypher-c2pa"
_MODULE = "encypher_c2pa"
_MAX_CODES = 12
_BYTES, _REACH, _PARENTS, _SIGNER = "bytes", "reach", "parents", "signer"
_INGREDIENT = "ingredient."


@dataclass(frozen=True, slots=True)
class SecondReading:
    """What the second verifier says of a picture's active manifest.

    Attributes:
        integrity: `intact`, `broken`, or `unchecked` where it could not read or judge it.
        parent_broken: whether it finds that a parent's manifest was changed.
        listed: whether the signer's chain reaches our lists of signers; None if not judged.
        failures: its codes, sorted, at most a dozen.
        error: its words where it refused the file.
    """

    integrity: Integrity
    parent_broken: bool = False
    listed: bool | None = None
    failures: tuple[str, ...] = ()
    error: str = ""


def is_installed() -> bool:
    """Tell whether the extra is there, without importing it."""
    return importlib.util.find_spec(_MODULE) is not None


@functools.cache
def verifier_version() -> str:
    """Return name and version of the second verifier.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"
    except importlib.metadata.PackageNotFoundError as err:
        raise MissingExtra("a second verifier of credentials", EXTRA) from err


def read_again(
    image: "ImageFile", trust: TrustStore, moment: "dt.datetime", store: bytes | None = None
) -> SecondReading | None:
    """Let the second verifier read a picture's credential; about 8 ms.

    Args:
        image: the picture.
        trust: our lists, the only ones that it is given.
        moment: at which it judges the signer's certificate.
        store: a manifest store that lies outside the file.

    Returns:
        What it says; None if it does not read this format.

    Raises:
        MissingExtra: if it is not installed.
    """
    verifier_version()
    import encypher_c2pa

    # `verify` saves a choice on telemetry in the user's folder; its native part saves nothing
    native: Any = encypher_c2pa
    mime = image.metadata.mime
    if mime not in _formats():
        return None
    options = _options(trust) | {"validation_time": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
    text = json.dumps(options)
    try:
        if store is None:
            report = json.loads(native.verify_bytes(image.data, mime, text))
        else:
            report = json.loads(native.verify_detached_bytes(image.data, store, mime, text))
    except ValueError as err:
        return SecondReading(Integrity.UNCHECKED, error=str(err)[:300])
    return _read_report(report)


@functools.cache
def _formats() -> frozenset[str]:
    import encypher_c2pa

    return frozenset(encypher_c2pa.supported_mime_types())


def _options(trust: TrustStore) -> dict[str, Any]:
    """Return the verifier's options: our lists, none of its own, no network, no telemetry."""
    signers, authorities = trust.of_kind("signer"), trust.of_kind("tsa")
    return {
        "no_default_trust": True,
        "online": False,
        "telemetry": {"enabled": False, "endpoint": None, "sdk_name": "python"},
        "expected_seek_positions": [],
        "trust_pem": to_pem(dict.fromkeys(der for item in signers for der in item.roots)),
        "allowed_list_pem": to_pem(dict.fromkeys(der for item in signers for der in item.allowed)),
        "tsa_trust_pem": to_pem(dict.fromkeys(der for item in authorities for der in item.roots)),
    }


def _read_report(report: Mapping[str, Any]) -> SecondReading:
    if not report.get("present"):
        return SecondReading(Integrity.UNCHECKED, error="no manifest found")
    results = report.get("validation_results") or {}
    failures = _pairs(results, "failure")
    names = tuple(sorted({code for code, _ in failures}))[:_MAX_CODES]
    signature, binding = report.get("signature"), report.get("hard_binding")
    found = codes.broken_codes(failures, _pairs(results, "success"))
    parents = [code for code in found if code.startswith(_INGREDIENT)]
    broken = len(found) > len(parents)
    if signature == "invalid" or binding == "mismatch" or broken:
        integrity = Integrity.BROKEN
    elif signature == "valid" and binding == "match":
        integrity = Integrity.INTACT
    else:
        integrity = Integrity.UNCHECKED
    status = (report.get("trust") or {}).get("status")
    judged = {"valid_for_supplied_material": True, "not_valid_for_supplied_material": False}
    return SecondReading(integrity, bool(parents), judged.get(str(status)), names)


def _pairs(results: Mapping[str, Any], outcome: str) -> list[tuple[str, str]]:
    return [
        (str(item.get("code", "")), str(item.get("url", ""))) for item in results.get(outcome) or ()
    ]


def disagreement(credential: Credential, second: SecondReading) -> str:
    """Say what two readings of one credential differ about.

    Returns:
        `bytes`: one calls them unchanged, the other changed. `reach`: one gives an answer about
        the bytes, the other none. Where both find the bytes unchanged, `parents`: one finds
        that a picture it was made from was changed; `signer`: the signer's chain reaches a list
        of ours by one and not by the other. Empty if they agree.
    """
    first = credential.answers.integrity
    if Integrity.NONE in (first, second.integrity):
        first = Integrity.UNCHECKED
    if {first, second.integrity} == {Integrity.INTACT, Integrity.BROKEN}:
        return _BYTES
    if first is not second.integrity:
        return _REACH
    standing = credential.active.standing
    if first is not Integrity.INTACT or standing is None:
        return ""
    if bool(credential.broken_parents) != second.parent_broken:
        return _PARENTS
    if (
        standing.advisory is None
        and second.listed is not None
        and (standing.listed is not None) != second.listed
    ):
        return _SIGNER
    return ""


class CrosscheckAnalyzer(Analyzer):
    """Reads each credential with a second verifier; a picture without one costs nothing."""

    name: ClassVar[str] = "crosscheck"
    prefixes: ClassVar[tuple[str, ...]] = ("c2pa",)
    stage: ClassVar[Stage] = Stage.STANDARD
    timeout_s: ClassVar[float] = 20.0
    version: ClassVar[str] = "1"

    @cached_property
    def trust(self) -> TrustStore:
        """The lists in force."""
        return load_trust(self.settings.home)

    def missing(self) -> str:
        """Return the extra that it needs, where that is not installed."""
        return "" if is_installed() else EXTRA

    def digest(self) -> str:
        """Return what the results depend on: the lists and both verifiers."""
        second = verifier_version() if is_installed() else "absent"
        return f"{self.trust.digest()}:{library_version()}:{second}"

    def analyze(self, image: "ImageFile") -> Iterable[Observation]:
        """Yield whether the verifiers agree, and a finding where they do not."""
        if not carries_credential(image):
            return
        credential = read_credential(image, self.trust, self.settings.as_of)
        if credential is None or credential.reading.origin not in ("embedded", "sidecar"):
            return
        store = image.sidecar if credential.reading.origin == "sidecar" else None
        second = read_again(image, self.trust, _moment(credential, self.settings.as_of), store)
        if second is not None:
            yield from _observations(credential, second, self.settings.as_of)


def _moment(credential: Credential, as_of: "dt.date") -> "dt.datetime":
    """Return the moment at which the signer was judged, so that both judge the same one."""
    import datetime as dt

    standing = credential.active.standing
    return standing.moment if standing else dt.datetime.combine(as_of, dt.time(12), dt.UTC)


def _observations(
    credential: Credential, second: SecondReading, as_of: "dt.date"
) -> Iterator[Observation]:
    about = disagreement(credential, second)
    yield Fact("credential.verifiers_agree", not about)
    if not about:
        return
    standing = credential.active.standing
    first, other = credential.answers.integrity.value, second.integrity.value
    if about == _SIGNER:
        listed = standing is not None and standing.listed is not None
        first, other = _listed(listed), _listed(bool(second.listed))
    if about == _PARENTS:
        first, other = _changed(bool(credential.broken_parents)), _changed(second.parent_broken)
    details: dict[str, Any] = {
        "about": about,
        "first": first if first != Integrity.NONE.value else Integrity.UNCHECKED.value,
        "second": other,
        "library": library_version(),
        "verifier": verifier_version(),
        "first_codes": list(credential.failures)[:_MAX_CODES],
        "second_codes": list(second.failures),
    }
    if second.error:
        details["second_error"] = second.error
    if standing is not None and standing.holds_until:
        details["holds_until"] = standing.holds_until.isoformat()
    if standing is not None and standing.holds_from:
        details["holds_from"] = standing.holds_from.isoformat()
    yield Finding(
        CrosscheckAnalyzer.name,
        "c2pa.disagreement",
        Claim.NONE,
        severity=Severity.MEDIUM if about == _BYTES else Severity.LOW,
        details=details,
    )


def _changed(value: bool) -> str:
    return (Integrity.BROKEN if value else Integrity.INTACT).value


def _listed(value: bool) -> str:
    return "listed" if value else "unlisted"
