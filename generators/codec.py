"""The picture codec's file format: small files for pictures like those it was trained on.

    0  4   magic  89 43 50 49
    4  1   version, 1
    5  4   model: first bytes of the SHA-256 of decoder and tables
    9  1   quality, from 0
   10  2   width, little endian
   12  2   height
   14  …   range-coded latents
   -4  4   CRC-32 of all before

Everything that the decoder needs to follow the stream is an integer: latents, the predictor,
contexts, frequency tables. Floating point begins after the last symbol, so another machine may
differ by a grey level and never loses the file. What comes out is a model's picture: it may show
detail that was not there, and is marked as made by a model.

Source: adaptive context coding after 1611.01704; range coder of the library constriction.
"""

import functools
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError, MissingExtra, UserError, WeightsError

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

__all__ = ["Codec", "Header", "Tables", "open_codec", "read_header"]

MAGIC = b"\x89CPI"
VERSION = 1
HEAD = struct.Struct("<4sB4sBHH")
TAIL = 4
MOST = 120  # latents are -120 to 120
SYMBOLS = 4 * MOST + 3  # differences from the prediction, -241 to 241
SHIFT = 2 * MOST + 1
CONTEXTS = 8
PRECISION = 16  # bits of a frequency table
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


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Integers of the entropy stage, and the gains; Q qualities, C channels.

    Attributes:
        predictor: of the neighbours left, above, above left, above right, in 1/256; `(Q, C, 4)`.
        thresholds: between contexts, `(Q, C, 7)`.
        frequencies: adding up to 2^16, `(Q, C, 8, 483)`.
        gain: of the encoder, float32, `(Q, C)`.
        back: of the decoder, float32, `(Q, C)`.
    """

    predictor: "NDArray[Any]"
    thresholds: "NDArray[Any]"
    frequencies: "NDArray[Any]"
    gain: "NDArray[Any]"
    back: "NDArray[Any]"

    def to_bytes(self) -> bytes:
        """Return a compressed `.npz`."""
        import numpy as np

        out = io.BytesIO()
        np.savez_compressed(
            out,
            predictor=self.predictor.astype(np.int16),
            thresholds=self.thresholds.astype(np.int32),
            frequencies=self.frequencies.astype(np.uint16),
            gain=self.gain.astype(np.float32),
            back=self.back.astype(np.float32),
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Tables":
        """Read what `to_bytes` wrote; nothing is unpickled.

        Raises:
            WeightsError: if it is defective.
        """
        import numpy as np

        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                made = cls(**{name: held[name] for name in cls.__slots__})
        except (OSError, ValueError, KeyError) as err:
            raise WeightsError(f"codec tables: cannot be read: {err}") from err
        sums = made.frequencies.astype(np.int64).sum(-1)
        if made.frequencies.shape[-1] != SYMBOLS or not (sums == 1 << PRECISION).all():
            raise WeightsError("codec tables: frequencies do not add up")
        return made


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
        self._models: dict[tuple[int, int, int], Any] = {}

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
        stream = self.encode_latents(self.latents(pixels, quality), quality)
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
        latents = self.decode_latents(data[HEAD.size : -TAIL], header.quality, shape, name)
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

    def encode_latents(self, latents: "NDArray[Any]", quality: int) -> bytes:
        """Range-code latents, channel by channel, row by row."""
        constriction = _constriction()
        coder = constriction.stream.queue.RangeEncoder()
        differences = latents - predicted(latents[None], self.tables.predictor[quality])[0]
        contexts, _ = context(latents[None], self.tables.thresholds[quality])
        for channel in range(len(latents)):
            rows = zip(differences[channel].ravel(), contexts[0, channel].ravel(), strict=True)
            for difference, number in rows:
                model = self._model(quality, channel, int(number))
                coder.encode(int(difference) + SHIFT, model)
        stream: bytes = coder.get_compressed().astype("<u4").tobytes()
        return stream.rstrip(b"\0")

    def decode_latents(
        self, stream: bytes, quality: int, shape: tuple[int, int], name: str = "file"
    ) -> "NDArray[Any]":
        """Undo `encode_latents`; integers only.

        Raises:
            ImageError: if the stream is not one.
        """
        import numpy as np

        constriction = _constriction()
        words = np.frombuffer(stream + b"\0" * (-len(stream) % 4), "<u4").astype(np.uint32)
        coder = constriction.stream.queue.RangeDecoder(words)
        rows, columns = shape
        channels = self.tables.gain.shape[1]
        # a border of zeros above, left and right stands for neighbours outside
        held = [[[0] * (columns + 2) for _ in range(rows + 1)] for _ in range(channels + 2)]
        for channel in range(channels):
            here, before, earlier = held[channel + 2], held[channel + 1], held[channel]
            weights = [int(value) for value in self.tables.predictor[quality, channel]]
            limits = [int(value) for value in self.tables.thresholds[quality, channel]]
            models = [self._model(quality, channel, number) for number in range(CONTEXTS)]
            for i in range(1, rows + 1):
                row, above = here[i], here[i - 1]
                for j in range(1, columns + 1):
                    near = (row[j - 1], above[j], above[j - 1], above[j + 1])
                    guess = sum(w * v for w, v in zip(weights, near, strict=True)) + 128 >> 8
                    energy = 4 * abs(near[0]) + 4 * abs(near[1]) + 2 * abs(near[2])
                    energy += 2 * abs(near[3]) + 3 * abs(before[i][j]) + 2 * abs(earlier[i][j])
                    number = sum(energy > limit for limit in limits)
                    try:
                        symbol = int(coder.decode(models[number]))
                    except (AssertionError, ValueError, RuntimeError) as err:
                        raise ImageError("damaged", f"{name}: not a valid stream") from err
                    value = symbol - SHIFT + min(max(guess, -MOST), MOST)
                    if not -MOST <= value <= MOST:
                        raise ImageError("damaged", f"{name}: a value is out of range")
                    row[j] = value
        return np.array(held, np.int32)[2:, 1:, 1:-1]

    def _model(self, quality: int, channel: int, number: int) -> Any:
        """Return the entropy model of a table; its counts are exact in binary fractions."""
        import numpy as np

        key = (quality, channel, number)
        if key not in self._models:
            counts = self.tables.frequencies[key].astype(np.float64) / (1 << PRECISION)
            constriction = _constriction()
            self._models[key] = constriction.stream.model.Categorical(counts, perfect=False)
        return self._models[key]


def neighbours(latents: "NDArray[Any]") -> "tuple[NDArray[Any], ...]":
    """Return left, above, above left, above right of `(N, C, H, W)`, zero outside."""
    import numpy as np

    padded = np.pad(latents, ((0, 0), (0, 0), (1, 0), (1, 1)))
    above = padded[:, :, :-1]
    return padded[:, :, 1:, :-2], above[..., 1:-1], above[..., :-2], above[..., 2:]


def predicted(latents: "NDArray[Any]", predictor: "NDArray[Any]") -> "NDArray[Any]":
    """Predict each latent of `(N, C, H, W)` from its neighbours; integers only."""
    weights = predictor.astype("int64")[None, :, :, None, None]  # [1, C, 4, 1, 1]
    total = sum(weights[:, :, k] * near for k, near in enumerate(neighbours(latents)))
    made: NDArray[Any] = (total + 128 >> 8).clip(-MOST, MOST)
    return made


def context(
    latents: "NDArray[Any]", thresholds: "NDArray[Any]"
) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Return the context of each latent, 0 to 7, and the energy it is chosen by; integers."""
    import numpy as np

    left, above, corner, other = (np.abs(near) for near in neighbours(latents))
    size = np.abs(latents)
    before, earlier = np.zeros_like(size), np.zeros_like(size)
    before[:, 1:], earlier[:, 2:] = size[:, :-1], size[:, :-2]
    energy = 4 * left + 4 * above + 2 * corner + 2 * other + 3 * before + 2 * earlier
    limits = thresholds[None, :, :, None, None]  # [1, C, 7, 1, 1]
    return (energy[:, :, None] > limits).sum(2), energy


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as err:
        raise MissingExtra("the codec", "codec") from err
    return constriction


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
