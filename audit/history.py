"""The history of a credential as a line of steps: captured, edited, published.

`details.history` of the credential's finding is a tree: a manifest, what it was made from, and
so on back. Here it becomes one line, oldest first; what was placed into the picture stands
before the step that placed it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from counterproof.findings import Integrity, Record
from counterproof.text import Catalogue, visible

__all__ = ["Step", "action_word", "steps"]

_MAX_STEPS = 24
_CAPTURES = frozenset({"digitalCapture", "computationalCapture"})
_MODELS = frozenset({"trainedAlgorithmicMedia"})
_MIXED = frozenset({"compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"})
_PUBLISHED = "c2pa.published"
_CREATED = "c2pa.created"
_QUIET = frozenset({_PUBLISHED, _CREATED, "c2pa.opened", "c2pa.unknown", ""})
_SAVED = frozenset({"c2pa.converted", "c2pa.repackaged", "c2pa.edited.metadata"}) | {
    f"c2pa.{word}" for word in ("transcoded", "watermarked", "watermarked.bound")
}
_LISTED = ("official", "interim", "user")


@dataclass(frozen=True, slots=True)
class Step:
    """One step that a credential records.

    Attributes:
        kind: `captured`, `made`, `created`, `edited`, `saved`, `model_edited`, `placed`,
            `published`, `opened` or `unknown`.
        title: the kind in words.
        what: the actions that it names, or the picture that was placed.
        who: the program or device that it names; may be empty.
        signer: who signed it, and as what; may be empty.
        when: confirmed time of signing; may be empty.
        state: `intact`, `broken`, `unchecked` or `missing`.
        note: what is amiss, in words; may be empty.
    """

    kind: str
    title: str
    what: str = ""
    who: str = ""
    signer: str = ""
    when: str = ""
    state: str = "intact"
    note: str = ""


def steps(record: Record, words: Catalogue) -> tuple[Step, ...]:
    """Return the steps that a record's credential names, oldest first; empty without one."""
    finding = next((f for f in record.findings if f.code.startswith("c2pa.manifest.")), None)
    tree = finding.details.get("history") if finding else None
    if not isinstance(tree, Mapping):
        return ()
    integrity = record.verdict.answers.integrity
    state = {Integrity.INTACT: "intact", Integrity.BROKEN: "broken"}.get(integrity, "unchecked")
    found = list(_walk(tree, state, words, 0))
    if len(found) > _MAX_STEPS:
        half = _MAX_STEPS // 2
        gap = Step("unknown", words.ui("report.more", n=len(found) - _MAX_STEPS), state="missing")
        found = [*found[:half], gap, *found[-half:]]
    return tuple(found)


def _walk(
    node: Mapping[str, Any], state: str, words: Catalogue, depth: int, placed: str = ""
) -> Iterator[Step]:
    """Yield the steps below a manifest, then its own."""
    for item in _maps(node.get("ingredients")):
        below = "broken" if item.get("broken") else "intact"
        part = item.get("relationship") != "parentOf"
        title = _text(item.get("title"))
        step = item.get("step")
        if item.get("relationship") == "inputTo":
            continue  # a prompt or a reference picture is no part of this one's past
        if isinstance(step, Mapping) and depth < 32:
            yield from _walk(step, below, words, depth + 1, title or "…" if part else "")
        else:
            yield Step(
                kind="placed" if part else "unknown",
                title=words.ui("history.placed" if part else "history.unknown"),
                what=title,
                state="broken" if below == "broken" else "missing",
                note=words.ui("history.broken" if below == "broken" else "history.missing"),
            )
    yield from _own(node, state, words, placed)


def _own(node: Mapping[str, Any], state: str, words: Catalogue, placed: str) -> Iterator[Step]:
    """Yield what one manifest records: how it began, what was done, whether it was published."""
    types = frozenset(_strings(node.get("source_types")))
    actions = _strings(node.get("actions"))
    done = [name for name in actions if name not in _QUIET]
    kinds: list[tuple[str, str]] = []
    if placed:
        kinds.append(("placed", placed))
    if _CREATED in actions:
        captured, made = types & _CAPTURES, types & _MODELS
        kinds.append(("captured" if captured else "made" if made else "created", ""))
    what = ", ".join(dict.fromkeys(action_word(name, words) for name in done))
    if types & _MIXED or (types & _MODELS and _CREATED not in actions):
        kinds.append(("model_edited", what))
    elif done:
        kinds.append(("edited" if set(done) - _SAVED else "saved", what))
    if _PUBLISHED in actions:
        kinds.append(("published", ""))
    if not kinds:
        kinds.append(("opened", ""))
    for number, (kind, text) in enumerate(kinds):
        last = number == len(kinds) - 1
        yield Step(
            kind=kind,
            title=words.ui(f"history.{kind}"),
            what=text,
            who=_text(node.get("generator")) if last else "",
            signer=_signer(node, words) if last else "",
            when=_time(node.get("signed_at")) if last else "",
            state=state,
            note=words.ui("history.broken") if last and state == "broken" else "",
        )


def _signer(node: Mapping[str, Any], words: Catalogue) -> str:
    name = _text(node.get("signer"))
    if not name:
        return ""
    listed = node.get("trust") in _LISTED
    return words.ui("history.signed" if listed else "history.claims", name=name)


def action_word(name: str, words: Catalogue) -> str:
    """Return a C2PA action in words; one that has none keeps its name."""
    known: str = words.tables["ui"].get(f"action.{name}", "")
    return known or visible(name.removeprefix("c2pa."))[:60]


def _time(value: Any) -> str:
    text = _text(value)
    return f"{text[:10]} {text[11:16]} UTC" if text.endswith("+00:00") else text[:25]


def _text(value: Any) -> str:
    return visible(value)[:120] if isinstance(value, str) else ""


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
