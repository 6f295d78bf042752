"""Parts of a picture that the file holds and a viewer does not show.

HEIC and AVIF can show a part of what they hold (a clean aperture), or lay pictures over one
another and beyond the edge of the canvas; frames of a GIF can reach beyond its screen. Whoever
receives the file receives what is hidden.

Sources: ISO/IEC 14496-12 §12.1.4 (`clap`); 23008-12 §6.6.2.2 (`iovl`); GIF89a §18 (screen), §20
(frames).
"""

import struct
from typing import TYPE_CHECKING

from counterproof.audit.strip_bmff import Items, hides_part, read_items
from counterproof.provenance.xmp_bmff import Unfit, item_bytes

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["hidden_parts"]

_PADDING = 16  # rows or columns that only fill the last block of a codec
_MAX_LAYERS = 256
_MAX_FRAMES = 10_000

Box = tuple[int, int, int, int]  # left, top, right, bottom


def hidden_parts(image: "ImageFile") -> list[str]:
    """Name how a picture hides parts of what it holds: `clap`, `iovl`, `frame`; mostly none."""
    if image.format in ("avif", "heic", "heif"):
        found = {"clap": hides_part(image.data), "iovl": _overlay_hides(image.data)}
        return [name for name, held in found.items() if held]
    if image.format == "gif" and _frames_reach_beyond(image.data):
        return ["frame"]
    return []


def _overlay_hides(data: bytes) -> bool:
    """Tell whether an overlay in the file has layers cut by its edge or covered by one another.

    A layer counts as covering all of its box: whether it is transparent is not looked at.
    """
    try:
        found = read_items(data)
        overlays = [number for number, item in found.items.items() if item.kind == b"iovl"]
        plans = item_bytes(data) if overlays else {}
        return any(_hides(found, number, plans[number]) for number in overlays)
    except (Unfit, StopIteration, KeyError, ValueError, IndexError, struct.error):
        return False


def _hides(found: Items, overlay: int, plan: bytes) -> bool:
    layers = [
        target
        for name, source, targets in found.links
        if name == b"dimg" and source == overlay
        for target in targets
    ]
    letter, size = ("i", 4) if plan[1] & 1 else ("h", 2)
    width, height = struct.unpack_from(f">2{letter.upper()}", plan, 10)
    placed: list[Box] = []
    for number, layer in enumerate(layers[:_MAX_LAYERS]):
        x, y = struct.unpack_from(f">2{letter}", plan, 10 + 2 * size * (number + 1))
        held = (found.properties[use - 1] for use, _ in found.items[layer].properties)
        w, h = next(struct.unpack_from(">II", box, 12) for box in held if box[4:8] == b"ispe")
        placed.append((x, y, x + w, y + h))
    return any(
        _cut(box, (0, 0, width, height))
        or any(_covers(box, later) for later in placed[number + 1 :])
        for number, box in enumerate(placed)
    )


def _cut(box: Box, canvas: Box) -> bool:
    return (
        max(canvas[0] - box[0], box[2] - canvas[2], canvas[1] - box[1], box[3] - canvas[3])
        > _PADDING
    )


def _covers(box: Box, later: Box) -> bool:
    w = min(box[2], later[2]) - max(box[0], later[0])
    h = min(box[3], later[3]) - max(box[1], later[1])
    return w > 0 and h > 0


def _frames_reach_beyond(data: bytes) -> bool:
    """Tell whether a frame of a GIF reaches beyond the screen that the file names."""
    try:
        screen = struct.unpack_from("<HH", data, 6)
        at = 13 + ((3 << ((data[10] & 7) + 1)) if data[10] & 0x80 else 0)
        for _ in range(_MAX_FRAMES):
            kind = data[at]
            if kind == 0x2C:
                x, y, w, h, flags = struct.unpack_from("<4HB", data, at + 1)
                if x + w > screen[0] or y + h > screen[1]:
                    return True
                at += 11 + ((3 << ((flags & 7) + 1)) if flags & 0x80 else 0)
            elif kind == 0x21:
                at += 2
            else:
                return False
            while data[at]:
                at += 1 + data[at]
            at += 1
    except (IndexError, struct.error):
        return False
    return False
