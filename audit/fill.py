"""Fill regions of a picture with one colour and write it back as its file had it.

What `provenance.pixel_layers` writes back keeps its coding. Pictures with a palette, and TIFF in a
coding of its own, are written anew without loss. No encoder of HEIC comes with a licence that this
project takes, so a HEIC becomes a JPEG, or a PNG where parts of it are transparent: both are read
everywhere. What cannot be written without a second loss, or at all, is refused with the reason:
moving pictures, 16 bits a channel, JPEG in four colours.
"""

import io
import struct
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError
from counterproof.images import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["FILL", "Box", "fill", "small_view"]

Box = tuple[int, int, int, int]
"""`(x, y, w, h)` in pixels of the upright picture."""

FILL = 0  # black
_THUMBNAIL_SIDE = 160
"""Longest side of an EXIF thumbnail. Source: EXIF 2.32 §4.5.5 with DCF 2.0 §3.3.5 (160 × 120)."""

_REASONS = {
    "animation": "it has several frames or pages",
    "depth": "it has more than 8 bits a channel",
    "mode": "its colours are coded in a way that is not written back",
    "planes": "it holds further pictures of the scene",
    "tags": "its orientation or profile would be lost",
    "colours": "its colours need a profile that it does not carry",
}
_HEIC = ("heic", "heif")
_JPEG_QUALITY = 95
"""Of a JPEG that stands for a HEIC: 36.5 to 47.9 dB from it in four files, where 90 leaves 34.5 to
46.5. Source: docs/benchmarks.md, "Privacy"."""
_SRGB_LIKE = (1, 2)
"""Colour primaries that are shown alike without a profile: BT.709 and unspecified. Source: ITU-T
H.273 table 2."""


def fill(image: ImageFile, boxes: Sequence[Box]) -> bytes:
    """Return the file with its regions black: in its own format, HEIC as JPEG or PNG.

    Args:
        image: a picture that `strip` has written.
        boxes: the regions; all inside the picture.

    Raises:
        ImageError: `unsupported` if the picture cannot be written back, else as for `pixels`.
    """
    from counterproof.provenance.pixel_layers import Unchangeable, redraw

    def change(pixels: "Pixels") -> "Pixels":
        changed = pixels.copy()
        _blacken(changed, boxes)
        return changed

    if image.format in _HEIC:
        return _out_of_heic(image, boxes)
    if image.format == "png" and image.info.alpha and image.info.frames == 1:
        return _anew(image, boxes)  # a filled region is opaque
    try:
        return redraw(image, change)
    except Unchangeable as err:
        reason = "animation" if image.info.frames > 1 else err.reason
        if (
            image.format in _WRITTEN_ANEW
            and reason != "animation"
            and image.metadata.bit_depth <= 8
        ):
            return _anew(image, boxes)
        raise _refusal(image, reason) from err


def _refusal(image: ImageFile, reason: str) -> ImageError:
    why = f"{_REASONS.get(reason, reason)}; convert it to a plain PNG first"
    return ImageError(
        "unsupported", f"{image.name}: regions cannot be filled and written back: {why}"
    )


def _blacken(pixels: "NDArray[Any]", boxes: Sequence[Box]) -> None:
    for x, y, w, h in boxes:
        pixels[y : y + h, x : x + w] = FILL


def _out_of_heic(image: ImageFile, boxes: Sequence[Box]) -> bytes:
    """Write a HEIC upright as JPEG, or as PNG where parts of it are transparent."""
    import numpy as np
    from PIL import Image

    from counterproof.audit.strip_bmff import colour_primaries
    from counterproof.convert import upright

    if image.metadata.bit_depth > 8:
        raise _refusal(image, "depth")
    if not image.icc and colour_primaries(image.data) not in _SRGB_LIKE:
        raise _refusal(image, "colours")
    options: dict[str, Any] = {"icc_profile": image.icc or None}
    if image.info.alpha:
        form = "PNG"
        pixels = np.array(upright(np.asarray(image.stored()), image.orientation))  # [H, W, RGBA]
        _blacken(pixels, boxes)
        for x, y, w, h in boxes:
            pixels[y : y + h, x : x + w, 3] = 255
    else:
        form = "JPEG"
        options |= {"quality": _JPEG_QUALITY, "optimize": True}
        pixels = np.array(image.pixels())
        _blacken(pixels, boxes)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return _labelled(out.getvalue(), image)


_WRITTEN_ANEW = ("png", "gif", "tiff")


def _anew(image: ImageFile, boxes: Sequence[Box]) -> bytes:
    """Write a picture anew without loss: upright, as RGB or RGBA; GIF with its palette."""
    import numpy as np
    from PIL import Image

    form = image.format.upper()
    options: dict[str, Any] = {"icc_profile": image.icc or None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "GIF":
            picture, kept = _in_palette(image, boxes)
            options = kept
        else:
            pixels = np.array(image.pixels())
            _blacken(pixels, boxes)
            picture = Image.fromarray(pixels)
            if image.info.alpha and form == "PNG":
                from counterproof.convert import upright

                shown = Image.open(image.stream(), formats=("PNG",)).convert("RGBA")
                alpha = np.array(upright(np.asarray(shown.getchannel("A")), image.orientation))
                colour = np.asarray(shown.convert("RGB"))  # as it is below what is clear
                pixels = np.array(upright(colour, image.orientation))
                _blacken(pixels, boxes)
                for x, y, w, h in boxes:
                    alpha[y : y + h, x : x + w] = 255
                picture = Image.fromarray(np.dstack([pixels, alpha]))
            if form == "TIFF":
                options["compression"] = "tiff_adobe_deflate"
        out = io.BytesIO()
        picture.save(out, form, **options)
    data = out.getvalue()
    if form == "PNG":
        data = _with_colour(data, image.data)
    return _labelled(data, image)


def _labelled(data: bytes, image: ImageFile) -> bytes:
    """Put the labels of a picture into the file that was made of it."""
    from counterproof.provenance.xmp_place import packet_of, place

    if packet := packet_of(image):
        return place(ImageFile.open(data, name=image.name, limits=image.limits), packet)
    return data


def _with_colour(written: bytes, source: bytes) -> bytes:
    """Put the chunks that say what a PNG's colours mean behind its head; and its printed size."""
    kept, at = b"", 8
    while at + 12 <= len(source):
        length, name = struct.unpack_from(">I4s", source, at)
        if name in (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs"):
            kept += source[at : at + 12 + length]
        at += 12 + length
    return written[:33] + kept + written[33:]


def _in_palette(image: ImageFile, boxes: Sequence[Box]) -> tuple[Any, dict[str, Any]]:
    """Fill regions of a GIF with the darkest colour of its palette, or with black if room is."""
    import numpy as np
    from PIL import Image

    source = Image.open(image.stream(), formats=("GIF",))
    source.load()
    picture = source if source.mode == "P" else source.convert("P")
    index = np.array(picture)
    colours = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
    clear = source.info.get("transparency")
    order = np.argsort(colours.sum(axis=1), kind="stable")
    dark = next((int(number) for number in order if number != clear), 0)
    if colours[dark].max() > FILL and len(colours) < 256:
        dark, colours = len(colours), np.concatenate([colours, np.zeros((1, 3), np.uint8)])
    elif colours[dark].max() > FILL:
        # a full palette without black: the colours next to each other share one entry
        dark = int(order[0] if order[0] != clear else order[1])
        index[index == dark] = order[1] if order[0] == dark else order[0]
        colours[dark] = FILL
    for x, y, w, h in boxes:
        index[y : y + h, x : x + w] = dark
    filled = Image.fromarray(index).convert("L")
    filled = Image.fromarray(np.asarray(filled, np.uint8))
    filled.putpalette(colours.tobytes())
    return filled, {} if clear is None else {"transparency": clear}


def small_view(image: ImageFile) -> bytes:
    """Return a new thumbnail of a picture: JPEG, turned as the picture is stored."""
    import numpy as np
    from PIL import Image

    from counterproof.convert import upright

    view = image.pixels(max_side=_THUMBNAIL_SIDE)
    back = {6: 8, 8: 6}.get(image.orientation, image.orientation)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(upright(view, back))).save(out, "JPEG", quality=80)
    return out.getvalue()
