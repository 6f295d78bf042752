"""Containers: what is listed of well-formed files."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counterproof.blocks import Block, Container
from counterproof.containers import sniff, walk
from counterproof.images import ImageFile
from counterproof.tiff import exif_directories
from tests.counterproof.container_parts import XMP, chunk, encode, png, segment, tags


def profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def only(found: Container, kind: str) -> Block:
    (block,) = [item for item in found.blocks if item.kind == kind]
    return block


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_exif_xmp_and_profile_are_listed_where_they_lie(kind: str) -> None:
    options: dict[str, Any] = {"exif": tags(), "icc_profile": profile()}
    if kind == "PNG":
        from PIL import PngImagePlugin

        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        options["pnginfo"].add_text("Comment", "a text")
    elif kind == "TIFF":
        options["exif"][700] = XMP
    else:
        options["xmp"] = XMP
    data = encode(kind, **options)
    found = walk(data)
    assert (found.format, found.damage, found.truncated) == (kind.lower(), "", False)
    assert (found.width, found.height) == (32, 24)
    assert only(found, "xmp").data == XMP
    if kind != "AVIF":  # there it is a property of the picture, not a block
        assert only(found, "icc").data.endswith(profile())
    for block in found.blocks:
        assert 0 <= block.offset < len(data)
        assert block.offset + block.length <= len(data)
        if kind in ("JPEG", "WEBP") or (kind == "AVIF" and block.kind == "xmp"):
            assert block.data in data[block.offset : block.offset + block.length]
    exif = exif_directories(only(found, "exif").data)
    assert exif.text("ifd0", 0x010F) == "Maker"
    if kind != "TIFF":  # Pillow leaves the inner directories out there
        assert exif.text("exif", 0x9003) == "2024:05:06 07:08:09"
        assert "gps" in exif.directories


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_exif_is_what_pillow_reads(kind: str) -> None:
    data = encode(kind, exif=tags())
    expected = Image.open(io.BytesIO(data)).getexif()
    found = ImageFile.open(data).exif
    assert dict(found) == dict(expected)
    for directory in (0x8769, 0x8825):
        assert dict(found.get_ifd(directory)) == dict(expected.get_ifd(directory))


def test_exif_of_real_files_is_what_pillow_reads(test_data: Path) -> None:
    compared = 0
    for path in sorted((test_data / "photos").rglob("*")):
        if path.suffix.lower() not in (".jpg", ".png", ".webp", ".avif", ".tiff", ".heic"):
            continue
        image = ImageFile.open(path)
        if not image.blocks("exif") or image.format == "heic":
            continue
        with Image.open(path) as picture:
            picture.info.pop("xmp", None)  # Pillow also takes an orientation from there
            expected = picture.getexif()
            second = dict(expected.get_ifd(0x8769))
            assert dict(image.exif) == dict(expected), path
            assert dict(image.exif.get_ifd(0x8769)) == second, path
        if not image.metadata.orientation:
            assert image.orientation == expected.get(0x0112, 1), path
        compared += 1
    assert compared > 25


def test_items_of_real_heic_and_avif(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pi_heif

    for option in ("THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):
        monkeypatch.setattr(pi_heif.options, option, True)
    compared = 0
    for path in sorted(test_data.rglob("*")):
        if path.suffix not in (".heic", ".heif", ".avif"):
            continue
        image = ImageFile.open(path)
        found = image.metadata
        if path.suffix == ".avif":
            with Image.open(path) as picture:
                info: dict[Any, Any] = picture.info
                size: tuple[int, int] = picture.size
        else:
            heif = pi_heif.open_heif(path)
            info, size = heif.info, heif.size
            assert found.frames == len(heif)
            assert found.planes.count("thumbnail") == len(info["thumbnails"])
            assert found.planes.count("depth") == len(info["depth_images"])
        if found.orientation == 1:
            assert (found.width, found.height) == size, path
        assert bool(info.get("exif")) == bool(image.exif_data), path
        assert bool(info.get("xmp")) == bool(image.blocks("xmp")), path
        if info.get("xmp"):
            assert image.blocks("xmp")[0].data.rstrip(b"\0") == info["xmp"].rstrip(b"\0")
        compared += 1
    assert compared >= 8


def test_every_file_of_the_collection_is_walked_to_its_end(test_data: Path) -> None:
    pictures = 0
    for folder in ("photos", "copies", "traces"):
        for path in sorted((test_data / folder).rglob("*.*")):
            data = path.read_bytes()
            found = walk(data)
            if found.format:
                pictures += 1
                assert (found.damage, found.truncated) == ("", False), path
    assert pictures > 100


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"GIF89a", "gif"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"MM\0+\0\x08\0\0", "tiff"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw"),
        (b"BM" + bytes(30), "bmp"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
        (b"\0\0\0\x18ftypavis\0\0\0\0avifmif1", "avif"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "heif"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "mp4"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
        (b"\xff\x0a\xfa\x1f", "jxl"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "svg"),
        (b"<!-- x --><svg:svg >", "svg"),
        (b"a text that mentions <svg>", ""),
        (b"BM", ""),
        (b"%PDF-1.7", "pdf"),
        (b"", ""),
    ],
)
def test_formats_are_told_by_content(head: bytes, name: str) -> None:
    assert sniff(head) == name


def test_jpeg_segments() -> None:
    data = encode("JPEG")
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + b"part"
    added = [
        (0xE1, extended, "xmp_extended"),
        (0xE2, b"ICC_PROFILE\0\x02\x02second", "icc"),
        (0xE2, b"ICC_PROFILE\0\x01\x02first", "icc"),
        (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb", "c2pa"),
        (0xED, b"Photoshop 3.0\08BIM", "iptc"),
        (0xFE, b"a comment", "comment"),
    ]
    data = data[:2] + b"".join(segment(marker, body) for marker, body, _ in added) + data[2:]
    found = walk(data)
    assert [block.kind for block in found.blocks] == [kind for _, _, kind in added]
    at = 2
    for block, (_, body, _) in zip(found.blocks, added, strict=True):
        assert (block.offset, block.length) == (at, len(body) + 4)
        at += block.length
    assert ImageFile.open(data).icc == b"firstsecond"
    assert (found.mode, found.bit_depth, found.coding) == ("RGB", 8, "baseline")


def test_large_exif_lies_in_several_jpeg_segments() -> None:
    block = tags()
    block[0x010E] = "x" * 100_000
    data = block.tobytes()  # begins with Exif\0\0
    parts = [data[6:][at : at + 65_000] for at in range(0, len(data), 65_000)]
    jpeg = encode("JPEG")
    jpeg = jpeg[:2] + b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts) + jpeg[2:]
    image = ImageFile.open(jpeg)
    assert image.exif_data == data[6:]
    assert len(image.exif[0x010E]) == 100_000


def test_jpeg_trailer() -> None:
    data = encode("JPEG")
    assert not walk(data + bytes(500)).blocks  # padding
    block = only(walk(data + b"\0\0\0\x18ftypmp42" + bytes(99)), "trailer")
    assert block.offset == len(data)
    assert block.data.startswith(b"\0\0\0\x18ftyp")


def test_further_pictures_of_a_jpeg() -> None:
    first = encode("JPEG")
    out = io.BytesIO()
    pictures = [Image.new("RGB", (16, 16), (n, n, n)) for n in range(3)]
    pictures[0].save(out, "MPO", save_all=True, append_images=pictures[1:])
    data = out.getvalue()
    image = ImageFile.open(data)
    assert image.format == "jpeg"
    assert image.info.frames == 1
    assert len(image.info.planes) == 2
    assert image.pixels(8).shape == (8, 8, 3)
    assert not image.blocks("trailer")
    assert walk(data[:-30]).truncated
    # a gain map says what it is in its own metadata
    gain = first[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<hdrgm:Version/>") + first[2:]
    entries = struct.pack(">IIIHH", 0x20030000, len(first), 0, 0, 0)
    index = struct.pack(">H", 3)
    index += struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    index += struct.pack(">HHII", 0xB002, 7, 32, 50) + struct.pack(">I", 0)
    head = b"MM\0*\0\0\0\x08" + index
    size = len(segment(0xE2, b"MPF\0" + head + bytes(32)))
    where = len(first) + size - 10  # counted from the TIFF header in the segment
    entries += struct.pack(">IIIHH", 0, len(gain), where, 0, 0)
    whole = first[:2] + segment(0xE2, b"MPF\0" + head + entries) + first[2:] + gain
    found = walk(whole)
    assert found.planes == ("gain_map",)
    assert not found.damage
    tail = only(walk(whole + b"more"), "trailer")
    assert (tail.offset, tail.data) == (len(whole), b"more")


def test_depth_in_xmp_is_a_plane() -> None:
    body = b"http://ns.adobe.com/xap/1.0/\0<x GDepth:Mime='image/jpeg'/>"
    data = encode("JPEG")
    assert ImageFile.open(data[:2] + segment(0xE1, body) + data[2:]).info.planes == ("depth",)


def box(name: bytes, *parts: bytes, full: int | None = None) -> bytes:
    body = (b"" if full is None else struct.pack(">I", full)) + b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, name) + body


def item(number: int, kind: bytes, hidden: bool = False, detail: bytes = b"\0") -> bytes:
    flags = 2 << 24 | int(hidden)
    return box(b"infe", struct.pack(">HH4s", number, 0, kind), detail, full=flags)


def link(kind: bytes, source: int, *targets: int) -> bytes:
    return box(kind, struct.pack(f">HH{len(targets)}H", source, len(targets), *targets))


def heic() -> bytes:
    """A primary picture, its thumbnail, alpha, depth and gain map, a second one, EXIF and XMP."""
    properties = [
        box(b"ispe", struct.pack(">II", 400, 300), full=0),
        box(b"pixi", b"\3\x0a\x0a\x0a", full=0),
        box(b"irot", b"\3"),
        box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", full=0),
        box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0", full=0),
        box(b"auxC", b"urn:com:apple:photo:2020:aux:hdrgainmap\0", full=0),
    ]
    links = {1: (1, 2, 3), 3: (4,), 4: (5,), 5: (6,)}
    named = b"".join(
        struct.pack(f">HB{len(wanted)}B", number, len(wanted), *wanted)
        for number, wanted in links.items()
    )
    exif = struct.pack(">I", 6) + tags().tobytes()
    stored = exif + XMP
    places = (7, 0, len(exif)), (8, len(exif), len(XMP))
    inside = b"".join(
        struct.pack(">HHHHII", number, 1, 0, 1, at, size) for number, at, size in places
    )
    items = [item(number, b"hvc1", number in (3, 4, 5)) for number in range(1, 7)]
    items += [item(7, b"Exif", True), item(8, b"mime", True, b"\0application/rdf+xml\0")]
    meta = box(
        b"meta",
        box(b"pitm", struct.pack(">H", 1), full=0),
        box(b"iinf", struct.pack(">H", len(items)), *items, full=0),
        box(b"iref", link(b"thmb", 2, 1), *(link(b"auxl", n, 1) for n in (3, 4, 5)), full=0),
        box(
            b"iprp",
            box(b"ipco", *properties),
            box(b"ipma", struct.pack(">I", len(links)), named, full=0),
        ),
        box(b"iloc", b"\x44\0", struct.pack(">H", 2), inside, full=1 << 24),
        box(b"idat", stored),
        full=0,
    )
    return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + meta


def test_items_of_a_heic() -> None:
    data = heic()
    found = walk(data)
    assert (found.format, found.damage) == ("heic", "")
    assert (found.width, found.height, found.bit_depth, found.orientation) == (400, 300, 10, 6)
    assert found.alpha
    assert found.planes == ("thumbnail", "depth", "gain_map")
    assert found.frames == 2
    block = only(found, "exif")
    assert exif_directories(block.data).text("ifd0", 0x010F) == "Maker"
    assert only(found, "xmp").data == XMP
    assert data[only(found, "xmp").offset :].startswith(XMP)
    image = ImageFile.open(data)
    assert (image.info.width, image.info.height) == (300, 400)  # upright
    for length in range(40, len(data)):
        assert walk(data[:length]).format == "heic"


def test_png_text() -> None:
    found = walk(
        png(
            chunk(b"tEXt", b"Author\0J\xf6rg"),
            chunk(b"tEXt", "parameters\0猫".encode()),
            chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"{}")),
            chunk(b"iTXt", b"Title\0\1\0en\0T\0" + zlib.compress("é".encode())),
            chunk(b"caBX", b"jumbf"),
        )
    )
    texts = [(block.key, block.data.decode()) for block in found.blocks if block.kind == "text"]
    assert texts == [("Author", "Jörg"), ("parameters", "猫"), ("prompt", "{}"), ("Title", "é")]
    assert only(found, "c2pa").data == b"jumbf"


def test_profiles_that_imagemagick_writes_as_text() -> None:
    body = tags().tobytes()
    text = f"\nexif\n{len(body):8}\n{body.hex()}\n".encode()
    found = walk(png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))))
    assert exif_directories(only(found, "exif").data).text("ifd0", 0x010F) == "Maker"
    text = f"\nxmp\n{len(XMP):8}\n{XMP.hex()}\n".encode()
    found = walk(png(chunk(b"tEXt", b"Raw profile type xmp\0" + text)))
    assert only(found, "xmp").data == XMP


def test_trailers() -> None:
    for kind in ("PNG", "WEBP", "GIF"):
        data = encode(kind)
        assert not walk(data).blocks
        assert only(walk(data + b"hidden"), "trailer").data == b"hidden"


def test_gif_blocks() -> None:
    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, "GIF", comment=b"a comment")
    assert only(walk(out.getvalue()), "comment").data == b"a comment"


def big_tiff() -> bytes:
    entries = ((256, 3, 1, 5), (257, 3, 1, 6), (258, 3, 1, 8), (271, 2, 20, 200))
    body = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    data = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", len(entries)) + body
    return data.ljust(200, b"\0") + b"A maker of scanners\0"


def test_big_tiff() -> None:
    image = ImageFile.open(big_tiff())
    assert (image.metadata.width, image.metadata.height) == (5, 6)
    directories = image.exif_directories
    assert directories is not None
    assert directories.text("ifd0", 271) == "A maker of scanners"
    assert image.exif[271] == "A maker of scanners"
