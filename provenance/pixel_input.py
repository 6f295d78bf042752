"""Pixels in memory to a PNG that keeps all of them, and from there to another format."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin

from counterproof.errors import ImageError, UserError

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["from_png", "to_png"]

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def to_png(source: Any) -> bytes:
    """Code a Pillow image or an array as PNG, with profile, EXIF, XMP and texts if it has them.

    Args:
        source: a Pillow image, or `uint8` or `uint16` of shape `(H, W)`, `(H, W, 3)` or
            `(H, W, 4)`.

    Raises:
        UserError: if it is neither, or of a mode or type that PNG cannot keep.
    """
    if isinstance(source, Image.Image):
        return _picture(source)
    array = np.asarray(source) if hasattr(source, "__array__") else None
    if array is None or array.dtype not in (np.uint8, np.uint16):
        kind = type(source).__name__ if array is None else f"{array.dtype} {array.shape}"
        raise UserError(f"expected a path, bytes, a Pillow image or a uint8 array, got {kind}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UserError(f"expected an array of shape (H, W, 3), got {array.shape}")
    if 0 in array.shape:
        raise UserError(f"expected a picture, got an empty array of shape {array.shape}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.uint16 and array.ndim == 3:
        return _deep(array)
    return _picture(Image.fromarray(np.ascontiguousarray(array)))


def _deep(array: Any) -> bytes:
    import cv2

    order = [2, 1, 0, 3][: array.shape[2]]
    done, data = cv2.imencode(".png", np.ascontiguousarray(array[..., order]))
    if not done:
        raise UserError("the array could not be coded as PNG")
    return bytes(data)


def _picture(picture: Image.Image) -> bytes:
    if picture.mode not in _PNG_MODES:
        raise UserError(
            f"expected a picture of mode {', '.join(_PNG_MODES)}, got {picture.mode}; convert it, "
            "or give the path of its file, which is kept as it is"
        )
    texts = PngImagePlugin.PngInfo()
    for key, value in getattr(picture, "text", {}).items():
        if key != "XML:com.adobe.xmp":
            texts.add_itxt(key, str(value))
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    if xmp:
        text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
        texts.add_itxt("XML:com.adobe.xmp", text)
    options: dict[str, Any] = {"pnginfo": texts}
    for name in ("icc_profile", "dpi", "transparency"):
        if name in picture.info:
            options[name] = picture.info[name]
    if exif := picture.getexif():
        options["exif"] = exif.tobytes()
    out = io.BytesIO()
    try:
        picture.save(out, "PNG", **options)
    except (OSError, ValueError, TypeError) as err:
        raise UserError(f"the picture could not be coded as PNG: {err}") from err
    return out.getvalue()


def from_png(image: "ImageFile", form: str, quality: int) -> bytes:
    """Code a PNG that `to_png` made as another format, with profile, EXIF, and XMP.

    Raises:
        ImageError: `unsupported` if the format cannot keep its depth, palette or alpha.
    """
    picture = Image.open(image.stream(), formats=("PNG",))
    picture.load()
    deep = image.metadata.bit_depth > 8
    refused = {"jpeg": ("LA", "RGBA", "P", "1"), "webp": ("1",), "avif": ("1",)}.get(form, ())
    if (deep and (form != "tiff" or picture.mode != "I;16")) or picture.mode in refused:
        what = f"{image.metadata.bit_depth} bits, mode {picture.mode}"
        raise ImageError("unsupported", f"{image.name}: {form} cannot keep it ({what}); use png")
    options: dict[str, Any] = {"quality": quality} if form in ("jpeg", "webp", "avif") else {}
    if form == "tiff":
        options["compression"] = "tiff_adobe_deflate"
    if form == "jpeg" and quality >= 90:
        options["subsampling"] = 0
    for name in ("icc_profile", "dpi"):
        if name in picture.info:
            options[name] = picture.info[name]
    if image.exif_data:
        options["exif"] = b"Exif\0\0" + image.exif_data if form == "jpeg" else image.exif_data
    if found := image.blocks("xmp"):
        options["xmp"] = found[0].data
    if form == "webp":
        options["exact"] = True
    out = io.BytesIO()
    try:
        picture.save(out, form.upper(), **options)
    except (OSError, ValueError, TypeError) as err:
        raise ImageError("unsupported", f"{image.name}: {form} cannot keep it: {err}") from err
    return out.getvalue()
