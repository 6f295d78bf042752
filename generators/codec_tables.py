"""Fit the codec's integers on training pictures. Training room."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from counterproof.generators.codec_entropy import (
    ESCAPE,
    FINE,
    MOST,
    NEAR,
    PRECISION,
    SYMBOLS,
    TABLES,
    Tables,
    around,
    energy,
    neighbours,
    predicted,
)
from counterproof.generators.codec_net import STEP, CodecNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_tables"]

BELIEF = 30.0  # counts that a geometric distribution of the same mean weighs
WEIGHED = 800  # pictures of each size at most that predictor and weights are fitted on
ROUNDS = 3  # of reweighted least squares; more changed nothing


def fit_tables(net: CodecNet, sets: "list[NDArray[Any]]") -> Tables:
    """Fit predictor, weights of energies, and tables for each quality.

    Args:
        net: the trained network.
        sets: training pictures, `uint8`, `(N, H, W, 3)`, one array for each size.
    """
    count, channels = net.gain.shape
    predictor = np.zeros((count, channels, 4), np.int32)
    weights = np.zeros((count, channels, 1 + NEAR + 2 * (channels - 1)), np.int32)
    limits = np.geomspace(4, 30 * FINE, TABLES - 1).round().astype(np.int32)
    frequencies = np.zeros((count, TABLES, SYMBOLS), np.int64)
    for quality in range(count):
        latents = [_latents(net, pixels, quality) for pixels in sets]
        few = [part[:: -(-len(part) // WEIGHED)] for part in latents]  # sorted by class: spread
        predictor[quality] = _fit_predictor(few)
        weights[quality] = _fit_weights(few, predictor[quality])
        counts = np.zeros((TABLES, SYMBOLS))
        sizes = np.zeros(TABLES)
        for part in latents:
            difference = (part - predicted(part, predictor[quality])).ravel()
            number = np.searchsorted(limits, energy(part, weights[quality]).ravel())
            symbol = np.where(abs(difference) > ESCAPE, SYMBOLS - 1, difference + ESCAPE)
            found = np.bincount(number * SYMBOLS + symbol, minlength=TABLES * SYMBOLS)
            counts += found.reshape(TABLES, SYMBOLS)
            sizes += np.bincount(number, np.abs(difference), TABLES)
        frequencies[quality] = _frequencies(counts, sizes)
    gain = (net.gain.detach().exp() * STEP).numpy()
    back = (net.back.detach().exp() / STEP).numpy()
    return Tables(predictor, weights, limits, frequencies, gain, back)


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
    nearby = [neighbours(part)[:4] for part in latents]
    for channel in range(channels):
        near = np.concatenate(
            [np.stack([v[:, channel].ravel() for v in values], 1) for values in nearby]
        ).astype(float)
        wanted = np.concatenate([part[:, channel].ravel() for part in latents]).astype(float)
        ridge = 1e-3 * len(wanted) * np.eye(4)
        made[channel] = np.round(256 * np.linalg.solve(near.T @ near + ridge, near.T @ wanted))
    return made


def _fit_weights(latents: "list[NDArray[Any]]", predictor: "NDArray[Any]") -> "NDArray[Any]":
    """Foretell how far each prediction is off, by weights that are not negative, in 1/1024.

    Least squares, reweighted so that an error counts in proportion to what was foretold.
    """
    from scipy.optimize import nnls

    channels = latents[0].shape[1]
    made = np.zeros((channels, 1 + NEAR + 2 * (channels - 1)), np.int32)
    off = [np.abs(part - predicted(part, predictor)) for part in latents]
    sizes = [np.abs(part) for part in latents]
    nearby, wide = [neighbours(part) for part in sizes], [around(part) for part in sizes]
    for channel in range(channels):
        columns = []
        for own, near, far in zip(sizes, nearby, wide, strict=True):
            given = [np.ones_like(own[:, channel]), *(value[:, channel] for value in near)]
            given += [*own[:, :channel].swapaxes(0, 1), *far[:, :channel].swapaxes(0, 1)]
            columns.append(np.stack([value.ravel() for value in given], 1))
        known = np.concatenate(columns).astype(np.float32)
        wanted = np.concatenate([part[:, channel].ravel() for part in off]).astype(np.float32)
        spread = np.full(len(wanted), wanted.mean() + 0.02, np.float32)
        for _ in range(ROUNDS):
            left, right = known / spread[:, None], wanted / spread
            square = (left.T @ left).astype(float)
            ridge = 1e-6 * np.trace(square) / len(square) * np.eye(len(square))
            lower = np.linalg.cholesky(square + ridge)
            found, _ = nnls(lower.T, np.linalg.solve(lower, (left.T @ right).astype(float)))
            spread = (known @ found + 0.01).astype(np.float32)
        fine = np.round(FINE * found).clip(0, 32_767)
        place = 1 + NEAR
        made[channel, :place] = fine[:place]
        made[channel, place : place + channel] = fine[place : place + channel]
        second = place + channels - 1
        made[channel, second : second + channel] = fine[place + channel :]
    return made


def _frequencies(counts: "NDArray[Any]", sizes: "NDArray[Any]") -> "NDArray[Any]":
    """Smooth counts `(40, 32)` towards a geometric distribution of their mean; sums are 2^16.

    Args:
        counts: of symbols in each table.
        sizes: the differences' magnitudes, added up for each table.
    """
    total = counts.sum(1)
    mean = (sizes + 0.003) / (total + 1)
    rate = (mean / (1 + mean))[:, None]
    guess = rate ** np.abs(np.arange(-ESCAPE, ESCAPE + 1))[None]
    beyond = 1e-4 + 2 * rate ** (ESCAPE + 1) / (1 - rate)
    guess = np.concatenate([guess, beyond], 1)
    guess /= guess.sum(1, keepdims=True)
    chance = (counts + BELIEF * guess) / (total + BELIEF)[:, None]
    made: NDArray[Any] = np.maximum(1, np.floor(chance * ((1 << PRECISION) - SYMBOLS))).astype(
        np.int64
    )
    made[:, ESCAPE] += (1 << PRECISION) - made.sum(1)
    return made
