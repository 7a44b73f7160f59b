"""The cases worth looking at one by one: which they are, and what happened in each, as told to a reader."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.event import Event
from monitor.core.journey import Stay, named
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.report.handoffs import Endings, ending_of, endings_of, visits_of
from monitor.report.load import Fired, receiver
from monitor.report.names import happened, left, place_name

_GRAVITY: Final = {"critical": 0, "warning": 1, "info": 2}


MATERIAL: Final = timedelta(minutes=5)
"""A charting delay below this is not worth many words."""


class Happening(msgspec.Struct, gc=False):
    """One thing that happened to the patient, and when it came to be known."""

    what: str
    at: datetime
    charted_at: datetime
    """When the source wrote it (the version that counts)."""
    known_at: datetime
    """When it reached the monitor."""

    @property
    def charting_delay_seconds(self) -> float:
        return (self.charted_at - self.at).total_seconds()

    @property
    def delivery_delay_seconds(self) -> float:
        return (self.known_at - self.charted_at).total_seconds()


class Alarm(msgspec.Struct, gc=False):
    """A change of the case's alert."""

    at: datetime
    state: str
    level: int
    role: str
    """Who is told at this level."""
    reason: str | None


class Move(msgspec.Struct, gc=False):
    """The patient left a place, or came to one."""

    what: str
    at: datetime


class Visit(msgspec.Struct, gc=False):
    """The patient in one place."""

    place: str
    entered_at: datetime
    left_at: datetime | None


class Story(msgspec.Struct, gc=False):
    """One case, from what opened it to what became of it and of its alert."""

    rule: str
    step: str | None
    summary: str
    action: str | None
    """What to do, as the rule says."""
    severity: str
    patient: str
    verdict: str
    overdue: bool
    false_alarm: bool
    """Whether the alert fired although what it waited for had been done in time, and only was not charted."""
    trigger: Happening
    due_at: datetime | None
    came: Happening | None
    """What decided the case: what was expected (in time or late), or what was forbidden."""
    settled_at: datetime | None
    """Of a false alarm: when what had come in time was known for what it was."""
    ended_at: datetime | None
    """When nothing more was to be expected of it, where nothing came: given up, or the patient was gone."""
    reason: str | None
    """Of the verdict."""
    care_delay_seconds: float | None
    """How long after the deadline it came, or has not come."""
    alarms: list[Alarm]
    places: list[Visit]
    also: list[str]
    """Other rules that were not met in the same visit, the gravest first."""
    next_move: Move | None
    """The first after the trigger."""
    left: Move | None
    """How the visit ended, if it did."""
    until: datetime

    @property
    def was_charted_late(self) -> bool:
        """Whether the time between what came and its being charted is worth showing."""
        return self.came is not None and self.came.charting_delay_seconds >= MATERIAL.total_seconds()

    @property
    def cause(self) -> Literal["charting", "feed", "record"]:
        """What took longest between what came in time and its being known as such: charting it, sending it, or correcting
        or merging the record.
        """
        if self.came is None:
            return "charting"
        charting, sending = self.came.charting_delay_seconds, self.came.delivery_delay_seconds
        settling = (self.settled_at - self.came.known_at).total_seconds() if self.settled_at else 0.0
        if charting >= max(sending, settling):
            return "charting"
        return "feed" if sending >= settling else "record"


def worst_cases(
    rules: Sequence[CaseRule],
    cases: Iterable[CaseVerdict],
    fired: Iterable[Fired],
    until: datetime,
) -> tuple[list[CaseVerdict], list[CaseVerdict]]:
    """The cases that went wrong, and those whose alarm was false (done in time, known late); the gravest and longest first.

    Live rules come before those in shadow. Cases of test patients and old news raise no alert, and so are not among them.
    """
    by_id = {rule.id: rule for rule in rules}
    alerts = {each.alert: each for each in fired}
    known = [case for case in cases if case.case in alerts and case.rule in by_id]

    def gravity(case: CaseVerdict) -> tuple[bool, int]:
        rule = by_id[case.rule]
        return rule.mode != "live", _GRAVITY[rule.severity]

    def simple_and_long(case: CaseVerdict) -> tuple[int, timedelta]:
        alert = alerts[case.case]
        return alert.times_resolved, -alert.lasted(until)

    bad = [case for case in known if _is_bad(case)]
    bad.sort(key=lambda case: (*gravity(case), not _came(case), -_excess(case, until), case.case))
    false = [case for case in known if case.verdict == "met" and alerts[case.case].reason == "charted_late"]
    false.sort(key=lambda case: (*gravity(case), *simple_and_long(case), case.case))
    return bad, false


def _is_bad(case: CaseVerdict) -> bool:
    return case.overdue or case.verdict in ("late", "missed", "violated")


def _came(case: CaseVerdict) -> bool:
    """Whether it came after all: of what never came, the record rather than the care may be what is wrong."""
    return case.verdict in ("late", "violated")


def _excess(case: CaseVerdict, until: datetime) -> float:
    """How long after the deadline, as a multiple of the time that was allowed: an hour is long for sepsis, and short for a letter."""
    if case.due_at is None:
        return 0.0
    late = (
        case.delay_seconds
        if case.delay_seconds is not None
        else ((case.decided_at or until) - case.due_at).total_seconds()
    )
    return late / max((case.due_at - case.trigger_at).total_seconds(), 60.0)


def varied(bad: Sequence[CaseVerdict], false: Sequence[CaseVerdict], count: int) -> list[CaseVerdict]:
    """The first of the bad ones, then the first false alarm, then more bad ones; each of another patient, if possible of
    another rule, and best with another verdict.
    """
    chosen: list[CaseVerdict] = []
    for queue in (bad, false, *[bad] * count):
        left = [case for case in queue if all(case.patient != other.patient for other in chosen)]
        other_rule = [case for case in left if all(case.rule != other.rule for other in chosen)]
        other_end = [case for case in other_rule if all(case.verdict != other.verdict for other in chosen)]
        chosen += (other_end or other_rule or left)[:1]
    return chosen[:count]


class Teller:
    """Tells cases as stories, from the verdicts, alerts and stays of a history."""

    def __init__(
        self,
        rules: Sequence[CaseRule],
        cases: Iterable[CaseVerdict],
        alerts: Iterable[AlertChange],
        stays: Iterable[Stay],
        registry: Registry,
        until: datetime,
    ) -> None:
        self._rules = {rule.id: rule for rule in rules}
        self._registry = registry
        self._until = until
        self._alerts: dict[str, list[AlertChange]] = defaultdict(list)
        for change in alerts:
            self._alerts[change.alert].append(change)
        self._stays: dict[str, list[Stay]] = defaultdict(list)
        for stay in stays:
            self._stays[stay.patient].append(stay)
        self._failed: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        for case in cases:
            if _is_bad(case) and case.rule in self._rules:
                self._failed[case.patient, case.encounter].add(case.rule)

    def tell(self, cases: Sequence[CaseVerdict], events: Sequence[Event]) -> list[Story]:
        """The stories of some cases; `patient` is the key as it is."""
        wanted = {name for case in cases for name in (case.trigger, *case.evidence)}
        versions = _versions(events, wanted)
        endings = endings_of(events)
        return [self._story(case, versions, endings) for case in cases]

    def _story(self, case: CaseVerdict, versions: Mapping[str, Sequence[Event]], endings: Endings) -> Story:
        rule = self._rules[case.rule]
        changes = self._alerts.get(case.case, [])
        came = None
        if case.verdict in ("met", "late", "violated") and case.evidence and case.decided_at is not None:
            came = self._happening(case.evidence[0], case.decided_at, versions)
        missing_since = case.due_at if came is None and (case.overdue or case.verdict == "missed") else None
        visit = self._visit(case)
        care_delay = case.delay_seconds
        if missing_since is not None:
            care_delay = ((case.decided_at or self._until) - missing_since).total_seconds()
        return Story(
            rule=case.rule,
            step=case.step,
            summary=rule.summary,
            action=rule.action,
            severity=rule.severity,
            patient=case.patient,
            verdict=case.verdict,
            overdue=case.overdue,
            false_alarm=case.verdict == "met" and bool(changes) and changes[-1].reason == "charted_late",
            trigger=self._happening(case.trigger, case.trigger_at, versions),
            due_at=case.due_at,
            came=came,
            settled_at=changes[-1].at if changes and changes[-1].reason == "charted_late" else None,
            ended_at=case.decided_at if came is None and case.verdict == "missed" else None,
            reason=case.reason,
            care_delay_seconds=care_delay,
            alarms=[
                Alarm(each.at, each.state, each.level, receiver(rule, each.level), each.reason)
                for each in changes
            ],
            places=[
                Visit(place_name(stay.place, self._registry), stay.entered_at, stay.left_at)
                for stay in sorted(self._stays.get(case.patient, ()), key=lambda stay: stay.entered_at)
            ],
            also=self._also(case, visit),
            next_move=self._next_move(case, visit, endings),
            left=self._end(case.patient, visit, endings),
            until=self._until,
        )

    def _also(self, case: CaseVerdict, visit: str | None) -> list[str]:
        failed = {*self._failed[case.patient, case.encounter], *self._failed[case.patient, visit]} - {
            case.rule
        }
        return sorted(failed, key=lambda rule: (_GRAVITY[self._rules[rule].severity], rule))

    def _visit(self, case: CaseVerdict) -> str | None:
        """The visit of a case; of one that names none, that in which the patient then was or next is."""
        stays = self._stays.get(case.patient, ())
        if any(stay.encounter == case.encounter for stay in stays):
            return case.encounter
        later = [stay for stay in stays if stay.left_at is None or stay.left_at > case.trigger_at]
        return min(later, key=lambda stay: stay.entered_at).encounter if later else case.encounter

    def _next_move(self, case: CaseVerdict, visit: str | None, endings: Endings) -> Move | None:
        """In whichever visit: some sources give a patient a new visit number and never close the old one."""
        moves = []
        for stays in visits_of(self._stays.get(case.patient, ())).values():
            where = "" if stays[0].encounter == visit else " in another visit"
            moves.append(
                Move(f"came to {place_name(stays[0].place, self._registry)}{where}", stays[0].entered_at)
            )
            moves += [
                Move(self._left(stay, endings), stay.left_at) for stay in stays if stay.left_at is not None
            ]
        later = [move for move in moves if move.at > case.trigger_at]
        return min(later, key=lambda move: move.at, default=None)

    def _end(self, patient: str, visit: str | None, endings: Endings) -> Move | None:
        """How a visit ended, if it did."""
        stays = visits_of(self._stays.get(patient, ())).get((patient, visit), ())
        if not stays or stays[-1].left_at is None or stays[-1].to is not None:
            return None
        return Move(self._left(stays[-1], endings), stays[-1].left_at)

    def _left(self, stay: Stay, endings: Endings) -> str:
        ending = None
        if stay.left_at is not None:
            ending = ending_of(stay.patient, stay.encounter, stay.left_at, endings)
        to = place_name(stay.to, self._registry) or None
        return left(place_name(stay.place, self._registry), to, ending)

    def _happening(self, name: str, at: datetime, versions: Mapping[str, Sequence[Event]]) -> Happening:
        """The fact of that name; the version that counts is the one that gives the time at which it happened."""
        found = [event for event in versions.get(name, ()) if event.occurred_at == at]
        if not found:
            return Happening("it happened", at, at, at)
        event = max(found, key=lambda event: (event.recorded_at, event.id))
        known_at = min(each.arrived_at or each.recorded_at for each in found if each.id == event.id)
        return Happening(
            happened(event, self._registry), at, event.recorded_at, max(known_at, event.recorded_at)
        )


def _versions(events: Iterable[Event], wanted: set[str]) -> dict[str, list[Event]]:
    """The events of each wanted id, with all that correct them."""
    corrections: dict[tuple[str, str], list[Event]] = defaultdict(list)
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.replaces is not None:
            corrections[named(event.replaces, event.source)].append(event)
        if event.id in wanted:
            found[event.id].append(event)
    for versions in found.values():
        for event in versions:  # the list grows as corrections of corrections are found
            versions.extend(
                each for each in corrections.get((event.source, event.id), ()) if each not in versions
            )
    return found


def lanes(story: Story) -> Iterator[datetime]:
    """Every instant of a story that its drawing must hold."""
    yield story.trigger.at
    if story.due_at is not None:
        yield story.due_at
        if story.overdue:
            yield min(story.until, story.due_at + 2 * (story.due_at - story.trigger.at))
    for at in (story.ended_at, story.settled_at):
        if at is not None:
            yield at
    if story.came is not None:
        yield from (story.came.at, story.came.charted_at, story.came.known_at)
    yield from (alarm.at for alarm in story.alarms)
