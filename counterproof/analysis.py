"""What a wing offers to a scan: analyzers, rules and relators.

An *analyzer* looks at one picture. A *rule* looks at one finished record whenever it is
shown. A *relator* looks at a finished case. A wing offers its analyzers in one plain `dict`
from name to factory; other packages offer theirs by entry point (`docs/analyzers.md`).
"""

import hashlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from counterproof.findings import Blob, Fact, Finding, Record, Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["Analyzer", "AnalyzerFactory", "Observation", "Relator", "Rule", "Stage"]

Observation: TypeAlias = Finding | Fact | Blob
"""What an analyzer yields."""


class Stage(StrEnum):
    """How much an analyzer costs; a profile runs its own stage and those before it."""

    QUICK = "quick"
    STANDARD = "standard"
    DEEP = "deep"

    def includes(self, other: "Stage") -> bool:
        """Tell whether a scan with this profile runs an analyzer of the other stage."""
        stages = list(Stage)
        return stages.index(other) <= stages.index(self)


class Analyzer:
    """Looks at one picture and yields what it observes. Subclass and override `analyze`.

    One instance is made in each worker process and serves all its pictures, so that models
    and lists are loaded once; load them in the constructor or lazily, never from the network.

    Attributes:
        name: unique; also what `--only` and `--skip` select, beside `prefixes`.
        prefixes: first words of the codes that it yields.
        stage: the cheapest profile that runs it.
        timeout_s: the most that one picture may take; past it the worker is ended and the
            picture's record says `<prefix>.timeout`.
        version: raise it whenever the same picture would yield something else.
    """

    name: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]
    stage: ClassVar[Stage] = Stage.STANDARD
    timeout_s: ClassVar[float] = 30.0
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def analyze(self, image: ImageFile) -> Iterable[Observation]:
        """Yield findings, facts and blobs of one picture.

        Raises:
            ImageError: if the picture cannot be decoded far enough; the scan notes it.
        """
        raise NotImplementedError

    def digest(self) -> str:
        """Return what else its results depend on: weights, lists, stores, settings; or ''."""
        return ""

    def missing(self) -> str:
        """Return the optional install without which it cannot run, where that is absent; or ''.

        A scan leaves such an analyzer out, unless `--only` names it.
        """
        return ""

    def lists(self) -> dict[str, str]:
        """Return name → date of the trust or other dated lists it reads."""
        return {}

    def fingerprint(self) -> str:
        """Return `version` or `version+digest`: a record made under another is computed anew."""
        extra = self.digest()
        if not extra:
            return self.version
        return f"{self.version}+{hashlib.sha256(extra.encode()).hexdigest()[:12]}"


AnalyzerFactory: TypeAlias = Callable[[Settings], Analyzer]


class Rule(Protocol):
    """Judges a record together with the settings; computed whenever it is shown, never cached."""

    def __call__(self, record: Record, settings: Settings) -> Iterable[Finding]:
        """Yield findings that claim nothing of the picture."""
        ...


class Relator(Protocol):
    """Relates the records of a case to one another after a scan."""

    name: str

    def __call__(self, case: "Case", settings: Settings) -> Iterable[Relation]:
        """Yield what holds between the pictures of a case."""
        ...
