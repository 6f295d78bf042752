"""Reservations of rights against data mining and training, as a picture states them.

PLUS Data Mining, which IPTC takes over, and the W3C community's TDM Reservation Protocol stand
in XMP; entries on training and mining stand in a Content Credential, signed with it. A
reservation says what its author asks for. Whether it binds anybody is a matter of law.

Source: PLUS LDF 2.0.1 vocabulary `DataMining` and IPTC Photo Metadata 2023.1 for the nine
values; TDM Reservation Protocol, final report of 2024-05-10, §6.6 for the two properties (it
describes them for PDF; pictures carry the same XMP); CAWG Training and Data Mining 1.1 and
C2PA 2.0 §18.21 for the entries.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.xmp import Name, Packet, packets

if TYPE_CHECKING:
    from counterproof.images import ImageFile
    from counterproof.provenance.credentials import Credential
    from counterproof.provenance.trust import TrustStore

__all__ = [
    "PLUS",
    "TDM",
    "RightsAnalyzer",
    "reserved_entries",
    "reserved_properties",
    "signs_rights",
    "training_mining",
]

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
TDM = "http://www.w3.org/ns/tdmrep/"
# the vocabulary itself ends in '#', and some writers take its address for the namespace
_TDM_NAMES = (TDM, "http://www.w3.org/ns/tdmrep#")
_MENTIONS = (b"DataMining", b"ns/tdmrep")
_PROPERTIES: tuple[Name, ...] = (
    (PLUS, "DataMining"),
    (PLUS, "OtherConstraints"),
    *((space, name) for space in _TDM_NAMES for name in ("reservation", "policy")),
)
_VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
_RESERVED = {
    "DMI-PROHIBITED": "all",
    "DMI-PROHIBITED-AIMLTRAINING": "model_training",
    "DMI-PROHIBITED-GENAIMLTRAINING": "generative_training",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": "all_but_search",
    "DMI-PROHIBITED-SEECONSTRAINT": "see_constraint",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": "see_embedded",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR": "see_linked",
}
_USES = ("allowed", "notAllowed", "constrained")
_ASSERTION = b"training-mining"
_TAKEN = ("verified", "intact", "unchecked")  # states of a credential whose word is somebody's
_MAX_QUOTE = 100
_MAX_ADDRESS = 500


class RightsAnalyzer(Analyzer):
    """Reads reservations of rights in XMP and in Content Credentials. Decodes no pixels.

    A credential is read only if the words of the assertion stand in its bytes: 20 µs where
    there is none of all this, about 5 ms with such a credential.
    """

    name = "rights"
    prefixes = ("rights",)
    stage = Stage.QUICK
    timeout_s = 10.0

    @cached_property
    def trust(self) -> "TrustStore":
        """The lists that tell a verified credential from another."""
        from counterproof.provenance.trust import load_trust

        return load_trust(self.settings.home)

    def digest(self) -> str:
        """Return what the results depend on: the lists."""
        return self.trust.digest()

    def analyze(self, image: "ImageFile") -> Iterator[Observation]:
        """Yield at most one finding per vocabulary.

        Raises:
            ImageError: never; what cannot be read reserves nothing.
        """
        found = packets(image, _MENTIONS, _PROPERTIES)
        if found:
            yield from _data_mining(found)
            yield from _tdm(found)
        if signs_rights(image):
            from counterproof.provenance.credentials import read_credential

            credential = read_credential(image, self.trust, self.settings.as_of)
            if credential and (finding := training_mining(credential)):
                yield finding


def _finding(code: str, claim: Claim, details: dict[str, Any]) -> Finding:
    return Finding("rights", code, claim, Basis.DECLARED, Severity.INFO, details=details)


def _place(packet: Packet) -> dict[str, Any]:
    return {"kind": packet.kind, "offset": packet.offset}


def _data_mining(found: Sequence[Packet]) -> Iterator[Finding]:
    """Read PLUS Data Mining. Of several values the most reserving counts."""
    values: dict[str, Packet] = {}
    for packet in found:
        for value in packet.get(PLUS, "DataMining"):
            values.setdefault(value, packet)
    read = {value: _mining_code(value) for value in values}
    reserved = [value for value, code in read.items() if code in _RESERVED]
    allowed = [value for value, code in read.items() if code == "DMI-ALLOWED"]
    unknown = [v for v, code in read.items() if not code and v]
    for chosen, name, claim in (
        (reserved, "rights.data_mining", Claim.RESERVED),
        (allowed, "rights.data_mining.allowed", Claim.NONE),
        (unknown, "rights.data_mining.unknown", Claim.NONE),
    ):
        if not chosen:
            continue
        packet = values[chosen[0]]
        code = read[chosen[0]]
        details: dict[str, Any] = {
            "value": (code or chosen[0])[:_MAX_QUOTE],
            "scope": _RESERVED.get(code),
            "values": [value[:_MAX_QUOTE] for value in values][:8],
            "constraints": bool(packet.get(PLUS, "OtherConstraints")),
            "where": _place(packet),
        }
        yield _finding(name, claim, details)
        return


def _mining_code(value: str) -> str:
    """Return the value's name in the vocabulary: by address, qualified name or bare; '' if none."""
    head, _, name = value.strip().rpartition("/")
    if head and f"{head}/".lower().replace("https:", "http:") != _VOCABULARY:
        return ""
    name = name.rpartition(":")[2].upper()
    known = name in _RESERVED or name in ("DMI-ALLOWED", "DMI-UNSPECIFIED")
    return name if known else ""


def _tdm(found: Sequence[Packet]) -> Iterator[Finding]:
    """Read the TDM Reservation Protocol. Any value but 0 and 1 counts as none (its §5)."""
    for wanted, name, claim in (
        ("1", "rights.tdm", Claim.RESERVED),
        ("0", "rights.tdm.allowed", Claim.NONE),
    ):
        for packet in found:
            for space in _TDM_NAMES:
                if wanted in packet.get(space, "reservation"):
                    policy = next(iter(packet.get(space, "policy")), "")
                    details = {
                        "reservation": int(wanted),
                        "policy": policy[:_MAX_ADDRESS] or None,
                        "where": _place(packet),
                    }
                    yield _finding(name, claim, details)
                    return


def signs_rights(image: "ImageFile") -> bool:
    """Tell whether a credential of the picture may hold entries on training and mining."""
    stores = [block.data for block in image.blocks("c2pa")]
    if image.sidecar:
        stores.append(image.sidecar)
    return any(_ASSERTION in store for store in stores)


def reserved_properties(image: "ImageFile") -> dict[Name, str]:
    """Return the XMP properties by which a picture reserves rights, to be written elsewhere.

    `DataMining` as its address in the vocabulary, with `OtherConstraints` beside it; the TDM
    `reservation`, always 1, with its `policy`. Nothing of what is allowed.
    """
    found = packets(image, _MENTIONS, _PROPERTIES)
    values: dict[Name, str] = {}
    for packet in found:
        for value in packet.get(PLUS, "DataMining"):
            code = _mining_code(value)
            if code in _RESERVED and (PLUS, "DataMining") not in values:
                values[PLUS, "DataMining"] = _VOCABULARY + code
                text = next(iter(packet.get(PLUS, "OtherConstraints")), "")
                if text:
                    values[PLUS, "OtherConstraints"] = text
        for space in _TDM_NAMES:
            if "1" in packet.get(space, "reservation") and (TDM, "reservation") not in values:
                values[TDM, "reservation"] = "1"
                policy = next(iter(packet.get(space, "policy")), "")
                if policy:
                    values[TDM, "policy"] = policy[:_MAX_ADDRESS]
    return values


def reserved_entries(credential: "Credential") -> dict[str, dict[str, str]]:
    """Return the entries of a credential that do not allow a use: name → `use`, `constraint_info`.

    Names are those of CAWG 1.1; C2PA 2.0 named the same uses.
    """
    from counterproof.provenance.details import training_entries

    if credential.state not in _TAKEN:
        return {}
    reading = credential.reading
    found: dict[str, dict[str, str]] = {}
    for name, entry in training_entries(reading.contents.get(reading.active)).items():
        if entry["use"] in ("notAllowed", "constrained"):
            prefix, _, use = name.partition(".")
            found[f"cawg.{use}" if prefix == "c2pa" else name] = entry
    return found


def training_mining(credential: "Credential") -> Finding | None:
    """Return the finding for the training and mining entries of a credential's active manifest.

    Of a credential that is broken nothing is taken: its changed bytes are nobody's word.

    Returns:
        A reservation where an entry does not allow a use, a permission where all allow it;
        None without entries.
    """
    from counterproof.provenance.details import named_assertions

    if credential.state not in _TAKEN:
        return None
    reading = credential.reading
    entries = named_assertions(reading.contents.get(reading.active))["training_mining"]
    uses = {name: use for name, use in entries.items() if use in _USES}
    if not uses:
        return None
    reserved = [name for name, use in uses.items() if use != "allowed"]
    details: dict[str, Any] = {
        "reserved": [name.partition(".")[2] or name for name in reserved],
        "entries": uses,
        "credential": credential.state,
    }
    details["reserved"] = list(dict.fromkeys(details["reserved"]))
    if credential.holds_from:
        details["holds_from"] = credential.holds_from.isoformat()
    if credential.holds_until:
        details["holds_until"] = credential.holds_until.isoformat()
    verified = credential.state == "verified"
    return Finding(
        RightsAnalyzer.name,
        "rights.training_mining" if reserved else "rights.training_mining.allowed",
        Claim.RESERVED if reserved else Claim.NONE,
        Basis.CRYPTOGRAPHIC if verified else Basis.DECLARED,
        Severity.INFO,
        details=details,
    )
