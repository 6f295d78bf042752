"""Measures, on scores whose answer is known."""

import numpy as np
import pytest

from counterproof.detectors import measures


def test_area_counts_pairs_and_halves_ties() -> None:
    area = measures.roc_area(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert area == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_the_mean_over_sources_gives_a_large_source_no_more_weight() -> None:
    scores = np.concatenate([np.zeros(50), np.ones(1000), -np.ones(20)])
    labels = np.arange(1070) >= 50
    sources = np.array(["p"] * 50 + ["large"] * 1000 + ["small"] * 20)
    assert measures.per_source(scores, labels, sources) == {"large": 1.0, "small": 0.0}
    assert measures.source_mean(scores, labels, sources) == 0.5


def test_rate_at_a_level_that_few_photographs_pass() -> None:
    scores = np.concatenate([np.arange(100.0), np.array([93.5, 94.9, 95.5, 200.0])])
    labels = np.arange(104) >= 100
    assert measures.true_positive_rate(scores, labels, 0.05) == 0.75
    assert measures.true_positive_rate(scores, labels, 0.01) == 0.25


def test_calibration_error_of_right_and_wrong_chances() -> None:
    labels = np.array([True] * 50 + [False] * 50)
    assert measures.calibration_error(np.where(labels, 1.0, 0.0), labels) == 0
    assert measures.calibration_error(np.full(100, 0.5), labels) == pytest.approx(0)
    assert measures.calibration_error(np.full(100, 0.9), labels) == pytest.approx(0.4)


def test_the_surest_answers_err_least() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 5 == 0
    errors = measures.errors_of_the_surest(rng.normal(size=2000) + labels * 1.5, labels)
    assert len(errors) == 10
    assert errors[0] < errors[4] < errors[9]
    assert errors[9] == pytest.approx(0.227, abs=0.03)  # half of 1.5 deviations apart
    assert measures.errors_of_the_surest(labels * 1.0, labels) == (0.0,) * 10


def test_reliability_states_and_sees() -> None:
    labels = np.array([True] * 30 + [False] * 30)
    chances = np.where(np.arange(60) % 30 < 24, np.where(labels, 0.85, 0.15), 0.5)
    found = np.array(measures.reliability(chances, labels))
    assert found == pytest.approx(np.array([[0.15, 0, 24], [0.5, 0.5, 12], [0.85, 1, 24]]))


def test_average_precision() -> None:
    labels = np.array([True, False, True])
    assert measures.average_precision(np.array([3.0, 2.0, 1.0]), labels) == pytest.approx(5 / 6)


def test_intervals_hold_the_value_and_know_when_nothing_was_seen() -> None:
    shown = measures.wilson(2, 100)
    assert shown.low < 0.02 < shown.high
    assert measures.wilson(0, 0).low == 0
    rng = np.random.default_rng(1)
    labels = np.repeat([False, True], 200)
    sources = np.array([f"{i // 50}" for i in range(400)])
    scores = rng.normal(size=400) + labels
    found = measures.resampled(measures.source_mean, scores, labels, sources, draws=50)
    assert found.low < found.value < found.high
