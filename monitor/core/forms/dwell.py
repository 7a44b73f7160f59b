"""Dwell and exclusive: how long an encounter is in a place, and two at once (contract, section 4, stay and exclusive)."""

from __future__ import annotations

from monitor.core.alert import Judgement
from monitor.core.clock import Clock, after
from monitor.core.forms.response import judge_response
from monitor.core.journey import Fact, Journey
from monitor.core.pattern import Reach, Shape, any_of, place_matches, places_named
from monitor.core.place import Registry
from monitor.core.rule import StayRule
from monitor.core.verdict import OPEN, Case, Form, Handler, Plan, entry, in_time, vetoed_by, wanted_of


class Dwell(Form):
    """Dwell: how long an encounter may, or must, be in a place."""

    __slots__ = ("vetoes",)

    def __init__(self, rule: StayRule, registry: Registry) -> None:
        super().__init__(rule, registry)
        self.vetoes = wanted_of(rule.unless, self)

    def plan(self, shape: Shape) -> Plan:
        plan = entry(any_of([each.test(shape) for each in self.vetoes]), self.vetoed)
        if self.rule.pause == "leave" and shape.type in ("leave", "return"):
            plan += [(None, self.paused if shape.type == "leave" else self.resumed)]
        return plan

    def reaches(self) -> list[Reach]:
        return [*super().reaches(), Reach(frozenset({"leave", "return"}))]

    def move_places(self) -> frozenset[str | None] | None:
        return places_named(self.rule.stay, self.registry)

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
        self.resumed(journey, fact, touched)
        for case in self.of_visit(journey, fact):
            case.hit = fact
            journey.live[self].remove(case)
            touched.append(case)

    def vetoed(self, journey: Journey, fact: Fact, touched: list[Case]) -> None:
        for case in list(journey.live.get(self, ())):
            if case.trigger is not fact and vetoed_by(self.vetoes, case.trigger, fact):
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
            return OPEN
        return judge_response(case, now)


class Exclusive(Form):
    """Two encounters of one patient must not be in both places at once for long."""

    __slots__ = ()

    def plan(self, shape: Shape) -> Plan:
        return []

    def move_places(self) -> frozenset[str | None] | None:
        one, other = (places_named(places, self.registry) for places in self.rule.exclusive)
        return None if one is None or other is None else one | other

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
            return Judgement("violated", None, case.due[0], case.due)
        return OPEN
