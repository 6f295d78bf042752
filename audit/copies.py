"""Relates what a scan saw to indices of reference works: copies, listed hashes, lost reservations.

`copy.of`: the picture shows a reference work, or part of it. `copy.listed`: its hash stands on an
imported list, which is a lead and never an accusation. `rights.lost`: the work reserves rights
in its metadata, and the copy states no reservation.

Unlike other relators this one opens the pictures again, since local features are not kept in a
case; it opens only those that the scan could decode.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from counterproof.audit.copy_index import CopyIndex
from counterproof.audit.hash_lists import HashLists
from counterproof.errors import ImageError
from counterproof.findings import Claim, Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["COPY", "LISTED", "LOST", "relate"]

COPY, LISTED, LOST = "copy.of", "copy.listed", "rights.lost"


def relate(case: "Case", settings: Settings) -> Iterable[Relation]:
    """Yield what holds between the pictures of a case and the indices of the settings."""
    for path in settings.indices:
        with CopyIndex.open(path) as index:
            yield from _relate_one(case, settings, index)


def _relate_one(case: "Case", settings: Settings, index: CopyIndex) -> Iterator[Relation]:
    from counterproof.audit.copy_batches import search_all
    from counterproof.audit.copy_search import Searcher

    listed = HashLists(index.listed())
    found = search_all(Searcher(index), _pictures(case, settings), excluding=str)
    for place, image, matches in found:
        if isinstance(image, ImageError):
            continue
        sha256 = image.sha256
        try:
            hits = list(listed.hits(image, matches))
        except ImageError:
            continue
        for hit in hits:
            yield Relation("copy", (sha256, hit.line.value), LISTED, hit.to_json())
        reserves = _reserves(case, place)
        for match in matches:
            details = match.to_json() | {"index": str(index.path)}
            members = (sha256, match.reference.sha256)
            yield Relation("copy", members, COPY, details)
            if match.reference.reserved and not reserves:
                lost = {"reference": match.reference.path, "codes": list(match.reference.reserved)}
                yield Relation("rights", members, LOST, lost)


def _pictures(case: "Case", settings: Settings) -> "Iterator[tuple[str, ImageFile]]":
    """Open the pictures that the scan could decode, as they were then."""
    for sha256, facts in case.facts():
        place = case.location(sha256)
        if place is None or "hash.dct256" not in facts:
            continue
        with contextlib.suppress(ImageError):
            image = ImageFile.open(place, limits=settings.limits)
            if image.sha256 == sha256:
                yield place, image


def _reserves(case: "Case", place: str) -> bool:
    record = case.record_at(place)
    return record is not None and any(f.claim is Claim.RESERVED for f in record.findings)
