"""A public page of methods: what each check is, how often it errs, on how many, and its limits.

Figures come from the cards beside the models and from `measured`: a method without a measured
figure is listed without one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from counterproof import __version__
from counterproof.analysis import Analyzer
from counterproof.audit.measured import MEASURED, Measured, thresholds
from counterproof.settings import Settings
from counterproof.weights import ModelCard

__all__ = ["STATEMENT_SCHEMA", "Method", "Statement", "cards", "statement"]

STATEMENT_SCHEMA = "counterproof.statement/1"
_WINGS = ("audit", "detectors", "generators", "provenance")


@dataclass(frozen=True, slots=True)
class Method:
    """One analyzer: its name, version, the profile that runs it, the prefixes of its codes."""

    name: str
    fingerprint: str
    stage: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What this version does and how well, as far as it was measured."""

    methods: tuple[Method, ...]
    cards: tuple[ModelCard, ...]
    measured: tuple[Measured, ...]
    thresholds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the statement as JSON values (schema `counterproof.statement/1`)."""
        return {
            "schema": STATEMENT_SCHEMA,
            "version": __version__,
            "methods": [
                {
                    "name": item.name,
                    "fingerprint": item.fingerprint,
                    "stage": item.stage,
                    "prefixes": list(item.prefixes),
                }
                for item in self.methods
            ],
            "measured": [
                {
                    "code": item.code,
                    "kind": item.kind,
                    "hits": item.hits,
                    "n": item.n,
                    "value": item.value,
                    "low": item.low,
                    "high": item.high,
                    "threshold": self.thresholds.get(item.code),
                    "set": item.set,
                    "command": item.command,
                }
                for item in self.measured
            ],
            "models": [
                {
                    "name": card.name,
                    "version": card.version,
                    "date": card.date,
                    "task": card.task,
                    "thresholds": dict(card.thresholds),
                    "limits": list(card.limits),
                    "metrics": [
                        {name: getattr(metric, name) for name in metric.__slots__}
                        for metric in card.metrics
                    ],
                }
                for card in self.cards
            ],
        }


def cards() -> Iterator[ModelCard]:
    """Yield the card of every model that ships with the package, by wing and name.

    Raises:
        WeightsError: if a card is malformed.
    """
    for wing in _WINGS:
        folder = resources.files(f"counterproof.{wing}") / "weights"
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir(), key=lambda item: item.name):
            if file.name.endswith(".card.json"):
                yield ModelCard.from_json(json.loads(file.read_text(encoding="utf-8")))


def statement(settings: Settings) -> Statement:
    """Describe every analyzer and every model of this installation."""
    from counterproof.audit import registry

    made = [factory(settings) for factory in registry.available().values()]
    return Statement(tuple(_method(item) for item in made), tuple(cards()), MEASURED, thresholds())


def _method(item: Analyzer) -> Method:
    return Method(item.name, item.fingerprint(), item.stage.value, item.prefixes)
