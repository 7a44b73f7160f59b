"""One partition of the events on Kafka: records and time in; out comes what to send and what to write into the table.

There is no Kafka here, and no clock. The table (`cell` says what is in it) holds all that must outlive a worker; the engine
beside it follows from it. Whoever drives a partition keeps an order: what `drain` gives is sent first, then its cells are
written, and then the records are done with. After a crash anywhere between, the same records come again and change nothing.

All patients whom merges ever linked live in one partition, the *home*: that of the smallest key among them. Facts only ever
move to a smaller key, so nothing runs in circles; whence they moved, an entry sends on what comes later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec

from monitor.core.change import AlertChange, CaseVerdict, Change, VerdictChange, id_of
from monitor.core.chart import linked_keys
from monitor.core.engine import Engine, Standing
from monitor.core.event import EARLIEST, Event
from monitor.core.feed import SHORT
from monitor.core.rule import CaseRule
from monitor.formats import fhir
from monitor.formats.envelope import Envelope, Heard, Linked, Moved, Told, Visited, partition_of, patient_key
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject
from monitor.notify.notice import Notice
from monitor.notify.tell import is_as_told, notice
from monitor.runtime import cell
from monitor.runtime.live import Loaded
from monitor.runtime.recorded import heartbeat
from monitor.runtime.waiting import Waiting

_QUIET_FOR: Final = timedelta(minutes=5)
"""A journey of which nothing was heard for so long need not be in memory."""
_FOLDED_AT_ONCE: Final = 300
_OUT_OF_TURN: Final = 1_000
"""From this number on, in a sequence, are those that do not follow from the facts: more than can change in an instant."""
_FEED: Final = "feed"
"""What stands for a rule in the alerts of feeds."""
_UNREADABLE: Final = Reject(
    "journey-unreadable", "what is known of the patient cannot be read; please report it"
)
_NOT_COMPARED: Final = Reject("visit-not-compared", "its versions cannot be compared; please report it")


class Watcher(Protocol):
    """What is counted and logged; nothing in it may name a patient."""

    def judged(self, change: VerdictChange, told: CaseVerdict | None) -> None: ...
    def alerted(self, told: Notice) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...


class Outcome(msgspec.Struct):
    """What has come of records and time."""

    sends: list[tuple[bytes, Envelope]] = []
    """Records for the topic of events, by key."""
    notices: list[Notice] = []
    verdicts: dict[str, CaseVerdict | None] = {}
    """By case; None: there is no such case any more."""
    cells: dict[bytes, bytes | None] = {}
    """What to write into the table, in this order; None: the key goes."""

    def __bool__(self) -> bool:
        return bool(self.sends or self.notices or self.verdicts or self.cells)


class Way(NamedTuple):
    """What a partition needs to know of the world."""

    number: int
    """Its own, from 0 on."""
    of: int
    """How many partitions there are."""
    loaded: Loaded
    pseudonym: Callable[[str], str]
    link: str | None = None
    horizon: timedelta = timedelta(days=45)
    most_in_memory: int = 5_000
    """With more journeys unfolded, some are folded even while messages come."""


class Partition:
    """The engine of one partition, over its table."""

    def __init__(self, table: MutableMapping[bytes, bytes], way: Way, watcher: Watcher) -> None:
        """The table is written by `drain` and nobody else; it may hold what an earlier owner wrote."""
        self._table = table
        self._way = way
        self._watcher = watcher
        self._rules = {rule.id: rule for rule in way.loaded.rules}
        self._outcome = Outcome()
        self._touched: dict[str, None] = {}
        """Patients whose facts may differ from those in the table."""
        self._left_out: set[str] = set()
        """Patients whose journeys could not be read; what is known of them stays in the table."""
        self._cold: dict[str, None] = {}
        """Journeys that have not been looked at since the beginning, nor stand as their heads say."""
        self._judged: defaultdict[str, set[str]] = defaultdict(set)
        """At the beginning: cases of which verdicts were told, by patient, likewise."""
        self._told: dict[str, Notice] = {}
        """At the beginning: alerts as they were told before, until they have been compared."""
        self._ahead: dict[str, Notice] = {}
        """Alerts as they were told of an instant that is still to come here, by whoever was further: they stand until then."""
        self._theirs: dict[str, Notice] = {}
        """Alerts of which another partition speaks: it has the facts that they come of, though some may be here still, or already."""
        self._looks_at_all = False
        self._later: dict[str, Notice] = {}
        """What was told last of alerts, where that is later in sequence than the facts have it."""
        self._turned: set[str] = set()
        """Until it is warm: alerts that changed meanwhile, so that they have been compared."""
        self._untold: dict[str, datetime] = {}
        """Alerts that were over before anybody was told of them, and since when."""
        self._linked: set[str] = set()
        self._over: dict[str, datetime] = {}
        """Folded journeys in which nothing will happen any more, and since when."""
        self.skewed = 0
        """Records that the broker's clock put before what was judged already."""
        self.waiting = Waiting()
        """The cases that are open; all of them once it is warm."""
        self._moved: list[str] = []
        """Cases that are another partition's since the last time that all was told."""
        self._begin_engine()

    # The beginning

    def _begin_engine(self) -> None:
        way, table = self._way, self._table
        found = table.get(cell.STATE)
        state = cell.unpack_state(found) if found is not None else None
        self._is_new = state is None or state.digest != way.loaded.digest
        """Whether the rules in use have not been written into the table yet, for not all has been looked at by them."""
        self._has_other_rules = state is not None and self._is_new
        generation = 0 if state is None else state.generation + self._is_new
        self._has_heard = False
        self._runs = cell.unpack_runs(table[cell.FEEDS]) if cell.FEEDS in table else {}
        self._shelf = TableShelf(table)
        self.engine = self._make_engine(generation, self._shelf)
        if state is not None:
            self.engine.resume(state.clock, ())
        self._began = state.told_until if state is not None and state.told_until else self.engine.now[0]
        """Until when earlier owners have told all that time alone brings."""
        self._before = state
        for source, runs in self._runs.items():
            self.engine.heard(source, runs)

    def _make_engine(self, generation: int, shelf: MutableMapping[str, bytes]) -> Engine:
        loaded = self._way.loaded
        return Engine(
            [rule for rule in loaded.rules if isinstance(rule, CaseRule)],
            loaded.registry,
            generation=generation,
            listened=[
                name for name, each in loaded.registry.sources.items() if each.silent_after is not None
            ],
            shelf=shelf,
        )

    @property
    def has_other_rules(self) -> bool:
        """Whether there may be verdicts by other rules, so that `begin` needs to know of them."""
        return self._has_other_rules

    def begin(
        self,
        told: Iterable[Notice] = (),
        cases: Iterable[tuple[str, str]] = (),
        theirs: Iterable[Notice] = (),
        *,
        looks_at_all: bool = False,
    ) -> None:
        """Go on from the table. `told`: the last notice of each alert, as far as it is known; those of other partitions are passed over.

        `cases`: where other rules were used, the cases of which verdicts were told, each with its patient, likewise.
        `theirs`: the last notices of alerts that another partition told last, and that fire. Nothing is said of them here before they come with their facts.
        `looks_at_all`: no journey is left asleep unseen, so that one over which the engine fails is left out, and stops no other.

        Journeys that merges link are read now, all others when they are needed, or by and by with `warm`.
        """
        self._looks_at_all = looks_at_all
        self._theirs = {each.alert: each for each in theirs}
        now = self.engine.now[0]
        for each in told:
            (self._told if each.sequence[1] <= now else self._ahead)[each.alert] = each
        for case, about in cases:
            self._judged[about].add(case)
        merging: dict[str, bytes] = {}
        heads: dict[str, cell.Head] = {}
        cold: dict[str, None] = {}
        for key, value in self._table.items():
            patient = cell.patient_of(key)
            if patient is None or cell.home_of(value) is not None:
                continue
            try:
                head = cell.head_of(value)
                if head is not None and self._holds(head):
                    heads[patient] = head
                    continue
                packed = cell.unpack(value)
            except Exception as error:  # noqa: BLE001 - one journey that cannot be read must not silence all others
                self._leave_out(patient, error)
                continue
            cold[patient] = None
            if b'"merge"' in packed:
                merging[patient] = packed
        for patient, packed in merging.items():
            self._linked |= {patient, *linked_keys(cell.facts_of(packed))}
        self._shelf.patients = (heads.keys() | cold.keys()) - self._linked
        self._cold = cold | self._rest(heads)
        for patient in self._cold.keys() & self._linked:
            try:
                self._load(patient, self._shelf.packed(patient))
            except Exception as error:  # noqa: BLE001 - as above
                self._leave_out(patient, error)
        self.advance(self.engine.now[0])

    def _load(self, patient: str, packed: bytes) -> None:
        """Tell what verdicts come of facts; the alerts are compared with what was told of them, when all facts are there."""
        for change in self.engine.load(patient, packed):
            if isinstance(change, VerdictChange):
                self._verdict(change)

    def _holds(self, head: cell.Head) -> bool:
        """Whether a journey stands as its head says: by these rules, and nothing was due since; whatever came of it until then was told."""
        now = self.engine.now[0]
        return (
            not self._looks_at_all
            and not self._is_new
            and head.is_by(self._way.loaded.digest)
            and head.clock <= now
            and (head.due is None or head.due[0] > now)
        )

    def _rest(self, heads: Mapping[str, cell.Head]) -> dict[str, None]:
        """Leave journeys asleep until the clock or an event wakes them; returns those of which something else was told."""
        told: defaultdict[str, list[Notice]] = defaultdict(list)
        for each in self._told.values():
            told[each.patient].append(each)
        others: dict[str, None] = {}
        due = {}
        for patient, head in heads.items():
            known = told.get(patient, ())
            if patient in self._linked or not self._is_as_told(head, known):
                others[patient] = None
                continue
            due[patient] = head.due
            heard_of = {each.alert for each in known}
            self._untold |= {alert: at for alert, *_, at, _ in head.alerts if alert not in heard_of}
            for case, rule, due_at in head.waiting:
                self.waiting.add(case, rule, due_at)
            for each in known:
                del self._told[each.alert]
            if head.due is None and not head.in_place:
                self._over[patient] = head.clock
        self.engine.resume(self.engine.now[0], due.items())
        return others

    def _is_as_told(self, head: cell.Head, told: Iterable[Notice]) -> bool:
        """Whether the alerts of a journey are as they were told; one that is over may have been forgotten."""
        alerts = {alert: stands for alert, *stands in head.alerts}
        for was in told:
            found = alerts.pop(was.alert, None)
            if found is None:
                return False
            state, level, reason, at, number = found
            if (was.state, was.level, was.reason) != (state, level, reason):
                return False
            if was.sequence > (self.engine.generation, at, number):
                return False
        return all(state == "resolved" for state, *_ in alerts.values())

    @property
    def is_warm(self) -> bool:
        """Whether every journey has been looked at, so that all is known that will fall due."""
        return not self._cold and not self._told and not self._judged

    def warm(self, most: int) -> None:
        """Look at so many of the journeys in the table: how they stand, what was told of them, when they are due."""
        tells_all = self._tells_all()
        for patient in list(islice(self._cold, most)):
            try:
                self._look_at(patient, tells_all)
            except Exception as error:  # noqa: BLE001 - as above
                self._leave_out(patient, error)
        if not self._cold:
            self._end_of_warming()

    def _tells_all(self) -> bool:
        """Whether any verdict may differ from what was told."""
        return self._has_other_rules or self._feeds_turned()

    def _look_at_all(self, patients: Iterable[str]) -> None:
        """Look now at those who have not been looked at. What is raised is about one of them."""
        cold = [patient for patient in patients if patient in self._cold]
        tells_all = bool(cold) and self._tells_all()
        for patient in cold:
            self._look_at(patient, tells_all)

    def _look_at(self, patient: str, tells_all: bool) -> None:
        """Compare how a journey stands with what was told of it, unless that was done with those with whom it is linked."""
        if patient not in self._cold:
            return
        del self._cold[patient]
        may_come = self._had_future(patient)
        before = self._cases_then(patient) if may_come else set()
        keys, verdicts, alerts = self.engine.stands(patient)
        for key in keys & self._cold.keys():
            del self._cold[key]
        for key in keys & self._judged.keys():
            before |= self._judged.pop(key)
        self._outcome.verdicts |= dict.fromkeys(before - {each.case for each in verdicts})
        self._linked |= keys if len(keys) > 1 else set()
        for verdict in verdicts:
            if verdict.verdict == "open":
                self.waiting.note(verdict.case, verdict)
            if tells_all or may_come or _came_after(verdict, self._began):
                self._outcome.verdicts[verdict.case] = verdict
        self._compare(alerts, self._told)

    def _end_of_warming(self) -> None:
        """What was told, and of which nothing is known now, is told to be no more."""
        told: defaultdict[str, list[Notice]] = defaultdict(list)
        for each in self._told.values():
            told[each.patient].append(each)
            self._later[each.alert] = (
                each  # it may fire again: time told it that is later than the table's clock
            )
        for patient in told.keys() | self._judged.keys():
            if not self._is_mine(patient):
                continue
            _, verdicts, alerts = self.engine.stands(patient)
            standing = {each.alert for each in alerts}
            self._withdraw([each for each in told[patient] if each.alert not in standing])
            gone = self._judged[patient] - {each.case for each in verdicts}
            self._outcome.verdicts |= dict.fromkeys(gone)
        self._told = {}
        self._judged.clear()
        self._turned.clear()

    def _had_future(self, patient: str) -> bool:
        """Whether there were facts of a time to come when the table was written: with them time may open and end any case."""
        if patient in self._linked:  # it tells what changes
            return False
        return any(each.occurred_at > self._began for each in cell.facts_of(self._shelf.packed(patient)))

    def _cases_then(self, patient: str) -> set[str]:
        """The cases that there were when the table was written."""
        if self._began == EARLIEST:
            return set()
        then = self._make_engine(self.engine.generation, {patient: self._shelf.packed(patient)})
        then.resume(self._began, ())
        return {each.case for each in then.stands(patient)[1]}

    def _feeds_turned(self) -> bool:
        """Whether a feed fell silent or came back since the table was written: that may change any verdict."""
        began, now = self._began, self.engine.now[0]
        return any(began <= at <= now for feed in self.engine.feeds.values() for at, _ in feed.turns())

    def _leave_out(self, patient: str, error: Exception) -> None:
        self._shelf.patients.discard(patient)
        self._left_out.add(patient)
        self._watcher.failed("journey", error)

    def _is_mine(self, patient: str) -> bool:
        """Whether all that is known of the patient is here. The feeds belong to the first partition."""
        if patient == "":
            return self._way.number == 0
        if patient in self._touched:
            return True  # they have just come
        found = self._table.get(cell.journey_key(patient))
        if found is None:
            return self._is_native(patient)
        return patient not in self._left_out and cell.home_of(found) is None

    # Records in

    def take(self, envelope: Envelope, at: datetime) -> Reject | None:
        """Take a record that the broker had at an instant; returns why it is of no use, if so.

        What else is raised means that the partition is to be begun anew, without this record.
        """
        now = self.engine.now[0]
        if at < now:
            self.skewed += 1
            at = now
        match envelope:
            case Told(event=event, more=more):
                return self._events([event, *more], at) if more else self._event(event, at)
            case Visited(visit=visit):
                return self._visit(visit, at)
            case Heard(source=source):
                self._heard(source, at)
            case Linked(patient=patient, other=other):
                self._link(patient, other)
            case Moved():
                self._receive(envelope)
        return None

    def _event(self, event: Event, at: datetime) -> Reject | None:
        """An event of a patient whose journey is here, or was; one that was sent on says when it first arrived."""
        home = self._home(event.patient)
        arrived_at = event.arrived_at = event.arrived_at or at
        if home is not None:
            self._send(home, Told(event))
            return None
        if event.patient in self._left_out:
            return _UNREADABLE
        if event.type == "merge":
            self._merge(event)
        elif arrived_at < self.engine.now[0]:
            self._take_past(event.patient, [event])
        else:
            self._observe(event)
        return None

    def _events(self, events: list[Event], at: datetime) -> Reject | None:
        """Events of one patient that arrived together, and are judged together."""
        home, now = self._home(events[0].patient), self.engine.now[0]
        for each in events:
            each.arrived_at = each.arrived_at or at
        if home is not None:
            self._send(home, Told(events[0], events[1:]))
            return None
        past = [each for each in events if each.type != "merge" and (each.arrived_at or at) < now]
        if past and events[0].patient in self._left_out:
            return _UNREADABLE
        if past:
            self._take_past(events[0].patient, past)
        why = None
        for each in events:
            if each not in past:
                why = self._event(each, at) or why
        return why

    def _observe(self, event: Event) -> None:
        assert event.arrived_at is not None
        if event.source in self.engine.feeds:
            self._hear(event.source, event.arrived_at)
        self._tell(self.engine.observe(event))
        if self.engine.keeps(event):
            self._touched[event.patient] = None

    def _visit(self, visit: Visit, at: datetime) -> Reject | None:
        """Tell each patient of what is new in a version of a visit."""
        key = cell.visit_key(visit)
        known = self._table.get(key)
        try:
            events, told = fhir.changes(visit, None if known is None else cell.unpack_visit(known))
        except (ValueError, LookupError, TypeError):
            return _NOT_COMPARED
        why = None
        of_patient: defaultdict[str, list[Event]] = defaultdict(list)
        for each in events:
            of_patient[each.patient].append(msgspec.structs.replace(each, arrived_at=at))
        for patient, some in of_patient.items():
            if self._is_native(patient):
                why = self._events(some, at) or why
            else:
                self._send(patient, Told(some[0], some[1:]))
        self._put(key, cell.pack_visit(told))
        return why

    def _heard(self, source: str, at: datetime) -> None:
        if source in self.engine.feeds:
            self._observe(heartbeat(source, at))

    def _hear(self, source: str, at: datetime) -> None:
        self._has_heard = True
        runs = self._runs.setdefault(source, [])
        if runs and at - runs[-1][1] <= SHORT:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))

    # Merges, and what moves because of them

    def _merge(self, merge: Event) -> None:
        """Take a merge in, if this is the home of all whom it links; else all goes to their home, and the merge with it."""
        named = linked_keys([merge]) | {merge.patient}
        keys = self._together(key for key in named if self._home(key) is None) | named
        first = min(keys)
        if (home := self._elsewhere(first)) is not None:
            self._move(keys - {home}, home, merge.patient, [merge])
        else:
            if merge.arrived_at is not None and merge.arrived_at < self.engine.now[0]:
                self._take_past(merge.patient, [merge])
            else:
                self._observe(merge)
            self._summon(keys, first)

    def _together(self, patients: Iterable[str]) -> set[str]:
        """All whom merges link with these, as far as it is known here."""
        return set[str]().union(*(self.engine.stands(patient)[0] for patient in patients))

    def _summon(self, keys: Collection[str], first: str) -> None:
        """Tell whoever's facts are not here that they belong here, to the first."""
        self._linked |= set(keys)
        for key in sorted(keys):
            if key == first:
                continue
            home = self._home(key)
            if home is not None and home != first:
                self._send(home, Linked(home, first))
            elif home is None and not self._is_native(key) and not self._has_facts(key):
                self._send(key, Linked(key, first))

    def _link(self, patient: str, other: str) -> None:
        """A merge at the home of another links it with a patient: whoever is not the first goes to the first."""
        home = self._home(patient)
        keys = set() if home is not None else self._together([patient]) | {patient}
        first = home if home is not None else min(keys)
        if first == other:
            return
        if first < other:
            self._send(other, Linked(other, first))
        elif home is not None:
            self._send(home, Linked(home, other))
        elif (further := self._elsewhere(other)) is not None:
            self._move(keys - {further}, further, patient, [])

    def _move(self, keys: Collection[str], home: str, last: str, more: list[Event]) -> None:
        """Send all that is known of patients to their home; what comes of them later is sent after it.

        The entry of the patient about whom the record was is written last: should the worker die before, the record finds
        things as they were.
        """
        self._tell(self.engine.advance(self.engine.now[0]))
        here = [key for key in sorted(keys, key=lambda key: (key == last, key)) if self._home(key) is None]
        self._look_at_all(here)
        words = (
            self._told | self._later | self._ahead
        )  # also of what was taken back, which the facts do not know
        alerts = {
            alert: each for alert, each in words.items() if each.patient in keys and alert not in self._theirs
        }
        cases: dict[str, None] = {}
        for key in here:
            _, verdicts, stand = self.engine.stands(key)
            alerts |= self._as_told(stand)
            cases |= dict.fromkeys(each.case for each in verdicts)
        told = [msgspec.Raw(msgspec.json.encode(each)) for each in alerts.values()]
        self._moved += cases
        moving = [
            Moved(key, home, cell.facts_of(self.engine.dump(key)) + (more if key == last else []))
            for key in here
        ]
        moving = [each for each in moving if each.facts]
        for each in moving:
            each.alerts, each.goes_on = told, each is not moving[-1]
        if moving:
            moving[-1].cases = list(cases)
            for alert in alerts:
                for known in (self._told, self._later, self._ahead):
                    known.pop(alert, None)
        for each in moving:
            self._send(home, each)
        for key in here:
            self.engine.forget(key)
            self._touched.pop(key, None)
            self._put(cell.journey_key(key), cell.pack_moved(home))

    def _receive(self, moved: Moved) -> None:
        """Facts from another partition: they belong here, or have to go further."""
        home = self._home(moved.home)
        if home is not None:
            moved.home = home
            self._send(home, moved)
            if not self._has_facts(moved.patient):  # what comes later for the patient comes this way, too
                self._put(cell.journey_key(moved.patient), cell.pack_moved(home))
            return
        key = cell.journey_key(moved.patient)
        if self._home(moved.patient) is not None:
            self._put(key, cell.pack(b"[]"))
        self._take_past(moved.patient, moved.facts, moved)
        keys = self._together([moved.home])
        first = min(keys)
        if (further := self._elsewhere(first)) is not None:
            self._move(keys - {further}, further, moved.home, [])
        else:
            self._summon(keys, first)

    def _take_past(self, patient: str, facts: list[Event], moved: Moved | None = None) -> None:
        """Take facts that arrived before this instant, and live again what they concern; tell what then differs from what was told.

        `moved`: with which they came, if so. When all has come that moved together, this partition speaks of the alerts.
        """
        engine = self.engine
        self.advance(engine.now[0])
        before: dict[str, Notice] = {}
        gone = dict.fromkeys(moved.cases if moved is not None else ())
        named = {patient, *linked_keys(facts)}
        self._look_at_all(sorted(named))
        for key in named:
            _, verdicts, alerts = engine.stands(key)
            before |= self._as_told(alerts)
            gone |= dict.fromkeys(each.case for each in verdicts)
        is_whole = moved is not None and not moved.goes_on
        words = [msgspec.json.decode(raw, type=Notice) for raw in moved.alerts] if moved is not None else []
        if not is_whole:
            self._theirs |= {each.alert: each for each in words if each.alert not in before}
            words = []
        self._load(patient, cell.pack_facts([each for each in facts if engine.keeps(each)]))
        _, verdicts, alerts = engine.stands(patient)
        self._outcome.verdicts |= gone | {each.case: each for each in verdicts}
        if is_whole:
            known = {each.alert for each in words}
            here = {each.alert for each in alerts} - known
            words += [each for alert, each in self._theirs.items() if alert in here]
        taken = [each for each in words if self._takes_over(each, before)]
        said = len(self._outcome.notices)
        self._compare(alerts, before)
        self._withdraw(before.values(), even_resolved=True)
        news = {each.alert for each in self._outcome.notices[said:]}
        self._outcome.notices += [each for each in taken if each.alert not in news]
        self._touched[patient] = None

    def _takes_over(self, was: Notice, before: dict[str, Notice]) -> bool:
        """Whether another partition told an alert last whose facts have come here. It is told again here in any case: whoever said it last says what becomes of it."""
        self._theirs.pop(was.alert, None)
        self._untold.pop(was.alert, None)
        known = [each[was.alert] for each in (self._ahead, self._later, before) if was.alert in each]
        if any(was.sequence < each.sequence for each in known):
            return False
        self._ahead.pop(was.alert, None)
        before.pop(was.alert, None)
        (before if was.sequence[1] <= self.engine.now[0] else self._ahead)[was.alert] = was
        return True

    # Whose is what

    def _is_ours(self, alert: str) -> bool:
        """Whether it is for us to say now what becomes of an alert."""
        return alert not in self._ahead and alert not in self._theirs

    def _is_native(self, patient: str) -> bool:
        """Whether the patient's key belongs to this partition."""
        return partition_of(patient_key(patient), self._way.of) == self._way.number

    def _home(self, patient: str) -> str | None:
        """To whom the patient's facts have moved from here, if they have."""
        found = self._table.get(cell.journey_key(patient))
        return None if found is None else cell.home_of(found)

    def _elsewhere(self, first: str) -> str | None:
        """Whose home is the home of a group, whose first key is given; None: it is here."""
        return self._home(first) if self._is_native(first) else first

    def _has_facts(self, patient: str) -> bool:
        return patient in self._touched or cell.journey_key(patient) in self._table

    def _send(self, patient: str, envelope: Envelope) -> None:
        self._outcome.sends.append((patient_key(patient), envelope))

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._outcome.cells.pop(key, None)
        self._outcome.cells[key] = value
        if value is None:
            self._table.pop(key, None)
        else:
            self._table[key] = value

    # Time

    def advance(self, now: datetime) -> None:
        """Move the clock, if it is not further already: nothing will come that arrived before, and nothing more of this instant."""
        self._tell(self.engine.advance(max(now, self.engine.now[0])))
        if self._ahead:
            self._catch_up()

    def _catch_up(self) -> None:
        """Compare what was told of instants that have now come here, too."""
        now = self.engine.now[0]
        come: defaultdict[str, dict[str, Notice]] = defaultdict(dict)
        for each in self._ahead.values():
            if each.sequence[1] <= now:
                come[each.patient][each.alert] = each
        for patient, told in come.items():
            for alert, each in told.items():
                del self._ahead[alert]
                self._later[alert] = max(each, self._later.get(alert, each), key=_sequence)
            _, _, alerts = self.engine.stands(patient)
            self._compare([each for each in alerts if each.alert in told], told)
            if self._is_mine(patient):
                self._withdraw(told.values(), even_resolved=True)

    def next_due(self) -> datetime | None:
        return self.engine.next_due()

    # What comes of it

    def rescue(self, failed: Collection[Event]) -> Outcome:
        """Like `drain`, after `take` has raised: what had come before that, and none of the events that it was about.

        The partition is of no use then; another begins from the table.
        """
        which = {(each.source, each.id, each.arrived_at) for each in failed}
        for patient in {each.patient for each in failed} & self._touched.keys():
            del self._touched[patient]
            facts = [
                each
                for each in cell.facts_of(self.engine.dump(patient))
                if (each.source, each.id, each.arrived_at) not in which
            ]
            self._put(cell.journey_key(patient), cell.pack(cell.pack_facts(facts)))
        return self._drained(is_settled=False)

    def drain(self) -> Outcome:
        """All that has come since the last time; the table holds its cells already, for those who ask here.

        What follows from the facts in the cells is told with them, so that after a crash only time can have changed anything.
        """
        self.advance(self.engine.now[0])
        return self._drained(is_settled=True)

    def _drained(self, *, is_settled: bool) -> Outcome:
        for patient in self._touched:
            key, packed = cell.journey_key(patient), cell.pack(self.engine.dump(patient))
            if packed != cell.beheaded(self._table.get(key, b"[]")):
                self._put(key, self._headed(patient, packed) if is_settled else packed)
        self._touched = {}
        outcome = self._outcome
        outcome.notices.sort(key=_sequence)
        if self.engine.read_again:
            for verdict in self._read_again():
                outcome.verdicts[verdict.case] = verdict
        if self._has_heard:
            self._put(cell.FEEDS, cell.pack_runs(self._runs))
            self._has_heard = False
        if outcome.cells or (self._is_new and self.is_warm):
            self._put(cell.STATE, cell.pack_state(self._state()))
            self._is_new = self._is_new and not self.is_warm
        for case, told in [*outcome.verdicts.items(), *((case, None) for case in self._moved)]:
            self.waiting.note(case, told)
        self._moved = []
        self._outcome = Outcome()
        return outcome

    def _headed(self, patient: str, value: bytes) -> bytes:
        """The value of a journey of which all is told, beneath a head that says so, where one can."""
        standing = None if patient in self._cold else self.engine.standing(patient)
        if standing is None:
            return value
        return cell.headed(value, standing, self._way.loaded.digest, self.engine.now[0])

    def _state(self) -> cell.State:
        """How far all is told; as it was, until every journey has been looked at: another owner may have to begin that anew."""
        present = cell.State(self.engine.now[0], self._way.loaded.digest, self.engine.generation)
        if self.is_warm:
            return present
        return msgspec.structs.replace(self._before or present, clock=present.clock, told_until=self._began)

    def _read_again(self) -> Iterator[CaseVerdict]:
        """The verdicts of journeys that were read again: though they are the same, all else about them may differ."""
        seen: set[str] = set()
        for patient in self.engine.read_again:
            if patient not in seen and patient not in self._shelf:
                keys, verdicts, _ = self.engine.stands(patient)
                seen |= keys
                yield from verdicts
        self.engine.read_again.clear()

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, VerdictChange):
                self._verdict(change)
            else:
                self._alert(change)

    def _verdict(self, change: VerdictChange) -> None:
        told = self.engine.verdict(change.of)
        self._outcome.verdicts[id_of(change.of)] = told
        self._watcher.judged(change, told)

    def _alert(self, change: AlertChange) -> None:
        was = self._told.pop(change.alert, None) if self._told else None
        if not self.is_warm:
            self._turned.add(change.alert)
        if change.rule == _FEED and self._way.number != 0:
            return  # all partitions hear the same
        if not self._is_ours(change.alert):
            return  # it is compared when that instant has come, or its facts have
        self._tell_unless_same(change, was)

    def _compare(self, alerts: Iterable[AlertChange], told: dict[str, Notice]) -> None:
        """Tell how alerts stand where that differs from what was told; one that is over and was never told is no news."""
        for change in alerts:
            was = told.pop(change.alert, None)
            if not self._is_ours(change.alert):
                continue
            if was is not None or change.state == "firing" or change.alert in self._later:
                self._tell_unless_same(change, was)
            elif change.alert not in self._turned:
                self._untold[change.alert] = change.at

    def _tell_unless_same(self, change: AlertChange, was: Notice | None) -> None:
        self._untold.pop(change.alert, None)
        now = self._notice(change)
        is_last = was is not None and self._later.get(change.alert, was).sequence <= was.sequence
        if was is None or not is_last or not is_as_told(was, change):
            self._tell_notice(now, was)
        elif was.sequence > now.sequence:
            self._later[change.alert] = was

    def _as_told(self, alerts: Iterable[AlertChange]) -> dict[str, Notice]:
        """How alerts that stand here were told last, where that was here."""
        ours = [each for each in alerts if self._is_ours(each.alert) and each.alert not in self._untold]
        facts = {each.alert: self._notice(each) for each in ours}
        return {
            alert: max(each, self._later.get(alert, each), key=_sequence) for alert, each in facts.items()
        }

    def _withdraw(self, left: Iterable[Notice], *, even_resolved: bool = False) -> None:
        """Tell that alerts are withdrawn which were told, and of which nothing is known now. `even_resolved`: for there was nothing to resolve."""
        for was in left:
            if was.state == "firing" or (even_resolved and was.reason != "withdrawn"):
                now = self.engine.now[0]
                changed = msgspec.structs.replace(
                    was,
                    state="resolved",
                    reason="withdrawn",
                    at=now,
                    sequence=(self.engine.generation, now, _OUT_OF_TURN),
                )
                self._tell_notice(changed, was)
                self._later[was.alert] = changed

    def _tell_notice(self, told: Notice, was: Notice | None) -> None:
        """Send a notice, later in sequence than the one before it, though the facts put it earlier."""
        known = self._later.get(told.alert, was)
        if was is not None and known is not None:
            known = max(known, was, key=_sequence)
        if known is not None and told.sequence <= known.sequence:
            generation, at, number = known.sequence
            self.engine.generation = max(self.engine.generation, generation)
            later = (generation, at, number + 1)
            told.sequence = max(later, (self.engine.generation, self.engine.now[0], _OUT_OF_TURN))
            self._later[told.alert] = told
        self._outcome.notices.append(told)
        self._watcher.alerted(told)

    def _notice(self, change: AlertChange) -> Notice:
        way, rule = self._way, self._rules.get(change.rule)
        return notice(
            change,
            rule,
            way.loaded.registry,
            pseudonym=way.pseudonym(change.patient) if change.patient else "",
            link=way.link,
            after_outage=change.at < self._began,
        )

    # Now and then

    def tidy(self) -> None:
        """After `drain`: put quiet journeys on the shelf, and forget those that have been over for longer than the horizon."""
        engine, way = self.engine, self._way
        now = engine.now[0]
        for patient in self._shelf.unfolded:
            self._over.pop(patient, None)
        self._shelf.unfolded.clear()
        folded = engine.fold(now - _QUIET_FOR, _FOLDED_AT_ONCE)
        if engine.in_memory > way.most_in_memory:
            folded += engine.fold(now, engine.in_memory - way.most_in_memory)
        for each in folded:
            if each.due is None and not each.in_place:
                self._over[each.patient] = now
            if each.patient not in self._cold and each.patient not in self._touched:
                self._rewrite_head(each)
        quiet_since = now - way.horizon
        for alert in [alert for alert, each in self._later.items() if each.sequence[1] < quiet_since]:
            del self._later[alert]
        for alert in [alert for alert, since in self._untold.items() if since < quiet_since]:
            del self._untold[alert]
        for keys in engine.over(quiet_since):
            self._forget(keys)
        self._forget([patient for patient, since in self._over.items() if since < quiet_since])

    def _rewrite_head(self, standing: Standing) -> None:
        """Write a new head where time has changed something since the last was written."""
        key, digest = cell.journey_key(standing.patient), self._way.loaded.digest
        value = self._table.get(key)
        if value is None:
            return
        head = cell.head_of(value)
        if head is None or not head.is_by(digest) or head.due != standing.due:
            self._put(key, cell.headed(value, standing, digest, self.engine.now[0]))

    def _forget(self, patients: Collection[str]) -> None:
        for patient in patients:
            self.engine.forget(patient)
            self._shelf.patients.discard(patient)
            self._over.pop(patient, None)
            if self._has_facts(patient):
                self._put(cell.journey_key(patient), None)

    @property
    def journeys(self) -> int:
        """How many patients may still be told of."""
        return self.engine.in_memory + len(self._shelf)


class TableShelf(MutableMapping[str, bytes]):
    """The journeys that are folded; their facts are in the table already."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        self._table = table
        self.patients: set[str] = set()
        self.unfolded: set[str] = set()
        """Whom the engine has taken from the shelf since this was last emptied."""

    def packed(self, patient: str) -> bytes:
        """The facts of a patient in the table, on the shelf or not; none for one who has moved."""
        return cell.unpack(self._table.get(cell.journey_key(patient), b"[]"))

    def __contains__(self, patient: object) -> bool:
        return patient in self.patients

    def __getitem__(self, patient: str) -> bytes:
        if patient not in self.patients:
            raise KeyError(patient)
        return self.packed(patient)

    def __setitem__(self, patient: str, packed: bytes) -> None:
        self.patients.add(patient)
        self.unfolded.discard(patient)

    def __delitem__(self, patient: str) -> None:
        self.patients.remove(patient)
        self.unfolded.add(patient)

    def __iter__(self) -> Iterator[str]:
        return iter(self.patients)

    def __len__(self) -> int:
        return len(self.patients)


def _came_after(verdict: CaseVerdict, clock: datetime) -> bool:
    """Whether a verdict may have come by time alone after a clock; none that came by a record did, for that was told."""
    if verdict.verdict == "open" and not verdict.overdue:
        return False
    since = verdict.due_at if verdict.overdue else verdict.decided_at
    return since is None or since >= clock


def _sequence(told: Notice) -> tuple[int, datetime, int]:
    return told.sequence
