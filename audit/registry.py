"""Which analyzers, rules and relators there are, and which of them a scan runs.

The wings' own come from their `analyzers` modules; other people's by entry point, in the
group `counterproof.analyzers`. What comes from outside rests at most on statistics.
"""

import importlib
from collections.abc import Sequence
from importlib import metadata

from counterproof.analysis import Analyzer, AnalyzerFactory, Relator, Stage
from counterproof.errors import MissingExtra, UserError
from counterproof.findings import PREFIXES, Basis, matches_selector
from counterproof.settings import Settings

__all__ = ["ENTRY_POINTS", "available", "cap_basis", "choose", "is_outside", "outside", "relators"]

ENTRY_POINTS = "counterproof.analyzers"
_WINGS = (
    "counterproof.audit.analyzers",
    "counterproof.provenance.analyzers",
    "counterproof.detectors.analyzers",
)


def available() -> dict[str, AnalyzerFactory]:
    """Return every analyzer by name: this house's in the order of its wings, then others'."""
    found: dict[str, AnalyzerFactory] = {}
    for wing in _WINGS:
        found |= importlib.import_module(wing).ANALYZERS
    for name, factory in outside().items():
        found.setdefault(name, factory)
    return found


def outside() -> dict[str, AnalyzerFactory]:
    """Return the analyzers that other installed packages offer.

    Raises:
        UserError: if one of them cannot be imported; the message names its package.
    """
    found: dict[str, AnalyzerFactory] = {}
    for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        try:
            found[point.name] = point.load()
        except Exception as err:  # somebody else's code: name it, whatever it raised
            package = point.dist.name if point.dist else point.value
            raise UserError(f"analyzer {point.name!r} of package {package}: {err}") from err
    return found


def relators() -> dict[str, Relator]:
    """Return every relator by name."""
    found: dict[str, Relator] = importlib.import_module(_WINGS[0]).RELATORS
    return found


def is_outside(analyzer: Analyzer) -> bool:
    """Tell whether an analyzer comes from another package."""
    return not type(analyzer).__module__.startswith("counterproof.")


def cap_basis(basis: Basis) -> Basis:
    """Return the strongest basis that a finding from outside may have."""
    return min(basis, Basis.STATISTICAL, key=lambda item: item.strength)


def choose(
    settings: Settings,
    profile: Stage,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> tuple[Analyzer, ...]:
    """Make the analyzers of one scan, cheapest stage first.

    Args:
        settings: handed to each of them.
        profile: runs its own stage and those before it.
        only: prefixes or names to run, all if empty; these run whatever the profile is.
        skip: prefixes or names to leave out.

    Raises:
        UserError: if a prefix is unknown.
        MissingExtra: if `only` names an analyzer that needs an extra which is not installed.
    """
    factories = available()
    known = {*PREFIXES, *factories}
    for word in (*only, *skip):
        if word.partition(".")[0] not in known:
            raise UserError(f"unknown prefix {word!r}; known are {', '.join(sorted(known))}")
    chosen = []
    for name, factory in factories.items():
        analyzer = factory(settings)
        names = (name, *analyzer.prefixes)
        if any(_names(word, names) for word in skip):
            continue
        wanted = any(_names(word, names) for word in only) if only else False
        if extra := analyzer.missing():
            if name in only:
                raise MissingExtra(f"the check {name!r}", extra)
            continue
        if wanted or (not only and profile.includes(analyzer.stage)):
            chosen.append(analyzer)
    stages = list(Stage)
    return tuple(sorted(chosen, key=lambda analyzer: stages.index(analyzer.stage)))


def _names(word: str, names: Sequence[str]) -> bool:
    return any(word == name or matches_selector(name, word) for name in names)
