"""Redacting each format: what goes, what stays, what is refused."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from counterproof.app.redact import redact as command
from counterproof.audit.fill import fill, small_view
from counterproof.audit.redact import redact
from counterproof.audit.strip import strip
from counterproof.audit.strip_bmff import colour_primaries, hides_part
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Settings

NAME = b"Example Person"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><dc:creator><rdf:Seq>'
    b"<rdf:li>" + NAME + b"</rdf:li></rdf:Seq></dc:creator><Iptc4xmpExt:DigitalSourceType>"
    b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    b"</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def scene(size: tuple[int, int] = (160, 120), seed: int = 1) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 220, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).ellipse([30, 30, 90, 90], fill=(240, 60, 40))
    return picture


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x013B] = NAME.decode()
    tags[0x0112] = orientation
    tags.get_ifd(0x8825).update({1: "N", 2: (12.0, 34.0, 56.0)})
    return tags


def saved(form: str, picture: Image.Image | None = None, **options: Any) -> ImageFile:
    out = io.BytesIO()
    (picture or scene()).save(out, form, **options)
    return ImageFile.open(out.getvalue(), name=f"a.{form.lower()}")


def private(form: str, orientation: int = 1) -> ImageFile:
    if form == "GIF":
        return saved(form, scene().convert("P"), comment=NAME + b" was here", xmp=XMP)
    if form == "TIFF":
        tags = exif(orientation)
        tags[700] = XMP
        return saved(form, tiffinfo=tags, compression="tiff_lzw")
    return saved(form, exif=exif(orientation), xmp=XMP)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "AVIF"])
def test_metadata_go_and_pixels_stay(form: str, settings: Settings) -> None:
    source = private(form)
    if form == "GIF":
        from counterproof.provenance.xmp_place import place

        source = ImageFile.open(place(source, XMP))
    assert NAME in source.data
    made = redact(source, settings)
    result = ImageFile.open(made.data)
    assert NAME not in made.data
    assert b"trainedAlgorithmicMedia" in made.data
    assert result.format == source.format
    assert np.array_equal(result.pixels(), source.pixels())


@pytest.mark.parametrize("form", ["GIF", "TIFF", "AVIF"])
def test_regions_are_filled(form: str, settings: Settings) -> None:
    source = private(form)
    made = redact(source, settings, boxes=[(40, 40, 40, 40)])
    pixels = ImageFile.open(made.data).pixels()
    assert pixels[50:70, 50:70].max() <= 24
    rest = np.abs(pixels[95:].astype(int) - source.pixels()[95:])
    assert rest.mean() < 4
    assert NAME not in made.data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_stays(form: str, orientation: int, settings: Settings) -> None:
    source = private(form, orientation)
    for boxes in ([], [(20, 30, 30, 30)]):
        made = redact(source, settings, boxes=boxes)
        pixels = ImageFile.open(made.data).pixels()
        assert pixels.shape == source.pixels().shape
        assert np.abs(pixels[-20:].astype(int) - source.pixels()[-20:]).mean() < 4
        if boxes:
            assert pixels[38:52, 28:42].max() <= 24


def test_a_thumbnail_is_made_anew(settings: Settings) -> None:
    hidden = small_view(saved("JPEG", scene(seed=2)))
    source = ImageFile.open(strip(private("JPEG", 6), thumbnail=hidden))
    assert source.exif_directories
    assert source.exif_directories.thumbnail() == hidden
    made = redact(source, settings, boxes=[(20, 30, 60, 60)])
    result = ImageFile.open(made.data)
    assert result.exif_directories
    view = ImageFile.open(result.exif_directories.thumbnail()).pixels()
    assert view.shape == (120, 160, 3)
    turned = np.rot90(view, -1)
    assert turned[45:75, 35:65].max() <= 40
    assert hidden[-60:-10] not in made.data
    again = redact(result, settings)  # what stands there now may stay
    assert ImageFile.open(again.data).exif_directories


def test_pages_of_a_tiff(settings: Settings) -> None:
    pages = [scene(seed=seed) for seed in (1, 2, 3)]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:], tiffinfo=exif())
    data = bytearray(out.getvalue()) + b"left from before: " + NAME
    made = redact(ImageFile.open(bytes(data)), settings)
    assert NAME not in made.data
    shown = Image.open(io.BytesIO(made.data))
    assert getattr(shown, "n_frames", 1) == 3
    for number, page in enumerate(pages):
        shown.seek(number)
        assert np.array_equal(np.asarray(shown), np.asarray(page))
    with pytest.raises(ImageError, match="several frames or pages"):
        redact(ImageFile.open(bytes(data)), settings, boxes=[(10, 10, 20, 20)])


def test_a_big_tiff_and_the_other_byte_order(settings: Settings) -> None:
    big = saved("TIFF", big_tiff=True, tiffinfo=exif())
    assert big.data[2] == 43
    made = redact(big, settings)
    assert made.data[2] == 43
    assert np.array_equal(ImageFile.open(made.data).pixels(), big.pixels())
    entries = [(256, 3, 1, 4 << 16), (257, 3, 1, 1 << 16), (258, 3, 1, 8 << 16)]
    entries += [(262, 3, 1, 1 << 16), (273, 4, 1, 8), (278, 3, 1, 1 << 16), (279, 4, 1, 4)]
    entries += [(315, 2, 4, int.from_bytes(b"Bob\0", "big"))]
    body = b"MM\0*" + struct.pack(">I", 12) + b"\x10\x50\x90\xd0" + struct.pack(">H", len(entries))
    body += b"".join(struct.pack(">HHII", *item) for item in entries) + b"\0" * 4
    source = ImageFile.open(body)
    made = redact(source, settings)
    assert b"Bob" not in made.data
    assert np.array_equal(ImageFile.open(made.data).pixels(), source.pixels())


def test_pages_that_share_one_strip_do_not_swell() -> None:
    tag = struct.pack("<HHI", 273, 4, 1)
    page = struct.pack("<H", 4) + struct.pack("<HHIHH", 256, 3, 1, 64, 0)
    page += struct.pack("<HHIHH", 257, 3, 1, 64, 0) + tag + struct.pack("<I", 8)
    page += struct.pack("<HHII", 279, 4, 1, 4096)
    data, at = b"II*\0" + struct.pack("<I", 8 + 4096) + bytes(4096), 8 + 4096
    for _ in range(3000):
        at += len(page) + 4
        data += page + struct.pack("<I", at)
    data += page + b"\0" * 4
    with pytest.raises(ImageError, match="cannot be followed"):
        strip(ImageFile.open(data))


def test_animation_of_a_gif_stays(settings: Settings) -> None:
    frames = [scene(seed=seed).convert("P") for seed in (1, 2, 3)]
    options = {"save_all": True, "append_images": frames[1:], "duration": 70, "loop": 0}
    source = saved("GIF", frames[0], comment=NAME, **options)
    made = redact(source, settings)
    shown = Image.open(io.BytesIO(made.data))
    assert (getattr(shown, "n_frames", 1), shown.info["loop"], shown.info["duration"]) == (3, 0, 70)
    assert NAME not in made.data
    with pytest.raises(ImageError, match="several frames"):
        redact(source, settings, boxes=[(10, 10, 20, 20)])


def test_a_full_palette_without_black() -> None:
    index = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    picture = Image.fromarray(index)
    picture = picture.convert("P")
    palette = [(64 + n // 2, 80 + n // 3, 255 - n // 2) for n in range(256)]
    picture.putpalette([value for colour in palette for value in colour])
    source = saved("GIF", picture)
    pixels = ImageFile.open(fill(source, [(8, 8, 30, 30)])).pixels()
    assert pixels[8:38, 8:38].max() == 0
    assert (pixels.max(axis=2) == 0).sum() == 900
    assert np.abs(pixels[40:].astype(int) - source.pixels()[40:]).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_png_of_every_mode(mode: str, settings: Settings) -> None:
    picture = scene().convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(90)
    source = saved("PNG", picture)
    made = redact(source, settings, boxes=[(40, 40, 40, 40)])
    pixels = ImageFile.open(made.data).pixels()
    assert pixels[42:78, 42:78].max() == 0
    assert np.array_equal(pixels[90:], source.pixels()[90:])


def test_lossy_tiff_is_written_without_a_second_loss(settings: Settings) -> None:
    source = saved("TIFF", compression="jpeg", quality=80)
    made = redact(source, settings, boxes=[(40, 40, 40, 40)])
    pixels = ImageFile.open(made.data).pixels()
    assert np.array_equal(pixels[90:], source.pixels()[90:])


def test_heic_of_every_layout(test_data: Path, settings: Settings) -> None:
    files = [*(test_data / "photos").rglob("*.hei[cf]"), *(test_data / "c2pa").rglob("*.hei[cf]")]
    done = 0
    for path in sorted(files):
        source = ImageFile.open(str(path))
        if hides_part(source.data):
            with pytest.raises(ImageError, match="clean aperture"):
                redact(source, settings)
            continue
        made = redact(source, settings)
        done += 1
        assert np.array_equal(ImageFile.open(made.data).pixels(), source.pixels())
    assert done >= 3


@pytest.mark.parametrize("alpha", [False, True])
def test_heic_with_regions_becomes_another_format(
    test_data: Path, settings: Settings, alpha: bool
) -> None:
    name = "c2pa/real-outputs/trustnxt-icon-signed-v2-bmff.heic" if alpha else None
    path = test_data / (name or "photos/heif-nokia/conformance_files__C011.heic")
    source = ImageFile.open(strip(ImageFile.open(str(path))))
    data = fill(source, [(8, 16, 40, 24)])
    result = ImageFile.open(data)
    assert result.format == ("png" if alpha else "jpeg")
    assert result.info.alpha is alpha
    pixels, before = result.pixels(), source.pixels()
    assert pixels.shape == before.shape
    assert pixels[20:36, 12:44].max() < 24
    difference = np.abs(pixels[64:].astype(int) - before[64:]).mean()
    assert difference == 0 if alpha else difference < 3


def test_heic_whose_colours_a_jpeg_would_not_show(
    test_data: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ImageFile.open(str(test_data / "photos/heif-nokia/conformance_files__C011.heic"))
    assert colour_primaries(source.data) == 2
    monkeypatch.setattr("counterproof.audit.strip_bmff.colour_primaries", lambda data: 12)
    with pytest.raises(ImageError, match="need a profile"):
        redact(source, settings, boxes=[(1, 1, 9, 9)])


def test_colour_primaries_of_a_picture() -> None:
    assert colour_primaries(saved("AVIF").data) == 1
    assert colour_primaries(b"") == 2


def test_redact_names_the_copy_of_a_heic_anew(test_data: Path, tmp_path: Path) -> None:
    heic, out = test_data / "photos/heif-nokia/conformance_files__C011.heic", tmp_path / "out"
    source = tmp_path / "a.heic"
    source.write_bytes(heic.read_bytes())
    scene().save(tmp_path / "a.jpg")
    fills = ["--region", "1,1,9,9"]
    run = CliRunner().invoke(command, [str(source), "-o", str(out), *fills])
    assert run.exit_code == 0
    assert "written as a.jpg" in run.output
    assert [item.name for item in out.iterdir()] == ["a.jpg"]
    both = [str(source), str(tmp_path / "a.jpg"), "--overwrite"]
    run = CliRunner().invoke(command, [*both, "-o", str(out), *fills])
    assert run.exit_code == 3
    assert "another of the pictures has the name a.jpg" in run.output


@pytest.mark.parametrize("form", ["GIF", "TIFF", "AVIF"])
def test_damaged_files(form: str, settings: Settings) -> None:
    data = private(form).data
    rng = np.random.default_rng(0)
    for number in range(60):
        broken = bytearray(data[: int(rng.integers(30, len(data)))] if number % 2 else data)
        for at in rng.integers(0, min(400, len(broken)), 4):
            broken[at] = int(rng.integers(0, 256))
        try:
            strip(ImageFile.open(bytes(broken)))
        except ImageError:
            continue
