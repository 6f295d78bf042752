"""What the readers of generator traces look at, and what they return."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from counterproof.findings import Claim
from counterproof.provenance.iptc import EXTENSION
from counterproof.provenance.texts import Text, read_texts
from counterproof.xmp import Name, packets

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["EDITING_MODES", "Evidence", "Family", "Trace", "claim_of_mode"]

EXIF = "http://ns.adobe.com/exif/1.0/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
_XMP_NAMES: tuple[Name, ...] = (
    (EXIF, "UserComment"),
    (PHOTOSHOP, "Credit"),
    (PHOTOSHOP, "Instructions"),
    (EXTENSION, "DigImageGUID"),
    (XMP, "CreatorTool"),
)
# `Credit`, `Instructions` and `CreatorTool` stand in most photographs, so they do not make a
# packet worth a parse; the values of interest do.
_MENTIONS = (
    b"UserComment",
    b"DigImageGUID",
    b"Apple Image Playground",
    b"with Google AI",
    b"FBMD",
)
_MAX_JSON_CHARS = 4 * 2**20  # of all texts of a picture together; large workflows have 1 MiB

EDITING_MODES = frozenset({"inpaint", "outpaint", "upscale", "edit"})
"""Modes in which a model changed a picture that was there before."""

_OTHER_MODES = {"no_model": Claim.EDITED, "passage": Claim.NONE}


def claim_of_mode(mode: str) -> Claim:
    """Return what a trace with this mode claims."""
    if mode in EDITING_MODES:
        return Claim.MODEL_EDITED
    return _OTHER_MODES.get(mode, Claim.SYNTHETIC)


@dataclass(frozen=True, slots=True)
class Trace:
    """What one generator left in one picture.

    Attributes:
        text: where it stands.
        generator: name of the program or service.
        version: as written; empty if not.
        model: name of the model as written; empty if not.
        mode: `text_to_image`, `image_to_image`, one of `EDITING_MODES`, `no_model` if the
            program says that no model was used, `passage` if the picture only went through a
            service, or empty if it does not say.
        prompt_chars: length of the prompt; 0 if there is none.
        more: further JSON values for the finding's details.
    """

    text: Text
    generator: str
    version: str = ""
    model: str = ""
    mode: str = ""
    prompt_chars: int = 0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """One family of generators and the function that knows its trace.

    Attributes:
        code: of the finding.
        read: returns the trace, or None. Exact keys and forms only: a photograph must not
            match because somebody mentions a program's name in its caption.
    """

    code: str
    read: Callable[["Evidence"], Trace | None]


class Evidence:
    """The texts of one picture, by where they stand. The first of a key counts."""

    def __init__(self, image: "ImageFile", texts: list[Text] | None = None) -> None:
        """Read the texts of a picture, or take those that were found elsewhere in it."""
        self.image = image
        self.texts = _metadata_texts(image) if texts is None else texts
        self._by_key: dict[tuple[str, str], Text] = {}
        for text in self.texts:
            self._by_key.setdefault((text.kind, text.key), text)
        self._json: dict[str, dict[str, Any]] = {}
        self._chars_left = _MAX_JSON_CHARS

    def png(self, key: str) -> Text | None:
        """Return the PNG text with this keyword."""
        return self._by_key.get(("text", key))

    def exif(self, tag: str) -> Text | None:
        """Return the EXIF text tag with this name."""
        return self._by_key.get(("exif", tag))

    def xmp(self, name: str) -> Text | None:
        """Return the XMP property with this local name; the namespace was checked."""
        return self._by_key.get(("xmp", name))

    @cached_property
    def comments(self) -> list[Text]:
        """Texts in which a program may put its settings: comments, EXIF and XMP user comments."""
        return [t for t in self.texts if t.kind == "comment" or t.key == "UserComment"]

    def json(self, text: Text | None) -> dict[str, Any]:
        """Return a text as a JSON object; empty if it is none or the texts are too long."""
        if text is None or not text.value.startswith("{"):
            return {}
        if text.value not in self._json:
            value = None
            if len(text.value) <= self._chars_left:
                self._chars_left -= len(text.value)
                try:
                    value = json.loads(text.value)
                except (ValueError, RecursionError):
                    value = None
            self._json[text.value] = value if isinstance(value, dict) else {}
        return self._json[text.value]

    def instructions(self) -> Iterator[Text]:
        """Yield the special instructions: IPTC-IIM 2:40, then XMP `photoshop:Instructions`.

        Source: IPTC-IIM 4.2 §1.5 for the form of a data set. At most 64 are looked at.
        """
        for block in self.image.blocks("iptc"):
            data, at = block.data, -1
            for _ in range(64):
                if (at := data.find(b"\x1c\x02\x28", at + 1)) < 0:
                    break
                length = int.from_bytes(data[at + 3 : at + 5], "big")
                value = data[at + 5 : at + 5 + length].decode("utf-8", "replace")
                yield Text("iptc", "2:40", value, block.offset)
        if text := self.xmp("Instructions"):
            yield text

    def samsung(self) -> Iterator[tuple[str, Text]]:
        """Yield name and content of the entries of Samsung's trailer (SEF), at most 64.

        Layout: entries, then `SEFH`, version, count, one 12-byte row per entry (padding,
        type, distance back from `SEFH`, length), the directory's size, `SEFT`. Read off
        files; no specification is public.
        """
        data = self.image.data
        if data[-4:] != b"SEFT" or len(data) < 24:
            return
        start = len(data) - 8 - struct.unpack_from("<I", data, len(data) - 8)[0]
        if start < 0 or data[start : start + 4] != b"SEFH":
            return
        (count,) = struct.unpack_from("<I", data, start + 8)
        for row in range(start + 12, min(start + 12 + 12 * min(count, 64), len(data) - 19), 12):
            back, length = struct.unpack_from("<II", data, row + 4)
            at = start - back
            if at < 0 or length < 8 or at + length > start:
                continue
            (size,) = struct.unpack_from("<I", data, at + 4)
            if size > min(length - 8, 256):
                continue
            name = data[at + 8 : at + 8 + size].decode("latin-1")
            body = data[at + 8 + size : at + min(length, 2**20)]
            yield name, Text("trailer", name, body.decode("utf-8", "replace"), at)


def _metadata_texts(image: "ImageFile") -> list[Text]:
    texts = list(read_texts(image))
    for packet in packets(image, _MENTIONS, _XMP_NAMES):
        for name in _XMP_NAMES:
            for value in packet.get(*name)[:8]:
                texts.append(Text("xmp", name[1], value, packet.offset))
    return texts
