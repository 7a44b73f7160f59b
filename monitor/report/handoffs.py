"""Handoffs between two microsystems, and how reliable each is: defects per opportunities (IHI)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.core.journey import Stay
from monitor.core.pattern import place_matches
from monitor.core.place import Registry
from monitor.core.population import DECIDED
from monitor.core.rule import (
    CaseRule,
    CountRule,
    ExpectRule,
    ForbidRule,
    NeverRule,
    Pattern,
    RequireRule,
    StayRule,
    StepsRule,
)
from monitor.report.figures import magnitude, quantile, wilson
from monitor.report.names import ending_name, place_name
from monitor.report.rules import types_of

ARRIVAL: Final = "arrival"
"""Where a patient comes from who was nowhere before."""
_MOVING: Final = frozenset({"register", "admit", "transfer", "arrive", "depart", "return", "discharge"})

Visits = Mapping[tuple[str, str | None], Sequence[Stay]]
"""The stays of each encounter of each patient, in order."""
Endings = Mapping[tuple[str, datetime], str]
"""The disposition of each discharge, by patient and by encounter, and by when it happened."""


class Handoff(NamedTuple):
    """One move of responsibility; None is outside. `at` tells several between the same two places apart."""

    patient: str
    encounter: str | None
    from_: str | None
    to: str | None
    at: datetime


class _Pair(NamedTuple):
    """From where to where; out of the hospital, in which way."""

    from_: str | None
    to: str | None
    ending: str | None


class HandoffFigures(msgspec.Struct, gc=False, rename={"from_": "from"}):
    """How reliable the handoffs from one place to another are."""

    from_: str | None
    to: str | None
    from_name: str
    to_name: str
    opportunities: int
    """Handoffs that at least one rule judged."""
    defects: int
    """Those in which at least one rule was not met: late or missing."""
    late: int
    missing: int
    """Missed, violated or overdue: what should have been there is not."""
    share: float
    low: float
    """The 95 % interval of the share (Wilson)."""
    high: float
    magnitude: str
    """Of the share of defects: `unstable`, `10^-1`, `10^-2`, `10^-3`."""
    median_delay_seconds: float | None
    """Of the late ones, each with its longest delay after a deadline."""
    rules: dict[str, int]
    """The rules that judged it and the defects that each found, most first."""


def visits_of(stays: Iterable[Stay]) -> Visits:
    """The stays by patient and encounter."""
    found: dict[tuple[str, str | None], list[Stay]] = defaultdict(list)
    for stay in stays:
        found[stay.patient, stay.encounter].append(stay)
    for each in found.values():
        each.sort(key=lambda stay: stay.entered_at)
    return found


def endings_of(events: Iterable[Event]) -> Endings:
    """The dispositions that discharges give; of several versions of one the last written stands."""
    found: dict[tuple[str, datetime], str] = {}
    for event in sorted(events, key=lambda event: event.recorded_at):
        disposition = event.attributes.get("disposition")
        if event.type == "discharge" and isinstance(disposition, str):
            for name in (event.patient, event.encounter):  # either may be another after a merge
                if name is not None:
                    found[name, event.occurred_at] = disposition
    return found


def ending_of(patient: str, encounter: str | None, at: datetime, endings: Endings) -> str | None:
    """The disposition of the discharge by which a visit ended; None where it is not given."""
    return endings.get((patient, at)) or endings.get((encounter or "", at))


def handoff_figures(
    rules: Sequence[CaseRule],
    cases: Iterable[CaseVerdict],
    visits: Visits,
    registry: Registry,
    endings: Endings = MappingProxyType({}),
) -> tuple[list[HandoffFigures], int]:
    """Each pair of places with its figures, the least reliable first; and how many handoffs led nobody knows where (yet).

    First is what is surely bad: they are in order of the lower end of the interval.
    """
    by_id = {rule.id: rule for rule in rules}
    judged: dict[Handoff, list[CaseVerdict]] = defaultdict(list)
    pending = set()
    for case in cases:
        rule = by_id.get(case.rule)
        if rule is None or not (case.verdict in DECIDED or case.overdue):
            continue
        handoff = handoff_of(case, rule, visits, registry)
        if handoff is not None:
            judged[handoff].append(case)
        elif case.overdue and _is_about_leaving(rule):
            pending.add((case.patient, case.encounter))
    pairs: dict[_Pair, list[list[CaseVerdict]]] = defaultdict(list)
    for handoff, about in judged.items():
        ending = None
        if handoff.to is None:
            ending = ending_name(ending_of(handoff.patient, handoff.encounter, handoff.at, endings))
        pairs[_Pair(handoff.from_, handoff.to, ending)].append(about)
    found = [_figures(pair, opportunities, registry) for pair, opportunities in pairs.items()]
    return sorted(found, key=lambda each: (-each.low, -each.share, each.from_name, each.to_name)), len(
        pending
    )


def handoff_of(case: CaseVerdict, rule: CaseRule, visits: Visits, registry: Registry) -> Handoff | None:
    """The handoff that a case is about, if it is about one whose two ends are known.

    It is the move that opened the case (but for a stay, which is about leaving); else, of a rule that waits for a
    move, the move from where the patient then was.
    """
    stays = visits.get((case.patient, case.encounter), ())
    if not isinstance(rule, StayRule):
        for stay in stays:
            if stay.left_at == case.trigger_at:
                return Handoff(case.patient, case.encounter, stay.place, stay.to, case.trigger_at)
        if case.from_ is None and case.to is not None:
            return Handoff(case.patient, case.encounter, None, case.to, case.trigger_at)
    if not _is_about_leaving(rule):
        return None
    left = _left(case, stays)
    meant = _only_destination(rule, registry)
    if left is None or (meant is None and left.left_at is None):
        return None
    return Handoff(
        case.patient, case.encounter, left.place, meant or left.to, left.left_at or left.entered_at
    )


def is_about_the_move(rule: CaseRule) -> bool:
    """Whether a rule judges the moves of patients themselves, and not what must go with them (notices, letters, signatures)."""
    match rule:
        case ExpectRule():
            return all(map(_is_move, rule.expect if isinstance(rule.expect, list) else [rule.expect]))
        case StepsRule():
            return all(_is_move(step.match) for step in rule.steps[1:])
        case RequireRule():
            return _is_move(rule.require)
        case ForbidRule():
            return _is_move(rule.forbid)
        case NeverRule():
            return _is_move(rule.never)
        case CountRule():
            return _is_move(rule.count)
    return True


def _is_move(pattern: Pattern) -> bool:
    """Whether only moves match: by their types or, where it names none, by the places."""
    if types := types_of(pattern):
        return set(types) <= _MOVING
    return pattern.from_ is not None or pattern.to is not None


def _is_about_leaving(rule: CaseRule) -> bool:
    if isinstance(rule, StayRule):
        return rule.at_most is not None
    return isinstance(rule, ExpectRule) and is_about_the_move(rule)


def _left(case: CaseVerdict, stays: Sequence[Stay]) -> Stay | None:
    """The stay that the patient should leave: what the case was decided by ended it, or the patient was in it at the trigger."""
    for stay in stays:
        if case.decided_at is not None and stay.left_at == case.decided_at:
            return stay
    there = [stay for stay in stays if stay.entered_at <= case.trigger_at]
    return there[-1] if there and (there[-1].left_at is None or there[-1].left_at > case.trigger_at) else None


def _only_destination(rule: CaseRule, registry: Registry) -> str | None:
    """The one microsystem to which the awaited move must lead, if the rule leaves no choice."""
    if not isinstance(rule, ExpectRule) or isinstance(rule.expect, list) or rule.expect.to is None:
        return None
    found = [each.id for each in registry.microsystems if place_matches(rule.expect.to, each.id, registry)]
    return found[0] if len(found) == 1 else None


def _figures(pair: _Pair, opportunities: Sequence[list[CaseVerdict]], registry: Registry) -> HandoffFigures:
    missing = late = 0
    delays: list[float] = []
    blamed: dict[str, int] = defaultdict(int)
    for about in opportunities:
        for rule, broken in {(case.rule, case.verdict != "met") for case in about}:
            blamed[rule] += broken
        if any(case.verdict in ("missed", "violated") or case.overdue for case in about):
            missing += 1
        elif any(case.verdict == "late" for case in about):
            late += 1
        delay = max((case.delay_seconds or 0 for case in about if case.verdict == "late"), default=None)
        if delay is not None:
            delays.append(delay)
    defects, number = late + missing, len(opportunities)
    low, high = wilson(defects, number)
    return HandoffFigures(
        from_=pair.from_,
        to=pair.to,
        from_name=place_name(pair.from_, registry) or ARRIVAL,
        to_name=pair.ending or place_name(pair.to, registry),
        opportunities=number,
        defects=defects,
        late=late,
        missing=missing,
        share=defects / number,
        low=low,
        high=high,
        magnitude=magnitude(defects / number),
        median_delay_seconds=quantile(sorted(delays), 0.5),
        rules=dict(sorted(blamed.items(), key=lambda each: (-each[1], each[0]))),
    )
