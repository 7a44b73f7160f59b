"""What each form of rule makes of a journey (contract, section 4).

A *form* is a rule made ready: it says which facts concern it (`plan`, `moves`), gathers on its cases what it has
seen as facts come in order, and judges a case at a clock. Judging is pure: what was gathered and the clock, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from monitor.core.alert import Alert, Judgement, Policy
from monitor.core.calendar import calendar_deadline
from monitor.core.clock import Clock, after
from monitor.core.event import UNIT, same_instant
from monitor.core.journey import Fact, Journey
from monitor.core.pattern import (
    Shape,
    Test,
    any_of,
    at_test,
    both,
    may_match,
    pairing,
    place_matches,
    specialise,
)
from monitor.core.place import CalendarDays, Registry
from monitor.core.rule import (
    CaseRule,
    CountRule,
    ExclusiveRule,
    ExpectRule,
    ForbidRule,
    NeverRule,
    PairPattern,
    PairPatterns,
    Pattern,
    RequireRule,
    StayRule,
    Step,
    StepsRule,
)
from monitor.core.text import CalendarDuration

OPEN = Judgement("open")


class Case(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """One opportunity for a handoff to go right: what opened it, and what has been seen of it since."""

    form: Form
    trigger: Fact
    """The fact that opened it, by which it is known."""
    start: Fact | None
    """The fact from which its time runs; None while a pathway has not come so far."""
    step: int = 0
    due: Clock | None = None
    hit: Fact | None = None
    """The expected (or forbidden, or leaving) fact."""
    veto: Fact | None = None
    """The fact of `unless` or `until`."""
    found: list[Fact | None] | None = None
    """Of several expected facts, those that have been seen."""
    superseded: Fact | None = None
    previous: Case | None = None
    """The step before, of a pathway."""
    first: Fact | None = None
    """The fact that opened the first of two stays, of `exclusive`."""
    away_at: datetime | None = None
    """Since when a leave of absence has stopped the time of a stay."""
    gone: bool = False
    """Whether a newer reading of the journey has taken its place."""
    judged: Judgement | None = None
    """The judgement last told."""
    alert: Alert | None = None


Handler = Callable[[Journey, Fact, list[Case]], None]
"""Takes the next fact of a journey and adds the cases that it opened or changed to the list."""
Plan = list[tuple[Test | None, Handler]]


class Form:
    """A rule made ready for one registry: the base of the eight forms."""

    __slots__ = ("pairs", "policy", "registry", "rule")

    def __init__(self, rule: CaseRule, registry: Registry) -> None:
        self.rule: Any = rule
        self.registry = registry
        self.pairs = pairing(rule.same)
        self.policy = Policy.of(rule)

    def plan(self, shape: Shape) -> Plan:
        """What to do with facts of a shape: tests (None: always) and handlers, in the order in which they apply."""
        raise NotImplementedError

    def moves(self, before: str | None, after: str | None) -> Plan:
        """What to do with facts that move a patient from one place to another."""
        return []

    def judge(self, case: Case, now: Clock) -> Judgement | None:
        raise NotImplementedError

    def due(self, case: Case) -> Clock | None:
        """The first clock at which the deadline has been exceeded; None while there is none."""
        return case.due

    def give_up_at(self, case: Case) -> Clock | None:
        """When an overdue case is given up; None: never."""
        return None

    def next_turn(self, case: Case, now: Clock) -> Clock | None:
        """When the clock alone will next change the verdict on an open case."""
        due = self.due(case)
        if due is None or now < due:
            return due
        give_up_at = self.give_up_at(case)
        return give_up_at if give_up_at is not None and now < give_up_at else None

    def names(self, event_type: str) -> bool:
        """Whether events of a type can match one of the rule's patterns."""
        return any(may_match(pattern, event_type) for pattern in patterns_of(self.rule))

    def step_name(self, case: Case) -> str | None:
        return None

    def trigger_test(self, pattern: Pattern, shape: Shape) -> bool | Test:
        """Whether a fact opens a case: it matches, and the rule is active then."""
        return both(specialise(pattern, shape, self.registry), self.active_test(shape))

    def active_test(self, shape: Shape) -> bool | Test:
        return True if self.rule.active is None else at_test(self.rule.active, shape, self.registry)

    def deadline(self, start: Fact, limit: timedelta | CalendarDuration) -> Clock:
        """The first clock at which the deadline has been exceeded."""
        if isinstance(limit, timedelta):
            return (start.at + limit, 1)
        name = self.rule.calendar or self.registry.calendar
        days = self.registry.calendars.get(name) if name else None
        zone = self.registry.timezone_of(start.from_, start.to)
        return (calendar_deadline(start.at, limit, days or CalendarDays(), zone), 0)


class Wanted:
    """A pattern that is looked for beside a trigger, with the `same` that pairs the two."""

    __slots__ = ("known", "pairs", "pattern", "registry")

    def __init__(self, pattern: PairPattern, form: Form) -> None:
        self.pattern = pattern
        self.registry = form.registry
        self.pairs = pairing(pattern.same) if pattern.same is not None else form.pairs
        self.known: dict[Shape, bool | Test] = {}

    def test(self, shape: Shape) -> bool | Test:
        found = self.known.get(shape)
        if found is None:
            found = self.known[shape] = specialise(self.pattern, shape, self.registry)
        return found

    def holds(self, fact: Fact) -> bool:
        test = self.test(fact.shape)
        return test if isinstance(test, bool) else test(fact)


class Vetoes:
    """The patterns of `unless` or `until`: any of them."""

    __slots__ = ("wanted",)

    def __init__(self, patterns: PairPatterns, form: Form) -> None:
        self.wanted = [Wanted(each, form) for each in _listed(patterns)]

    def test(self, shape: Shape) -> bool | Test:
        return any_of([each.test(shape) for each in self.wanted])

    def holds(self, start: Fact, fact: Fact) -> bool:
        """Whether a fact vetoes what `start` asks for; which of the two comes first is for the caller to see."""
        for each in self.wanted:  # noqa: SIM110  # on the hot path, where `any` costs as much as the tests
            if each.holds(fact) and each.pairs(start, fact):
                return True
        return False


def _listed(patterns: PairPatterns) -> list[PairPattern]:
    return patterns if isinstance(patterns, list) else [patterns]


def _entry(test: bool | Test, handler: Handler) -> Plan:
    if test is False:
        return []
    return [(None if test is True else test, handler)]


def in_time(fact: Fact, due: Clock | None) -> bool:
    """Whether a fact is not after a deadline; exactly at it is in time, but a calendar's midnight is not."""
    return due is None or (fact.at, 0) < due


class _Response(Form):
    """What expect and steps share: a fact that must follow another in time."""

    __slots__ = ("vetoes",)

    def __init__(self, rule: ExpectRule | StepsRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.vetoes = Vetoes(rule.unless, self)

    def wanted(self, case: Case) -> Sequence[Wanted]:
        raise NotImplementedError

    def give_up_at(self, case: Case) -> Clock | None:
        return after(case.due, self.rule.give_up) if case.due else None

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        raise NotImplementedError

    def not_before(self) -> timedelta:
        return timedelta(0)

    def look(self, journey: Journey, case: Case, start: Fact, touched: list[Case]) -> None:
        """Start the time of a case, and see what already answers it: an event at its own instant, or later in order."""
        case.start = start
        case.due = self.deadline(start, self.limit(case))
        touched.append(case)
        for fact in journey.around(start):
            if fact is not start and self.take(journey, case, fact, touched):
                return
        journey.live.setdefault(self, []).append(case)

    def take(self, journey: Journey, case: Case, fact: Fact, touched: list[Case]) -> bool:
        """Show a case one fact; whether that decided it."""
        start = case.start
        if start is None or fact is start or case.hit is not None or case.veto is not None:
            return False
        for index, wanted in enumerate(self.wanted(case)):
            if self.answers(case, start, fact, wanted) and self.mark(case, index, fact):
                case.hit = fact
                touched.append(case)
                self.decided(journey, case, touched)
                return True
        if fact.order > start.order and self.vetoes.holds(start, fact):
            case.veto = fact
            touched.append(case)
            self.decided(journey, case, touched)
            return True
        return False

    def answers(self, case: Case, start: Fact, fact: Fact, wanted: Wanted) -> bool:
        if not wanted.holds(fact) or not wanted.pairs(start, fact):
            return False
        if fact.order < start.order:
            if self.rule.strict or not same_instant(start.event, fact.event):
                return False
        elif self.rule.strict and same_instant(start.event, fact.event):
            return False
        delay = self.not_before()
        return not delay or fact.at >= start.at + delay

    def mark(self, case: Case, index: int, fact: Fact) -> bool:
        """Note that one of the expected patterns has been seen; whether all have."""
        return True

    def decided(self, journey: Journey, case: Case, touched: list[Case]) -> None:
        """What follows when a fact has decided a case."""

    def offered(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        """A fact came that may answer or veto open cases."""
        live = journey.live.get(self)
        if not live:
            return
        decided = [case for case in tuple(live) if self.take(journey, case, fact, touched)]
        if decided:
            journey.live[self] = [case for case in journey.live[self] if case not in decided]

    def judge(self, case: Case, now: Clock) -> Judgement | None:
        return judge_response(case, now)


def judge_response(case: Case, now: Clock) -> Judgement:
    """expect, a step, and a stay with a deadline (contract, section 4, expect)."""
    due, hit, veto = case.due, case.hit, case.veto
    if case.superseded is not None:
        return Judgement("void", "superseded", case.superseded.at)
    if hit is not None:
        return Judgement("met" if in_time(hit, due) else "late", None, hit.at)
    if veto is not None and in_time(veto, due):
        return Judgement("void", "unless", veto.at)
    if due is None or (veto is None and now < due):
        return OPEN
    give_up_at = case.form.give_up_at(case)
    if veto is not None and (give_up_at is None or (veto.at, 0) < give_up_at):
        return Judgement("missed", "abandoned", veto.at)
    if give_up_at is not None and now >= give_up_at:
        return Judgement("missed", "gave_up", give_up_at[0], by_clock=give_up_at)
    return Judgement("open", overdue=True, by_clock=due)


class Expect(_Response):
    """Response: after the trigger, the expected facts within a time."""

    __slots__ = ("_wanted",)

    def __init__(self, rule: ExpectRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self._wanted = [Wanted(each, self) for each in _listed(rule.expect)]

    def plan(self, shape: Shape) -> Plan:
        offered = any_of([self.vetoes.test(shape), *(each.test(shape) for each in self._wanted)])
        return _entry(offered, self.offered) + _entry(self.trigger_test(self.rule.when, shape), self.opened)

    def wanted(self, case: Case) -> Sequence[Wanted]:
        return self._wanted

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        limit: timedelta | CalendarDuration = self.rule.within
        return limit

    def not_before(self) -> timedelta:
        delay: timedelta = self.rule.not_before
        return delay

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        if self.rule.overlap != "each" and self.overlapped(journey, fact, touched):
            return
        case = Case(form=self, trigger=fact, start=fact)
        if len(self._wanted) > 1:
            case.found = [None] * len(self._wanted)
        journey.cases.append(case)
        self.look(journey, case, fact, touched)

    def overlapped(self, journey: Journey, fact: Fact, touched: list[Case]) -> bool:
        """Let a second trigger meet the cases that are undecided at it; whether it opens none of its own."""
        undecided = [
            case for case in journey.live.get(self, ()) if case.start and self.pairs(case.start, fact)
        ]
        if self.rule.overlap == "first":
            return any((fact.at, 0) < (self.give_up_at(case) or (fact.at, 0)) for case in undecided)
        for case in undecided:
            if in_time(fact, case.due):
                case.superseded = fact
                journey.live[self].remove(case)
                touched.append(case)
        return False

    def mark(self, case: Case, index: int, fact: Fact) -> bool:
        if case.found is None:
            return True
        if case.found[index] is None:
            case.found[index] = fact
        return None not in case.found


class Steps(_Response):
    """Pathway: a chain of responses, each from the fact that satisfied the one before."""

    __slots__ = ("_wanted",)

    def __init__(self, rule: StepsRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self._wanted = [Wanted(step.match, self) for step in rule.steps]

    def plan(self, shape: Shape) -> Plan:
        offered = any_of([self.vetoes.test(shape), *(each.test(shape) for each in self._wanted[1:])])
        first = self.trigger_test(self.rule.steps[0].match, shape)
        return _entry(offered, self.offered) + _entry(first, self.opened)

    def wanted(self, case: Case) -> Sequence[Wanted]:
        return self._wanted[case.step : case.step + 1]

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        limit: timedelta | CalendarDuration = self.rule.steps[case.step].within
        return limit

    def step_name(self, case: Case) -> str | None:
        name: str = self.rule.steps[case.step].name
        return name

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        cases: list[Case] = []
        for step in range(1, len(self.rule.steps)):
            previous = cases[-1] if cases else None
            cases.append(Case(form=self, trigger=fact, start=None, step=step, previous=previous))
        journey.cases += cases
        for case in reversed(cases[1:]):
            journey.live.setdefault(self, []).append(case)
        self.look(journey, cases[0], fact, touched)

    def decided(self, journey: Journey, case: Case, touched: list[Case]) -> None:
        """A step was decided: start the next one, if it was satisfied, and look again at those that wait."""
        waiting = [
            each for each in journey.live.get(self, ()) if each.trigger is case.trigger and each.start is None
        ]
        touched += waiting
        following = next((each for each in waiting if each.previous is case), None)
        if following is not None and case.hit is not None:
            journey.live[self].remove(following)
            self.look(journey, following, case.hit, touched)

    def next_turn(self, case: Case, now: Clock) -> Clock | None:
        started = case
        while started.start is None and started.previous is not None:
            started = started.previous
        return super().next_turn(started, now)

    def judge(self, case: Case, now: Clock) -> Judgement | None:
        if case.start is not None or case.previous is None:
            return judge_response(case, now)
        before = self.judge(case.previous, now)
        if before is None or before.verdict not in ("missed", "void"):
            return None
        return Judgement("void", "not_reached", before.decided_at, by_clock=before.by_clock)


class Require(Form):
    """Precedence: before the trigger, the required fact."""

    __slots__ = ("vetoes", "wanted")

    def __init__(self, rule: RequireRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.wanted = Wanted(rule.require, self)
        self.vetoes = Vetoes(rule.unless, self)

    def plan(self, shape: Shape) -> Plan:
        return (
            _entry(self.trigger_test(self.rule.when, shape), self.opened)
            + _entry(self.wanted.test(shape), self.required)
            + _entry(self.vetoes.test(shape), self.vetoed)
        )

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        case = Case(form=self, trigger=fact, start=fact, hit=self.last_required(journey, fact))
        journey.cases.append(case)
        touched.append(case)
        if case.hit is None and not self.rule.strict:
            journey.live.setdefault(self, []).append(case)

    def last_required(self, journey: Journey, trigger: Fact) -> Fact | None:
        """The last required fact before the trigger, if it is recent enough and nothing vetoed it."""
        required, vetoes = journey.seen.get(self, ((), ()))
        for fact in reversed(required):
            together = same_instant(trigger.event, fact.event)
            if self.rule.within is not None and not together and fact.at < trigger.at - self.rule.within:
                if fact.at < trigger.at - self.rule.within - journey.coarsest:
                    return None
                continue
            if (together and self.rule.strict) or not self.wanted.pairs(trigger, fact):
                continue
            vetoed = any(fact.order < veto.order and self.vetoes.holds(trigger, veto) for veto in vetoes)
            return None if vetoed else fact
        return None

    def required(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        journey.seen.setdefault(self, ([], []))[0].append(fact)
        live = journey.live.get(self)
        if not live:
            return
        for case in live:
            trigger = case.trigger
            if (
                fact is not trigger
                and same_instant(trigger.event, fact.event)
                and self.wanted.pairs(trigger, fact)
            ):
                case.hit = fact
                touched.append(case)
        recent = fact.at - UNIT["day"]  # a coming fact may have any precision
        journey.live[self] = [case for case in live if case.hit is None and case.trigger.at > recent]

    def vetoed(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        journey.seen.setdefault(self, ([], []))[1].append(fact)

    def judge(self, case: Case, now: Clock) -> Judgement:
        return Judgement("met" if case.hit is not None else "violated", None, case.trigger.at)


class Forbid(Form):
    """Not-response: after the trigger, the forbidden fact must not come for a time."""

    __slots__ = ("vetoes", "wanted")

    def __init__(self, rule: ForbidRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.wanted = Wanted(rule.forbid, self)
        self.vetoes = Vetoes(rule.until, self)

    def plan(self, shape: Shape) -> Plan:
        offered = any_of([self.vetoes.test(shape), self.wanted.test(shape)])
        return _entry(offered, self.offered) + _entry(self.trigger_test(self.rule.when, shape), self.opened)

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        case = Case(form=self, trigger=fact, start=fact, due=self.deadline(fact, self.rule.within))
        journey.cases.append(case)
        journey.live.setdefault(self, []).append(case)
        touched.append(case)

    def offered(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        live = journey.live.get(self)
        if not live:
            return
        journey.live[self] = [case for case in live if not self.decides(case, fact, touched)]

    def decides(self, case: Case, fact: Fact, touched: list[Case]) -> bool:
        if not in_time(fact, case.due):
            return True
        trigger = case.trigger
        if self.vetoes.holds(trigger, fact):
            case.veto = fact
        elif (
            self.wanted.holds(fact)
            and self.wanted.pairs(trigger, fact)
            and fact.at > trigger.at
            and not same_instant(trigger.event, fact.event)
        ):
            case.hit = fact
        else:
            return False
        touched.append(case)
        return True

    def judge(self, case: Case, now: Clock) -> Judgement:
        if case.hit is not None:
            return Judgement("violated", None, case.hit.at)
        if case.veto is not None:
            return Judgement("met", None, case.veto.at)
        if case.due is not None and now >= case.due:
            return Judgement("met", None, case.due[0], by_clock=case.due)
        return OPEN


class Never(Form):
    """Absence: each matching fact is a violation."""

    __slots__ = ()

    def plan(self, shape: Shape) -> Plan:
        return _entry(self.trigger_test(self.rule.never, shape), self.opened)

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        case = Case(form=self, trigger=fact, start=fact)
        journey.cases.append(case)
        touched.append(case)

    def judge(self, case: Case, now: Clock) -> Judgement:
        return Judgement("violated", None, case.trigger.at)


class Count(Never):
    """At most so many matching facts within a time: the one too many is a violation."""

    __slots__ = ()

    def plan(self, shape: Shape) -> Plan:
        return _entry(specialise(self.rule.count, shape, self.registry), self.counted)

    def counted(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        seen: list[Fact] = journey.seen.setdefault(self, [])
        seen.append(fact)
        since = fact.at - self.rule.within
        number = 0
        for other in reversed(seen):
            if other.at <= since and other is not fact:
                break
            number += other is fact or self.pairs(fact, other)
        if self.rule.within and number == self.rule.at_most + 1 and self.is_active(fact):
            self.opened(journey, fact, touched)

    def is_active(self, fact: Fact) -> bool:
        test = self.active_test(fact.shape)
        return test if isinstance(test, bool) else test(fact)


class _Dwelling(Form):
    """What stay and exclusive share: an encounter that comes into, and leaves, a place."""

    __slots__ = ()

    def plan(self, shape: Shape) -> Plan:
        return []

    def is_active(self, fact: Fact) -> bool:
        test = self.active_test(fact.shape)
        return test if isinstance(test, bool) else test(fact)


class StayForm(_Dwelling):
    """Dwell: how long an encounter may, or must, be in a place."""

    __slots__ = ("vetoes",)

    def __init__(self, rule: StayRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.vetoes = Vetoes(rule.unless, self)

    def plan(self, shape: Shape) -> Plan:
        plan = _entry(self.vetoes.test(shape), self.vetoed)
        if self.rule.pause == "leave" and shape.type in ("leave", "return"):
            plan += [(None, self.paused if shape.type == "leave" else self.resumed)]
        return plan

    def moves(self, before: str | None, after: str | None) -> Plan:
        was, is_now = (place_matches(self.rule.stay, place, self.registry) for place in (before, after))
        if was == is_now:
            return []
        return [(None, self.entered if is_now else self.left)]

    def entered(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        if not self.is_active(fact):
            return
        due = None if self.rule.at_most is None else self.deadline(fact, self.rule.at_most)
        case = Case(form=self, trigger=fact, start=fact, due=due)
        journey.cases.append(case)
        journey.live.setdefault(self, []).append(case)
        touched.append(case)

    def left(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        if fact.event.type == "return":
            self.resumed(journey, fact, touched)
        for case in self.of_visit(journey, fact):
            case.hit = fact
            journey.live[self].remove(case)
            touched.append(case)

    def vetoed(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        for case in list(journey.live.get(self, ())):
            if case.trigger is not fact and self.vetoes.holds(case.trigger, fact):
                case.veto = fact
                journey.live[self].remove(case)
                touched.append(case)

    def paused(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        for case in self.of_visit(journey, fact):
            if case.due is not None and case.away_at is None and in_time(fact, case.due):
                case.away_at = fact.at
                touched.append(case)

    def resumed(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        for case in self.of_visit(journey, fact):
            if case.due is not None and case.away_at is not None:
                case.due = after(case.due, fact.at - case.away_at)
                case.away_at = None
                touched.append(case)

    def of_visit(self, journey: Journey, fact: Fact) -> list[Case]:
        return [
            case
            for case in journey.live.get(self, ())
            if case.trigger.visit == fact.visit and case.trigger is not fact
        ]

    def give_up_at(self, case: Case) -> Clock | None:
        due = self.due(case)
        return None if due is None or self.rule.give_up is None else after(due, self.rule.give_up)

    def due(self, case: Case) -> Clock | None:
        """The deadline; there is none while a leave lasts."""
        return case.due if case.away_at is None else None

    def judge(self, case: Case, now: Clock) -> Judgement:
        hit, veto, due = case.hit, case.veto, self.due(case)
        if veto is not None and in_time(veto, due):
            return Judgement("void", "unless", veto.at)
        early = (
            self.rule.at_least is not None
            and hit is not None
            and hit.at < case.trigger.at + self.rule.at_least
        )
        if hit is not None and early:
            return Judgement("violated", "left_early", hit.at)
        if case.away_at is not None:
            return OPEN if hit is None else Judgement("met", None, hit.at)
        return judge_response(case, now)


class Exclusive(_Dwelling):
    """Two encounters of one patient must not be in both places at once for long."""

    __slots__ = ()

    def moves(self, before: str | None, after: str | None) -> Plan:
        plan: Plan = []
        for side, places in enumerate(self.rule.exclusive):
            was, is_now = (place_matches(places, place, self.registry) for place in (before, after))
            if was and not is_now:
                plan.append((None, self.leaver(side)))
        for side, places in enumerate(self.rule.exclusive):
            was, is_now = (place_matches(places, place, self.registry) for place in (before, after))
            if is_now and not was:
                plan.append((None, self.enterer(side)))
        return plan

    def leaver(self, side: int) -> Handler:
        def left(journey: Journey, fact: Fact, touched: list[Case]) -> None:
            inside = journey.seen.get(self)
            opener = inside[side].pop(fact.visit, None) if inside else None
            for case in list(journey.live.get(self, ())):
                sides = (case.trigger, case.first) if case.step == side else (case.first, case.trigger)
                if opener is not None and sides[0] is opener:
                    journey.live[self].remove(case)
                    if in_time(fact, case.due):
                        case.hit = fact
                        touched.append(case)

        return left

    def enterer(self, side: int) -> Handler:
        def entered(journey: Journey, fact: Fact, touched: list[Case]) -> None:
            inside = journey.seen.setdefault(self, ({}, {}))
            inside[side][fact.visit] = fact
            if not self.is_active(fact):
                return
            for visit, first in inside[1 - side].items():
                if visit != fact.visit and not self.is_paired(journey, first, fact):
                    self.opened(journey, side, first, fact, touched)

        return entered

    def is_paired(self, journey: Journey, first: Fact, second: Fact) -> bool:
        return any(case.trigger is second and case.first is first for case in journey.live.get(self, ()))

    def opened(self, journey: Journey, side: int, first: Fact, fact: Fact, touched: list[Case]) -> None:
        due = self.deadline(fact, self.rule.longer_than)
        case = Case(form=self, trigger=fact, start=fact, first=first, step=side, due=due)
        journey.cases.append(case)
        journey.live.setdefault(self, []).append(case)
        touched.append(case)

    def judge(self, case: Case, now: Clock) -> Judgement:
        if case.hit is not None:
            return Judgement("met", None, case.hit.at)
        if case.due is not None and now >= case.due:
            return Judgement("violated", None, case.due[0], by_clock=case.due)
        return OPEN


_FORMS: dict[type[CaseRule], type[Form]] = {
    ExpectRule: Expect,
    RequireRule: Require,
    ForbidRule: Forbid,
    NeverRule: Never,
    StayRule: StayForm,
    CountRule: Count,
    StepsRule: Steps,
    ExclusiveRule: Exclusive,
}


def patterns_of(rule: CaseRule) -> list[Pattern]:
    """Every pattern that a rule is written with."""
    found: list[Pattern] = []
    for name in type(rule).model_fields:
        value = getattr(rule, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Pattern):
                found.append(each)
            elif isinstance(each, Step):
                found.append(each.match)
    return found


def form_for(rule: CaseRule, registry: Registry) -> Form:
    """The form of a rule, ready for the microsystems of a registry."""
    return _FORMS[type(rule)](rule, registry)
