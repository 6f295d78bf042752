"""Find and take apart the manifest store of a picture: JUMBF boxes, no more.

The C2PA library does not hand out what the five answers need (every certificate, every
timestamp token, the bytes of each claim), so the store is read a second time here. Every
read is bounded by the bytes in hand.

Sources: ISO/IEC 19566-5 (JUMBF), JPEG XT part 3 annex B (APP11 segments), C2PA 2.4 §11 (boxes)
and §A.3 (where each container keeps the store).
"""

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cbor2

from counterproof.errors import ProvenanceError

if TYPE_CHECKING:
    from counterproof.containers import Block
    from counterproof.images import ImageFile

__all__ = [
    "Box",
    "Manifest",
    "contents_of",
    "embedded_stores",
    "is_store",
    "mismatched_assertions",
    "only",
    "read_manifests",
    "references",
]

_MAX_DEPTH = 16
_MAX_BOXES = 50_000
_STORE_LABEL = "c2pa"


@dataclass(frozen=True, slots=True)
class Box:
    """One JUMBF box.

    Attributes:
        kind: four characters, such as `jumb`, `cbor`, `json`.
        label: of a superbox, from its description box; empty for others.
        payload: without the box header; what a hashed URI of a superbox covers.
        children: of a superbox, without the description box.
    """

    kind: str
    label: str = ""
    payload: bytes = b""
    children: tuple["Box", ...] = ()

    def child(self, *labels: str) -> "Box | None":
        """Return the first child with one of these labels."""
        return next((box for box in self.children if box.label in labels), None)

    def content(self, kind: str = "cbor") -> bytes:
        """Return the payload of the first child of a kind; empty without one."""
        return next((box.payload for box in self.children if box.kind == kind), b"")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest of a store as it lies in the file.

    Attributes:
        label: its URN, unique in the store.
        claim: the CBOR of the claim, which the signature covers; empty without one.
        signature: the CBOR of the COSE_Sign1 structure; empty without one.
        assertions: label → box.
    """

    label: str
    claim: bytes
    signature: bytes
    assertions: dict[str, Box] = field(default_factory=dict)


def embedded_stores(image: "ImageFile") -> list[bytes]:
    """Return every manifest store that a picture carries inside.

    Returns:
        JUMBF superboxes `c2pa` with their headers. More than one is against the standard:
        which of them counts is then anybody's choice.
    """
    blocks = image.blocks("c2pa")
    if image.format == "jpeg":
        return _from_segments(blocks)
    return [data for block in blocks if is_store(data := _from_block(image, block))]


def is_store(data: bytes) -> bool:
    """Tell whether these bytes start with a C2PA manifest store."""
    return data[4:8] == b"jumb" and data[12:16] == b"jumd" and data[33:38] == b"c2pa\0"


def _from_block(image: "ImageFile", block: "Block") -> bytes:
    if image.format == "svg":
        start = image.data.find(b">", block.offset) + 1
        end = image.data.find(b"</c2pa:manifest", start)
        if not 0 < start < end:
            return b""
        try:
            return base64.b64decode(b"".join(image.data[start:end].split()), validate=True)
        except binascii.Error:
            return b""
    if image.format in ("avif", "heic", "heif", "jxl", "mp4", "mov", "m4a"):
        if block.data[4:8] == b"jumd":  # the `jumb` box itself, given without its header
            return image.data[block.offset : block.offset + block.length]
        purpose, _, rest = block.data[4:].partition(b"\0")  # behind version and flags
        return rest[8:] if purpose in (b"manifest", b"original", b"update") else b""
    return block.data


def _from_segments(blocks: list["Block"]) -> list[bytes]:
    """Join APP11 segments by box instance number; only the first keeps its box header."""
    instances: dict[bytes, list[tuple[int, bytes]]] = {}
    for block in blocks:
        if len(block.data) >= 14:
            (number,) = struct.unpack_from(">I", block.data, 2)
            instances.setdefault(block.data[:2], []).append((number, block.data[6:]))
    found = []
    for parts in instances.values():
        parts.sort(key=lambda part: part[0])
        head = parts[0][1]
        skip = 16 if head[:4] == b"\0\0\0\1" else 8
        data = head + b"".join(part[skip:] for _, part in parts[1:])
        if is_store(data):
            found.append(data)
    return found


def read_manifests(store: bytes) -> dict[str, Manifest]:
    """Take a manifest store apart.

    Returns:
        Label → manifest, in the order of the store.

    Raises:
        ProvenanceError: if the bytes are not a well-formed manifest store, or two manifests
            share a label.
    """
    budget = [_MAX_BOXES]
    try:
        box = next(_boxes(store, 0, len(store), 0, budget), None)
    except (struct.error, IndexError) as err:
        raise ProvenanceError("the manifest store ends early") from err
    if box is None or box.label != _STORE_LABEL:
        raise ProvenanceError("expected a JUMBF box labelled c2pa")
    found: dict[str, Manifest] = {}
    for child in box.children:
        if child.label in found:
            raise ProvenanceError(f"two manifests are labelled {child.label}")
        claim = child.child("c2pa.claim.v2", "c2pa.claim")
        signature = child.child("c2pa.signature")
        assertions = child.child("c2pa.assertions")
        found[child.label] = Manifest(
            child.label,
            claim.content() if claim else b"",
            signature.content() if signature else b"",
            {item.label: item for item in assertions.children} if assertions else {},
        )
    return found


def only(store: bytes, label: str) -> bytes:
    """Return a manifest store that holds one manifest of another, bytes as they were.

    Raises:
        ProvenanceError: if the store is malformed, or holds no such manifest.
    """
    budget = [_MAX_BOXES]
    try:
        box = next(_boxes(store, 0, len(store), 0, budget), None)
    except (struct.error, IndexError) as err:
        raise ProvenanceError("the manifest store ends early") from err
    found = box.child(label) if box is not None and box.label == _STORE_LABEL else None
    if box is None or found is None:
        raise ProvenanceError(f"the manifest store holds no manifest {label}")
    (described,) = struct.unpack_from(">I", box.payload)
    inside = box.payload[:described] + _with_header(found.payload)
    return _with_header(inside)


def _with_header(payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, b"jumb") + payload


def _boxes(data: bytes, at: int, end: int, depth: int, budget: list[int]) -> Iterator[Box]:
    while at + 8 <= end:
        budget[0] -= 1
        if budget[0] < 0 or depth > _MAX_DEPTH:
            raise ProvenanceError("the manifest store nests too many boxes")
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else at + length
        if stop < body or stop > end:
            raise ProvenanceError(f"a box of the manifest store reaches past its end at byte {at}")
        name = kind.decode("latin-1")
        if name == "jumb":
            yield _superbox(data, body, stop, depth, budget)
        else:
            yield Box(name, payload=data[body:stop])
        at = stop


def _superbox(data: bytes, body: int, stop: int, depth: int, budget: list[int]) -> Box:
    inner = list(_boxes(data, body, stop, depth + 1, budget))
    label = ""
    if inner and inner[0].kind == "jumd" and len(inner[0].payload) > 17:
        description = inner[0].payload
        if description[16] & 2:
            label = description[17:].partition(b"\0")[0].decode("utf-8", "replace")
    return Box("jumb", label, data[body:stop], tuple(inner[1:]))


def references(claim: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the hashed URIs of the assertions that a claim declares, in order."""
    found: list[Mapping[str, Any]] = []
    for key in ("assertions", "created_assertions", "gathered_assertions"):
        items = claim.get(key)
        if isinstance(items, list | tuple):
            found.extend(item for item in items if isinstance(item, Mapping))
    return found


def mismatched_assertions(manifest: Manifest) -> tuple[str, ...]:
    """Return the labels of assertions that are not the ones the claim was made of.

    An assertion that is missing, redacted or hashed by an algorithm that we do not know is
    not among them. Source: C2PA 2.4 §8.4.2.3, hashing of JUMBF boxes.

    Raises:
        ProvenanceError: if the claim is not CBOR.
    """
    claim = _decode(manifest.claim)
    default = claim.get("alg", "sha256")
    redacted = {_last(item) for item in claim.get("redacted_assertions") or ()}
    found = []
    for item in references(claim):
        label = _last(item.get("url"))
        box = manifest.assertions.get(label)
        name = str(item.get("alg") or default)
        if box is None or label in redacted or name not in ("sha256", "sha384", "sha512"):
            continue
        if hashlib.new(name, box.payload).digest() != item.get("hash"):
            found.append(label)
    return tuple(found)


def contents_of(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as the C2PA library would, claim and assertions, for one it refuses.

    Raises:
        ProvenanceError: if the claim is not CBOR.
    """
    store: dict[str, Any] = {}
    for label, box in manifest.assertions.items():
        try:
            if text := box.content("json"):
                store[label] = json.loads(text)
            elif data := box.content("cbor"):
                store[label] = _decode(data)
        except (ProvenanceError, ValueError, RecursionError):
            continue
    return {"claim": _decode(manifest.claim), "assertion_store": store}


def _last(url: object) -> str:
    return str(url).rpartition("/")[2]


def _decode(data: bytes) -> dict[str, Any]:
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, OverflowError) as err:
        raise ProvenanceError(f"expected CBOR: {err}") from err
    if not isinstance(value, Mapping):
        raise ProvenanceError("expected a CBOR map")
    return {str(key): item for key, item in value.items()}
