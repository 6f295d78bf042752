"""Walk a credential's chain: each manifest, what it says, its parents, and what failed.

A trusted outer manifest can hide a parent whose bytes had been changed, and an AI label may
stand in a parent only. So every manifest that can be reached from the active one is visited,
with what its quoting manifest recorded of it and what the library finds now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from counterproof.findings import Claim, History
from counterproof.provenance import codes, source_types
from counterproof.provenance.jumbf import references
from counterproof.provenance.manifest_store import Reading
from counterproof.provenance.standing import Standing

__all__ = ["Action", "Ingredient", "SourceType", "Step", "history_of", "is_edit", "walk_chain"]

_MAX_STEPS = 500
_MAX_DEPTH = 64
_BEGINNINGS = ("c2pa.created",)
_NEUTRAL = frozenset(
    {
        "c2pa.created",
        "c2pa.opened",
        "c2pa.published",
        "c2pa.repackaged",
        "c2pa.unknown",
        "c2pa.watermarked",
        "c2pa.watermarked.bound",
        "c2pa.watermarked.unbound",
    }
)


@dataclass(frozen=True, slots=True)
class SourceType:
    """One digital source type that a manifest states.

    Attributes:
        name: the term, such as `trainedAlgorithmicMedia`.
        manifest: label of the manifest that states it.
        role: of that manifest in the chain: `active`, `parent`, `component`, `input`.
        where: `action`, `parameters` (inside an action's parameters) or `metadata`.
        action: the action that it stands on; empty for metadata.
        claim: what it says of the picture, given all that.
    """

    name: str
    manifest: str
    role: str
    where: str
    action: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a manifest, in short."""

    name: str
    when: str = ""
    agent: str = ""
    description: str = ""
    version: str = ""

    def to_json(self) -> dict[str, str]:
        """Return what is stated, without empty values."""
        found = {
            "action": self.name,
            "when": self.when,
            "agent": self.agent,
            "description": self.description,
            "agent_version": self.version,
        }
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Ingredient:
    """What a manifest was made from.

    Attributes:
        title: as stated.
        format: media type, as stated.
        relationship: `parentOf`, `componentOf` or `inputTo`.
        manifest: label of its own manifest; empty if it came without a credential.
        failures: codes of what failed, recorded then or found now.
        broken: those of them that say its bytes were changed after signing.
        step: its manifest, as far as it is in the store.
    """

    title: str
    format: str
    relationship: str
    manifest: str
    failures: tuple[str, ...]
    broken: tuple[str, ...]
    step: "Step | None"


@dataclass(frozen=True, slots=True)
class Step:
    """One manifest in the chain.

    Attributes:
        label: of the manifest.
        role: `active`, `parent`, `component` or `input`.
        title: of the picture, as stated.
        generator: what made the claim, as stated.
        claim_version: 1 or 2; 0 if not stated.
        actions: in order.
        source_types: that it states.
        ingredients: that it quotes.
        redacted: how many assertions of other manifests it removed.
        standing: of its signature; None if that could not be read.
        trusted_path: whether it and every manifest between it and the active one is verified.
    """

    label: str
    role: str
    title: str = ""
    generator: str = ""
    claim_version: int = 0
    actions: tuple[Action, ...] = ()
    source_types: tuple[SourceType, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()
    redacted: int = 0
    standing: Standing | None = None
    trusted_path: bool = False

    def steps(self) -> Iterator["Step"]:
        """Yield this step and every one below it."""
        yield self
        for ingredient in self.ingredients:
            if ingredient.step is not None:
                yield from ingredient.step.steps()

    def all_ingredients(self) -> Iterator[Ingredient]:
        """Yield every ingredient of this step and of those below it."""
        for step in self.steps():
            yield from step.ingredients


@dataclass(slots=True)
class _Walk:
    reading: Reading
    judge: Any
    current: dict[tuple[str, str], list[tuple[str, str]]]
    left: int = _MAX_STEPS
    cut: bool = False


def walk_chain(reading: Reading, judge: Any, active_verified: bool) -> tuple[Step, bool]:
    """Visit every manifest that can be reached from the active one.

    Args:
        reading: the store.
        judge: callable from a label and a moment at which the signature provably existed (or
            None) to a `Standing`, or None where the signature could not be read.
        active_verified: whether the active manifest counts as verified, bytes included.

    Returns:
        The active manifest's step, and whether the chain was cut for its size.
    """
    walk = _Walk(reading, judge, _current_failures(reading.results))
    step = _visit(walk, reading.active, "active", active_verified, None, ())
    return step, walk.cut


def _current_failures(results: Mapping[str, Any]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return (manifest, ingredient assertion) → failures that the library finds now."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for delta in results.get("ingredientDeltas") or ():
        uri = str(delta.get("ingredientAssertionURI", ""))
        key = (_manifest_of(uri), uri.rpartition("/")[2])
        found.setdefault(key, []).extend(_codes(delta.get("validationDeltas"), "failure"))
    return found


def _codes(results: Any, outcome: str) -> list[tuple[str, str]]:
    items = results.get(outcome) if isinstance(results, Mapping) else None
    if not isinstance(items, list | tuple):
        return []
    return [
        (str(item.get("code", "")), str(item.get("url", "")))
        for item in items
        if isinstance(item, Mapping)
    ]


def _manifest_of(uri: str) -> str:
    """Return the label of the manifest that a JUMBF URI lies in; '' for a relative one."""
    _, found, rest = uri.partition("/c2pa/")
    return rest.partition("/")[0] if found else ""


def _visit(
    walk: _Walk, label: str, role: str, trusted: bool, known_by: Any, above: tuple[str, ...]
) -> Step:
    walk.left -= 1
    content = walk.reading.contents.get(label)
    if not isinstance(content, Mapping):
        return Step(label, role)
    claim = content.get("claim")
    claim = claim if isinstance(claim, Mapping) else {}
    store = content.get("assertion_store")
    store = store if isinstance(store, Mapping) else {}
    declared = {str(item.get("url")).rpartition("/")[2] for item in references(claim)}
    # what the claim does not name is not signed, so it says nothing
    assertions = {key: value for key, value in store.items() if key in declared}
    standing = walk.judge(label, known_by)
    trusted = trusted and (role == "active" or (standing is not None and standing.verified))
    actions, types = _read_actions(assertions, label, role)
    step_known_by = (standing.proven_by if standing else None) or known_by
    ingredients = tuple(
        _ingredient(walk, label, key, value, role, trusted, step_known_by, (*above, label))
        for key, value in assertions.items()
        if key.startswith("c2pa.ingredient") and isinstance(value, Mapping)
    )
    return Step(
        label=label,
        role=role,
        title=_text(claim.get("dc:title")),
        generator=_generator(claim),
        claim_version=_version(claim),
        actions=tuple(actions),
        source_types=tuple(types),
        ingredients=ingredients,
        redacted=len(claim.get("redacted_assertions") or ()),
        standing=standing,
        trusted_path=trusted,
    )


def _version(claim: Mapping[str, Any]) -> int:
    if isinstance(stated := claim.get("claim_version"), int):
        return stated
    return 2 if "created_assertions" in claim else 1 if "assertions" in claim else 0


def _generator(claim: Mapping[str, Any]) -> str:
    info = claim.get("claim_generator_info")
    if isinstance(info, list | tuple):
        info = info[0] if info else None
    if isinstance(info, Mapping) and info.get("name"):
        return " ".join(_text(info.get(key)) for key in ("name", "version") if info.get(key))
    return _text(claim.get("claim_generator"))


def _text(value: Any) -> str:
    return str(value)[:200] if isinstance(value, str | int | float) else ""


def _read_actions(
    assertions: Mapping[str, Any], label: str, role: str
) -> tuple[list[Action], list[SourceType]]:
    actions: list[Action] = []
    types: list[SourceType] = []
    for key, value in assertions.items():
        for uri in source_types.metadata_types(key, value):
            types.append(_type(uri, label, role, "metadata", "", beginning=True))
        listed = value.get("actions") if isinstance(value, Mapping) else None
        if not key.startswith("c2pa.actions") or not isinstance(listed, list | tuple):
            continue
        for item in listed:
            if not isinstance(item, Mapping):
                continue
            name = _text(item.get("action"))
            agent = item.get("softwareAgent")
            version = agent.get("version") if isinstance(agent, Mapping) else ""
            agent = agent.get("name") if isinstance(agent, Mapping) else agent
            when, said = _text(item.get("when")), _text(item.get("description"))
            actions.append(Action(name, when, _text(agent), said, _text(version)))
            for uri, inside in source_types.find_types(item):
                where = "parameters" if inside else "action"
                beginning = name in _BEGINNINGS
                types.append(_type(uri, label, role, where, name, beginning=beginning))
    return actions, types


def _type(
    uri: str, label: str, role: str, where: str, action: str, *, beginning: bool
) -> SourceType:
    claim = source_types.claim_of(uri, beginning=beginning)
    if role == "component":
        claim = Claim.MODEL_EDITED if claim in (Claim.SYNTHETIC, Claim.MODEL_EDITED) else Claim.NONE
    elif role == "input":
        claim = Claim.NONE  # what a prompt or a training picture was says nothing of this one
    return SourceType(source_types.short_name(uri)[:200], label, role, where, action, claim)


_ROLES = {"parentOf": "parent", "componentOf": "component", "inputTo": "input"}


def _ingredient(
    walk: _Walk,
    manifest: str,
    key: str,
    data: Mapping[str, Any],
    role: str,
    trusted: bool,
    known_by: Any,
    above: tuple[str, ...],
) -> Ingredient:
    relationship = _text(data.get("relationship")) or "componentOf"
    below = _ROLES.get(relationship, "component")
    if role in ("component", "input"):
        below = "input" if "input" in (role, below) else "component"
    reference = data.get("activeManifest") or data.get("c2pa_manifest")
    url = str(reference.get("url", "")) if isinstance(reference, Mapping) else ""
    label = _manifest_of(url) or url.rpartition("=")[2].strip("/")
    recorded, passed = _recorded(data)
    current = walk.current.get((manifest, key), [])
    broken = _broken(walk.reading, label, recorded, passed, current)
    step = None
    if label in walk.reading.contents and label not in above:
        if walk.left <= 0 or len(above) >= _MAX_DEPTH:
            walk.cut = True
        else:
            step = _visit(walk, label, below, trusted and not broken, known_by, above)
    return Ingredient(
        title=_text(data.get("dc:title")),
        format=_text(data.get("dc:format")),
        relationship=relationship,
        manifest=label,
        failures=tuple(sorted({code for code, _ in [*recorded, *current] if code})),
        broken=broken,
        step=step,
    )


def _recorded(data: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return failures and successes that the quoting manifest recorded when it took this in."""
    failures: list[tuple[str, str]] = []
    successes: list[tuple[str, str]] = []
    status = data.get("validationStatus")
    for item in status if isinstance(status, list | tuple) else ():
        if isinstance(item, Mapping):
            entry = (str(item.get("code", "")), str(item.get("url", "")))
            (successes if item.get("success") is True else failures).append(entry)
    results = data.get("validationResults")
    if isinstance(results, Mapping):
        failures += _codes(results.get("activeManifest"), "failure")
        successes += _codes(results.get("activeManifest"), "success")
        deltas = results.get("ingredientDeltas")
        for delta in deltas if isinstance(deltas, list | tuple) else ():
            if isinstance(delta, Mapping):
                failures += _codes(delta.get("validationDeltas"), "failure")
    return failures, successes


def _broken(
    reading: Reading,
    label: str,
    recorded: list[tuple[str, str]],
    passed: list[tuple[str, str]],
    current: list[tuple[str, str]],
) -> tuple[str, ...]:
    """Return what says that an ingredient's bytes were changed after signing.

    What was recorded about its signature or its assertions can be checked again, since both
    lie in the store; where they hold, the record is not believed. What was recorded about its
    picture cannot: those bytes are gone.
    """
    signature = reading.signatures.get(label)
    if signature is not None and signature.holds:
        again = {"claimSignature.mismatch"}
        if not reading.mismatched.get(label, ("unknown",)):
            again.add("assertion.hashedURI.mismatch")
        recorded = [
            entry
            for entry in recorded
            if entry[0] not in again or _manifest_of(entry[1]) not in ("", label)
        ]
    return codes.broken_codes([*recorded, *current], passed)


def history_of(active: Step, cut: bool) -> History:
    """Say whether every chain of parents reaches a beginning.

    `broken` if the bytes of any parent were changed after signing; `complete` if every
    manifest that has no parent begins with a `created`, and none was redacted.
    """
    if any(item.broken for item in active.all_ingredients()):
        return History.BROKEN
    if cut:
        return History.PARTIAL
    return History.COMPLETE if all(map(_is_whole, active.steps())) else History.PARTIAL


def _is_whole(step: Step) -> bool:
    if step.redacted:
        return False
    origins = [item for item in step.ingredients if item.relationship != "inputTo"]
    if any(item.step is None for item in origins):
        return False
    begins = any(action.name in _BEGINNINGS for action in step.actions)
    return begins or any(item.relationship == "parentOf" for item in origins)


def is_edit(action: Action) -> bool:
    """Tell whether an action changes the picture rather than making, opening or marking it."""
    return bool(action.name) and action.name not in _NEUTRAL
