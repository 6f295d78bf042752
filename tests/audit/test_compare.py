"""What changed between two pictures, and where: alignment, places, metadata, records."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from counterproof.audit.align import describe_matrix, place, size_matrix
from counterproof.audit.compare_pixels import PixelResult, compare_pixels
from counterproof.audit.metadata_fields import compare_fields, fields_of
from counterproof.images import ImageFile

Picture = Image.Image
SIZE = (640, 448)


def scene(seed: int = 1) -> Picture:
    """Return a picture with detail everywhere, and nothing that repeats."""
    rng = np.random.default_rng(seed)
    layers: list[NDArray[np.float64]] = []
    for cells, weight in ((5, 70), (20, 45), (80, 25)):
        small = Image.fromarray(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        layers.append(weight * np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC)) / 140)
    picture = Image.fromarray(np.clip(sum(layers), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = int(rng.integers(0, SIZE[0])), int(rng.integers(0, SIZE[1]))
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        draw.ellipse((x, y, x + int(rng.integers(8, 60)), y + int(rng.integers(8, 60))), colour)
    return picture


def saved(picture: Picture, quality: int = 80) -> Picture:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def look(copy: Picture, original: Picture | None = None) -> PixelResult:
    return compare_pixels(np.asarray(original or scene()), np.asarray(copy))


def test_equal_pixels() -> None:
    found = look(scene())
    assert (found.kind, found.geometry) == ("identical", ("same",))
    assert found.figures["mean_levels"] == 0
    assert found.figures["confidence"] == "high"


@pytest.mark.parametrize("quality", [95, 75, 40, 20])
def test_saving_anew_changes_no_place(quality: int) -> None:
    found = look(saved(scene(), quality))
    assert (found.kind, found.geometry) == ("resaved", ("same",))
    assert found.figures["boxes"] == []
    assert found.figures["mean_levels"] > 0


@pytest.mark.parametrize(
    ("change", "geometry"),
    [
        (lambda p: p.resize((320, 224), Image.Resampling.LANCZOS), {"scaled"}),
        (lambda p: p.resize((832, 582), Image.Resampling.LANCZOS), {"scaled"}),
        (lambda p: p.crop((60, 30, 600, 440)), {"cropped"}),
        (lambda p: p.crop((60, 30, 600, 440)).resize((378, 287)), {"scaled", "cropped"}),
        (lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"mirrored"}),
        (lambda p: p.transpose(Image.Transpose.ROTATE_90), {"turned"}),
        (lambda p: p.rotate(4, Image.Resampling.BICUBIC), {"turned", "cropped", "extended"}),
    ],
)
def test_the_way_a_copy_lies(change: Callable[[Picture], Picture], geometry: set[str]) -> None:
    found = look(saved(change(scene()), 85))
    assert found.kind == "resaved"
    assert set(found.geometry) == geometry


def test_a_cut_is_measured() -> None:
    found = look(scene().crop((60, 30, 600, 440)))
    assert found.figures["visible"] == [60, 30, 540, 410]
    assert found.figures["kept"] == pytest.approx(540 * 410 / (640 * 448), abs=1e-3)
    assert found.figures["equal"] is True


def test_scale_and_angle_are_measured() -> None:
    half = look(scene().resize((320, 224), Image.Resampling.LANCZOS))
    assert half.figures["scale"] == pytest.approx(0.5, abs=0.002)
    turned = look(scene().rotate(-4, Image.Resampling.BICUBIC))
    assert turned.figures["angle_deg"] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("quality", [90, 50])
@pytest.mark.parametrize("factor", [1.0, 0.6])
def test_a_painted_place_is_found_where_it_is(quality: int, factor: float) -> None:
    copy = scene()
    ImageDraw.Draw(copy).rectangle((200, 150, 280, 220), fill=(250, 240, 90))
    copy = copy.resize((round(640 * factor), round(448 * factor)), Image.Resampling.LANCZOS)
    found = look(saved(copy, quality))
    assert found.kind == "changed"
    assert len(found.figures["boxes"]) == 1
    x, y, w, h = (value / factor for value in found.figures["boxes"][0])
    assert x <= 208
    assert y <= 158
    assert x + w >= 272
    assert y + h >= 212
    assert w * h < 3.5 * 80 * 70
    assert found.figures["boxes_original"][0] == pytest.approx([x, y, w, h], abs=3)


def test_tones_are_told_from_places() -> None:
    for copy in (
        ImageEnhance.Brightness(scene()).enhance(0.8),
        scene().convert("L").convert("RGB"),
    ):
        found = look(saved(copy))
        assert found.kind == "resaved"
        assert found.toned
    assert found.figures["colour_lost"] is True


def test_a_blur_is_told() -> None:
    found = look(scene().filter(ImageFilter.GaussianBlur(1.5)))
    assert (found.kind, found.filtered) == ("resaved", "softer")


def test_other_pictures_do_not_align() -> None:
    assert look(scene(2)).kind == "unaligned"
    assert place(np.zeros((64, 64), np.uint8), np.asarray(scene().convert("L"))) is None


def test_even_pictures() -> None:
    even = np.full((64, 64, 3), 90, np.uint8)
    assert compare_pixels(even, even).kind == "identical"
    assert compare_pixels(even, even + 100).kind == "unaligned"
    assert compare_pixels(even[:1, :1], even[:1, :1]).kind == "identical"
    assert compare_pixels(even[:1, :1], even).reason == "too_small"


def test_a_matrix_in_words() -> None:
    said = describe_matrix(size_matrix(100, 50, 200, 100), (100, 50), (200, 100))
    assert said == {
        "scale": 2.0,
        "stretch": 1.0,
        "angle_deg": 0.0,
        "mirrored": False,
        "kept": 1.0,
        "added": 0.0,
        "visible": [0, 0, 100, 50],
    }


def tagged(make: str, *, gps: float | None = None, xmp: str = "", comment: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[0x010F] = make
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    if gps is not None:
        exif.get_ifd(0x8825).update({1: "N", 2: (gps, 0.0, 0.0)})
    out = io.BytesIO()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="{xmp}"/></rdf:RDF></x:xmpmeta>'
    )
    extra = {"xmp": packet.encode()} if xmp else {}
    Image.new("RGB", (16, 16)).save(out, "JPEG", exif=exif, comment=comment, **extra)
    return out.getvalue()


def test_exactly_the_changed_fields_are_named() -> None:
    first = ImageFile.open(tagged("One", gps=48, xmp="a", comment=b"kept"))
    second = ImageFile.open(tagged("Two", gps=49, comment=b"kept"))
    changes, equal = compare_fields(first, second)
    found = {(item.kind, item.group, item.name, item.before, item.after) for item in changes}
    assert found == {
        ("changed", "exif", "Make", "One", "Two"),
        ("changed", "gps", "GPSLatitude", "…", "…"),
        ("removed", "xmp", "dc:format", "a", ""),
    }
    assert equal == 3  # the time, the hemisphere, the comment


def test_coordinates_are_not_written_out() -> None:
    fields = fields_of(ImageFile.open(tagged("One", gps=48)))
    assert not any("48" in item.value for item in fields)


def test_iptc_and_texts() -> None:
    record = b"\x1c\x02\x05\x00\x05title\x1c\x02\x19\x00\x01a\x1c\x02\x19\x00\x01b"
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    segment = b"Photoshop 3.0\0" + resource
    data = out.getvalue()
    data = data[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    found = {(item.group, item.name): item.value for item in fields_of(ImageFile.open(data))}
    assert found[("iptc", "ObjectName")] == "title"
    assert found[("iptc", "Keywords")] == "a"
    assert found[("iptc", "Keywords (2)")] == "b"


def test_defective_metadata_is_survived() -> None:
    data = tagged("One", gps=48, xmp="a")
    rng = np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(data)
        for at in rng.integers(2, len(data), 8):
            broken[at] = int(rng.integers(0, 256))
        fields_of(ImageFile.open(bytes(broken)))
