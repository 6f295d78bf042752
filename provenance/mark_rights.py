"""Reservations of rights that a picture's sources state, carried forward into the marked picture.

What the file's own XMP says stays where it is. Else a reservation would be lost: one that stands
in the old credential, of which readers take the active manifest only; one of a parent or a
component; and one in XMP that the marked file cannot take. It is written anew, in XMP where it
came from there, and in the new credential.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from counterproof.images import ImageFile
from counterproof.provenance.credentials import read_credential
from counterproof.provenance.rights import (
    PLUS,
    TDM,
    reserved_entries,
    reserved_properties,
    signs_rights,
)
from counterproof.provenance.sign import TRAINING_ENTRIES
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings
from counterproof.xmp import Name

__all__ = ["Entries", "Reserved", "merged", "read_reserved"]

Entries = dict[str, dict[str, str]]
_ORDER = ("allowed", "constrained", "notAllowed")
_PROHIBITED = "DMI-PROHIBITED"
# what of the four uses each value of PLUS forbids; the rest depend on a text elsewhere
_FORBIDS = {
    _PROHIBITED: TRAINING_ENTRIES,
    f"{_PROHIBITED}-AIMLTRAINING": ("cawg.ai_training", "cawg.ai_generative_training"),
    f"{_PROHIBITED}-GENAIMLTRAINING": ("cawg.ai_generative_training",),
}


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the sources of a picture reserve.

    Attributes:
        properties: XMP properties of PLUS and of the TDM Reservation Protocol.
        entries: entries on training and mining of their credentials.
    """

    properties: dict[Name, str] = field(default_factory=dict)
    entries: Entries = field(default_factory=dict)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings that a scan of the sources has for this."""
        found = ["rights.data_mining"] if (PLUS, "DataMining") in self.properties else []
        found += ["rights.tdm"] if (TDM, "reservation") in self.properties else []
        return (*found, *(["rights.training_mining"] if self.entries else []))

    def entries_without(self, kept: Mapping[Name, str]) -> Entries:
        """Return the entries, with those for properties that are not kept.

        Args:
            kept: the properties that the marked file holds.
        """
        lost = {name: text for name, text in self.properties.items() if name not in kept}
        found = self.entries
        if value := lost.get((PLUS, "DataMining")):
            code = value.rpartition("/")[2]
            constraint = self.properties.get((PLUS, "OtherConstraints"), "") or code
            names = _FORBIDS.get(code)
            entry = {"use": "notAllowed"} if names else _constrained(constraint)
            found = merged(found, dict.fromkeys(names or TRAINING_ENTRIES, entry))
        if (TDM, "reservation") in lost:
            policy = self.properties.get((TDM, "policy"), "")
            entry = _constrained(policy) if policy else {"use": "notAllowed"}
            found = merged(found, {"cawg.data_mining": entry})
        return found


def _constrained(text: str) -> dict[str, str]:
    return {"use": "constrained", "constraint_info": text}


def read_reserved(images: Iterable[ImageFile], settings: Settings) -> Reserved:
    """Read what pictures reserve; of several values for one use the most reserving counts."""
    properties: dict[Name, str] = {}
    entries: Entries = {}
    for image in images:
        for name, text in reserved_properties(image).items():
            properties.setdefault(name, text)
        if signs_rights(image):
            credential = read_credential(image, load_trust(settings.home), settings.as_of)
            if credential:
                entries = merged(entries, reserved_entries(credential))
    return Reserved(properties, entries)


def merged(one: Entries, other: Entries) -> Entries:
    """Join entries; for each use the most reserving counts, the first of equal ones."""
    found = {name: dict(entry) for name, entry in one.items()}
    for name, entry in other.items():
        had = found.get(name)
        if had is None or _ORDER.index(had["use"]) < _ORDER.index(entry["use"]):
            found[name] = dict(entry)
    return found
