"""The nouns that every wing shares: findings, facts, verdicts, records, relations.

`docs/contract.md` prints these names for people; a test holds the two together. Adding a
word is a minor version, renaming one a major version.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Self

from counterproof.words import (
    Basis,
    Claim,
    History,
    Integrity,
    Origin,
    Severity,
    Status,
    Time,
    Trust,
)

__all__ = [
    "PREFIXES",
    "RECORD_SCHEMA",
    "WEAK_STATES",
    "Answers",
    "Basis",
    "Blob",
    "Claim",
    "Fact",
    "FileInfo",
    "Finding",
    "History",
    "Integrity",
    "Origin",
    "Record",
    "Relation",
    "RunInfo",
    "Severity",
    "Status",
    "Time",
    "Trust",
    "Verdict",
    "matches_selector",
]

RECORD_SCHEMA = "counterproof.record/1"


PREFIXES = (
    "file",
    "c2pa",
    "label",
    "trace",
    "watermark",
    "recovery",
    "detector",
    "forgery",
    "privacy",
    "copy",
    "rights",
    "policy",
    "model",
)

WEAK_STATES = frozenset({"likely", "possible", "suspected", "unstable", "unparsed", "unfetched"})
"""Last words of a code that mean *too weak or too split to say*: such a finding can make a
picture `inconclusive`, never more."""

_CODE = re.compile(r"[a-z0-9]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that one analyzer found in one picture. A finding is not a verdict.

    Attributes:
        analyzer: name of the analyzer that found it.
        code: `prefix.subject[.state]`, lower case, never renamed; one of `PREFIXES` first.
        claim: what it says of the picture.
        basis: what it rests on.
        severity: what is at stake, never how sure we are.
        probability: of the claim, calibrated, in [0, 1]; else None.
        regions: `(x, y, w, h)` in pixels of the upright full-size picture.
        evidence: names of blobs in the case (maps, crops, manifests).
        details: JSON values that the sentence of the code may quote; raw scores under `score`.

    Raises:
        ValueError: if the code is malformed or the probability lies outside [0, 1].
    """

    analyzer: str
    code: str
    claim: Claim = Claim.NONE
    basis: Basis = Basis.HEURISTIC
    severity: Severity = Severity.INFO
    probability: float | None = None
    regions: tuple[tuple[int, int, int, int], ...] = ()
    evidence: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code) or self.prefix not in PREFIXES:
            raise ValueError(
                f"expected a code prefix.subject[.state] with a prefix of {', '.join(PREFIXES)}, "
                f"got {self.code!r}"
            )
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"expected a probability in [0, 1], got {self.probability}")

    @property
    def prefix(self) -> str:
        """First word of the code."""
        return self.code.partition(".")[0]

    @property
    def state(self) -> str:
        """Last word of the code."""
        return self.code.rpartition(".")[2]

    @property
    def is_weak(self) -> bool:
        """True if it can make a picture `inconclusive` and never more."""
        return self.state in WEAK_STATES

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values, in the order of CONTRACT."""
        return {
            "analyzer": self.analyzer,
            "code": self.code,
            "claim": self.claim.value,
            "basis": self.basis.value,
            "severity": self.severity.value,
            "probability": self.probability,
            "regions": [list(box) for box in self.regions],
            "evidence": list(self.evidence),
            "details": self.details,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            analyzer=value["analyzer"],
            code=value["code"],
            claim=Claim(value["claim"]),
            basis=Basis(value["basis"]),
            severity=Severity(value["severity"]),
            probability=value["probability"],
            regions=tuple((x, y, w, h) for x, y, w, h in value["regions"]),
            evidence=tuple(value["evidence"]),
            details=value["details"],
        )


@dataclass(frozen=True, slots=True)
class Fact:
    """Something read off the file that is evidence of nothing: a camera's name, a hash.

    Attributes:
        name: dotted, lower case: `camera.make`, `hash.phash`.
        value: a JSON value.
    """

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Blob:
    """A picture, map or document that a finding names in `evidence`; kept in the case."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What the file itself is, by its content, never by its name.

    Attributes:
        format: lower-case name by content: `jpeg`, `png`, `webp`, `gif`, `tiff`, `bmp`,
            `avif`, `heic`, …; empty if unknown.
        mime: media type, or `application/octet-stream`.
        bytes: length of the file.
        width: of the upright picture in pixels; 0 if unknown.
        height: of the upright picture in pixels; 0 if unknown.
        frames: pages or frames, 1 for a still picture; 0 if unknown.
        mode: Pillow's name of the stored layout (`RGB`, `L`, `I;16`, `CMYK` …).
        bit_depth: bits per channel as stored; 0 if unknown.
        alpha: whether it stores transparency.
        orientation: EXIF orientation 1–8 as stored.
        planes: further pictures inside, by kind: `depth`, `gain_map`, `thumbnail`, `preview`.
    """

    format: str = ""
    mime: str = "application/octet-stream"
    bytes: int = 0
    width: int = 0
    height: int = 0
    frames: int = 0
    mode: str = ""
    bit_depth: int = 0
    alpha: bool = False
    orientation: int = 1
    planes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        value = {name: getattr(self, name) for name in self.__slots__}
        return value | {"planes": list(self.planes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**(value | {"planes": tuple(value["planes"])}))


@dataclass(frozen=True, slots=True)
class Answers:
    """The five answers about a credential and its whole chain; none of them implies another."""

    integrity: Integrity = Integrity.NONE
    trust: Trust = Trust.NONE
    time: Time = Time.NONE
    history: History = History.NONE
    origin: Origin = Origin.NONE

    @property
    def verified(self) -> bool:
        """Intact, by a listed signer, in force when it signed."""
        return (
            self.integrity is Integrity.INTACT
            and self.trust in (Trust.OFFICIAL, Trust.INTERIM, Trust.USER)
            and self.time in (Time.TIMESTAMPED, Time.IN_VALIDITY)
        )

    def to_json(self) -> dict[str, str]:
        """Return the five answers as words."""
        return {name: str(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: dict[str, str]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            Integrity(value["integrity"]),
            Trust(value["trust"]),
            Time(value["time"]),
            History(value["history"]),
            Origin(value["origin"]),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """One status, with the codes that carry it and the codes that speak against it."""

    status: Status
    answers: Answers = Answers()
    rests_on: tuple[str, ...] = ()
    against: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "status": self.status.value,
            "answers": self.answers.to_json(),
            "rests_on": list(self.rests_on),
            "against": list(self.against),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            Status(value["status"]),
            Answers.from_json(value["answers"]),
            tuple(value["rests_on"]),
            tuple(value["against"]),
        )


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a record was made.

    Attributes:
        version: of counterproof.
        profile: `quick`, `standard` or `deep`.
        analyzers: name → fingerprint of each that ran; what failed left a finding.
        trust_lists: name → date of each list that was in force.
        as_of: the day that "today" means, ISO 8601.
    """

    version: str
    profile: str
    analyzers: dict[str, str]
    trust_lists: dict[str, str]
    as_of: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Record:
    r"""All that one scan says of one picture; one line of `jsonl`.

    Attributes:
        path: as given, for people; bytes that are not UTF-8 show as `\xNN`.
        sha256: of the file, hex; empty where the file could not be read at all.
        file: what the file is.
        facts: name → JSON value; evidence of nothing.
        findings: in the order in which they were found.
        verdict: a pure function of the findings.
        run: how the record was made.
    """

    path: str
    sha256: str
    file: FileInfo
    facts: dict[str, Any]
    findings: tuple[Finding, ...]
    verdict: Verdict
    run: RunInfo

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, in the order of CONTRACT."""
        return {
            "schema": RECORD_SCHEMA,
            "path": self.path,
            "sha256": self.sha256,
            "file": self.file.to_json(),
            "facts": self.facts,
            "findings": [finding.to_json() for finding in self.findings],
            "verdict": self.verdict.to_json(),
            "run": self.run.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the value is of another schema.
        """
        if value.get("schema") != RECORD_SCHEMA:
            raise ValueError(f"expected schema {RECORD_SCHEMA}, got {value.get('schema')!r}")
        return cls(
            path=value["path"],
            sha256=value["sha256"],
            file=FileInfo.from_json(value["file"]),
            facts=value["facts"],
            findings=tuple(Finding.from_json(item) for item in value["findings"]),
            verdict=Verdict.from_json(value["verdict"]),
            run=RunInfo(**value["run"]),
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """What holds between pictures; kept in the case, never part of a record.

    Attributes:
        kind: `near_duplicate`, `copy`, `rate`, …
        members: sha256 of each picture, or another name that `details` explains.
        code: as for a finding.
        details: JSON values.
    """

    kind: str
    members: tuple[str, ...]
    code: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the relation as JSON values."""
        return {
            "kind": self.kind,
            "members": list(self.members),
            "code": self.code,
            "details": self.details,
        }


def matches_selector(selector: str, word: str) -> bool:
    """Tell whether a selector, the start of a status or of a code, selects a word.

    >>> matches_selector("synthetic", "synthetic_declared")
    True
    >>> matches_selector("c2pa.manifest", "c2pa.manifest.intact")
    True
    >>> matches_selector("c2pa.man", "c2pa.manifest.intact")
    False
    """
    return word == selector or word.startswith((f"{selector}.", f"{selector}_"))
