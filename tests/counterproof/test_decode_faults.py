"""What is not decoded, cut, faulty or too large: one clear error, before anything is allocated."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Limits
from tests.counterproof.encoded_pictures import ENCODINGS, chunk, encode, near, png, scene, tiff


@pytest.mark.parametrize(
    ("data", "cause", "words"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_examined", "svg"),
        (b"8BPS" + bytes(99), "unsupported", "psd"),
        (b"FUJIFILMCCD-RAW " + bytes(99), "unsupported", "raw"),
        (tiff([(50706, 1, 4, 0x0401), (256, 3, 1, 4), (257, 3, 1, 4)]), "unsupported", "dng"),
        (tiff([(262, 3, 1, 32803), (256, 3, 1, 4), (257, 3, 1, 4)]), "unsupported", "raw"),
        (b"hello world", "unknown_format", "not a picture"),
    ],
)
def test_what_is_not_decoded_is_named(data: bytes, cause: str, words: str) -> None:
    image = ImageFile.open(data, name="x")
    with pytest.raises(ImageError, match=words) as caught:
        image.pixels(64)
    assert caught.value.cause == cause
    assert str(caught.value).startswith("x: ")
    assert image.info.bytes == len(data)


def with_frame(data: bytes, marker: int, depth: int = 8) -> bytes:
    """Change the frame header of a baseline JPEG."""
    at = data.index(b"\xff\xc0")
    return (
        data[: at + 1] + bytes([marker]) + data[at + 2 : at + 4] + bytes([depth]) + data[at + 5 :]
    )


def test_jpegs_that_cannot_be_decoded_are_named() -> None:
    data = encode(Image.fromarray(scene()), "JPEG")
    for marker, depth, words in (
        (0xC3, 16, "16-bit lossless JPEG"),
        (0xC1, 12, "12-bit extended JPEG"),
        (0xC5, 8, "8-bit hierarchical JPEG"),
    ):
        with pytest.raises(ImageError, match=words) as caught:
            ImageFile.open(with_frame(data, marker, depth)).pixels(16)
        assert caught.value.cause == "unsupported"


def test_a_truncated_jpeg_says_so() -> None:
    data = encode(Image.fromarray(scene(640, 480)), "JPEG", quality=95)
    for length in (len(data) // 4, len(data) // 2, len(data) - 40):
        for side in (None, 64):
            with pytest.raises(ImageError, match="truncated after") as caught:
                ImageFile.open(data[:length]).pixels(side)
            assert caught.value.cause == "truncated"
    ended = data[: len(data) // 2] + b"\xff\xd9"
    with pytest.raises(ImageError, match="end before the picture does") as caught:
        ImageFile.open(ended).pixels(64)
    assert caught.value.cause == "truncated"


def test_only_the_end_marker_may_be_missing() -> None:
    data = encode(Image.fromarray(scene()), "JPEG")
    image = ImageFile.open(data[:-2])
    assert near(image.pixels(), scene())
    assert image.flaws == ["no end of image marker"]
    assert near(ImageFile.open(data + bytes(64)).pixels(), scene())


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "jpeg" not in name])
def test_other_truncated_files_say_so(name: str) -> None:
    kind, options = ENCODINGS[name]
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind, **options)
    cut = ImageFile.open(data[: len(data) * 6 // 10])
    with pytest.raises(ImageError, match="truncated after") as caught:
        cut.pixels(64)
    assert caught.value.cause == "truncated"
    assert cut.metadata.truncated


def test_the_whole_length_is_named_where_the_file_promises_it() -> None:
    data = encode(Image.fromarray(scene(300, 200)), "WEBP", lossless=True)
    image = ImageFile.open(data[:400], name="cut.webp")
    with pytest.raises(ImageError) as caught:
        image.pixels(64)
    assert str(caught.value) == f"cut.webp: truncated after 0.4 KB of {len(data) / 1e3:.1f} KB"


def test_faults_that_viewers_pass_over_are_noted() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(encode(Image.fromarray(noise), "JPEG", restart_marker_blocks=4))
    at = data.index(b"\xff\xd1")
    data[at + 1] = 0xD3  # a restart marker out of turn
    image = ImageFile.open(bytes(data))
    assert image.pixels(32).shape == (32, 32, 3)
    assert "Corrupt JPEG data" in image.flaws[0]


def test_text_that_pillow_refuses_does_not_hide_a_png() -> None:
    data = encode(Image.fromarray(scene()), "PNG")
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    wrong = b"\0\0\0\4tEXta\0bc\0\0\0\0"  # the checksum is wrong
    for extra in (bomb, wrong):
        image = ImageFile.open(data[:33] + extra + data[33:])
        assert np.array_equal(image.pixels(), scene())


def test_limits_come_before_allocation() -> None:
    header = png(50_000, 50_000, b"")
    with pytest.raises(ImageError, match="50,000 × 50,000") as caught:
        ImageFile.open(header).pixels(64)
    assert caught.value.cause == "too_many_pixels"
    assert ImageFile.open(header).info.width == 50_000
    data = encode(Image.fromarray(scene()), "JPEG")
    limits = Limits(max_pixels=2_399)
    with pytest.raises(ImageError, match="the limit is 2,399"):
        ImageFile.open(data, limits=limits).pixels(8)
    small = Limits(max_decode_bytes=10_000)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF"):
        data = encode(Image.fromarray(scene(500, 500)), kind)
        with pytest.raises(ImageError, match="MiB; the limit") as caught:
            ImageFile.open(data, limits=small).pixels()
        assert caught.value.cause == "too_many_pixels"


def test_a_progressive_jpeg_of_endless_scans() -> None:
    big = Image.new("L", (5_000, 4_000))
    data = encode(big, "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    bomb = data[:-2] + data[scan:-2] * 1_000 + b"\xff\xd9"
    with pytest.raises(ImageError, match="scans of 5,000 × 4,000"):
        ImageFile.open(bomb).pixels(64)
    assert ImageFile.open(data).pixels(64).shape == (51, 64, 3)


MEMORY = """
import resource, sys
from counterproof import decode, decode_jpeg
from counterproof.images import ImageFile
ImageFile.open(sys.argv[2]).pixels(64)  # libraries are loaded
image = ImageFile.open(sys.argv[1])
estimates = []
check = decode.check_memory
for room in (decode, decode_jpeg):
    room.check_memory = lambda image, count: (estimates.append(count), check(image, count))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image.pixels(int(sys.argv[3]) or None)
peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(peak, max(estimates) - len(image.data))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is measured in KiB there")
@pytest.mark.parametrize(
    ("name", "side"), [("webp lossy", 128), ("tiff lzw", 0), ("avif", 0), ("jpeg progressive", 128)]
)
def test_memory_stays_below_its_estimate(tmp_path: Path, name: str, side: int) -> None:
    kind, options = ENCODINGS[name]
    options = {**options, "speed": 10} if kind == "AVIF" else options
    rows = np.asarray(Image.fromarray(scene(80, 60)).resize((3_200, 2_400)))
    for file, picture in (("big", Image.fromarray(rows)), ("small", Image.fromarray(scene()))):
        (tmp_path / file).write_bytes(encode(picture, kind, **options))
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "big"), str(tmp_path / "small")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(side)], capture_output=True, text=True, check=True, env=environment
    )
    peak, estimate = (float(value) for value in done.stdout.split())
    assert peak <= estimate + 12 * 2**20
