"""Response and pathway: after one fact another must follow in time (contract, section 4, expect and steps)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from monitor.core.alert import Judgement
from monitor.core.clock import Clock, after
from monitor.core.event import same_instant
from monitor.core.journey import Fact, Journey
from monitor.core.pattern import Shape
from monitor.core.place import Registry
from monitor.core.rule import ExpectRule, StepsRule
from monitor.core.text import CalendarDuration
from monitor.core.verdict import OPEN, Case, Form, Plan, Wanted, entry, in_time, vetoed_by, wanted_of


class Response(Form):
    """What expect and steps share."""

    __slots__ = ("not_before", "strict", "vetoes", "wanted")

    def __init__(self, rule: ExpectRule | StepsRule, registry: Registry, wanted: Sequence[Wanted]) -> None:
        self.wanted = wanted
        self.vetoes = wanted_of(rule.unless, self)
        self.strict = rule.strict
        self.not_before = timedelta(0)

    def give_up_at(self, case: Case) -> Clock | None:
        return after(case.due, self.rule.give_up) if case.due else None

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        """How long a case may take."""
        raise NotImplementedError

    def indices(self, case: Case) -> Sequence[int]:
        """Which of the wanted patterns a case waits for."""
        raise NotImplementedError

    def plan_of_answers(self, shape: Shape) -> Plan:
        plan: Plan = []
        for index, wanted in enumerate(self.wanted):
            plan += entry(wanted.test(shape), partial(self.offered, index))
        for veto in self.vetoes:
            plan += entry(veto.test(shape), partial(self.vetoed, veto))
        return plan

    def look(self, journey: Journey, case: Case, start: Fact, touched: list[Case]) -> None:
        """Start the time of a case, and see what already answers it: an event at its own instant, or later in order."""
        case.start = start
        case.due = self.deadline(start, self.limit(case))
        touched.append(case)
        for fact in journey.around(start):
            if fact is start:
                continue
            for index in self.indices(case):
                if self.wanted[index].holds(fact) and self.answers(case, index, fact):
                    self.decide(journey, case, touched, hit=fact)
                    return
            if fact.order > start.order and vetoed_by(self.vetoes, start, fact):
                self.decide(journey, case, touched, veto=fact)
                return
        live = journey.live.get(self)
        if live is None:
            journey.live[self] = [case]
        else:
            live.append(case)

    def offered(self, index: int, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        """The next fact in order is one that was wanted: it may answer open cases."""
        live = journey.live.get(self)
        if not live:
            return
        decided = False
        for case in tuple(live):
            if index in self.indices(case) and case.start is not fact and self.answers(case, index, fact):
                self.decide(journey, case, touched, hit=fact)
                decided = True
        if decided:
            self.sweep(journey)

    def vetoed(self, veto: Wanted, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        """The next fact in order is one of `unless`."""
        live = journey.live.get(self)
        if not live:
            return
        for case in tuple(live):
            if case.start is not None and case.start is not fact and veto.pairs(case.start, fact):
                self.decide(journey, case, touched, veto=fact)
        self.sweep(journey)

    def sweep(self, journey: Journey) -> None:
        journey.live[self] = [case for case in journey.live[self] if case.hit is None and case.veto is None]

    def answers(self, case: Case, index: int, fact: Fact) -> bool:
        """Whether a fact that matches a wanted pattern decides the case."""
        start = case.start
        if start is None or case.hit is not None or not self.wanted[index].pairs(start, fact):
            return False
        if fact.at <= start.at and fact.order < start.order:
            if self.strict or not same_instant(start.event, fact.event):
                return False
        elif self.strict and same_instant(start.event, fact.event):
            return False
        if self.not_before and fact.at < start.at + self.not_before:
            return False
        return self.mark(case, index, fact)

    def mark(self, case: Case, index: int, fact: Fact) -> bool:
        """Note that one of the expected patterns has been seen; whether all have."""
        return True

    def decide(
        self,
        journey: Journey,
        case: Case,
        touched: list[Case],
        *,
        hit: Fact | None = None,
        veto: Fact | None = None,
    ) -> None:
        """A fact decides a case."""
        case.hit, case.veto = hit, veto
        touched.append(case)

    def judge(self, case: Case, now: Clock) -> Judgement | None:
        return judge_response(case, now)


def judge_response(case: Case, now: Clock) -> Judgement:
    """expect, a step, and a stay with a deadline."""
    due, hit, veto = case.due, case.hit, case.veto
    if hit is not None:
        return Judgement("met" if in_time(hit, due) else "late", None, hit.at)
    if case.superseded is not None:
        return Judgement("void", "superseded", case.superseded.at)
    if veto is not None and in_time(veto, due):
        return Judgement("void", "unless", veto.at)
    if due is None or (veto is None and now < due):
        return OPEN
    give_up_at = case.form.give_up_at(case)
    if veto is not None and (give_up_at is None or (veto.at, 0) < give_up_at):
        return Judgement("missed", "abandoned", veto.at)
    if give_up_at is not None and now >= give_up_at:
        return Judgement("missed", "gave_up", give_up_at[0], give_up_at)
    return Judgement("overdue", None, None, due)


class Expect(Response):
    """Response: after the trigger, the expected facts within a time."""

    __slots__ = ("every", "overlap", "within")

    def __init__(self, rule: ExpectRule, registry: Registry) -> None:
        Form.__init__(self, rule, registry)
        super().__init__(rule, registry, wanted_of(rule.expect, self))
        self.within = rule.within
        self.every = range(len(self.wanted))
        self.not_before = rule.not_before
        self.overlap = rule.overlap

    def plan(self, shape: Shape) -> Plan:
        return self.plan_of_answers(shape) + entry(self.trigger_test(self.rule.when, shape), self.opened)

    def indices(self, case: Case) -> Sequence[int]:
        return self.every

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        return self.within

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        if self.overlap != "each" and self.overlapped(journey, fact, touched):
            return
        case = Case(form=self, trigger=fact, start=fact)
        if len(self.wanted) > 1:
            case.found = [None] * len(self.wanted)
        journey.cases.append(case)
        self.look(journey, case, fact, touched)

    def overlapped(self, journey: Journey, fact: Fact, touched: list[Case]) -> bool:
        """Let a second trigger meet the cases that are undecided at it; whether it opens none of its own."""
        undecided = [
            case for case in journey.live.get(self, ()) if case.start and self.pairs(case.start, fact)
        ]
        if self.overlap == "first":
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


class Steps(Response):
    """Pathway: a chain of responses, each from the fact that satisfied the one before."""

    __slots__ = ()

    def __init__(self, rule: StepsRule, registry: Registry) -> None:
        Form.__init__(self, rule, registry)
        super().__init__(rule, registry, [Wanted(step.match, self) for step in rule.steps[1:]])

    def plan(self, shape: Shape) -> Plan:
        first = self.trigger_test(self.rule.steps[0].match, shape)
        return self.plan_of_answers(shape) + entry(first, self.opened)

    def indices(self, case: Case) -> Sequence[int]:
        return (case.step - 1,)

    def limit(self, case: Case) -> timedelta | CalendarDuration:
        limit: timedelta | CalendarDuration = self.rule.steps[case.step].within
        return limit

    def step_name(self, case: Case) -> str | None:
        name: str = self.rule.steps[case.step].name
        return name

    def opened(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        waiting = journey.seen.setdefault(self, {})
        previous = None
        for step in range(1, len(self.rule.steps)):
            case = Case(form=self, trigger=fact, start=None, step=step, previous=previous)
            journey.cases.append(case)
            if previous is not None:
                waiting[previous] = case
            previous = case
        steps = journey.cases[1 - len(self.rule.steps) :]
        touched += steps[1:]  # when the first is missed, and the clock may see to that, they are void
        self.look(journey, steps[0], fact, touched)

    def decide(
        self,
        journey: Journey,
        case: Case,
        touched: list[Case],
        *,
        hit: Fact | None = None,
        veto: Fact | None = None,
    ) -> None:
        """A step was decided: start the next one, if it was satisfied, and look again at those that wait."""
        super().decide(journey, case, touched, hit=hit, veto=veto)
        waiting = journey.seen[self]
        following = waiting.get(case)
        if following is not None and hit is not None:
            self.look(journey, following, hit, touched)
        while following is not None:
            touched.append(following)
            following = waiting.get(following)

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
        return Judgement("void", "not_reached", before.decided_at, before.by_clock)
