"""What an engineer would write by hand for these ten rules and a feed in perfect order: dicts, a heap, orjson.

It raises each alert at its instant and ends with the verdicts. It knows no cancels, corrections, duplicates, late
events, merges, escalation or places, and a new rule is new code.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Final

import orjson

from bench.measure import Taken, timed

COVERS: Final = "all"

Seconds = float
MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Case:
    """Something that is waited for."""

    __slots__ = ("decided_at", "due", "rule", "trigger", "verdict")

    def __init__(self, rule: str, trigger: str, due: Seconds) -> None:
        self.rule = rule
        self.trigger = trigger
        self.due = due
        self.verdict = "open"
        self.decided_at: Seconds | None = None

    def decide(self, verdict: str, at: Seconds) -> None:
        self.verdict = verdict
        self.decided_at = at


class Visit:
    """What is known of an open visit."""

    __slots__ = ("moves", "place", "signed_at", "waiting")

    def __init__(self) -> None:
        self.place: str | None = None
        self.waiting: dict[str, list[Case]] = {}
        """The cases of each rule that are not decided, or were given up."""
        self.signed_at: Seconds | None = None
        self.moves: deque[Seconds] = deque()


class Watch:
    """The ten rules over a stream of events."""

    def __init__(self) -> None:
        self.visits: dict[str, Visit] = {}
        self.visits_of: dict[str, list[str]] = {}
        self.left_icu: dict[str, list[Case]] = {}
        """Of patients who left intensive care in the last 48 hours."""
        self.together: dict[str, Case] = {}
        """Of patients in the emergency department and on a ward at once."""
        self.cases: list[Case] = []
        self.alerts: list[tuple[Seconds, str, str]] = []
        self.timers: list[tuple[Seconds, int, Case, Seconds | None]] = []
        self.timers_set = 0

    def take(self, event: dict[str, Any]) -> None:
        handle = HANDLERS.get(event["type"])
        if handle is None:
            return
        self.advance(seconds(event["recorded_at"]))
        handle(self, event, seconds(event["occurred_at"]))

    # Cases and their timers

    def advance(self, now: Seconds) -> None:
        """Let what was due before `now` happen."""
        timers = self.timers
        while timers and timers[0][0] < now:
            due, _, case, give_up = heappop(timers)
            if case.verdict != "open":
                continue
            if case.rule == "bounced":
                case.decide("met", due)
            elif case.rule == "two-places":
                case.decide("violated", due)
                self.alerts.append((due, case.rule, case.trigger))
            elif due == case.due:
                self.alerts.append((due, case.rule, case.trigger))
                if give_up is not None:
                    self.set_timer(due + give_up, case, None)
            else:
                case.decide("missed", due)

    def set_timer(self, at: Seconds, case: Case, give_up: Seconds | None) -> None:
        self.timers_set += 1
        heappush(self.timers, (at, self.timers_set, case, give_up))

    def open(
        self, visit: Visit, rule: str, event: dict[str, Any], due: Seconds, give_up: Seconds | None = DAY
    ) -> None:
        case = Case(rule, event["id"], due)
        self.cases.append(case)
        visit.waiting.setdefault(rule, []).append(case)
        self.set_timer(due, case, give_up)

    def come(self, visit: Visit, rule: str, at: Seconds) -> None:
        """What the cases of a rule waited for has come."""
        for case in visit.waiting.pop(rule, ()):
            case.decide("met" if at <= case.due else "late", at)

    def void(self, visit: Visit, rule: str, at: Seconds) -> None:
        for case in visit.waiting.pop(rule, ()):
            if case.verdict == "open":
                case.decide("void" if at <= case.due else "missed", at)

    def violated(self, rule: str, event: dict[str, Any], at: Seconds) -> None:
        case = Case(rule, event["id"], at)
        case.decide("violated", at)
        self.cases.append(case)
        self.alerts.append((at, rule, case.trigger))

    # What happens

    def visit(self, event: dict[str, Any]) -> Visit:
        visit = self.visits.get(event["encounter"])
        if visit is None:
            visit = self.visits[event["encounter"]] = Visit()
            self.visits_of.setdefault(event["patient"], []).append(event["encounter"])
        return visit

    def moved(self, event: dict[str, Any], visit: Visit, at: Seconds, to: str | None) -> None:
        """The patient of a visit is somewhere else: four hours, two places."""
        before, visit.place = visit.place, to
        if to == "ed" and before != "ed":
            self.open(visit, "four-hours", event, at + 4 * HOUR, give_up=None)
        elif before == "ed" and to != "ed":
            self.come(visit, "four-hours", at)
        side, was = _side(to), _side(before)
        if side == was:
            return
        patient = event["patient"]
        if was is not None:
            case = self.together.pop(patient, None)
            if case is not None and at <= case.due:
                case.decide("met", at)
        visits = self.visits_of.get(patient, ())
        if side is not None and len(visits) > 1:
            for name in visits:
                other = self.visits[name]
                if other is not visit and _side(other.place) not in (None, side):
                    case = self.together[patient] = Case("two-places", event["id"], at + 30 * MINUTE)
                    self.cases.append(case)
                    self.set_timer(case.due, case, None)

    def register(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        self.moved(event, visit, at, event["to"])
        if event["to"] == "ed":
            self.open(visit, "triage", event, at + 15 * MINUTE, give_up=4 * HOUR)

    def triage(self, event: dict[str, Any], at: Seconds) -> None:
        self.come(self.visit(event), "triage", at)

    def decision(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        if "boarding" not in visit.waiting:
            self.open(visit, "boarding", event, at + 4 * HOUR)

    def admit(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        if event.get("from") == "ed":
            self.come(visit, "boarding", at)
        self.moved(event, visit, at, event["to"])

    def transfer(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        from_, to = event["from"], event["to"]
        if from_ == "ed":
            self.come(visit, "boarding", at)
        if to == "icu":
            self.come(visit, "icu-bed", at)
            for case in self.left_icu.pop(event["patient"], ()):
                if at <= case.due:
                    case.decide("violated", at)
                    self.alerts.append((at, "bounced", case.trigger))
        if from_ == "icu":
            self.out_of_icu(event, visit, at)
        moves = visit.moves
        while moves and moves[0] <= at - DAY:
            moves.popleft()
        moves.append(at)
        if len(moves) == 4:
            self.violated("moves", event, at)
        self.moved(event, visit, at, to)

    def out_of_icu(self, event: dict[str, Any], visit: Visit, at: Seconds) -> None:
        if visit.signed_at is not None and visit.signed_at >= at - 12 * HOUR:
            case = Case("signed", event["id"], at)
            case.decide("met", at)
            self.cases.append(case)
        else:
            self.violated("signed", event, at)
        if at % DAY >= 22 * HOUR or at % DAY < 7 * HOUR:
            self.violated("night-move", event, at)
        case = Case("bounced", event["id"], at + 2 * DAY)
        self.cases.append(case)
        self.left_icu.setdefault(event["patient"], []).append(case)
        self.set_timer(case.due, case, None)

    def pending_transfer(self, event: dict[str, Any], at: Seconds) -> None:
        if event["to"] == "icu":
            self.open(self.visit(event), "icu-bed", event, at + 2 * HOUR)

    def signed(self, event: dict[str, Any], at: Seconds) -> None:
        self.visit(event).signed_at = at

    def pending_discharge(self, event: dict[str, Any], at: Seconds) -> None:
        self.open(self.visit(event), "home/summary", event, at + 3 * HOUR)

    def summary(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        pathways = visit.waiting.get("home/summary", ())
        self.come(visit, "home/summary", at)
        for pathway in pathways:
            self.open(visit, "home/left", {"id": pathway.trigger}, at + 3 * HOUR)

    def discharge(self, event: dict[str, Any], at: Seconds) -> None:
        visit = self.visit(event)
        self.come(visit, "home/left", at)
        for rule in ("triage", "boarding", "icu-bed"):
            self.void(visit, rule, at)
        self.moved(event, visit, at, None)
        del self.visits[event["encounter"]]
        visits = self.visits_of[event["patient"]]
        visits.remove(event["encounter"])
        if not visits:
            del self.visits_of[event["patient"]]


HANDLERS: Final = {
    "register": Watch.register,
    "triage": Watch.triage,
    "decision_to_admit": Watch.decision,
    "transfer": Watch.transfer,
    "admit": Watch.admit,
    "pending_transfer": Watch.pending_transfer,
    "handoff_signed": Watch.signed,
    "pending_discharge": Watch.pending_discharge,
    "summary_sent": Watch.summary,
    "discharge": Watch.discharge,
}


def seconds(text: str) -> Seconds:
    """A moment of the log as a number."""
    return datetime.fromisoformat(text).timestamp()


def _side(place: str | None) -> str | None:
    """Of two places that exclude each other."""
    if place is None:
        return None
    if place == "ed":
        return "ed"
    return "ward" if place.startswith("ward-") else None


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The script over a log: what it took, and its verdicts."""

    def work() -> Watch:
        watch = Watch()
        event: dict[str, Any] = {}
        with Path(path).open("rb") as lines:
            for line in lines:
                event = orjson.loads(line)
                watch.take(event)
        watch.advance(seconds(event["recorded_at"]))
        return watch

    taken, watch = timed(work)
    return taken, {f"{case.rule}:{case.trigger}": case.verdict for case in watch.cases}
