"""Tie a mark's id to the content of its picture, so that a copied mark is noticed.

A right tag proves only that the key's holder once drew this signal, not that this is the
picture it was drawn into. So a *content hash* is computed when a picture is marked, and kept
with the id in its signed manifest or in a store; whoever reads the mark compares. Reading gives
the exact place of the plane, so the hash is compared cell by cell also in crops, over the cells
that are still to be seen.

The hash: the plane is cut into 32 × 32 cells of 12 chips; for each cell two bits say whether its
mean luma exceeds the mean of its left and right, and of its upper and lower neighbour.

A `Binding` joins payload, content hash and signer under a MAC of the private key, so it can be
kept anywhere; under the public key the MAC protects nothing.
"""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from counterproof.provenance import watermark_plane
from counterproof.provenance.watermark_code import FULL, PUBLIC_KEY, Payload, derive
from counterproof.provenance.watermark_plane import Floats, Geometry, Gray

__all__ = ["ALGORITHM", "Binding", "Content", "compare", "content_hash", "judge"]

ALGORITHM = "counterproof.layout32.1"
"""Id of the content hash as a C2PA soft binding of type fingerprint."""

CELLS = 32
CHIPS = FULL.chips // CELLS
LENGTH = 2 + CELLS * CELLS * 2 // 8


class Content(StrEnum):
    """Whether a picture is the one that a mark was bound to."""

    MATCH = "match"
    TRANSPLANTED = "transplanted"
    UNCHECKED = "unchecked"


def content_hash(pixels: NDArray[np.uint8]) -> bytes:
    """Hash an RGB picture's content, marked or not: 258 bytes.

    Two bytes say how many rows and columns of cells the picture fills, centred on the plane;
    then, row by row, the 1,024 horizontal bits and the 1,024 vertical ones, 0 where unknown.
    """
    gray = watermark_plane.shrink(watermark_plane.luma(pixels), 768)
    means, seen = _cells(gray, watermark_plane.upright(gray.shape, FULL))
    bits = np.stack([difference > 0 for difference, _ in _differences(means, seen)])
    rows, columns = int(seen.any(1).sum()), int(seen.any(0).sum())
    return bytes([rows, columns]) + np.packbits(bits).tobytes()


def compare(
    expected: bytes, gray: Gray, geometry: Geometry, *, inverted: bool = False
) -> tuple[float, float]:
    """Compare a picture with a content hash where the two overlap.

    A difference counts by its size, up to 8 grey levels, since small ones change their sign
    with any compression.

    Returns:
        Share that agrees, 0 to 1, about one half for another picture; and how many bits of
        full weight it rests on.

    Raises:
        ValueError: if the hash is not of this kind.
    """
    if len(expected) != LENGTH or not (expected[0] <= CELLS and expected[1] <= CELLS):
        raise ValueError(f"expected a content hash of {LENGTH} bytes, got {len(expected)}")
    known = np.unpackbits(np.frombuffer(expected, np.uint8, offset=2)).reshape(2, CELLS, CELLS)
    index = np.abs(np.arange(CELLS) + 0.5 - CELLS / 2)
    filled = (index < expected[0] / 2)[:, None] & (index < expected[1] / 2)
    means, seen = _cells(gray, geometry)
    if inverted:
        means = 255 - means
    agree = total = 0.0
    for bits, (difference, usable) in zip(known, _differences(means, seen & filled), strict=True):
        weight = np.minimum(np.abs(difference), 8) / 8 * usable
        agree += float(weight[(difference > 0) == bits.astype(bool)].sum())
        total += float(weight.sum())
    return (agree / total if total else 0.5), total


def judge(agreement: float, bits: float) -> Content:
    """Tell match, transplanted or unchecked from what `compare` returns."""
    if bits < 12:
        return Content.UNCHECKED
    sigma = 0.5 / np.sqrt(bits)
    if agreement > 0.7 and agreement > 0.5 + 5 * sigma:
        return Content.MATCH
    if agreement < 0.7:
        return Content.TRANSPLANTED
    return Content.UNCHECKED


@dataclass(frozen=True, slots=True)
class Binding:
    """What a mark's id stands for.

    Attributes:
        payload: of the mark.
        content: its picture's content hash.
        signer: who marked it, as the maker names itself.
        mac: 16 bytes that only the holder of the mark's key can make.
    """

    payload: Payload
    content: bytes
    signer: str
    mac: bytes

    @classmethod
    def seal(cls, payload: Payload, content: bytes, signer: str, key: bytes | None = None) -> Self:
        """Bind a content hash and a signer to a payload under the mark's key."""
        return cls(payload, content, signer, _mac(payload, content, signer, key))

    def holds(self, key: bytes | None = None) -> bool:
        """Tell whether the holder of this key made the binding."""
        mac = _mac(self.payload, self.content, self.signer, key)
        return hmac.compare_digest(mac, self.mac)

    def to_bytes(self) -> bytes:
        """Return payload length, payload, content hash, MAC and signer in one."""
        payload = self.payload.to_bytes()
        head = bytes([len(payload)]) + payload + self.content + self.mac
        return head + self.signer.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if it is something else.
        """
        after = 1 + (data[0] if data else 0)
        if len(data) < after + LENGTH + 16:
            raise ValueError(f"expected a binding, got {len(data)} bytes")
        payload = Payload.from_bytes(data[1:after])
        content, mac = data[after : after + LENGTH], data[after + LENGTH : after + LENGTH + 16]
        return cls(payload, content, data[after + LENGTH + 16 :].decode(), mac)


def _mac(payload: Payload, content: bytes, signer: str, key: bytes | None) -> bytes:
    secret = derive(PUBLIC_KEY if key is None else key, FULL, "bind")
    message = payload.algorithm.encode() + b"\0" + payload.to_bytes() + content + signer.encode()
    return hmac.digest(secret, message, "sha256")[:16]


def _cells(gray: Gray, geometry: Geometry) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean luma of each cell, and which cells lie wholly in the picture."""
    plane = np.zeros((FULL.chips, FULL.chips), np.float32)
    within = np.zeros_like(plane)
    if (field := watermark_plane.sample(gray, geometry, FULL)) is not None:
        rows, columns = field.values.shape
        part = np.s_[field.top : field.top + rows, field.left : field.left + columns]
        plane[part] = field.values
        within[part] = watermark_plane.inside(gray.shape, geometry, field, FULL.chips)
    size = (CELLS, CELLS)
    means = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
    seen = cv2.resize(within, size, interpolation=cv2.INTER_AREA) > 0.999
    return means, seen


def _differences(means: Floats, seen: NDArray[np.bool_]) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """Return horizontal and vertical second differences, and where they are known."""
    found = []
    for axis in (1, 0):
        before, after = np.roll(means, 1, axis), np.roll(means, -1, axis)
        usable = seen & np.roll(seen, 1, axis) & np.roll(seen, -1, axis)
        edge = np.arange(CELLS) % (CELLS - 1) > 0
        usable &= edge if axis == 1 else edge[:, None]
        found.append((means - (before + after) / 2, usable))
    return [(np.where(usable, value, 0), usable) for value, usable in found]
