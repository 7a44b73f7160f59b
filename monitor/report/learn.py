"""What a hospital would learn from its own history: the whole report, as plain data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.event import HEARTBEAT, Event
from monitor.core.journey import Stay
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.report.cases import Story, Teller, worst_cases
from monitor.report.handoffs import HandoffFigures, handoff_figures, visits_of
from monitor.report.load import AlarmLoad, alarm_load
from monitor.report.names import pseudonym
from monitor.report.rules import RuleFigures, rule_figures, without_case


class History(NamedTuple):
    """A finished history, and what a replay found in it."""

    packs: Sequence[tuple[str, Sequence[CaseRule]]]
    """The rules, by the file that holds them."""
    registry: Registry
    events: Sequence[Event]
    """In order of arrival."""
    until: datetime
    verdicts: Sequence[CaseVerdict]
    alerts: Sequence[AlertChange]
    """Of all rules as if each were live, in order."""
    stays: Sequence[Stay]

    @property
    def rules(self) -> list[CaseRule]:
        return [rule for _, rules in self.packs for rule in rules]


class Pack(msgspec.Struct, gc=False):
    """The figures of the rules of one file that had a case."""

    name: str
    rules: list[RuleFigures]


class Unused(msgspec.Struct, gc=False):
    """A rule without a case; `never_seen` are the types of event that would open one, if none of these ever came."""

    rule: str
    never_seen: list[str]


class Report(msgspec.Struct, gc=False):
    """What there is to learn. Patients are under a pseudonym, unless asked for otherwise."""

    first_at: datetime
    until: datetime
    timezone: str
    events: int
    patients: int
    packs: list[Pack]
    shadow: list[str]
    """The rules in shadow."""
    unused: list[Unused]
    counts_shadow: bool
    """Whether handoffs are judged by rules in shadow, because there are no others."""
    handoffs: list[HandoffFigures]
    pending_handoffs: int
    """Overdue handoffs of which it is not known where they lead."""
    cases: list[Story]
    load: AlarmLoad


def learn(history: History, *, identifiers: bool = False, worst: int = 3) -> Report:
    """The report on a history that holds at least one event. With `identifiers` patients have their own keys."""
    registry, rules, cases = history.registry, history.rules, history.verdicts
    figures = rule_figures(rules, cases)
    seen = {event.type for event in history.events}
    live = [rule for rule in rules if rule.mode == "live"]
    handoffs, pending = handoff_figures(live or rules, cases, visits_of(history.stays), registry)
    teller = Teller(rules, history.alerts, history.stays, registry, history.until)
    stories = teller.tell(worst_cases(rules, cases, history.alerts, history.until, worst), history.events)
    for story in stories:
        story.patient = story.patient if identifiers else pseudonym(story.patient)
    first_at = history.events[0].arrived_at or history.events[0].recorded_at
    return Report(
        first_at=first_at,
        until=history.until,
        timezone=str(registry.timezone),
        events=len(history.events),
        patients=len({event.patient for event in history.events if event.type != HEARTBEAT}),
        packs=list(_packs(history.packs, figures)),
        shadow=[rule.id for rule in rules if rule.mode == "shadow"],
        unused=_unused(rules, figures, seen),
        counts_shadow=not live,
        handoffs=handoffs,
        pending_handoffs=pending,
        cases=stories,
        load=alarm_load(rules, history.alerts, first_at, history.until, registry.timezone),
    )


def _packs(packs: Sequence[tuple[str, Sequence[CaseRule]]], figures: Sequence[RuleFigures]) -> list[Pack]:
    found = []
    for name, rules in packs:
        ids = {rule.id for rule in rules}
        with_case = [each for each in figures if each.rule in ids and each.cases]
        if with_case:
            found.append(Pack(name, with_case))
    return found


def _unused(rules: Sequence[CaseRule], figures: Sequence[RuleFigures], seen: Collection[str]) -> list[Unused]:
    return [Unused(rule, types) for rule, types in without_case(rules, figures, seen)]
