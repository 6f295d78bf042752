"""Draw a watermark: at each place what the picture hides, in all what spoiled copies need."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from counterproof.provenance import watermark_mask, watermark_plane
from counterproof.provenance.watermark_code import (
    FULL,
    Payload,
    Profile,
    code_word,
    layout,
    profile_named,
    seal_message,
)
from counterproof.provenance.watermark_look import Look, look, margin_db
from counterproof.provenance.watermark_plane import Floats, Gray

__all__ = ["draw"]

LESS_DB = 1.0
"""By how much a picture is marked weaker than usual if its margin allows."""

PILOT_POWER = 0.3
"""Power of the pilots, in parts of the chips'."""


def draw(
    work: Gray,
    found: Look,
    payload: Payload,
    key: bytes,
    strength: watermark_mask.Strength,
    gains: NDArray[np.float64],
) -> Floats:
    """Return the change of luma of a picture at most `WORKING_EDGE` px long.

    Informed embedding: what the picture itself says at each code bit is measured with the
    reader's own eyes, and bits that it speaks for are drawn weaker, those it speaks against
    stronger. So the picture's noise is largely paid for before any copy is made. Then spoiled
    copies are read, and the whole mark drawn as strong as they need: pictures are marked to
    the same margin rather than to the same PSNR.
    """
    profile = profile_named(payload.profile)
    chips = layout(key, profile)
    word = code_word(seal_message(payload.to_bytes(), key, profile))
    allowed, highest = watermark_mask.mask(work.astype(np.float32), strength)
    blur = max(1.0, 2.0 * max(work.shape) / profile.chips)
    # the pixels' change per change of luma, rms over the channels
    spread = math.sqrt(float((gains**2).mean()))
    usual = min(255 / 10 ** (strength.usual_db / 20) / spread, math.sqrt(_power(allowed)))
    before = watermark_plane.soft_bits(found.field, chips, profile.code_bits) * word
    weight = np.ones(profile.code_bits, np.float32)
    for last in (False, True):
        drawn = watermark_plane.draw_chips((weight * word)[chips.bit] * chips.sign, work.shape)
        drawn -= cv2.GaussianBlur(drawn, (0, 0), blur)
        drawn *= allowed
        if profile is FULL:
            pilots = allowed * watermark_plane.draw_pilots(work.shape)
            drawn += pilots * math.sqrt(PILOT_POWER * _power(drawn) / _power(pilots))
        drawn *= usual / math.sqrt(_power(drawn))
        if last:
            break
        seen = look(_added(work, drawn), profile)
        soft = watermark_plane.soft_bits(seen.field, chips, profile.code_bits)
        gain = float(np.mean(soft * word - before))
        weight = np.clip(1 - 0.9 * (before - before.mean()) / max(gain, 1e-6), -1, 3)
    copies = _spoiled(_added(work, drawn), profile)
    margin = min(margin_db(look(copy, profile), payload, key) for copy in copies)
    change = 10 ** (float(np.clip(strength.target_db - margin, -LESS_DB, strength.more_db)) / 20)
    most = 255 / 10 ** (strength.least_db / 20) / spread
    drawn *= min(change, max(1.0, most / usual))
    change_here = allowed * (spread * math.sqrt(_power(drawn) / _power(allowed)))
    return np.asarray(drawn * np.minimum(1, highest / change_here), np.float32)


def _added(work: Gray, drawn: Floats) -> Gray:
    return np.asarray(np.clip(work + drawn, 0, 255), np.uint8)


def _spoiled(gray: Gray, profile: Profile) -> list[Gray]:
    """Return the copies that a mark is made to survive.

    Half the size and JPEG of quality 50; in the small profile, JPEG of quality 75 and WebP of
    quality 80.
    """
    kinds = [(".jpg", cv2.IMWRITE_JPEG_QUALITY, 75), (".webp", cv2.IMWRITE_WEBP_QUALITY, 80)]
    if profile is FULL:
        size = gray.shape[1] // 2, gray.shape[0] // 2
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        kinds = [(".jpg", cv2.IMWRITE_JPEG_QUALITY, 50)]
    coded = [cv2.imencode(suffix, gray, [name, value])[1] for suffix, name, value in kinds]
    return [np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8) for data in coded]


def _power(values: Floats) -> float:
    return float(np.vdot(values, values)) / values.size + 1e-12
