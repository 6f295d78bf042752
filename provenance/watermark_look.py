"""What the reader of watermarks sees at a place of a picture, and how far that is from enough."""

import math
from typing import NamedTuple

import numpy as np

from counterproof.provenance import watermark_plane, watermark_sync
from counterproof.provenance.watermark_code import (
    FULL,
    Payload,
    Profile,
    code_word,
    layout,
    profile_named,
    seal_message,
)
from counterproof.provenance.watermark_plane import Field, Geometry, Gray

__all__ = ["NEEDED", "Look", "chips_at", "look", "margin_db"]

NEEDED = 0.57
"""Mean over standard deviation of the soft bits at which 19 of 20 messages are read."""


class Look(NamedTuple):
    """What the reader sees in a picture that it takes to be whole and upright."""

    field: Field
    score: float
    shape: tuple[int, int]


def look(work: Gray, profile: Profile) -> Look:
    """Return what the chips of a whole, upright picture say, and how much its pilots show."""
    shape = work.shape[0], work.shape[1]
    geometry = watermark_plane.upright(shape, profile)
    too_small = profile is FULL and not watermark_sync.shows_pilots(geometry.matrix * FULL.chips)
    field = None if too_small else chips_at(work, geometry, profile)
    if field is None:  # too small, or a strip too thin, for any mark
        field = Field(np.zeros((1, 1), np.float32), 0, 0)
    score = watermark_plane.pilot_score(field, FULL.chips) if profile is FULL else 0.0
    return Look(field, score, shape)


def chips_at(
    gray: Gray, geometry: Geometry, profile: Profile = FULL, *, learned: bool = False
) -> Field | None:
    """Return what the chips at this place say; nothing where the picture does not reach."""
    found = watermark_plane.sample(gray, geometry, profile)
    if found is None:
        return None
    if learned:
        from counterproof.provenance.watermark_demod import demodulate

        values = demodulate(found.values)
    else:
        values = watermark_plane.whiten(found.values)
    values *= watermark_plane.inside(gray.shape, geometry, found, profile.chips)
    return Field(values, found.top, found.left)


def margin_db(seen: Look, payload: Payload, key: bytes) -> float:
    """Return by how many dB the soft bits exceed what reading this payload needs."""
    profile = profile_named(payload.profile)
    soft = watermark_plane.soft_bits(seen.field, layout(key, profile), profile.code_bits)
    agreement = soft * code_word(seal_message(payload.to_bytes(), key, profile))
    quality = float(agreement.mean() / (agreement.std() + 1e-9))
    return 20 * math.log10(max(quality, 0.01) / NEEDED)
