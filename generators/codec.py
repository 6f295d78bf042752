"""The picture codec's file format: small files for pictures like those it was trained on.

    0  4   magic  89 43 50 49
    4  1   version, 2
    5  4   model: first bytes of the SHA-256 of decoder and tables
    9  1   quality, from 0
   10  2   width, little endian
   12  2   height
   14  …   range-coded latents
   -4  4   CRC-32 of all before

Everything that the decoder needs to follow the stream is an integer (`codec_entropy.py`). Floating
point begins after the last symbol, so another machine may differ by a grey level and never loses
the file. What comes out is a model's picture: it may show detail that was not there, and is marked
as made by a model.
"""

import functools
import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError, UserError
from counterproof.generators.codec_entropy import MOST, Tables, decode_latents, encode_latents

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

__all__ = ["Codec", "Header", "open_codec", "read_header"]

MAGIC = b"\x89CPI"
VERSION = 2
HEAD = struct.Struct("<4sB4sBHH")
TAIL = 4
BLOCK = 8  # pixels that one latent covers, a side
MAX_SIDE = 2048
MAX_FILE = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says before its stream."""

    model: bytes
    quality: int
    width: int
    height: int


def read_header(data: bytes, name: str = "file") -> Header:
    """Check a file and read its header; nothing is allocated for its picture.

    Raises:
        ImageError: if it is no such file, damaged, cut off or too large.
    """
    if len(data) > MAX_FILE:
        raise ImageError("too_large", f"{name}: expected at most {MAX_FILE:,} bytes")
    if len(data) < HEAD.size + TAIL or data[:4] != MAGIC:
        raise ImageError("unknown_format", f"{name}: not a file of this codec")
    _, version, model, quality, width, height = HEAD.unpack_from(data)
    if version != VERSION:
        raise ImageError("unsupported", f"{name}: version {version}, expected {VERSION}")
    if zlib.crc32(data[:-TAIL]) != int.from_bytes(data[-TAIL:], "little"):
        raise ImageError("damaged", f"{name}: checksum does not match: cut off or altered")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ImageError(
            "too_many_pixels",
            f"{name}: expected sides of 1 to {MAX_SIDE} pixels, got {width} × {height}",
        )
    return Header(model, quality, width, height)


class Codec:
    """Compress and decompress with one model.

    Attributes:
        model: its 4 bytes in a file's header.
        qualities: number of qualities, the best last.
        trained_on: what the model was trained on, in a sentence.
    """

    def __init__(
        self,
        encoder: "onnxruntime.InferenceSession",
        decoder: "onnxruntime.InferenceSession",
        tables: Tables,
        model: bytes,
        trained_on: str = "",
    ) -> None:
        self.encoder, self.decoder, self.tables, self.model = encoder, decoder, tables, model
        self.trained_on = trained_on
        self.qualities = len(tables.gain)

    def compress(self, pixels: "NDArray[Any]", quality: int) -> bytes:
        """Compress a picture: `uint8` RGB, `(H, W, 3)`, sides up to 2,048 pixels.

        Raises:
            UserError: if quality or size is out of range.
        """
        height, width = pixels.shape[:2]
        if not 0 <= quality < self.qualities:
            raise UserError(f"expected a quality of 0 to {self.qualities - 1}, got {quality}")
        if max(height, width) > MAX_SIDE:
            raise UserError(
                f"expected sides of at most {MAX_SIDE} pixels, got {width} × {height}; the codec "
                "is for small pictures"
            )
        stream = encode_latents(self.latents(pixels, quality), self.tables, quality)
        head = HEAD.pack(MAGIC, VERSION, self.model, quality, width, height)
        return head + stream + zlib.crc32(head + stream).to_bytes(TAIL, "little")

    def decompress(self, data: bytes, name: str = "file") -> "NDArray[Any]":
        """Return the picture, `uint8` RGB, `(H, W, 3)`; a model's picture, not yet marked.

        Raises:
            ImageError: if the file is damaged, hostile, or of another model.
        """
        header = read_header(data, name)
        if header.model != self.model:
            raise ImageError(
                "unsupported",
                f"{name}: made by model {header.model.hex()}, this one is {self.model.hex()}",
            )
        if header.quality >= self.qualities:
            raise ImageError("damaged", f"{name}: no such quality: {header.quality}")
        shape = (-(-header.height // BLOCK), -(-header.width // BLOCK))
        stream = data[HEAD.size : -TAIL]
        latents = decode_latents(stream, self.tables, header.quality, shape, name)
        return self.picture(latents, header.quality)[: header.height, : header.width]

    def latents(self, pixels: "NDArray[Any]", quality: int) -> "NDArray[Any]":
        """Return integer latents `(C, H/8, W/8)`, rounded up to whole blocks."""
        import numpy as np

        height, width = pixels.shape[:2]
        padding = ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0))
        whole = np.pad(pixels, padding, mode="edge")
        given = {
            "image": whole.transpose(2, 0, 1)[None].astype(np.float32) / 255,
            "scale": self.tables.gain[quality][None, :, None, None],
        }
        made = self.encoder.run(None, given)[0][0]
        latents: NDArray[Any] = np.round(made).clip(-MOST, MOST).astype(np.int32)
        return latents

    def picture(self, latents: "NDArray[Any]", quality: int) -> "NDArray[Any]":
        """Return the picture of latents, `uint8` RGB, whole blocks."""
        import numpy as np

        given = {
            "latent": latents[None].astype(np.float32),
            "scale": self.tables.back[quality][None, :, None, None],
        }
        made = self.decoder.run(None, given)[0][0]
        return np.ascontiguousarray(
            (made.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
        )


@functools.cache
def open_codec() -> Codec:
    """Open the codec that ships with the project.

    Raises:
        WeightsError: if it is missing or altered.
    """
    from counterproof import weights

    decoder = weights.open("generators/codec")
    encoder = weights.open("generators/codec-encoder")
    session = decoder.session  # checks every file of the card
    path = decoder.path.with_name("codec.npz")
    data = path.read_bytes()
    model = hashlib.sha256(decoder.path.read_bytes() + data).digest()[:4]
    statement = decoder.card.data_statement()
    return Codec(encoder.session, session, Tables.from_bytes(data), model, statement)
