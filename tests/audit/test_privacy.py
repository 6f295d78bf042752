"""Privacy: what is found in files made here, and that nothing of it survives `redact`."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, PngImagePlugin

from counterproof.audit.embedded import further_pictures, jpeg_end, remains, small_pictures
from counterproof.audit.faces import FaceDetector, grown
from counterproof.audit.maker_notes import read_maker_note
from counterproof.audit.personal_fields import personal_fields
from counterproof.audit.privacy_metadata import PrivacyAnalyzer
from counterproof.audit.redact import redact
from counterproof.audit.strip import strip
from counterproof.errors import ImageError, UserError
from counterproof.findings import Claim, Finding
from counterproof.images import ImageFile
from counterproof.settings import Settings
from counterproof.tiff import exif_directories

NAME = "Example Person"
ORIGIN = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'aux:SerialNumber="SN-4711-0815"><dc:creator><rdf:Seq>'
    f"<rdf:li>{NAME}</rdf:li></rdf:Seq></dc:creator><Iptc4xmpExt:DigitalSourceType>"
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    "</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
).encode()


def scene(seed: int = 1, size: tuple[int, int] = (320, 240)) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 220, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([40, 60, 120, 140], fill=(230, 40, 40))
    draw.ellipse([180, 40, 280, 150], fill=(30, 60, 220))
    return picture


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", **{"quality": 90, **options})
    return out.getvalue()


def private_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x013B] = NAME
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA431] = "BODY-123456"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0write to someone@example.org"
    exif.get_ifd(0x8825).update({1: "N", 2: (12.0, 34.0, 56.0), 3: "E", 4: (7.0, 8.0, 9.0)})
    return jpeg(scene(), exif=exif, xmp=XMP, comment=b"/home/someone/pictures/a.png")


def codes(data: bytes, tmp_path: Path) -> set[str]:
    found = PrivacyAnalyzer(Settings(home=tmp_path)).analyze(ImageFile.open(data))
    items = [item for item in found if isinstance(item, Finding)]
    assert all(item.claim is Claim.PERSONAL_DATA for item in items)
    return {item.code for item in items}


def test_what_metadata_tells(tmp_path: Path) -> None:
    data = private_jpeg()
    expected = {"privacy.gps", "privacy.person", "privacy.serial", "privacy.contact"}
    assert codes(data, tmp_path) == expected
    names = {(item.group, item.name) for item in personal_fields(ImageFile.open(data))}
    assert {("exif", "Artist"), ("xmp", "creator"), ("xmp", "SerialNumber")} <= names
    assert {("text", "e-mail address"), ("text", "home folder"), ("gps", "GPSLatitude")} <= names
    assert codes(jpeg(scene()), tmp_path) == set()


def test_findings_never_repeat_a_value(tmp_path: Path) -> None:
    found = PrivacyAnalyzer(Settings(home=tmp_path)).analyze(ImageFile.open(private_jpeg()))
    said = repr([item.to_json() for item in found if isinstance(item, Finding)])
    for value in (NAME, "BODY-123456", "SN-4711", "someone"):
        assert value not in said


def test_serial_number_in_a_makers_note() -> None:
    """A note made by hand: a directory of one entry behind Nikon's header."""
    text = b"CAM-998877\0\0"
    note = b"Nikon\0\x02\x10\0\0" + b"II*\0\x08\0\0\0"
    note += struct.pack("<HHHII", 1, 0x001D, 2, len(text), 26) + b"\0" * 4 + text
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + b"\0" * 4
    tiff += struct.pack("<HHHII", 1, 0x927C, 7, len(note), 44) + b"\0" * 4 + note
    found = list(read_maker_note(exif_directories(tiff)))
    assert found == [("serial", "SerialNumber", text)]


def test_serial_number_of_an_older_olympus() -> None:
    """Its equipment directory is the value itself, with offsets from the EXIF block."""
    text = b"ABC-7654321\0"
    note_at, inner = 44, 8 + 18
    equipment = struct.pack("<HHHII", 1, 0x0101, 2, len(text), note_at + inner + 18) + b"\0" * 4
    note = b"OLYMP\0\x02\0" + struct.pack("<HHHII", 1, 0x2010, 7, 18, note_at + inner)
    note += b"\0" * 4 + equipment + text
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + b"\0" * 4
    tiff += struct.pack("<HHHII", 1, 0x927C, 7, len(note), note_at) + b"\0" * 4 + note
    found = list(read_maker_note(exif_directories(tiff)))
    assert found == [("serial", "SerialNumber", text)]


def test_preview_in_flashpix_segments(tmp_path: Path) -> None:
    preview = jpeg(scene().resize((160, 120)))
    stream = b"\0" * 47 + preview
    segments = b""
    for number in (1, 0):  # the later half first
        half = stream[1000:] if number else stream[:1000]
        body = b"FPXR\0\0\x02\0\x01" + struct.pack(">I", 1000 * number) + half
        segments += b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
    data = jpeg(scene().crop((150, 20, 310, 160)))
    data = data[:2] + segments + data[2:]
    assert found_small(data) == ["flashpix"]
    assert codes(data, tmp_path) == {"privacy.preview"}
    made = redact(ImageFile.open(data), Settings(home=tmp_path))
    assert b"FPXR" not in made.data


def test_remains_of_an_earlier_picture(tmp_path: Path) -> None:
    old = jpeg(scene(2, (640, 480)), quality=95)
    new = jpeg(scene(1, (160, 120)), quality=60)
    assert jpeg_end(new) == len(new)
    overwritten = new + old[len(new) :]
    found = remains(ImageFile.open(overwritten))
    assert found is not None
    assert (found.offset, found.picture) == (len(new), True)
    assert codes(overwritten, tmp_path) == {"privacy.remains"}
    assert codes(new + b"some note", tmp_path) == {"privacy.trailer"}
    assert remains(ImageFile.open(new + b"\0" * 64)) is None


def test_end_of_a_progressive_picture() -> None:
    data = jpeg(scene(), progressive=True)
    assert jpeg_end(data) == len(data)
    assert jpeg_end(data + b"\xff\xd9") == len(data)
    assert jpeg_end(data[:-2]) == 0


def test_preview_that_shows_more(tmp_path: Path) -> None:
    exif = Image.Exif()
    thumbnail = jpeg(scene().resize((160, 120)))
    cropped = scene().crop((150, 20, 310, 160))
    data = jpeg(cropped, exif=exif)
    # a directory of the thumbnail's own, written by hand
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14)
    tiff += struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, 44)
    tiff += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail)) + b"\0" * 4 + thumbnail
    body = b"Exif\0\0" + tiff
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert codes(data, tmp_path) == {"privacy.preview"}
    made = redact(ImageFile.open(data), Settings(home=tmp_path))
    assert codes(made.data, tmp_path) == set()
    assert thumbnail[-90:-40] not in made.data


def test_redacted_jpeg_keeps_what_must_stay(tmp_path: Path) -> None:
    source = ImageFile.open(private_jpeg())
    made = redact(source, Settings(home=tmp_path))
    result = ImageFile.open(made.data)
    assert codes(made.data, tmp_path) == set()
    for value in (NAME.encode(), b"BODY-123456", b"SN-4711", b"someone"):
        assert value not in made.data
    assert b"trainedAlgorithmicMedia" in made.data
    assert result.orientation == 6
    assert np.array_equal(result.pixels(), source.pixels())
    assert made.removed["gps"] == 4
    assert not made.signed


def test_regions_are_filled(tmp_path: Path) -> None:
    source = ImageFile.open(private_jpeg())
    made = redact(source, Settings(home=tmp_path), boxes=[(10, 20, 60, 50)])
    pixels = ImageFile.open(made.data).pixels()
    assert pixels[25:65, 15:65].max() <= 24
    assert pixels[120:].max() > 60
    with pytest.raises(UserError, match="inside 240 × 320"):
        redact(source, Settings(home=tmp_path), boxes=[(230, 0, 60, 50)])


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_other_containers(form: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    options: dict[str, Any] = {}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", NAME)
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = info
    else:
        options |= {"xmp": XMP, "lossless": True}
    scene().save(out, form, **options)
    source = ImageFile.open(out.getvalue())
    assert "privacy.person" in codes(source.data, tmp_path)
    made = redact(source, Settings(home=tmp_path))
    assert codes(made.data, tmp_path) == set()
    assert NAME.encode() not in made.data
    assert b"trainedAlgorithmicMedia" in made.data
    assert np.array_equal(ImageFile.open(made.data).pixels(), source.pixels())


def test_generators_settings_become_a_label(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    text = "a house, for someone@example.org\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, "
    info.add_text("parameters", text + "Size: 320x240, Model: example")
    out = io.BytesIO()
    scene().save(out, "PNG", pnginfo=info)
    made = redact(ImageFile.open(out.getvalue()), Settings(home=tmp_path))
    assert b"someone@example.org" not in made.data
    assert b"trainedAlgorithmicMedia" in made.data


def test_credential_is_signed_anew(tmp_path: Path) -> None:
    from counterproof.provenance.credentials import read_credential
    from counterproof.provenance.keys import find_identity
    from counterproof.provenance.sign import actions_of, sign
    from counterproof.provenance.trust import load_trust

    settings = Settings(home=tmp_path)
    assertions = [
        actions_of([{"action": "c2pa.created", "digitalSourceType": ORIGIN}]),
        {
            "label": "stds.schema-org.CreativeWork",
            "data": {
                "@context": "https://schema.org",
                "@type": "CreativeWork",
                "author": [{"@type": "Person", "name": NAME}],
            },
        },
    ]
    identity = find_identity(settings)
    signed = sign(jpeg(scene()), "image/jpeg", identity, assertions, name="a.jpg")
    assert codes(signed.data, tmp_path) == {"privacy.identity"}
    made = redact(ImageFile.open(signed.data), settings)
    assert made.signed
    assert made.emptied == ("stds.schema-org.CreativeWork",)
    assert NAME.encode() not in made.data
    assert codes(made.data, tmp_path) == set()
    found = read_credential(ImageFile.open(made.data), load_trust(settings.home), settings.as_of)
    assert found is not None
    assert found.state == "intact"
    assert len(found.reading.contents) == 2


def test_formats_that_cannot_be_redacted_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    scene().save(out, "BMP")
    with pytest.raises(ImageError, match="convert it first"):
        strip(ImageFile.open(out.getvalue()))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterproof.app.redact import redact as command

    monkeypatch.setenv("COUNTERPROOF_HOME", str(tmp_path / "home"))
    source, bad = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(private_jpeg())
    bad.write_bytes(private_jpeg()[:900])
    run = CliRunner().invoke
    done = run(command, [str(source), str(bad), "-o", str(tmp_path / "out"), "--format", "jsonl"])
    assert done.exit_code == 3
    assert "b.jpg" in done.stderr
    assert not (tmp_path / "out" / "b.jpg").exists()
    assert NAME.encode() not in (tmp_path / "out" / "a.jpg").read_bytes()
    again = run(command, [str(source), "-o", str(tmp_path)], standalone_mode=False)
    assert isinstance(again.exception, UserError)
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    options = ["-o", str(tmp_path / "b"), "--region", "300,0,9,9"]
    narrow = run(command, [str(text), str(source), *options])  # 240 pixels wide
    assert narrow.exit_code == 3
    assert "of no known format" in narrow.stderr
    assert "inside 240 × 320" in narrow.stderr
    wrong = run(command, [str(source), "-o", str(tmp_path), "--region", "1,2"])
    assert wrong.exit_code != 0


def test_faces_model_is_there_and_finds_none_in_a_drawing() -> None:
    assert FaceDetector().find(np.asarray(scene())) == []


@pytest.mark.parametrize("side", [40, 120])
@pytest.mark.parametrize("turn", [0, 1, 3])
def test_faces_are_found_upright_and_on_their_side(test_data: Path, side: int, turn: int) -> None:
    portrait = next(iter(sorted((test_data / "detect/dev").rglob("stylegan-faces-hmdghoul__*"))))
    face = Image.fromarray(ImageFile.open(str(portrait)).pixels()).resize((side, side))
    page = np.full((300, 400, 3), 200, np.uint8)
    page[60 : 60 + side, 220 : 220 + side] = np.asarray(face)
    found = FaceDetector().find(np.ascontiguousarray(np.rot90(page, turn)))
    assert len(found) == 1
    x, y, w, h = found[0].box
    marked = np.zeros(np.rot90(page, turn).shape[:2], np.uint8)
    marked[y : y + h, x : x + w] = 1
    ys, xs = np.nonzero(np.rot90(marked, -turn))  # as the page was before it was turned
    assert 60 <= ys.mean() <= 60 + side
    assert 220 <= xs.mean() <= 220 + side


def test_far_model_gives_what_it_gave() -> None:
    from counterproof import weights

    values = np.linspace(-1, 1, 3 * 192 * 192, dtype=np.float32).reshape(1, 3, 192, 192)
    boxes, logits = weights.open("audit/faces_far").session.run(None, {"input": values})
    assert boxes.shape == (1, 2304, 16)
    assert logits.shape == (1, 2304, 1)
    assert float(logits.max()) == pytest.approx(-2.501, abs=0.02)
    assert float(boxes[0, 1000, 2]) == pytest.approx(68.518, abs=0.2)
    assert grown((10, 10, 20, 20), 100, 100) == (5, 0, 30, 35)


def test_hostile_files(tmp_path: Path) -> None:
    data = private_jpeg()
    rng = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(data)
        for at in rng.integers(2, len(data), 20):
            broken[at] = int(rng.integers(0, 256))
        image = ImageFile.open(bytes(broken))
        list(PrivacyAnalyzer(Settings(home=tmp_path)).analyze(image))


def found_small(data: bytes) -> list[str]:
    return [item.where for item in small_pictures(ImageFile.open(data))]


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_previews_in_notes_of_makers_and_in_photoshop(tmp_path: Path) -> None:
    inner = jpeg(scene(3).resize((96, 72)))
    note = b"Maker\0" + inner + b"\0\0"
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + b"\0" * 4
    tiff += struct.pack("<HHHII", 1, 0x927C, 7, len(note), 44) + b"\0" * 4 + note
    data = with_segment(jpeg(scene()), 0xE1, b"Exif\0\0" + tiff)
    assert found_small(data) == ["makernote"]
    assert codes(data, tmp_path) == {"privacy.preview"}
    body = b"\0" * 28 + inner
    resource = b"8BIM" + struct.pack(">HHI", 0x0409, 0, len(body)) + body + b"\0" * (len(body) & 1)
    data = with_segment(jpeg(scene()), 0xED, b"Photoshop 3.0\0" + resource)
    assert found_small(data) == ["photoshop"]
    assert found_small(jpeg(scene())) == []


def test_further_pictures_of_an_index(tmp_path: Path) -> None:
    main, inner = jpeg(scene()), jpeg(scene(3).resize((96, 72)))
    for kind, where in ((0x010001, ["mpf"]), (0x020003, [])):
        body = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 1)
        body += struct.pack("<HHII", 0xB002, 7, 32, 26) + b"\0" * 4
        offset = len(main) + 4 + len(body) + 32 - 10
        body += struct.pack("<IIIHH", 0x030000, len(main), 0, 0, 0)
        body += struct.pack("<IIIHH", kind, len(inner), offset, 0, 0)
        data = with_segment(main, 0xE2, body) + inner
        assert [item[0] for item in further_pictures(ImageFile.open(data))] == [kind]
        assert found_small(data) == where
    assert codes(redact(ImageFile.open(data), Settings(home=tmp_path)).data, tmp_path) == set()


def test_a_film_behind_an_avif(tmp_path: Path) -> None:
    out = io.BytesIO()
    scene().save(out, "AVIF")
    plain = out.getvalue()
    assert codes(plain, tmp_path) == set()
    film = struct.pack(">I4s", 40, b"mpvd") + b"film" * 8
    assert codes(plain + film, tmp_path) == {"privacy.remains"}
    assert codes(plain + b"left over, no box at all", tmp_path) == {"privacy.trailer"}
    assert redact(ImageFile.open(plain + film), Settings(home=tmp_path)).data.find(b"film") < 0


def test_heic_that_hides_a_part(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "photos" / "heif-nokia" / "conformance_files__MIAF007.heic"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert "privacy.cropped" in codes(path.read_bytes(), tmp_path)


def test_thumbnail_of_a_heic(test_data: Path) -> None:
    path = test_data / "c2pa" / "generated" / "fmt.heif"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    (small,) = small_pictures(ImageFile.open(str(path)))
    view = ImageFile.open(small.data)
    assert small.where == "item"
    assert max(view.info.width, view.info.height) < 600
    assert view.pixels().std() > 10


def test_parts_of_numbers_in_makers_notes() -> None:
    info = bytes(16) + struct.pack("<I", 4711) + b"\0" * 4
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + b"\0" * 4
    note = b"AOC\0II" + struct.pack("<HHHII", 1, 0x0215, 7, len(info), 44 + 24) + b"\0" * 4 + info
    tiff += struct.pack("<HHHII", 1, 0x927C, 7, len(note), 44) + b"\0" * 4 + note
    found = list(read_maker_note(exif_directories(tiff)))
    assert found == [("serial", "InternalSerialNumber", struct.pack("<I", 4711))]
