"""The codec's files: exact latents, hostile bytes refused, checks before memory is taken."""

import base64
import hashlib
import struct
import zlib

import numpy as np
import pytest

from counterproof.errors import ImageError, UserError
from counterproof.generators import codec
from counterproof.generators import codec_entropy as entropy
from counterproof.generators.codec_entropy import Tables

pytest.importorskip("constriction", reason="the codec needs the extra 'codec'")


def _tables(qualities: int = 2, channels: int = 3) -> Tables:
    rng = np.random.default_rng(1)
    counts = np.ones((qualities, entropy.TABLES, entropy.SYMBOLS), np.int64)
    counts[..., entropy.ESCAPE - 8 : entropy.ESCAPE + 9] += 2000
    counts[..., entropy.ESCAPE] += (1 << entropy.PRECISION) - counts.sum(-1)
    limits = np.sort(rng.integers(4, 90_000, entropy.TABLES - 1))
    gain = np.ones((qualities, channels), np.float32)
    predictor = rng.integers(-90, 120, (qualities, channels, 4))
    weights = rng.integers(0, 500, (qualities, channels, 1 + entropy.NEAR + 2 * (channels - 1)))
    for channel in range(channels):  # what comes later foretells nothing
        weights[:, channel, 1 + entropy.NEAR + channel : entropy.NEAR + channels] = 0
        weights[:, channel, entropy.NEAR + channels + channel :] = 0
    return Tables(predictor, weights, limits, counts, gain, gain)


@pytest.fixture(scope="module")
def small() -> codec.Codec:
    """A codec without networks: what is tested here are its files."""
    return codec.Codec(None, None, Tables.from_bytes(_tables().to_bytes()), b"abcd")


def _file(stream: bytes, quality: int = 0, size: tuple[int, int] = (40, 24)) -> bytes:
    head = codec.HEAD.pack(codec.MAGIC, codec.VERSION, b"abcd", quality, *size)
    return head + stream + struct.pack("<I", zlib.crc32(head + stream))


def test_latents_come_back_exactly(small: codec.Codec) -> None:
    rng = np.random.default_rng(2)
    for number in range(6):
        latents = np.round(rng.laplace(0, 4 + 20 * number, (3, 3, 5))).clip(-120, 120)
        latents = latents.astype(np.int32)
        stream = entropy.encode_latents(latents, small.tables, number % 2)
        read = entropy.decode_latents(stream, small.tables, number % 2, (3, 5))
        assert np.array_equal(read, latents)


def test_a_changed_byte_is_noticed(small: codec.Codec) -> None:
    data = _file(b"some bytes")
    assert codec.read_header(data) == codec.Header(b"abcd", 0, 40, 24)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x20
        with pytest.raises(ImageError):
            codec.read_header(bytes(broken))
    for length in range(len(data)):
        with pytest.raises(ImageError):
            codec.read_header(data[:length])


def test_sizes_are_checked_before_memory_is_taken() -> None:
    for size in ((0, 8), (8, 0), (65_535, 65_535), (codec.MAX_SIDE + 1, 8)):
        with pytest.raises(ImageError, match="expected sides"):
            codec.read_header(_file(b"", size=size))
    with pytest.raises(ImageError, match="at most"):
        codec.read_header(_file(b"\0" * codec.MAX_FILE))


def test_hostile_streams_end_in_latents_or_an_error(small: codec.Codec) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        stream = rng.integers(0, 256, rng.integers(0, 60)).astype(np.uint8).tobytes()
        try:
            made = entropy.decode_latents(stream, small.tables, 1, (2, 3))
        except ImageError:
            continue
        assert np.abs(made).max() <= entropy.MOST


def test_files_of_another_model_or_quality_are_refused(small: codec.Codec) -> None:
    with pytest.raises(ImageError, match="made by model"):
        small.decompress(_other_model())
    with pytest.raises(ImageError, match="no such quality"):
        small.decompress(_file(b"", quality=9))
    with pytest.raises(UserError, match="quality"):
        small.compress(np.zeros((8, 8, 3), np.uint8), 7)


def _other_model() -> bytes:
    head = codec.HEAD.pack(codec.MAGIC, codec.VERSION, b"abce", 0, 8, 8)
    return head + struct.pack("<I", zlib.crc32(head))


def test_the_shipped_codec_brings_a_picture_back() -> None:
    y, x = np.mgrid[0:50, 0:70]
    picture = np.stack([2 * x + 60, 3 * y + 40, x + y + 30], -1).astype(np.uint8)
    shipped = codec.open_codec()
    sizes, errors = [], []
    for quality in range(shipped.qualities):
        data = shipped.compress(picture, quality)
        back = shipped.decompress(data)
        assert back.shape == picture.shape
        latents = shipped.latents(picture, quality)
        stream = data[codec.HEAD.size : -codec.TAIL]
        read = entropy.decode_latents(stream, shipped.tables, quality, (7, 9))
        assert np.array_equal(read, latents)
        sizes.append(len(data))
        errors.append(np.abs(back.astype(int) - picture).mean())
    assert sizes == sorted(sizes)
    assert errors[-1] < errors[0] < 20


# A file of 50 × 70 pixels at quality 1, and the SHA-256 of its latents, from another environment.
GOLDEN = "iUNQSQLzoACdAUYAMgB83sV/2/ZDdPJKfvuahNIEUWjoLWwtOZix64Txknf6S/yuZ659tW5wumX+Km50s3NPX4S7"
GOLDEN_LATENTS = "7dd04b7a264de369e6b246aff4137cc2092f6405ba0ac8146ea77766120c9689"


def test_a_file_from_another_machine_decodes_to_the_same_latents() -> None:
    shipped, data = codec.open_codec(), base64.b64decode(GOLDEN)
    stream = data[codec.HEAD.size : -codec.TAIL]
    latents = entropy.decode_latents(stream, shipped.tables, 1, (7, 9))
    assert hashlib.sha256(latents.astype("<i4").tobytes()).hexdigest() == GOLDEN_LATENTS
    assert entropy.encode_latents(latents, shipped.tables, 1) == stream


def test_threads_change_neither_latents_nor_more_than_a_grey_level() -> None:
    import onnxruntime

    from counterproof import weights

    shipped, data = codec.open_codec(), base64.b64decode(GOLDEN)
    path, made = weights.open("generators/codec").path, []
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options)
        again = codec.Codec(shipped.encoder, session, shipped.tables, shipped.model)
        made.append(again.decompress(data).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1
