"""From what happened to a person to what is told of it: under which keys, and how it is charted."""

from __future__ import annotations

from bisect import insort
from typing import Final

from monitor.simulation.chart import Chart, in_time, when
from monitor.simulation.clock import HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.feeds import Feeds
from monitor.simulation.hospital import Hospital
from monitor.simulation.journey import Attribute, Fact, Journey, Seconds, Telling

SURE: Final = 6 * HOUR
"""What happens so long before the end of the log is told before it. Merges that come later are not made at all."""

_TEMPORARY: Final = 0.015
_RENAMED: Final = 0.012
_TEST: Final = 0.004
"""Shares of journeys that begin under a temporary key, whose visit changes its number, and of test patients."""


class Charting:
    """How the staff of one hospital chart."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.chance = hospital.chance
        self.end = hospital.clock.end
        self.feeds = Feeds(hospital)

    def journey(self, course: Course) -> Journey:
        """The course of one person as it is told, as far as it happened before the end of the log."""
        chance, hospital, facts = self.chance, self.hospital, course.facts
        options = hospital.options
        journey = Journey(course.patient, facts, test=chance.happens(_TEST))
        facts.sort(key=when)
        in_time(facts, self.end)
        self._identify(journey)
        chart = Chart(hospital, self.feeds, journey)
        for fact in facts:
            chart.tell(fact)
        for order, at in course.withdrawn:
            chart.withdraw(order, at)
        for _ in range(chance.rounded(options.cancels * len(facts))):
            chart.mistake(chance.one_of(facts))
        if options.updates:
            self._update(journey)
        if journey.test:
            for fact in facts:
                fact.attributes["test"] = True
        return journey

    def _identify(self, journey: Journey) -> None:
        """Under which keys the facts are sent. A temporary key is merged into the right one, a visit gets another number."""
        if self.chance.happens(_TEMPORARY):
            self._merge(journey)
        elif self.chance.happens(_RENAMED):
            self._rename(journey)

    def _merge(self, journey: Journey) -> None:
        facts, temporary = journey.facts, f"TMP{journey.patient}"
        at = facts[0].at + 2 * HOUR + self.chance.about(4 * HOUR)
        merge = self._insert(facts, at, temporary, None, {"into": journey.patient})
        if merge is None:
            return
        journey.aliases.append(temporary)
        for fact in facts:
            if fact.at < merge.at:
                fact.patient = temporary

    def _rename(self, journey: Journey) -> None:
        facts = journey.facts
        before = self.chance.one_of(facts)
        if before.visit is None:
            return
        number = self.hospital.new_visit()
        at = before.at + self.chance.about(30 * MINUTE)
        merge = self._insert(facts, at, journey.patient, before.visit, {"encounter_into": number})
        if merge is None:
            return
        journey.visits[before.visit] = number
        for fact in facts:
            if fact.at > merge.at and fact.visit == merge.visit:
                fact.visit = number

    def _insert(
        self,
        facts: list[Fact],
        at: Seconds,
        patient: str,
        visit: str | None,
        attributes: dict[str, Attribute],
    ) -> Fact | None:
        """A merge, if it is sure to be told before the end."""
        if at + SURE > self.end:
            return None
        merge = Fact("", self.hospital.pas, "merge", at, patient, visit, None, None, attributes, [])
        insort(facts, merge, key=when)
        in_time(facts, self.end)
        return merge

    def _update(self, journey: Journey) -> None:
        """Demographics, which are most of a real feed. They move nobody, and may come at the time of anything else."""
        chance, facts, updates = self.chance, journey.facts, self.hospital.options.updates
        among = [fact for fact in facts if fact.visit is not None and fact.told]
        if not among:
            return
        source, messages = self.hospital.pas, sum(len(fact.told) for fact in facts)
        for _ in range(chance.rounded(messages * updates / (1 - updates))):
            beside = chance.one_of(among)
            at = beside.at + chance.between(0, HOUR)
            id_ = self.hospital.new_message(source)
            told = Telling("first", id_, at, at, self.feeds.deliver(source, at))
            patient, visit = beside.patient, beside.visit
            facts.append(Fact(id_, source, "update", at, patient, visit, None, None, {}, [told]))
        facts.sort(key=when)
