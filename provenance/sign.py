"""Sign a picture's bytes with a C2PA claim of version 2, embedded or as a sidecar.

What the library would do by default besides (thumbnails, fetching remote manifests, asking for
revocation) is switched off; it uses the network for one thing only, a time stamp, where an
authority is named.
"""

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from counterproof import __version__
from counterproof.errors import ProvenanceError, UserError
from counterproof.provenance.certificates import SIGNER_USAGES
from counterproof.provenance.keys import Identity
from counterproof.provenance.manifest_store import library_version

__all__ = [
    "SIGNABLE",
    "TRAINING_ENTRIES",
    "TRAINING_MINING",
    "Ingredient",
    "Signed",
    "actions_of",
    "sign",
    "training_of",
]

SIGNABLE = ("jpeg", "png", "webp", "tiff", "avif", "gif", "heic", "heif")
"""Formats that are signed; of HEIC and HEIF the pixels are never coded again."""

TRAINING_MINING = "cawg.training-mining"
TRAINING_ENTRIES = (
    "cawg.ai_generative_training",
    "cawg.ai_inference",
    "cawg.ai_training",
    "cawg.data_mining",
)
_USES = {"allowed": "allowed", "not-allowed": "notAllowed", "constrained": "constrained"}
_STORE_MIME = "application/c2pa"


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A picture that another was made from.

    Attributes:
        data: the whole file.
        mime: its media type.
        title: for people.
        relationship: `parentOf`, `componentOf` or `inputTo`.
        store: its manifest store, where that lies outside the file.
    """

    data: bytes = field(repr=False)
    mime: str
    title: str
    relationship: str = "parentOf"
    store: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed picture.

    Attributes:
        data: the file; without the manifest store where that is a sidecar.
        store: the manifest store.
    """

    data: bytes = field(repr=False)
    store: bytes = field(repr=False)


def training_of(use: str, constraint: str = "") -> dict[str, Any]:
    """Return the assertion that says whether others may mine the picture or train on it.

    Source: CAWG Training and Data Mining Assertion 1.1.

    Raises:
        UserError: if the use is none of `allowed`, `not-allowed`, `constrained`.
    """
    if use not in _USES:
        raise UserError(f"expected training of {', '.join(_USES)}, got {use!r}")
    entry = {"use": _USES[use]}
    if constraint:
        entry["constraint_info"] = constraint
    entries = {name: dict(entry) for name in TRAINING_ENTRIES}
    return {"label": TRAINING_MINING, "data": {"entries": entries}}


def actions_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the assertion that lists the steps of a picture's making."""
    return {"label": "c2pa.actions.v2", "data": {"actions": [dict(step) for step in steps]}}


@functools.cache
def _context() -> Any:
    """Make the library's settings for signing.

    They hold no anchors: the manifest records of an ingredient that its signer is on no list,
    which is true of these settings, and every reader judges by lists of its own.
    """
    library_version()
    import c2pa

    return c2pa.Context.from_dict(
        {
            "version": 1,
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
            "builder": {"thumbnail": {"enabled": False}},
            "trust": {"trust_config": "\n".join(sorted(SIGNER_USAGES)) + "\n"},
        }
    )


def sign(
    data: bytes,
    mime: str,
    identity: Identity,
    assertions: Sequence[Mapping[str, Any]],
    *,
    name: str,
    title: str = "",
    ingredients: Sequence[Ingredient] = (),
    redactions: Sequence[str] = (),
    tsa: str = "",
    sidecar: bool = False,
) -> Signed:
    """Sign a picture.

    Costs about 9 ms for a picture of 2.5 MB. A credential that the bytes carry is replaced, so
    it must be among the ingredients to be kept.

    Args:
        data: the whole file.
        mime: its media type.
        identity: who signs.
        assertions: `label` and `data` each; the first is the list of actions.
        name: of the picture, for messages.
        title: of the picture, in the manifest.
        ingredients: labelled `ingredient0`, `ingredient1` … for the actions' parameters.
        redactions: addresses of assertions of the ingredients' manifests that are to be emptied.
        tsa: address of a time-stamping authority (RFC 3161); the only use of the network.
        sidecar: leave the picture as it is and return the store beside it.

    Raises:
        ProvenanceError: if the library, the signer or the authority refuses.
        UserError: if the address of the authority is none.
    """
    import c2pa

    if tsa and not tsa.startswith(("http://", "https://")):
        raise UserError(f"expected the address of a time-stamping authority, got {tsa!r}")
    context = _context()
    manifest: dict[str, Any] = {
        "claim_generator_info": [{"name": "counterproof", "version": __version__}],
        "claim_version": 2,
        "assertions": [{**item, "created": True} for item in assertions],
    }
    if title:
        manifest["title"] = title
    if redactions:
        manifest["redactions"] = list(redactions)
    failures: list[BaseException] = []

    def callback(claim: bytes) -> bytes:
        try:
            return identity.sign(claim)
        except Exception as err:  # the library would print it and lose it
            failures.append(err)
            raise

    out = io.BytesIO()
    try:
        signer = _signer(identity, callback, tsa)
        with c2pa.Builder(manifest, context) as builder:
            for index, item in enumerate(ingredients):
                _add(builder, index, item)
            if sidecar:
                builder.set_no_embed()
            store = builder.sign(signer, mime, io.BytesIO(data), out)
    except c2pa.C2paError as err:
        if failures:
            what = type(failures[0]).__name__
            raise ProvenanceError(f"{name}: the signer failed ({what})") from failures[0]
        reason = " ".join(str(err).split())[:300]
        raise ProvenanceError(f"{name}: could not be signed: {reason}") from err
    return Signed(out.getvalue(), bytes(store))


def _signer(identity: Identity, callback: Callable[[bytes], bytes], tsa: str) -> Any:
    """Make the library's signer, by the key where we hold it.

    For a callback the library reserves 10 KB more in every file.
    """
    import c2pa

    if identity.key is not None:
        info = c2pa.C2paSignerInfo(
            identity.algorithm.encode(), identity.chain, identity.key(), tsa.encode() or None
        )
        return c2pa.Signer.from_info(info)
    algorithm = getattr(c2pa.C2paSigningAlg, identity.algorithm.upper())
    return c2pa.Signer.from_callback(callback, algorithm, identity.chain.decode(), tsa or None)


def _add(builder: Any, index: int, item: Ingredient) -> None:
    import c2pa

    about: dict[str, Any] = {
        "title": item.title,
        "relationship": item.relationship,
        "label": f"ingredient{index}",
        "instance_id": f"ingredient{index}",
    }
    if item.store is not None:
        # the library reads a store beside an ingredient, but judges only one inside it
        with c2pa.Reader(
            item.mime, io.BytesIO(item.data), item.store, context=_context()
        ) as reader:
            about["validation_results"] = reader.get_validation_results()
            about["active_manifest"] = json.loads(reader.json())["active_manifest"]
        identifier = f"ingredient{index}.c2pa"
        builder.add_resource(identifier, io.BytesIO(item.store))
        about["manifest_data"] = {"format": _STORE_MIME, "identifier": identifier}
    builder.add_ingredient(about, item.mime, io.BytesIO(item.data))
