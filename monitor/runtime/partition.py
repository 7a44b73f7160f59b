"""One partition of the events on Kafka: records and time in; out comes what to send and what to write into the table.

There is no Kafka here, and no clock. Whoever drives a partition keeps an order: what `drain` gives is sent first, then its cells are
written, and then the records are done with. After a crash anywhere between, the same records come again and change nothing.

`holding` has the facts and what comes of them, `telling` what was told of alerts, `warming` the beginning, `moving` the merges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, MutableMapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.engine import Engine, Standing
from monitor.core.event import Event
from monitor.formats import fhir
from monitor.formats.envelope import Envelope, Heard, Linked, Moved, Told, Visited
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject
from monitor.notify.notice import Notice
from monitor.runtime import cell
from monitor.runtime.holding import Holding, Outcome, Watcher, Way
from monitor.runtime.moving import Moving
from monitor.runtime.recorded import heartbeat
from monitor.runtime.waiting import Waiting
from monitor.runtime.warming import Warming

__all__ = ["Outcome", "Partition", "Way"]

_QUIET_FOR: Final = timedelta(minutes=5)
"""A journey of which nothing was heard for so long need not be in memory."""
_FOLDED_AT_ONCE: Final = 300
_UNREADABLE: Final = Reject(
    "journey-unreadable", "what is known of the patient cannot be read; please report it"
)
_NOT_COMPARED: Final = Reject("visit-not-compared", "its versions cannot be compared; please report it")


class Partition:
    """The engine of one partition, over its table."""

    def __init__(self, table: MutableMapping[bytes, bytes], way: Way, watcher: Watcher) -> None:
        """The table is written by `drain` and nobody else; it may hold what an earlier owner wrote."""
        self._holding = Holding(table, way, watcher)
        self._warming = Warming(self._holding)
        self._moving = Moving(self._holding, self._warming)
        self.skewed = 0
        """Records that the broker's clock put before what was judged already."""

    # The beginning

    @property
    def has_other_rules(self) -> bool:
        """Whether there may be verdicts by other rules, so that `begin` needs to know of them."""
        return self._holding.has_other_rules

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
        self._warming.begin(told, cases, theirs, looks_at_all=looks_at_all)

    @property
    def is_warm(self) -> bool:
        """Whether every journey has been looked at, so that all is known that will fall due."""
        return self._warming.is_warm

    def warm(self, most: int) -> None:
        """Look at so many of the journeys in the table: how they stand, what was told of them, when they are due."""
        self._warming.warm(most)

    @property
    def engine(self) -> Engine:
        """What judges."""
        return self._holding.engine

    @property
    def waiting(self) -> Waiting:
        """The cases that are open; all of them once it is warm."""
        return self._holding.waiting

    @property
    def journeys(self) -> int:
        """How many patients may still be told of."""
        return self._holding.engine.in_memory + len(self._holding.shelf)

    def next_due(self) -> datetime | None:
        return self._holding.engine.next_due()

    def advance(self, now: datetime) -> None:
        """Move the clock, if it is not further already: nothing will come that arrived before, and nothing more of this instant."""
        self._holding.advance(now)

    # Records in

    def take(self, envelope: Envelope, at: datetime) -> Reject | None:
        """Take a record that the broker had at an instant; returns why it is of no use, if so.

        What else is raised means that the partition is to be begun anew, without this record.
        """
        now = self._holding.now
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
                self._moving.link(patient, other)
            case Moved():
                self._moving.receive(envelope)
        return None

    def _event(self, event: Event, at: datetime) -> Reject | None:
        """An event of a patient whose journey is here, or was; one that was sent on says when it first arrived."""
        holding = self._holding
        home = holding.home(event.patient)
        arrived_at = event.arrived_at = event.arrived_at or at
        if home is not None:
            holding.send(home, Told(event))
            return None
        if event.patient in holding.left_out:
            return _UNREADABLE
        if event.type == "merge":
            self._moving.merge(event)
        elif arrived_at < holding.now:
            self._moving.take_past(event.patient, [event])
        else:
            holding.observe(event)
        return None

    def _events(self, events: list[Event], at: datetime) -> Reject | None:
        """Events of one patient that arrived together, and are judged together."""
        holding = self._holding
        home, now = holding.home(events[0].patient), holding.now
        for each in events:
            each.arrived_at = each.arrived_at or at
        if home is not None:
            holding.send(home, Told(events[0], events[1:]))
            return None
        past = [each for each in events if each.type != "merge" and (each.arrived_at or at) < now]
        if past and events[0].patient in holding.left_out:
            return _UNREADABLE
        if past:
            self._moving.take_past(events[0].patient, past)
        why = None
        for each in events:
            if each not in past:
                why = self._event(each, at) or why
        return why

    def _visit(self, visit: Visit, at: datetime) -> Reject | None:
        """Tell each patient of what is new in a version of a visit."""
        holding = self._holding
        key = cell.visit_key(visit)
        known = holding.table.get(key)
        try:
            events, told = fhir.changes(visit, None if known is None else cell.unpack_visit(known))
        except (ValueError, LookupError, TypeError):
            return _NOT_COMPARED
        why = None
        of_patient: defaultdict[str, list[Event]] = defaultdict(list)
        for each in events:
            of_patient[each.patient].append(msgspec.structs.replace(each, arrived_at=at))
        for patient, some in of_patient.items():
            if holding.is_native(patient):
                why = self._events(some, at) or why
            else:
                holding.send(patient, Told(some[0], some[1:]))
        holding.put(key, cell.pack_visit(told))
        return why

    def _heard(self, source: str, at: datetime) -> None:
        if source in self.engine.feeds:
            self._holding.observe(heartbeat(source, at))

    # What comes of it

    def rescue(self, failed: Collection[Event]) -> Outcome:
        """Like `drain`, after `take` has raised: what had come before that, and none of the events that it was about.

        The partition is of no use then; another begins from the table.
        """
        holding = self._holding
        which = {(each.source, each.id, each.arrived_at) for each in failed}
        for patient in {each.patient for each in failed} & holding.touched.keys():
            del holding.touched[patient]
            facts = [
                each
                for each in cell.facts_of(holding.engine.dump(patient))
                if (each.source, each.id, each.arrived_at) not in which
            ]
            holding.put(cell.journey_key(patient), cell.pack(cell.pack_facts(facts)))
        return self._drained(is_settled=False)

    def drain(self) -> Outcome:
        """All that has come since the last time; the table holds its cells already, for those who ask here.

        What follows from the facts in the cells is told with them, so that after a crash only time can have changed anything.
        """
        self.advance(self._holding.now)
        return self._drained(is_settled=True)

    def _drained(self, *, is_settled: bool) -> Outcome:
        holding = self._holding
        for patient in holding.touched:
            key, packed = cell.journey_key(patient), cell.pack(holding.engine.dump(patient))
            if packed != cell.beheaded(holding.table.get(key, b"[]")):
                holding.put(key, self._headed(patient, packed) if is_settled else packed)
        holding.touched = {}
        outcome = holding.outcome
        outcome.notices.sort(key=attrgetter("sequence"))
        if holding.engine.read_again:
            for verdict in self._read_again():
                outcome.verdicts[verdict.case] = verdict
        holding.write_heard()
        if outcome.cells or (holding.is_new and self.is_warm):
            holding.put(cell.STATE, cell.pack_state(self._warming.state()))
            holding.is_new = holding.is_new and not self.is_warm
        for case, told in [*outcome.verdicts.items(), *((case, None) for case in self._moving.gone)]:
            holding.waiting.note(case, told)
        self._moving.gone = []
        holding.outcome = Outcome()
        return outcome

    def _headed(self, patient: str, value: bytes) -> bytes:
        """The value of a journey of which all is told, beneath a head that says so, where one can."""
        holding = self._holding
        standing = None if patient in self._warming.cold else holding.engine.standing(patient)
        if standing is None:
            return value
        return cell.headed(value, standing, holding.way.loaded.digest, holding.now)

    def _read_again(self) -> Iterator[CaseVerdict]:
        """The verdicts of journeys that were read again: though they are the same, all else about them may differ."""
        seen: set[str] = set()
        for patient in self.engine.read_again:
            if patient not in seen and patient not in self._holding.shelf:
                keys, verdicts, _ = self.engine.stands(patient)
                seen |= keys
                yield from verdicts
        self.engine.read_again.clear()

    # Now and then

    def tidy(self) -> None:
        """After `drain`: put quiet journeys on the shelf, and forget those that have been over for longer than the horizon."""
        holding = self._holding
        engine, way, now = holding.engine, holding.way, holding.now
        for patient in holding.shelf.unfolded:
            holding.over.pop(patient, None)
        holding.shelf.unfolded.clear()
        folded = engine.fold(now - _QUIET_FOR, _FOLDED_AT_ONCE)
        if engine.in_memory > way.most_in_memory:
            folded += engine.fold(now, engine.in_memory - way.most_in_memory)
        for each in folded:
            if each.due is None and not each.in_place:
                holding.over[each.patient] = now
            if each.patient not in self._warming.cold and each.patient not in holding.touched:
                self._rewrite_head(each)
        quiet_since = now - way.horizon
        holding.telling.forget(quiet_since)
        for keys in engine.over(quiet_since):
            self._forget(keys)
        self._forget([patient for patient, since in holding.over.items() if since < quiet_since])

    def _rewrite_head(self, standing: Standing) -> None:
        """Write a new head where time has changed something since the last was written."""
        holding = self._holding
        key, digest = cell.journey_key(standing.patient), holding.way.loaded.digest
        value = holding.table.get(key)
        if value is None:
            return
        head = cell.head_of(value)
        if head is None or not head.is_by(digest) or head.due != standing.due:
            holding.put(key, cell.headed(value, standing, digest, holding.now))

    def _forget(self, patients: Collection[str]) -> None:
        holding = self._holding
        for patient in patients:
            holding.engine.forget(patient)
            holding.shelf.patients.discard(patient)
            holding.over.pop(patient, None)
            if holding.has_facts(patient):
                holding.put(cell.journey_key(patient), None)
