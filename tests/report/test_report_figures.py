"""Durations, quantiles, intervals and orders of magnitude."""

import pytest

from monitor.report.figures import duration_text, magnitude, quantile, spoken, wilson


@pytest.mark.parametrize(
    ("defects", "opportunities", "low", "high"),
    [
        # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # by hand: of one trial z2 / (1 + z2) and its complement, z2 = 3.8415
        (1, 1, 0.2065, 1.0),
        (0, 1, 0.0, 0.7935),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_of_a_share_is_wilsons(defects, opportunities, low, high):
    assert wilson(defects, opportunities) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(
    ("defects", "of", "name"),
    [
        (21, 100, "unstable"),
        (1, 5, "10^-1"),  # 20 of 100 still is a process
        (6, 100, "10^-1"),
        (5, 100, "10^-2"),
        (6, 1000, "10^-2"),
        (5, 1000, "10^-3"),
        (0, 3, "10^-3"),
    ],
)
def test_a_share_of_defects_has_an_order_of_magnitude(defects, of, name):
    assert magnitude(defects / of) == name


@pytest.mark.parametrize(
    ("ordered", "share", "found"),
    [
        ([], 0.5, None),
        ([7], 0.9, 7),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
        (list(range(1, 11)), 0.9, 9),
        (list(range(1, 12)), 0.9, 10),
    ],
)
def test_a_quantile_is_a_number_that_was_observed(ordered, share, found):
    assert quantile(ordered, share) == found


@pytest.mark.parametrize(
    ("seconds", "short", "words"),
    [
        (0, "0s", "0 s"),
        (59, "59s", "59 s"),
        (90, "1m30s", "2 min"),
        (3_600, "1h", "1 h"),
        (12_540, "3h29m", "3 h 29 min"),
        (86_400, "1d", "1 day"),
        (90_000, "1d1h", "1 day 1 h"),
        (187_200, "2d4h", "2 days 4 h"),
        (3_599.6, "1h", "1 h"),
    ],
)
def test_durations_are_short_in_tables_and_words_in_sentences(seconds, short, words):
    assert (duration_text(seconds), spoken(seconds)) == (short, words)
