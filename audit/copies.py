"""Relates what a scan saw to indices of reference works: copies, listed hashes, lost reservations.

`copy.of`: the picture shows a reference work, or part of it. `copy.listed`: its hash stands on an
imported list, which is a lead and never an accusation. `rights.lost`: the work reserves rights
in its metadata, and the copy states no reservation.

Unlike other relators this one opens the pictures again, since local features are not kept in a
case; it opens only those that the scan could decode.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from counterproof.audit.copy_index import CopyIndex, Listed
from counterproof.audit.pdq import MIN_QUALITY, RADIUS_BITS, READ_SIDE, pdq
from counterproof.errors import ImageError
from counterproof.findings import Claim, Relation
from counterproof.images import ImageFile
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.audit.case import Case

__all__ = ["COPY", "LISTED", "LOST", "listed_hits", "relate"]

COPY, LISTED, LOST = "copy.of", "copy.listed", "rights.lost"


def relate(case: "Case", settings: Settings) -> Iterable[Relation]:
    """Yield what holds between the pictures of a case and the indices of the settings."""
    for path in settings.indices:
        with CopyIndex.open(path) as index:
            yield from _relate_one(case, settings, index)


def _relate_one(case: "Case", settings: Settings, index: CopyIndex) -> Iterator[Relation]:
    from counterproof.audit.copy_search import Searcher, read_query

    searcher = Searcher(index)
    listed = index.listed()
    for sha256, facts in case.facts():
        place = case.location(sha256)
        if place is None or "hash.dct256" not in facts:
            continue
        try:
            image = ImageFile.open(place, limits=settings.limits)
            if image.sha256 != sha256:
                continue
            for item, bits in listed_hits(image, listed):
                yield Relation("copy", (sha256, item.value), LISTED, _listed_details(item, bits))
            query = read_query(image)
        except ImageError:
            continue
        reserves = _reserves(case, place)
        for match in searcher.search(query, image, excluding=place):
            details = match.to_json() | {"index": str(index.path)}
            members = (sha256, match.reference.sha256)
            yield Relation("copy", members, COPY, details)
            if match.reference.reserved and not reserves:
                lost = {"reference": match.reference.path, "codes": list(match.reference.reserved)}
                yield Relation("rights", members, LOST, lost)


def _reserves(case: "Case", place: str) -> bool:
    record = case.record_at(place)
    return record is not None and any(f.claim is Claim.RESERVED for f in record.findings)


def _listed_details(item: Listed, bits: int) -> dict[str, object]:
    return {"list": item.source, "label": item.label, "hash": item.kind, "distance_bits": bits}


def listed_hits(image: ImageFile, listed: list[Listed]) -> Iterator[tuple[Listed, int]]:
    """Yield the lines of hash lists that a picture meets, with the distance in bits.

    A PDQ hash of quality under 50 is not compared.

    Raises:
        ImageError: if PDQ hashes are listed and the picture cannot be decoded.
    """
    for item in listed:
        if item.kind == "sha256" and item.value == image.sha256:
            yield item, 0
    hashes = [item for item in listed if item.kind == "pdq"]
    if not hashes:
        return
    own = pdq(image.pixels(READ_SIDE))
    if own.quality < MIN_QUALITY:
        return
    value = int(own.value, 16)
    for item in hashes:
        bits = (value ^ int(item.value, 16)).bit_count()
        if bits <= RADIUS_BITS:
            yield item, bits
