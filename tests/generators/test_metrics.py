"""Distances: zero between equals, known between Gaussians, and copies are found."""

import numpy as np
import pytest

from counterproof.generators import metrics


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20_000, 4))
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    # N(0, 1) against N(1, 4): a mean apart by 1 and a spread by 1, in each of four dimensions
    assert metrics.frechet_distance(a, 2 * a + 1) == pytest.approx(8, rel=0.05)


def test_kernel_distance_tells_same_from_other() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500, 8))
    same, error = metrics.kernel_distance(a, b)
    assert abs(same) < 4 * error + 0.01
    assert metrics.kernel_distance(a, b + 1)[0] > 0.5


def test_precision_and_recall_see_collapse() -> None:
    rng = np.random.default_rng(0)
    known = rng.standard_normal((300, 4))
    precision, recall = metrics.precision_recall(known, 0.1 * rng.standard_normal((300, 4)))
    assert precision > 0.9
    assert recall < 0.3


def test_a_mirrored_copy_is_found() -> None:
    rng = np.random.default_rng(0)
    trained = rng.integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    others = rng.integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    assert metrics.copies(trained[2:3, :, ::-1], trained)[0] == pytest.approx(0, abs=1e-9)
    assert metrics.copies(others, trained).min() > 5
