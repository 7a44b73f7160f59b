"""Figures that several parts of a report need: durations in words, quantiles, intervals and orders of magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_WORDS: Final = {"d": "days", "h": "h", "m": "min", "s": "s"}
_Z: Final = 1.959963984540054
"""Of the standard normal distribution 95 % lie within this many standard deviations of the mean."""

UNSTABLE: Final = "unstable"
_MAGNITUDES: Final = ((0.2, UNSTABLE), (0.05, "10^-1"), (0.005, "10^-2"))
"""A share of defects above this is of that order.

The orders are IHI's (Nolan and others, Improving the Reliability of Health Care, 2004) as they are taught: 1 or 2 defects of 10
are 10^-1, 1 or 2 of 100 are 10^-2, of 1000 10^-3, and more than 1 or 2 of 10 no stable process. That leaves gaps, which are
closed in different ways; 5 of 100 and 5 of 1000 are our choice.
"""


def duration_text(seconds: float) -> str:
    """The two largest units of a duration: `2d4h`, `1h30m`, `5m9s`, `12s`; a second one of nothing is left out."""
    return "".join(f"{count}{unit}" for unit, count in _parts(seconds))


def spoken(seconds: float) -> str:
    """A duration for people: `2 days 4 h`, `1 h 30 min`, `5 min`; seconds only where there is nothing larger."""
    parts = _parts(seconds if abs(seconds) < 60 else 60 * round(seconds / 60))
    words = [f"{count} {_WORDS[unit]}" for unit, count in parts]
    return " ".join(words).replace("1 days", "1 day") if parts[0] == ("d", 1) else " ".join(words)


def _parts(seconds: float) -> list[tuple[str, int]]:
    left = round(seconds)
    parts: list[tuple[str, int]] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append((unit, count))
        elif parts:
            break
    return parts[:2]


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the ordered numbers that at least this share of them does not exceed; None of none.

    So it is one that was observed, never one between two.
    """
    if not ordered:
        return None
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(rank, 1) - 1]


def wilson(defects: int, opportunities: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score (1927), without correction for continuity; (0, 1) of nothing."""
    if not opportunities:
        return 0.0, 1.0
    n, z2 = opportunities, _Z * _Z
    share = defects / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if defects == 0 else centre - half
    high = 1.0 if defects == n else centre + half
    return low, high


def magnitude(share: float) -> str:
    """The order of magnitude of a share of defects: `unstable`, `10^-1`, `10^-2` or `10^-3`."""
    return next((name for limit, name in _MAGNITUDES if share > limit), "10^-3")
