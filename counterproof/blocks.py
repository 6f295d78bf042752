"""What a walk over a container finds: metadata blocks and the traits of the picture.

Every walk notes what it finds in a `Notes`, which bounds the work: a file of a million empty
chunks, directories that share one huge value, or text that inflates without end stop the walk
with a reason, and what was noted until then is kept.
"""

import zlib
from dataclasses import dataclass, field

__all__ = ["Block", "Container", "Damaged", "Notes", "note_trailer"]

MAX_STEPS = 400_000
"""Most chunks, boxes, directory entries or segments of one file that are looked at (0.5 s)."""
_BLOCK_STEPS = 10  # what keeping a block costs beside passing one over
_MAX_KEPT_BLOCKS = 4  # times the largest block: all blocks of one file together


class Damaged(Exception):
    """A walk cannot go on; the message says why and where."""


@dataclass(frozen=True, slots=True)
class Block:
    """One metadata block as it lies in the file.

    Attributes:
        kind: `exif` (from the TIFF header on), `xmp`, `xmp_extended`, `icc`, `iptc`
            (Photoshop resources; in TIFF also the bare IIM stream), `text` (with `key`),
            `comment`, `c2pa`, `mpf`, `flashpix`, `trailer`.
        offset: of the whole block in the file, header included.
        length: of the whole block, header included.
        data: the payload, without the container's header and signature.
        key: keyword of a `text` block.
    """

    kind: str
    offset: int
    length: int
    data: bytes
    key: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """What a walk found.

    Attributes:
        format: lower-case name by content, empty if unknown.
        mime: media type.
        width: as stored, before orientation; 0 where only a decoder can tell.
        height: as stored, before orientation; 0 where only a decoder can tell.
        blocks: in file order.
        damage: why the walk stopped early; empty if it reached the end.
        truncated: whether the file ends before its own structure does.
        endless: whether it has more parts than any honest file, so that no reader should try it.
        expected_bytes: length that the file's structure promises; 0 if it promises none.
        frames: pages or frames; 0 where only a decoder can tell.
        bit_depth: bits per channel; 0 where only a decoder can tell.
        mode: Pillow's name of the stored layout; empty where only a decoder can tell.
        coding: of a JPEG: `baseline`, `extended`, `progressive`, `arithmetic`, `lossless`,
            `hierarchical`; empty otherwise.
        orientation: EXIF orientation that the container itself prescribes (AVIF, HEIC); 0 if
            the format leaves that to EXIF.
        alpha: whether the container declares transparency.
        planes: further pictures inside, by kind, one word each.
        has_content: False for the head of a film or sound whose content lies in other files.
        coded_samples: samples that a JPEG decoder must hold at once; 0 for none.
    """

    format: str
    mime: str
    width: int = 0
    height: int = 0
    blocks: tuple[Block, ...] = ()
    damage: str = ""
    truncated: bool = False
    endless: bool = False
    expected_bytes: int = 0
    frames: int = 0
    bit_depth: int = 0
    mode: str = ""
    coding: str = ""
    orientation: int = 0
    alpha: bool = False
    planes: tuple[str, ...] = ()
    coded_samples: int = 0
    has_content: bool = True


@dataclass(slots=True)
class Notes:
    """What a walk has found so far, and how much more it may do.

    Attributes:
        data: the whole file.
        max_block_bytes: largest block after decompression; a larger one is cut short.
    """

    data: bytes
    max_block_bytes: int
    width: int = 0
    height: int = 0
    blocks: list[Block] = field(default_factory=list)
    truncated: bool = False
    expected_bytes: int = 0
    frames: int = 0
    bit_depth: int = 0
    mode: str = ""
    coding: str = ""
    orientation: int = 0
    alpha: bool = False
    planes: list[str] = field(default_factory=list)
    coded_samples: int = 0
    has_content: bool = True
    format: str = ""
    damage: str = ""
    endless: bool = False
    steps: int = 0
    kept: int = 0

    def step(self, count: int = 1) -> None:
        """Count work done.

        Raises:
            Damaged: if it is more than any honest file needs.
        """
        self.steps += count
        if self.steps > MAX_STEPS:
            self.endless = True
            raise Damaged(f"more than {MAX_STEPS:,} parts; the rest was not looked at")

    def add(self, kind: str, offset: int, length: int, data: bytes, key: str = "") -> None:
        """Note one block; its payload is cut at `max_block_bytes`.

        Raises:
            Damaged: if all blocks together are larger than any honest file needs.
        """
        self.step(_BLOCK_STEPS)
        if len(data) > self.max_block_bytes and data is not self.data:
            data = data[: self.max_block_bytes]
        if data is not self.data:
            self.kept += len(data)
            if self.kept > _MAX_KEPT_BLOCKS * self.max_block_bytes:
                raise Damaged(f"more than {self.kept >> 20} MiB of metadata; the rest was left out")
        self.blocks.append(Block(kind, offset, length, data, key))

    def inflate(self, data: bytes) -> bytes:
        """Decompress up to `max_block_bytes`; what a defective stream holds until its fault."""
        try:
            return zlib.decompressobj().decompress(data, self.max_block_bytes)
        except zlib.error as err:
            self.flaw(f"compressed metadata is defective ({err})")
            return b""

    def flaw(self, reason: str) -> None:
        """Note the first thing that is wrong, where the walk can go on."""
        self.damage = self.damage or reason

    def cut(self, reason: str, expected_bytes: int = 0) -> Damaged:
        """Note that the file ends too early; return the error to raise."""
        self.truncated = True
        self.expected_bytes = max(self.expected_bytes, expected_bytes)
        return Damaged(reason)


def note_trailer(notes: Notes, at: int) -> None:
    """Note bytes behind the end of the picture, unless they are only padding."""
    data = notes.data
    if at < len(data) and data.count(b"\0", at) != len(data) - at:
        notes.add("trailer", at, len(data) - at, data[at : at + 2**16])
