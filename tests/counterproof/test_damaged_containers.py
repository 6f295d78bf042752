"""Containers: how files are bounded that are damaged, cut short or made to cost much."""

import random
import struct
import time
import zlib

import pytest

from counterproof import blocks
from counterproof.blocks import Container
from counterproof.containers import walk
from counterproof.images import ImageFile
from counterproof.tiff import exif_directories
from tests.counterproof.container_parts import XMP, chunk, encode, png, tags


def test_tags_that_share_one_huge_value_are_refused() -> None:
    # 1,000 tags of 64 KiB each in a file of 80 KiB: a reader that loads all takes 64 MB
    count, size = 1_000, 65_536
    entries = [struct.pack("<HHII", 40_000 + n, 7, size, 14_000) for n in range(count)]
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + b"".join(entries) + bytes(4)
    data = data.ljust(14_000 + size, b"\0")
    with pytest.raises(blocks.Damaged, match="tags claim"):
        exif_directories(data)
    image = ImageFile.open(data)
    assert image.exif_directories is None
    assert dict(image.exif) == {}


def test_directories_in_a_loop() -> None:
    entry = struct.pack("<HHII", 256, 3, 1, 5)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    found = walk(data)
    assert found.frames == 1
    assert "loop" in found.damage


LIES = {
    "jpeg": encode("JPEG")[:20] + b"\xff\xe1\xff\xff" + encode("JPEG")[20:40],
    "png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31, b"tEXt") + bytes(90),
    "webp": b"RIFF\xff\xff\xff\xffWEBP" + b"EXIF\xff\xff\xff\x7f" + bytes(90),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"\x21\xfe\xff" + bytes(9),
    "tiff": b"II*\0\x08\0\0\0\xff\xff" + bytes(90),
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + struct.pack(">I4s", 2**31, b"meta") + bytes(90),
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"
    + struct.pack(">I4sQ", 1, b"meta", 2**62)
    + bytes(90),
    "bmp": b"BM" + struct.pack("<IIIIiiHHI", 9**9, 0, 54, 40, 999, 999, 1, 24, 0) + bytes(90),
}


@pytest.mark.parametrize("name", LIES)
def test_lengths_that_lie(name: str) -> None:
    found = walk(LIES[name])
    assert found.format == name
    assert found.damage
    assert found.truncated


MANY = 700_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xd8" + b"\xff\xfe\0\2" * MANY, id="jpeg segments"),
        pytest.param(b"\xff\xd8" + b"\xff\xd0" * MANY, id="jpeg markers"),
        pytest.param(b"\xff\xd8" + b"\xff\0" * MANY, id="jpeg stuffing"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n" + (bytes(4) + b"tEXt" + bytes(4)) * MANY, id="png chunks"
        ),
        pytest.param(b"RIFF\xff\xff\xff\xffWEBP" + (b"EXIF" + bytes(4)) * MANY, id="webp chunks"),
        pytest.param(
            b"GIF89a\1\0\1\0\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0\2\0" * MANY, id="gif frames"
        ),
        pytest.param(b"GIF89a\1\0\1\0\0\0\0\x21\xfe" + b"\1a" * 8 * MANY, id="gif sub-blocks"),
        pytest.param(b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * MANY, id="avif boxes"),
    ],
)
def test_a_million_parts_take_no_more_than_a_second(data: bytes) -> None:
    start = time.process_time()
    found = walk(data)
    assert time.process_time() - start < 3
    assert "parts" in found.damage or found.truncated


def test_many_pages_and_tags_are_bounded() -> None:
    count = 65_535
    entry = struct.pack("<HHII", 65_000, 3, 1, 5)
    size = 2 + count * 12 + 4
    pages = b"".join(
        struct.pack("<H", count) + entry * count + struct.pack("<I", 8 + (n + 1) * size)
        for n in range(12)
    )
    start = time.process_time()
    found = walk(b"II*\0\x08\0\0\0" + pages)
    assert time.process_time() - start < 3
    assert found.damage


def test_text_that_inflates_without_end_is_cut() -> None:
    bomb = zlib.compress(bytes(40_000_000))
    data = png(*(chunk(b"zTXt", f"k{n}\0\0".encode() + bomb) for n in range(40)))
    found = walk(data, max_block_bytes=2**20)
    assert all(len(block.data) <= 2**20 for block in found.blocks)
    assert sum(len(block.data) for block in found.blocks) <= 4 * 2**20
    assert "MiB of metadata" in found.damage


SAMPLES = {
    "JPEG": encode("JPEG", (16, 16), exif=tags(), xmp=XMP),
    "PNG": encode("PNG", (16, 16), exif=tags()),
    "WEBP": encode("WEBP", (16, 16), exif=tags(), xmp=XMP),
    "GIF": encode("GIF", (16, 16)),
    "TIFF": encode("TIFF", (16, 16), exif=tags()),
    "BMP": encode("BMP", (8, 8)),
    "AVIF": encode("AVIF", (16, 16), exif=tags(), xmp=XMP),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_cut_at_every_byte(kind: str) -> None:
    data = SAMPLES[kind]
    assert not walk(data).damage
    for length in range(1, len(data)):
        image = ImageFile.open(data[:length])
        assert image.orientation == 1
        assert isinstance(dict(image.exif), dict)
        if length > 32:
            assert image.metadata.format == kind.lower()
        for block in image.metadata.blocks:
            assert block.offset + len(block.data) <= max(length, block.offset + block.length)


@pytest.mark.parametrize("kind", SAMPLES)
def test_random_bytes_changed(kind: str) -> None:
    chance = random.Random(7)
    for _ in range(300):
        data = bytearray(SAMPLES[kind])
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        image = ImageFile.open(bytes(data))
        assert isinstance(image.metadata, Container)
        assert 1 <= image.orientation <= 8
        assert isinstance(dict(image.exif), dict)
        for tag in image.exif:
            image.exif[tag]
        image.exif.get_ifd(0x8769)
