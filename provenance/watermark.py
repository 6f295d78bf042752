"""The invisible watermark: `embed` a payload into pixels, `read` it back from what became of them.

A mark says what its maker says of the picture, in two bits, and names it by a random id. By
default it is *public*: any scan reads it offline, and anyone can read, remove and forge it, so
it is a declaration. With a key of 16 bytes or more it is *private*: without the key its message
cannot be read, though its pilots show that there is one; who has the key can still forge it, or
copy a mark to another picture, so a private mark counts only when the content that is bound to
its id matches (`watermark_bind`). `docs/watermark.md` says how it works and what it cannot prove.

    made = embed(pixels, new_payload(MarkClass.GENERATED))
    reading = read(changed_pixels)
    reading.payload == made.payload
"""

import dataclasses
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from counterproof.errors import ImageError, UserError
from counterproof.provenance import watermark_mask, watermark_plane, watermark_sync
from counterproof.provenance.watermark_code import (
    FULL,
    PUBLIC_KEY,
    SMALL,
    MarkClass,
    Payload,
    Profile,
    layout,
    open_message,
    profile_named,
    viterbi,
)
from counterproof.provenance.watermark_draw import draw
from counterproof.provenance.watermark_look import Look, chips_at, look, margin_db
from counterproof.provenance.watermark_plane import Field, Geometry, Gray
from counterproof.provenance.watermark_sync import Candidate

if TYPE_CHECKING:
    from counterproof.images import ImageFile

__all__ = [
    "AlreadyMarked",
    "Embedded",
    "MarkClass",
    "Payload",
    "Reading",
    "bind",
    "embed",
    "examine",
    "new_payload",
    "read",
    "read_image",
]

WORKING_EDGE = 768
"""Long edge in pixels at which a mark is computed; a larger picture gets it enlarged."""

SMALL_READ = 1024
"""Long edge in pixels above which no picture is read in the small profile."""

LEAST_EDGE = 24
"""Short edge in pixels under which a picture is not read."""

READING_EDGE = 1280
"""Long edge in pixels to which a picture is reduced before it is read."""

UPRIGHT, WORTH_A_TRY, LIKELY = 3.0, 6.8, 9.5
"""Scores of the pilots from which a message is decoded, where they should be and where they
were searched for, and from which a mark is called likely.

Source: `benchmarks/watermark.py absent`, the distribution over unmarked pictures.
"""

SECOND_LOOKS = 2
"""How many of the best places are read once more with the learned demodulator."""


class AlreadyMarked(UserError):
    """The picture already carries a mark under this key; it is never marked again silently."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A marked picture and what marking it cost.

    Attributes:
        pixels: `uint8` RGB, shape `(H, W, 3)`.
        payload: what it carries.
        margin_db: by how much the mark, read back from these very pixels, exceeds what reading
            needs; 6 dB and more survive what platforms do.
        psnr_db: of the marked against the given pixels.
        private: whether a key was used.
    """

    pixels: NDArray[np.uint8]
    payload: Payload
    margin_db: float
    psnr_db: float
    private: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A mark that was found.

    Attributes:
        payload: what it says; None if only the pilots were found, not a message (*likely*).
        key: index into `keys` of the key that reads it; None for the public profile.
        geometry: where the plane lies in the picture that was read.
        inverted: whether the picture is a negative.
        score: of the pilots, in standard deviations; 0 in the small profile.
        tries: how many candidate messages were tested against a tag, for this key and all.
    """

    payload: Payload | None
    key: int | None
    geometry: Geometry
    inverted: bool
    score: float
    tries: int

    @property
    def private(self) -> bool:
        """Whether one of the given keys read it."""
        return self.key is not None


def new_payload(
    mark_class: MarkClass | str, *, profile: Literal["full", "small"] = "full"
) -> Payload:
    """Return a payload with a fresh random id.

    Raises:
        ValueError: if the class is not one of `MarkClass`.
    """
    bits = 8 * profile_named(profile).payload_bytes - 2
    return Payload(MarkClass(mark_class), secrets.randbits(bits), profile)


def bind(pixels: NDArray[np.uint8]) -> bytes:
    """Return the content hash that ties a mark's id to this picture; see `watermark_bind`."""
    from counterproof.provenance.watermark_bind import content_hash

    return content_hash(pixels)


def embed(
    pixels: NDArray[np.uint8],
    payload: Payload,
    *,
    key: bytes | None = None,
    strength: Literal["standard", "subtle"] = "standard",
    profile: Literal["full", "small"] = "full",
    again: bool = False,
) -> Embedded:
    """Mark a picture and read the mark back.

    Costs about 32 ms at 0.4 MP and 70 ms at 12 MP of one core.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`. The full profile needs a long edge of 256 px and
            a short one of 128 px, the small one 64 px; long edge at most 512 px.
        payload: from `new_payload`, of the same profile.
        key: secret of 16 bytes or more for a private mark; None for a public one.
        strength: `standard` (PSNR 43 dB in the mean) or `subtle` (45 dB).
        profile: `full`, or `small` for pictures too small for it.
        again: mark a picture that already carries a mark under this key. The new mark lies
            over the old one and replaces it.

    Raises:
        AlreadyMarked: if the picture carries a mark under this key, and `again` is False.
            Tested where an unchanged or resized copy has it; for crops `read` first.
        ImageError: `unsupported` if the picture is too small or the mark cannot be read back
            from it, as on a picture without any contrast left.
        ValueError: if arguments do not fit together.
    """
    chosen = profile_named(profile)
    secret = _secret(key)
    if payload.profile != profile:
        raise ValueError(f"expected a payload of profile {profile!r}, got {payload.profile!r}")
    _check_size(pixels, chosen)
    work = watermark_plane.shrink(watermark_plane.luma(pixels), WORKING_EDGE)
    found = look(work, chosen)
    if not again and (old := _decode_upright(found, [secret], chosen)) is not None:
        assert old.payload is not None, "a message was read"
        raise AlreadyMarked(
            f"this picture already carries a mark ({old.payload.mark_class.value}, id "
            f"{old.payload.id:x}); pass again=True to put another over it"
        )
    gains = watermark_mask.channel_gains(pixels)
    drawn = draw(work, found, payload, secret, watermark_mask.STRENGTHS[profile, strength], gains)
    marked = watermark_mask.add(pixels, drawn, gains)
    seen = look(watermark_plane.shrink(watermark_plane.luma(marked), WORKING_EDGE), chosen)
    reading = _decode_upright(seen, [secret], chosen)
    if reading is None or reading.payload != payload:
        raise ImageError("unsupported", "the picture cannot carry a mark that can be read back")
    squared = cv2.norm(marked, pixels, cv2.NORM_L2SQR) / pixels.size
    return Embedded(
        marked,
        payload,
        margin_db(seen, payload, secret),
        99.0 if squared == 0 else 10 * math.log10(255**2 / squared),
        key is not None,
    )


def read(pixels: NDArray[np.uint8], keys: Sequence[bytes] = ()) -> Reading | None:
    """Look for a mark, public or under one of the keys, in whatever became of the picture.

    First as if it were whole and upright, then wherever the pilots lead. No picture gives a
    payload by chance more often than 1e-11 in the full profile (at most 11 tries at a 48-bit
    tag for each of up to 100 keys) and 1.2e-7 a key in the small one (2 tries at 24 bits).

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`.
        keys: private keys to try besides the public one.

    Returns:
        The mark; a `Reading` without payload if the pilots are there beyond doubt but no
        message is; None if there is none, or none under these keys.
    """
    return examine(pixels, keys)[1]


def read_image(image: "ImageFile", keys: Sequence[bytes] = ()) -> Reading | None:
    """Read the mark of a picture in hand as `read` does, once for all who ask with these keys.

    Returns:
        The mark, in the coordinates of `image.pixels(max_side=READING_EDGE)`.

    Raises:
        ImageError: if the pixels cannot be read.
    """
    return image.once(("watermark", *keys), lambda: read(image.pixels(max_side=READING_EDGE), keys))


def examine(pixels: NDArray[np.uint8], keys: Sequence[bytes] = ()) -> tuple[float, Reading | None]:
    """Read as `read` does, and say besides how much the best place looked like one.

    Returns:
        The highest score of pilots anywhere, in standard deviations; and what `read` returns.
    """
    if min(pixels.shape[:2]) < LEAST_EDGE:
        return 0.0, None
    tried = [PUBLIC_KEY, *(_secret(key) for key in keys)]
    gray = watermark_plane.shrink(watermark_plane.luma(pixels), READING_EDGE)
    upright = look(watermark_plane.shrink(gray, WORKING_EDGE), FULL)
    if (found := _decode_upright(upright, tried, FULL)) is not None:
        return found.score, _resized(found, upright.shape, pixels.shape)
    tries, best, promising = 1, 0.0, list[Candidate]()
    if abs(upright.score) > UPRIGHT + 1:
        geometry = watermark_plane.upright((gray.shape[0], gray.shape[1]), FULL)
        promising.append(Candidate(abs(upright.score), geometry, upright.score < 0))
    for places in watermark_sync.candidates(gray):
        for place in places:
            best = max(best, place.score)
            if place.score < WORTH_A_TRY or (field := chips_at(gray, place.geometry)) is None:
                continue
            tries += 1
            if (found := _decode(field, tried, FULL, place, tries)) is not None:
                return best, _resized(found, gray.shape, pixels.shape)
            promising.append(place)
    promising.sort(key=lambda place: -place.score)
    for place in promising[:SECOND_LOOKS]:
        tries += 1
        learned = chips_at(gray, place.geometry, learned=True)
        if learned and (found := _decode(learned, tried, FULL, place, tries)) is not None:
            return max(best, place.score), _resized(found, gray.shape, pixels.shape)
    if (found := _read_small(gray, tried)) is not None:
        return best, _resized(found, gray.shape, pixels.shape)
    if best > LIKELY:
        place = max(promising, key=lambda place: place.score)
        nothing = Reading(None, None, place.geometry, place.inverted, place.score, tries)
        return best, _resized(nothing, gray.shape, pixels.shape)
    return best, None


def _decode_upright(seen: Look, keys: Sequence[bytes], profile: Profile) -> Reading | None:
    if profile is FULL and abs(seen.score) < UPRIGHT:
        return None
    geometry = watermark_plane.upright(seen.shape, profile)
    # only pilots tell a negative; the small profile has none, so both are tried
    for tries, inverted in enumerate([seen.score < 0, *([True] if profile is SMALL else [])], 1):
        place = Candidate(abs(seen.score), geometry, inverted)
        if (found := _decode(seen.field, keys, profile, place, tries)) is not None:
            return found
    return None


def _read_small(gray: Gray, keys: Sequence[bytes]) -> Reading | None:
    """Read the small profile: whole pictures only, and none that is much enlarged."""
    if max(gray.shape) > SMALL_READ:
        return None
    return _decode_upright(look(gray, SMALL), keys, SMALL)


def _decode(
    field: Field,
    keys: Sequence[bytes],
    profile: Profile,
    place: Candidate,
    tries: int,
) -> Reading | None:
    for index, key in enumerate(keys):
        soft = watermark_plane.soft_bits(field, layout(key, profile), profile.code_bits)
        soft = -soft if place.inverted else soft
        bits = viterbi(soft, profile.message_bits, wrap=36 if profile is FULL else 20)
        if (data := open_message(bits, key, profile)) is not None:
            payload = Payload.from_bytes(data)
            which = index - 1 if index else None
            return Reading(payload, which, place.geometry, place.inverted, place.score, tries)
    return None


def _resized(reading: Reading, seen: tuple[int, ...], whole: tuple[int, ...]) -> Reading:
    """Return a reading of a reduced picture in the coordinates of the whole one."""
    ratio = np.array([whole[1] / seen[1], whole[0] / seen[0]])
    matrix, offset = reading.geometry.matrix, reading.geometry.offset
    geometry = Geometry(matrix * ratio[:, None], (offset + 0.5) * ratio - 0.5)
    return dataclasses.replace(reading, geometry=geometry)


@lru_cache(maxsize=64)
def _secret(key: bytes | None) -> bytes:
    if key is None:
        return PUBLIC_KEY
    if len(key) < 16:
        raise ValueError(f"expected a key of 16 bytes or more, got {len(key)}")
    return key


def _check_size(pixels: NDArray[np.uint8], profile: Profile) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(
            f"expected a uint8 RGB picture of shape (H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    short, long_edge = sorted(pixels.shape[:2])
    if profile is FULL and (long_edge < 256 or short < 128):
        raise ImageError(
            "unsupported",
            f"{long_edge} x {short} px is too small for the full profile (256 x 128 px); "
            "use profile='small'",
        )
    if profile is SMALL and (long_edge > 512 or short < 48 or long_edge < 64):
        raise ImageError(
            "unsupported",
            f"{long_edge} x {short} px is outside the small profile (64 x 48 to 512 px)",
        )
