"""What a watermark says and how it is protected: keys, payload, tag, code, chip layout.

A message is `payload ‖ tag`, scrambled, then coded by a tail-biting convolutional code of
rate 1/6. The tag is what makes a reading evidence: bits that some picture happens to give are
accepted with probability 2**-tag_bits a try, whatever the picture. `docs/watermark.md` states
all of this for other implementations, with test vectors.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

__all__ = [
    "FULL",
    "PUBLIC_KEY",
    "SMALL",
    "Layout",
    "MarkClass",
    "Payload",
    "Profile",
    "code_word",
    "derive",
    "layout",
    "open_message",
    "profile_named",
    "seal_message",
    "viterbi",
]

PUBLIC_KEY = b"counterproof public profile"
"""Master key of the public profile: anyone can read, remove and forge what it marks."""

GENERATORS = (0o46321, 0o51271, 0o70535, 0o63667, 0o73277, 0o76513)
MEMORY = 14
"""Constraint length 15. Every generator has its first and last tap set, which `viterbi` uses.

Source: chosen in the study of 2026 (K = 15 reads 3 of 4 messages at Eb/N0 = 0 dB, K = 9 loses
0.7 dB); the six polynomials are the study's own search.
"""


class MarkClass(StrEnum):
    """What the maker says the picture is; two bits of every payload, in this order."""

    GENERATED = "generated"
    MODEL_EDITED = "model-edited"
    MODEL_COMPOSITE = "model-composite"
    CAPTURED = "captured"


@dataclass(frozen=True, slots=True)
class Profile:
    """The numbers of one kind of mark.

    Attributes:
        name: as `embed` takes it.
        algorithm: id under which C2PA soft bindings name it.
        chips: chips along the picture's long edge.
        cell: side in chips of the squares in which code bits are spread evenly.
        payload_bytes: length of the payload: 2 bits of class, the rest id.
        tag_bits: length of the tag.
    """

    name: str
    algorithm: str
    chips: int
    cell: int
    payload_bytes: int
    tag_bits: int

    @property
    def message_bits(self) -> int:
        """Payload and tag."""
        return 8 * self.payload_bytes + self.tag_bits

    @property
    def code_bits(self) -> int:
        """Message bits times six."""
        return self.message_bits * len(GENERATORS)


FULL = Profile("full", "counterproof.chip384.1", 384, 32, 7, 48)
SMALL = Profile("small", "counterproof.chip64.1", 64, 32, 2, 24)


def profile_named(name: str) -> Profile:
    """Return the profile of a name.

    Raises:
        ValueError: if there is none.
    """
    for profile in (FULL, SMALL):
        if profile.name == name:
            return profile
    raise ValueError(f"expected a profile 'full' or 'small', got {name!r}")


@dataclass(frozen=True, slots=True)
class Payload:
    """What a mark carries.

    Attributes:
        mark_class: what the maker says the picture is.
        id: 54 random bits in the full profile, 14 in the small one.
        profile: name of the profile, `full` or `small`.

    Raises:
        ValueError: if the id does not fit.
    """

    mark_class: MarkClass
    id: int
    profile: str = "full"

    def __post_init__(self) -> None:
        if not 0 <= self.id < 1 << self.id_bits:
            raise ValueError(f"expected an id of {self.id_bits} bits, got {self.id}")

    @property
    def id_bits(self) -> int:
        """54 or 14."""
        return 8 * _PROFILES[self.profile].payload_bytes - 2

    @property
    def algorithm(self) -> str:
        """Id of the algorithm for a C2PA soft binding; its value is `to_bytes()`."""
        return _PROFILES[self.profile].algorithm

    def to_bytes(self) -> bytes:
        """Return class and id, most significant bit first: 7 bytes, or 2 in the small profile."""
        number = list(MarkClass).index(self.mark_class) << self.id_bits | self.id
        return number.to_bytes(_PROFILES[self.profile].payload_bytes, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if it is not 7 or 2 bytes long.
        """
        named = {p.payload_bytes: p.name for p in _PROFILES.values()}.get(len(data))
        if named is None:
            raise ValueError(f"expected a payload of 7 or 2 bytes, got {len(data)}")
        bits = 8 * len(data) - 2
        number = int.from_bytes(data, "big")
        return cls(list(MarkClass)[number >> bits], number & ((1 << bits) - 1), named)


_PROFILES = {profile.name: profile for profile in (FULL, SMALL)}


# -- keys -------------------------------------------------------------------------------------


@lru_cache(maxsize=2048)
def derive(key: bytes, profile: Profile, purpose: str) -> bytes:
    """Return 32 bytes of HKDF-SHA256: one key for one purpose of one profile (RFC 5869)."""
    salt, info = profile.algorithm.encode(), purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def _stream(key: bytes, profile: Profile, purpose: str, count: int) -> bytes:
    """Return `count` bytes of SHAKE-256 over the derived key."""
    return hashlib.shake_256(derive(key, profile, purpose)).digest(count)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which code bit each chip of the plane carries, and with which sign.

    Attributes:
        bit: shape `(chips, chips)`.
        sign: shape `(chips, chips)`, +1 or -1.
    """

    bit: NDArray[np.uint16]
    sign: NDArray[np.int8]


@lru_cache(maxsize=256)
def layout(key: bytes, profile: Profile) -> Layout:
    """Lay the code bits out: every cell carries every bit about equally often.

    Cell c (in rows of cells) holds the bits (c·cell² + r) mod code_bits, r = 0 … cell²-1, in an
    order given by the ranks of keyed 32-bit words; so any crop keeps all bits, and without the
    key neither order nor sign is known.
    """
    n, cell = profile.chips, profile.cell
    cells, area = (n // cell) ** 2, cell * cell
    words = np.frombuffer(_stream(key, profile, "order", 4 * n * n), ">u4").reshape(cells, area)
    rank = np.argsort(np.argsort(words, axis=1, kind="stable"), axis=1, kind="stable")
    bit = (np.arange(cells)[:, None] * area + rank) % profile.code_bits
    per_row = n // cell
    grid = bit.reshape(per_row, per_row, cell, cell).transpose(0, 2, 1, 3).reshape(n, n)
    raw = np.frombuffer(_stream(key, profile, "signs", n * n // 8), np.uint8)
    sign = 1 - 2 * np.unpackbits(raw).astype(np.int8).reshape(n, n)
    return Layout(np.ascontiguousarray(grid, np.uint16), sign)


# -- message ----------------------------------------------------------------------------------


def _tag(payload: bytes, key: bytes, profile: Profile) -> bytes:
    mac = hmac.digest(derive(key, profile, "tag"), payload, "sha256")
    return mac[: profile.tag_bits // 8]


def seal_message(payload: bytes, key: bytes, profile: Profile) -> NDArray[np.uint8]:
    """Return the message's bits: payload and tag, scrambled."""
    plain = payload + _tag(payload, key, profile)
    scramble = _stream(key, profile, "scramble", len(plain))
    return np.unpackbits(np.frombuffer(plain, np.uint8) ^ np.frombuffer(scramble, np.uint8))


def open_message(bits: NDArray[np.uint8], key: bytes, profile: Profile) -> bytes | None:
    """Return the payload if its tag is right, else None; chance passes 1 in 2**tag_bits."""
    data = np.packbits(bits)
    scramble = _stream(key, profile, "scramble", len(data))
    plain = bytes(data ^ np.frombuffer(scramble, np.uint8))
    payload, tag = plain[: profile.payload_bytes], plain[profile.payload_bytes :]
    return payload if hmac.compare_digest(tag, _tag(payload, key, profile)) else None


# -- convolutional code -----------------------------------------------------------------------


def code_word(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Code a message: +1 for a code bit 0, -1 for 1; six per message bit, bit by bit.

    The register holds the present bit and the 14 before it, the present one most significant.
    It starts with the message's own last 14 bits (tail-biting), so no bits are spent on a tail.
    """
    n = len(bits)
    when = (np.arange(n)[:, None] - np.arange(MEMORY + 1)) % n
    taps = np.array([[g >> (MEMORY - d) & 1 for d in range(MEMORY + 1)] for g in GENERATORS])
    parity = bits[when].astype(np.int64) @ taps.T & 1
    return np.asarray(1 - 2 * parity.reshape(-1), np.float32)


@cache
def _trellis() -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return, for state pairs (2k, 2k+1) and input 0, the branch word; and the 64 sign patterns."""
    half = 1 << (MEMORY - 1)
    state = 2 * np.arange(half)
    word = np.zeros(half, np.intp)
    for index, generator in enumerate(GENERATORS):
        taps = state & generator
        for shift in (8, 4, 2, 1):
            taps = taps ^ (taps >> shift)
        word |= (taps & 1) << index
    patterns = 1 - 2 * (np.arange(64)[:, None] >> np.arange(6) & 1)
    return word, patterns.astype(np.float32)


def viterbi(soft: NDArray[np.float32], message_bits: int, wrap: int = 36) -> NDArray[np.uint8]:
    """Find the most likely message of a tail-biting code word.

    Runs once around the message from all states alike and `wrap` steps further on either side,
    so that survivors have merged where the bits are taken; near maximum likelihood at a
    seventh of its cost. About 6 ms for 104 bits.

    Args:
        soft: one value per code bit, positive for code bit 0; any scale.
        message_bits: length of the message.
        wrap: steps run before and after the message proper.

    Source: circular Viterbi decoding of tail-biting codes, Cox and Sundberg 1994.
    """
    word, patterns = _trellis()
    half = len(word)
    steps = np.arange(-wrap, message_bits + wrap) % message_bits
    gain = (soft.reshape(message_bits, 6) @ patterns.T).astype(np.float32)
    metric = np.zeros(2 * half, np.float32)
    choice = np.empty((len(steps), 2 * half), np.bool_)
    # With first and last tap set, flipping the input or the oldest bit flips all six code bits,
    # so one branch metric x serves the four branches between a pair of states and its successors.
    for t, step in enumerate(steps):
        x = gain[step].take(word)
        even, odd = metric[0::2], metric[1::2]
        stay, cross = even + x, odd - x
        metric = np.empty(2 * half, np.float32)
        np.greater(cross, stay, out=choice[t, :half])
        np.maximum(stay, cross, out=metric[:half])
        np.subtract(even, x, out=stay)
        np.add(odd, x, out=cross)
        np.greater(cross, stay, out=choice[t, half:])
        np.maximum(stay, cross, out=metric[half:])
    state = int(metric.argmax())
    bits = np.empty(len(steps), np.uint8)
    for t in range(len(steps) - 1, -1, -1):
        bits[t] = state >> (MEMORY - 1)
        state = 2 * (state & (half - 1)) + int(choice[t, state])
    return bits[wrap : wrap + message_bits]
