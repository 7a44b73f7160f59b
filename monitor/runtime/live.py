"""What the live service does with messages and time: facts on disk, verdicts, notices. For one thread, the lane's.

`write` makes messages durable, `judge` shows them to the engine. What changes is written with the next batch, and so
reaches whoever reads and delivers. After a crash nothing of that is missing: it follows from the facts again, and is
compared with what was written before (contract, section 6, at its end).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from time import perf_counter
from typing import Final, NamedTuple, Protocol

from monitor.core.alert import case_id
from monitor.core.change import AlertChange, CaseVerdict, Change, VerdictChange, id_of
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.horizon import horizon
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, Rule
from monitor.core.verdict import Case
from monitor.formats import fhir
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject
from monitor.ingest import again
from monitor.ingest.intake import Message, Position
from monitor.notify.notice import Notice
from monitor.notify.routing import Route, Router, notify_roles
from monitor.notify.tell import notice
from monitor.runtime.batch import Asked, Batch, Folded, Kept
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import StoreError
from monitor.runtime.recorded import heartbeat
from monitor.runtime.shelf import DiskShelf
from monitor.runtime.store import Store

_DIGEST: Final = "rules-digest"
_GENERATION: Final = "rules-generation"
_FEED: Final = "feed"
"""What stands for a rule in the alerts of feeds."""
_QUIET_FOR: Final = timedelta(minutes=5)
"""A journey of which nothing was heard for so long need not be in memory."""
_FOLDED_AT_ONCE: Final = 300
"""Journeys, so that no pause is long."""
_RELIVED_AT_ONCE: Final = 500
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


class Watcher(Protocol):
    """What is counted and logged of all this; nothing in it may name a patient."""

    def took(self, events: Sequence[Event], rejects: Sequence[Kept], at: datetime) -> None: ...
    def judged(self, change: VerdictChange, told: CaseVerdict | None) -> None: ...
    def alerted(self, told: Notice) -> None: ...
    def wrote(self, seconds: float) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...
    def mended(self, what: str) -> None: ...


class _News:
    """What has come of the facts and the time, and is to be written."""

    def __init__(self) -> None:
        self.verdicts: dict[Case, CaseVerdict] = {}
        self.gone: dict[str, None] = {}
        self.notices: list[Notice] = []
        self.deliveries: list[tuple[str, str, Notice]] = []
        self.routes: dict[str, list[Route]] = {}
        """To whom the changes of each alert are to be sent."""
        self.folded: list[Folded] = []
        self.read_again: set[str] = set()
        """Patients of whose cases more may have changed than verdicts: all that stands of them is written."""

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.gone or self.notices or self.folded or self.read_again)


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
        self._started_at = self._look_at = self._forget_at = clock.now()
        self._ended_at = store.clock() or self._started_at
        """When the service before this one last wrote."""
        self._written_at = self._ended_at
        self._facts: list[Event] = []
        """Written, and not shown to the engine yet."""
        self._news = _News()
        self._told: dict[str, Notice] = {}
        """At the start: alerts as they were told before, until they have been compared."""
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
        if store.recall(_DIGEST) != self._loaded.digest:
            generation = int(store.recall(_GENERATION) or -1) + 1
            store.begin_generation({_DIGEST: self._loaded.digest, _GENERATION: str(generation)})
        known = self._written_at = store.clock() or self._clock.now()
        self._clock.not_before(known)
        links = store.links()
        asleep = [
            each
            for each in store.folded()
            if (each.due_at is None or each.due_at > known) and each.patient not in links and not is_careful
        ]
        self._make_engine(self._clock.next() if is_careful else known, asleep)
        self._news, self._facts, self._left_out = _News(), [], set()
        self._told = {each.alert: each for each in store.alerts_known()}
        yield from self._relive_all(links)
        self._observe()
        self._end_feed_alerts()
        self._told = {}
        if not self._left_out:
            self._watcher.mended("journey")

    def _make_engine(self, now: datetime, asleep: Sequence[Folded]) -> None:
        loaded, store = self._loaded, self._store
        self._rules = {rule.id: rule for rule in loaded.rules}
        self._router = self._make_router(loaded.registry)
        self._shelf = DiskShelf(store.facts, (each.patient for each in asleep))
        rules = [rule for rule in loaded.rules if isinstance(rule, CaseRule)]
        self._horizon = horizon(rules, self._least_horizon)
        self._engine = Engine(
            rules,
            loaded.registry,
            generation=int(store.recall(_GENERATION) or 0),
            listened=[
                name for name, each in loaded.registry.sources.items() if each.silent_after is not None
            ],
            shelf=self._shelf,
        )
        dues = ((each.due_at, each.phase) if each.due_at else None for each in asleep)
        self._engine.resume(now, zip((each.patient for each in asleep), dues, strict=True))
        for source, runs in store.heard().items():
            self._engine.heard(source, runs)

    def _relive_all(self, links: Mapping[str, Collection[str]]) -> Iterator[None]:
        """Live the journeys again that are not asleep, those that merges link together, and write how they stand."""
        told: dict[str, list[str]] = defaultdict(list)
        for each in self._told.values():
            told[each.patient].append(each.alert)
        awake = [patient for patient in self._store.patients() if patient not in self._shelf]
        groups = _groups(awake, links)
        while some := list(islice(groups, _RELIVED_AT_ONCE)):
            patients = self._relive(some)
            alerts = [alert for patient in patients for alert in told.get(patient, ())]
            self._end([self._told.pop(alert) for alert in alerts if alert in self._told], "withdrawn")
            if len(awake) > _MOST_HOT:
                self._fold(timedelta(0), len(patients))
            yield

    def _relive(self, groups: Iterable[Collection[str]]) -> list[str]:
        """Live the journeys of some groups of patients again; of one that cannot be read all stays as it was told."""
        patients: list[str] = []
        verdicts: list[CaseVerdict] = []
        for group in groups:
            try:
                self._tell(self._engine.load(min(group), self._facts_of(group)))
                for of_chart, alerts in self._stands(group):
                    verdicts += of_chart
                    for change in alerts:
                        self._compare(change)
                patients += group
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - one journey that cannot be read must not silence all others
                self._watcher.failed("journey", error)
                self._left_out |= set(group)
        self._write(Batch(clock=self._engine.now[0], anew=patients, verdicts=verdicts))
        return patients

    def _facts_of(self, patients: Iterable[str]) -> bytes:
        """The facts of all of them, packed as those of one."""
        packed = [self._store.facts(patient, self._shelf.before)[1:-1] for patient in patients]
        return b"[" + b",".join(filter(None, packed)) + b"]"

    def _compare(self, change: AlertChange) -> None:
        """Tell how an alert stands, if that has not been told; one that is over and was never told is no news."""
        if change.alert in self._told or change.state == "firing":
            self._alert(change)

    def _end_feed_alerts(self) -> None:
        """Tell of feeds that fell silent, and were heard again before that was told, or are not listened to any more."""
        listened = {case_id(_FEED, None, source, "", None) for source in self._engine.feeds}
        left = [each for each in self._told.values() if each.rule == _FEED]
        self._end((each for each in left if each.alert in listened), "heard")
        self._end((each for each in left if each.alert not in listened), "withdrawn")

    def _end(self, left: Iterable[Notice], reason: str) -> None:
        """Tell of alerts that were told, and of which the rules and the facts now know nothing."""
        for each in left:
            if each.state == "firing":
                now = self._engine.now[0]
                each.state, each.reason, each.at = "resolved", reason, now
                # before all that the engine may yet tell of it at this instant
                each.sequence = max(each.sequence, (self._engine.generation, now, -2))
                each.sequence = (*each.sequence[:2], each.sequence[2] + 1)
                self._send(each, ())

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
        self._watcher.took(events, batch.rejects, arrived_at)
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
        news = self._news
        batch.clock = self._written_at = max(batch.clock, self._written_at)
        batch.verdicts += news.verdicts.values()
        again = news.read_again.difference(batch.anew)
        batch.anew += again
        for verdicts, _ in self._stands(again):
            batch.verdicts += verdicts
        batch.gone += news.gone
        batch.notices += news.notices
        batch.deliveries += news.deliveries
        batch.folded += news.folded
        batch.hot += self._shelf.unfolded
        began = perf_counter()
        self._store.write(batch)
        self._watcher.wrote(perf_counter() - began)
        self._watcher.mended("store")
        self._news = _News()
        self._shelf.unfolded.clear()
        if batch.deliveries:
            self._wake({sink for sink, _, _ in batch.deliveries})

    def _stands(self, patients: Collection[str]) -> Iterator[tuple[list[CaseVerdict], list[AlertChange]]]:
        """What stands of patients, once for all of them whom merges link; not of those on the shelf."""
        seen: set[str] = set()
        for patient in patients:
            if patient not in seen and patient not in self._shelf:
                keys, verdicts, alerts = self._engine.stands(patient)
                seen |= keys
                yield verdicts, alerts

    # Conclusions

    def judge(self) -> None:
        """Show the engine what was written, move its clock to the present, and do what else is to be done now and then."""
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

    def _observe(self) -> None:
        facts, self._facts = self._facts, []
        for event in facts:
            is_left_out = event.patient in self._left_out
            self._tell(self._engine.observe(_only_heard(event) if is_left_out else event))
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
        self._tell(self._engine.advance(now))

    def _tell(self, changes: Sequence[Change]) -> None:
        if self._engine.read_again:
            self._news.read_again |= self._engine.read_again
            self._engine.read_again.clear()
        for change in changes:
            if isinstance(change, VerdictChange):
                self._verdict(change)
            else:
                self._alert(change)

    def _verdict(self, change: VerdictChange) -> None:
        case, told, news = change.of, self._engine.verdict(change.of), self._news
        if told is None:
            news.verdicts.pop(case, None)
            news.gone[id_of(case)] = None
        else:
            news.verdicts[case] = told
            if news.gone:
                news.gone.pop(told.case, None)
        self._watcher.judged(change, told)

    def _alert(self, change: AlertChange) -> None:
        was = self._told.pop(change.alert, None) if self._told else None
        if was is not None and (was.state, was.level, was.reason) == (
            change.state,
            change.level,
            change.reason,
        ):
            return
        rule = self._rules.get(change.rule)
        told = notice(
            change,
            rule,
            self._loaded.registry,
            pseudonym=self._store.pseudonym(change.patient) if change.patient else "",
            link=self._link,
            after_outage=self._ended_at <= change.at < self._started_at,
        )
        self._send(told, notify_roles(rule, change.level) if rule is not None else ())

    def _send(self, told: Notice, roles: Sequence[str]) -> None:
        routes = self._news.routes.setdefault(told.alert, [])
        already = [*self._store.receivers_of(told.alert), *routes]
        self._watcher.alerted(told)
        self._news.notices.append(told)
        routes += (found := self._router.route(told, roles, already))
        self._news.deliveries += [(*route, told) for route in found]

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


def _groups(patients: Iterable[str], links: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Each patient together with all whom merges link with it, once."""
    seen: set[str] = set()
    for patient in patients:
        if patient not in seen:
            group = _linked(patient, links)
            seen |= group
            yield sorted(group)


def _linked(patient: str, links: Mapping[str, Collection[str]]) -> set[str]:
    """A patient, and all whom merges link with it."""
    found, left = {patient}, [patient]
    while left:
        more = set(links.get(left.pop(), ())) - found
        found |= more
        left += more
    return found


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
