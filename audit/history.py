"""The history of a credential as a line of steps: captured, edited, published."""

from dataclasses import dataclass

from counterproof.findings import Record
from counterproof.text import Catalogue

__all__ = ["Step", "steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step that a credential records.

    Attributes:
        kind: `captured`, `made`, `edited`, `model_edited`, `placed`, `published`, `unknown`.
        title: the kind in words.
        who: the program or device that the step names; may be empty.
        signer: who signed it, and as what; may be empty.
        when: time of signing; may be empty.
        state: `intact`, `broken`, `unchecked` or `missing`.
        note: what is amiss, in words; may be empty.
    """

    kind: str
    title: str
    who: str = ""
    signer: str = ""
    when: str = ""
    state: str = "intact"
    note: str = ""


def steps(record: Record, words: Catalogue) -> tuple[Step, ...]:
    """Return the steps, oldest first; empty without a credential."""
    return ()
