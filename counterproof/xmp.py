"""Read XMP packets from untrusted files: namespaces by URI, no entities, no network, bounded.

The parser is the expat of the standard library with a small tree on top: measured on a
5.3 KB packet of a photograph it takes 0.08 ms, defusedxml 0.11 ms, and unlike them it can keep
what it read of a packet that breaks off. Only what lies between the first and the last tag of
the packet's root reaches it, so a document type, and with it every entity, stays outside.

Source: XMP part 1 (ISO 16684-1:2019) §7 for the RDF forms, part 3 §1.1.3.1 for extended XMP.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from counterproof.containers import Block

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["RDF", "Name", "Packet", "as_utf8", "packets", "parse"]

Name: TypeAlias = tuple[str, str]
"""A namespace URI and a local name. The prefix that a file uses says nothing."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XML = "http://www.w3.org/XML/1998/namespace"
_RDF = (RDF, "RDF")
_DESCRIPTION = (RDF, "Description")
_DESCRIPTION_NAME = f"{RDF} Description"

_MAX_BYTES = 8 * 2**20
_MAX_RECOVERED_BYTES = 2**20
_MAX_ELEMENTS = 20_000
_MAX_SKIPPED = 400_000
_MAX_DEPTH = 48
_MAX_VALUES = 1_000
_MAX_EQUAL_SIGNS = 100_000  # more attributes than any packet has; expat is slow with them
_MAX_PACKETS = 16
_MAX_EXTENDED = 2
_GUID_BYTES = 32

_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?(?:xmpmeta|xapmeta|RDF)[\s>]")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


@dataclass(frozen=True, slots=True)
class Packet:
    """What one XMP packet says of the picture.

    Attributes:
        kind: `xmp`, or `xmp_extended` for a packet joined from the pieces of a JPEG.
        offset: in the file, of the block in which the packet starts.
        length: of that block in bytes; of an extended packet, of all its pieces.
        properties: name → values; the items of a list in their order, of a structure none.
        fields: name of a structure → one mapping per structure, field → values.
        damage: what was wrong with the packet, empty if nothing; what could be read was.
    """

    kind: str = "xmp"
    offset: int = 0
    length: int = 0
    properties: dict[Name, tuple[str, ...]] = field(default_factory=dict)
    fields: dict[Name, tuple[dict[Name, tuple[str, ...]], ...]] = field(default_factory=dict)
    damage: str = ""

    def get(self, namespace: str, name: str) -> tuple[str, ...]:
        """Return the values of one property of the picture, white space trimmed; () if none."""
        return self.properties.get((namespace, name), ())


def packets(
    image: "ImageFile", mentioning: Iterable[bytes], only: Collection[Name] = ()
) -> list[Packet]:
    """Parse the XMP packets of one picture that can hold a property of interest.

    A packet is parsed only if one of the words stands in its bytes. XML allows no escape
    inside a name, so a check for names cannot miss one, and a packet without costs
    microseconds.

    Args:
        image: the picture.
        mentioning: words, such as local names of the properties of interest, ASCII.
        only: the properties of interest; others are skipped unread. All if empty.
    """
    words = tuple(mentioning)
    budget = _Budget()
    found: list[Packet] = []
    mains = image.blocks("xmp")
    for block in mains[:_MAX_PACKETS]:
        if _mentions(text := as_utf8(block.data), words):
            found.append(_parse(text, Packet("xmp", block.offset, block.length), only, budget))
    pieces = image.blocks("xmp_extended")
    if pieces and mains:
        for packet, text in _extended(mains, pieces):
            if _mentions(text, words):
                found.append(_parse(text, packet, only, budget))
    return found


def _mentions(data: bytes, names: Sequence[bytes]) -> bool:
    return any(name in data for name in names)


def as_utf8(data: bytes) -> bytes:
    """Re-encode a packet that is in UTF-16 or UTF-32 (XMP part 1 §7.1); others as they are."""
    head = data[:4]
    if head[:3] == b"\xef\xbb\xbf" or b"\0" not in data[:64] or not head.strip(b"\0"):
        return data
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        codec = "utf-32"
    elif head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        codec = "utf-16"
    else:
        codec = {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le"}.get(
            "".join("x" if byte else "0" for byte in head), ""
        )
    if not codec:
        return data
    return data[:_MAX_BYTES].decode(codec, "replace").encode("utf-8", "replace")


def _extended(mains: Iterable[Block], pieces: Sequence[Block]) -> Iterator[tuple[Packet, bytes]]:
    """Join the pieces of extended XMP by GUID; yield what a main packet refers to, unparsed."""
    parts: dict[bytes, list[Block]] = {}
    for piece in pieces:
        if len(piece.data) > _GUID_BYTES + 8:
            parts.setdefault(piece.data[:_GUID_BYTES].upper(), []).append(piece)
    # An editor that does not know extended XMP leaves stale pieces behind: without a main
    # packet that names their GUID they say nothing of this picture.
    referred = b"".join(block.data.upper() for block in mains if b"HasExtendedXMP" in block.data)
    linked = [guid for guid in parts if guid.isalnum() and guid in referred]
    for guid in linked[:_MAX_EXTENDED]:
        text, damage = _join(parts[guid])
        length = sum(block.length for block in parts[guid])
        yield Packet("xmp_extended", parts[guid][0].offset, length, damage=damage), as_utf8(text)


def _join(blocks: Iterable[Block]) -> tuple[bytes, str]:
    """Join pieces by their offsets until one is missing, or the limit is met."""
    start = _GUID_BYTES + 8
    placed = sorted((int.from_bytes(b.data[start - 4 : start], "big"), b.data) for b in blocks)
    joined = bytearray()
    for offset, data in placed:
        if offset > len(joined):
            return bytes(joined), f"extended XMP lacks bytes {len(joined):,} to {offset:,}"
        if len(joined) + len(data) > _MAX_BYTES:
            return bytes(joined), f"extended XMP of more than {_MAX_BYTES:,} bytes"
        if offset == len(joined):  # else a piece that is stored twice
            joined += data[start:]
    promised = int.from_bytes(placed[0][1][start - 8 : start - 4], "big")
    if promised > len(joined):
        return bytes(joined), f"extended XMP ends after {len(joined):,} of {promised:,} bytes"
    return bytes(joined), ""


@dataclass(slots=True)
class _Budget:
    """What the packets of one picture may still cost together."""

    elements: int = _MAX_ELEMENTS
    skipped: int = _MAX_SKIPPED
    bytes: int = _MAX_BYTES


class _Element:
    """One element as parsed; `closed` is False where the packet broke off inside it."""

    __slots__ = ("attributes", "children", "closed", "name", "text")

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = _split(name)
        self.attributes = {_split(key): value for key, value in attributes.items()}
        self.children: list[_Element] = []
        self.text: list[str] = []
        self.closed = False


class _Stop(Exception):
    """A limit was met: keep what was read."""


def parse(data: bytes, only: Collection[Name] = ()) -> Packet:
    """Parse one packet. Never raises for its content: what could not be read is `damage`.

    Args:
        data: the packet, with or without its `<?xpacket?>` wrapper.
        only: the properties of interest; others are skipped unread. All if empty.
    """
    return _parse(as_utf8(data), Packet(), only, _Budget())


def _parse(data: bytes, packet: Packet, only: Collection[Name], budget: _Budget) -> Packet:
    """Return the packet with what its text says."""
    data, damage = _prepare(data, budget)
    faults = [packet.damage, damage]
    if data:
        names = frozenset(f"{namespace} {name}" for namespace, name in only)
        root, fault = _tree(data, names, budget)
        if fault and len(data) <= _MAX_RECOVERED_BYTES and _BARE_AMPERSAND.search(data):
            faults.append("an ampersand is not escaped")
            root, fault = _tree(_BARE_AMPERSAND.sub(b"&amp;", data), names, budget)
        _collect(root, packet)
        faults.append(fault)
    return replace(packet, damage="; ".join(filter(None, faults)))


def _prepare(data: bytes, budget: _Budget) -> tuple[bytes, str]:
    """Cut the packet to its root element and replace bytes that no XML may hold."""
    faults = []
    if len(data) > budget.bytes:
        data = data[: budget.bytes]
        faults.append(f"more than {_MAX_BYTES:,} bytes of XMP")
    budget.bytes -= len(data)
    start = _ROOT.search(data) if b"RDF" in data or b"meta" in data else None
    if start is None:
        return b"", "no XMP root element"
    if data.count(b"=") > _MAX_EQUAL_SIGNS:
        return b"", "too many attributes"
    data = data[start.start() : data.rfind(b">") + 1]
    if _FORBIDDEN.search(data):
        data = _FORBIDDEN.sub(b" ", data)
        faults.append("control characters")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode("utf-8")
        faults.append("not UTF-8")
    return data, "; ".join(faults)


def _tree(data: bytes, only: Collection[str], budget: _Budget) -> tuple[_Element, str]:
    """Build the tree of elements under limits; return it and what stopped it.

    Properties that are not of interest are skipped with all they hold: some programs keep
    tens of thousands of entries in one (`photoshop:DocumentAncestors`).
    """
    from xml.parsers import expat

    top = _Element("", {})
    stack = [top]
    skipping = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal skipping
        inside = len(stack) > 2 and stack[-1].name == _DESCRIPTION and stack[-2].name == _RDF
        if skipping or (only and inside and name not in only):
            skipping += 1
            budget.skipped -= 1
            if budget.skipped < 0:
                raise _Stop(f"more than {_MAX_SKIPPED:,} elements")
            return
        if only and name == _DESCRIPTION_NAME and stack[-1].name == _RDF:
            attributes = {key: attributes[key] for key in only if key in attributes}
        budget.elements -= 1 + len(attributes) // 8
        if budget.elements < 0:
            raise _Stop(f"more than {_MAX_ELEMENTS:,} elements")
        if len(stack) > _MAX_DEPTH:
            raise _Stop(f"nested deeper than {_MAX_DEPTH} levels")
        element = _Element(name, attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_name: str) -> None:
        nonlocal skipping
        if skipping:
            skipping -= 1
            return
        stack.pop().closed = True
        if len(stack) == 1:
            raise _Stop("")  # the root is complete: whatever follows is no XMP

    def text(characters: str) -> None:
        if not skipping:
            stack[-1].text.append(characters)

    def refuse(*_: Any) -> None:
        raise _Stop("a document type declaration is not allowed")

    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except _Stop as stop:
        return top, str(stop)
    except expat.ExpatError as err:
        return top, f"XML breaks off at line {err.lineno}: {expat.ErrorString(err.code)}"
    except ValueError:
        return top, "XML is not readable"
    return top, ""


def _split(name: str) -> Name:
    namespace, _, local = name.rpartition(" ")
    return namespace, local


def _collect(top: _Element, packet: Packet) -> None:
    """Read the properties of every top-level description of the packet."""
    for root in top.children:
        holders = [root] if root.name == _RDF else root.children
        for holder in holders:
            if holder.name != _RDF:
                continue
            for description in holder.children:
                # XMP allows one subject per packet, so `rdf:about` is not compared.
                if description.name == _DESCRIPTION:
                    _describe(description, packet)


def _describe(description: _Element, packet: Packet) -> None:
    for name, value in description.attributes.items():
        if name[0] and name[0] not in (RDF, _XML):
            _add(packet.properties, name, (value.strip(),))
    for child in description.children:
        if not child.closed or not child.name[0]:
            continue  # cut off: its value may not be the whole value
        values, structures = _values(child)
        if values:
            _add(packet.properties, child.name, values)
        if structures:
            packet.fields[child.name] = (packet.fields.get(child.name, ()) + structures)[
                :_MAX_VALUES
            ]


def _add(table: dict[Name, tuple[str, ...]], name: Name, values: tuple[str, ...]) -> None:
    table[name] = (table.get(name, ()) + values)[:_MAX_VALUES]


_Structures: TypeAlias = tuple[dict[Name, tuple[str, ...]], ...]


def _values(element: _Element) -> tuple[tuple[str, ...], _Structures]:
    """Return the simple values and the structures that a property element holds."""
    if resource := element.attributes.get((RDF, "resource")):
        return (resource.strip(),), ()
    if (holder := _holder(element)) is not None:
        for child in holder.children:
            if child.name == (RDF, "value") and child.closed:
                return _values(child)  # a value with qualifiers
        return (), (_fields(holder),)
    values: list[str] = []
    structures: list[dict[Name, tuple[str, ...]]] = []
    for child in element.children:
        if child.name in ((RDF, "Bag"), (RDF, "Seq"), (RDF, "Alt")):
            for item in child.children[:_MAX_VALUES]:
                if item.name == (RDF, "li") and item.closed:
                    more, inner = _values(item)
                    values += more
                    structures += inner
    if not element.children:
        values.append("".join(element.text).strip())
    return tuple(values), tuple(structures)


def _holder(element: _Element) -> _Element | None:
    """Return the element with the fields of a structure, in any of its RDF forms, or None."""
    if element.attributes.get((RDF, "parseType")) == "Resource":
        return element
    if len(element.children) == 1 and element.children[0].name == _DESCRIPTION:
        return element.children[0]
    if not element.children and any(n not in ("", RDF, _XML) for n, _ in element.attributes):
        return element
    return None


def _fields(holder: _Element) -> dict[Name, tuple[str, ...]]:
    fields: dict[Name, tuple[str, ...]] = {}
    for name, value in holder.attributes.items():
        if name[0] not in ("", RDF, _XML):
            _add(fields, name, (value.strip(),))
    for child in holder.children:
        if child.closed and child.name[0]:
            _add(fields, child.name, _values(child)[0])
    return fields
