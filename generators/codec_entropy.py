"""The codec's entropy stage: latents to a stream and back, by integers only.

A latent is predicted from its neighbours. How far off that may be is foretold by a weighted sum of
magnitudes: of six neighbours in its channel, and of the same place and the eight around it in
every channel before. The sum picks one of 40 tables of counts, from which the difference is
range-coded. No floating point takes part, so that another machine never loses a stream.

Source: after arXiv 1611.01704 and 1809.02736 (what is known foretells spread), in integers of our
own; range coder of the library constriction.
"""

import functools
import io
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterproof.errors import ImageError, MissingExtra, WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Tables",
    "around",
    "decode_latents",
    "encode_latents",
    "energy",
    "neighbours",
    "predicted",
]

MOST = 120  # latents are -120 to 120
ESCAPE = 15  # differences up to it have symbols of their own
SYMBOLS = 2 * ESCAPE + 2  # the last one says that the difference follows
TABLES = 40
PRECISION = 16  # bits of a table
NEAR = 6  # neighbours in a latent's own channel; the prediction uses the first four
FINE = 1024  # one unit of magnitude in an energy


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Integers of the entropy stage, and the gains; Q qualities, C channels.

    Attributes:
        predictor: of left, above, above left and above right, in 1/256, `(Q, C, 4)`.
        weights: of an energy, in 1/1024: a constant, six neighbours, then of each channel but the
            last the same place, then of each the eight around it; `(Q, C, 7 + 2 (C - 1))`.
        limits: energies where the next table begins, `(39,)`.
        frequencies: adding up to 2^16, `(Q, 40, 32)`.
        gain: of the encoder, float32, `(Q, C)`.
        back: of the decoder, float32, `(Q, C)`.
    """

    predictor: "NDArray[Any]"
    weights: "NDArray[Any]"
    limits: "NDArray[Any]"
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
            weights=self.weights.astype(np.int16),
            limits=self.limits.astype(np.int32),
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
        count, channels = made.gain.shape
        shapes = (
            (made.predictor, (count, channels, 4)),
            (made.weights, (count, channels, 1 + NEAR + 2 * (channels - 1))),
            (made.limits, (TABLES - 1,)),
            (made.frequencies, (count, TABLES, SYMBOLS)),
        )
        if any(value.shape != shape for value, shape in shapes):
            raise WeightsError("codec tables: not of the shapes that this version reads")
        if not (made.frequencies.astype(np.int64).sum(-1) == 1 << PRECISION).all():
            raise WeightsError("codec tables: frequencies do not add up")
        return made


def encode_latents(latents: "NDArray[Any]", tables: Tables, quality: int) -> bytes:
    """Range-code latents `(C, H, W)`, channel by channel, row by row."""
    import numpy as np

    coder = constriction().stream.queue.RangeEncoder()
    differences = latents - predicted(latents[None], tables.predictor[quality])[0]
    total = energy(latents[None], tables.weights[quality])[0]
    numbers = np.searchsorted(tables.limits.astype(np.int64), total)
    for difference, number in zip(
        differences.ravel().tolist(), numbers.ravel().tolist(), strict=True
    ):
        model = _model(tables, quality, number)
        if abs(difference) <= ESCAPE:
            coder.encode(difference + ESCAPE, model)
            continue
        coder.encode(SYMBOLS - 1, model)
        beyond = abs(difference) - ESCAPE
        bits = beyond.bit_length()
        coder.encode(int(difference < 0), _uniform(2))
        coder.encode(bits - 1, _uniform(8))
        if bits > 1:
            coder.encode(beyond - (1 << bits - 1), _uniform(1 << bits - 1))
    stream: bytes = coder.get_compressed().astype("<u4").tobytes()
    return stream.rstrip(b"\0")


def decode_latents(
    stream: bytes, tables: Tables, quality: int, shape: tuple[int, int], name: str = "file"
) -> "NDArray[Any]":
    """Undo `encode_latents`.

    Args:
        stream: what it returned.
        tables: the same as there.
        quality: the same as there.
        shape: rows and columns of the latents.
        name: of the file, for messages.

    Raises:
        ImageError: if the stream is not one.
    """
    import numpy as np

    words = np.frombuffer(stream + b"\0" * (-len(stream) % 4), "<u4").astype(np.uint32)
    coder = constriction().stream.queue.RangeDecoder(words)
    (rows, columns), channels = shape, tables.gain.shape[1]
    models = [_model(tables, quality, number) for number in range(TABLES)]
    limits = tables.limits.tolist()
    made = np.zeros((channels, rows, columns), np.int32)
    for channel in range(channels):
        weights = tables.weights[quality, channel]
        start = _from_before(np.abs(made[None, :channel]), weights[None], channels)[0, 0].tolist()
        guessed = tables.predictor[quality, channel].tolist()
        near_weights = weights[1 : 1 + NEAR].tolist()
        # a border of zeros stands for neighbours outside: two above, two left, one right
        held = [[0] * (columns + 3) for _ in range(rows + 2)]
        for i in range(rows):
            row, above, higher = held[i + 2], held[i + 1], held[i]
            for j in range(columns):
                near = (row[j + 1], above[j + 2], above[j + 1], above[j + 3], row[j], higher[j + 2])
                guess = sum(w * v for w, v in zip(guessed, near[:4], strict=True)) + 128 >> 8
                total = start[i][j] + sum(
                    w * abs(v) for w, v in zip(near_weights, near, strict=True)
                )
                difference = _decode(coder, models[bisect_left(limits, total)], name)
                value = difference + min(max(guess, -MOST), MOST)
                if not -MOST <= value <= MOST:
                    raise ImageError("damaged", f"{name}: a value is out of range")
                row[j + 2] = value
        made[channel] = [row[2:-1] for row in held[2:]]
    return made


def _decode(coder: Any, model: Any, name: str) -> int:
    try:
        symbol = int(coder.decode(model))
        if symbol < SYMBOLS - 1:
            return symbol - ESCAPE
        negative = int(coder.decode(_uniform(2)))
        bits = int(coder.decode(_uniform(8))) + 1
        rest = int(coder.decode(_uniform(1 << bits - 1))) if bits > 1 else 0
    except (AssertionError, ValueError, RuntimeError) as err:
        raise ImageError("damaged", f"{name}: not a valid stream") from err
    beyond = ESCAPE + (1 << bits - 1) + rest
    return -beyond if negative else beyond


def neighbours(latents: "NDArray[Any]") -> "tuple[NDArray[Any], ...]":
    """Return what comes before each latent of `(N, C, H, W)`, zero outside.

    Left, above, above left, above right, two to the left, two above.
    """
    import numpy as np

    height, width = latents.shape[2:]
    padded = np.pad(latents, ((0, 0), (0, 0), (2, 0), (2, 1)))
    places = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
    return tuple(
        padded[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
        for down, right in places
    )


def around(sizes: "NDArray[Any]") -> "NDArray[Any]":
    """Add up the eight values around each of `(N, C, H, W)`, zero outside."""
    import numpy as np

    height, width = sizes.shape[2:]
    padded = np.pad(sizes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = -sizes.astype(np.int64)
    for down in range(3):
        for right in range(3):
            total += padded[:, :, down : down + height, right : right + width]
    return total


def predicted(latents: "NDArray[Any]", predictor: "NDArray[Any]") -> "NDArray[Any]":
    """Predict each latent of `(N, C, H, W)` from four neighbours; `predictor` is `(C, 4)`."""
    weights = predictor.astype("int64")[None, :, :, None, None]  # [1, C, 4, 1, 1]
    total = sum(weights[:, :, k] * near for k, near in enumerate(neighbours(latents)[:4]))
    made: NDArray[Any] = (total + 128 >> 8).clip(-MOST, MOST)
    return made


def energy(latents: "NDArray[Any]", weights: "NDArray[Any]") -> "NDArray[Any]":
    """Return how far off each prediction of `(N, C, H, W)` may be, in 1/1024, by `(C, W)`."""
    import numpy as np

    sizes = np.abs(latents)
    total = _from_before(sizes, weights, len(weights))
    for k, near in enumerate(neighbours(sizes)):
        total = total + weights.astype(np.int64)[None, :, 1 + k, None, None] * near
    return total


def _from_before(sizes: "NDArray[Any]", weights: "NDArray[Any]", channels: int) -> "NDArray[Any]":
    """Return the part of an energy that the channels before give, `(N, rows of weights, H, W)`.

    Args:
        sizes: magnitudes of the channels known, `(N, K, H, W)`.
        weights: of the channels to foretell, `(M, W)`; those of channels not before are zero.
        channels: of the latents in all.
    """
    import numpy as np

    weights, known = weights.astype(np.int64), min(sizes.shape[1], channels - 1)
    place = 1 + NEAR
    total = np.broadcast_to(
        weights[None, :, 0, None, None], (len(sizes), len(weights), *sizes.shape[2:])
    )
    if not known:
        return total
    used = sizes[:, :known].astype(np.int64)
    same = np.einsum("ck,nkhw->nchw", weights[:, place : place + known], used)
    near = weights[:, place + channels - 1 : place + channels - 1 + known]
    made: NDArray[Any] = total + same + np.einsum("ck,nkhw->nchw", near, around(used))
    return made


@functools.cache
def _uniform(size: int) -> Any:
    return constriction().stream.model.Uniform(size)


def _model(tables: Tables, quality: int, number: int) -> Any:
    """Return the entropy model of a table; its counts are exact in binary fractions."""
    return _categorical(tables.frequencies[quality, number].astype("<u2").tobytes())


@functools.lru_cache(maxsize=512)
def _categorical(counts: bytes) -> Any:
    import numpy as np

    chances = np.frombuffer(counts, "<u2").astype(np.float64) / (1 << PRECISION)
    return constriction().stream.model.Categorical(chances, perfect=False)


def constriction() -> Any:
    """Import the range coder.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        import constriction as found
    except ImportError as err:
        raise MissingExtra("the codec", "codec") from err
    return found
