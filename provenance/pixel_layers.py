"""The layers that change pixels, and writing changed pixels back as their file had them.

A file is coded again at most once: same format, same quantisation tables and sampling where it
is a JPEG, lossless where it was lossless. Every metadata block stays byte for byte. What cannot
be written back without loss (a palette, 16 bits, an animation, a gain map) is refused with a
reason, and the door then says which layer is missing.
"""

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, JpegImagePlugin

from counterproof.convert import upright
from counterproof.errors import ImageError, UserError
from counterproof.images import ImageFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = [
    "LabelPlace",
    "Unchangeable",
    "check_changeable",
    "draw_label",
    "place_label",
    "redraw",
]

LABEL_SHARE = 0.05
"""Least height of the label's letters, in parts of the shorter side. Source: GB 45438-2025 5.2."""

_MODES = ("L", "LA", "RGB", "RGBA")
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
# how a TIFF's pixels are stored, which changes when they are written anew
_TIFF_LAYOUT = {257, 256, 273, 278, 279, 322, 323, 324, 325, 317, 284, 34665, 34853, 259, 700, 338}
_QUALITIES = (75, 80, 85, 90, 93, 96, 100)
_PNG_PIXELS = (b"IHDR", b"IDAT", b"IEND")


class Unchangeable(Exception):
    """A file's pixels cannot be changed without loss; `reason` is a short stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_changeable(image: ImageFile) -> None:
    """Check whether `redraw` can keep everything that a file holds.

    Raises:
        Unchangeable: `container`, `animation`, `planes`, `depth`, `mode` or `tags`.
    """
    found, info = image.metadata, image.info
    if image.format not in _WRITERS:
        raise Unchangeable("container")
    if info.frames > 1:
        raise Unchangeable("animation")
    if any(plane != "thumbnail" for plane in info.planes):
        raise Unchangeable("planes")
    if found.bit_depth > 8:
        raise Unchangeable("depth")
    transparent = image.format == "png" and b"tRNS" in dict(_png_chunks(image.data))
    if info.mode not in _MODES or 0 < found.bit_depth < 8 or transparent:
        raise Unchangeable("mode")


def redraw(image: ImageFile, change: "Callable[[Pixels], Pixels]") -> bytes:
    """Change a picture's pixels and write them back as its file had them.

    Args:
        image: the picture.
        change: from and to `uint8` RGB, shape `(H, W, 3)`, upright. Alpha stays as it is.

    Raises:
        Unchangeable: as for `check_changeable`, or if a TIFF's tags could not be kept.
        ImageError: if the picture cannot be read.
    """
    check_changeable(image)
    stored = np.asarray(image.stored())
    mode = image.info.mode
    turned = upright(stored, image.orientation)
    alpha = turned[..., -1:] if mode in ("LA", "RGBA") else None
    colour = turned[..., : -1 if alpha is not None else None] if turned.ndim == 3 else turned
    gray = mode in ("L", "LA")
    rgb = np.repeat(colour.reshape(*turned.shape[:2], 1), 3, axis=2) if gray else colour
    changed = change(np.ascontiguousarray(rgb))
    if gray:
        changed = np.asarray(Image.fromarray(changed).convert("L"))
    if alpha is not None:
        changed = np.dstack([changed, alpha])
    back = {6: 8, 8: 6}.get(image.orientation, image.orientation)
    picture = Image.fromarray(np.ascontiguousarray(upright(changed, back)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _WRITERS[image.format](image, picture)
    except (struct.error, IndexError) as err:
        raise ImageError("damaged", f"{image.name}: its structure cannot be followed") from err


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """Where a visible label goes, in pixels of the upright picture.

    Attributes:
        text: one line.
        box: `(x, y, w, h)` of the label's ground.
        letter_px: ink height of its lowest letter.
        pad: between the ground's edge and the letters.
        face: the font at its size.
    """

    text: str
    box: tuple[int, int, int, int]
    letter_px: int
    pad: int
    face: Any

    def to_json(self) -> dict[str, Any]:
        """Return text, box and height, for the signed record."""
        box = dict(zip("xywh", self.box, strict=True))
        return {"text": self.text, "box": box, "letter_px": self.letter_px}


def place_label(width: int, height: int, text: str, font: str | Path | None = None) -> LabelPlace:
    """Find the size and the place of a label in the lower right corner.

    Args:
        width: of the picture.
        height: of the picture.
        text: one line.
        font: a TrueType or OpenType file; Pillow's own by default, which has Latin letters only.

    Raises:
        UserError: if the font cannot be read, lacks a character, or the text does not fit.
    """
    wanted = max(8, int(np.ceil(LABEL_SHARE * min(height, width))))
    size = wanted
    face = _font(font, size)
    _check_glyphs(face, text)
    while _ink(face, text) < wanted:
        size += max(1, size // 16)
        face = _font(font, size)
    left, top, right, bottom = (int(v) for v in face.getbbox(text))
    pad = max(2, wanted // 3)
    box_width, box_height = right - left + 2 * pad, bottom - top + 2 * pad
    if box_width > width or box_height > height:
        raise UserError(
            f"the label {text!r} needs {box_width} × {box_height} pixels, "
            f"the picture has {width} × {height}; take a shorter text"
        )
    box = (width - box_width, height - box_height, box_width, box_height)
    return LabelPlace(text, box, _ink(face, text), pad, face)


def draw_label(pixels: "Pixels", place: LabelPlace) -> "Pixels":
    """Draw a label, dark on light or light on dark.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, upright.
        place: as `place_label` found it for a picture of this size.
    """
    height, width = pixels.shape[:2]
    x, y = place.box[:2]
    left, top = (int(v) for v in place.face.getbbox(place.text)[:2])
    ground = float(pixels[y:, x:].mean())
    dark = ground < 128
    picture = Image.fromarray(pixels)
    region = picture.crop((x, y, width, height))
    shade = Image.new("RGB", region.size, (0, 0, 0) if dark else (255, 255, 255))
    region = Image.blend(region, shade, 0.6)
    ink = (255, 255, 255) if dark else (0, 0, 0)
    ImageDraw.Draw(region).text(
        (place.pad - left, place.pad - top), place.text, fill=ink, font=place.face
    )
    picture.paste(region, (x, y))
    return np.array(picture)


def _font(path: str | Path | None, size: int) -> Any:
    try:
        return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)
    except (OSError, ValueError) as err:
        raise UserError(f"{path}: expected a TrueType or OpenType font") from err


def _ink(face: Any, text: str) -> int:
    """Height of the letters of a text; of the lowest, as the standard does not say which."""
    return min(
        int(box[3] - box[1]) for box in (face.getbbox(char) for char in text if char.isalnum())
    )


def _check_glyphs(face: Any, text: str) -> None:
    if not any(char.isalnum() for char in text) or "\n" in text:
        raise UserError(f"expected a label of one line with letters, got {text!r}")
    nothing = bytes(face.getmask("\U0010ffff"))
    for char in text:
        if not char.isspace() and bytes(face.getmask(char)) == nothing:
            raise UserError(f"the font has no character {char!r}; name one that has (--label-font)")


# -- writing back -----------------------------------------------------------------------------


def _jpeg(image: ImageFile, picture: Image.Image) -> bytes:
    source = Image.open(image.stream(), formats=("JPEG",))
    tables = {key: list(value) for key, value in source.quantization.items()}  # type: ignore[attr-defined]
    sampling = JpegImagePlugin.get_sampling(source)
    out = io.BytesIO()
    picture.save(
        out,
        "JPEG",
        qtables=tables,
        subsampling=max(sampling, 0),
        progressive=image.metadata.coding == "progressive",
        optimize=True,
    )
    kept, _ = _jpeg_segments(image.data)
    _, coded = _jpeg_segments(out.getvalue())
    trailer = b"".join(item.data for item in image.blocks("trailer"))
    if image.blocks("trailer"):
        block = image.blocks("trailer")[0]
        trailer = image.data[block.offset : block.offset + block.length]
    return b"\xff\xd8" + kept + coded + trailer


def _jpeg_segments(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG's metadata segments, and all that codes its pixels."""
    kept, coded, at = [], [], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        stop = at + 2 + ((data[at + 2] << 8) | data[at + 3])
        segment = data[at:stop]
        own = 0xE0 <= marker <= 0xEF or marker == 0xFE
        # Adobe's segment (APP14) tells how colours are coded; APP11 holds the old credential
        if own and marker != 0xEE and not (marker == 0xEB and segment[4:6] == b"JP"):
            kept.append(segment)
        elif not own:
            coded.append(segment)
        at = stop
    return b"".join(kept), b"".join(coded) + data[at:]


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each chunk, and the whole chunk."""
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at : at + 12 + length]
        at += 12 + length


def _png(image: ImageFile, picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    coded: dict[bytes, list[bytes]] = {}
    for name, chunk in _png_chunks(out.getvalue()):
        coded.setdefault(name, []).append(chunk)
    parts = [image.data[:8], *coded[b"IHDR"]]
    placed = False
    for name, chunk in _png_chunks(image.data):
        if name == b"IDAT" and not placed:
            parts += coded[b"IDAT"]
            placed = True
        elif name not in _PNG_PIXELS and name != b"caBX":
            parts.append(chunk)
    return b"".join([*parts, *coded[b"IEND"]])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        stop = at + 8 + length + (length & 1)
        yield name, data[at:stop]
        at = stop


def _webp(image: ImageFile, picture: Image.Image) -> bytes:
    own = list(_webp_chunks(image.data))
    lossless = any(name == b"VP8L" for name, _ in own)
    if lossless:
        coded = _encode(picture, "WEBP", lossless=True, exact=True)
    else:
        coded = _as_large(image, picture, "WEBP", method=4, exact=True)
    pixels = [item for item in _webp_chunks(coded) if item[0] in (b"VP8 ", b"VP8L", b"ALPH")]
    parts: list[bytes] = []
    placed = False
    for name, chunk in own:
        if name in (b"VP8 ", b"VP8L", b"ALPH"):
            if not placed:
                parts += [part for _, part in pixels]
            placed = True
        elif name != b"C2PA":
            parts.append(chunk)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _avif(image: ImageFile, picture: Image.Image) -> bytes:
    metadata: dict[str, Any] = {}
    if image.exif_data:
        metadata["exif"] = image.exif_data
    elif image.orientation != 1:  # Pillow takes the orientation from EXIF only
        exif = Image.Exif()
        exif[0x0112] = image.orientation
        metadata["exif"] = exif.tobytes()
    if image.icc:
        metadata["icc_profile"] = image.icc
    if found := image.blocks("xmp"):
        metadata["xmp"] = found[0].data
    data = _as_large(image, picture, "AVIF", **metadata)
    written = ImageFile.open(data, name=image.name)
    before = (image.icc, image.orientation)
    lost = image.exif_data and written.exif_data != image.exif_data
    if lost or (written.icc, written.orientation) != before:
        raise Unchangeable("tags")
    return data


def _as_large(image: ImageFile, picture: Image.Image, form: str, **options: Any) -> bytes:
    """Encode at the lowest quality that takes as many bytes as the file has.

    The quality that a WebP or AVIF was written with is not on record; the size is the measure.
    """
    blocks = sum(item.length for item in image.metadata.blocks)
    wanted = len(image.data) - blocks
    low, high = 0, len(_QUALITIES) - 1
    while low < high:
        middle = (low + high) // 2
        if len(_encode(picture, form, quality=_QUALITIES[middle], **options)) < wanted:
            low = middle + 1
        else:
            high = middle
    return _encode(picture, form, quality=_QUALITIES[low], **options)


def _encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def _tiff(image: ImageFile, picture: Image.Image) -> bytes:
    source = Image.open(image.stream(), formats=("TIFF",))
    compression = str(source.info.get("compression", "raw"))
    if compression not in _LOSSLESS_TIFF:
        raise Unchangeable("mode")
    out = io.BytesIO()
    picture.save(
        out,
        "TIFF",
        compression=None if compression == "raw" else compression,
        tiffinfo=source.tag_v2,  # type: ignore[attr-defined]
        exif=image.exif.tobytes(),
        icc_profile=image.icc or None,
    )
    written = ImageFile.open(out.getvalue(), name=image.name)
    if _tags(written) != _tags(image):
        raise Unchangeable("tags")
    return out.getvalue()


def _tags(image: ImageFile) -> dict[Any, Any]:
    """Return all tags but those that say how the pixels are stored."""
    found: dict[Any, Any] = {
        tag: value for tag, value in image.exif.items() if tag not in _TIFF_LAYOUT
    }
    for directory in (0x8769, 0x8825):
        found[f"{directory:x}"] = dict(image.exif.get_ifd(directory))
    found["xmp"] = b"".join(item.data for item in image.blocks("xmp"))
    return found


_WRITERS: dict[str, Callable[[ImageFile, Image.Image], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "avif": _avif,
    "tiff": _tiff,
}
