"""Count the codec's integer tables on training pictures. Training room."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from counterproof.generators.codec import (
    CONTEXTS,
    MOST,
    PRECISION,
    SHIFT,
    SYMBOLS,
    Tables,
    context,
    neighbours,
    predicted,
)
from counterproof.generators.codec_net import STEP, CodecNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_tables"]

BELIEF = 30.0  # counts that the smoother distribution weighs


def fit_tables(net: CodecNet, sets: "list[NDArray[Any]]") -> Tables:
    """Fit predictor, contexts and frequencies for each quality.

    Args:
        net: the trained network.
        sets: training pictures, `uint8`, `(N, H, W, 3)`, one array for each size.
    """
    count, channels = net.gain.shape
    predictor = np.zeros((count, channels, 4), np.int32)
    thresholds = np.zeros((count, channels, CONTEXTS - 1), np.int32)
    frequencies = np.zeros((count, channels, CONTEXTS, SYMBOLS), np.int32)
    for quality in range(count):
        latents = [_latents(net, pixels, quality) for pixels in sets]
        predictor[quality] = _fit_predictor(latents)
        zero = np.zeros_like(thresholds[quality])
        energy = [context(part, zero)[1] for part in latents]
        for channel in range(channels):
            values = np.concatenate([part[:, channel].ravel() for part in energy])
            cuts = np.quantile(values, np.arange(1, CONTEXTS) / CONTEXTS)
            thresholds[quality, channel] = cuts.astype(np.int32)
        counts = np.zeros((channels, CONTEXTS, SYMBOLS))
        for part in latents:
            difference = part - predicted(part, predictor[quality]) + SHIFT
            number, _ = context(part, thresholds[quality])
            for channel in range(channels):
                index = (number[:, channel] * SYMBOLS + difference[:, channel]).ravel()
                found = np.bincount(index.astype(np.int64), minlength=CONTEXTS * SYMBOLS)
                counts[channel] += found.reshape(CONTEXTS, SYMBOLS)
        frequencies[quality] = _frequencies(counts)
    gain = (net.gain.detach().exp() * STEP).numpy()
    back = (net.back.detach().exp() / STEP).numpy()
    return Tables(predictor, thresholds, frequencies, gain, back)


def _latents(net: CodecNet, pixels: "NDArray[Any]", quality: int) -> "NDArray[Any]":
    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), 64):
            x = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 255
            chosen = torch.full((len(x),), quality)
            parts.append(net.encode(x, chosen).round().clamp(-MOST, MOST).numpy())
    return np.concatenate(parts).astype(np.int32)


def _fit_predictor(latents: "list[NDArray[Any]]") -> "NDArray[Any]":
    """Least squares on the four neighbours, rounded to 1/256, for each channel."""
    channels = latents[0].shape[1]
    made = np.zeros((channels, 4), np.int32)
    for channel in range(channels):
        near = np.concatenate(
            [np.stack([v[:, channel].ravel() for v in neighbours(part)], 1) for part in latents]
        ).astype(float)
        wanted = np.concatenate([part[:, channel].ravel() for part in latents]).astype(float)
        ridge = 1e-3 * len(wanted) * np.eye(4)
        made[channel] = np.round(256 * np.linalg.solve(near.T @ near + ridge, near.T @ wanted))
    return made


def _frequencies(counts: "NDArray[Any]") -> "NDArray[Any]":
    """Smooth counts `(C, 8, S)` towards their channel's and a geometric; sums are 2^16."""
    symbols = np.arange(SYMBOLS) - SHIFT
    wide = np.exp(-np.abs(symbols) / 3.0)
    channel = counts.sum(1, keepdims=True)
    channel = channel / np.maximum(channel.sum(-1, keepdims=True), 1)
    guess = 0.98 * channel + 0.02 * wide / wide.sum()
    chance = (counts + BELIEF * guess) / (counts.sum(-1, keepdims=True) + BELIEF)
    made: NDArray[Any] = np.maximum(1, np.floor(chance * ((1 << PRECISION) - SYMBOLS))).astype(
        np.int64
    )
    made[..., SHIFT] += (1 << PRECISION) - made.sum(-1)
    return made
