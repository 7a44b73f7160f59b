"""Moves that cross: facts whose home moves on while they are under way, in parts, are told at last as one pass tells them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st
from partitions import Cluster
from strategies import START, Scenario
from test_engine_against_oracle import show
from test_partitions import LONG_BEFORE, OF, compare, often, one_pass

from monitor.core.event import Event
from monitor.formats.envelope import Told, key_of, partition_of, patient_key
from monitor.runtime.live import Loaded

PATIENTS = ["p1", "p2", "p3", "p5", "p9"]
"""Of four partitions; the last two are of one."""
RULES = [
    {"id": "answered", "when": {"type": "x"}, "expect": {"type": "y"}, "within": "2s", "give_up": "1h"},
    {"id": "not-so", "when": {"type": "x"}, "forbid": {"type": "z"}, "within": "10s", "show_for": "20s"},
    {"id": "asked", "when": {"type": "y"}, "require": {"type": "x"}, "within": "10s"},
]
SEVERE = [{"summary": "s", "severity": "critical"} | each for each in RULES]
SECOND = timedelta(seconds=1)
MOMENT = timedelta(microseconds=1)


@st.composite
def crossings(draw: Any) -> Scenario:
    """Few facts and many merges of five patients, some seconds apart and most of them about each other."""
    found: list[Event] = []
    at = START
    for number in range(draw(st.integers(3, 12))):
        at += draw(st.sampled_from([1, 1, 1, 3, 3600])) * SECOND
        kind = draw(st.sampled_from(["x", "x", "y", "y", "z", "merge", "merge", "merge", "cancel_merge"]))
        found.append(draw(happenings(f"e{number}", kind, at, found)))
    return Scenario(found, SEVERE, {"sources": {}}, at + draw(st.sampled_from([1.5, 10.5, 4000.5])) * SECOND)


@st.composite
def happenings(draw: Any, id_: str, kind: str, at: datetime, before: list[Event]) -> Event:
    merges = [each for each in before if each.type == "merge"]
    if kind == "cancel_merge" and not merges:
        kind = "merge"
    patient, into = draw(st.permutations(PATIENTS))[:2]
    event = Event(id=id_, type=kind, patient=patient, occurred_at=at, arrived_at=at)
    if kind == "merge":
        event.attributes["into"] = into
    elif kind == "cancel_merge":
        wrong = draw(st.sampled_from(merges))
        event.patient, event.cancels = wrong.patient, wrong.id
    else:
        event.occurred_at -= draw(st.sampled_from([0, 0, 0, 1, 5])) * SECOND
    return event


@often(0.06)
@given(crossings(), st.randoms(use_true_random=False), st.sampled_from([0, 0, 8, 40]))
def test_facts_that_move_on_amid_a_move_come_to_what_one_pass_tells(
    scenario: Scenario, chance: Any, rarely: int
) -> None:
    show(scenario)
    rules, registry = scenario.models()
    coming = list(scenario.events)

    def amid() -> None:
        cluster.now += MOMENT
        if coming and chance.randrange(6) == 0:
            cluster.arrive(coming.pop(0))

    cluster = Cluster(
        Loaded(rules, registry, "digest"),
        OF,
        LONG_BEFORE,
        dies=lambda: rarely > 0 and cluster.deaths < 10 and chance.randrange(rarely) == 0,
        amid=amid,
    )
    while coming:
        cluster.arrive(coming.pop(0))
        while (waiting := cluster.waiting()) and chance.randrange(4):
            cluster.step(chance.choice(waiting))
            if chance.randrange(8) == 0:
                cluster.tick()
            if rarely and chance.randrange(8) == 0:
                cluster.restart(chance.randrange(OF))
    cluster.end(scenario.until)
    note(f"deaths {cluster.deaths}")
    compare(cluster, one_pass(scenario), may_repeat=cluster.deaths > 0)


def test_all_but_two_of_the_patients_live_in_different_partitions() -> None:
    homes = [partition_of(patient_key(patient), OF) for patient in PATIENTS]
    assert len(set(homes)) == len(homes) - 1
    assert homes[-1] == homes[-2]


# -- examples ----------------------------------------------------------------------------------------------


def told(id_: str, kind: str, patient: str, seconds: float, **attributes: str) -> Event:
    at = START + seconds * SECOND
    return Event(id=id_, type=kind, patient=patient, occurred_at=at, arrived_at=at, attributes=attributes)


class Examples(Cluster):
    """A cluster in which each record is taken when the example says so."""

    def __init__(self, dies: Callable[[], bool] = lambda: False) -> None:
        rules, registry = Scenario([], SEVERE, {"sources": {}}, START).models()
        super().__init__(Loaded(rules, registry, "digest"), OF, LONG_BEFORE, dies, self._send)
        self.between: list[Event | None] = []
        """What arrives before each of the next records that workers send."""

    def _send(self) -> None:
        self.now += MOMENT
        if self.between and (event := self.between.pop(0)) is not None:
            self.arrive(event)

    def take(self, *events: Event) -> None:
        """Events arrive, and all that comes of each is done before the next one does."""
        for each in events:
            self.arrive(each)
            self.settle()

    def home(self, patient: str) -> int:
        return partition_of(patient_key(patient), OF)

    def said(self) -> list[tuple[str, str, str | None]]:
        return sorted((each.rule, each.state, each.reason) for each in self.notices.values())


def test_what_falls_due_elsewhere_while_facts_come_that_arrived_later_is_told() -> None:
    cluster = Examples()
    cluster.arrive(told("x", "x", "p4", 1))  # of the partition of p1, and due before the facts of p2 come
    cluster.step(cluster.home("p4"))
    cluster.arrive(told("z", "z", "p2", 5))
    cluster.arrive(told("m", "merge", "p2", 6, into="p1"))
    while waiting := cluster.waiting():
        cluster.step(waiting[0])
    cluster.end(START + 7 * SECOND)
    assert cluster.said() == [("answered", "firing", None)]


def test_what_is_sent_on_does_not_run_in_circles() -> None:
    cluster = Examples()
    cluster.take(told("m1", "merge", "p3", 1, into="p5"))
    cluster.arrive(told("m2", "merge", "p2", 3, into="p3"))
    cluster.arrive(told("m3", "merge", "p1", 4, into="p2"))
    for number in (0, 1, 1):
        cluster.step(number)
    cluster.settle()
    cluster.take(told("m4", "merge", "p5", 7, into="p3"), told("x", "x", "p5", 8), told("y", "y", "p1", 9))
    assert [(each.rule, each.verdict) for each in cluster.verdicts.values()] == [
        ("answered", "met"),
        ("not-so", "open"),
        ("asked", "met"),
    ]


def test_facts_of_which_some_are_there_when_their_home_moves_on_come_together_again() -> None:
    """p9 and p5 move to p2; when only the facts of p9 are there, p2 moves to p1."""
    cluster = Examples()
    cluster.take(told("m1", "merge", "p9", 1, into="p5"), told("x", "x", "p9", 2), told("z", "z", "p2", 3))
    cluster.arrive(told("m2", "merge", "p5", 3.1, into="p2"))
    cluster.between = [None, told("m3", "merge", "p2", 3.2, into="p1")]
    cluster.step(cluster.home("p5"))
    cluster.settle()
    cluster.take(told("y", "y", "p1", 3.5))
    cluster.end(START + 20 * SECOND)
    assert sorted(each.verdict for each in cluster.verdicts.values()) == ["met", "met", "violated"]
    assert cluster.said() == [("not-so", "firing", None)]


def test_what_a_part_of_the_facts_said_is_corrected_where_all_of_them_come_to() -> None:
    """p9 is asked and p5 answers; their facts move to p2, and on to p1 when only the question is there."""
    cluster = Examples()
    cluster.take(told("m1", "merge", "p9", 1, into="p5"), told("x", "x", "p9", 2), told("y", "y", "p5", 10))
    assert ("answered", "resolved", "late") in cluster.said()
    cluster.arrive(told("m2", "merge", "p5", 12, into="p2"))
    cluster.between = [None, told("m3", "merge", "p2", 13, into="p1")]
    cluster.step(cluster.home("p5"))
    for _ in range(2):
        cluster.step(cluster.home("p2"))
    for number in range(OF):
        cluster.restart(number)
    cluster.end(START + 30 * SECOND)
    assert cluster.said() == [("answered", "resolved", "late"), ("asked", "resolved", "withdrawn")]


def test_those_who_are_left_when_a_worker_dies_amid_a_move_follow() -> None:
    dies = iter([False] * 1000)
    cluster = Examples(dies=lambda: next(dies))
    cluster.take(
        told("m1", "merge", "p3", 1, into="p2"),
        told("m2", "merge", "p5", 2, into="p3"),
        told("x", "x", "p2", 3),
    )
    cluster.arrive(told("m3", "merge", "p1", 4, into="p2"))
    cluster.step(cluster.home("p1"))
    dies = iter([False] * 4 + [True] + [False] * 1000)  # three records are sent, and one cell is written
    cluster.step(cluster.home("p2"))
    assert cluster.deaths == 1
    cluster.settle()
    cluster.take(told("z", "z", "p5", 5))
    assert {each.rule: each.verdict for each in cluster.verdicts.values()}["not-so"] == "violated"


def test_what_other_rules_say_of_linked_patients_is_told_though_facts_of_one_come_first() -> None:
    cluster = Examples()
    cluster.take(told("m", "merge", "p1", 1, into="p4"), told("x", "x", "p1", 2), told("q", "z", "p7", 8))
    cluster.end(START + 9 * SECOND)
    renamed = [each | {"id": f"{each['id']}-anew"} for each in SEVERE]
    rules, registry = Scenario([], renamed, {"sources": {}}, START).models()
    cluster.use(Loaded(rules, registry, "another digest"))
    late = Told(told("z", "z", "p4", 3))  # nothing was known of p4 itself
    cluster.append(key_of(late), late)
    cluster.step(cluster.home("p4"))
    cluster.settle()
    assert cluster.said() == [
        ("answered", "resolved", "withdrawn"),
        ("answered-anew", "firing", None),
        ("not-so-anew", "firing", None),
    ]
