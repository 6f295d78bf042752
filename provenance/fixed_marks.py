"""The constant marks that the reference code of four image models embeds: read, positive only.

The reference code of Stable Diffusion 1 and 2, SDXL and FLUX.1 writes one fixed number into
every picture, with the method `dwtDct` of the library invisible-watermark. One bit goes into
each square of 8 × 8 pixels, in rows from the upper left, over and over: of the halved blue
difference (U of Y'UV) the largest of fifteen values, divided by 36, leaves less than half of 36
for a 0 and more for a 1. The places of the number are then ranked by how many of their blocks
vote for 1; the library itself takes the majority of each place, which a grey sky outvotes.

The mark is weak: saving at JPEG quality 85, or scaling, mostly destroys it, and cutting moves
it. Most programs that run these models write none. So only its presence says anything.

Source: the method was written anew from invisible-watermark's `maxDct.py` (MIT), commit 580b0fb;
constants from the models' reference code: CompVis/stable-diffusion `scripts/txt2img.py`,
Stability-AI/stablediffusion, Stability-AI/generative-models, black-forest-labs/flux. The
threshold is chosen in docs/benchmarks.md, constant marks.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Finding, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from counterproof.images import ImageFile

    Bits = NDArray[np.uint8]
    Pixels = NDArray[np.uint8]

__all__ = ["MARKS", "FixedMarksAnalyzer", "Mark", "Match", "block_bits", "match"]

_BLOCK = 8
_STEP = 36
_MIN_PIXELS = 256 * 256  # the library embeds in nothing smaller
_BAND_PIXELS = 4_000_000  # at a time, so that a large picture takes little besides itself


@dataclass(frozen=True, slots=True)
class Mark:
    """One constant.

    Attributes:
        code: of the finding.
        model: whose reference code embeds it.
        bits: as text of 0 and 1.
        max_chance: largest chance of a match among all orders of the bits read that counts.
    """

    code: str
    model: str
    bits: str
    max_chance: float = 1e-8


def _of_bytes(text: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in text)


# The reference code writes the last two numbers with Python's bin(), which drops leading zeros:
# of the 48 digits of FLUX's constant 46 are embedded.
# Letters repeat with a period of eight bits, and so do some pictures: the first one, which is
# long enough for it, has to match better.
MARKS = (
    Mark("trace.sd1_mark", "Stable Diffusion 1", _of_bytes(b"StableDiffusionV1"), 1e-12),
    Mark("trace.sd2_mark", "Stable Diffusion 2", _of_bytes(b"SDV2")),
    Mark("trace.sdxl_mark", "SDXL", f"{0b101100111110110010010000011110111011000110011110:b}"),
    Mark("trace.flux_mark", "FLUX.1", f"{0b001010101111111010000111100111001111010100101110:b}"),
)


@dataclass(frozen=True, slots=True)
class Match:
    """What was read for one mark.

    Attributes:
        mark: which.
        agree: bits that are as in the mark.
        chance: that at least as many agree if the bits read stood in random order.
        contrast: mean share of blocks that vote 1, at the ones of the mark less at its zeros:
            0 where there is no mark, 1 where every block carries its bit.
    """

    mark: Mark
    agree: int
    chance: float
    contrast: float


class FixedMarksAnalyzer(Analyzer):
    """Reads the constant marks of Stable Diffusion 1 and 2, SDXL and FLUX.1."""

    name = "fixed_marks"
    prefixes = ("trace",)
    stage = Stage.DEEP
    timeout_s = 60.0

    def analyze(self, image: "ImageFile") -> Iterator[Observation]:
        """Yield a finding for each mark that is there.

        Raises:
            ImageError: if the picture cannot be decoded.
        """
        if image.info.width * image.info.height < _MIN_PIXELS:
            return
        pixels = image.pixels()
        found: dict[str, tuple[Match, str]] = {}
        for order in ("bgr", "rgb"):
            bits = block_bits(pixels, order)
            for mark in MARKS:
                result = match(bits, mark)
                best = found.get(mark.code)
                if result.chance <= mark.max_chance and (
                    best is None or result.agree > best[0].agree
                ):
                    found[mark.code] = (result, order)
        for result, order in found.values():
            yield _finding(result, order)


def _finding(result: Match, order: str) -> Finding:
    return Finding(
        FixedMarksAnalyzer.name,
        result.mark.code,
        Claim.SYNTHETIC,
        Basis.DECLARED,
        Severity.MEDIUM,
        details={
            "model": result.mark.model,
            "method": "invisible-watermark dwtDct",
            "agree": result.agree,
            "bits": len(result.mark.bits),
            "chance": float(f"{result.chance:.2g}"),
            "channel_order": order,
            "score": round(result.contrast, 4),
        },
    )


def block_bits(pixels: "Pixels", order: str = "bgr") -> "Bits":
    """Read one bit from each square of 8 × 8 pixels.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`.
        order: `bgr`, as the library expects its input, or `rgb`, as older versions of the
            diffusers library passed it, with red and blue in each other's place.

    Returns:
        0 or 1 for each whole square, row by row.
    """
    import cv2

    height, width = pixels.shape[0] // _BLOCK * _BLOCK, pixels.shape[1] // _BLOCK * _BLOCK
    code = cv2.COLOR_RGB2YUV if order == "bgr" else cv2.COLOR_BGR2YUV
    bands = []
    rows = max(1, _BAND_PIXELS // (_BLOCK * max(1, width))) * _BLOCK
    for top in range(0, height if width else 0, rows):
        band = np.ascontiguousarray(pixels[top : min(height, top + rows), :width])
        u = np.asarray(cv2.cvtColor(band, code))[:, :, 1].astype(np.int32)
        # low-pass of the Haar wavelet, twice its value: [row, column] of squares of 2 × 2
        low = u[0::2, 0::2] + u[0::2, 1::2] + u[1::2, 0::2] + u[1::2, 1::2]
        # [row of squares, row within, column of squares, column within]
        squares = low.reshape(low.shape[0] // 4, 4, low.shape[1] // 4, 4)
        squares[:, 0, :, 0] = -1  # the mean's place is never used
        largest = squares.max(axis=(1, 3))
        bands.append((largest % (2 * _STEP) > _STEP).astype(np.uint8).reshape(-1))
    return np.concatenate(bands) if bands else np.zeros(0, np.uint8)


def match(bits: "Bits", mark: Mark) -> Match:
    """Compare the bits of the blocks with one mark.

    Blocks that cannot carry a bit, such as those of a grey sky, all vote alike and shift every
    share. So the places are ranked: as many as the mark has ones, those with the largest
    shares, are read as 1, and ties go against the mark. Of a flat picture, where every share is
    the same, nothing agrees but by chance.
    """
    wanted = np.frombuffer(mark.bits.encode(), np.uint8) - ord("0")
    length, ones = len(wanted), int(wanted.sum())
    if len(bits) < length:
        return Match(mark, 0, 1.0, 0.0)
    place = np.arange(len(bits)) % length
    share = np.bincount(place, weights=bits, minlength=length) / np.bincount(place)
    both = int(wanted[np.lexsort((wanted, -share))[:ones]].sum())
    contrast = float(share[wanted == 1].mean() - share[wanted == 0].mean())
    return Match(mark, length - 2 * (ones - both), _chance(length, ones, both), contrast)


@functools.lru_cache(1024)
def _chance(length: int, ones: int, both: int) -> float:
    """Return the chance that two random sets of `ones` places share at least `both`."""
    rest = length - ones
    ways = sum(math.comb(ones, k) * math.comb(rest, ones - k) for k in range(both, ones + 1))
    return ways / math.comb(length, ones)
