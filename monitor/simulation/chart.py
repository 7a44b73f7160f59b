"""The chart of one journey: late, wrong at first, corrected, cancelled, repeated, or empty."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from monitor.simulation.chance import WIDE, tickets
from monitor.simulation.clock import HOUR, MINUTE
from monitor.simulation.feeds import Feeds
from monitor.simulation.hospital import AMU, WARD_4W, WARD_6E, Hospital
from monitor.simulation.journey import Fact, Journey, Kind, Seconds, Telling

APART: Final = 2 * MINUTE
"""Facts of one journey are at least so far apart: which came first is beyond doubt, to the minute, too."""

_DELAY: Final = {
    "ambulance_arrived": 1,
    "register": 2,
    "triage": 4,
    "stroke_arrival": 40,
    "admit": 14,
    "transfer": 14,
    "arrive": 9,
    "discharge": 16,
    "handoff_signed": 2,
    "notice_sent": 1,
    "summary_sent": 1,
    "merge": 3,
    "followup_contact": 30,
    "followup_visit": 30,
    "medication_reconciled": 45,
    "patient_engaged": 45,
}
_USUAL_DELAY: Final = 6
"""Minutes from a fact to its charting, about, by type and for all others."""

_HOURS_LATE, _WRONG_AT_FIRST, _WRONG_VISIT, _NEVER = "hours late", "wrong at first", "wrong visit", "never"


def _slips(never: int, wrong_visit: int = 0) -> tuple[str, ...]:
    """What may go wrong when a fact is charted, in so many of a thousand cases."""
    slips = {_HOURS_LATE: 6, _WRONG_AT_FIRST: 15, _WRONG_VISIT: wrong_visit, _NEVER: never}
    return tickets({**slips, "": 1000 - sum(slips.values())})


_SLIPS: Final = {
    "triage": _slips(10),
    "handoff_signed": _slips(20),
    "ambulance_handover": _slips(15),
    "transfer": _slips(4),
    "admit": _slips(5),
    "discharge": _slips(6, wrong_visit=3),
    "followup_contact": _slips(30),
    "merge": ("",),
}
_USUAL_SLIPS: Final = _slips(0)
"""What goes wrong, by type and for all others."""
_NAMED: Final = 0.5
"""The share of cancels that name what they cancel."""

_MISTAKES: Final = (
    *("transfer", "transfer", "transfer", "discharge", "register", "pending_transfer"),
    *("triage", "antimicrobial_given", "fit_for_discharge", "decision_to_admit"),
)
"""What is charted for the wrong patient."""
_ADMINISTRATIVE: Final = frozenset({"transfer", "discharge", "register", "pending_transfer"})
_WRONG_PLACES: Final = (AMU, WARD_4W, WARD_6E)


class Chart:
    """Writes the messages about one journey. No two of them, copies and updates excepted, are recorded in one minute."""

    def __init__(self, hospital: Hospital, feeds: Feeds, journey: Journey) -> None:
        self._journey = journey
        self._hospital = hospital
        self._chance = hospital.chance
        self._clock = hospital.clock
        self._deliver = feeds.deliver
        self._end = hospital.clock.end
        self._duplicates = hospital.options.duplicates
        self._minutes: set[int] = set()

    def tell(self, fact: Fact) -> None:
        """Chart what happened, some time after it; right, or wrong at first."""
        chance, type_ = self._chance, fact.type
        slip = chance.one_of(_SLIPS.get(type_, _USUAL_SLIPS))
        if slip == _NEVER:
            fact.id = self._hospital.new_message(fact.source)
            return
        delay = chance.about(_DELAY.get(type_, _USUAL_DELAY) * MINUTE, WIDE)
        if self._clock.is_night(fact.at):
            delay += delay // 2
        if slip == _HOURS_LATE:
            delay += chance.between(HOUR, 9 * HOUR)
        if slip == _WRONG_VISIT:
            fact.visit = self._hospital.new_visit()
        first = self._first(fact, self._minute(fact.at + 3 + delay))
        if slip == _WRONG_AT_FIRST:
            self._correct(fact, first)

    def withdraw(self, order: Fact, at: Seconds) -> None:
        """An order is taken back."""
        if order.told and at < self._end:
            recorded_at = max(at, order.told[0].recorded_at) + self._chance.about(4 * MINUTE)
            self._cancel(order, self._minute(recorded_at))

    def mistake(self, beside: Fact) -> None:
        """Something that never happened is charted, about the time of something that did; it is cancelled when noticed."""
        chance, hospital = self._chance, self._hospital
        type_ = chance.one_of(_MISTAKES)
        at = beside.at + chance.between(3 * MINUTE, 45 * MINUTE)
        if beside.visit is None or at >= self._end or not _is_free(self._journey.facts, at):
            return
        administrative = type_ in _ADMINISTRATIVE
        fact = Fact(
            "",
            hospital.pas if administrative else hospital.epr,
            type_,
            at,
            beside.patient,
            hospital.new_visit() if type_ == "register" else beside.visit,
            None,
            self._wrong_place() if administrative and type_ != "discharge" else None,
            {"order": hospital.new_order()} if type_ == "pending_transfer" else {},
            [],
            real=False,
        )
        recorded_at = self._minute(at + 3 + chance.about(4 * MINUTE))
        cancelled_at = self._minute(recorded_at + chance.about(35 * MINUTE, WIDE))
        if self._is_last(fact, recorded_at, cancelled_at):
            insort(self._journey.facts, fact, key=when)
            self._first(fact, recorded_at)
            self._cancel(fact, cancelled_at)

    def _first(self, fact: Fact, recorded_at: Seconds) -> Telling:
        fact.id = self._hospital.new_message(fact.source)
        delivered_at = self._deliver(fact.source, recorded_at)
        first = Telling("first", fact.id, fact.at, recorded_at, delivered_at, fact.from_, fact.to)
        self._say(fact, first)
        return first

    def _correct(self, fact: Fact, first: Telling) -> None:
        """The first message had another time, that of its charting, or another place; one that comes later puts it right."""
        chance = self._chance
        if fact.to is not None and fact.type in {"transfer", "admit"} and chance.happens(0.6):
            first.to = self._wrong_place()
        elif _is_free(self._journey.facts, first.recorded_at):
            first.at = first.recorded_at
        else:
            return
        recorded_at = self._minute(first.recorded_at + chance.about(2 * HOUR, WIDE))
        self._later("correction", fact, recorded_at, fact.at, named=True)

    def _cancel(self, fact: Fact, recorded_at: Seconds) -> None:
        """A cancel that names nothing has the time of what it cancels, and comes only where it finds just that."""
        first = fact.told[0]
        if len(fact.told) > 1 and any(telling.kind == "correction" for telling in fact.told):
            return
        if not self._is_last(fact, first.recorded_at, recorded_at):
            return
        if self._chance.happens(_NAMED):
            self._later("cancel", fact, recorded_at, recorded_at, named=True)
        else:
            self._later("cancel", fact, recorded_at, first.at, named=False)

    def _later(self, kind: Kind, fact: Fact, recorded_at: Seconds, at: Seconds, *, named: bool) -> None:
        """A second message about a fact; within the log only where the first one is, too."""
        id_ = self._hospital.new_message(fact.source)
        delivered_at = self._deliver(fact.source, recorded_at)
        first_at = fact.told[0].delivered_at
        if first_at > self._end:
            delivered_at = max(delivered_at, first_at)
        self._say(fact, Telling(kind, id_, at, recorded_at, delivered_at, fact.from_, fact.to, named))

    def _say(self, fact: Fact, telling: Telling) -> None:
        chance = self._chance
        fact.told.append(telling)
        if chance.happens(self._duplicates):
            delivered_at = telling.delivered_at + chance.about(20 * MINUTE, WIDE)
            fact.told.append(replace(telling, kind="copy", delivered_at=delivered_at))

    def _minute(self, at: Seconds) -> Seconds:
        """The instant, moved on to a minute in which nothing else of this journey is recorded."""
        minutes = self._minutes
        while at // MINUTE in minutes:
            at += MINUTE
        minutes.add(at // MINUTE)
        return at

    def _wrong_place(self) -> str:
        hospital = self._hospital
        return hospital.at(hospital.ward(self._chance.one_of(_WRONG_PLACES)), "2", "B")

    def _is_last(self, fact: Fact, recorded_at: Seconds, cancelled_at: Seconds) -> bool:
        """Whether no other fact of its type and visit is told to be, or recorded, before the cancel and not before the fact.

        Then a reader who knows neither the name nor the exact time of what is cancelled finds it all the same.
        """
        renamed = self._journey.visits
        visit = renamed.get(fact.visit or "", fact.visit)
        since = min(fact.at, recorded_at)
        return not any(
            since <= telling.at <= cancelled_at or since <= telling.recorded_at <= cancelled_at
            for other in self._journey.facts
            if other.type == fact.type
            and other is not fact
            and renamed.get(other.visit or "", other.visit) == visit
            for telling in other.told
        )


def when(fact: Fact) -> Seconds:
    """The order of facts."""
    return fact.at


def in_time(facts: list[Fact], end: Seconds) -> None:
    """Keep the facts, which are in order, apart, and leave out what happens at or after the end."""
    earliest = 0
    for number, fact in enumerate(facts):
        fact.at = max(fact.at, earliest)
        if fact.at >= end:
            del facts[number:]
            return
        earliest = fact.at + APART


def _is_free(facts: Sequence[Fact], at: Seconds) -> bool:
    """Whether no fact lies within `APART` of an instant."""
    number = bisect_left(facts, at - APART + 1, key=when)
    return number == len(facts) or facts[number].at >= at + APART
