"""Write labels into an XMP packet: IPTC source type and AI fields, GB 45438-2025, PLUS.

What a packet holds already stays byte for byte: properties that are to be replaced are cut out
by their place in the bytes, and one `rdf:Description` is added. So no other writer's prefixes,
order or white space change.

Sources: IPTC Photo Metadata Standard 2025.1; TC260-PG-20259A (XMP namespace and carriers); PLUS
LDF 2.0.1 (data mining); XMP part 1 (ISO 16684-1:2019) §7.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from counterproof.errors import ProvenanceError
from counterproof.provenance import aigc
from counterproof.provenance.iptc import EXTENSION
from counterproof.xmp import RDF, Name

__all__ = ["PLUS", "Labels", "aigc_text", "merge", "properties"]

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TDM = "http://www.w3.org/ns/tdmrep/"
_PREFIXES = {EXTENSION: "Iptc4xmpExt", aigc.NAMESPACE: "TC260", PLUS: "plus", _TDM: "tdm"}
_TRAINING = {
    "allowed": "http://ns.useplus.org/ldf/vocab/DMI-ALLOWED",
    "not-allowed": "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED",
    "constrained": "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-SEECONSTRAINT",
}
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_TAIL = '\n<?xpacket end="w"?>'
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta>'
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?(?:xmpmeta|xapmeta|RDF)[\s>]")
_START_TAG = re.compile(rb"<(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(rb"\s+([A-Za-z_][\w:.-]*)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]+")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_MAX_BYTES = 8 * 2**20
_MAX_ELEMENTS = 100_000


@dataclass(frozen=True, slots=True)
class Labels:
    """What is to be written.

    Attributes:
        source_type: last word of the IPTC digital source type.
        system: the model or service that made or edited the picture.
        version: of that system.
        prompt: what it was asked for.
        prompt_writer: who asked.
        training: whether others may mine the picture or train on it: `allowed`, `not-allowed`,
            `constrained` or empty for nothing said.
        constraint: under which condition, where `constrained`.
        aigc: JSON of the GB 45438 label; empty for none.
    """

    source_type: str
    system: str = ""
    version: str = ""
    prompt: str = ""
    prompt_writer: str = ""
    training: str = ""
    constraint: str = ""
    aigc: str = ""


def aigc_text(producer: str, produce_id: str = "") -> str:
    """Return a GB 45438 label that says: made by a model.

    The standard allows no spaces and no characters beyond ASCII; they become hyphens.

    Args:
        producer: provider code, or name, of whoever offers the service.
        produce_id: of this picture; a new random one by default.

    >>> aigc_text("Example Studio", "7")[:50]
    '{"Label":"1","ContentProducer":"Example-Studio","P'
    """
    values = dict.fromkeys(aigc.FIELDS, "")
    values["Label"] = "1"
    values["ContentProducer"] = _UNPRINTABLE.sub("-", producer).strip("-") or "unnamed"
    values["ProduceID"] = _UNPRINTABLE.sub("-", produce_id) or uuid.uuid4().hex
    return json.dumps(values, separators=(",", ":"))


def properties(labels: Labels) -> dict[Name, str]:
    """Return the properties that the labels are written as."""
    found = {
        (EXTENSION, "DigitalSourceType"): SOURCE_TYPES + labels.source_type,
        (EXTENSION, "AISystemUsed"): labels.system,
        (EXTENSION, "AISystemVersionUsed"): labels.version,
        (EXTENSION, "AIPromptInformation"): labels.prompt,
        (EXTENSION, "AIPromptWriterName"): labels.prompt_writer,
        (PLUS, "DataMining"): _TRAINING.get(labels.training, ""),
        (PLUS, "OtherConstraints"): labels.constraint,
        (aigc.NAMESPACE, "AIGC"): labels.aigc,
    }
    return {name: text for name, text in found.items() if text}


def merge(packet: bytes, values: Mapping[Name, str]) -> tuple[bytes, dict[Name, str]]:
    """Put properties into a packet; whatever else it holds stays as it is.

    Args:
        packet: the XMP that a file has; empty for none.
        values: name → text.

    Returns:
        The packet, and those of the names that it held before, with their old values.

    Raises:
        ProvenanceError: if the packet is malformed: to write it anew would lose what it says.
    """
    body = _body(packet) if packet.strip(b"\0 \t\r\n") else _EMPTY.encode()
    edits = _Edits(body, values)
    parts, at = [], 0
    for start, stop, text in sorted(edits.cuts):
        parts += [body[at:start], text]
        at = stop
    parts.append(body[at:])
    return _HEAD.encode() + b"".join(parts) + _TAIL.encode(), edits.replaced


def _body(packet: bytes) -> bytes:
    """Return the packet's root element in UTF-8."""
    if len(packet) > _MAX_BYTES:
        raise ProvenanceError(f"its XMP has more than {_MAX_BYTES:,} bytes")
    head = packet[:4]
    codec = ""
    if b"\0" in packet[:64]:
        little = head[:1] not in (b"\0", b"\xfe")
        wide = head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or packet[:8].count(b"\0") > 4
        codec = ("utf-32" if wide else "utf-16") + ("-le" if little else "-be")
    try:
        text = packet.decode(codec or "utf-8")
    except UnicodeDecodeError as err:
        raise ProvenanceError("its XMP is not Unicode") from err
    data = text.encode()
    found = _ROOT.search(data)
    if found is None:
        raise ProvenanceError("its XMP has no root element")
    return data[found.start() : data.rfind(b">") + 1].split(b"<?xpacket end")[0].rstrip()


class _Edits:
    """Finds, in one pass, what to cut out of a packet and where to put what is new."""

    def __init__(self, body: bytes, values: Mapping[Name, str]) -> None:
        self.body = body
        self.values = values
        self.cuts: list[tuple[int, int, bytes]] = []
        self.replaced: dict[Name, str] = {}
        self._stack: list[Name] = []
        self._empty: list[tuple[int, int] | None] = []
        self._prefixes: dict[str, list[str]] = {}
        self._open: tuple[int, Name] | None = None  # a property that is being cut out
        self._text: list[str] = []
        self._about: str | None = None
        self._done = False
        self._elements = 0
        parser = expat.ParserCreate("utf-8", " ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndNamespaceDeclHandler = lambda prefix: self._prefixes[prefix or ""].pop()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        self._parser = parser
        try:
            parser.Parse(body, True)
        except expat.ExpatError as err:
            reason = expat.ErrorString(err.code)
            raise ProvenanceError(f"its XMP is malformed at line {err.lineno}: {reason}") from err
        if not self._done:
            raise ProvenanceError("its XMP has no rdf:RDF element")

    def _refuse(self, *_: Any) -> None:
        raise ProvenanceError("its XMP has a document type declaration")

    def _declare(self, prefix: str | None, uri: str) -> None:
        self._prefixes.setdefault(prefix or "", []).append(uri)

    def _data(self, text: str) -> None:
        if self._open:
            self._text.append(text)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise ProvenanceError(f"its XMP has more than {_MAX_ELEMENTS:,} elements")
        namespace, _, local = name.rpartition(" ")
        self._stack.append((namespace, local))
        where = self._parser.CurrentByteIndex
        tag = _START_TAG.match(self.body, where)
        if tag is None:
            raise ProvenanceError("its XMP has a tag that cannot be followed")
        # the parser gives the place behind an empty element as that of its end
        self._empty.append(tag.span() if tag[0].endswith(b"/>") else None)
        if self._in_rdf(2) and self._stack[-1] == (RDF, "Description"):
            if self._about is None:
                self._about = attributes.get(f"{RDF} about", attributes.get("about", ""))
            self._cut_attributes(where, attributes)
        elif self._in_rdf(3) and self._stack[-1] in self.values and self._open is None:
            self._open, self._text = (where, self._stack[-1]), []

    def _in_rdf(self, depth: int) -> bool:
        """Tell whether the open element lies `depth` - 1 below the first rdf:RDF."""
        stack = self._stack
        return (
            not self._done and len(stack) >= depth and stack[-depth] == (RDF, "RDF") and depth <= 3
        )

    def _cut_attributes(self, where: int, attributes: dict[str, str]) -> None:
        tag = _START_TAG.match(self.body, where)
        assert tag is not None, "checked by _start"
        for found in _ATTRIBUTE.finditer(self.body, tag.start(), tag.end()):
            prefix, _, local = found[1].decode("utf-8", "replace").rpartition(":")
            uri = (self._prefixes.get(prefix) or [""])[-1]
            if prefix and (uri, local) in self.values:
                self.cuts.append((found.start(), found.end(), b""))
                self.replaced[uri, local] = attributes.get(f"{uri} {local}", "")

    def _end(self, _name: str) -> None:
        where = self._parser.CurrentByteIndex
        empty = self._empty.pop()
        if self._open and self._stack[-1] == self._open[1] and self._in_rdf(3):
            stop = empty[1] if empty else self.body.index(b">", where) + 1
            self.cuts.append((self._open[0], stop, b""))
            self.replaced[self._open[1]] = "".join(self._text).strip()
            self._open = None
        elif self._stack[-1] == (RDF, "RDF") and not self._done:
            self._done = True
            added = _description(self._about or "", self.values)
            if empty is None:
                self.cuts.append((where, where, added))
            else:
                opening = self.body[empty[0] : empty[1] - 2]
                name = re.split(rb"[\s/>]", opening[1:], maxsplit=1)[0]
                self.cuts.append((*empty, opening + b">" + added + b"</" + name + b">"))
        self._stack.pop()


def _description(about: str, values: Mapping[Name, str]) -> bytes:
    used: Sequence[str] = list(dict.fromkeys(namespace for namespace, _ in values))
    spaces = "".join(f' xmlns:{_PREFIXES[uri]}="{uri}"' for uri in used)
    lines = [f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)}{spaces}>']
    for (uri, local), text in values.items():
        name = f"{_PREFIXES[uri]}:{local}"
        lines.append(f"<{name}>{escape(_NOT_XML.sub(' ', text))}</{name}>")
    lines.append("</rdf:Description>")
    return "\n".join(lines).encode()
