"""Why two verifiers differ about one file: a cause by rule, from the file's bytes.

Each rule looks at the bytes for what it names (two stores, a box that ends too early, a hash that
fails in a parent, a certificate's usages …) and at what each verifier said. A disagreement that no
rule covers has no cause: `unexplained`, which makes `crosscheck.py` fail.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cbor2
from cryptography import x509

from counterproof.errors import ProvenanceError
from counterproof.images import ImageFile
from counterproof.provenance import jumbf
from counterproof.provenance.credentials import Credential

UNEXPLAINED = "unexplained"

_SELF = "self#jumbf="

_CLAIM_SIGNING = {
    "1.3.6.1.4.1.62558.2.1",  # C2PA claim signing
    "1.3.6.1.5.5.7.3.4",  # emailProtection
    "1.3.6.1.5.5.7.3.36",  # documentSigning
    "1.3.6.1.4.1.311.76.59.1.9",  # Microsoft's own
    "2.5.29.37.0",  # any
}


@dataclass(frozen=True)
class Case:
    """One disagreement.

    Attributes:
        data: the file's bytes.
        source: the bytes that it was made from; the same for a file as it is.
        credential: what we read.
        said: the finding's details.
    """

    data: bytes
    source: bytes
    credential: Credential
    said: Mapping[str, Any]

    @cached_property
    def image(self) -> ImageFile:
        """The file, opened."""
        return ImageFile.open(self.data)

    @cached_property
    def stores(self) -> list[bytes]:
        """Every manifest store that our walk finds in it."""
        return jumbf.embedded_stores(self.image)

    @cached_property
    def original(self) -> bytes:
        """The store of the source."""
        found = jumbf.embedded_stores(ImageFile.open(self.source))
        return found[0] if found else b""

    @property
    def store(self) -> bytes:
        """The first of them; empty without one."""
        return self.stores[0] if self.stores else b""

    @cached_property
    def active(self) -> jumbf.Manifest | None:
        """The last manifest of the store, the one that counts; None if it cannot be parted."""
        try:
            return list(jumbf.read_manifests(self.store).values())[-1]
        except (ProvenanceError, IndexError):
            return None

    @cached_property
    def others(self) -> frozenset[str]:
        """Those of the parts that do not lie in the source's active manifest."""
        try:
            inside = f"c2pa/{list(jumbf.read_manifests(self.original))[-1]}/"
        except (ProvenanceError, IndexError):
            return frozenset()
        return frozenset(part for part in self.parts if not part.startswith(inside))

    @cached_property
    def parts(self) -> frozenset[str]:
        """Names of the parts of the store that differ from the source's, by their kind."""
        if len(self.store) != len(self.original):
            return frozenset({"length"})
        named = list(_parts(self.original, 0, len(self.original), ""))
        return frozenset(
            _part_at(named, at)
            for at in range(len(self.store))
            if self.store[at] != self.original[at]
        )


def _parts(data: bytes, at: int, end: int, path: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and name of each box header, description and content, innermost last."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        stop = at + length if length >= 8 else end
        yield at, at + 8, f"{path}header"
        if kind == b"jumb":
            size = struct.unpack_from(">I", data, at + 8)[0]
            label = data[at + 33 : at + 8 + size].partition(b"\0")[0].decode("latin-1")
            yield at + 8, at + 8 + size, f"{path}{label}/description"
            yield from _parts(data, at + 8 + size, min(stop, end), f"{path}{label}/")
        else:
            yield at + 8, min(stop, end), f"{path}{kind.decode('latin-1')}"
        at = stop


def _part_at(parts: list[tuple[int, int, str]], at: int) -> str:
    return next((name for start, stop, name in reversed(parts) if start <= at < stop), "between")


# What the first verifier, with our own reading, leaves unjudged.


def two_stores(case: Case) -> bool:
    """More than one store lies in the file; we take none of them as its own."""
    return case.said["first"] == "unchecked" and len(case.stores) > 1


def piece_twice(case: Case) -> bool:
    """A segment of a JPEG's store stands twice, with the same number."""
    if case.said["first"] != "unchecked" or case.image.format != "jpeg":
        return False
    numbers = [block.data[:6] for block in case.image.blocks("c2pa")]
    return len(set(numbers)) < len(numbers)


def no_binding(case: Case) -> bool:
    """The active manifest has no assertion that binds it to the picture."""
    active = case.active
    return (
        case.said["first"] == "unchecked"
        and active is not None
        and not any(label.startswith("c2pa.hash.") for label in active.assertions)
    )


def no_algorithm(case: Case) -> bool:
    """The claim and its hash name no algorithm."""
    contents = case.credential.reading.contents.get(case.credential.reading.active) or {}
    claim = contents.get("claim") or {}
    return (
        case.said["first"] == "unchecked"
        and "alg" not in claim
        and "unknown algorithm" in case.credential.reading.error
    )


def wider_exclusion(case: Case) -> bool:
    """The hash leaves out more of the file than the store; the library does not hash it then."""
    at = [(block.offset, block.offset + block.length) for block in case.image.blocks("c2pa")]
    contents = case.credential.reading.contents.get(case.credential.reading.active) or {}
    hashed = (contents.get("assertion_store") or {}).get("c2pa.hash.data") or {}
    left_out = hashed.get("exclusions") or ()
    places = [(item["start"], item["start"] + item["length"]) for item in left_out]
    return (
        case.said["first"] == "unchecked"
        and "assertion.dataHash.mismatch" in case.said["first_codes"]
        and bool(at)
        and (at[0][0], at[-1][1]) not in places
    )


def refused_part(case: Case) -> bool:
    """A part of the store was changed: the library refuses the whole, the second judges on."""
    return _is_refused(case) and case.said["second"] == "broken" and bool(case.parts)


def refused_elsewhere(case: Case) -> bool:
    """As `refused_part`, and the active manifest, which the second calls unchanged, is so."""
    heads = {part for part in case.parts if _is_head(part)}
    return (
        _is_refused(case)
        and case.said["second"] == "intact"
        and bool(case.parts)
        and case.parts <= case.others | heads
    )


def _is_refused(case: Case) -> bool:
    reading = case.credential.reading
    return case.said["first"] == "unchecked" and bool(reading.error or reading.ambiguous)


def container_refused(case: Case) -> bool:
    """The library refuses the container; our walk finds it damaged too."""
    return (
        case.said["first"] == "unchecked"
        and not case.parts
        and bool(case.image.metadata.damage)
        and "asset could not be parsed" in case.credential.reading.error
    )


# What the second verifier leaves unjudged.


def container_damaged(case: Case) -> bool:
    """The second refuses the container: it is damaged, or bytes stand behind its end."""
    return (
        case.said["second"] == "unchecked"
        and "format extraction failed" in str(case.said.get("second_error", ""))
        and (bool(case.image.metadata.damage) or _behind(case))
    )


def _behind(case: Case) -> bool:
    data, end = case.data, len(case.data)
    if case.image.blocks("trailer"):
        return True
    if case.image.format == "webp":
        return int(struct.unpack_from("<I", data, 4)[0]) + 8 < end
    return case.image.format == "gif" and not data.endswith(b"\x00\x3b")


def update_manifest(case: Case) -> bool:
    """The active manifest is an update manifest (superbox type `c2um`)."""
    at = case.store.rfind(b"c2um\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71")
    return case.said["second"] == "unchecked" and at > 0


def signature_box(case: Case) -> bool:
    """The second finds no signature: header or description of its box was changed."""
    return (
        case.said["second"] == "unchecked"
        and "claimSignature.missing" in case.said["second_codes"]
        and any("c2pa.signature" in part or _is_head(part) for part in case.parts)
    )


def signature_reference(case: Case) -> bool:
    """The second finds no signature: the claim's own reference to it was changed."""
    active = case.active
    if case.said["second"] != "unchecked" or active is None:
        return False
    try:
        claim = cbor2.loads(active.claim)
    except (cbor2.CBORDecodeError, ValueError):
        return False
    url = claim.get("signature") if isinstance(claim, Mapping) else None
    return (
        "claimSignature.missing" in case.said["second_codes"]
        and any(part.endswith(("c2pa.claim/cbor", "c2pa.claim.v2/cbor")) for part in case.parts)
        and url not in (f"{_SELF}c2pa.signature", f"{_SELF}/c2pa/{active.label}/c2pa.signature")
    )


def unknown_algorithm(case: Case) -> bool:
    """The signature names an algorithm that does not exist: unread by one, wrong for the other."""
    return (
        case.said["second"] == "unchecked"
        and list(case.said["second_codes"]) == ["algorithm.unsupported"]
        and any(part.endswith("c2pa.signature/cbor") for part in case.parts)
    )


def box_header(case: Case) -> bool:
    """The second refuses the store: a header or a description of a box was changed."""
    return case.said["second"] == "unchecked" and any(_is_head(part) for part in case.parts)


def segment_header(case: Case) -> bool:
    """The second refuses the store: a header that each segment of a JPEG repeats was changed."""
    return (
        case.said["second"] == "unchecked"
        and case.image.format == "jpeg"
        and not case.parts
        and _heads(case.image) != _heads(ImageFile.open(case.source))
    )


def _heads(image: ImageFile) -> list[bytes]:
    """Return instance, number and box header of each APP11 segment."""
    return [block.data[:14] for block in image.blocks("c2pa")]


def _is_head(part: str) -> bool:
    return part.endswith(("header", "description"))


# About parents, the signer, and bytes.


def parent_recorded(case: Case) -> bool:
    """A parent's failure was recorded when it was taken in, in an assertion that is signed."""
    return (
        case.said["about"] == "parents"
        and case.said["first"] == "broken"
        and any(_recorded(value) for value in _ingredients(case))
    )


def parent_bytes(case: Case) -> bool:
    """Bytes of a parent's own manifest do not match its claim or signature."""
    reading = case.credential.reading
    return (
        case.said["about"] == "parents"
        and case.said["first"] == "broken"
        and (
            any(labels for name, labels in reading.mismatched.items() if name != reading.active)
            or bool(case.others)
        )
    )


def _ingredients(case: Case) -> Iterator[Mapping[str, Any]]:
    for manifest in case.credential.reading.contents.values():
        for label, value in (manifest.get("assertion_store") or {}).items():
            if label.startswith("c2pa.ingredient") and isinstance(value, Mapping):
                yield value


def _recorded(value: Mapping[str, Any]) -> bool:
    results = value.get("validationResults") or {}
    failures = list(value.get("validationStatus") or ())
    for item in results.values():
        for one in item if isinstance(item, list) else [item]:
            found = one.get("validationDeltas", one) if isinstance(one, Mapping) else {}
            failures += found.get("failure") or () if isinstance(found, Mapping) else ()
    return any(
        "mismatch" in str(item.get("code")) for item in failures if isinstance(item, Mapping)
    )


def usages_of_issuer(case: Case) -> bool:
    """A certificate between signer and list states usages that leave claim signing out."""
    if (case.said["about"], case.said["first"]) != ("signer", "unlisted"):
        return False
    signature = case.credential.reading.signatures[case.credential.reading.active]
    for certificate in signature.chain[1:]:
        try:
            usages = x509.load_der_x509_certificate(certificate.der).extensions
            named = usages.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if not {usage.dotted_string for usage in named} & _CLAIM_SIGNING:
            return True
    return False


def short_rest(case: Case) -> bool:
    """Fewer bytes than a box header stand behind the last box of a BMFF file."""
    at, data = 0, case.data
    while at + 8 <= len(data):
        length = int(struct.unpack_from(">I", data, at)[0])
        if length == 1:
            length = int(struct.unpack_from(">Q", data, at + 8)[0])
        if length < 8:
            return False
        at += length
    return case.said["about"] == "bytes" and 0 < len(data) - at < 8


RULES: tuple[Callable[[Case], bool], ...] = (
    short_rest,
    usages_of_issuer,
    parent_recorded,
    parent_bytes,
    two_stores,
    piece_twice,
    no_binding,
    no_algorithm,
    wider_exclusion,
    refused_part,
    refused_elsewhere,
    container_refused,
    container_damaged,
    update_manifest,
    signature_box,
    signature_reference,
    unknown_algorithm,
    segment_header,
    box_header,
)


def cause_of(case: Case) -> str:
    """Return the name of the first rule that the bytes fulfil, or `unexplained`."""
    return next((rule.__name__ for rule in RULES if rule(case)), UNEXPLAINED)
