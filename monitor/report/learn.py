"""What a hospital would learn from its own history: the whole report, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.event import HEARTBEAT, Event
from monitor.core.journey import Stay
from monitor.core.place import Registry
from monitor.core.population import Span, reliability, silence
from monitor.core.rule import CaseRule, ReliabilityRule, SilenceRule
from monitor.report.cases import Story, Teller, varied, worst_cases
from monitor.report.handoffs import HandoffFigures, endings_of, handoff_figures, is_about_the_move, visits_of
from monitor.report.load import AlarmLoad, Fired, alarm_load, fired_alerts
from monitor.report.names import pseudonym, unmapped
from monitor.report.rules import RuleFigures, places_text, registry_places, rule_figures, without_case
from monitor.report.suggest import Findings, Invocation, Suggestion, blind_rules, suggestions

_LOOKED_AT: Final = 20
"""False alarms among which one is sought that shows charting delay best."""


_QUIET: Final = timedelta(hours=24)
_PASSING: Final = ("ed", "lounge")
"""Nothing is recorded for so long of a patient in a place of these kinds: who is there is soon seen to, or gone. (On a ward
a day without a message is nothing strange.)
"""
WATCH: Final = "data-discharge-missing"
"""The rule of the pack `data-quality` that watches for discharges that were never sent."""


class History(NamedTuple):
    """A finished history, and what a replay found in it."""

    packs: Sequence[tuple[str, Sequence[CaseRule]]]
    """The rules, by the file that holds them."""
    population_rules: Sequence[ReliabilityRule | SilenceRule]
    registry: Registry
    events: Sequence[Event]
    """In order of arrival."""
    until: datetime
    verdicts: Sequence[CaseVerdict]
    alerts: Sequence[AlertChange]
    """Of all rules as if each were live, in order."""
    stays: Sequence[Stay]
    invocation: Invocation
    """How the report was asked for."""

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


class Ghosts(msgspec.Struct, gc=False):
    """Visits that, by the record, are still going on in an emergency department or lounge, but of which nothing was recorded
    for over 24 h at the end: probably the discharge was never sent. Only those that have overdue cases.
    """

    visits: int
    overdue: int
    """Overdue cases of these visits."""
    of: int
    """All overdue cases."""
    watched: bool
    """Whether `WATCH` is among the rules."""


class Population(msgspec.Struct, gc=False):
    """How a rule about many journeys stands at the end."""

    rule: str
    kind: Literal["reliability", "silence"]
    decided: int
    """Of reliability: the cases decided within its time, of which `share` were met (None: too few to say)."""
    share: float | None
    target: float | None
    times: int
    """How often it was short of its target, or silent for too long."""
    since: datetime | None
    """Since when it is, if it is so at the end."""
    over_seconds: float | None
    """Of reliability: how far back from an instant it looks."""


class Report(msgspec.Struct, gc=False):
    """What there is to learn. Patients are under a pseudonym, unless asked for otherwise."""

    first_at: datetime
    until: datetime
    timezone: str
    events: int
    patients: int
    test_patients: int
    """Of these; their cases are left out."""
    no_registry: str | None
    """Of which places rules speak that match nothing, for there is no registry of them."""
    packs: list[Pack]
    populations: list[Population]
    shadow: list[str]
    """The rules in shadow."""
    unused: list[Unused]
    ghosts: Ghosts
    blind: list[Unused]
    """Rules with cases that were due and that nothing could meet: `never_seen` is what they wait for. They judge no handoff and give no worst case."""
    counts_shadow: bool
    """Whether handoffs are judged by rules in shadow, because there are no others."""
    handoffs: list[HandoffFigures]
    """By the rules that judge the moves of patients."""
    beside: list[HandoffFigures]
    """The same moves by the rules on what must go with them: notices, letters, signatures."""
    pending_handoffs: int
    """Overdue handoffs of which it is not known where they lead."""
    cases: list[Story]
    load: AlarmLoad
    suggestions: list[Suggestion]


def learn(history: History, *, identifiers: bool = False, worst: int = 3) -> Report:
    """The report on a history that holds at least one event. With `identifiers` patients have their own keys."""
    registry, rules = history.registry, history.rules
    tests = {event.patient for event in history.events if event.attributes.get("test") is True}
    cases = [case for case in history.verdicts if case.patient not in tests]
    figures = rule_figures(rules, cases)
    seen = {event.type for event in history.events}
    blind = blind_rules(rules, figures, seen)
    sighted = [rule for rule in rules if rule.id not in blind]
    live = [rule for rule in sighted if rule.mode == "live"]
    judging, visits, endings = live or sighted, visits_of(history.stays), endings_of(history.events)
    moves = [rule for rule in judging if is_about_the_move(rule)]
    handoffs, pending = handoff_figures(moves, cases, visits, registry, endings)
    others = [rule for rule in judging if rule not in moves]
    beside, _ = handoff_figures(others, cases, visits, registry, endings)
    ids = {rule.id for rule in rules}
    alerts = [change for change in history.alerts if change.rule in ids]  # others are of silent feeds
    fired = fired_alerts(alerts)
    shadow = [rule.id for rule in rules if rule.mode == "shadow"]
    places = {} if registry.microsystems else registry_places([*rules, *history.population_rules])
    first_at = history.events[0].arrived_at or history.events[0].recorded_at
    return Report(
        first_at=first_at,
        until=history.until,
        timezone=str(registry.timezone),
        events=len(history.events),
        patients=len({event.patient for event in history.events if event.type != HEARTBEAT}),
        test_patients=len(tests),
        no_registry=places_text(places) if places else None,
        packs=list(_packs(history.packs, figures)),
        populations=[_population(rule, cases, history) for rule in history.population_rules],
        shadow=shadow,
        unused=[Unused(rule, types) for rule, types in without_case(rules, figures, seen)],
        ghosts=_ghosts(history, cases),
        blind=[Unused(rule, types) for rule, types in blind.items()],
        counts_shadow=not live,
        handoffs=handoffs,
        beside=beside,
        pending_handoffs=pending,
        cases=_stories(history, live or sighted, cases, fired, worst, identifiers=identifiers),
        load=alarm_load(rules, alerts, first_at, history.until, registry.timezone),
        suggestions=suggestions(
            Findings(
                rules=rules,
                figures=figures,
                verdicts=cases,
                fired=[each for each in fired if each.rule not in shadow],
                shadow_fired=[each for each in fired if each.rule in shadow],
                handoffs=handoffs,
                seen=seen,
                unmapped=unmapped(history.events, registry),
                registry=registry,
                until=history.until,
                invocation=history.invocation,
            )
        ),
    )


def _stories(
    history: History,
    rules: Sequence[CaseRule],
    cases: Sequence[CaseVerdict],
    fired: Sequence[Fired],
    count: int,
    *,
    identifiers: bool,
) -> list[Story]:
    """The worst cases, told; of the false alarms one that was charted late, if possible, and not merged or corrected late."""
    bad, false = worst_cases(rules, cases, fired, history.until)
    teller = Teller(rules, cases, history.alerts, history.stays, history.registry, history.until)
    told = teller.tell(false[:_LOOKED_AT], history.events)
    by_charting = [case for case, story in zip(false, told, strict=False) if story.cause == "charting"]
    stories = teller.tell(varied(bad, by_charting or false, count), history.events)
    for story in stories:
        story.patient = story.patient if identifiers else pseudonym(story.patient)
    return stories


def _packs(packs: Sequence[tuple[str, Sequence[CaseRule]]], figures: Sequence[RuleFigures]) -> Iterator[Pack]:
    for name, rules in packs:
        ids = {rule.id for rule in rules}
        with_case = [each for each in figures if each.rule in ids and each.cases]
        if with_case:
            yield Pack(name, with_case)


def _population(
    rule: ReliabilityRule | SilenceRule, cases: Sequence[CaseVerdict], history: History
) -> Population:
    if isinstance(rule, SilenceRule):
        spans = silence(rule, history.events, history.registry, history.until)
        return Population(rule.id, "silence", 0, None, None, len(spans), _since(spans), None)
    found = reliability(rule, cases, history.until)
    target = rule.reliability.target
    decided, times = found.recent.total(), len(found.short)
    over = rule.reliability.over.total_seconds()
    return Population(rule.id, "reliability", decided, found.share, target, times, _since(found.short), over)


def _ghosts(history: History, cases: Sequence[CaseVerdict]) -> Ghosts:
    last: dict[tuple[str, str | None], datetime] = {}
    for event in history.events:
        for key in ((event.patient, event.encounter), (event.patient, None)):
            last[key] = max(event.recorded_at, last.get(key, event.recorded_at))
    there = {
        (stay.patient, stay.encounter)
        for stay in history.stays
        if stay.left_at is None and stay.kind in _PASSING
    }
    quiet = {visit for visit in there if visit in last and history.until - last[visit] > _QUIET}
    overdue = [(case.patient, case.encounter) for case in cases if case.overdue]
    ghosts = [visit for visit in overdue if visit in quiet]
    return Ghosts(
        len(set(ghosts)), len(ghosts), len(overdue), any(rule.id == WATCH for rule in history.rules)
    )


def _since(spans: Sequence[Span]) -> datetime | None:
    return spans[-1][0] if spans and spans[-1][1] is None else None
