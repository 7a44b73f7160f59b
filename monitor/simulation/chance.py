"""Chance, with a seed: how often, how long, how many, which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, sqrt
from random import Random
from statistics import NormalDist
from typing import Final, TypeVar

from monitor.simulation.journey import Seconds

Thing = TypeVar("Thing")
Spread = tuple[float, ...]
"""Factors around a median, each as likely as the others: the quantiles of a lognormal distribution."""

_FINENESS: Final = 1024


def _lognormal(sigma: float) -> Spread:
    bell = NormalDist()
    return tuple(exp(sigma * bell.inv_cdf((number + 0.5) / _FINENESS)) for number in range(_FINENESS))


NARROW: Final = _lognormal(0.3)
USUAL: Final = _lognormal(0.6)
WIDE: Final = _lognormal(1.0)


def tickets(weights: Mapping[Thing, int]) -> tuple[Thing, ...]:
    """Things to draw one of, each as often as its weight says."""
    return tuple(thing for thing, weight in weights.items() for _ in range(weight))


class Chance:
    """All that is left to chance in one hospital. The seed is a text, so that it is the same on every machine."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - a simulation keeps no secrets
        self._next = self._random.random

    def happens(self, share: float) -> bool:
        """Whether something happens that does in this share of cases."""
        return self._next() < share

    def about(self, median: float, spread: Spread = USUAL) -> Seconds:
        """A duration around its median."""
        return int(median * spread[int(self._next() * _FINENESS)])

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` up to, and without, `high`."""
        return low + int(self._next() * (high - low))

    def one_of(self, things: Sequence[Thing]) -> Thing:
        """One of several, each as likely as the others."""
        return things[int(self._next() * len(things))]

    def count(self, mean: float) -> int:
        """How many, where so many are expected: about as a Poisson distribution has it."""
        return max(0, round(self._random.gauss(mean, sqrt(mean))))

    def rounded(self, number: float) -> int:
        """A number rounded up or down, so that it comes out right on average."""
        return int(number + self._next())
