"""Rules about many journeys: reliability over a rolling time, and silence (contract, section 7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple

from monitor.core.alert import case_id
from monitor.core.calendar import inside
from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.event import OPENS_ENCOUNTER, Event
from monitor.core.pattern import place_matches
from monitor.core.place import Registry
from monitor.core.rule import ReliabilityRule, SilenceRule

DECIDED: Final = ("met", "late", "missed", "violated")
"""The verdicts that a share is taken of."""

Span = tuple[datetime, datetime | None]
"""From when on an alert fires, and when it resolves; None: it still fires."""


class Reliability(NamedTuple):
    """How a reliability rule stands at the end, and when it fell short."""

    counts: Counter[str]
    """All cases of its rules, by verdict."""
    recent: Counter[str]
    """Those decided within `over` of the end, by verdict."""
    share: float | None
    """Of the recent ones, how many were met; None when fewer than `min` were decided."""
    short: list[Span]


def reliability(rule: ReliabilityRule, cases: Iterable[CaseVerdict], until: datetime) -> Reliability:
    """The share of met cases among those decided in a rolling time, and the spans in which it was below the target.

    A case counts from the instant at which it was decided, for as long as `over`; a share of fewer than `min` cases
    is no share.
    """
    goal = rule.reliability
    mine = [case for case in cases if case.rule in goal.of]
    decided = sorted(
        (case.decided_at, case.verdict)
        for case in mine
        if case.decided_at is not None and case.verdict in DECIDED
    )
    steps = sorted(
        [(at, verdict, 1) for at, verdict in decided if at <= until]
        + [(at + goal.over, verdict, -1) for at, verdict in decided if at + goal.over <= until]
    )
    window: Counter[str] = Counter()
    states: list[tuple[datetime, bool]] = []
    for index, (at, verdict, number) in enumerate(steps):
        window[verdict] += number
        if index + 1 == len(steps) or steps[index + 1][0] != at:
            share = _share(window, goal.min)
            states.append((at, share is not None and share < goal.target))
    return Reliability(
        Counter(case.verdict for case in mine), +window, _share(window, goal.min), list(_spans(states))
    )


def _share(window: Counter[str], least: int) -> float | None:
    decided = window.total()
    return window["met"] / decided if decided and decided >= least else None


def silence(rule: SilenceRule, events: Iterable[Event], registry: Registry, until: datetime) -> list[Span]:
    """The spans in which nothing had come from a source, or nobody into a place, for too long; only inside `at`, if given.

    `events` are in order of arrival. The time before the first event of all is not silence.
    """
    limit = rule.silence
    heard: list[datetime] = []
    for event in events:
        at = event.arrived_at or event.recorded_at
        if not heard or _is_meant(rule, event, registry):
            heard.append(at)
    spans: list[Span] = []
    for at, following in zip(heard, [*heard[1:], None], strict=True):
        begins = at + limit.for_
        if begins < (until if following is None else following):
            spans += _within(rule, registry, begins, following, until)
    return spans


def _is_meant(rule: SilenceRule, event: Event, registry: Registry) -> bool:
    limit = rule.silence
    if limit.source is not None:
        return event.source == limit.source
    if event.to is None or event.type not in OPENS_ENCOUNTER:
        return False
    return place_matches(limit.to, registry.place(event.to), registry)


def _within(
    rule: SilenceRule, registry: Registry, begins: datetime, ends: datetime | None, until: datetime
) -> Iterator[Span]:
    """The parts of a span that lie inside the rule's `at`."""
    at = rule.silence.at
    if at is None:
        yield begins, ends
        return
    place = rule.silence.to if isinstance(rule.silence.to, str) else None
    zone = at.tz or registry.timezone_of(place)
    last = until if ends is None else ends
    turns = {begins}
    day = begins.astimezone(zone).date()
    while day <= last.astimezone(zone).date():
        for clock in (time(0), *(each for each in at.hours or () if each is not None)):
            turn = datetime.combine(day, clock, zone).astimezone(UTC)
            if begins < turn < last:
                turns.add(turn)
        day += timedelta(days=1)
    states = [(turn, inside(turn.astimezone(zone), at.hours, at.days)) for turn in sorted(turns)]
    for start, end in _spans(states):
        yield start, ends if end is None else end


def _spans(states: Sequence[tuple[datetime, bool]]) -> Iterator[Span]:
    """From when to when a state held."""
    since: datetime | None = None
    for at, holds in states:
        if holds and since is None:
            since = at
        elif not holds and since is not None:
            yield since, at
            since = None
    if since is not None:
        yield since, None


def alert_changes(rule: ReliabilityRule | SilenceRule, spans: Collection[Span]) -> Iterator[AlertChange]:
    """The firing and resolving of a population's alert; shadow rules have none."""
    if rule.mode == "shadow":
        return
    righted = "met" if isinstance(rule, ReliabilityRule) else "heard"
    for start, end in spans:
        for at, state in ((start, "firing"), (end, "resolved")):
            if at is not None:
                yield AlertChange(
                    alert=case_id(rule.id, None, "", "", None),
                    rule=rule.id,
                    severity=rule.severity,
                    state=state,
                    level=0,
                    reason=None if state == "firing" else righted,
                    at=at,
                    patient="",
                    encounter=None,
                    due_at=None,
                    sequence=(0, at, 0),
                    summary=rule.summary,
                )
