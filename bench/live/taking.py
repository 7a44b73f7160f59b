"""How a measure is taken here: a sender in a process of its own, and what the service used meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import count
from statistics import median_low
from typing import Any

from bench.live.service import Service
from bench.measure import Taken, Task, take

_names = (f"r{number}-" for number in count())


def say(what: str) -> None:
    """Progress, for who waits."""
    print(what, file=sys.stderr, flush=True)


def taken(module: str, function: str, /, **arguments: Any) -> Taken:
    """One taking of a function of `bench.live.<module>`. Raises `RuntimeError` when it cannot be taken."""
    found = take(Task(function, f"live.{module}", function, arguments, 1), say)
    if found is None or found.facts.get("refused"):
        raise RuntimeError(f"{function} could not be measured: {found and found.facts}")
    say(f"{function} {arguments}: {rate(found):,.0f} a second")
    return found


def median(service: Service, rounds: int, function: str, /, **arguments: Any) -> tuple[Taken, float]:
    """Of several takings of a sender the one with the median time, and the service's processor seconds for an event."""
    found: list[tuple[Taken, float]] = []
    for _ in range(rounds):
        before = service.cpu
        one = taken("senders", function, name=next(_names), **arguments)
        found.append((one, (service.cpu - before) / one.events))
        say(f"  {found[-1][1] * 1e6:,.0f} µs of the processor each")
    middle = median_low([one.wall for one, _ in found])
    return next(each for each in found if each[0].wall == middle)


def rate(of: Taken) -> float:
    """Events a second, by the clock."""
    return of.events / of.wall


def quantiles(waits: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and longest, in seconds."""
    ordered, last = sorted(waits), len(waits) - 1
    return {"p50": ordered[last // 2], "p99": ordered[last * 99 // 100], "longest": ordered[last]}


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
