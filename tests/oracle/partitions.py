"""Partitions with a log and a table each, in memory, and workers that die at any point of what they do.

What a worker writes is done in steps (send, write a cell, commit); a crash may come before each. The next owner then begins
from the log, the table and the offset as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.formats.envelope import Envelope, Heard, Told, decode, encode, key_of, partition_of
from monitor.formats.reject import Reject
from monitor.notify.notice import Notice
from monitor.runtime import cell
from monitor.runtime.live import Loaded
from monitor.runtime.partition import Partition, Way

_MOMENT: Final = timedelta(microseconds=1)


class Died(Exception):
    """The worker is no more."""


class Unwatched:
    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def judged(self, change: object, told: object) -> None: ...
    def alerted(self, told: object) -> None: ...
    def failed(self, what: str, error: Exception) -> None:
        self.failures.append(error)


@dataclass
class Lasting:
    """What of a partition outlives workers."""

    log: list[tuple[datetime, bytes]] = field(default_factory=list)
    table: dict[bytes, bytes] = field(default_factory=dict)
    offset: int = 0


class Cluster:
    """Partitions, and one worker for each."""

    def __init__(
        self,
        loaded: Loaded,
        of: int,
        now: datetime,
        dies: Callable[[], bool] = lambda: False,
        amid: Callable[[], object] = lambda: None,
    ) -> None:
        """`dies` is asked before each step whether the worker dies now; `amid` may do what happens before each record that a worker sends."""
        self.loaded, self.of, self.now = loaded, of, now
        self.dies = dies
        self.amid = amid
        self.deaths = 0
        self.watcher = Unwatched()
        self.lasting = [Lasting() for _ in range(of)]
        self.rejects: list[Reject] = []
        self.notices: dict[str, Notice] = {}
        """The last word on each alert, as one who drops older sequences has it."""
        self.tellers: dict[str, int] = {}
        """Which partition said it."""
        self.left: dict[str, Notice] = {}
        """The last record of each alert, which is all that compaction leaves."""
        self.words: dict[tuple[str, object], tuple[str, int, str | None]] = {}
        """By alert and sequence: what was said. Never two things under one."""
        self.verdicts: dict[str, CaseVerdict | None] = {}
        self.live = [self._begun(number) for number in range(of)]
        self.read = [0] * of
        """How far the present workers have read."""

    def use(self, loaded: Loaded) -> None:
        """All workers are started anew, with other rules."""
        self.loaded = loaded
        for number in range(self.of):
            self.restart(number)

    def restart(self, number: int) -> None:
        """A new owner of a partition, with nothing but what lasts."""
        self.live[number] = self._begun(number)
        self.read[number] = self.lasting[number].offset

    def _begun(self, number: int) -> Partition:
        way = Way(number, self.of, self.loaded, pseudonym=str.upper, most_in_memory=1)
        partition = Partition(dict(self.lasting[number].table), way, self.watcher)
        table = self.lasting[number].table
        told = [(self.tellers[alert], each) for alert, each in self.notices.items()]
        partition.begin(
            [
                each
                for teller, each in told
                if teller == number or (each.state == "resolved" and cell.journey_key(each.patient) in table)
            ],
            self.cases() if partition.has_other_rules else (),
            [each for teller, each in told if teller != number and each.state == "firing"],
        )
        return partition

    def cases(self) -> list[tuple[str, str]]:
        return [(case, each.patient) for case, each in self.verdicts.items() if each is not None]

    # In

    def tell(self, event: Event) -> None:
        told = Told(event)
        self.append(key_of(told), told)

    def hear(self, source: str) -> None:
        for lasting in self.lasting:
            lasting.log.append((self.now, encode(Heard(source))))

    def append(self, key: bytes, envelope: Envelope) -> None:
        self.lasting[partition_of(key, self.of)].log.append((self.now, encode(envelope)))

    # Work

    def waiting(self) -> list[int]:
        """Partitions with records that nobody has read."""
        return [number for number, each in enumerate(self.lasting) if self.read[number] < len(each.log)]

    def step(self, number: int, most: int = 1) -> None:
        """A worker takes some records, and all else that arrived with the last of them, and does what comes of them; or dies over it."""
        lasting, partition = self.lasting[number], self.live[number]
        log, last = lasting.log, self.read[number] + most
        while last < len(log) and log[last][0] == log[last - 1][0]:  # what arrived at one instant is one
            last += 1
        for at, value in log[self.read[number] : last]:
            envelope = decode(value)
            assert not isinstance(envelope, Reject)
            reject = partition.take(envelope, at)
            if reject is not None:
                self.rejects.append(reject)
            self.read[number] += 1
        self.finish(number)

    def tick(self) -> None:
        """Move the clocks of partitions in which nothing waits as far as no record can come any more: to just before now."""
        waiting = self.waiting()
        for number, partition in enumerate(self.live):
            if number not in waiting:
                partition.advance(self.now - _MOMENT)
                partition.warm(1)
                self.finish(number)

    def finish(self, number: int) -> None:
        lasting, partition = self.lasting[number], self.live[number]
        try:
            outcome = partition.drain()
            for notice in outcome.notices:
                self.live_or_die()
                self._notified(notice, number)
            for case, verdict in outcome.verdicts.items():
                self.live_or_die()
                self.verdicts[case] = verdict
            for key, envelope in outcome.sends:
                self.live_or_die()
                self.amid()
                self.append(key, envelope)
            for cell, value in outcome.cells.items():
                self.live_or_die()
                if value is None:
                    lasting.table.pop(cell, None)
                else:
                    lasting.table[cell] = value
            self.live_or_die()
            lasting.offset = self.read[number]
            partition.tidy()
        except Died:
            self.deaths += 1
            self.restart(number)

    def live_or_die(self) -> None:
        if self.dies():
            raise Died

    def _notified(self, notice: Notice, teller: int) -> None:
        word = (notice.state, notice.level, notice.reason)
        assert self.words.setdefault((notice.alert, notice.sequence), word) == word
        known = self.notices.get(notice.alert)
        self.left[notice.alert] = notice
        if known is None or known.sequence <= notice.sequence:
            self.notices[notice.alert] = notice
            self.tellers[notice.alert] = teller

    def settle(self) -> None:
        """Work until nothing waits anywhere, and all has been looked at."""
        for _ in range(200):
            for number in self.waiting():
                self.step(number, 100)
            if not self.waiting():
                self.tick()
                if not self.waiting() and all(map(self._is_up_to_date, self.live)):
                    return
        raise AssertionError("it does not come to rest")

    def _is_up_to_date(self, partition: Partition) -> bool:
        return partition.is_warm and partition.engine.now[0] >= self.now - _MOMENT

    def run(self, events: Iterable[Event], until: datetime, listened: Iterable[str] = ()) -> None:
        """Take events at their arrivals, each before the next one comes; then let the clock go on."""
        for event in events:
            assert event.arrived_at is not None
            if event.arrived_at <= until:
                self.arrive(event, listened)
                self.settle()
        self.end(until)

    def end(self, until: datetime) -> None:
        """Nothing more comes; let the clocks go on."""
        self.now = max(self.now, until + _MOMENT)
        self.settle()

    def arrive(self, event: Event, listened: Iterable[str] = ()) -> None:
        """An event comes in, at its arrival or now, whichever is later."""
        assert event.arrived_at is not None
        self.now = max(self.now, event.arrived_at)
        if event.source in listened:
            self.hear(event.source)
        if event.type != "heartbeat":
            self.tell(without_arrival(event))


def without_arrival(event: Event) -> Event:
    return Event(**{name: getattr(event, name) for name in event.__struct_fields__ if name != "arrived_at"})
