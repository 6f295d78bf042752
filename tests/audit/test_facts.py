"""File facts: what is copied from metadata, and when a thumbnail is said to differ."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageEnhance, ImageFilter, ImageOps, PngImagePlugin

from counterproof.audit.facts import (
    FileAnalyzer,
    compare_thumbnail,
    extension_remark,
    has_readable_metadata,
    icc_name,
)
from counterproof.errors import ImageError
from counterproof.findings import Claim, Fact, Finding, Severity
from counterproof.images import ImageFile
from counterproof.settings import Settings

Edit = Callable[[Image.Image], Image.Image]


def analyze(data: bytes | Path) -> tuple[dict[str, Any], list[Finding]]:
    found = list(FileAnalyzer(Settings(home=Path())).analyze(ImageFile.open(data)))
    facts = {item.name: item.value for item in found if isinstance(item, Fact)}
    return facts, [item for item in found if isinstance(item, Finding)]


def scene(width: int = 480, height: int = 320) -> Image.Image:
    """A made-up landscape: a sky, hills, a sun, a house."""
    picture = Image.linear_gradient("L").resize((width, height))
    picture = ImageOps.colorize(ImageOps.flip(picture), (40, 70, 120), (190, 210, 240))
    draw = ImageDraw.Draw(picture)
    draw.ellipse([width * 0.7, height * 0.1, width * 0.8, height * 0.26], fill=(250, 240, 180))
    hills = [
        (0, height),
        (0, height * 0.7),
        (width * 0.3, height * 0.45),
        (width * 0.55, height * 0.7),
    ]
    hills += [(width * 0.8, height * 0.5), (width, height * 0.75), (width, height)]
    draw.polygon(hills, fill=(50, 90, 40))
    draw.rectangle([width * 0.4, height * 0.6, width * 0.55, height * 0.85], fill=(170, 90, 60))
    draw.rectangle([width * 0.43, height * 0.65, width * 0.47, height * 0.72], fill=(250, 250, 200))
    noise = Image.effect_noise((width, height), 20).convert("RGB")
    return Image.blend(picture, noise, 0.06)


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", **{"quality": 88, **options})
    return out.getvalue()


def exif_block(
    thumbnail: bytes = b"", orientation: int = 1, texts: dict[int, str] | None = None
) -> bytes:
    """An EXIF block with a second directory that names a thumbnail (EXIF 2.32 §4.5.5)."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0))]
    data = b""
    base = 8 + 2 + 12 * (1 + len(texts or {})) + 4
    for tag, text in sorted((texts or {}).items()):
        raw = text.encode() + b"\0"
        entries.append((tag, 2, len(raw), struct.pack("<I", base + len(data))))
        data += raw.ljust(max(5, len(raw)), b"\0")
    entries.sort()
    first = struct.pack("<H", len(entries))
    first += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    second = base + len(data)
    if not thumbnail:
        return b"Exif\0\0II*\0\x08\0\0\0" + first + bytes(4) + data
    names = struct.pack("<H", 2)
    names += struct.pack("<HHII", 0x0201, 4, 1, second + 30)
    names += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    head = b"Exif\0\0II*\0\x08\0\0\0" + first + struct.pack("<I", second)
    return head + data + names + thumbnail


def small(picture: Image.Image, size: tuple[int, int] = (160, 107)) -> bytes:
    return jpeg(picture.resize(size), quality=75)


def with_thumbnail(
    shown: Image.Image, original: Image.Image | None = None, orientation: int = 1, **options: Any
) -> bytes:
    block = exif_block(small(original or shown, **options), orientation)
    return jpeg(shown, exif=block)


def test_camera_facts() -> None:
    texts = {
        0x010F: "  Maker\x00rest ",
        0x0110: "Model\x1b[31m\n1",
        0x0131: "y" * 900,
    }
    facts, findings = analyze(jpeg(scene(), exif=exif_block(texts=texts)))
    assert facts["camera.make"] == "Maker"
    assert facts["camera.model"] == "Model [31m 1"
    assert facts["software"] == "y" * 200
    assert facts["gps.present"] is False
    assert not findings


def test_time_lens_place_and_profile() -> None:
    tags = Image.Exif()
    tags[0x010F] = "Maker"  # Pillow leaves a block without it out of a PNG
    inner = tags.get_ifd(0x8769)
    inner[0x9003], inner[0x9011], inner[0xA434] = "2024:02:29 23:59:58", "+05:30", "35mm F2"
    tags.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (4.0, 5.0, 6.0)})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP"):
        out = io.BytesIO()
        scene().save(out, kind, exif=tags, icc_profile=profile)
        facts, _ = analyze(out.getvalue())
        assert facts["captured_at"] == "2024-02-29T23:59:58+05:30"
        assert facts["camera.lens"] == "35mm F2"
        assert facts["gps.present"] is True
        assert facts["icc.name"] == "sRGB built-in"
        assert not any("5.0" in str(value) for value in facts.values())  # never the coordinates


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2023:02:29 10:00:00", "x"]
)
def test_a_time_that_is_none_is_left_out(text: str) -> None:
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0x9003] = text
    assert "captured_at" not in analyze(jpeg(scene(), exif=tags))[0]


def test_software_and_place_in_other_carriers() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "Editor 3")
    texts.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta exif:GPSLatitude="1,2N"/>')
    out = io.BytesIO()
    scene(60, 40).save(out, "PNG", pnginfo=texts)
    facts, _ = analyze(out.getvalue())
    assert facts["software"] == "Editor 3"
    assert facts["gps.present"] is True


def test_profile_names() -> None:
    version_2 = b"desc" + bytes(4) + struct.pack(">I", 9) + b"Wide RGB\0"
    table = struct.pack(">I4sII", 1, b"desc", 144, len(version_2))
    assert icc_name(bytes(128) + table + version_2) == "Wide RGB"
    assert icc_name(b"") == icc_name(bytes(200)) == icc_name(b"\xff" * 300) == ""


def test_damage_and_trailing_bytes() -> None:
    data = jpeg(scene())
    assert "file.damage" not in analyze(data)[0]
    assert analyze(data[:-2])[0]["file.damage"].startswith("truncated after")
    assert analyze(data + b"payload!")[0]["trailer.bytes"] == 8
    for rest, kind in (
        (b"payload!", "unknown"),
        (b"PK\3\4" + bytes(9) + b"x", "zip"),
        (b"\0\0\0\x18ftypmp42" + bytes(20) + b"x", "mp4"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9) + b"x", "png"),
        (b"\0\0\1\x0aPEg_InfoSEFT", "samsung"),
    ):
        assert analyze(data + rest)[0]["trailer.kind"] == kind


def test_a_damaged_picture_with_metadata_is_partial() -> None:
    block = exif_block(texts={0x010F: "Maker"})
    data = jpeg(scene(), exif=block)
    facts, (finding,) = analyze(data[: len(data) // 2])
    assert facts["camera.make"] == "Maker"
    assert finding.code == "file.partial"
    assert (finding.claim, finding.severity) == (Claim.NONE, Severity.LOW)
    assert finding.details["cause"] == "truncated"
    assert finding.details["message"] == f"truncated after {len(data) // 2 / 1e3:.1f} KB"
    with pytest.raises(ImageError, match="truncated"):
        analyze(jpeg(scene())[:5_000])


def test_what_counts_as_readable_metadata() -> None:
    def readable(data: bytes) -> bool:
        return has_readable_metadata(ImageFile.open(data))

    plain = jpeg(scene(60, 40))
    assert not readable(plain)
    assert not readable(b"no picture")

    def added(marker: int, body: bytes) -> bytes:
        return (
            plain[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + plain[2:]
        )

    assert readable(jpeg(scene(60, 40), exif=exif_block()))
    assert not readable(added(0xE1, b"Exif\0\0garbage"))
    assert readable(added(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"))
    assert not readable(added(0xE1, b"http://ns.adobe.com/xap/1.0/\0garbage"))
    assert readable(added(0xED, b"Photoshop 3.0\x008BIM\x04\x04"))
    assert not readable(added(0xED, b"Photoshop 3.0\0????"))
    assert readable(added(0xFE, b"hello"))
    assert not readable(added(0xFE, b" \0\0"))
    assert readable(added(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb"))
    out = io.BytesIO()
    scene(60, 40).save(out, "TIFF")
    assert not readable(out.getvalue())  # layout tags describe no origin
    out = io.BytesIO()
    scene(60, 40).save(out, "TIFF", tiffinfo={271: "Maker"})
    assert readable(out.getvalue())


@pytest.mark.parametrize(
    ("path", "format", "remark"),
    [
        ("a.png", "jpeg", "named .png, is jpeg"),
        ("folder.png/a.JPG", "jpeg", ""),
        ("a.jfif", "jpeg", ""),
        ("a.heif", "heic", ""),
        ("a.heic", "heif", ""),
        ("a.jpg", "avif", "named .jpg, is avif"),
        ("a.webp", "png", "named .webp, is png"),
        ("a.nef", "tiff", ""),
        ("a.tif", "dng", "named .tif, is dng"),
        ("a.dat", "jpeg", ""),  # says nothing, so it says nothing wrong
        ("a", "jpeg", ""),
        ("a.png", "", ""),
    ],
)
def test_extensions(path: str, format: str, remark: str) -> None:
    assert extension_remark(path, format) == remark


def differs(data: bytes) -> list[Finding]:
    return [item for item in analyze(data)[1] if item.code == "file.thumbnail.differs"]


def crop(fraction: float) -> Edit:
    def edit(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        return picture.crop((0, 0, int(width * fraction), int(height * fraction)))

    return edit


def paint(picture: Image.Image) -> Image.Image:
    changed = picture.copy()
    draw = ImageDraw.Draw(changed)
    draw.rectangle([190, 190, 265, 273], fill=(60, 95, 45))  # the house is gone
    return changed


def add(picture: Image.Image) -> Image.Image:
    changed = picture.copy()
    ImageDraw.Draw(changed).ellipse([60, 40, 130, 110], fill=(20, 20, 20))
    return changed


HARMLESS: dict[str, Edit] = {
    "nothing": lambda picture: picture,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.25),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.4),
    "grey": lambda picture: picture.convert("L"),
    "colourful": lambda picture: ImageEnhance.Color(picture).enhance(1.8),
    "sharper": lambda picture: picture.filter(ImageFilter.SHARPEN),
    "smaller": lambda picture: picture.resize((200, 133)),
    "turned": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "upside down": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
}
EDITED: dict[str, Edit] = {
    "cropped to 80 %": crop(0.9),
    "cropped to 50 %": crop(0.7),
    "painted over": paint,
    "object added": add,
    "mirrored": ImageOps.mirror,
    "another picture": lambda picture: Image.radial_gradient("L").resize(picture.size),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_thumbnail_that_shows_the_same(name: str) -> None:
    assert not differs(with_thumbnail(HARMLESS[name](scene()), scene()))


@pytest.mark.parametrize("name", EDITED)
def test_a_thumbnail_that_shows_something_else(name: str) -> None:
    (finding,) = differs(with_thumbnail(EDITED[name](scene()), scene()))
    assert finding.claim is Claim.EDITED
    assert finding.severity is Severity.LOW
    assert set(finding.details) == {"correlation", "largest_difference", "box"}
    if name == "object added":
        x, y, w, h = finding.details["box"]
        assert x < 130 / 480
        assert y < 110 / 320
        assert x + w > 60 / 480
        assert y + h > 40 / 320


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnail_of_a_turned_picture(orientation: int) -> None:
    assert not differs(with_thumbnail(scene(), orientation=orientation))
    assert differs(with_thumbnail(add(scene()), scene(), orientation=orientation))


def letterboxed(picture: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (160, 120))
    canvas.paste(picture.resize((160, 107)), (0, 6))
    return canvas


def cut_to_shape(picture: Image.Image) -> Image.Image:
    return ImageOps.fit(picture, (160, 120))


@pytest.mark.parametrize("way", [letterboxed, cut_to_shape])
def test_thumbnails_of_another_shape(way: Edit) -> None:
    for picture in (scene(), scene().transpose(Image.Transpose.ROTATE_90)):
        upright = picture.width > picture.height
        size = (160, 120) if upright else (120, 160)
        fitted = way(scene())
        fitted = fitted if upright else fitted.transpose(Image.Transpose.ROTATE_90)
        assert not differs(with_thumbnail(picture, fitted, size=size))
    assert differs(with_thumbnail(add(scene()), way(scene()), size=(160, 120)))


def test_pictures_without_detail_are_not_compared() -> None:
    grey = Image.new("RGB", (300, 200), (90, 90, 90))
    assert not differs(with_thumbnail(grey, scene()))
    flat: NDArray[np.uint8] = np.full((80, 128), 9, np.uint8)
    assert compare_thumbnail(flat, flat) == (False, {})


def test_a_defective_thumbnail_is_passed_over() -> None:
    cut = small(scene())[:900]
    assert not differs(jpeg(scene(), exif=exif_block(cut)))


def test_real_photographs_raise_no_alarm(test_data: Path) -> None:
    compared = 0
    for folder in ("photos", "copies"):
        for path in sorted((test_data / folder).rglob("*.*")):
            image = ImageFile.open(path)
            found = image.exif_directories
            if not found or not found.thumbnail() or image.format == "jxl":
                continue
            assert not differs(path.read_bytes()), path
            compared += 1
    assert compared >= 25
