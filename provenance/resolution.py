"""The questions of C2PA's Soft Binding Resolution API, answered from manifest stores.

Nothing here speaks HTTP; `app/resolution.py` does. A manifest is named only if its signature
holds and, for a watermark or content hash, if the signed manifest states that very binding:
what a store's tables say of it counts for nothing. A picture's content is compared besides, and
a mark whose content is another's leads nowhere.

Source: C2PA Soft Binding Resolution API 1.0.0 (C2PA 2.2), `/matches`, `/manifests`, `/services`.
"""

from dataclasses import dataclass

from counterproof.images import ImageFile
from counterproof.perceptual import DCT256
from counterproof.provenance import jumbf, soft_bindings
from counterproof.provenance.recovery import LOOKUP_RADIUS, Recovery, Way
from counterproof.provenance.store import signed_bindings
from counterproof.provenance.watermark_bind import ALGORITHM as CONTENT_HASH
from counterproof.provenance.watermark_code import FULL, SMALL

__all__ = [
    "CONTENT_WAYS",
    "Algorithms",
    "Match",
    "algorithms",
    "by_binding",
    "by_content",
    "manifest",
]

CONTENT_WAYS: dict[str, Way] = {
    FULL.algorithm: "watermark",
    SMALL.algorithm: "watermark",
    DCT256: "fingerprint",
}
"""The algorithms that are computed from a picture here, and what each is."""


@dataclass(frozen=True, slots=True)
class Match:
    """A manifest that a question led to.

    Attributes:
        manifest: id of the active manifest.
        score: 0 to 100, the share of content bits that agree; None where nothing was compared.
    """

    manifest: str
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Names of the soft bindings that can be asked for, in order."""

    watermarks: tuple[str, ...]
    fingerprints: tuple[str, ...]


def algorithms(recovery: Recovery) -> Algorithms:
    """Name our own algorithms, and the registered ones of which a store holds bindings."""
    kinds = {alg: item["type"] for alg, item in soft_bindings.registered().items()}
    kinds |= dict(CONTENT_WAYS) | {CONTENT_HASH: "fingerprint"}
    kept = {alg for store in recovery.stores for alg in store.algorithms()}
    known = sorted(alg for alg in kinds if alg in kept | {*CONTENT_WAYS, CONTENT_HASH})
    return Algorithms(
        tuple(alg for alg in known if kinds[alg] == "watermark"),
        tuple(alg for alg in known if kinds[alg] == "fingerprint"),
    )


def by_binding(recovery: Recovery, alg: str, value: bytes, most: int) -> list[Match]:
    """Return the manifests that a binding leads to.

    A fingerprint of ours leads to near ones too, nearest first; everything else has to agree
    exactly. No picture is here, so no content is compared: that is the asker's part.

    Args:
        recovery: the open stores.
        alg: of the binding.
        value: its bytes.
        most: most manifests, at least 1.

    Raises:
        UserError: if a store is damaged.
    """
    found: dict[str, Match] = {}
    for store in recovery.stores:
        if alg == DCT256:
            kept = store.near(value, LOOKUP_RADIUS, most) if len(value) == 32 else []
        else:
            kept = store.find(alg, value, most)
        for item in kept:
            credential = recovery.checked(item)
            if credential is None:
                continue
            if alg == DCT256:
                distance = item.distance or 0
                found[item.id] = Match(item.id, round(100 * (1 - distance / 256)))
            elif (alg, value) in signed_bindings(credential):
                found[item.id] = Match(item.id)
    return sorted(found.values(), key=lambda match: -(match.score or 0))[:most]


def by_content(
    recovery: Recovery,
    image: ImageFile,
    most: int,
    alg: str = "",
    hint: tuple[str, bytes] | None = None,
) -> list[Match]:
    """Return the manifests that a picture leads to: one that matches, or those left unchecked.

    A manifest whose content is another's is not named. One that a watermark leads to, and of
    which too little is to be seen to compare, has no score.

    Args:
        recovery: the open stores.
        image: the picture.
        most: most manifests, at least 1.
        alg: one of `CONTENT_WAYS`, to look it up by no other; any if empty.
        hint: algorithm and value of a binding that the asker names.

    Raises:
        ImageError: if the pixels cannot be read.
        UserError: if a store is damaged.
    """
    ways: tuple[Way, ...] = (CONTENT_WAYS[alg],) if alg else ("watermark", "fingerprint")
    found = recovery.find(image, ways, hint)
    scores = {
        item.kept.id: round(100 * item.agreement) if item.status == "match" else None
        for item in found
        if item.status != "mismatch"
    }
    return [Match(name, score) for name, score in scores.items()][:most]


def manifest(recovery: Recovery, name: str, active_only: bool = False) -> bytes | None:
    """Return the manifest store that an id names, as it was signed; None if there is none.

    Args:
        recovery: the open stores.
        name: id of an active manifest.
        active_only: leave the manifests of ingredients out.

    Raises:
        UserError: if a store is damaged.
    """
    for store in recovery.stores:
        kept = store.get(name)
        if kept is not None and recovery.checked(kept) is not None:
            return jumbf.only(kept.data, name) if active_only else kept.data
    return None
