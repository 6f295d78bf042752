"""Labels go into XMP without touching what it holds, and into files without their pixels."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterproof.errors import ImageError, ProvenanceError
from counterproof.images import ImageFile
from counterproof.provenance import aigc, iptc
from counterproof.provenance.label_writer import Labels, aigc_text, merge, properties
from counterproof.provenance.xmp_bmff import _Meta, _meta_of, item_bytes, settle
from counterproof.provenance.xmp_place import Unplaceable, packet_of, place
from counterproof.xmp import RDF, parse

VALUES = properties(Labels("trainedAlgorithmicMedia", system="A & <B>", aigc=aigc_text("Studio")))
WRAP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{}">{}</rdf:RDF></x:xmpmeta>'


def packet(inside: str) -> bytes:
    return WRAP.format(RDF, inside).encode()


def values_of(data: bytes) -> dict[Any, Any]:
    found = parse(data)
    assert found.damage == ""
    return found.properties


def test_a_new_packet_reads_back() -> None:
    made, replaced = merge(b"", VALUES)
    found = values_of(made)
    assert {name: (text,) for name, text in VALUES.items()} == found
    assert replaced == {}
    label = aigc.read_label(found[aigc.NAMESPACE, "AIGC"][0])
    assert (label.label, label.reasons) == ("1", ())


@pytest.mark.parametrize("producer", ["北京公司", "a b  c", "", "\x00", "x" * 500])
def test_any_producer_gives_a_label_that_breaks_no_rule(producer: str) -> None:
    assert aigc.read_label(aigc_text(producer)).reasons == ()


OLD = {
    "element": '<rdf:Description rdf:about="" xmlns:i="{ns}"><i:DigitalSourceType>x'
    "</i:DigitalSourceType><i:Other>1</i:Other></rdf:Description>",
    "attribute": '<rdf:Description rdf:about="" xmlns:i="{ns}" i:DigitalSourceType="x" '
    'i:Other="1"/>',
    "single quotes": "<rdf:Description rdf:about='' xmlns:i='{ns}' i:DigitalSourceType='x' "
    "i:Other='1'/>",
    "resource": '<rdf:Description rdf:about="" xmlns:i="{ns}" i:Other="1">'
    '<i:DigitalSourceType rdf:resource="a>b"/></rdf:Description>',
    "nested": '<rdf:Description rdf:about="" xmlns:i="{ns}" i:Other="1"><i:DigitalSourceType>'
    "<rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></i:DigitalSourceType></rdf:Description>",
    "another prefix for the same": '<rdf:Description rdf:about="" xmlns:i="{ns}" xmlns:j="{ns}" '
    'j:DigitalSourceType="x" i:Other="1"/>',
    "two of them": '<rdf:Description rdf:about="" xmlns:i="{ns}" i:Other="1"/>'
    '<rdf:Description rdf:about="" xmlns:i="{ns}" i:DigitalSourceType="x"/>',
    "same name elsewhere": '<rdf:Description rdf:about="" xmlns:i="{ns}" xmlns:o="urn:o" '
    'i:Other="1" o:DigitalSourceType="stays" i:DigitalSourceType="x"/>',
}


@pytest.mark.parametrize("form", OLD)
def test_old_values_are_replaced_and_others_stay(form: str) -> None:
    made, replaced = merge(packet(OLD[form].format(ns=iptc.EXTENSION)), VALUES)
    found = values_of(made)
    name = (iptc.EXTENSION, "DigitalSourceType")
    assert found[name] == (VALUES[name],)
    assert found[iptc.EXTENSION, "Other"] == ("1",)
    assert name in replaced
    assert ("o:DigitalSourceType" in made.decode()) == (form == "same name elsewhere")


def test_inside_a_structure_the_same_name_is_not_ours() -> None:
    text = (
        f'<rdf:Description rdf:about="" xmlns:i="{iptc.EXTENSION}" xmlns:h="urn:h"><h:History>'
        '<rdf:Seq><rdf:li rdf:parseType="Resource"><i:DigitalSourceType>then</i:DigitalSourceType>'
        "</rdf:li></rdf:Seq></h:History></rdf:Description>"
    )
    made, replaced = merge(packet(text), VALUES)
    assert b"then" in made
    assert replaced == {}


@pytest.mark.parametrize(
    "broken",
    [
        packet('<rdf:Description rdf:about=""><a></rdf:Description>'),
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>",
        b"no XML at all",
        b"<rdf:RDF xmlns:rdf='" + RDF.encode() + b"'><rdf:Description",
        packet("")[:-20],
        packet("\xff").replace("\xff".encode(), b"\xff"),
        packet('<rdf:Description xmlns:a="urn:a" a:b="&lol;"/>'),
        packet("<rdf:Description>" * 3),
    ],
)
def test_a_malformed_packet_is_refused_not_lost(broken: bytes) -> None:
    with pytest.raises(ProvenanceError):
        merge(broken, VALUES)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16(codec: str) -> None:
    text = packet('<rdf:Description rdf:about="u" xmlns:d="urn:d" d:k="é"/>').decode()
    made, _ = merge(text.encode(codec), VALUES)
    assert values_of(made)["urn:d", "k"] == ("é",)


def test_an_empty_rdf_element_is_opened() -> None:
    made, _ = merge(f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(), VALUES)
    assert values_of(made).keys() == VALUES.keys()


def coded(fmt: str, **options: Any) -> bytes:
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, fmt, **options)
    return out.getvalue()


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_each_container_takes_a_packet_and_another(fmt: str) -> None:
    before = ImageFile.open(coded(fmt))
    sizes = []
    image = before
    for length in (1, 3_001, 20):
        made, _ = merge(packet_of(image), properties(Labels("digitalArt", prompt="x" * length)))
        image = ImageFile.open(place(image, made))
        assert image.metadata.damage == ""
        assert [block.data for block in image.blocks("xmp")] == [made]
        assert np.array_equal(image.pixels(), before.pixels())
        sizes.append(len(image.data))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_with_alpha(lossless: bool) -> None:
    alpha = np.zeros((20, 30, 4), np.uint8)
    alpha[:, :9] = 200
    out = io.BytesIO()
    Image.fromarray(alpha).save(out, "WEBP", lossless=lossless)
    before = ImageFile.open(out.getvalue())
    after = ImageFile.open(place(before, merge(b"", VALUES)[0]))
    assert after.info.alpha
    assert np.array_equal(after.stored(), before.stored())


def test_a_jpeg_takes_no_more_than_a_segment() -> None:
    with pytest.raises(Unplaceable, match="size"):
        place(ImageFile.open(coded("JPEG")), b"x" * 70_000)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_files_cut_short(fmt: str) -> None:
    data = coded(fmt)
    for end in range(12, len(data), max(1, len(data) // 60)):
        image = ImageFile.open(data[:end])
        try:
            place(image, merge(b"", VALUES)[0])
        except (ImageError, Unplaceable):
            continue


def inner(data: bytes) -> bytes:
    """Return an AVIF whose EXIF lies in `idat`, as the parts of a tiled HEIC do."""
    start, body, stop = _meta_of(data)
    meta = _Meta.read(data, body, stop)
    held = item_bytes(data)
    number = max(held)
    before = len(meta.write())
    meta.version, meta.sizes = 1, (4, 4, 0, 0)
    meta.parts.append((b"idat", struct.pack(">I4s", len(held[number]) + 8, b"idat") + held[number]))
    meta.place(number, 0, len(held[number]), fresh=False)
    next(item for item in meta.places if item.number == number).method = 1
    others = [item for item in meta.places if item.number != number]
    meta.move(stop, len(meta.write()) - before, others)
    return data[:start] + meta.write() + data[stop:]


def test_items_inside_the_header_survive_a_signature(tmp_path: Path) -> None:
    from counterproof.provenance.mark import assert_marked, mark
    from counterproof.settings import Settings

    exif = Image.Exif()
    exif[0x010F] = "Example Camera Works"
    data = inner(coded("AVIF", exif=exif.tobytes()))
    before = ImageFile.open(data)
    assert before.exif[0x010F] == "Example Camera Works"
    settled = settle(data)
    assert item_bytes(settled) == item_bytes(data)
    settings = Settings(home=tmp_path)
    made = mark(data, "generated", settings=settings)
    after = ImageFile.open(made.data)
    assert after.exif_data == before.exif_data
    assert np.array_equal(after.pixels(), before.pixels())
    assert_marked(made, "generated", settings=settings)


def test_heic_of_every_layout(test_data: Path, tmp_path: Path) -> None:
    for path in sorted((test_data / "photos" / "heif-nokia").glob("*C0*.heic")):
        image = ImageFile.open(path)
        made = ImageFile.open(place(image, merge(b"", VALUES)[0]))
        assert np.array_equal(made.pixels(), image.pixels())
        assert {key: item_bytes(made.data)[key] for key in item_bytes(image.data)} == item_bytes(
            image.data
        )
