"""What is known of a journey at the end, on journeys made by hand."""

import pytest

from monitor.simulation.journey import Fact, Journey, Telling
from monitor.simulation.known import Place, known, same_visit, stays, together

END = 100_000


def where(location):
    owners = {"ED": ("ed", "ed"), "4W": ("ward-4w", "ward"), "5S": ("ward-5s", "ward")}
    return Place(*owners.get(location.split("^")[0], (location, None)))


def fact(kind, at, *told, visit="V1", to=None, from_=None, patient="p", attributes=None, unit=1):
    """A fact that was told at once, unless it says how it was."""
    name = f"{kind}@{at}"
    return Fact(
        name,
        "PAS",
        kind,
        at,
        patient,
        visit,
        from_,
        to,
        attributes or {},
        list(told) or [Telling("first", name, at, at, at, from_, to, unit=unit)],
    )


def told(kind, at, recorded, *, name=None, delivered=None, to=None):
    return Telling(kind, name or f"{kind}@{recorded}", at, recorded, delivered or recorded, to=to)


def one(*facts, end=END):
    """The only journey that is known of these facts."""
    (found,) = known(Journey("p", list(facts)), end, where)
    return found


def ids(journey):
    return [each.id for each in journey.facts]


def test_a_fact_that_nobody_charted_is_not_known():
    uncharted = fact("triage", 20)
    uncharted.told.clear()
    assert ids(one(fact("register", 10), uncharted)) == ["register@10"]


def test_a_fact_that_is_delivered_after_the_end_is_not_known():
    late = fact("triage", 20, told("first", 20, 30, delivered=END + 1))
    assert ids(one(fact("register", 10), late)) == ["register@10"]


def test_a_fact_that_is_delivered_at_the_end_is_known():
    assert len(one(fact("triage", 20, told("first", 20, 30, delivered=END))).facts) == 1


def test_a_correction_stands_under_the_first_id():
    corrected = fact("triage", 20, told("first", 15, 30, name="a"), told("correction", 20, 40))
    (found,) = one(corrected).facts
    assert (found.id, found.at) == ("a", 20)


def test_a_correction_that_has_not_come_by_the_end_does_not_count():
    corrected = fact("triage", 20, told("first", 15, 30), told("correction", 20, 40, delivered=END + 1))
    assert one(corrected).facts[0].at == 15


def test_of_two_corrections_the_one_recorded_last_counts_whichever_comes_first():
    last = told("correction", 20, 50, delivered=60)
    earlier = told("correction", 17, 40, delivered=90)
    assert one(fact("triage", 20, told("first", 15, 30), earlier, last)).facts[0].at == 20


def test_a_cancelled_fact_is_not_known():
    cancelled = fact("triage", 20, told("first", 20, 30), told("cancel", 20, 40))
    assert ids(one(fact("register", 10), cancelled)) == ["register@10"]


def test_a_cancel_that_has_not_come_by_the_end_does_not_count():
    cancelled = fact("triage", 20, told("first", 20, 30), told("cancel", 20, 40, delivered=END + 1))
    assert len(one(cancelled).facts) == 1


def test_a_copy_changes_nothing():
    again = fact("triage", 20, told("first", 20, 30, name="a"), told("copy", 20, 30, name="a", delivered=50))
    assert ids(one(again)) == ["a"]


def test_a_copy_that_overtakes_what_it_repeats_tells_it():
    late = told("first", 20, 30, name="a", delivered=END + 1)
    assert ids(one(fact("triage", 20, late, told("copy", 20, 30, name="a")))) == ["a"]
    first = told("first", 20, 30, name="b")
    cancel = told("cancel", 20, 40, name="x", delivered=END + 1)
    cancelled = fact("triage", 20, first, cancel, told("copy", 20, 40, name="x"))
    assert ids(one(fact("register", 10), cancelled)) == ["register@10"]


def test_facts_are_in_order_and_of_one_second_by_type():
    journey = one(fact("discharge", 30), fact("triage", 10), fact("admit", 30), fact("triage", 30))
    assert ids(journey) == ["triage@10", "admit@30", "triage@30", "discharge@30"]
    assert [each.id for each in journey.each({"discharge", "admit"})] == ["admit@30", "discharge@30"]


def test_after_a_merge_all_is_known_under_the_surviving_key():
    merge = fact("merge", 30, visit=None, patient="TMP", attributes={"into": "p"})
    journey = one(fact("register", 10, patient="TMP"), fact("triage", 20), merge)
    assert (journey.patient, len(journey.facts)) == ("p", 3)


def test_before_a_merge_is_known_each_key_has_a_journey_of_its_own():
    merge = fact(
        "merge", 30, told("first", 30, 30, delivered=END + 1), patient="TMP", attributes={"into": "p"}
    )
    found = known(Journey("p", [fact("register", 10, patient="TMP"), fact("triage", 20), merge]), END, where)
    assert {each.patient: ids(each) for each in found} == {"TMP": ["register@10"], "p": ["triage@20"]}


def test_a_renamed_visit_is_one_visit():
    renamed = fact("merge", 30, visit="V1", attributes={"encounter_into": "V2"})
    journey = one(fact("register", 10, visit="V1"), renamed, fact("discharge", 40, visit="V2"))
    assert {each.visit for each in journey.facts} == {"V2"}


def test_a_message_without_a_visit_is_of_the_only_one_that_is_open():
    journey = one(
        fact("triage", 5, visit=None),
        fact("register", 10, visit="V1"),
        fact("triage", 20, visit=None),
        fact("admit", 30, visit="V2"),
        fact("triage", 40, visit=None),
        fact("discharge", 50, visit="V1"),
        fact("triage", 60, visit=None),
    )
    assert [each.visit for each in journey.each({"triage"})] == [None, "V1", None, "V2"]


def test_a_fact_happens_where_the_visit_is():
    journey = one(
        fact("register", 10, to="ED^1"),
        fact("triage", 20),
        fact("transfer", 30, to="4W^1"),
        fact("transfer", 40, to="ANNEX"),
        fact("discharge", 50),
    )
    assert [tuple(each.from_) for each in journey.facts] == [
        (None, None),
        ("ed", "ed"),
        ("ed", "ed"),
        ("ward-4w", "ward"),
        ("ANNEX", None),
    ]
    assert [each.after.id for each in journey.facts] == ["ed", "ed", "ward-4w", "ANNEX", None]


def test_a_place_that_is_sent_stands():
    journey = one(fact("register", 10, to="ED^1"), fact("transfer", 30, from_="5S^1", to="4W^1"))
    assert journey.facts[1].from_.id == "ward-5s"


def test_visits_are_in_places_of_their_own():
    journey = one(
        fact("register", 10, to="ED^1", visit="V1"),
        fact("admit", 20, to="4W^1", visit="V2"),
        fact("triage", 30, visit="V1"),
    )
    assert journey.facts[2].from_.id == "ed"


def test_times_are_equal_at_the_coarser_precision():
    journey = one(fact("transfer", 60, unit=60), fact("triage", 119), fact("handoff", 120), fact("call", 121))
    move, triage, handoff, call = journey.facts
    assert together(move, triage)
    assert together(triage, move)
    assert not together(move, handoff)
    assert not together(handoff, call)


def test_facts_are_of_one_visit_as_far_as_both_have_one():
    journey = one(fact("a", 1, visit="V1"), fact("b", 2, visit="V2"), fact("c", 3, visit=None))
    a, b, c = journey.facts
    assert not same_visit(a, b)
    assert same_visit(a, c)
    assert same_visit(c, b)


@pytest.mark.parametrize(("wanted", "expected"), [
    ("ward", [("transfer@30", "transfer@70")]),
    ("ed", [("register@10", "transfer@30"), ("transfer@70", None)]),
])  # fmt: skip
def test_a_stay_lasts_while_the_place_matches(wanted, expected):
    journey = one(
        fact("register", 10, to="ED^1"),
        fact("transfer", 20, to="ED^2"),
        fact("transfer", 30, to="4W^1"),
        fact("transfer", 50, to="5S^1"),
        fact("transfer", 70, to="ED^1"),
    )
    found = stays(journey, lambda place: place.kind == wanted)
    assert [(entered.id, left and left.id) for entered, left in found] == expected
