"""Replay: the engine over a whole input, with the clock of what is read (contract, section 5)."""

from __future__ import annotations

import multiprocessing
import signal
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import compress, islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from operator import attrgetter, eq, gt
from typing import Any, Final
from zlib import crc32

import msgspec

from monitor.core.change import AlertChange, CaseVerdict, Change
from monitor.core.chart import arrival
from monitor.core.engine import Engine
from monitor.core.event import HEARTBEAT, Event
from monitor.core.journey import Stay, retirements
from monitor.core.place import Registry
from monitor.core.rule import CaseRule

FEED: Final = "feed"
"""What stands for a rule in the alerts of feeds."""
_STEP: Final = 2_000
"""Events between two reports of progress."""


class Input(msgspec.Struct, gc=False):
    """Events in the order in which they are taken, each with its arrival."""

    events: list[Event]
    until: datetime | None
    """Where the clock stands at the end; None when there is nothing to read."""
    left_out: int
    """Events that arrive after that."""


class Killed(Exception):  # noqa: N818 - named for what happened
    """A process that ran a part of a replay was ended from outside."""


class Outcome(msgspec.Struct, gc=False):
    """What a replay found: cases by (trigger_at, rule, case) if asked for so, alert changes by (at, rule, alert)."""

    verdicts: list[CaseVerdict]
    alerts: list[AlertChange]
    counts: dict[str, int]


def arrange(
    events: list[Event], *, until: datetime | None, now: datetime, as_received: bool = False
) -> Input:
    """Give each event its arrival, and put them in order of it; the list is changed.

    An event without `arrived_at` arrives at its `recorded_at`. With `as_received` the order stays, and arrivals are
    the running maximum. What arrives after `until`, or without it after `now` (the present), is left out.
    """
    _set_arrivals(events)
    if as_received:
        _never_back(events)
    else:
        events.sort(key=attrgetter("arrived_at"))  # which of equal arrivals comes first changes nothing
    last = until or now
    known = events
    if events and arrival(events[-1]) > last:
        known = events[: bisect_right(events, last, key=arrival)]
    return Input(known, until or (known[-1].arrived_at if known else None), len(events) - len(known))


def _set_arrivals(events: Iterable[Event]) -> None:
    for event in events:
        if event.arrived_at is None:
            recorded_at = event.recorded_at
            event.arrived_at = recorded_at if recorded_at.tzinfo is UTC else recorded_at.astimezone(UTC)


def _sort(found: list[Any], key: Callable[[Any], Any], among_equals: Callable[[Any], Any]) -> None:
    """Sort by a key, and where it is equal by another, which is only worked out there; most logs are nearly in order."""
    keys = list(map(key, found))
    if any(map(gt, keys, islice(keys, 1, None))):
        found.sort(key=key)
        keys.sort()
    end = 0
    for first in compress(range(len(keys)), map(eq, keys, islice(keys, 1, None))):
        if first >= end:
            end = bisect_right(keys, keys[first], lo=first)
            found[first:end] = sorted(found[first:end], key=among_equals)


def _never_back(events: Iterable[Event]) -> None:
    latest = None
    for event in events:
        if latest is None or (event.arrived_at is not None and event.arrived_at > latest):
            latest = event.arrived_at
        event.arrived_at = latest


def replay(
    rules: Sequence[CaseRule],
    registry: Registry,
    taken: Input,
    *,
    jobs: int = 1,
    alerts: bool = True,
    in_order: bool = True,
    progress: Callable[[int], None] = lambda _events: None,
) -> Outcome:
    """Run the rules over the input, by patient in `jobs` processes; the outcome does not depend on their number.

    Where only figures are wanted, the cases need not be `in_order`. Without `alerts` the history is only recalled, not lived through: the verdicts are the same. `progress` is told now and then how many events more have been taken. Raises `Killed`.
    """
    listened = {event.source for event in taken.events if event.type == HEARTBEAT}
    parts = shares(taken.events, jobs) if jobs > 1 else [taken.events]
    if len(parts) < 2:
        work = _Work(rules, registry, parts, taken.until, listened, alerts)
        return _whole([_run(work, 0, progress)], in_order=in_order)
    work = _Work(
        rules, registry, _with_silence_heard(parts, taken.events, listened), taken.until, listened, alerts
    )
    outcomes = []
    for part, packed in zip(parts, _in_processes(work), strict=True):
        outcomes.append(_unpacker.decode(packed))
        progress(len(part))
    return _whole(outcomes, in_order=in_order)


def _in_processes(work: _Work) -> Iterator[bytes]:
    """The outcome of each part, packed, from a process of its own; when one ends badly, all end."""
    context = _context()
    receivers = []
    try:
        with _interrupts_wait():
            for number in range(len(work.parts)):
                receiver, sender = context.Pipe(duplex=False)
                context.Process(target=_run_and_send, args=(work, number, sender), daemon=True).start()
                sender.close()  # so that the end of the process is the end of the pipe
                receivers.append(receiver)
        for receiver in receivers:
            found = receiver.recv()
            if isinstance(found, Exception):
                raise found
            yield found
    except EOFError as error:
        raise Killed("one of the processes was killed, perhaps for want of memory") from error
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
            process.join()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """An interrupt while processes are started comes when all of them are known, and can be ended."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stays(registry: Registry, taken: Input) -> list[Stay]:
    """The effective stays of all patients, by patient and time."""
    found = Engine([], registry).recall_stays(taken.events, taken.until) if taken.until is not None else ()
    return sorted(found, key=lambda stay: (stay.patient, stay.entered_at, stay.encounter or "", stay.place))


def shares(events: Sequence[Event], jobs: int) -> list[list[Event]]:
    """The events in as many parts, by patient; patients whom any merge links are in one part."""
    chart = _charts(events)
    parts: list[list[Event]] = [[] for _ in range(jobs)]
    part_of: dict[str, list[Event]] = {}
    for event in events:
        part = part_of.get(event.patient)
        if part is None:
            key = chart.get(event.patient, event.patient)
            part = part_of[event.patient] = parts[crc32(key.encode(errors="surrogatepass")) % jobs]
        part.append(event)
    return [part for part in parts if part]


def _charts(events: Iterable[Event]) -> dict[str, str]:
    """One key for all patients whom merges link, by the key of each of them."""
    above: dict[str, str] = {}

    def top(key: str) -> str:
        while key in above:
            key = above[key]
        return key

    for event in events:
        if event.type == "merge":
            for (retired, _), (survivor, _) in retirements(event):
                one, other = top(retired), top(survivor)
                if one != other:
                    above[one] = other
    return {key: top(key) for key in above}


def _with_silence_heard(
    parts: list[list[Event]], events: Sequence[Event], listened: set[str]
) -> list[list[Event]]:
    """The parts, each with heartbeats at the instants at which a source was heard in another part."""
    if not listened:
        return parts
    place = {event.patient: number for number, part in enumerate(parts) for event in part}
    heard: list[list[Event]] = [[] for _ in parts]
    for event in events:
        for number, part in enumerate(heard):
            if place[event.patient] == number:
                part.append(event)
            elif event.source in listened:
                part.append(_heartbeat(event))
    return heard


def _heartbeat(event: Event) -> Event:
    return Event(
        id=event.id,
        type=HEARTBEAT,
        patient="-",
        occurred_at=event.recorded_at,
        source=event.source,
        arrived_at=event.arrived_at,
    )


class _Work(msgspec.Struct):
    """What each process needs."""

    rules: Sequence[CaseRule]
    registry: Registry
    parts: list[list[Event]]
    until: datetime | None
    listened: set[str]
    alerts: bool


_packer: Final = msgspec.msgpack.Encoder()  # much faster than pickle
_unpacker: Final = msgspec.msgpack.Decoder(Outcome)


def _context() -> ForkContext | SpawnContext:
    """A forked process has the events already; elsewhere they are sent to it."""
    if "fork" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def _run_and_send(work: _Work, number: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    try:
        found: bytes | Exception = _packer.encode(_run(work, number, lambda _events: None))
    except Exception as error:  # noqa: BLE001 - told by the first process, without the data that led to it
        found = error
    sender.send(found)


def _run(work: _Work, number: int, progress: Callable[[int], None]) -> Outcome:
    """Run one part. Every part knows all the feeds; the first tells of them."""
    engine = Engine(work.rules, work.registry, listened=work.listened, tells_verdicts=False)
    events = work.parts[number] if work.parts else []
    alerts: list[AlertChange] = []
    if work.alerts:
        for changes in _lived(engine, events, work.until, progress):
            alerts += [
                change
                for change in changes
                if isinstance(change, AlertChange) and (number == 0 or change.rule != FEED)
            ]
        verdicts = list(engine.verdicts())
    elif work.until is not None:
        verdicts = list(engine.recall(_reported(events, progress), work.until))
    else:
        verdicts = []
    return Outcome(verdicts, alerts, {**engine.counts, "stale": sum(case.is_stale for case in verdicts)})


def _lived(
    engine: Engine, events: list[Event], until: datetime | None, progress: Callable[[int], None]
) -> Iterator[list[Change]]:
    """What changed, event by event, and until the clock stands at the end."""
    for event in _reported(events, progress):
        changes = engine.observe(event)
        if changes:
            yield changes
    if until is not None:
        yield engine.advance(until)


def _reported(events: list[Event], progress: Callable[[int], None]) -> Iterator[Event]:
    for start in range(0, len(events), _STEP):
        yield from events[start : start + _STEP]
        progress(min(_STEP, len(events) - start))


def _whole(outcomes: Sequence[Outcome], *, in_order: bool) -> Outcome:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    counts.pop("heartbeats", None)  # told to every part
    verdicts = outcomes[0].verdicts
    for part in outcomes[1:]:
        verdicts += part.verdicts
    if in_order:
        _sort(verdicts, attrgetter("trigger_at", "rule"), attrgetter("case"))
    return Outcome(
        verdicts,
        sorted((each for part in outcomes for each in part.alerts), key=when),
        counts,
    )


def when(change: AlertChange) -> tuple[datetime, str, str, int]:
    """The order of alert changes: by instant, rule and case."""
    return change.at, change.rule, change.alert, change.sequence[2]
