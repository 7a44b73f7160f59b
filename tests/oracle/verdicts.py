"""The verdict of every case of every rule, from the effective timeline and the clock (contract, section 4).

A case is a plain dict. Beside what the contract names it holds `opener` (the effective event), `stale`, and
`timers` (instants at which the clock alone may change it).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from effective import Clock, Effective, effective
from match import calendar_end, duration, in_hours, in_place, listed, matches, pairs, same, together, zone_of
from silence import silences

from monitor.core.event import Event

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "handoff-monitor")
DAY = timedelta(hours=24)


@dataclass
class Seen:
    """What a verdict may depend on: one journey, the registry, the clock and which sources are silent since when."""

    journey: list[Effective]
    registry: dict[str, Any]
    clock: Clock
    silent: dict[str, datetime]

    def past(self, moment: datetime) -> bool:
        """Whether a moment has been exceeded."""
        return self.clock > (moment, 0)

    def silent_since(self, rule: dict[str, Any], opener: Effective) -> datetime | None:
        feeds = rule.get("feeds")
        feeds = [opener.event.source] if feeds is None else feeds
        return min((self.silent[feed] for feed in feeds if feed in self.silent), default=None)

    def matching(self, pattern: dict[str, Any]) -> list[Effective]:
        return [each for each in self.journey if matches(pattern, each, self.registry)]

    def triggers(self, pattern: dict[str, Any], rule: dict[str, Any]) -> list[Effective]:
        return [each for each in self.matching(pattern) if self.active(rule, each)]

    def active(self, rule: dict[str, Any], each: Effective) -> bool:
        at = rule.get("active")
        return at is None or in_hours(at, each.at.astimezone(zone_of(each, self.registry, at.get("tz"))))


def verdicts(
    events: Iterable[Event],
    rules: list[dict[str, Any]],
    registry: dict[str, Any],
    clock: Clock,
    listened: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Every case of every journey as known at the clock; `listened` are the sources whose silence is judged."""
    events = list(events)
    return judged(
        effective(events, clock, registry),
        rules,
        registry,
        clock,
        silences(events, registry, clock, listened),
    )


def judged(
    journeys: dict[str, list[Effective]],
    rules: list[dict[str, Any]],
    registry: dict[str, Any],
    clock: Clock,
    silent: dict[str, datetime],
) -> list[dict[str, Any]]:
    return [
        case
        for journey in journeys.values()
        for rule in rules
        for case in form(rule)(rule, Seen(journey, registry, clock, silent))
    ]


def form(rule: dict[str, Any]) -> Callable[[dict[str, Any], Seen], list[dict[str, Any]]]:
    return next(judge for name, judge in FORMS.items() if name in rule)


def case_of(
    rule: dict[str, Any], opener: Effective, step: str | None = None, **verdict: Any
) -> dict[str, Any]:
    """A case; `over` is the moment at which it was over (None: not yet to be said)."""
    over = verdict.pop("over", None)
    name = [rule["id"], step, *opener.key, *verdict.pop("pair", [])]
    found = {
        "rule": rule["id"],
        "step": step,
        "patient": opener.patient,
        "encounter": opener.encounter,
        "trigger": opener.key[1],
        "trigger_at": opener.at,
        "overdue": False,
        "reason": None,
        "due_at": None,
        "decided_at": None,
        "delay_seconds": None,
        "case": str(uuid.uuid5(NAMESPACE, json.dumps(name, separators=(",", ":")))),
        "opener": opener,
        "timers": [],
        **verdict,
    }
    if found["verdict"] == "violated":
        over = found["decided_at"] + DAY
    found["stale"] = over is not None and over < opener.fact.arrived_at
    return found


def first(found: Iterable[Effective]) -> Effective | None:
    return min(found, key=lambda each: each.order, default=None)


def first_after(patterns: Any, trigger: Effective, rule: dict[str, Any], seen: Seen) -> Effective | None:
    """The first event after the trigger, in order, that matches one of the patterns of `unless` or `until`."""
    patterns = listed([] if patterns is None else patterns)
    return first(
        each
        for pattern in patterns
        for each in seen.journey
        if each.order > trigger.order and pairs(pattern, rule.get("same"), trigger, each, seen.registry)
    )


# -- expect, and what is judged like it --------------------------------------------------------------------


@dataclass
class Deadline:
    """The end of the time given; the midnight of a calendar deadline is itself excluded."""

    at: datetime | None
    excluded: bool = False

    def holds(self, moment: datetime) -> bool:
        if self.at is None:
            return True
        return moment < self.at if self.excluded else moment <= self.at

    def passed(self, seen: Seen) -> bool:
        if self.at is None:
            return False
        return seen.clock[0] >= self.at if self.excluded else seen.past(self.at)


def deadline_of(limit: str, trigger: Effective, rule: dict[str, Any], seen: Seen) -> Deadline:
    if not limit.endswith(("bd", "cd")):
        return Deadline(trigger.at + duration(limit))
    name = rule.get("calendar") or seen.registry.get("calendar")
    calendar = seen.registry.get("calendars", {}).get(name, {})
    return Deadline(calendar_end(limit, trigger, calendar, seen.registry), excluded=True)


def response(
    q: Effective | None,
    r: Effective | None,
    deadline: Deadline,
    *,
    give_up: timedelta | None,
    silent_since: datetime | None,
    seen: Seen,
) -> dict[str, Any]:
    """The verdict of an expected event q, an `unless` r, a deadline and the clock."""
    given_up_at = deadline.at + give_up if deadline.at is not None and give_up is not None else None
    found: dict[str, Any] = {"due_at": deadline.at, "over": given_up_at}
    found["timers"] = [at for at in (deadline.at, given_up_at) if at is not None]

    if r is not None and (q is None or r.order < q.order):
        if deadline.holds(r.at):
            return found | {"verdict": "void", "reason": "unless", "decided_at": r.at}
        if given_up_at is not None and r.at > given_up_at:
            return found | {"verdict": "missed", "reason": "gave_up", "decided_at": given_up_at}
        return found | {"verdict": "missed", "reason": "abandoned", "decided_at": r.at}
    if q is not None and deadline.holds(q.at):
        return found | {"verdict": "met", "decided_at": q.at}
    if q is not None:
        delay = (q.at - deadline.at).total_seconds()
        return found | {"verdict": "late", "decided_at": q.at, "delay_seconds": delay}

    if not deadline.passed(seen):
        return found | {"verdict": "open"}
    if silent_since is not None and deadline.at >= silent_since:
        return found | {"verdict": "unknown", "reason": "feed_silent"}
    if given_up_at is None or not seen.past(given_up_at):
        return found | {"verdict": "open", "overdue": True}
    if silent_since is not None and given_up_at >= silent_since:
        return found | {"verdict": "unknown", "reason": "feed_silent"}
    return found | {"verdict": "missed", "reason": "gave_up", "decided_at": given_up_at}


def expected(
    patterns: Any, trigger: Effective, not_before: timedelta, rule: dict[str, Any], seen: Seen
) -> Effective | None:
    """q: of a list of patterns, the last of their first occurrences; None until all have occurred."""
    strict = rule.get("strict", False)

    def counts(each: Effective) -> bool:
        if strict and (each.order < trigger.order or together(each, trigger)):
            return False
        if not_before:
            return each.at >= trigger.at + not_before
        return each.order > trigger.order or together(each, trigger)

    firsts = [
        first(
            each
            for each in seen.journey
            if pairs(pattern, rule.get("same"), trigger, each, seen.registry) and counts(each)
        )
        for pattern in listed(patterns)
    ]
    return None if None in firsts else max(firsts, key=lambda each: each.order)


def expect(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    give_up = duration(rule.get("give_up", "24h"))
    overlap = rule.get("overlap", "each")
    cases: list[dict[str, Any]] = []
    opened: list[tuple[Effective, Any, Any, Deadline]] = []
    for trigger in seen.triggers(rule["when"], rule):
        earlier = [
            case
            for case in opened
            if same(rule.get("same"), case[0], trigger)
            and not any(end is not None and end.order <= trigger.order for end in case[1:3])
        ]
        if overlap == "first" and any(trigger.at <= case[3].at + give_up for case in earlier):
            continue
        q = expected(rule["expect"], trigger, duration(rule.get("not_before", "0s")), rule, seen)
        r = first_after(rule.get("unless"), trigger, rule, seen)
        opened.append((trigger, q, r, deadline_of(rule["within"], trigger, rule, seen)))

    for trigger, q, r, deadline in opened:
        by = superseding(trigger, (q, r), deadline, [case[0] for case in opened], rule)
        verdict = response(
            q, r, deadline, give_up=give_up, silent_since=seen.silent_since(rule, trigger), seen=seen
        )
        if overlap == "latest" and by is not None:
            verdict |= {"verdict": "void", "reason": "superseded", "decided_at": by.at, "overdue": False}
            verdict |= {"delay_seconds": None}
        cases.append(case_of(rule, trigger, **verdict))
    return cases


def superseding(
    trigger: Effective,
    ends: tuple[Any, Any],
    deadline: Deadline,
    triggers: list[Effective],
    rule: dict[str, Any],
) -> Effective | None:
    """The first later trigger at which the case is undecided and not past its deadline."""
    return first(
        later
        for later in triggers
        if later.order > trigger.order
        and same(rule.get("same"), trigger, later)
        and not any(end is not None and end.order <= later.order for end in ends)
        and deadline.holds(later.at)
    )


def steps(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    give_up = duration(rule.get("give_up", "24h"))
    cases = []
    for opener in seen.triggers(rule["steps"][0]["match"], rule):
        trigger = opener
        not_reached: dict[str, Any] | None = None
        for step in rule["steps"][1:]:
            if not_reached:
                cases.append(case_of(rule, opener, step["name"], **not_reached))
                continue
            q = expected(step["match"], trigger, timedelta(0), rule, seen)
            r = first_after(rule.get("unless"), trigger, rule, seen)
            deadline = deadline_of(step["within"], trigger, rule, seen)
            verdict = response(
                q, r, deadline, give_up=give_up, silent_since=seen.silent_since(rule, opener), seen=seen
            )
            cases.append(case_of(rule, opener, step["name"], **verdict))
            if verdict["verdict"] in ("open", "unknown"):
                break
            if verdict["verdict"] in ("missed", "void"):
                not_reached = {
                    "verdict": "void",
                    "reason": "not_reached",
                    "decided_at": verdict["decided_at"],
                }
            else:
                trigger = q
    return cases


# -- stay and exclusive ------------------------------------------------------------------------------------


@dataclass
class Dwelling:
    """One unbroken time of one encounter in places that match."""

    opener: Effective
    closer: Effective | None
    within: list[Effective]
    """The encounter's events from the opener on, the closer included."""


def dwellings(place: Any, seen: Seen) -> list[Dwelling]:
    found: list[Dwelling] = []
    current: dict[Any, Dwelling] = {}
    for each in seen.journey:
        inside = in_place(place, each.place, seen.registry)
        dwelling = current.get(each.stay_key)
        if dwelling is not None:
            dwelling.within.append(each)
            if not inside:
                dwelling.closer = each
                del current[each.stay_key]
        elif inside:
            current[each.stay_key] = Dwelling(each, None, [each])
            found.append(current[each.stay_key])
    return found


def stay(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    cases = []
    give_up = duration(rule["give_up"]) if "give_up" in rule else None
    for dwelling in dwellings(rule["stay"], seen):
        opener, q = dwelling.opener, dwelling.closer
        if not seen.active(rule, opener):
            continue
        r = first_after(rule.get("unless"), opener, rule, seen)
        deadline = Deadline(stay_deadline(rule, dwelling, r))
        verdict = response(
            q, r, deadline, give_up=give_up, silent_since=seen.silent_since(rule, opener), seen=seen
        )
        too_early = q is not None and q.at < opener.at + duration(rule.get("at_least", "0s"))
        if too_early and verdict["verdict"] != "void":
            verdict |= {
                "verdict": "violated",
                "reason": "left_early",
                "decided_at": q.at,
                "delay_seconds": None,
            }
        cases.append(case_of(rule, opener, **verdict))
    return cases


def stay_deadline(rule: dict[str, Any], dwelling: Dwelling, r: Effective | None) -> datetime | None:
    """T + `at_most`, moved on by each leave before `unless`; None while one lasts (decision 24)."""
    if "at_most" not in rule:
        return None
    due_at = dwelling.opener.at + duration(rule["at_most"])
    if rule.get("pause") != "leave":
        return due_at
    left_at = None
    for each in dwelling.within[1:]:
        if r is not None and each.order >= r.order:
            break
        if left_at is None and each.event.type == "leave" and each.at <= due_at:
            left_at = each.at
        if left_at is not None and (each.event.type == "return" or each is dwelling.closer):
            due_at += each.at - left_at
            left_at = None
    return due_at if left_at is None else None


def exclusive(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    one, other = (dwellings(place, seen) for place in rule["exclusive"])
    both: dict[Any, tuple[Dwelling, Dwelling]] = {}
    for a in one:
        for b in other:
            if a.opener.stay_key == b.opener.stay_key:
                continue
            earlier, later = sorted((a, b), key=lambda dwelling: dwelling.opener.order)
            if earlier.closer is None or earlier.closer.order > later.opener.order:
                both[earlier.opener.key, later.opener.key] = (earlier, later)

    cases = []
    for earlier, later in both.values():
        if not seen.active(rule, later.opener):
            continue
        due_at = later.opener.at + duration(rule["longer_than"])
        end = first(each for each in (earlier.closer, later.closer) if each is not None)
        since = seen.silent_since(rule, later.opener)
        verdict: dict[str, Any] = {"verdict": "open"}
        if end is not None and end.at <= due_at:
            verdict = {"verdict": "met", "decided_at": end.at}
        elif seen.past(due_at):
            held = end is None and since is not None and due_at >= since
            verdict = (
                {"verdict": "unknown", "reason": "feed_silent"}
                if held
                else {"verdict": "violated", "decided_at": due_at}
            )
        pair = [[list(earlier.opener.key), list(later.opener.key)]]
        cases.append(case_of(rule, later.opener, **verdict, due_at=due_at, timers=[due_at], pair=pair))
    return cases


# -- require, forbid, never, count -------------------------------------------------------------------------


def require(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    return [
        case_of(
            rule,
            trigger,
            decided_at=trigger.at,
            verdict="met" if required(rule, trigger, seen) else "violated",
        )
        for trigger in seen.triggers(rule["when"], rule)
    ]


def required(rule: dict[str, Any], trigger: Effective, seen: Seen) -> bool:
    """Whether an event in [T - D, T] matches, with no `unless` after it and before the trigger."""
    unless = listed(rule.get("unless", []))

    def counts(each: Effective) -> bool:
        if together(each, trigger):
            return not rule.get("strict", False)
        return each.order < trigger.order and (
            "within" not in rule or each.at >= trigger.at - duration(rule["within"])
        )

    def undone(each: Effective) -> bool:
        return any(
            each.order < other.order < trigger.order
            and pairs(pattern, rule.get("same"), trigger, other, seen.registry)
            for pattern in unless
            for other in seen.journey
        )

    return any(
        counts(each)
        and pairs(rule["require"], rule.get("same"), trigger, each, seen.registry)
        and not undone(each)
        for each in seen.journey
    )


def forbid(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    cases = []
    for trigger in seen.triggers(rule["when"], rule):
        end = trigger.at + duration(rule["within"])
        q = first(
            each
            for each in seen.journey
            if trigger.at < each.at <= end
            and not together(each, trigger)
            and pairs(rule["forbid"], rule.get("same"), trigger, each, seen.registry)
        )
        r = first_after(rule.get("until"), trigger, rule, seen)
        since = seen.silent_since(rule, trigger)
        verdict: dict[str, Any] = {"verdict": "open"}
        if q is not None and (r is None or q.order < r.order):
            verdict = {"verdict": "violated", "decided_at": q.at}
        elif r is not None and r.at <= end:
            verdict = {"verdict": "met", "decided_at": r.at}
        elif seen.past(end):
            held = since is not None and end >= since
            verdict = (
                {"verdict": "unknown", "reason": "feed_silent"}
                if held
                else {"verdict": "met", "decided_at": end}
            )
        cases.append(case_of(rule, trigger, **verdict, due_at=end, timers=[end]))
    return cases


def never(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    return [
        case_of(rule, each, verdict="violated", decided_at=each.at)
        for each in seen.triggers(rule["never"], rule)
    ]


def count(rule: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    """A case at the event that makes it one too many."""
    matching = seen.matching(rule["count"])
    within = duration(rule["within"])
    return [
        case_of(rule, each, verdict="violated", decided_at=each.at)
        for each in matching
        if seen.active(rule, each)
        and rule["at_most"]
        == sum(
            other.order < each.order and other.at > each.at - within and same(rule.get("same"), each, other)
            for other in matching
        )
    ]


FORMS: dict[str, Callable[[dict[str, Any], Seen], list[dict[str, Any]]]] = {
    "expect": expect,
    "steps": steps,
    "stay": stay,
    "exclusive": exclusive,
    "require": require,
    "forbid": forbid,
    "never": never,
    "count": count,
}
