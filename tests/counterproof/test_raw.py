"""Camera raw files through their preview, JPEG XL through its reader; hostile ones end in time."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterproof.analysis import Stage
from counterproof.audit.examine import ScanSpec, examine
from counterproof.containers import walk
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.raw import find_preview
from counterproof.settings import Settings

CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


def jpeg(width: int = 96, height: int = 64, orientation: int = 0, left: int = 255) -> bytes:
    """Make a JPEG whose left half is bright."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = left
    out, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(out, "JPEG", quality=90, exif=exif if orientation else b"")
    return out.getvalue()


def directory(tags: list[tuple[int, int, int, bytes]], at: int, following: int = 0) -> bytes:
    """Make one TIFF directory; values longer than four bytes follow it."""
    head, rest = struct.pack("<H", len(tags)), b""
    after = at + 2 + 12 * len(tags) + 4
    for tag, kind, count, value in sorted(tags):
        if len(value) > 4:
            place, rest = struct.pack("<I", after + len(rest)), rest + value
        else:
            place = value.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, count) + place
    return head + struct.pack("<I", following) + rest


def text(tag: int, value: str) -> tuple[int, int, int, bytes]:
    return tag, 2, len(value) + 1, value.encode() + b"\0"


def number(tag: int, value: int, kind: int = 4) -> tuple[int, int, int, bytes]:
    return tag, kind, 1, struct.pack("<I" if kind == 4 else "<H", value)


def nef(preview: bytes, orientation: int = 1) -> bytes:
    """Make a raw file as most makers do: TIFF, a mosaic, and a preview beside it."""
    tags = [number(256, 8), number(257, 8), number(262, 32803, 3), number(274, orientation, 3)]
    tags += [text(0x010F, "Example"), text(0x0110, "Camera 1")]
    head = b"II*\0\x08\0\0\0" + directory(tags, 8)
    return head + bytes(64) + preview + bytes(32)


def tiff(*tags: tuple[int, int, int, bytes]) -> bytes:
    return b"II*\0\x08\0\0\0" + directory(list(tags), 8)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def cr3(preview: bytes) -> bytes:
    canon = box(
        b"uuid",
        CANON,
        box(b"CMT1", tiff(text(0x010F, "Example"), text(0x0110, "Camera 3"))),
        box(b"CMT2", tiff(text(0x9003, "2026:05:01 10:20:30"))),
    )
    start = box(b"ftyp", b"crx ", b"\0\0\0\1", b"crx ", b"isom")
    return start + box(b"moov", canon) + box(b"mdat", bytes(40), preview)


def raf(preview: bytes) -> bytes:
    head = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 160, len(preview))
    return head.ljust(160, b"\0") + preview + bytes(99)


@pytest.mark.parametrize("make", [nef, cr3, raf])
def test_the_preview_stands_for_the_picture(make: Any) -> None:
    image = ImageFile.open(make(jpeg()))
    assert image.format == "raw"
    assert (image.info.width, image.info.height) == (96, 64)
    pixels = image.pixels()
    assert pixels.shape == (64, 96, 3)
    assert pixels[:, :40].min() > 200
    assert image.luminance(48).shape == (32, 48)


def test_the_largest_preview_counts() -> None:
    data = nef(jpeg(64, 48) + bytes(10) + jpeg(320, 200) + jpeg(40, 40))
    found = find_preview(data)
    assert found is not None
    assert (found.width, found.height) == (320, 200)
    assert data[found.offset : found.offset + found.length] == jpeg(320, 200)


def test_it_is_turned_once() -> None:
    turned = ImageFile.open(nef(jpeg(), orientation=6))
    assert (turned.info.width, turned.info.height) == (64, 96)
    assert turned.pixels().shape == (96, 64, 3)
    assert turned.pixels()[:40].min() > 200  # the left half is above
    own = ImageFile.open(nef(jpeg(orientation=6), orientation=6))
    assert (own.info.width, own.info.height) == own.pixels().shape[1::-1] == (64, 96)


def test_metadata_of_makers() -> None:
    exif = ImageFile.open(cr3(jpeg())).exif_directories
    assert exif is not None
    assert exif.text("ifd0", 0x0110) == "Camera 3"
    assert exif.text("exif", 0x9003) == "2026:05:01 10:20:30"
    exif = ImageFile.open(nef(jpeg())).exif_directories
    assert exif is not None
    assert exif.text("ifd0", 0x010F) == "Example"
    exif = ImageFile.open(raf(jpeg(orientation=3))).exif_directories
    assert exif is not None
    assert exif.integer("ifd0", 0x0112) == 3


def test_raw_tiles_are_no_preview() -> None:
    tile = jpeg(400, 400)
    tags = [number(262, 34892, 3), number(324, 200), number(325, len(tile)), number(256, 400)]
    data = (b"II*\0\x08\0\0\0" + directory(tags, 8)).ljust(200, b"\0") + tile + jpeg()
    found = find_preview(data)
    assert found is not None
    assert (found.width, found.height) == (96, 64)


def test_without_a_preview_the_record_says_so(tmp_path: Path) -> None:
    image = ImageFile.open(nef(b""))
    with pytest.raises(ImageError, match="not developed, and it holds no preview"):
        image.pixels()
    plan = ScanSpec(Settings(home=tmp_path), Stage.QUICK).prepare()
    record = examine(image, plan).record
    assert [finding.code for finding in record.findings] == ["file.partial"]
    assert record.facts["camera.model"] == "Camera 1"


def test_a_scan_says_that_only_the_preview_was_seen(tmp_path: Path) -> None:
    plan = ScanSpec(Settings(home=tmp_path), Stage.QUICK).prepare()
    record = examine(ImageFile.open(nef(jpeg())), plan).record
    found = next(f for f in record.findings if f.code == "file.preview.only")
    assert found.details == {"width": 96, "height": 64}
    assert "hash.phash" in record.facts
    assert record.verdict.status == "no_evidence"


def test_hostile_raw_files_end_in_time() -> None:
    assert find_preview(b"\xff\xd8\xff" * 400_000) is None
    assert find_preview(b"II*\0\x08\0\0\0" + b"\xff\xd8\xff\xc0\0\x0b\x08" * 1000) is None
    good = nef(jpeg())
    for at in range(0, len(good), 7):
        for value in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
            image = ImageFile.open(good[:at] + value + good[at + 4 :])
            _ = image.info, image.preview
    whole = cr3(jpeg())
    for at in range(0, 300, 3):
        _ = ImageFile.open(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]).exif_directories


def test_a_cut_preview_is_an_error_that_names_it() -> None:
    data = nef(jpeg(600, 600))
    image = ImageFile.open(data)
    assert image.preview is not None
    broken = bytearray(data)
    at = data.find(b"\xff\xda") + 40
    broken[at : at + 4] = b"\xff\xd9\xff\xd9"
    with pytest.raises(ImageError, match="preview"):
        ImageFile.open(bytes(broken)).pixels()


# 8 × 8 pixels of grey, by hand: small size 8, ratio 1:1, everything else by default
CODESTREAM = b"\xff\x0a" + bytes([0b01000001, 0b00000010]) + bytes(12)


def test_the_header_of_jpeg_xl() -> None:
    found = walk(CODESTREAM)
    assert (found.format, found.width, found.height, found.orientation) == ("jxl", 8, 8, 1)
    packed = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    parts = box(b"jxlp", b"\0\0\0\0" + CODESTREAM[:6]) + box(b"brob", b"Exif" + bytes(9))
    joined = walk(packed + parts + box(b"jxlp", b"\x80\0\0\1" + CODESTREAM[6:]))
    assert (joined.width, joined.height) == (8, 8)
    assert "compressed metadata" in joined.damage
    assert walk(b"\xff\x0a\0").truncated


def test_jpeg_xl_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pylibjxl", None)
    with pytest.raises(ImageError, match=r"counterproof\[jxl\]"):
        ImageFile.open(CODESTREAM).pixels()


def test_jpeg_xl_is_decoded() -> None:
    pylibjxl = pytest.importorskip("pylibjxl")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (250, 20, 20)
    image = ImageFile.open(pylibjxl.encode(pixels, lossless=True))
    assert (image.info.width, image.info.height) == (60, 40)
    assert np.array_equal(image.pixels(), pixels)
    assert image.pixels(30).shape == (20, 30, 3)
    clear = np.dstack([pixels, np.full((40, 60), 0, np.uint8)])
    over = ImageFile.open(pylibjxl.encode(clear, lossless=True)).pixels()
    assert over.min() == 255
    grey = ImageFile.open(pylibjxl.encode(pixels[:, :, :1].copy(), lossless=True)).pixels()
    assert grey.shape == (40, 60, 3)
    data = pylibjxl.encode(pixels)
    with pytest.raises(ImageError):
        ImageFile.open(data[: len(data) // 2]).pixels()
