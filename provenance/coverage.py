"""What a credential's hash covers of a file, and what it leaves out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterproof.provenance.covered_fields import block_coverage, covered_facts

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["coverage_of"]

_MAX_RANGES = 64
_CREDENTIAL_PATHS = ("/uuid", "/ftyp", "/mfra", "/free", "/skip")  # the last two are padding
_OVERHEAD_BYTES = 32  # segment headers, checksums and directory entries beside the store


def coverage_of(image: "ImageFile", assertions: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the hard bindings of the active manifest.

    Args:
        image: the picture.
        assertions: label → content of the active manifest's assertions.

    Returns:
        `bindings`, their kinds; `excluded`, `[start, length]` in bytes that no hash covers;
        `beyond`, the part of those outside the credential itself; `blocks`, kinds of metadata
        that lie in it; `metadata`, every block with what is covered of it; `facts`, whether
        capture time, place and camera are signed; `paths`, boxes left out by name;
        `picture_excluded`, whether bytes outside the credential and the metadata are left out.
    """
    bindings, excluded, paths = [], [], []
    for label, data in assertions.items():
        if not label.startswith("c2pa.hash.") or not isinstance(data, Mapping):
            continue
        bindings.append(label)
        for item in data.get("exclusions") or ():
            if not isinstance(item, Mapping):
                continue
            if isinstance(start := item.get("start"), int):
                excluded.append((start, max(0, int(item.get("length") or 0))))
            elif isinstance(path := item.get("xpath"), str):
                paths.append(path[:80])
        for box in data.get("boxes") or ():
            if isinstance(box, Mapping) and box.get("excluded"):
                paths.extend(str(name)[:80] for name in box.get("names") or ())
    outside = _outside(excluded, _ranges(image, "c2pa"))
    beyond = [item for item in outside if item[1] > _OVERHEAD_BYTES]
    left = _outside(beyond, _ranges(image))
    extra = [path for path in paths if path not in _CREDENTIAL_PATHS]
    return {
        "bindings": sorted(bindings),
        "excluded": [list(item) for item in excluded[:_MAX_RANGES]],
        "excluded_bytes": sum(length for _, length in excluded),
        "beyond": [list(item) for item in beyond[:_MAX_RANGES]],
        "blocks": sorted(
            {
                block.kind
                for block in image.metadata.blocks
                if block.kind != "c2pa"
                and any(
                    start < block.offset + block.length and block.offset < start + length
                    for start, length in beyond
                )
            }
        ),
        "metadata": block_coverage(image, outside, extra)[:_MAX_RANGES],
        "facts": covered_facts(image, assertions, outside, extra),
        "paths": extra[:_MAX_RANGES],
        "picture_excluded": any(length > _OVERHEAD_BYTES for _, length in left)
        or any(path.startswith("/mdat") for path in extra),
    }


def _ranges(image: "ImageFile", *kinds: str) -> list[tuple[int, int]]:
    """Return the extents of metadata blocks, of these kinds or of all that lie in one piece."""
    size = len(image.data)
    if image.format == "svg":
        return [
            (block.offset, max(block.length, image.data.find(b"</", block.offset) - block.offset))
            for block in image.metadata.blocks
            if not kinds or block.kind in kinds
        ]
    return [
        (block.offset, block.length)
        for block in image.metadata.blocks
        if (block.kind in kinds if kinds else block.kind != "trailer") and block.length < size
    ]


def _outside(ranges: list[tuple[int, int]], covers: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of some ranges that no cover overlaps."""
    found = []
    edges = sorted((start, start + length) for start, length in covers)
    for start, length in ranges:
        at, end = start, start + length
        for low, high in edges:
            if high <= at or low >= end:
                continue
            if low > at:
                found.append((at, low - at))
            at = max(at, high)
        if at < end:
            found.append((at, end - at))
    return found
