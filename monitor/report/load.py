"""Alarm load: what the alerts would have asked of whom, shift by shift."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from monitor.core.change import AlertChange
from monitor.core.rule import CaseRule, Escalation
from monitor.report.figures import quantile

DAY_FROM: Final = 7
NIGHT_FROM: Final = 19
"""The local hours at which the shifts begin."""
NOBODY: Final = "(nobody is named)"
FALSE: Final = ("charted_late", "withdrawn")
"""Reasons of resolution that show an alarm to have been false."""


class Shift(NamedTuple):
    """A day shift, or a night shift, which has the date on which it begins."""

    day: date
    part: Literal["day", "night"]


class Fired(msgspec.Struct, gc=False):
    """An alert that fired at a deadline or violation, and how it ended."""

    rule: str
    alert: str
    at: datetime
    """When it first fired."""
    due_at: datetime | None
    """The deadline of its case."""
    since: datetime | None
    """Since when it fires without a break; None when it does not."""
    reason: str | None = None
    """Why it was last resolved."""
    times_resolved: int = 0
    longest: timedelta = timedelta(0)
    """The longest time for which it fired without a break."""

    def lasted(self, until: datetime) -> timedelta:
        """The longest time for which it fired, up to the end of the history."""
        return self.longest if self.since is None else max(self.longest, until - self.since)


class ShiftLoad(msgspec.Struct, gc=False):
    """How much came in shifts of one kind."""

    shifts: int
    median: float | None
    worst: int
    worst_on: date | None


class RoleLoad(msgspec.Struct, gc=False):
    """What one role would have been told: alarms (at a deadline or violation, and by escalation), and warnings before deadlines."""

    role: str
    alarms: int
    day: ShiftLoad
    night: ShiftLoad
    warnings: int
    warnings_day_median: float | None
    warnings_night_median: float | None


class AlarmLoad(msgspec.Struct, gc=False):
    """The load of the live rules by role, the busiest first, and what those in shadow would have added.

    All alarms are counted; medians, worst shifts and `per_shift` are of whole shifts, where the history holds one.
    """

    roles: list[RoleLoad]
    total: RoleLoad
    """Of all roles: each alarm as often as somebody is told."""
    fired: int
    """Alerts of live rules that fired, each once."""
    charted_late: int
    """Of these, those that showed to be in time once it was charted."""
    withdrawn: int
    """Of these, those whose cause was cancelled or corrected."""
    shadow: RoleLoad
    shadow_fired: int
    per_shift: list[int]
    """Alarms of live rules in each whole shift of the history, in order, by day and night in turn."""
    first: Shift | None


def shift_of(at: datetime, zone: ZoneInfo) -> Shift:
    """The shift in which an instant lies."""
    local = at.astimezone(zone)
    if local.hour < DAY_FROM:
        return Shift(local.date() - timedelta(days=1), "night")
    return Shift(local.date(), "day" if local.hour < NIGHT_FROM else "night")


def shifts_between(first: datetime, last: datetime, zone: ZoneInfo) -> list[Shift]:
    """All shifts from that of the first instant to that of the last."""
    found, end = [shift_of(first, zone)], shift_of(last, zone)
    while found[-1] != end:
        found.append(following(found[-1]))
    return found


def whole_shifts(first: datetime, last: datetime, zone: ZoneInfo) -> list[Shift]:
    """The shifts that lie between two instants from their beginning to their end; if none does, those that do in part."""
    found = shifts_between(first, last, zone)
    whole = [each for each in found if first <= _begin(each, zone) and _begin(following(each), zone) <= last]
    return whole or found


def _begin(shift: Shift, zone: ZoneInfo) -> datetime:
    return datetime.combine(shift.day, time(DAY_FROM if shift.part == "day" else NIGHT_FROM), zone)


def following(shift: Shift) -> Shift:
    """The shift after one."""
    return Shift(shift.day, "night") if shift.part == "day" else Shift(shift.day + timedelta(days=1), "day")


def receiver(rule: CaseRule, level: int) -> str:
    """The role that is told at a level of an alert: who is named on that step of the ladder, else the owner."""
    steps = sorted(rule.escalate, key=lambda step: step.after)
    ladder = [step for step in steps if step.after >= timedelta(0)]
    early = [step for step in steps if step.after < timedelta(0)]
    step: Escalation | None = None
    if level < 0:
        step = early[0] if early else None
    elif 0 < level <= len(ladder):
        step = ladder[level - 1]
    return (step.notify if step is not None else None) or rule.owner or NOBODY


def fired_alerts(alerts: Iterable[AlertChange]) -> list[Fired]:
    """The alerts that fired, in order of doing so; warnings that came to nothing are none."""
    found: dict[str, Fired] = {}
    for change in alerts:
        known = found.get(change.alert)
        if change.state == "resolved":
            if known is not None:
                _resolve(known, change)
        elif change.level >= 0:
            if known is None:
                known = found[change.alert] = Fired(change.rule, change.alert, change.at, change.due_at, None)
            known.since = known.since or change.at
    return list(found.values())


def _resolve(alert: Fired, change: AlertChange) -> None:
    if alert.since is not None:
        alert.longest = max(alert.longest, change.at - alert.since)
    alert.since, alert.reason = None, change.reason
    alert.times_resolved += 1


def alarm_load(
    rules: Sequence[CaseRule],
    alerts: Sequence[AlertChange],
    first: datetime,
    last: datetime,
    zone: ZoneInfo,
) -> AlarmLoad:
    """What the alerts of a history would have asked of whom; those of rules in shadow apart.

    `alerts` hold the changes of all rules as if each were live.
    """
    by_id = {rule.id: rule for rule in rules}
    shifts = whole_shifts(first, last, zone)
    told: dict[str, list[tuple[Shift, int]]] = defaultdict(list)
    shadow: list[tuple[Shift, int]] = []
    for change in alerts:
        rule = by_id[change.rule]
        if change.state == "firing":
            of_role = told[receiver(rule, change.level)] if rule.mode == "live" else shadow
            of_role.append((shift_of(change.at, zone), change.level))
    fired = [each for each in fired_alerts(alerts) if by_id[each.rule].mode == "live"]
    shadow_fired = len({change.alert for change in alerts if change.level >= 0}) - len(fired)
    reasons = Counter(each.reason for each in fired if each.since is None)
    everything = [entry for entries in told.values() for entry in entries]
    roles = [_role_load(role, entries, shifts) for role, entries in told.items()]
    alarms = Counter(shift for shift, level in everything if level >= 0)
    return AlarmLoad(
        roles=sorted(roles, key=lambda each: (-each.alarms, -each.warnings, each.role)),
        total=_role_load("all", everything, shifts),
        fired=len(fired),
        charted_late=reasons["charted_late"],
        withdrawn=reasons["withdrawn"],
        shadow=_role_load("shadow", shadow, shifts),
        shadow_fired=shadow_fired,
        per_shift=[alarms[shift] for shift in shifts],
        first=shifts[0],
    )


def _role_load(role: str, entries: Sequence[tuple[Shift, int]], shifts: Sequence[Shift]) -> RoleLoad:
    alarms = Counter(shift for shift, level in entries if level >= 0)
    warnings = Counter(shift for shift, level in entries if level < 0)
    by_day, by_night = ([shift for shift in shifts if shift.part == part] for part in ("day", "night"))
    return RoleLoad(
        role,
        alarms.total(),
        _shift_load(alarms, by_day),
        _shift_load(alarms, by_night),
        warnings.total(),
        _median(warnings, by_day),
        _median(warnings, by_night),
    )


def _shift_load(counts: Mapping[Shift, int], shifts: Sequence[Shift]) -> ShiftLoad:
    worst = max(shifts, key=lambda shift: counts.get(shift, 0), default=None)
    number = counts.get(worst, 0) if worst is not None else 0
    return ShiftLoad(len(shifts), _median(counts, shifts), number, worst.day if worst and number else None)


def _median(counts: Mapping[Shift, int], shifts: Sequence[Shift]) -> float | None:
    return quantile(sorted(counts.get(shift, 0) for shift in shifts), 0.5)
