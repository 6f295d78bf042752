"""Labels that say how a picture was made: IPTC source type, IPTC AI fields, GB 45438-2025.

A label is a declaration: anyone can write or remove it. What the values mean is said in
`docs/labels.md`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity
from counterproof.images import ImageFile
from counterproof.provenance import aigc
from counterproof.provenance.iptc import EXTENSION, SourceType, read_source_type
from counterproof.provenance.texts import read_texts
from counterproof.xmp import Packet, packets

__all__ = ["LabelsAnalyzer"]

_MENTIONS = (b"DigitalSourceType", b"AISystem", b"AIPrompt", b"AIGC")
_PROPERTIES = (
    (EXTENSION, "DigitalSourceType"),
    (EXTENSION, "AISystemUsed"),
    (EXTENSION, "AISystemVersionUsed"),
    (EXTENSION, "AIPromptInformation"),
    (EXTENSION, "AIPromptWriterName"),
    (aigc.NAMESPACE, "AIGC"),
)
_ADMISSIONS = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
_MAX_QUOTE = 100  # characters of a value that a finding quotes
_MAX_TYPES = 8  # source types, labels and places that findings list


class LabelsAnalyzer(Analyzer):
    """Reads the labels in XMP, EXIF, PNG texts and comments. Decodes no pixels."""

    name = "labels"
    prefixes = ("label",)
    stage = Stage.QUICK
    timeout_s = 10.0

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield a finding for each label.

        Raises:
            ImageError: never; what cannot be read is no label.
        """
        found = packets(image, _MENTIONS, _PROPERTIES)
        types = list(_source_types(found))
        yield from types
        yield from _ai_fields(found, types)
        yield from _aigc_findings(_aigc_labels(image, found), _claim_beside(types))


def _place(packet: Packet) -> dict[str, Any]:
    return {"kind": packet.kind, "offset": packet.offset}


def _severity(claim: Claim) -> Severity:
    return Severity.MEDIUM if claim in _ADMISSIONS else Severity.INFO


def _source_types(found: Iterable[Packet]) -> Iterator[Finding]:
    """Yield one finding per digital source type that the packets name."""
    named: dict[str, tuple[SourceType, str, list[dict[str, Any]]]] = {}
    for packet in found:
        for value in packet.get(EXTENSION, "DigitalSourceType"):
            kind = read_source_type(value)
            entry = named.setdefault(kind.code or value, (kind, value, []))
            entry[2].append(_place(packet))
    for kind, value, places in list(named.values())[:_MAX_TYPES]:
        details: dict[str, Any] = {
            "source_type": kind.code or None,
            "value": value[:_MAX_QUOTE],
            "where": places[:_MAX_TYPES],
        }
        if kind.malformed:
            details["malformed"] = list(kind.malformed)
        yield Finding(
            "labels",
            "label.iptc.source_type",
            kind.claim,
            Basis.DECLARED,
            _severity(kind.claim),
            details=details,
        )


def _ai_fields(found: Iterable[Packet], types: Sequence[Finding]) -> Iterator[Finding]:
    """Yield one finding if an AI field of IPTC 2025.1 is filled in.

    IPTC defines the fields as what was used "to generate this image", yet they also stand in
    pictures that a model only edited. The source type says which; where it is silent or says
    otherwise, the fields are too weak to choose, and the code ends in `possible`.
    """
    system: list[str] = []
    version: list[str] = []
    prompts: list[str] = []
    writers = 0
    places = []
    for packet in found:
        before = len(system) + len(version) + len(prompts) + writers
        system += filter(None, packet.get(EXTENSION, "AISystemUsed"))
        version += filter(None, packet.get(EXTENSION, "AISystemVersionUsed"))
        prompts += filter(None, packet.get(EXTENSION, "AIPromptInformation"))
        writers += len([name for name in packet.get(EXTENSION, "AIPromptWriterName") if name])
        if len(system) + len(version) + len(prompts) + writers > before:
            places.append(_place(packet))
    if not places:
        return
    settled = any(finding.claim in _ADMISSIONS for finding in types)
    yield Finding(
        "labels",
        "label.iptc.ai_fields" if settled else "label.iptc.ai_fields.possible",
        Claim.NONE if settled else Claim.SYNTHETIC,
        Basis.DECLARED,
        Severity.INFO if settled else Severity.LOW,
        details={
            "system": system[0][:_MAX_QUOTE] if system else None,
            "version": version[0][:_MAX_QUOTE] if version else None,
            "has_prompt": bool(prompts),
            "prompt_chars": max(map(len, prompts), default=0),
            "names_prompt_writer": writers > 0,
            "where": places,
        },
    )


_Located = tuple[aigc.AigcLabel, dict[str, Any]]


def _aigc_labels(image: ImageFile, found: Iterable[Packet]) -> list[_Located]:
    """Read the GB 45438 labels of every carrier, each with its place."""
    labels: list[_Located] = []
    for packet in found:
        place = {**_place(packet), "key": "TC260:AIGC"}
        for value in packet.get(aigc.NAMESPACE, "AIGC"):
            labels.append((aigc.read_label(value), place))
        for fields in packet.fields.get((aigc.NAMESPACE, "AIGC"), ()):
            stored = {name: values[0] for (_, name), values in fields.items() if values}
            labels.append((aigc.read_fields(stored), place))
    for text in read_texts(image):
        if (text.kind, text.key) == ("text", "AIGC") or _is_label(text.value):
            labels.append((aigc.read_label(text.value), text.to_json()))
    return labels


def _is_label(text: str) -> bool:
    """Tell whether a text outside the standard's own keys is a label all the same."""
    if not text.startswith("{"):
        return False
    return '"AIGC"' in text[:64] or ('"ContentProducer"' in text and '"Label"' in text)


_STATES = {"1": "declared", "2": "possible", "3": "suspected", "": "unparsed"}


def _claim_beside(types: Iterable[Finding]) -> Claim:
    """Return what a GB 45438 label claims beside these source types.

    The standard has one value for generated and for edited pictures; where the file itself says
    plainly that a model edited it, the label says no more.
    """
    claims = {finding.claim for finding in types}
    edited = Claim.MODEL_EDITED in claims and Claim.SYNTHETIC not in claims
    return Claim.MODEL_EDITED if edited else Claim.SYNTHETIC


def _aigc_findings(located: Sequence[_Located], claim: Claim) -> Iterator[Finding]:
    if not located:
        return
    labels = [label for label, _ in located]
    reasons = list(
        dict.fromkeys(
            [
                *aigc.judge_carriers(labels),
                *(reason for label in labels for reason in label.reasons),
            ]
        )
    )
    stated = [state for state in ("1", "2", "3") if any(x.label == state for x in labels)]
    details = _aigc_details(located)
    if reasons:
        # Defective or not, a label that plainly says 1 is an admission.
        admitted = "1" in stated
        yield Finding(
            "labels",
            "label.aigc.invalid",
            claim if admitted else Claim.NONE,
            Basis.DECLARED,
            Severity.MEDIUM if admitted else Severity.LOW,
            details={"reason": reasons[0], "reasons": reasons, **details},
        )
        stated = [state for state in stated if state != "1"] or ([] if admitted else [""])
    for state in stated:
        yield Finding(
            "labels",
            f"label.aigc.{_STATES[state]}",
            claim,
            Basis.DECLARED,
            Severity.MEDIUM if state == "1" else Severity.LOW,
            details=details,
        )


def _aigc_details(located: Sequence[_Located]) -> dict[str, Any]:
    return {
        "labels": [
            {
                "label": label.label or None,
                "producer": _quote(label, "ContentProducer"),
                "produce_id": _quote(label, "ProduceID"),
                "provider_code": label.provider.to_json() if label.provider else None,
                "propagated": bool(label.values.get("ContentPropagator")),
                "faults": {name: list(found) for name, found in label.where.items()},
                "where": place,
            }
            for label, place in located[:_MAX_TYPES]
        ]
    }


def _quote(label: aigc.AigcLabel, name: str) -> str | None:
    return label.values.get(name, "")[:_MAX_QUOTE] or None
