"""Read the manifest store of a picture with the C2PA library, offline and quietly.

The library checks hashes and signatures of claims. What its defaults would do besides (fetch
remote manifests, ask for revocation, resolve identities on the network) is switched off, and
what it judges by the machine's clock is judged again in `standing`.
"""

import functools
import importlib.metadata
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance import jumbf
from counterproof.provenance.certificates import SIGNER_USAGES
from counterproof.provenance.claim_signature import ClaimSignature, read_signature

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = [
    "NATIVE_FLOOR",
    "REMOTE_NAMESPACE",
    "Reading",
    "carries_credential",
    "is_outdated",
    "library_context",
    "library_version",
    "read_store",
    "remote_url",
]

REMOTE_NAMESPACE = "http://purl.org/dc/terms/"
"""The namespace of `provenance`, which names a remote manifest. Source: C2PA 2.4 §11.4."""

_FLOOR = (0, 38, 1)
NATIVE_FLOOR = (0, 91, 3)
"""Oldest c2pa-rs whose word counts. Source: the version that docs/credentials.md measures; in
2026 releases before it were repaired for altered files that they read as trusted."""
_MAX_URL = 4096
_SIDECAR_MIME = "application/c2pa"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a manifest store.

    Attributes:
        status: `read` (by the library), `refused` (by the library, but its parts can be
            read), `unparsed` (neither), `unfetched` (it lies elsewhere).
        active: label of the active manifest.
        contents: label → `claim` and `assertion_store` of each manifest.
        results: the library's validation results.
        signatures: label → signature of each claim, as far as it could be read.
        mismatched: label → labels of assertions whose hash is not the one in the claim.
        error: the library's words where it refused.
        url: of a remote manifest, if the picture names one.
        origin: `embedded`, `sidecar`, `remote` or `alone` (the file is a manifest store).
        text: the library's JSON.
        ambiguous: why the store is not plainly one; empty if it is.
    """

    status: str
    active: str = ""
    contents: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    signatures: dict[str, ClaimSignature] = field(default_factory=dict)
    mismatched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    error: str = ""
    url: str = ""
    origin: str = "embedded"
    text: str = ""
    ambiguous: str = ""


def carries_credential(image: "ImageFile") -> bool:
    """Tell, from the metadata blocks alone, whether a picture may have a credential.

    True for an embedded store, a sidecar, or an XMP packet that names a remote manifest. The
    C2PA library is neither loaded nor asked.
    """
    if image.sidecar is not None:
        return True
    for block in image.metadata.blocks:
        if block.kind == "c2pa" or (block.kind == "xmp" and _may_name_remote(block.data)):
            return True
    return not image.format and jumbf.is_store(image.data)


def _may_name_remote(packet: bytes) -> bool:
    return b"provenance" in packet and REMOTE_NAMESPACE.encode() in packet


def remote_url(image: "ImageFile") -> str:
    """Return the address of a remote manifest that the picture's XMP names; '' without one.

    An address inside the picture (`self#jumbf=…`) is none.
    """
    from counterproof import xmp

    for packet in xmp.packets(image, [REMOTE_NAMESPACE.encode()]):
        for value in packet.get(REMOTE_NAMESPACE, "provenance"):
            if value.strip().lower().startswith(("http://", "https://")):
                return value.strip()[:_MAX_URL]
    return ""


@functools.cache
def library_version() -> str:
    """Return the versions of the C2PA library, after checking that they are new enough.

    Raises:
        UserError: if the installed c2pa-python, or the native library in it, is older than the
            floor.
    """
    logging.getLogger("c2pa").setLevel(logging.CRITICAL)
    installed = importlib.metadata.version("c2pa-python")
    _check_floor("c2pa-python", installed, _FLOOR)
    import c2pa

    native = c2pa.sdk_version()
    _check_floor("c2pa-rs", native, NATIVE_FLOOR)
    return f"c2pa-python {installed}, c2pa-rs {native}"


def _check_floor(name: str, version: str, floor: tuple[int, ...]) -> None:
    if _numbers(version) < floor:
        wanted = ".".join(map(str, floor))
        raise UserError(
            f"{name} {version} is too old: at least {wanted} is needed; pip install -U c2pa-python"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def is_outdated(library: str) -> bool:
    """Tell whether a record names a native library below the floor, or none.

    >>> is_outdated("c2pa-python 0.37.0, c2pa-rs 0.90.0"), is_outdated("")
    (True, True)
    """
    found = re.search(r"c2pa-rs ([\d.]+)", library)
    return found is None or _numbers(found[1]) < NATIVE_FLOOR


@functools.cache
def library_context() -> Any:
    """Make the library's settings: offline, no thumbnails, no judgement of trust.

    The library is given no anchor. It would judge by the machine's clock, and to it an anchor
    for time stamps or for identities vouches for claims as well; `standing` judges instead.
    Identity assertions are not decoded: offline, an identity that would have to be looked up
    on the network would make the whole credential invalid.
    """
    library_version()
    import c2pa

    return c2pa.Context.from_dict(
        {
            "version": 1,
            "verify": {
                "remote_manifest_fetch": False,
                "ocsp_fetch": False,
                "verify_trust": False,
                "verify_timestamp_trust": False,
            },
            "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
            "builder": {"thumbnail": {"enabled": False}},
            "trust": {"trust_config": "\n".join(sorted(SIGNER_USAGES)) + "\n"},
        }
    )


def read_store(image: "ImageFile", remote: bytes | None = None) -> Reading | None:
    """Read a picture's manifest store, once for all who ask while the picture is in hand.

    Args:
        image: the picture.
        remote: a manifest store that was fetched for it.

    Returns:
        What was read; None if the picture has no credential after all.
    """
    return image.once(("manifest store", remote), lambda: _read_store(image, remote))


def _read_store(image: "ImageFile", remote: bytes | None) -> Reading | None:
    url = remote_url(image)
    origin, stores = _stores(image, remote)
    if not stores and image.sidecar is None and not image.blocks("c2pa"):
        return Reading("unfetched", url=url, origin="remote") if url else None
    outside = stores[0] if stores and origin in ("sidecar", "remote") else None
    if origin == "sidecar" and not stores:
        return Reading("unparsed", error="the sidecar is not a manifest store", origin=origin)
    try:
        text, document = _ask_library(image, outside)
    except _Refused as err:
        return _read_alone(stores, str(err), url, origin)
    if text is None:
        if url and not stores:
            return Reading("unfetched", url=url, origin="remote")
        return _read_alone(stores, "no manifest found", url, origin) if stores else None
    manifests, ambiguous = _take_apart(stores)
    contents = document.get("manifests") or {}
    if not ambiguous and set(manifests) != set(contents):
        ambiguous = "the library reads other manifests than the file holds"
    signatures, mismatched = _check(manifests)
    return Reading(
        "read",
        document.get("active_manifest") or "",
        contents,
        document.get("validation_results") or {},
        signatures,
        mismatched,
        "",
        url,
        origin,
        text,
        ambiguous,
    )


def _stores(image: "ImageFile", remote: bytes | None) -> tuple[str, list[bytes]]:
    if not image.format and jumbf.is_store(image.data):
        return "alone", [image.data]
    if embedded := jumbf.embedded_stores(image):
        return "embedded", embedded
    if image.sidecar is not None:
        return "sidecar", [image.sidecar] if jumbf.is_store(image.sidecar) else []
    if remote is not None:
        return "remote", [remote]
    return "embedded", []


class _Refused(Exception):
    """The library would not read the store."""


def _ask_library(image: "ImageFile", outside: bytes | None) -> tuple[str | None, dict[str, Any]]:
    """Return the library's JSON, as text and read; None where it finds no manifest."""
    context = library_context()  # looks at the library's version before it is imported
    import c2pa

    mime = image.metadata.mime if image.format else _SIDECAR_MIME
    if image.format == "raw" and image.data[:4] in (b"II*\0", b"MM\0*"):
        mime = "image/tiff"  # what most camera raw files are
    try:
        if outside is not None:
            reader = c2pa.Reader(mime, image.stream(), outside, context=context)
        else:
            found = c2pa.Reader.try_create(mime, image.stream(), None, context)
            if found is None:
                return None, {}
            reader = found
        with reader:
            text = reader.detailed_json()
    except c2pa.C2paError.ManifestNotFound:
        return None, {}
    except c2pa.C2paError as err:
        raise _Refused(str(err)[:500]) from err
    return text, json.loads(text)


def _take_apart(stores: list[bytes]) -> tuple[dict[str, jumbf.Manifest], str]:
    if len(stores) > 1:
        return {}, f"the file holds {len(stores)} manifest stores"
    if not stores:
        return {}, "the manifest store could not be located"
    try:
        return jumbf.read_manifests(stores[0]), ""
    except ProvenanceError as err:
        return {}, str(err)


def _check(
    manifests: Mapping[str, jumbf.Manifest],
) -> tuple[dict[str, ClaimSignature], dict[str, tuple[str, ...]]]:
    signatures: dict[str, ClaimSignature] = {}
    mismatched: dict[str, tuple[str, ...]] = {}
    for label, manifest in manifests.items():
        try:
            signatures[label] = read_signature(manifest.signature, manifest.claim)
        except ProvenanceError:
            continue
        try:
            mismatched[label] = jumbf.mismatched_assertions(manifest)
        except ProvenanceError:
            continue
    return signatures, mismatched


def _read_alone(stores: list[bytes], error: str, url: str, origin: str) -> Reading:
    """Read a store that the library refuses, as far as it can be taken apart."""
    manifests, ambiguous = _take_apart(stores)
    contents: dict[str, Any] = {}
    for label, manifest in manifests.items():
        try:
            contents[label] = jumbf.contents_of(manifest)
        except ProvenanceError:
            continue
    if not contents:
        if url and "remote" in error.lower():
            return Reading("unfetched", error=error, url=url, origin="remote")
        return Reading("unparsed", error=error, url=url, origin=origin, ambiguous=ambiguous)
    signatures, mismatched = _check(manifests)
    return Reading(
        status="refused",
        active=list(manifests)[-1],
        contents=contents,
        signatures=signatures,
        mismatched=mismatched,
        error=error,
        url=url,
        origin=origin,
        ambiguous=ambiguous,
    )
