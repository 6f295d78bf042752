"""Rule packs: what laws and standards ask, as dated data.

One TOML file per law in `audit/packs/`. A rule names whom it binds, where it stands, from which
day, and one check that can be asked of a record or of what an operator states. Nothing here
decides anything; `policy_checks` asks, `policy` adds up.
"""

import datetime as dt
import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from counterproof.errors import UserError
from counterproof.findings import Severity

__all__ = ["CONFIDENCES", "MARKETS", "ROLES", "Pack", "Rule", "Text", "load_packs", "select"]

ROLES = (
    "provider",
    "deployer",
    "platform",
    "hosting_platform",
    "device_maker",
    "publisher",
    "trainer",
    "auditor",
)
"""Whom a rule binds."""

MARKETS = (
    *("EU", "CN", "US", "US-CA", "US-WA", "US-UT", "US-NY"),
    *("IN", "KR", "VN", "DK", "ES", "IT", "UK", "*"),
)
"""Where a rule holds; `*` for standards that hold nowhere by force."""

CONFIDENCES = ("quoted", "secondary", "recalled")
"""How well the citation is known: its wording was read in a copy or quotation; it is known from
others' accounts; it stands here from memory. What is recalled never passes or fails."""


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence in both languages."""

    en: str
    zh: str

    def in_language(self, language: str) -> str:
        """Return the sentence in one of the two."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Rule:
    """One duty.

    Attributes:
        id: stable name, `EU-50-2`.
        pack: id of its pack.
        title: what is asked.
        roles: whom it binds, of `ROLES`.
        markets: where, of `MARKETS`.
        citation: where it stands.
        in_force: first day; None if it was not established.
        ended: first day on which it no longer holds; None if it holds on.
        severity: what is at stake.
        check: name in `policy_checks.CHECKS`.
        params: of the check.
        remedy: what to do.
        note: what to know besides; may be None.
        confidence: of the citation, of `CONFIDENCES`.
    """

    id: str
    pack: str
    title: Text
    roles: tuple[str, ...]
    markets: tuple[str, ...]
    citation: str
    in_force: dt.date | None
    ended: dt.date | None
    severity: Severity
    check: str
    params: Mapping[str, Any]
    remedy: Text
    note: Text | None
    confidence: str

    def holds_on(self, day: dt.date) -> bool:
        """Tell whether the rule is in force; one without an established date is not."""
        if self.in_force is None or day < self.in_force:
            return False
        return self.ended is None or day < self.ended


@dataclass(frozen=True, slots=True)
class Pack:
    """The rules of one law or standard.

    Attributes:
        id: stable name.
        title: of the law.
        markets: where it holds.
        source: address where it was looked up.
        checked: day on which its facts were last looked up.
        voluntary: whether it binds only who agreed to it.
        scope: whom it binds at all; may be None.
        rules: in the order of the file.
    """

    id: str
    title: Text
    markets: tuple[str, ...]
    source: str
    checked: dt.date
    voluntary: bool
    scope: Text | None
    rules: tuple[Rule, ...] = field(repr=False)


@functools.cache
def load_packs() -> tuple[Pack, ...]:
    """Read the packs that ship with the package, by file name.

    Raises:
        ValueError: if one of them is malformed; the message names file and rule.
    """
    folder = resources.files("counterproof.audit") / "packs"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    packs = tuple(read_pack(file.read_text(encoding="utf-8"), file.name) for file in files)
    seen: set[str] = set()
    for rule in (rule for pack in packs for rule in pack.rules):
        if rule.id in seen:
            raise ValueError(f"rule {rule.id} stands in the packs twice")
        seen.add(rule.id)
    return packs


def read_pack(text: str, name: str) -> Pack:
    """Read one pack.

    Raises:
        ValueError: if it is malformed.
    """
    try:
        table = tomllib.loads(text)
        markets = tuple(table["market"])
        pack = Pack(
            id=table["id"],
            title=Text(**table["title"]),
            markets=markets,
            source=table["source"],
            checked=table["checked"],
            voluntary=bool(table.get("voluntary", False)),
            scope=Text(**table["scope"]) if "scope" in table else None,
            rules=tuple(_rule(item, table["id"], markets, name) for item in table["rule"]),
        )
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as err:
        raise ValueError(f"{name}: malformed pack: {err!r}") from err
    return pack


def _rule(item: Mapping[str, Any], pack: str, markets: tuple[str, ...], name: str) -> Rule:
    rule = Rule(
        id=item["id"],
        pack=pack,
        title=Text(**item["title"]),
        roles=tuple(item["role"]),
        markets=tuple(item.get("market", markets)),
        citation=item["citation"],
        in_force=item.get("in_force"),
        ended=item.get("ended"),
        severity=Severity(item["severity"]),
        check=item["check"],
        params=item.get("params", {}),
        remedy=Text(**item["remedy"]),
        note=Text(**item["note"]) if "note" in item else None,
        confidence=item["confidence"],
    )
    wrong = [
        *(set(rule.roles) - set(ROLES)),
        *(set(rule.markets) - set(MARKETS)),
        *({rule.confidence} - set(CONFIDENCES)),
    ]
    if wrong:
        raise ValueError(f"{name}: rule {rule.id}: unknown word {wrong[0]!r}")
    return rule


def select(
    packs: Iterable[Pack], markets: Iterable[str] = (), roles: Iterable[str] = ()
) -> list[tuple[Pack, tuple[Rule, ...]]]:
    """Return the packs with those of their rules that bind these roles in these markets.

    Args:
        packs: to choose from.
        markets: all if empty; `EU` or `US-CA`, and `US` for every state. Standards always come.
        roles: all if empty.

    Raises:
        UserError: if a market or role is unknown.
    """
    places, who = tuple(markets), tuple(roles)
    for word, known, what in [(m, MARKETS, "market") for m in places] + [
        (r, ROLES, "role") for r in who
    ]:
        if word not in known:
            raise UserError(f"expected a {what} of {', '.join(known)}, got {word!r}")
    found = []
    for pack in packs:
        rules = tuple(
            rule
            for rule in pack.rules
            if (not who or set(who) & set(rule.roles))
            and (not places or any(_covers(place, rule.markets) for place in places))
        )
        if rules:
            found.append((pack, rules))
    return found


def _covers(place: str, markets: tuple[str, ...]) -> bool:
    """Tell whether a market that was asked for is one of a rule's."""
    states = place == "US" and any(market.startswith("US-") for market in markets)
    return place in markets or "*" in markets or states
