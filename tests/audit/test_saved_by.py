"""Who saved a file last: programs are named by their layout, cameras by theirs, others not."""

import io
import random
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from counterproof.audit.saved_by import SavedByAnalyzer
from counterproof.audit.saving_programs import CAMERAS, jpeg_program, library_quality, png_program
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.jpeg_structure import read_structure
from counterproof.settings import Settings

OWN_TABLES = {0: [3 + at // 9 for at in range(64)], 1: [4 + at // 5 for at in range(64)]}


def noise(side: int = 160) -> Image.Image:
    rng = np.random.default_rng(5)
    return Image.fromarray(rng.integers(0, 255, (side, side, 3)).astype(np.uint8))


def jpeg(make: str = "", software: str = "", **options: Any) -> bytes:
    exif = Image.Exif()
    if make:
        exif[0x010F] = make
    if software:
        exif[0x0131] = software
    out = io.BytesIO()
    noise().save(out, "JPEG", exif=exif.tobytes() if make or software else b"", **options)
    return out.getvalue()


def rearranged(data: bytes, layout: str, extra: bytes = b"") -> bytes:
    """Put the same tables into another order, as `Exif DQT2 SOF0 DHT4`; drop what is not named."""
    parts: dict[str, list[bytes]] = {"Exif": [], "JFIF": [], "DQT": [], "DHT": [], "SOF0": []}
    names = {0xE1: "Exif", 0xE0: "JFIF", 0xDB: "DQT", 0xC4: "DHT", 0xC0: "SOF0"}
    at = 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        parts[names[data[at + 1]]].append(data[at + 4 : at + 2 + length])
        at += 2 + length
    markers = {name: marker for marker, name in names.items()}
    out = [b"\xff\xd8"]
    for word in layout.split():
        if word == "extra":
            out.append(extra)
        elif word == "DRI":
            out.append(b"\xff\xdd\0\4\0\0")
        else:
            name = word if word in parts else word[:3]
            count = int(word[3:]) if name in ("DQT", "DHT") else 1
            body = b"".join(parts[name].pop(0) for _ in range(count))
            out.append(struct.pack(">BBH", 0xFF, markers[name], len(body) + 2) + body)
    return b"".join(out) + data[at:]


def said(data: bytes) -> Finding | None:
    found = list(SavedByAnalyzer(Settings(home=Path())).analyze(ImageFile.open(data)))
    assert len(found) <= 1
    return next((item for item in found if isinstance(item, Finding)), None)


@pytest.mark.parametrize("quality", [1, 20, 49, 50, 75, 92, 99])
def test_the_quality_of_the_library_is_read_from_its_tables(quality: int) -> None:
    found = read_structure(jpeg(quality=quality))
    assert found is not None
    assert library_quality(found) == quality
    assert jpeg_program(found) is not None


def test_other_tables_have_no_quality() -> None:
    found = read_structure(jpeg(qtables=OWN_TABLES))
    assert found is not None
    assert library_quality(found) is None
    assert jpeg_program(found) is None


def test_standard_and_optimised_huffman_tables_are_told_apart() -> None:
    standard, optimised = read_structure(jpeg()), read_structure(jpeg(optimize=True))
    assert standard is not None
    assert optimised is not None
    assert standard.standard_huffman
    assert not optimised.standard_huffman


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(progressive=True, optimize=True),
        cv2.imencode(".jpg", np.asarray(noise()))[1].tobytes(),
        simplejpeg.encode_jpeg(np.asarray(noise())),
    ],
    ids=["pillow", "pillow progressive", "opencv", "simplejpeg"],
)
def test_programs_built_on_libjpeg_are_named(data: bytes) -> None:
    found = said(data)
    assert found is not None
    assert (found.code, found.details["saver"]) == ("file.saved.program", "libjpeg")
    assert found.details["named"] == "none"
    assert found.claim is Claim.NONE


def test_a_camera_file_that_a_library_saved_again() -> None:
    found = said(jpeg("Canon", "Adobe Photoshop CS6", quality=75))
    assert found is not None
    assert found.code == "file.saved.after_camera"
    assert found.details["quality"] == 75
    assert found.details["named"] == ["Adobe Photoshop CS6"]
    assert found.claim is Claim.NONE


@pytest.mark.parametrize("seen", [seen for seen in CAMERAS if "Adobe" not in seen.layout])
def test_each_listed_layout_is_called_its_makers_and_nobody_elses(seen: Any) -> None:
    tables = {**OWN_TABLES, 2: OWN_TABLES[1]} if "DQT3" in seen.layout else OWN_TABLES
    options: dict[str, Any] = {} if seen.library_tables else {"qtables": tables}
    source = jpeg(seen.make.title(), **options)
    if "DQT3" in seen.layout:  # Pillow leaves a table out that no component asks for
        extra = b"\xff\xdb" + struct.pack(">HB", 67, 2) + bytes(OWN_TABLES[1])
        source = source[:2] + extra + source[2:]
    found = said(rearranged(source, f"Exif {seen.layout}"))
    assert found is not None
    assert found.code == "file.saved.camera"
    assert (found.details["files"], found.details["models"]) == (seen.files, seen.models)
    stranger = jpeg("Nobody", **options)
    if "DQT3" in seen.layout:
        stranger = stranger[:2] + extra + stranger[2:]
    found = said(rearranged(stranger, f"Exif {seen.layout}"))
    assert found is not None
    assert found.code == "file.saved.undetermined"


@pytest.mark.parametrize(
    ("layout", "extra"),
    [
        ("Exif DQT2 SOF0 DHT4", "library tables"),
        ("JFIF Exif DQT2 SOF0 DHT4", ""),
        ("Exif DQT1 DQT1 SOF0 DHT1 DHT1 DHT1 DHT1", ""),
        ("Exif JFIF DQT1 DQT1 SOF0 DHT1 DHT1 DHT1 DHT1", ""),
    ],
)
def test_what_is_neither_stays_undetermined(layout: str, extra: str) -> None:
    options: dict[str, Any] = {} if extra else {"qtables": OWN_TABLES}
    found = said(rearranged(jpeg("Canon", **options), layout))
    assert found is not None
    assert found.code == "file.saved.undetermined"


def test_photoshop_is_named_with_its_quality() -> None:
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1"
    note = b"Photoshop 3.0\x008BIM\x04\x06\0\0\0\0\0\7" + struct.pack(">hhh", 6, 1, 0) + b"\1\0"
    extra = struct.pack(">BBH", 0xFF, 0xED, len(note) + 2) + note + adobe
    source = jpeg("NIKON", qtables=OWN_TABLES)
    found = said(rearranged(source, "Exif extra DQT2 SOF0 DRI DHT4", extra))
    assert found is not None
    assert found.code == "file.saved.after_camera"
    assert (found.details["saver"], found.details["quality"]) == ("photoshop", 10)
    named = note.replace(b"\x04\x06\0\0\0\0", b"\x04\x06\x0cJPEG Quality\0\0\0", 1)  # version 6
    extra = struct.pack(">BBH", 0xFF, 0xED, len(named) + 2) + named + adobe
    found = said(rearranged(source, "Exif extra DQT2 SOF0 DRI DHT4", extra))
    assert found is not None
    assert (found.details["saver"], found.details["quality"]) == ("photoshop", 10)
    found = said(rearranged(source, "Exif extra DQT2 SOF0 DRI DHT4", adobe))
    assert found is not None
    assert (found.details["saver"], found.details["quality"]) == ("adobe", "unknown")


def test_apples_library_after_apples_camera_is_no_later_program() -> None:
    layout = "JFIF Exif SOF0 DHT1 DHT1 DHT1 DHT1 DQT1 DQT1 DRI"
    for make, code in (("Apple", "program"), ("samsung", "after_camera")):
        found = said(rearranged(jpeg(make, qtables=OWN_TABLES), layout))
        assert found is not None
        assert (found.code, found.details["saver"]) == (f"file.saved.{code}", "imageio")
        assert found.details["quality"] == "unknown"


def png(**options: Any) -> bytes:
    out = io.BytesIO()
    noise(256).save(out, "PNG", **options)
    return out.getvalue()


def test_png_writers_are_told_by_their_portions() -> None:
    found = said(png())
    assert found is not None
    assert (found.code, found.details["saver"]) == ("file.saved.program", "pillow")
    opencv = png_program(cv2.imencode(".png", np.asarray(noise(256)))[1].tobytes())
    assert opencv is not None
    assert opencv.name == "libpng"
    out = io.BytesIO()
    noise(16).save(out, "PNG")
    assert said(out.getvalue()) is None  # one portion tells nothing


def test_nothing_is_said_without_camera_or_known_program() -> None:
    assert said(jpeg(qtables=OWN_TABLES)) is None
    out = io.BytesIO()
    noise().save(out, "WEBP")
    assert said(out.getvalue()) is None


def test_damaged_heads_are_no_error() -> None:
    whole = jpeg("Canon")
    rng = random.Random(3)
    for _ in range(400):
        data = bytearray(whole[: rng.randrange(4, 900)])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(2, len(data))] = rng.randrange(256)
        read_structure(bytes(data))
        png_program(b"\x89PNG\r\n\x1a\n" + bytes(data[2:]))
    assert read_structure(whole[:40]) is None
    assert read_structure(b"") is None
