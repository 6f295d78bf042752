"""Containers around the signature: laid out for the C2PA library before, compared after.

The library is sound for most files. These are the ones that it is not, and the check that says so.
"""

import contextlib
import struct

from counterproof.errors import ImageError, ProvenanceError
from counterproof.provenance.mark_job import Job
from counterproof.provenance.xmp_bmff import Unfit, item_bytes, settle

__all__ = ["check_whole", "clear_old", "settle_boxes"]

_BOXED = ("avif", "heic", "heif")


def settle_boxes(job: Job) -> None:
    """Lay out an AVIF or HEIC so that the C2PA library can follow it."""
    if job.image.format not in _BOXED or job.options.sidecar:
        return
    try:
        data = settle(job.image.data)
    except (Unfit, ValueError, struct.error):
        return  # `check_whole` says whether it went well all the same
    if data is not job.image.data:
        job.image = job.reopened(data)


def clear_old(job: Job) -> None:
    """Take the old credential, by now an ingredient, out of a WebP that gets a sidecar.

    The C2PA library does so for every other format; readers prefer what is inside.
    """
    found = job.image.blocks("c2pa")
    if not found or not job.options.sidecar or job.image.format != "webp":
        return
    data = job.image.data
    for block in reversed(found):
        stop = block.offset + block.length + (block.length & 1)
        data = data[: block.offset] + data[stop:]
    size = struct.unpack_from("<I", data, 4)[0] - (len(job.image.data) - len(data))
    job.image = job.reopened(data[:4] + struct.pack("<I", size) + data[8:])


def check_whole(job: Job, data: bytes) -> None:
    """Check that a signed file still shows its picture and holds all it held.

    Asked of containers in which places move with a signature, and of files with flaws, on
    which two readers may differ.

    Raises:
        ProvenanceError: if it does not.
    """
    flawed = bool(job.original.flaws or job.original.metadata.damage)
    if job.options.sidecar or not (flawed or job.image.format in (*_BOXED, "tiff")):
        return
    same = True
    try:
        after = job.reopened(data)
        if job.image.format in _BOXED:
            with contextlib.suppress(Unfit):
                same = item_bytes(data) == item_bytes(job.image.data)
        side = None if flawed else 256
        same = same and (after.pixels(side) == job.image.pixels(side)).all()
    except (ImageError, ValueError, struct.error):
        same = False
    if not same:
        raise ProvenanceError(
            f"{job.original.name}: signing would damage it, since the C2PA library does not "
            "handle how it is laid out; sign it beside the picture (--sidecar)"
        )
