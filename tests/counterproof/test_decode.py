"""Pixels: exact sizes, orientation, tonal range, limits, in every format that is read."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from counterproof.convert import upright
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Limits
from tests.counterproof.encoded_pictures import ENCODINGS, chunk, encode, near, png, scene, tiff


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_format_is_decoded(name: str) -> None:
    kind, options = ENCODINGS[name]
    image = ImageFile.open(encode(Image.fromarray(scene()), kind, **options))
    assert image.format == kind.lower()
    assert image.metadata.damage == ""
    assert near(image.pixels(), scene())
    assert (image.info.width, image.info.height, image.info.frames) == (60, 40, 1)
    assert image.info.bit_depth == 8
    assert image.info.mime == f"image/{image.format}"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_agrees_with_pillow(orientation: int) -> None:
    picture = Image.fromarray(scene())
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(upright(scene(), orientation), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp lossless", "tiff", "tiff lzw", "avif"])
def test_orientation_is_applied_once(name: str, orientation: int) -> None:
    kind, options = ENCODINGS[name]
    tags = Image.Exif()
    tags[0x0112] = orientation
    image = ImageFile.open(encode(Image.fromarray(scene()), kind, exif=tags, **options))
    expected = upright(scene(), orientation)
    assert image.orientation == orientation
    assert image.info.orientation == orientation
    assert (image.info.height, image.info.width) == expected.shape[:2]
    assert near(image.pixels(), expected)
    assert near(image.stored(), scene())  # as stored, whatever the reader makes of it
    assert max(image.pixels(30).shape) == 30
    assert image.luminance(30).shape == image.pixels(30).shape[:2]


def test_xmp_does_not_turn_a_picture() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("TIFF", {"tiffinfo": {700: packet}}),
        ("JPEG", {"xmp": packet}),
        ("WEBP", {"xmp": packet}),
    )
    for kind, options in ways:
        image = ImageFile.open(encode(Image.fromarray(scene()), kind, **options))
        assert image.orientation == 1
        assert image.pixels().shape == (40, 60, 3)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize(("size", "side"), [((60, 40), 17), ((40, 61), 32), ((200, 1), 64)])
def test_longest_side_is_exact(name: str, size: tuple[int, int], side: int) -> None:
    kind, options = ENCODINGS[name]
    image = ImageFile.open(encode(Image.fromarray(scene(*size)), kind, **options))
    assert max(image.pixels(side).shape) == side
    height, width = image.pixels(side).shape[:2]
    assert abs(width / height * size[1] / size[0] - 1) < 0.1 or min(width, height) == 1
    assert image.pixels(10_000).shape == (size[1], size[0], 3)


def test_small_views_look_like_the_picture() -> None:
    full = scene(640, 480)
    expected = np.asarray(Image.fromarray(full).resize((64, 48), Image.Resampling.BOX))
    for kind, options in ENCODINGS.values():
        image = ImageFile.open(encode(Image.fromarray(full), kind, **options))
        assert near(image.pixels(64), expected), kind
        grey = np.asarray(Image.fromarray(expected).convert("L"))
        assert near(image.luminance(64), grey), kind


def test_views_are_kept_and_read_only() -> None:
    image = ImageFile.open(encode(Image.fromarray(scene()), "PNG"))
    first = image.pixels(20)
    assert image.pixels(20) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0, 0] = 1
    image.release()
    assert image.pixels(20) is not first
    with pytest.raises(ValueError, match="at least 1"):
        image.pixels(0)


def test_full_size_jpeg_is_what_pillow_decodes() -> None:
    data = encode(Image.fromarray(scene(333, 217)), "JPEG", quality=80)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(ImageFile.open(data).pixels().astype(int) - expected).max() <= 1


def test_sixteen_bits_keep_their_range() -> None:
    ramp = np.tile(np.linspace(0, 65_535, 256), (8, 1)).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        image = ImageFile.open(encode(Image.fromarray(ramp), kind))
        assert image.info.bit_depth == 16
        assert np.array_equal(image.pixels()[0, :, 0], np.arange(256))
        assert image.stored().max() == 65_535
    dark = ImageFile.open(encode(Image.fromarray(ramp // 300), "PNG"))
    assert dark.pixels().max() == 1  # a dark 16-bit picture stays dark


def rgb16_png() -> bytes:
    value = np.linspace(0, 65_535, 64).astype(">u2")
    row = np.repeat(value[:, None], 3, axis=1).tobytes()
    return png(64, 1, b"\0" + row, depth=16, colour=2)


def test_sixteen_bit_colour_png() -> None:
    image = ImageFile.open(rgb16_png())
    assert image.info.bit_depth == 16
    assert image.pixels()[0, 0, 0] == 0
    assert image.pixels()[0, -1, 0] == 255
    assert len(np.unique(image.pixels())) == 64


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),  # the nominal range
        ([0.0, 2.0, 4.0], [0, 128, 255]),  # brighter than white: scaled down
        ([-1.0, 0.25, 0.5], [0, 64, 128]),
        ([float("nan"), 0.5, float("inf")], [0, 128, 255]),
    ],
)
def test_floating_point_keeps_its_range(values: list[float], expected: list[int]) -> None:
    image = ImageFile.open(encode(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert image.info.bit_depth == 32
    assert image.pixels()[0, :, 0].tolist() == expected


def test_colours_of_thirty_two_bits() -> None:
    import cv2

    for dtype, top in ((np.float32, 1.0), (np.float64, 4.0), (np.int32, 2.0**30)):
        values: NDArray[Any] = (scene()[:, :, ::-1] / 255 * top).astype(dtype)  # BGR
        image = ImageFile.open(cv2.imencode(".tiff", values)[1].tobytes())
        assert image.info.bit_depth == values.dtype.itemsize * 8
        assert (image.info.width, image.info.height) == (60, 40)
        assert near(image.pixels(), scene(), 1)
        assert image.pixels(30).shape == (20, 30, 3)
        with pytest.raises(ImageError):
            ImageFile.open(image.data[:200]).pixels()
    grey = cv2.imencode(".tiff", np.linspace(0, 1, 256)[None, :])[1].tobytes()
    assert np.array_equal(ImageFile.open(grey).pixels()[0, :, 0], np.arange(256))


def test_thirty_two_bit_integers_keep_their_range() -> None:
    values = np.array([[0, 600_000, 10**6]], np.int32)
    image = ImageFile.open(encode(Image.fromarray(values), "TIFF"))
    assert image.pixels()[0, :, 0].tolist() == [0, 153, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(Image.fromarray(scene()), *profiles, outputMode="LAB")
        assert picture is not None
    else:
        picture = Image.fromarray(scene()).convert(mode)
    image = ImageFile.open(encode(picture, "TIFF"))
    assert image.pixels().shape == (40, 60, 3)
    if mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB"):
        assert near(image.pixels(), scene(), 5)
    elif mode in ("L", "LA"):
        assert near(image.pixels()[:, :, 0], np.asarray(Image.fromarray(scene()).convert("L")))


def test_transparency_lies_over_white() -> None:
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        image = ImageFile.open(encode(half, kind, **options))
        assert image.info.alpha
        assert image.pixels()[0, 0].tolist() == pytest.approx([255, 127, 127], abs=2)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    image = ImageFile.open(encode(palette, "PNG", transparency=1))
    assert image.info.alpha
    assert image.pixels()[0, 0].tolist() == [255, 255, 255]


def test_adobe_inverted_cmyk() -> None:
    data = encode(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    image = ImageFile.open(data)
    assert image.info.mode == "CMYK"
    assert near(image.pixels(), scene())
    assert near(image.pixels(30), np.asarray(Image.fromarray(scene()).resize((30, 20))))
    assert image.luminance(30).shape == (20, 30)


def test_interlaced_png() -> None:
    # Pillow cannot write one: seven passes by hand (PNG §8.2), grey values by position
    width = height = 8
    value = (np.arange(64).reshape(8, 8) * 3).astype(np.uint8)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    rows = b""
    for top, left, down, across in (*passes, (1, 0, 2, 1)):
        for row in value[top::down, left::across]:
            rows += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(ImageFile.open(data).pixels()[:, :, 0], value)


def test_moving_and_many_paged_pictures_count_their_frames() -> None:
    frames = [Image.fromarray(np.roll(scene(), 7 * n, axis=1)) for n in range(5)]
    for kind, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        image = ImageFile.open(data)
        assert image.info.frames == 5, kind
        assert near(image.pixels(), scene(), 16), kind  # the first frame
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert ImageFile.open(data).info.frames == 5
    limited = ImageFile.open(data, limits=Limits(max_frames=3))
    assert limited.info.frames == 3


def test_tiled_tiff() -> None:
    # Pillow cannot write one: one 16 × 16 tile, uncompressed (TIFF 6.0 §15)
    tile = np.full((16, 16), 7, np.uint8)
    tile[:10, :12] = np.arange(120).reshape(10, 12)
    entries = [
        (256, 3, 1, 12), (257, 3, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 3, 1, 16), (323, 3, 1, 16), (324, 4, 1, 200), (325, 4, 1, 256),
    ]  # fmt: skip
    data = tiff(entries).ljust(200, b"\0") + tile.tobytes()
    image = ImageFile.open(data)
    assert np.array_equal(image.pixels()[:, :, 0], tile[:10, :12])
    cut = ImageFile.open(data[:-100])
    assert cut.metadata.truncated
    assert cut.metadata.expected_bytes == 456


def heic(test_data: Path, name: str) -> ImageFile:
    return ImageFile.open(test_data / "photos" / "heif-nokia" / f"conformance_files__{name}.heic")


def test_heic(test_data: Path) -> None:
    image = heic(test_data, "C011")
    assert image.format == "heic"
    assert image.pixels(128).shape == (72, 128, 3)
    assert (image.info.width, image.info.height) == (1280, 720)
    several = heic(test_data, "C016")
    assert several.info.frames == 2
    assert (several.metadata.width, several.metadata.height) == (1280, 720)
    turned = heic(test_data, "MIAF007")
    assert turned.orientation == 5
    assert turned.info.planes == ("thumbnail",)


def test_heic_alpha(test_data: Path) -> None:
    folder = test_data / "c2pa" / "real-outputs"
    image = ImageFile.open(folder / "trustnxt-icon-signed-v2-bmff.heic")
    assert image.info.alpha
    assert image.pixels(64).shape[2] == 3


def test_large_pictures_are_averaged_in_bands() -> None:
    base = np.asarray(Image.fromarray(scene(64, 48)).resize((2_560, 1_920)))
    expected = np.asarray(Image.fromarray(base).resize((64, 48), Image.Resampling.BOX))
    for picture in (Image.fromarray(base), Image.fromarray(base).convert("RGBA")):
        image = ImageFile.open(encode(picture, "PNG", compress_level=0))
        assert near(image.pixels(64), expected, 2)
        assert np.array_equal(image.pixels(), base)
