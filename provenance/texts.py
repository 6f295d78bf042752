"""The short texts of a picture's metadata, whatever the container: who wrote what where."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.blocks import Block, Damaged
from counterproof.exif_text import read_exif_text
from counterproof.tiff import exif_directories

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = ["Text", "read_texts"]

_MAX_TEXTS = 1_000
_MAX_TEXT_BYTES = 4 * 2**20
_MAX_KEY_CHARS = 80  # a PNG keyword has at most 79


@dataclass(frozen=True, slots=True)
class Text:
    """One text.

    Attributes:
        kind: `text` (PNG), `comment` (JPEG, GIF), `exif` or `xmp`.
        key: PNG keyword, EXIF tag or XMP local name; empty for a comment.
        value: the text.
        offset: of its block in the file, in bytes.
    """

    kind: str
    key: str
    value: str
    offset: int

    def to_json(self) -> dict[str, Any]:
        """Return where the text lies, without what it says."""
        return {"kind": self.kind, "key": self.key[:_MAX_KEY_CHARS], "offset": self.offset}


def read_texts(image: "ImageFile") -> Iterator[Text]:
    """Yield PNG texts, comments and EXIF text tags in file order; XMP is read by property.

    Of a hostile file the first 1,000 blocks are read, and 4 MiB of each.
    """
    for block in image.blocks("text", "comment", "exif")[:_MAX_TEXTS]:
        if block.kind == "exif":
            yield from _exif_texts(image, block)
        else:
            text = block.data[:_MAX_TEXT_BYTES].decode("utf-8", "replace")
            yield Text(block.kind, block.key, text, block.offset)


def _exif_texts(image: "ImageFile", block: Block) -> Iterator[Text]:
    try:
        first = image.blocks("exif")[0] is block
        exif = image.exif_directories if first else exif_directories(block.data)
    except Damaged:
        return
    for tag in read_exif_text(exif) if exif else ():
        yield Text("exif", tag.name, tag.text, block.offset)
