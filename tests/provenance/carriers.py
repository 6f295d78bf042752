"""Pictures with metadata in every carrier, made when a test asks for one.

Test modules load it with `runpy`, since they are no package.
"""

import io
import struct
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from counterproof.images import ImageFile

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "gb": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "shop": "http://ns.adobe.com/photoshop/1.0/",
    "ex": "http://ns.adobe.com/exif/1.0/",
    "xap": "http://ns.adobe.com/xap/1.0/",
}
TAGS = {
    "ImageDescription": 0x010E,
    "Make": 0x010F,
    "Model": 0x0110,
    "Software": 0x0131,
    "Artist": 0x013B,
}
INNER_TAGS = {"UserComment": 0x9286, "MakerNote": 0x927C}


def packet(properties: dict[str, str], *, attributes: bool = False) -> bytes:
    """Make an XMP packet; keys are `prefix:name` with a prefix of `NAMESPACES`."""

    def escape(text: str) -> str:
        for old, new in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;")):
            text = text.replace(old, new)
        return text

    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    inline = " ".join(f'{key}="{escape(value)}"' for key, value in properties.items())
    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in properties.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description '
        f'rdf:about="" {names} {inline if attributes else ""}>{"" if attributes else inner}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def picture(
    form: str = "png",
    *,
    xmp: bytes | None = None,
    texts: dict[str, str] | None = None,
    exif: dict[str, Any] | None = None,
    comment: str | None = None,
    trailer: bytes = b"",
) -> ImageFile:
    """Make a small picture of one format with this metadata.

    Args:
        form: `jpeg`, `png`, `webp`, `gif`, `tiff` or `avif`.
        xmp: a packet.
        texts: PNG keyword → text.
        exif: tag name → value; `UserComment` as bytes with its character code.
        comment: of a JPEG or GIF.
        trailer: bytes behind the picture.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {}
    tags = {TAGS[name]: value for name, value in (exif or {}).items() if name in TAGS}
    inner = {INNER_TAGS[name]: value for name, value in (exif or {}).items() if name in INNER_TAGS}
    if form == "tiff":
        options["tiffinfo"] = tags | ({700: xmp} if xmp else {}) | ({34665: inner} if inner else {})
    elif exif:
        block = Image.Exif()
        block.update(tags)
        block.get_ifd(0x8769).update(inner)
        options["exif"] = block.tobytes()
    if form == "png":
        info = PngInfo()
        for key, text in (texts or {}).items():
            info.add_itxt(key, text)
        if xmp:
            info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif xmp and form not in ("gif", "tiff"):
        options["xmp"] = xmp
    if comment is not None:
        options["comment"] = comment.encode()
    Image.new("RGB", (16, 16), "grey").save(buffer, form.upper(), **options)
    data = buffer.getvalue()
    if xmp and form == "gif":
        data = data[:-1] + _gif_xmp(xmp) + data[-1:]
    return ImageFile.open(data + trailer, name=f"made.{form}")


def _gif_xmp(xmp: bytes) -> bytes:
    """Make the application extension of XMP part 3 §1.1.2, with its 258-byte trailer."""
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return b"\x21\xff\x0bXMP DataXMP" + xmp + magic


def samsung_trailer(entries: dict[str, str]) -> bytes:
    """Make entries and directory as Samsung's editor appends them."""
    packed = [
        struct.pack("<HHI", 0, 0x0D91, len(name)) + name.encode() + body.encode()
        for name, body in entries.items()
    ]
    total, at, rows = sum(map(len, packed)), 0, b""
    for body in packed:
        rows += struct.pack("<HHII", 0, 0x0D91, total - at, len(body))
        at += len(body)
    directory = b"SEFH" + struct.pack("<II", 107, len(packed)) + rows
    return b"".join(packed) + directory + struct.pack("<I", len(directory)) + b"SEFT"
