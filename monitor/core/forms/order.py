"""Precedence, not-response, absence and count: what must, or must not, stand beside a fact (contract, section 4)."""

from __future__ import annotations

from monitor.core.alert import Judgement
from monitor.core.clock import Clock
from monitor.core.event import UNIT, same_instant
from monitor.core.journey import Fact, Journey
from monitor.core.pattern import Shape, any_of, specialise
from monitor.core.place import Registry
from monitor.core.rule import ForbidRule, RequireRule
from monitor.core.verdict import OPEN, Case, Form, Plan, Wanted, entry, in_time, vetoed_by, wanted_of


class Require(Form):
    """Precedence: before the trigger, the required fact."""

    __slots__ = ("vetoes", "wanted")

    def __init__(self, rule: RequireRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.wanted = Wanted(rule.require, self)
        self.vetoes = wanted_of(rule.unless, self)

    def plan(self, shape: Shape) -> Plan:
        return (
            entry(self.trigger_test(self.rule.when, shape), self.opened)
            + entry(self.wanted.test(shape), self.required)
            + entry(any_of([each.test(shape) for each in self.vetoes]), self.vetoed)
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
            vetoed = any(fact.order < veto.order and vetoed_by(self.vetoes, trigger, veto) for veto in vetoes)
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
        self.vetoes = wanted_of(rule.until, self)

    def plan(self, shape: Shape) -> Plan:
        offered = any_of([self.wanted.test(shape), *(each.test(shape) for each in self.vetoes)])
        return entry(offered, self.offered) + entry(self.trigger_test(self.rule.when, shape), self.opened)

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
        if vetoed_by(self.vetoes, trigger, fact):
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
            return Judgement("met", None, case.due[0], case.due)
        return OPEN


class Never(Form):
    """Absence: each matching fact is a violation."""

    __slots__ = ()

    def plan(self, shape: Shape) -> Plan:
        return entry(self.trigger_test(self.rule.never, shape), self.opened)

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
        return entry(specialise(self.rule.count, shape, self.registry), self.counted)

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
