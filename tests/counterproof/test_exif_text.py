"""EXIF text: every character code, both byte orders, directories that lie."""

import contextlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterproof.blocks import Damaged
from counterproof.exif_text import decode_user_comment, read_exif_text
from counterproof.tiff import exif_directories

LITTLE = b"II*\0\x08\0\0\0"
BIG = b"MM\0*\0\0\0\x08"


def exif(**tags: object) -> bytes:
    """An EXIF block made by Pillow, from the TIFF header on."""
    numbers = {"Make": 0x010F, "ImageDescription": 0x010E, "Artist": 0x013B, "XPComment": 0x9C9C}
    block = Image.Exif()
    for name, value in tags.items():
        if name == "UserComment":
            block.get_ifd(0x8769)[0x9286] = value
        else:
            block[numbers[name]] = value
    return block.tobytes().removeprefix(b"Exif\0\0")


def found(data: bytes) -> dict[str, str]:
    return {tag.name: tag.text for tag in read_exif_text(exif_directories(data))}


def test_tags_of_both_directories() -> None:
    data = exif(Make="Maker", Artist="Ann", UserComment=b"ASCII\0\0\0hello")
    assert found(data) == {"Make": "Maker", "Artist": "Ann", "UserComment": "hello"}


def test_windows_tags_are_utf_16() -> None:
    assert found(exif(XPComment="图 x".encode("utf-16-le") + b"\0\0"))["XPComment"] == "图 x"


def test_a_value_that_fits_into_its_entry() -> None:
    assert found(exif(Make="abc")) == {"Make": "abc"}


def test_pillow_and_we_agree(tmp_path: object) -> None:
    buffer = io.BytesIO()
    block = Image.Exif()
    block[0x010E] = "A description of some length"
    Image.new("RGB", (4, 4)).save(buffer, "JPEG", exif=block)
    again = Image.open(buffer).getexif()
    assert found(again.tobytes()[6:])["ImageDescription"] == again[0x010E]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"ASCII\0\0\0hello\0\0", "hello"),
        (b"\0" * 8 + b"hello", "hello"),
        (b"UNICODE\0" + "héllo 图".encode("utf-16-be"), "héllo 图"),
        (b"UNICODE\0" + "héllo 图".encode("utf-16-le"), "héllo 图"),
        (b"UNICODE\0" + "héllo".encode("utf-16"), "héllo"),
        (b"UNICODE\0" + b"plain ASCII text", "plain ASCII text"),
        (b"JIS\0\0\0\0\0" + "日本".encode("iso2022_jp"), "日本"),
        (b'{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
        (b"ASCII\0\0\0\xe9t\xe9", "été"),
        (b"", ""),
        (b"UNICODE\0", ""),
        (b"UNICODE\0x", ""),
    ],
)
def test_user_comments(raw: bytes, text: str) -> None:
    assert decode_user_comment(raw) == text


def test_the_files_byte_order_breaks_a_tie() -> None:
    raw = b"UNICODE\0" + "图片".encode("utf-16-le")
    assert decode_user_comment(raw, little_endian=True) == "图片"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        LITTLE,
        LITTLE + b"\xff\xff",
        LITTLE + b"\x01\0" + b"\x69\x87\x04\0\x01\0\0\0\x08\0\0\0",  # points at itself
        LITTLE + b"\x01\0" + b"\x0f\x01\x02\0\xff\xff\xff\xff\x08\0\0\0",  # 4 GiB long
        LITTLE + b"\x01\0" + b"\x0f\x01\x02\0\x10\0\0\0\xff\xff\xff\xff",  # far outside
        BIG + b"\xff\xff" + b"\x01\x0f\0\x02\0\xff\xff\xff\0\0\0\0" * 65_535,
    ],
)
def test_directories_that_lie(data: bytes) -> None:
    start = time.process_time()
    with contextlib.suppress(Damaged):
        assert read_exif_text(exif_directories(data)) == ()
    assert time.process_time() - start < 1.0


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([LITTLE, BIG]))
def test_no_bytes_crash_the_reader(data: bytes, head: bytes) -> None:
    with contextlib.suppress(Damaged):
        read_exif_text(exif_directories(head + data))
    decode_user_comment(data)
