"""XMP: every form of a value, names by URI, packets joined, hostile packets bounded."""

import io
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterproof import xmp
from counterproof.images import ImageFile
from counterproof.xmp import Packet, packets, parse

NS = "http://example.org/ns/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def wrap(inside: str, attributes: str = "", prefix: str = "e") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description rdf:about="" xmlns:{prefix}="{NS}" {attributes}>{inside}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def values(data: bytes, name: str = "P") -> tuple[str, ...]:
    return parse(data).get(NS, name)


def jpeg(*segments: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    plain = buffer.getvalue()
    apps = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return plain[:2] + apps + plain[2:]


@pytest.mark.parametrize(
    ("inside", "attributes"),
    [
        ("<e:P>v</e:P>", ""),
        ("", 'e:P="v"'),
        ("<e:P> v\n</e:P>", ""),
        ("<e:P><![CDATA[v]]></e:P>", ""),
        ("<e:P>&#118;</e:P>", ""),
        ("<e:P><rdf:Bag><rdf:li>v</rdf:li></rdf:Bag></e:P>", ""),
        ("<e:P><rdf:Seq><rdf:li>v</rdf:li></rdf:Seq></e:P>", ""),
        ('<e:P><rdf:Alt><rdf:li xml:lang="x-default">v</rdf:li></rdf:Alt></e:P>', ""),
        ('<e:P rdf:resource="v"/>', ""),
        ('<e:P rdf:parseType="Resource"><rdf:value>v</rdf:value><e:Q>q</e:Q></e:P>', ""),
        ("<e:P><rdf:Description><rdf:value>v</rdf:value><e:Q>q</e:Q></rdf:Description></e:P>", ""),
    ],
)
def test_every_form_of_a_simple_value(inside: str, attributes: str) -> None:
    assert values(wrap(inside, attributes)) == ("v",)
    assert parse(wrap(inside, attributes)).damage == ""


def test_lists_keep_their_order() -> None:
    inside = "<e:P><rdf:Seq><rdf:li>b</rdf:li><rdf:li>a</rdf:li></rdf:Seq></e:P>"
    assert values(wrap(inside)) == ("b", "a")


@pytest.mark.parametrize(
    "inside",
    [
        '<e:P rdf:parseType="Resource"><e:A>1</e:A><e:B>2</e:B></e:P>',
        "<e:P><rdf:Description><e:A>1</e:A><e:B>2</e:B></rdf:Description></e:P>",
        '<e:P><rdf:Description e:A="1" e:B="2"/></e:P>',
        '<e:P e:A="1" e:B="2"/>',
        '<e:P><rdf:Bag><rdf:li rdf:parseType="Resource"><e:A>1</e:A><e:B>2</e:B></rdf:li>'
        "</rdf:Bag></e:P>",
    ],
)
def test_every_form_of_a_structure(inside: str) -> None:
    packet = parse(wrap(inside))
    assert packet.fields[(NS, "P")] == ({(NS, "A"): ("1",), (NS, "B"): ("2",)},)
    assert packet.get(NS, "P") == ()
    assert packet.get(NS, "A") == ()  # a field of a structure says nothing of the picture


def test_a_prefix_says_nothing() -> None:
    assert values(wrap("<odd:P>v</odd:P>", prefix="odd")) == ("v",)
    other = wrap("<e:P>v</e:P>").replace(NS.encode(), b"http://example.org/other/")
    assert values(other) == ()


def test_a_property_without_namespace_is_none() -> None:
    assert parse(wrap("<P>v</P>", 'P="v"')).properties == {}


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_packets_in_other_encodings(codec: str) -> None:
    assert values(wrap("<e:P>图</e:P>").decode().encode(codec)) == ("图",)


def test_a_declaration_behind_the_wrapper_is_no_obstacle() -> None:
    data = b'\n\0\0<?xpacket begin=""?><?xml version="1.0" encoding="UTF-16"?>' + wrap(
        "<e:P>v</e:P>"
    )
    assert values(data + b"\0" * 64 + b"junk >") == ("v",)


def test_what_was_complete_before_the_break_is_kept() -> None:
    data = wrap("<e:A>whole</e:A><e:P>cut off here, not before</e:P>")
    packet = parse(data[: data.index(b", not")] + b">")
    assert packet.get(NS, "A") == ("whole",)
    assert packet.get(NS, "P") == ()
    assert "breaks off" in packet.damage


def test_a_bare_ampersand_is_recovered() -> None:
    packet = parse(wrap("<e:A>salt & pepper</e:A><e:P>v</e:P>"))
    assert packet.get(NS, "A") == ("salt & pepper",)
    assert packet.get(NS, "P") == ("v",)
    assert "ampersand" in packet.damage


def test_bytes_that_no_xml_may_hold_are_replaced() -> None:
    packet = parse(wrap("<e:A>a\x01b</e:A><e:P>v</e:P>") + b"\xff")
    assert packet.get(NS, "P") == ("v",)
    assert "control characters" in packet.damage
    latin = parse(wrap("<e:A>é</e:A><e:P>v</e:P>").decode().encode("latin-1", "ignore"))
    assert latin.get(NS, "P") == ("v",)
    assert "UTF-8" in latin.damage


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]>"
).encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LAUGHS + wrap("<e:P>&j;</e:P>"), id="billion laughs"),
        pytest.param(
            b'<!DOCTYPE x [<!ENTITY s SYSTEM "file:///etc/passwd">]>' + wrap("<e:P>&s;</e:P>"),
            id="external entity",
        ),
        pytest.param(wrap("<e:P>" * 200_000), id="deep"),
        pytest.param(wrap("<e:P>v</e:P>" * 500_000), id="many elements"),
        pytest.param(wrap("", " ".join(f'e:A{i}="v"' for i in range(200_000))), id="attributes"),
        pytest.param(wrap("<e:P>" + "x" * (20 * 2**20) + "</e:P>"), id="endless text"),
        pytest.param(wrap("<e:P>" + "&lt;" * 4_000_000 + "</e:P>"), id="references"),
        pytest.param(wrap("<e:P>" + "& " * 3_000_000 + "</e:P>"), id="bare ampersands"),
        pytest.param(b"<x:xmpmeta" * 800_000, id="roots"),
        pytest.param(b"<" * 8_000_000, id="brackets"),
        pytest.param(wrap("<e:P " + 'xmlns:q="u" ' * 1), id="broken tag"),
        pytest.param(
            wrap("".join(f'<e:P xmlns:n{i}="u{i}"/>' for i in range(100_000))), id="namespaces"
        ),
    ],
)
def test_hostile_packets_are_bounded(data: bytes) -> None:
    start = time.process_time()
    packet = parse(data)
    assert time.process_time() - start < 1.0
    text = "".join(packet.get(NS, "P"))
    assert len(text) <= 8 * 2**20
    assert "haha" not in text
    assert "root:" not in text


def test_a_document_type_inside_the_root_is_refused() -> None:
    inner = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!DOCTYPE a [<!ENTITY b "c">]></x:xmpmeta>'
    assert parse(inner).damage


def test_a_packet_is_parsed_only_for_a_name_of_interest(monkeypatch: pytest.MonkeyPatch) -> None:
    image = ImageFile.open(jpeg(b"http://ns.adobe.com/xap/1.0/\0" + wrap("<e:P>v</e:P>")))
    assert [packet.get(NS, "P") for packet in packets(image, (b"P>",))] == [("v",)]

    def never(*_: object, **__: object) -> Packet:
        raise AssertionError("parsed")

    monkeypatch.setattr(xmp, "_parse", never)
    assert packets(image, (b"Absent",)) == []


def test_the_check_sees_through_utf_16() -> None:
    data = wrap("<e:P>v</e:P>").decode().encode("utf-16")
    image = ImageFile.open(jpeg(b"http://ns.adobe.com/xap/1.0/\0" + data))
    assert [packet.get(NS, "P") for packet in packets(image, (b"e:P",))] == [("v",)]


GUID = b"0123456789ABCDEF0123456789ABCDEF"


def extension(data: bytes, cut: int, guid: bytes = GUID) -> list[bytes]:
    head = b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">I", len(data))
    return [head + struct.pack(">I", at) + data[at : at + cut] for at in range(0, len(data), cut)]


def main_packet(guid: bytes = GUID) -> bytes:
    note = f'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="{guid.decode()}"'
    return b"http://ns.adobe.com/xap/1.0/\0" + wrap("", note)


@pytest.mark.parametrize("turn", [1, -1])
def test_extended_xmp_is_joined_by_guid(turn: int) -> None:
    pieces = extension(wrap("<e:Par>v</e:Par>"), 37)[::turn]  # the name lies across a cut
    found = packets(ImageFile.open(jpeg(main_packet(), *pieces)), (b"e:Par",))
    assert [(p.kind, p.get(NS, "Par"), p.damage) for p in found] == [("xmp_extended", ("v",), "")]


def test_extended_xmp_that_no_packet_names_is_stale() -> None:
    pieces = extension(wrap("<e:P>v</e:P>"), 100)
    assert packets(ImageFile.open(jpeg(main_packet(b"F" * 32), *pieces)), (b"e:P",)) == []
    assert packets(ImageFile.open(jpeg(*pieces)), (b"e:P",)) == []


def test_extended_xmp_that_lacks_a_piece_is_read_as_far_as_it_goes() -> None:
    pieces = extension(wrap("<e:A>v</e:A>" + "<e:B>w</e:B>" * 20), 150)
    for kept, damage in (
        (pieces[:2] + pieces[3:], "lacks bytes"),
        (pieces[:-1], "ends after"),
    ):
        found = packets(ImageFile.open(jpeg(main_packet(), *kept)), (b"e:A",))
        assert found[0].get(NS, "A") == ("v",)
        assert damage in found[0].damage


def test_extended_xmp_with_lying_offsets_ends() -> None:
    head = b"http://ns.adobe.com/xmp/extension/\0" + GUID
    pieces = [head + b"\xff" * 8 + b"e:P", head + b"\0" * 8 + b"<e:P/>", head + b"\0" * 4]
    found = packets(ImageFile.open(jpeg(main_packet(), *pieces)), (b"e:P",))
    assert all(packet.properties == {} for packet in found)


@pytest.mark.parametrize("only", [(), ((NS, "P"),), ((NS, "Q"),)])
def test_many_packets_are_bounded(only: tuple[tuple[str, str], ...]) -> None:
    inside = "<e:P/>" * 9_000
    names = "".join(f"{at:032X}" for at in range(40))
    note = f'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="{names}"'
    main = b"http://ns.adobe.com/xap/1.0/\0"
    pieces = [
        piece
        for at in range(40)
        for piece in extension(wrap(inside), 60_000, f"{at:032X}".encode())
    ]
    image = ImageFile.open(jpeg(main + wrap("", note), *[main + wrap(inside)] * 40, *pieces))
    _ = image.metadata
    start = time.process_time()
    found = packets(image, (b"e:P",), only)
    assert time.process_time() - start < 1.0
    assert 0 < len(found) < 20


@pytest.mark.parametrize("attribute", [False, True])
def test_other_properties_are_skipped_however_long(attribute: bool) -> None:
    """Some programs keep tens of thousands of entries in one property (DocumentAncestors)."""
    bag = "<e:Long><rdf:Bag>" + "<rdf:li>x</rdf:li>" * 60_000 + "</rdf:Bag></e:Long>"
    inside, outside = ("", 'e:P="v" e:Q="w"') if attribute else ("<e:P>v</e:P>", "")
    packet = parse(wrap(bag + inside, outside), only=((NS, "P"),))
    assert packet.properties == {(NS, "P"): ("v",)}
    assert packet.damage == ""
    assert "elements" in parse(wrap(bag + inside, outside)).damage


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    parse(data)
    parse(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + data + b">")


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6), st.booleans())
def test_no_change_crashes_the_parser(at: int, change: bytes, insert: bool) -> None:
    data = wrap('<e:P><rdf:Bag><rdf:li e:q="1">v</rdf:li></rdf:Bag></e:P><e:Q>w</e:Q>')
    at %= len(data)
    packet = parse(data[:at] + change + data[at + (0 if insert else len(change)) :])
    assert all(isinstance(value, str) for found in packet.properties.values() for value in found)
