"""What the live service does with messages and time: facts on disk, verdicts, notices. For one thread, the lane's.

`write` makes messages durable, `judge` shows them to the engine. What changes is written with the next batch, and so
reaches whoever reads and delivers. After a crash nothing of that is missing: it follows from the facts again, and is
compared with what was written before (contract, section 6, at its end).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final, NamedTuple, Protocol

from monitor.core.event import Event
from monitor.core.horizon import horizon
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, Rule
from monitor.formats import fhir
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject
from monitor.ingest import again
from monitor.ingest.intake import Message, Position
from monitor.notify.routing import Router
from monitor.runtime import news
from monitor.runtime.batch import Asked, Batch, Folded, Kept
from monitor.runtime.beginning import Beginning, asleep, note_rules, resumed
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import StoreError
from monitor.runtime.recorded import heartbeat
from monitor.runtime.store import Store

_QUIET_FOR: Final = timedelta(minutes=5)
"""A journey of which nothing was heard for so long need not be in memory."""
_FOLDED_AT_ONCE: Final = 300
"""Journeys, so that no pause is long."""
_MOST_HOT: Final = 5_000
"""With more journeys in memory, those that came first are folded, even while messages come for them."""
_LOOK_AROUND: Final = timedelta(seconds=2)
"""How often, of the engine's time at most, to see whether anything else is to be done."""
_FORGET_EVERY: Final = timedelta(hours=1)
_NEWS_WAIT: Final = 0.02
"""Seconds for which news that nobody is to be told of wait for messages to be written with: one sync of the disk serves both."""


class Loaded(NamedTuple):
    """Rules and registry, as one state of their files."""

    rules: Sequence[Rule]
    registry: Registry
    digest: str
    """Differs when what the rules mean may differ."""


class Watcher(news.Watcher, Protocol):
    """What is counted and logged of all this; nothing in it may name a patient."""

    def took(self, events: Sequence[Event], rejects: Sequence[Kept], at: datetime) -> None: ...
    def wrote(self, seconds: float) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...
    def mended(self, what: str) -> None: ...


class Live:
    """The engine over the store, by the clock."""

    def __init__(
        self,
        store: Store,
        clock: LiveClock,
        loaded: Loaded,
        router: Callable[[Registry], Router],
        watcher: Watcher,
        *,
        link: str | None = None,
        wake: Callable[[Collection[str]], None] = lambda _sinks: None,
        least_horizon: timedelta = timedelta(days=45),
    ) -> None:
        """`wake` is called with the names of sinks for which there are deliveries."""
        self._store = store
        self._clock = clock
        self._loaded = loaded
        self._make_router = router
        self._watcher = watcher
        self._link = link
        self._wake = wake
        self._least_horizon = least_horizon
        now = self._look_at = self._forget_at = clock.now()
        self._outage = news.Outage(store.clock() or now, now)
        self._written_at = self._outage.since
        self._facts: list[Event] = []
        """Written, and not shown to the engine yet."""
        self._uncounted: list[tuple[Sequence[Event], Sequence[Kept], datetime]] = []
        """What was taken, and whoever brought it is told first that it was."""
        self._left_out: set[str] = set()
        """Patients whose journeys could not be read; their facts are kept."""
        self._crowded_above = _MOST_HOT
        """With more journeys in memory some are folded. Those that cannot be, because merges link them, are not looked at each time."""
        self._is_in_doubt = False
        """Whether the last attempt to begin failed, and not for the store."""

    @property
    def registry(self) -> Registry:
        return self._loaded.registry

    @property
    def loaded(self) -> Loaded:
        return self._loaded

    # At the start, and after a reload

    def use(self, loaded: Loaded) -> None:
        """Other rules and another registry, from the next `begin` on; what then differs from what was told is told."""
        self._loaded = loaded

    def begin(self) -> Iterator[None]:
        """Go on from what is on disk: journeys, deadlines, alerts; then judge what fell due meanwhile. Raises `StoreError`.

        Step by step: between two of them messages may be written. They are judged at the end.
        """
        try:
            yield from self._begin(is_careful=self._is_in_doubt)
        except StoreError:
            raise
        except Exception:
            self._is_in_doubt = True
            raise
        self._is_in_doubt = False

    def _begin(self, *, is_careful: bool) -> Iterator[None]:
        """Careful: live all journeys again until the present, each by itself, so that one that fails is known and left out."""
        store = self._store
        note_rules(store, self._loaded.digest)
        known = self._written_at = store.clock() or self._clock.now()
        self._clock.not_before(known)
        links = store.links()
        folded = [] if is_careful else asleep(store, known, links)
        self._make_engine(self._clock.next() if is_careful else known, folded)
        beginning = Beginning(store, self._engine, self._shelf, self._news, self._write, self._watcher.failed)
        self._facts, self._left_out = [], beginning.left_out
        for number in beginning.steps(links):
            if len(beginning.awake) > _MOST_HOT:
                self._fold(timedelta(0), number)
            yield
        self._observe()
        beginning.end()
        if not self._left_out:
            self._watcher.mended("journey")

    def _make_engine(self, now: datetime, folded: Sequence[Folded]) -> None:
        rules, registry, _ = self._loaded
        judged = [rule for rule in rules if isinstance(rule, CaseRule)]
        self._horizon = horizon(judged, self._least_horizon)
        self._engine, self._shelf = resumed(self._store, judged, registry, now, folded)
        self._news = news.News(
            self._engine,
            self._shelf,
            self._store,
            rules,
            registry,
            self._make_router(registry),
            self._watcher,
            link=self._link,
            outage=self._outage,
        )

    # Messages in

    def write(
        self,
        messages: Sequence[Message],
        positions: Sequence[Position],
        retried: Sequence[tuple[int, Reject | None]] = (),
    ) -> None:
        """Make messages durable, and what has come of those before them. Raises `StoreError`: nothing was written."""
        arrived_at = self._clock.next()
        batch = Batch(clock=arrived_at, positions=list(positions), retried=list(retried))
        visits: dict[tuple[str, str], Visit] = {}
        events = [event for message in messages for event in self._sorted(message, arrived_at, batch, visits)]
        for event in events:
            event.arrived_at = batch.heard[event.source] = arrived_at
        batch.facts = [event for event in events if self._engine.keeps(event)]
        batch.visits = list(visits.values())
        self._write(batch)
        self._count()
        self._uncounted.append((events, batch.rejects, arrived_at))
        self._facts += batch.facts
        self._shelf.before = self._shelf.before or arrived_at
        for source in batch.heard.keys() - {event.source for event in batch.facts}:
            self._facts.append(heartbeat(source, arrived_at))

    def _sorted(
        self, message: Message, at: datetime, batch: Batch, visits: dict[tuple[str, str], Visit]
    ) -> list[Event]:
        """The events of a message; what cannot be used of it goes to the rejects of the batch."""
        events, reject = message.events, message.reject
        if message.visit is not None:
            key = (message.visit.source, message.visit.key)
            batch.heard[message.visit.source] = at  # also by a version that changes nothing
            try:
                events, visits[key] = fhir.changes(message.visit, visits.get(key) or self._store.visit(*key))
            except StoreError:
                raise
            except Exception:  # noqa: BLE001 - whatever is in it must not keep back what came with it
                reject = Reject("visit-not-compared", "its versions cannot be compared; please report it")
        if reject is not None and not batch.retried:
            batch.rejects.append(_kept(message, reject, at))
        return events

    def _write(self, batch: Batch) -> None:
        """Write a batch together with the news, which are then no more."""
        batch.clock = self._written_at = max(batch.clock, self._written_at)
        self._news.put_into(batch)
        batch.hot += self._shelf.unfolded
        began = perf_counter()
        self._store.write(batch)
        self._watcher.wrote(perf_counter() - began)
        self._watcher.mended("store")
        self._news.clear()
        self._shelf.unfolded.clear()
        if batch.deliveries:
            self._wake({sink for sink, _, _ in batch.deliveries})

    # Conclusions

    def judge(self) -> None:
        """Show the engine what was written, move its clock to the present, and do what else is to be done now and then."""
        self._count()
        self._observe()
        now = self._engine.now[0]
        if self._engine.in_memory > self._crowded_above:
            self._fold(timedelta(0), max(_FOLDED_AT_ONCE, self._engine.in_memory - _MOST_HOT))
            self._crowded_above = max(_MOST_HOT, self._engine.in_memory + _FOLDED_AT_ONCE)
        if now >= self._look_at:
            self._look_at = now + _LOOK_AROUND
            self._fold(_QUIET_FOR, _FOLDED_AT_ONCE)
            self._try_again()
            self._forget(now)

    def _count(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        for events, rejects, at in uncounted:
            self._watcher.took(events, rejects, at)

    def _observe(self) -> None:
        facts, self._facts = self._facts, []
        for event in facts:
            is_left_out = event.patient in self._left_out
            self._news.tell(self._engine.observe(_only_heard(event) if is_left_out else event))
        self._shelf.before = None
        self._advance(self._clock.next())

    def has_news(self) -> bool:
        """Whether conclusions wait to be written."""
        return bool(self._news)

    def seconds_until_due(self) -> float:
        """How long nothing will happen, if nothing comes. What someone is to be told of is written at once."""
        if self._news.deliveries:
            return 0.0
        due = self._engine.next_due()
        seconds = 1.0 if due is None else max(self._clock.seconds_until(due), 0.001)
        return min(seconds, _NEWS_WAIT) if self._news else seconds

    @property
    def journeys(self) -> int:
        """How many patients may still be told of; those in memory, and those on the shelf."""
        return self._engine.in_memory + len(self._shelf)

    @property
    def counts(self) -> dict[str, int]:
        """What was odd about events, since the rules were last put in use: repeats, conflicts, times to come, old news."""
        return dict(self._engine.counts)

    def position(self, name: str) -> str | None:
        return self._store.position(name)

    def failed(self, error: Exception) -> None:
        """Something could not be done; it is tried again."""
        self._watcher.failed("store", error)

    def _advance(self, now: datetime) -> None:
        self._news.tell(self._engine.advance(now))

    # Now and then

    def _fold(self, quiet_for: timedelta, most: int) -> None:
        """Put quiet journeys on the shelf, some at a time; not before what stands of them has been written."""
        if self._news.read_again:
            return
        unjudged = {event.patient for event in self._facts}
        for patient, due, in_place, *_ in self._engine.fold(self._engine.now[0] - quiet_for, most):
            if patient in unjudged:
                continue  # on disk it is awake, for there more is known of it than has been judged
            at, phase = due or (None, 0)
            self._news.folded.append(Folded(patient, at, phase, due is None and not in_place))

    def _try_again(self) -> None:
        """Decode the rejects that someone asked for once more."""
        for asked in self._store.retries():
            messages = self._read_again(asked)
            reject = next((each.reject for each in messages if each.reject is not None), None)
            self.write(messages, [], [(asked.id, reject)])
            self._observe()

    def _read_again(self, asked: Asked) -> list[Message]:
        origin, content, where, source = asked.origin, asked.content, asked.where, asked.source
        try:
            return list(again.read(content, origin, where, source, self._loaded.registry))
        except Exception:  # noqa: BLE001 - it would be tried again and again, and nothing else be done
            reject = Reject("not-read-again", "it cannot be read; please report it")
            return [Message(origin=origin, content=content, where=where, source=source, reject=reject)]

    def _forget(self, now: datetime) -> None:
        """Drop journeys that have been over for longer than the horizon, some at a time (contract, section 5, Old news)."""
        if now < self._forget_at:
            return
        quiet_since = now - self._horizon
        linked = [Folded(key, None, 0, True) for keys in self._engine.over(quiet_since) for key in keys]
        if linked:
            self._write(Batch(clock=now, folded=linked))
        forgotten = self._store.forget(quiet_since)
        self._shelf.forget(forgotten)
        for patient in forgotten:
            self._engine.forget(patient)
        if not forgotten:
            self._forget_at = now + _FORGET_EVERY


def _only_heard(event: Event) -> Event:
    return heartbeat(event.source, event.arrived_at or event.recorded_at)


def _kept(message: Message, reject: Reject, at: datetime) -> Kept:
    return Kept(
        origin=message.origin,
        where=message.where,
        source=message.source,
        reason=reject.reason,
        detail=reject.detail,
        segment=reject.segment,
        field=reject.field,
        content=message.content,
        arrived_at=at,
    )
