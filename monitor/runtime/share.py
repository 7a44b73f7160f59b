"""A notifier's share of the topic of alerts: what it knows of its partitions, and what is still to be told of them.

Whoever is given a partition reads it from its beginning. So it knows how each alert stands and who was told of it, whoever
told them; and what is committed says of each sink up to where that has been delivered, whoever delivered it. What lies before
is known, what comes after is told. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Final, NamedTuple

from monitor.notify.notice import Delivery, Notice
from monitor.notify.routing import Route

NEVER: Final = -1
"""Stands for an offset where a sink has not told all yet that fired when it was first asked to."""

Told = Mapping[str, int]
"""By the names of sinks: the offset before which everything has been delivered, or `NEVER`."""
FindRoutes = Callable[[Notice, Sequence[Route]], list[Route]]
"""To whom a change of an alert goes, by whom was told of it before."""
_Name = tuple[str, tuple[int, datetime, int]]
"""Alert and sequence: a change of an alert."""


class _Known(NamedTuple):
    sequence: tuple[int, datetime, int]
    routes: tuple[Route, ...]
    """Everyone who was told of the alert, or is to be told."""


class _Waiting(NamedTuple):
    offset: int
    receivers: set[str]
    """To whom it has not been delivered."""


class Change(NamedTuple):
    """A change of an alert, and to whom it is to be delivered: to nobody where that has been done before."""

    notice: Notice
    routes: list[Route]
    is_old: bool
    """Whether it may have been delivered, for it was there before the partition was ours."""


class Share:
    """One partition. It is read in order, by one thread at a time."""

    def __init__(self, end: int, told: Told | None, sinks: Collection[str], find_routes: FindRoutes) -> None:
        """`end`: the offset behind its last record. `told`: None where nobody has ever told anything of it.

        Of a sink that is not in `told` nothing is due that lies before `end`.
        """
        self.position = 0
        """The offset of the next record."""
        self.is_current = False
        """Whether everything was read that was there when the partition was given to us."""
        self.is_held = False
        """Whether nothing may be sent of it, since it is being given to another notifier."""
        self._end = end
        self._told = {
            sink: NEVER
            if told is None
            else min(told.get(sink, end), end)  # a topic that was made anew is shorter
            for sink in sinks
        }
        self._find_routes = find_routes
        self._known: dict[str, _Known] = {}
        self._firing: dict[str, Notice] = {}
        self._waiting: dict[str, dict[_Name, _Waiting]] = {sink: {} for sink in sinks}

    def take(self, offset: int, notice: Notice) -> Change | None:
        """The next record. None when it is no news: of a state that is known, or older than it."""
        self.position = offset + 1
        known = self._known.get(notice.alert)
        if known is not None and notice.sequence <= known.sequence:
            return None
        routes = self._find_routes(notice, known.routes if known else ())
        self._known[notice.alert] = _Known(notice.sequence, tuple(routes))
        if notice.state == "firing":
            self._firing[notice.alert] = notice
        else:
            self._firing.pop(notice.alert, None)
        return self._change(offset, notice, [route for route in routes if self._is_due(route[0], offset)])

    def _is_due(self, sink: str, offset: int) -> bool:
        told = self._told[sink]
        return offset >= (self._end if told == NEVER else told)

    def forget(self, offset: int, alert: str) -> None:
        """The next record, which says that an alert is no more."""
        self.position = offset + 1
        self._known.pop(alert, None)
        self._firing.pop(alert, None)

    def pass_over(self, offset: int) -> None:
        """The next record, which says nothing."""
        self.position = offset + 1

    def reached(self, position: int) -> list[Change]:
        """All before an offset was read. Returns what fires now, to be told by sinks that have never told anything."""
        self.position = max(self.position, position)
        if self.is_current or self.position < self._end:
            return []
        self.is_current = True
        return [
            self._change(NEVER, notice, routes)
            for alert, notice in self._firing.items()
            if (routes := [route for route in self._known[alert].routes if self._is_untold(route[0], notice)])
        ]

    def _is_untold(self, sink: str, notice: Notice) -> bool:
        return self._told[sink] == NEVER and _name(notice) not in self._waiting[sink]

    def _change(self, offset: int, notice: Notice, routes: list[Route]) -> Change:
        for sink, receiver in routes:
            waiting = self._waiting[sink].setdefault(_name(notice), _Waiting(offset, set()))
            waiting.receivers.add(receiver)
        return Change(notice, routes, offset < self._end)

    def done(self, each: Delivery) -> None:
        """It was taken, or never will be."""
        name, of_sink = _name(each.notice), self._waiting.get(each.sink, {})
        if name in of_sink:
            of_sink[name].receivers.discard(each.receiver)
            if not of_sink[name].receivers:
                del of_sink[name]

    def awaits(self, each: Delivery) -> bool:
        """Whether it is to be sent now."""
        waiting = self._waiting.get(each.sink, {}).get(_name(each.notice))
        return waiting is not None and each.receiver in waiting.receivers and not self.is_held

    def told(self) -> Told | None:
        """How far each sink has delivered; None before everything was read."""
        if not self.is_current:
            return None
        return {
            sink: min((each.offset for each in waiting.values()), default=self.position)
            for sink, waiting in self._waiting.items()
        }

    def firing(self, sink: str) -> Iterator[tuple[str, Notice]]:
        """What fires, each with a receiver that a sink tells of it; nothing before everything was read."""
        if not self.is_current or self.is_held:
            return
        for alert, notice in self._firing.items():
            yield from ((receiver, notice) for name, receiver in self._known[alert].routes if name == sink)

    def alerts(self) -> list[str]:
        """The ids of all that are known."""
        return list(self._known)


def _name(notice: Notice) -> _Name:
    return notice.alert, notice.sequence


class Shares:
    """The partitions that are ours, by number. One thread reads them, others deliver and ask: the lock is held by who uses one."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.by_number: dict[int, Share] = {}

    def done(self, deliveries: Sequence[Delivery]) -> None:
        with self.lock:
            for share in self.by_number.values():
                for each in deliveries:
                    share.done(each)

    def await_all(self, deliveries: Sequence[Delivery]) -> bool:
        """Whether all of them are to be sent, and by us."""
        with self.lock:
            shares = list(self.by_number.values())
            return all(any(share.awaits(each) for share in shares) for each in deliveries)

    def firing(self, sink: str) -> list[tuple[str, Notice]]:
        """What fires in all of them, each with a receiver that a sink tells of it."""
        with self.lock:
            return [each for share in self.by_number.values() for each in share.firing(sink)]

    def hold(self, numbers: Collection[int]) -> None:
        """They are being given to others: nothing of them is sent any more, unless they come back."""
        with self.lock:
            for number in numbers:
                if number in self.by_number:
                    self.by_number[number].is_held = True

    def are_current(self) -> bool:
        with self.lock:
            return all(share.is_current for share in self.by_number.values())
