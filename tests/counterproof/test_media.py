"""Video, sound and documents: what describes them is found, hostile ones end in time."""

import runpy
import struct
from pathlib import Path
from typing import Any

import pytest

from counterproof.containers import UNEXAMINED, sniff, walk
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.stream import stream_sha256

make: Any = runpy.run_path(str(Path(__file__).parents[1] / "media_files.py"))
LABEL: str = make["LABEL"]
PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def film(*parts: bytes, **options: Any) -> bytes:
    data: bytes = make["film"](*parts, **options)
    return data


def texts(data: bytes) -> dict[str, str]:
    return {b.key: b.data.decode() for b in walk(data).blocks if b.kind == "text"}


def kinds(data: bytes) -> list[str]:
    return [block.kind for block in walk(data).blocks]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (film(), "mp4"),
        (film(brand=b"qt  "), "mov"),
        (film(brand=b"M4A "), "m4a"),
        (film()[24:], "mov"),
        (make["sound"](), "wav"),
        (make["riff"](b"AVI "), "avi"),
        (make["song"](), "mp3"),
        (make["song"](make["frame"](b"TIT2", b"\3x")), "mp3"),
        (make["lossless"](), "flac"),
        (b"ID3\4\0\0\0\0\0\0" + make["lossless"](), "flac"),
        (make["paper"](), "pdf"),
    ],
)
def test_formats(data: bytes, form: str) -> None:
    found = walk(data)
    assert (found.format, found.damage) == (form, "")
    assert form in UNEXAMINED
    assert found.mime.partition("/")[0] in ("video", "audio", "application")
    with pytest.raises(ImageError, match="is not examined") as caught:
        ImageFile.open(data).pixels()
    assert caught.value.cause == "not_examined"


def test_what_is_no_sound() -> None:
    assert sniff(b"\xff\xfb\x90\x00" + bytes(600)) == ""  # no second frame where it must be
    assert sniff(b"\xff\xfeh\0e\0l\0l\0o\0" * 8) == ""  # text in UTF-16
    assert sniff(b"RIFF\x10\0\0\0ACON") == ""


@pytest.mark.parametrize(
    ("data", "form", "mime"),
    [
        (b"OggS" + bytes(200), "ogg", "audio/ogg"),
        (b"\x1a\x45\xdf\xa3\x8b\x42\x82\x84webm" + bytes(200), "webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x8f\x42\x82\x88matroska" + bytes(200), "mkv", "video/x-matroska"),
    ],
)
def test_kinds_that_are_named_and_not_read(data: bytes, form: str, mime: str) -> None:
    found = walk(data)
    assert (found.format, found.mime, found.blocks) == (form, mime, ())
    with pytest.raises(ImageError) as caught:
        ImageFile.open(data).pixels()
    assert caught.value.cause == "unsupported"


def test_comments_of_a_lossless_sound() -> None:
    found = texts(make["lossless"]("AIGC=" + LABEL, "TITLE=x=y"))
    assert found == {"Software": "example 1.0", "AIGC": LABEL, "TITLE": "x=y"}
    cut = walk(make["lossless"]("TITLE=long text")[:60])
    assert cut.truncated


def test_the_size_of_a_film() -> None:
    found = walk(film())
    assert (found.width, found.height, found.has_content) == (64, 48, True)
    assert walk(film().partition(b"mdat")[0][:-4]).has_content is False


@pytest.mark.parametrize(
    "data",
    [
        film(make["keyed"]({"AIGC": LABEL})),
        film(make["keyed"]({"AIGC": LABEL}, quicktime=True), brand=b"qt  "),
        film(movie=make["keyed"]({"AIGC": LABEL})),
        film(make["freeform"]("AIGC", LABEL), brand=b"M4A "),
        film(make["box"](b"AIGC", LABEL.encode())),
        make["sound"](make["chunk"](b"AIGC", LABEL.encode())),
        make["riff"](b"AVI ", make["info"](AIGC=LABEL)),
        make["song"](make["frame"](b"TXXX", b"\3AIGC\0" + LABEL.encode())),
        make["song"](make["frame"](b"TXXX", b"\0AIGC\0" + LABEL.encode(), 3), version=3),
        make["song"](make["frame"](b"TXX", b"\0AIGC\0" + LABEL.encode(), 2), version=2),
        make["song"](
            make["frame"](b"TXXX", b"\1" + "AIGC\0".encode("utf-16") + LABEL.encode("utf-16"))
        ),
        make["paper"](b"/AIGC (" + LABEL.encode() + b")"),
        make["paper"](b"/AIGC <" + LABEL.encode("utf-16").hex().encode() + b">"),
    ],
)
def test_every_carrier_of_a_label(data: bytes) -> None:
    assert texts(data)["AIGC"] == LABEL


def test_texts_with_their_keys() -> None:
    data = film(make["spoken"](b"\xa9xyz", "+48.1+011.5/"), make["spoken"](b"\xa9too", "prog"))
    assert texts(data) == {"location": "+48.1+011.5/", "encoder": "prog"}
    assert texts(make["sound"](make["info"](ISFT="prog", IART="somebody"))) == {
        "Software": "prog",
        "artist": "somebody",
    }
    escaped = make["paper"](rb"/Author (A \(B\) \101\nC) /Trapped /True /Nested << /X (no) >>")
    assert texts(escaped)["Author"] == "A (B) A\nC"


@pytest.mark.parametrize(
    "data",
    [
        film(make["box"](b"XMP_", PACKET)),
        film() + make["box"](b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), PACKET),
        make["sound"](make["chunk"](b"_PMX", PACKET)),
        make["song"](make["frame"](b"PRIV", b"XMP\0" + PACKET)),
        make["paper"](packet=PACKET),
        make["paper"](packet=PACKET, packed=True),
    ],
)
def test_xmp(data: bytes) -> None:
    block = next(block for block in walk(data).blocks if block.kind == "xmp")
    assert block.data.strip() == PACKET
    assert 0 <= block.offset < block.offset + block.length <= len(data)


def test_a_tag_with_unsynchronised_bytes() -> None:
    plain = b"\3AIGC\0" + b"a\xff\x00b"
    data = make["song"](make["frame"](b"TXXX", plain[:-2] + plain[-2:], 3), version=3)
    assert "AIGC" in texts(data)
    packed = make["frame"](b"TXXX", b"\0AIGC\0a\xffb", 3).replace(b"\xff", b"\xff\x00")
    assert texts(make["song"](packed, version=3, flags=0x80))["AIGC"] == "aÿb"


@pytest.mark.parametrize("cut", [9, 20, 60, 200])
@pytest.mark.parametrize(
    "data",
    [
        film(make["keyed"]({"AIGC": LABEL})),
        make["sound"](make["info"](ISFT="x")),
        make["song"](make["frame"](b"TXXX", b"\3AIGC\0" + bytes(300))),
        make["paper"](b"/AIGC (x)", PACKET),
    ],
)
def test_cut_files_say_so(data: bytes, cut: int) -> None:
    found = walk(data[: len(data) - cut] if data[:3] != b"ID3" else data[:cut])
    assert found.truncated or not found.format
    assert found.damage or not found.format


def test_lengths_that_lie_end_the_walk() -> None:
    good = film(make["keyed"]({"AIGC": LABEL, "comment": "x"}))
    for at in range(24, good.find(b"mdat"), 3):
        for value in (b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff"):
            walk(good[:at] + value + good[at + 4 :])
    for sample in (
        make["sound"](
            make["info"](ISFT="x"),
            make["chunk"](b"id3 ", make["song"](make["frame"](b"TIT2", b"\3x"))),
        ),
        make["song"](make["frame"](b"TXXX", b"\1AIGC"), make["frame"](b"COMM", b"\1")),
        make["paper"](b"/A (x", PACKET),
    ):
        for at in range(4, min(len(sample) - 4, 400)):
            walk(sample[:at] + b"\xff\xff\xff\xff" + sample[at + 4 :])


def test_many_parts_are_bounded() -> None:
    empty = make["box"](b"free") * 500_000
    found = walk(film() + empty)
    assert found.endless
    crowd = walk(b"%PDF-1.7\n" + b"/Info 1 0 R " * 50 + b"1 0 obj << /A (x) >> endobj " * 60_000)
    assert "more than" in crowd.damage
    nested = b"".join(struct.pack(">I4s", 8 * (2_000 - level), b"moov") for level in range(2_000))
    assert walk(make["box"](b"ftyp", b"isom\0\0\0\0") + nested).format == "mp4"


FILMS = {
    "mp4": (film(), film(make["keyed"]({"AIGC": LABEL}))),
    "mov": (film(brand=b"qt  "), film(make["keyed"]({"x": "y"}, quicktime=True), brand=b"qt  ")),
    "m4a": (film(brand=b"M4A "), film(make["freeform"]("AIGC", LABEL), brand=b"M4A ")),
    "wav": (make["sound"](), make["sound"](make["info"](ISFT="x"))),
    "mp3": (make["song"](), make["song"](make["frame"](b"TIT2", b"\3x")) + b"TAG" + bytes(125)),
    "flac": (make["lossless"](), make["lossless"]("TITLE=x")),
}


@pytest.mark.parametrize("form", FILMS)
def test_the_stream_is_apart_from_what_describes_it(form: str) -> None:
    plain, described = FILMS[form]
    assert plain != described
    first = stream_sha256(plain, form)
    assert len(first) == 64
    assert stream_sha256(described, form) == first
    end = len(plain) - 9
    changed = plain[:end] + bytes([plain[end] ^ 1]) + plain[end + 1 :]
    assert stream_sha256(changed, form) not in ("", first)


def test_the_frames_of_an_avi() -> None:
    frames = make["chunk"](b"LIST", b"movi" + make["chunk"](b"00dc", b"frame"))
    plain, described = (
        make["riff"](b"AVI ", *parts, frames) for parts in ((), (make["info"](ISFT="y"),))
    )
    assert stream_sha256(plain, "avi") == stream_sha256(described, "avi") != ""


def test_no_stream() -> None:
    assert stream_sha256(make["paper"](), "pdf") == ""
    assert stream_sha256(film().partition(b"mdat")[0][:-4], "mp4") == ""  # a head alone
    for form, (plain, _) in FILMS.items():
        for end in range(4, len(plain), 37):
            stream_sha256(plain[:end], form)
