"""The engine: events and time in, changes of verdicts and alerts out. Pure; it never reads a clock.

Its state is the facts of each chart. What it keeps beside them (timelines, open cases, a heap of instants) only saves
reading the contract from scratch at every event: in order it appends, else it reads that one chart again.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from monitor.core.alert import Alert, Judgement, case_id, follow
from monitor.core.change import (
    AlertChange,
    CaseVerdict,
    Change,
    VerdictChange,
    id_of,
    told,
    within_instant,
    word,
)
from monitor.core.chart import CaseKey, Chart, arrival, linked_keys, unique
from monitor.core.clock import Clock, after
from monitor.core.event import EARLIEST, Event, canonical_bytes
from monitor.core.feed import Feed
from monitor.core.journey import Fact, Journey, Stay, effective, plain_fact, stays
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.core.rulebook import IDLE, NONE, PLAIN, WEIGHTY, Rulebook
from monitor.core.verdict import Case

_STALE_AFTER: Final = timedelta(hours=24)
"""How long after a violation a case without a deadline is over (contract, section 5, Old news)."""


class Engine:
    """Runs rules over journeys. The verbs return the changes that follow, earliest first."""

    def __init__(
        self,
        rules: Sequence[CaseRule],
        registry: Registry,
        *,
        generation: int = 0,
        listened: Collection[str] = (),
        tells_verdicts: bool = True,
        shelf: MutableMapping[str, bytes] | None = None,
    ) -> None:
        """`listened`: the sources whose silence counts, if they declare `silent_after`.

        Without `tells_verdicts` only changes of alerts are returned; `verdicts` are there all the same. `shelf` holds
        the journeys that are folded, by patient, as `dump` packs them; by default they are in memory, compressed.
        """
        self.generation = generation
        self.counts: Counter[str] = Counter()
        self._tells_verdicts = tells_verdicts
        self.now: Clock = (EARLIEST, 0)
        self._settled_at: Clock | None = None
        """The last clock of which all was derived that was known by then."""
        self.feeds = {name: Feed(name, registry) for name in listened}
        self._book = Rulebook(rules, registry)
        self._charts: dict[str, Chart] = {}
        self._shelf = _Compressed() if shelf is None else shelf
        """Journeys that have been quiet, each as the packed bytes of its facts."""
        self._due: list[tuple[datetime, int, int, Case | Chart | Feed]] = []
        self._pushed = 0
        self._alarms: list[tuple[datetime, int, str]] = []
        """When journeys on the shelf are to be unfolded, for something in them is due; apart, for they are many."""
        self._alarm_of: dict[str, Clock] = {}
        """The first alarm of each patient."""
        self._touched: list[Case] = []
        self._to_read: list[Chart] = []
        self._held: dict[str, list[Case]] = {}
        """By source, the cases that its silence may hold back."""
        self._feed_alerts: dict[str, Alert] = {}
        self._watched: set[str] = set()
        """The sources for which a look is due."""
        self.read_again: set[str] = set()
        """Patients of whom more than verdicts may have changed since its user emptied this: of a case whose verdict is the same, all else may differ."""

    def observe(self, event: Event) -> list[Change]:
        """Take an event at its `arrived_at`, which must not be before the engine's clock.

        Returns what changed before that instant. What follows from the event is told by the next verb whose time is
        later (or by `advance` to the same instant), for all that arrives at one instant counts as one.
        """
        arrived_at, now = event.arrived_at, self.now[0]
        if arrived_at is None or arrived_at < now:
            raise ValueError("an event must have an `arrived_at` that is not before the engine's clock")
        changes = self._run_until((arrived_at, 0)) if arrived_at > now else []
        if self.feeds and event.source in self.feeds:
            feed = self.feeds[event.source]
            feed.heard(arrived_at)
            self._watch(feed)
        self._take(event, arrived_at)
        return changes

    def advance(self, now: datetime) -> list[Change]:
        """Move the clock: what became effective, overdue, unknown, escalated, gave up or expired until `now`."""
        if now < self.now[0]:
            raise ValueError("the engine's clock does not go back")
        changes = self._run_until((now, 0))
        self._settle(changes)
        return changes

    def recall(self, events: Iterable[Event], now: datetime) -> Iterator[CaseVerdict]:
        """The verdicts on events of the past, given with their arrivals, at a clock after them, without living through it.

        Verdicts follow from the facts alone; alerts, which also depend on what was known when, are not raised. For
        looking back at a finished history, at a fraction of the cost: one chart after the other, and none is kept. Of
        an engine that has taken nothing yet.
        """
        for chart in self._recalled(events, now):
            yield from self._verdicts_of(chart)

    def recall_stays(self, events: Iterable[Event], now: datetime) -> Iterator[Stay]:
        """The effective stays in events of the past, likewise."""
        for chart in self._recalled(events, now):
            yield from self._stays_of(chart)

    @property
    def in_memory(self) -> int:
        """Patient keys whose journeys are not folded."""
        return len(self._charts)

    def next_due(self) -> datetime | None:
        """The next instant at which something may change without an event."""
        return min((heap[0][0] for heap in (self._due, self._alarms) if heap), default=None)

    def dump(self, patient: str) -> bytes:
        """The facts known under a patient key, packed; nothing derived is in it."""
        if patient in self._shelf:
            return self._shelf[patient]
        chart = self._charts.get(patient)
        own = [event for event in chart.events if event.patient == patient] if chart else []
        return _packer.encode(own)

    def standing(self, patient: str) -> Standing | None:
        """How a journey stands until a clock or an event changes it; None: it is not in memory, or hangs together with more than itself.

        When all is settled that has come: just after `advance`.
        """
        chart = self._charts.get(patient)
        if chart is None or not self._stands_alone(chart):
            return None
        return self._standing(patient, chart)

    def fold(self, before: datetime, most: int | None = None) -> list[Standing]:
        """Pack journeys of which nothing has been heard since `before` into the bytes of their facts, and put them on the shelf.

        A tenth of the memory, or none. Nothing that the engine tells depends on it: what comes for a patient, and what
        falls due, unfolds the journey again. Those that a merge links, or that a silent feed may hold back, stay as they
        are. At most `most` are folded; returns which.
        """
        for source, held in self._held.items():  # a feed that stays silent must not hold what is long over
            self._held[source] = [case for case in dict.fromkeys(held) if not _is_over(case)]
        all_quiet = (
            (patient, chart) for patient, chart in self._charts.items() if self._is_quiet(chart, before)
        )
        quiet = dict(islice(all_quiet, most))
        if not quiet:
            return []
        folded = [self._standing(patient, chart) for patient, chart in quiet.items()]
        self._due[:] = (
            entry for entry in self._due if not _is_over(entry[3]) and _patient_of(entry[3]) not in quiet
        )
        heapq.heapify(self._due)
        for each in folded:
            self._shelf[each.patient] = self.dump(each.patient)
            self._forget(quiet[each.patient])
            if each.due is not None:
                self._set_alarm(each.patient, each.due)
        return folded

    def _standing(self, patient: str, chart: Chart) -> Standing:
        due = chart.next_at
        waiting, alerts = [], []
        for case in chart.cases().values():
            if case.judged is not None and case.judged.verdict in _WAITS:
                deadline = case.form.due(case) if case.judged.verdict == "overdue" else None
                waiting.append((id_of(case), case.form.id, deadline[0] if deadline else None))
            alert = case.alert
            if alert is not None and alert.state is not None:
                changed_at = alert.changed_at or self.now[0]
                alerts.append((id_of(case), alert.state, alert.level, alert.reason, changed_at, alert.number))
            if case.look_at is not None and (due is None or case.look_at < due) and not _is_over(case):
                due = case.look_at
        return Standing(patient, due, chart.is_in_place(), waiting, alerts)

    def over(self, before: datetime) -> list[set[str]]:
        """The patient keys of each chart that merges link, cannot be folded therefore, and is over: quiet since `before`, nobody in a place."""
        return [
            chart.keys
            for chart in unique(self._charts.values())
            if chart.linked and not chart.to_read and arrival(chart.events[-1]) < before
            if not chart.is_in_place() and all(map(_is_at_rest, chart.cases().values()))
        ]

    def forget(self, patient: str) -> None:
        """Know nothing of a patient any more, nor of those whom merges link with it."""
        chart = self._charts.get(patient)
        if chart is not None:
            self._forget(chart)

    def resume(self, now: datetime, folded: Iterable[tuple[str, Clock | None]]) -> None:
        """Begin at a clock, with journeys that an engine of the same rules had folded, and when each is next due.

        The shelf holds them already; none may be due before `now`. Of an engine that has taken nothing yet.
        """
        self.now = (now, 0)
        self._alarm_of = {patient: due for patient, due in folded if due}
        self._alarms = [(*due, patient) for patient, due in self._alarm_of.items()]
        heapq.heapify(self._alarms)

    def keeps(self, event: Event) -> bool:
        """Whether an event belongs to a journey; heartbeats do not, nor do demographics that no rule asks for."""
        is_alone = event.replaces is event.cancels is None
        return self._book.weights[event.type, event.to, event.source, is_alone] != NONE

    def heard(self, source: str, runs: Iterable[tuple[datetime, datetime]]) -> None:
        """Remember from when to when a source was heard without a gap, in order, before the engine begins to take events."""
        feed = self.feeds.get(source)
        if feed is not None:
            for since, until in runs:
                feed.heard_through(since, until)
            self._watch(feed)

    def verdict(self, case: Case) -> CaseVerdict | None:
        """What was last told of a case that a change of a verdict is about; None: there is no such case."""
        if case.judged is None:
            return None
        return told(case, case.judged, is_stale=self._is_stale(case, case.judged))

    def stands(self, patient: str) -> tuple[set[str], list[CaseVerdict], list[AlertChange]]:
        """What stands of a patient: all keys that merges link with it, the verdicts, and the alerts that ever fired."""
        chart = self._chart(patient)
        if chart is None:
            return {patient}, [], []
        return chart.keys, list(self._verdicts_of(chart)), list(self._alerts_of(chart))

    def load(self, patient: str, packed: bytes) -> list[Change]:
        """Add the facts of a patient key, and live again, for their chart alone, all that has happened to it since.

        Returns what changed meanwhile in other charts; where alerts of this one stand, `alerts` tells. Raises
        `msgspec.DecodeError` or `msgspec.ValidationError` when the bytes are not those of a dump.
        """
        events = _unpacker.decode(packed)
        changes: list[Change] = []
        self._settle(changes)
        for key in {patient, *linked_keys(events)}:
            chart = self._chart(key)
            if chart is not None:
                events += chart.events
                self._forget(chart)
        past = self._past(sorted(_distinct(events), key=arrival))
        past.advance(max(past.now[0], self.now[0]))
        changes += self._run_until(past.now)
        self._adopt(past)
        return changes

    def use(self, rules: Sequence[CaseRule], registry: Registry) -> list[Change]:
        """Put new rules and a new registry over the same facts; by the contract's section 8 the past is theirs too."""
        changes: list[Change] = []
        self._settle(changes)
        before = {
            key: case for chart in self._all_charts() for key, case in chart.cases().items() if case.judged
        }
        packed = {key: self.dump(key) for key in (*self._charts, *self._shelf)}
        self.generation += 1
        self._book = Rulebook(rules, registry)
        self._charts, self._due, self._held, self._watched = {}, [], {}, set()
        self._alarms, self._alarm_of = [], {}
        self._shelf.clear()
        self.feeds = {name: feed.under(registry) for name, feed in self.feeds.items()}
        for feed in self.feeds.values():
            self._push(self.now, feed)
        for key, facts in packed.items():
            changes += self.load(key, facts)
        self._compare(before, changes)
        return changes

    def verdicts(self) -> Iterator[CaseVerdict]:
        """Every case of every journey, as it stands at the clock."""
        for chart in self._all_charts():
            yield from self._verdicts_of(chart)

    def alerts(self) -> Iterator[AlertChange]:
        """The present state of every alert that ever fired, as its last change."""
        for chart in self._all_charts():
            yield from self._alerts_of(chart)

    def stays(self) -> Iterator[Stay]:
        """Every effective stay of every journey."""
        for chart in self._all_charts():
            yield from self._stays_of(chart)

    def _verdicts_of(self, chart: Chart) -> Iterator[CaseVerdict]:
        now, feeds = self.now, self.feeds
        for journey in chart.journeys:
            for case in journey.cases:
                judged = self._judge(case)[0] if feeds else case.form.judge(case, now)
                if judged is not None:
                    yield told(case, judged, is_stale=self._is_stale(case, judged))

    def _alerts_of(self, chart: Chart) -> Iterator[AlertChange]:
        for case in chart.cases().values():
            if case.alert is not None and case.alert.state is not None:
                yield self._alert_change(case, case.alert)

    def _stays_of(self, chart: Chart) -> Iterator[Stay]:
        for journey in chart.journeys:
            yield from stays(journey.facts, self._book.registry)

    # Taking events in

    def _take(self, event: Event, arrived_at: datetime) -> None:
        is_alone = event.replaces is event.cancels is None
        weight = self._book.weights[event.type, event.to, event.source, is_alone]
        if weight == NONE:
            self.counts[event.type + "s"] += 1
            return
        chart = self._chart(event.patient)
        if chart is None:
            chart = self._charts[event.patient] = Chart(event.patient)
        name, names = (event.source, event.id), chart.names
        if name not in names:
            names.add(name)
            chart.events.append(event)
            if event.occurred_at > arrived_at:
                self.counts["future"] += 1
            if weight == IDLE and not chart.is_wary:
                return
            if weight != WEIGHTY and chart.is_plain and self._append(chart, event, arrived_at):
                return
        elif chart.has_copy_of(event):
            self.counts["duplicates"] += 1
            return
        else:
            self.counts["conflicts"] += 1
            chart.events.append(event)
        if event.type == "merge":
            self._link(chart, event)
        self._read_later(chart)

    # Looking back

    def _recalled(self, events: Iterable[Event], now: datetime) -> Iterator[Chart]:
        """The charts of some events, as they stand at a clock: those that no merge links one by one, then the others."""
        of_patient: dict[str, list[Event]] = defaultdict(list)
        linked: set[str] = set()
        feeds = self.feeds
        for event in events:
            if feeds and event.source in feeds:
                feeds[event.source].heard(arrival(event))
            if event.type == "merge":
                linked |= linked_keys([event]) | {event.patient}
            of_patient[event.patient].append(event)
        self.now = (now, 0)
        together: list[Event] = []
        # patient by patient: what is worked on stays in the processor's cache
        for patient, own in of_patient.items():
            if patient in linked:
                together += own
            else:
                yield from self._chart_of(patient, own)
        yield from self._charts_of(sorted(together, key=arrival))

    def _chart_of(self, patient: str, own: list[Event]) -> Iterable[Chart]:
        """The chart of one patient's events; read at once, if none is weighty, a repeat or still to come."""
        weights, now = self._book.weights, self.now[0]
        facts: list[Fact] = []
        left_out: list[str] = []
        future = 0
        for event in own:
            weighs = weights[event.type, event.to, event.source, event.replaces is event.cancels is None]
            arrived_at = event.arrived_at or event.recorded_at
            if weighs == PLAIN:
                facts.append(plain_fact(event, arrived_at))
            elif weighs == NONE:
                left_out.append(event.type + "s")
            elif weighs == WEIGHTY:
                return self._charts_of(own)
            if event.occurred_at > arrived_at:
                if event.occurred_at > now:
                    return self._charts_of(own)
                future += 1
        if len({event.id for event in own}) < len(own):
            return self._charts_of(own)
        self.counts.update(left_out)
        self.counts["future"] += future
        chart = Chart(patient)
        facts.sort(key=_in_order)
        journey, touched = chart.journey, list[Case]()
        for fact in facts:
            self._follow_fact(journey, fact, touched)
        return (chart,)

    def _charts_of(self, events: Sequence[Event]) -> list[Chart]:
        """The charts of any events, in order of arrival, read as they are when they come live."""
        for event in events:
            self._take(event, arrival(event))
        for chart in self._to_read:
            if chart.to_read:
                self._read(chart, [])
        charts = list(unique(self._charts.values()))
        self._charts, self._to_read, self._touched, self._due = {}, [], [], []
        return charts

    def _append(self, chart: Chart, event: Event, arrived_at: datetime) -> bool:
        """Append a plain event to its journey, if it is the next in order."""
        if event.occurred_at > arrived_at or (chart.is_wary and chart.concerns(event)):
            return False
        fact = plain_fact(event, arrived_at)
        journey = chart.journey_of(fact)
        if journey.facts and fact.order < journey.facts[-1].order:
            return False
        self._follow_fact(journey, fact, self._touched)
        return True

    def _follow_fact(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        """Append a fact to its journey and show it to the rules that it concerns."""
        book, event = self._book, fact.event
        journey.append(fact, book.places)
        fact.shape, plan = book.plans[event.type, fact.from_, fact.to, event.source]
        if fact.before != fact.after:
            for _, handle in book.moves[fact.before, fact.after]:
                handle(journey, fact, touched)
        for test, handle in plan:
            if test is None or test(fact):
                handle(journey, fact, touched)

    def _link(self, chart: Chart, merge: Event) -> None:
        """Make one chart of those that a merge, cancelled or not, has to do with."""
        chart.linked = True
        for key in linked_keys([merge]):
            other = self._chart(key)
            if other is None:
                chart.keys.add(key)
            elif other is not chart:
                chart.take_over(other)
        self._charts.update(dict.fromkeys(chart.keys, chart))

    def _read_later(self, chart: Chart) -> None:
        if not chart.to_read:
            chart.to_read, chart.is_plain = True, False
            self._to_read.append(chart)

    # Journeys in memory

    def _chart(self, patient: str) -> Chart | None:
        """The chart that a patient key leads to; one that was folded is unfolded."""
        chart = self._charts.get(patient)
        if chart is None and patient in self._shelf:
            is_settled = self._settled_at == self.now
            self._adopt(self._unfolded(self._shelf.pop(patient), is_settled=is_settled))
            return self._charts.get(patient)
        return chart

    def _all_charts(self) -> Iterator[Chart]:
        """Every chart; those that are folded are only looked at."""
        yield from unique(self._charts.values())
        for folded in self._shelf.values():
            past: Engine = self._unfolded(folded)
            past.advance(self.now[0])
            yield from past._charts.values()

    def _unfolded(self, folded: bytes, *, is_settled: bool = False) -> Engine:
        """A journey's own engine, at this clock; what happens at it has happened if it `is_settled`."""
        return self._past(_unpacker.decode(folded), self.now, is_settled=is_settled)

    def _past(
        self, events: Sequence[Event], until: Clock | None = None, *, is_settled: bool = False
    ) -> Engine:
        """An engine with the same rules that has lived through some events, given by arrival, and stands at the last or later."""
        past = Engine([], self._book.registry, generation=self.generation)
        past._book = self._book
        past._relive(events, self.feeds)
        if until is not None:
            past._run_until(until)
        if is_settled:
            past._settle([])
        return past

    def _adopt(self, past: Engine) -> None:
        """Take over what another engine has made of its events."""
        self._charts.update(past._charts)
        for at, phase, _, what in past._due:
            if not isinstance(what, Feed):
                self._push((at, phase), what)
        for source, held in past._held.items():
            self._held.setdefault(source, []).extend(held)

    def _is_quiet(self, chart: Chart, before: datetime) -> bool:
        return arrival(chart.events[-1]) < min(before, self.now[0]) and self._stands_alone(chart)

    def _stands_alone(self, chart: Chart) -> bool:
        """Whether nothing but its own facts and the clock has to do with it: no merge, and no silent feed."""
        if chart.linked or chart.to_read:
            return False
        if not any(self._held.values()):
            return True
        waiting = (case for case in chart.cases().values() if not _is_over(case))
        return not any(self._held.get(source) for case in waiting for source in self._sources(case))

    # The clock

    def _run_until(self, clock: Clock) -> list[Change]:
        """Let everything happen that happens before a clock, in order; then stand at it."""
        changes: list[Change] = []
        due = self._due
        is_settled = not (self._touched or self._to_read or (due and due[0][:2] <= self.now))
        self._wake(clock, is_settled=is_settled)
        if self._touched or self._to_read:
            self._settle(changes)
        while due and due[0] < clock:
            if _is_over(due[0][3]):
                heapq.heappop(due)
                continue
            self.now = due[0][:2]
            self._settle(changes)
        self.now = clock
        return changes

    def _settle(self, changes: list[Change]) -> None:
        """Derive what follows from all that has come to be known or due at this clock."""
        due, (at, phase) = self._due, self.now
        first = len(changes)
        self._wake((at, phase + 1))
        while due and due[0] < (at, phase + 1):
            what = heapq.heappop(due)[3]
            if isinstance(what, Case):
                if not _is_over(what):
                    self._touched.append(what)
            elif isinstance(what, Feed):
                self._turn(what, changes)
            else:
                self._read_later(what)
        self._settled_at = self.now
        if not self._touched and not self._to_read:
            return
        if self._to_read:
            for chart in self._to_read:
                if chart.to_read:
                    self._read(chart, changes)
            self._to_read = []
        touched, self._touched = self._touched, []
        for case in dict.fromkeys(touched) if len(touched) > 1 else touched:
            if not case.gone:
                self._tell(case, changes)
        if len(changes) - first > 1:
            changes[first:] = sorted(changes[first:], key=within_instant)

    def _push(self, clock: Clock, what: Case | Chart | Feed) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (*clock, self._pushed, what))

    def _set_alarm(self, patient: str, clock: Clock) -> None:
        """Have a journey unfolded in time; an earlier alarm, which still stands, will do."""
        earlier = self._alarm_of.get(patient)
        if earlier is None or clock < earlier:
            self._alarm_of[patient] = clock
            heapq.heappush(self._alarms, (*clock, patient))

    def _wake(self, before: Clock, *, is_settled: bool = False) -> None:
        """Unfold the journeys in which something is due before a clock. `is_settled`: all that happens at this one has happened."""
        alarms = self._alarms
        while alarms and alarms[0] < before:
            at, phase, patient = heapq.heappop(alarms)
            if self._alarm_of.get(patient) == (at, phase):
                del self._alarm_of[patient]
            if patient in self._shelf:
                is_after = is_settled and (at, phase) > self.now
                self._adopt(self._unfolded(self._shelf.pop(patient), is_settled=is_after))

    # Reading a chart from its facts

    def _read(self, chart: Chart, changes: list[Change]) -> None:
        """Derive a chart again from its facts, and tell what differs."""
        patient = chart.events[0].patient
        if self._charts.get(patient) is not chart:
            return  # another has taken it over
        before = chart.cases()
        read = effective(chart.events, self.now[0])
        chart.begin_again(read, patient)
        if chart.next_at is not None:
            self._push(chart.next_at, chart)
        self.read_again |= chart.keys
        for journey in chart.journeys:
            for fact in read.journeys.get(journey.patient, ()):
                self._follow_fact(journey, fact, [])
        now_there = chart.cases()
        for key, case in before.items():
            case.gone = True
            successor = now_there.get(key)
            if successor is not None:
                successor.judged, successor.alert = case.judged, case.alert
            elif case.judged is not None or case.alert is not None:
                self._tell(case, changes)
                if case.alert is not None:
                    chart.lost[key] = case
        self._touched += now_there.values()

    def _forget(self, chart: Chart) -> None:
        for key in chart.keys:
            del self._charts[key]
        for case in chart.cases().values():
            case.gone = True

    # Telling what a case has come to

    def _judge(self, case: Case) -> tuple[Judgement | None, Clock | None]:
        """The verdict on a case now, and since when a silent feed holds it back (contract, section 5, Feeds)."""
        judged = None if case.gone else case.form.judge(case, self.now)
        if not self.feeds or judged is None:
            return judged, None
        silent_since = self._silent_since(case)
        if silent_since is not None and judged.by_clock is not None and judged.by_clock >= silent_since:
            # a step that waits for an unknown one is no more reached than missed
            judged = None if judged.verdict == "void" else Judgement("unknown", "feed_silent")
        return judged, silent_since

    def _silent_since(self, case: Case) -> Clock | None:
        since = (self.feeds[source].silent_since(self.now) for source in self._sources(case))
        return min((clock for clock in since if clock is not None), default=None)

    def _sources(self, case: Case) -> list[str]:
        """The feeds that a case depends on, as far as their silence counts."""
        sources = case.form.rule.feeds
        if sources is None:
            sources = [case.trigger.event.source]
        return [source for source in sources if source in self.feeds]

    def _tell(self, case: Case, changes: list[Change]) -> None:
        """Judge a case, tell what changed, and see when to look at it again."""
        form, told_before = case.form, case.judged
        judged, held_since = (
            self._judge(case) if self.feeds or case.gone else (form.judge(case, self.now), None)
        )
        if judged is not told_before:
            if self._tells_verdicts and word(told_before) != word(judged):
                change = VerdictChange(self.now[0], form.rule.id, word(told_before), word(judged), case)
                changes.append(change)
            elif told_before is not None and judged is not None and told_before[:3] != judged[:3]:
                self.read_again.add(case.trigger.event.patient)
            case.judged = judged
        if judged is not None and case.told_due != (due := form.due(case)):
            if told_before is not None:
                self.read_again.add(case.trigger.event.patient)
            case.told_due = due
        if held_since is not None:
            for source in self._sources(case):
                self._held.setdefault(source, []).append(case)
        if told_before is None and judged is not None and self._is_stale(case, judged):
            self.counts["stale"] += 1
        look_again = None
        if case.alert is not None or (judged is not None and (judged.is_bad or form.policy.early)):
            look_again = self._follow_alert(case, judged, changes, held_since)
        if judged is None or judged.verdict in ("open", "overdue"):
            turn = form.next_turn(case, self.now)
            if turn is not None and (look_again is None or turn < look_again):
                look_again = turn
        case.look_at = look_again
        if look_again is not None and not case.gone:
            self._push(look_again, case)

    def _follow_alert(
        self, case: Case, judged: Judgement | None, changes: list[Change], held_since: Clock | None
    ) -> Clock | None:
        alert, form = case.alert, case.form
        stale = judged is not None and self._is_stale(case, judged)
        may_fire = not (stale or form.policy.silent or case.trigger.event.attributes.get("test") is True)
        if alert is None:
            alert = case.alert = Alert()
        before = (alert.state, alert.level, alert.reason)
        grace = form.policy.grace
        if grace is None:
            grace = self._book.registry.source(case.trigger.event.source).grace or timedelta(0)
        look_again = follow(
            alert, judged, form.due(case), form.policy, grace, self.now, held_since, may_fire=may_fire
        )
        if (alert.state, alert.level, alert.reason) != before and alert.state is not None:
            alert.change_at(self.now)
            changes.append(self._alert_change(case, alert))
        return look_again

    def _is_stale(self, case: Case, judged: Judgement) -> bool:
        """Whether the case was over before its trigger arrived (contract, section 5, Old news)."""
        arrived = (case.trigger.arrived_at, 0)
        if case.form.can_be_overdue and judged.reason != "left_early":
            if case.due is None or case.due > arrived:
                return False
            over = case.form.give_up_at(case)
            return over is not None and over <= arrived
        if judged.decided_at is None or judged.verdict != "violated":
            return False
        return after((judged.decided_at, 0), _STALE_AFTER) <= arrived

    def _alert_change(self, case: Case, alert: Alert) -> AlertChange:
        rule, due = case.form.rule, case.form.due(case)
        changed_at = alert.changed_at or self.now[0]
        known = told(case, case.judged or _GONE, is_stale=False)
        place, location = self._whereabouts(case)
        return AlertChange(
            alert=id_of(case),
            rule=rule.id,
            severity=case.form.policy.severity_at(alert.level),
            state=alert.state or "",
            level=alert.level,
            reason=alert.reason,
            at=changed_at,
            patient=case.trigger.patient,
            encounter=case.trigger.encounter,
            due_at=due[0] if due else None,
            sequence=(self.generation, changed_at, alert.number),
            summary=rule.summary,
            trigger_at=known.trigger_at,
            step=known.step,
            from_=known.from_,
            to=known.to,
            delay_seconds=known.delay_seconds,
            place=place,
            location=location,
        )

    def _whereabouts(self, case: Case) -> tuple[str | None, str | None]:
        """Where the patient of a case is now, or was at its trigger: the microsystem, and the location as it was sent."""
        trigger = case.trigger
        chart = self._charts.get(trigger.event.patient)
        for journey in chart.journeys if chart else ():
            place = journey.places.get(trigger.visit)
            if journey.patient != trigger.patient or place is None:
                continue
            for fact in reversed(journey.facts):
                if fact.visit == trigger.visit and fact.to == fact.after == place:
                    return place, fact.event.to
        return trigger.after, trigger.event.to if trigger.to == trigger.after else None

    # Feeds

    def _watch(self, feed: Feed) -> None:
        """Look at a feed when it may have fallen silent; at once, if it was and is back."""
        alert = self._feed_alerts.get(feed.source)
        if alert is not None and alert.state == "firing":
            self._push(self.now, feed)
        elif feed.source not in self._watched and feed.falls_silent_at is not None:
            self._watched.add(feed.source)
            self._push(feed.falls_silent_at, feed)

    def _turn(self, feed: Feed, changes: list[Change]) -> None:
        """A feed may have fallen silent, or be back: tell it, and look again at the cases that wait for it."""
        self._watched.discard(feed.source)
        alert = self._feed_alerts.setdefault(feed.source, Alert())
        state = "firing" if feed.silent_since(self.now) else "resolved"
        if state == "resolved":
            self._touched += self._held.pop(feed.source, ())
        if state != (alert.state or "resolved"):
            alert.state, alert.reason = state, None if state == "firing" else "heard"
            alert.change_at(self.now)
            changes.append(self._feed_change(feed.source, alert))
        if state == "resolved":
            self._watch(feed)

    def _feed_change(self, source: str, alert: Alert) -> AlertChange:
        return AlertChange(
            alert=case_id("feed", None, source, "", None),
            rule="feed",
            severity="warning",
            state=alert.state or "",
            level=0,
            reason=alert.reason,
            at=self.now[0],
            patient="",
            encounter=None,
            due_at=None,
            sequence=(self.generation, self.now[0], alert.number),
            summary=f"feed {source} is silent",
        )

    def _relive(self, events: Sequence[Event], feeds: dict[str, Feed]) -> None:
        """Take events of the past at their arrivals, beside feeds of which all is known."""
        self.feeds = feeds
        for feed in feeds.values():
            for clock in feed.turns():
                self._push(clock, feed)
        for event in events:
            if arrival(event) > self.now[0]:
                self._run_until((arrival(event), 0))
            self._take(event, arrival(event))

    # The rest

    def _compare(self, before: dict[CaseKey, Case], changes: list[Change]) -> None:
        """After new rules: tell what differs from what was told under the old ones."""
        present = {key: case for chart in self._all_charts() for key, case in chart.cases().items()}
        first = len(changes)
        for key, case in present.items():
            old = before.get(key)
            words = (word(old.judged if old else None), word(case.judged))
            if words[0] != words[1] and self._tells_verdicts:
                changes.append(VerdictChange(self.now[0], case.form.rule.id, *words, case))
            was = old.alert if old and old.alert and old.alert.state else None
            alert = case.alert if case.alert and case.alert.state else None
            if alert is None and was is None:
                continue
            if alert is None:
                alert = case.alert = case.alert or Alert()
                alert.state, alert.reason, alert.level = "resolved", "withdrawn", was.level if was else 0
            if was is None and alert.state == "resolved":
                continue
            if was is None or (was.state, was.level, was.reason) != (alert.state, alert.level, alert.reason):
                alert.change_at(self.now)
                changes.append(self._alert_change(case, alert))
        for key, old in before.items():
            if key in present:
                continue
            if self._tells_verdicts:
                changes.append(VerdictChange(self.now[0], old.form.rule.id, word(old.judged), None, old))
            if (
                old.alert
                and old.alert.state
                and (old.alert.state, old.alert.reason) != ("resolved", "withdrawn")
            ):
                old.alert.state, old.alert.reason = "resolved", "withdrawn"
                old.alert.change_at(self.now)
                changes.append(self._alert_change(old, old.alert))
        changes[first:] = sorted(changes[first:], key=within_instant)


_GONE: Final = Judgement("gone")
"""Stands for the verdict on a case that is no more."""
_DECIDED: Final = frozenset({"met", "late", "missed", "void", "violated"})
_WAITS: Final = frozenset({"open", "overdue"})


class Standing(NamedTuple):
    """How a journey stands that nothing but its own facts and the clock has to do with."""

    patient: str
    due: Clock | None
    """When the clock alone may change something next."""
    in_place: bool
    """Whether the patient is still somewhere, as far as is known."""
    waiting: list[tuple[str, str, datetime | None]]
    """The open cases: id, rule, and the deadline of one that is overdue."""
    alerts: list[tuple[str, str, int, str | None, datetime, int]]
    """The alerts that ever fired: id, state, level, reason, and the instant and number of the last change."""


class _Compressed(MutableMapping[str, bytes]):
    """A shelf in memory."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def __contains__(self, patient: object) -> bool:
        return patient in self._packed

    def __getitem__(self, patient: str) -> bytes:
        return zlib.decompress(self._packed[patient])

    def __setitem__(self, patient: str, packed: bytes) -> None:
        self._packed[patient] = zlib.compress(packed, 1)

    def __delitem__(self, patient: str) -> None:
        del self._packed[patient]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _patient_of(what: Case | Chart | Feed) -> str:
    """The patient key of what is due; none for a feed."""
    if isinstance(what, Case):
        return what.trigger.patient
    if isinstance(what, Chart):
        return next(iter(what.keys))
    return ""


def _is_over(what: Case | Chart | Feed) -> bool:
    """Whether the clock alone can change nothing more: most cases are met long before they are due."""
    if not isinstance(what, Case):
        return False
    if what.gone:
        return True
    return what.alert is None and what.judged is not None and what.judged.verdict in _DECIDED


def _is_at_rest(case: Case) -> bool:
    """Whether only events can change anything more of it, its alert included."""
    if case.alert is not None and case.alert.state == "firing":
        return False
    return case.judged is None or case.judged.verdict in _DECIDED


_in_order: Final = attrgetter("order")
_packer = msgspec.json.Encoder()
_unpacker = msgspec.json.Decoder(list[Event])


def _distinct(events: list[Event]) -> list[Event]:
    """Events without those that occur twice to the letter."""
    if len({(event.source, event.id) for event in events}) == len(events):
        return events
    return list({(canonical_bytes(event), event.arrived_at): event for event in events}.values())
