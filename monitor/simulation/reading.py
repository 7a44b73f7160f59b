"""How the truth reads a standard: what was asked for, whether it came, and whether it came in time.

Each function takes one known journey and yields what became of each case. Facts are told apart by plain tests,
`Callable[[KnownFact], bool]`; whether two facts belong together by a `Pair`, same visit unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import combinations
from typing import Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from monitor.simulation.clock import DAY, HOLIDAYS, MINUTE, ZONE
from monitor.simulation.journey import Seconds
from monitor.simulation.known import KnownFact, KnownJourney, Place, same_visit, stays, together

_LONDON: Final = ZoneInfo(ZONE)
_SATURDAY: Final = 5

Test = Callable[[KnownFact], bool]
Pair = Callable[[KnownFact, KnownFact], bool]
Verdict = Literal["met", "late", "missed", "violated", "void", "open"]


class Finding(Struct, gc=False):
    """What became of one case; `of` is its trigger. An open one is not decided."""

    of: KnownFact
    verdict: Verdict
    decided_at: Seconds | None = None
    overdue: bool = False
    delay_seconds: Seconds | None = None


class Due(Struct, gc=False):
    """When an answer is due; `last` is the last second that is in time."""

    at: Seconds
    last: Seconds


Limit = Callable[[KnownFact], Due]


def elapsed(seconds: Seconds) -> Limit:
    """So long after the trigger; exactly then is in time."""

    def due(trigger: KnownFact) -> Due:
        return Due(trigger.at + seconds, trigger.at + seconds)

    return due


def calendar_days(days: int) -> Limit:
    """By the end of that day after the trigger's own."""

    def due(trigger: KnownFact) -> Due:
        return _midnight_after(_day(trigger) + timedelta(days=days))

    return due


def business_days(days: int) -> Limit:
    """By the end of that working day after the trigger's own day."""

    def due(trigger: KnownFact) -> Due:
        day, left = _day(trigger), days
        while left:
            day += timedelta(days=1)
            if day.weekday() < _SATURDAY and day not in HOLIDAYS:
                left -= 1
        return _midnight_after(day)

    return due


def local_hour(fact: KnownFact) -> int:
    """The hour on the wall."""
    return _local(fact).hour


def _day(fact: KnownFact) -> date:
    return _local(fact).date()


def _local(fact: KnownFact) -> datetime:
    return datetime.fromtimestamp(fact.at, _LONDON)


def _midnight_after(day: date) -> Due:
    at = int(datetime.combine(day + timedelta(days=1), time(), _LONDON).timestamp())
    return Due(at, at - 1)


class _Asked(Struct, gc=False):
    """What a trigger asked for: what answered and what stopped it, if anything did, and when the answer was due."""

    trigger: KnownFact
    came: KnownFact | None
    stopped: KnownFact | None
    due: Due


def _waits(asked: _Asked, later: KnownFact, pair: Pair, give_up: Seconds) -> bool:
    """Whether an answer is still waited for when a later trigger comes."""
    if not pair(asked.trigger, later):
        return False
    if any(end is not None and end.number <= later.number for end in (asked.came, asked.stopped)):
        return False
    return later.at <= asked.due.at + give_up


def answered(
    journey: KnownJourney,
    triggers: Iterable[KnownFact],
    answer: Test,
    limit: Limit,
    *,
    stop: Test | None = None,
    give_up: Seconds = DAY,
    once: bool = False,
    pair: Pair = same_visit,
    answer_pair: Pair | None = None,
    not_before: Seconds = 0,
) -> Iterator[Finding]:
    """Each trigger asks for an answer; `stop` says that none is owed any more.

    With `once` a trigger that comes while an earlier one still waits (and has not been given up) asks for nothing new.
    """
    asked: list[_Asked] = []
    for trigger in triggers:
        if once and asked and any(_waits(each, trigger, pair, give_up) for each in asked):
            continue
        came = first_answer(journey, trigger, answer, answer_pair or pair, not_before)
        stopped = None if stop is None else first_after(journey, trigger, stop, pair)
        due = limit(trigger)
        asked.append(_Asked(trigger, came, stopped, due))
        yield judged(trigger, came, stopped, due, give_up, journey.end)


def judged(
    trigger: KnownFact,
    came: KnownFact | None,
    stopped: KnownFact | None,
    due: Due,
    give_up: Seconds | None,
    end: Seconds,
) -> Finding:
    """The verdict of an answer that came or not, and of what stopped the waiting; None gives up never."""
    if stopped is not None and (came is None or stopped.number < came.number):
        if stopped.at <= due.last:
            return Finding(trigger, "void", stopped.at)
        given_up = stopped.at if give_up is None else due.at + give_up
        return Finding(trigger, "missed", min(stopped.at, given_up))
    if came is not None:
        if came.at <= due.last:
            return Finding(trigger, "met", came.at)
        return Finding(trigger, "late", came.at, delay_seconds=came.at - due.at)
    if end <= due.last:
        return Finding(trigger, "open")
    if give_up is None or end <= due.at + give_up:
        return Finding(trigger, "open", overdue=True)
    return Finding(trigger, "missed", due.at + give_up)


def first_answer(
    journey: KnownJourney, trigger: KnownFact, answer: Test, pair: Pair, not_before: Seconds = 0
) -> KnownFact | None:
    """The first fact that answers: from the trigger's own instant on, or so long after it."""
    for fact in _around(journey, trigger):
        if not answer(fact) or fact is trigger or not pair(trigger, fact):
            continue
        if not_before:
            if fact.at >= trigger.at + not_before:
                return fact
        elif fact.number > trigger.number or together(trigger, fact):
            return fact
    return None


def first_after(journey: KnownJourney, trigger: KnownFact, test: Test, pair: Pair) -> KnownFact | None:
    """The first such fact after the trigger, in order."""
    for fact in journey.facts[trigger.number + 1 :]:
        if test(fact) and pair(trigger, fact):
            return fact
    return None


def _around(journey: KnownJourney, trigger: KnownFact) -> Sequence[KnownFact]:
    """The trigger, all that may be at its instant (no feed is less exact than a minute), and all later facts."""
    facts = journey.facts
    start = trigger.number
    while start and facts[start - 1].at > trigger.at - MINUTE:
        start -= 1
    return facts[start:] if start else facts


def preceded(
    journey: KnownJourney,
    triggers: Iterable[KnownFact],
    needed: Test,
    *,
    within: Seconds | None = None,
) -> Iterator[Finding]:
    """Before each trigger, or at its instant, there was in its visit what it needs, and not too long ago."""
    for trigger in triggers:
        ready = _was_before(journey, trigger, needed, within)
        yield Finding(trigger, "met" if ready else "violated", trigger.at)


def _was_before(journey: KnownJourney, trigger: KnownFact, needed: Test, within: Seconds | None) -> bool:
    for fact in journey.facts:
        if fact.number >= trigger.number and not together(trigger, fact):
            return False
        if fact is trigger or not needed(fact) or not same_visit(trigger, fact):
            continue
        if within is None or fact.at >= trigger.at - within or together(trigger, fact):
            return True
    return False


def spared(
    journey: KnownJourney,
    triggers: Iterable[KnownFact],
    harm: Test,
    seconds: Seconds,
    *,
    until: Test | None = None,
    pair: Pair = same_visit,
    harm_pair: Pair | None = None,
) -> Iterator[Finding]:
    """For so long after each trigger, or until something ends the watch, the harm does not come."""
    for trigger in triggers:
        over = trigger.at + seconds
        came = _harmed(journey, trigger, harm, over, harm_pair or pair)
        ended = None if until is None else first_after(journey, trigger, until, pair)
        if came is not None and (ended is None or came.number < ended.number):
            yield Finding(trigger, "violated", came.at)
        elif ended is not None and ended.at <= over:
            yield Finding(trigger, "met", ended.at)
        elif journey.end > over:
            yield Finding(trigger, "met", over)
        else:
            yield Finding(trigger, "open")


def _harmed(
    journey: KnownJourney, trigger: KnownFact, harm: Test, over: Seconds, pair: Pair
) -> KnownFact | None:
    """The first harm after the trigger's own instant."""
    for fact in journey.facts[trigger.number + 1 :]:
        if (
            harm(fact)
            and pair(trigger, fact)
            and trigger.at < fact.at <= over
            and not together(trigger, fact)
        ):
            return fact
    return None


def stayed(
    journey: KnownJourney,
    _brought: Iterable[KnownFact],
    inside: Callable[[Place], bool],
    limit: Seconds,
) -> Iterator[Finding]:
    """Each stay ends in time; one that does not is never given up."""
    for entered, left in stays(journey, inside):
        due = entered.at + limit
        yield judged(entered, left, None, Due(due, due), None, journey.end)


def apart(
    journey: KnownJourney, _brought: Iterable[KnownFact], inside: Callable[[Place], bool], seconds: Seconds
) -> Iterator[Finding]:
    """No two visits are inside at once for longer than that."""
    in_order = sorted(stays(journey, inside), key=lambda stay: stay[0].number)
    for (first, first_left), (second, second_left) in combinations(in_order, 2):
        if first.key == second.key or (first_left is not None and first_left.number < second.number):
            continue
        over = second.at + seconds
        ends = [left for left in (first_left, second_left) if left is not None]
        ended_at = min((left.at for left in ends), default=None)
        if ended_at is not None and ended_at <= over:
            yield Finding(second, "met", ended_at)
        elif journey.end > over:
            yield Finding(second, "violated", over)
        else:
            yield Finding(second, "open")
