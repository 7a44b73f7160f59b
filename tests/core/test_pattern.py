"""Patterns: which events a rule means (contract, section 3)."""

from datetime import UTC, datetime

import pytest
from timeline import HOSPITAL, NOON, at, expect, rule, verdict, verdicts

from monitor.core.event import Event

TRANSFER = at(
    0,
    "transfer",
    source="lab/main",
    encounter="V-17",
    from_="ED^2",
    to="ICU^1",
    attributes={"n": 2, "class": "inpatient", "isolated": True},
)
NOWHERE = at(0, "note")


def matches(pattern, event=TRANSFER, **how):
    """Whether an event is one that must never be."""
    return verdicts(rule(never=pattern), event, **how) == ["violated"]


def test_an_empty_pattern_means_every_event():
    assert matches({})
    assert matches({}, NOWHERE)


def test_all_keys_must_hold():
    assert matches({"type": "transfer", "to": "icu", "source": "lab/main"})
    assert not matches({"type": "transfer", "to": "icu", "source": "other"})


@pytest.mark.parametrize(
    ("key", "value", "holds"),
    [
        ("type", "transfer", True),
        ("type", "trans", False),
        ("type", "Transfer", False),
        ("type", ["admit", "transfer"], True),
        ("type", ["admit", "arrive"], False),
        ("type", "tr*r", True),
        ("type", "*", True),
        ("type", "x*", False),
        ("source", "lab/*", True),
        ("source", ["adt", "lab/main"], True),
        ("source", "lab", False),
        ("encounter", "V-17", True),
        ("encounter", "V-*", True),
        ("encounter", "V.17", False),
        ("from", "ed", True),
        ("to", "icu", True),
        ("to", "ed", False),
        ("to", ["ward", "icu"], True),
        ("to", "i*", True),
        ("to", "*", True),
        ("to", "kind:icu", True),
        ("to", "kind:ward", False),
        ("to", "tag:critical", True),
        ("to", "tag:step-down", False),
        ("to", "meso:surgery", True),
        ("to", "meso:hospital", True),
        ("to", "meso:medicine", False),
        ("to", ["kind:ward", "tag:critical"], True),
        ("to", None, False),
        ("to", "ICU^1", False),
    ],
)
def test_a_field_is_equal_to_the_value_or_to_one_of_a_list(key, value, holds):
    assert matches({key: value}) is holds


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ({"to": None}, True),
        ({"from": None, "to": None}, True),
        ({"to": ["icu", None]}, True),
        ({"to": "*"}, False),
        ({"to": "icu"}, False),
        ({"to": "kind:icu"}, False),
        ({"encounter": "*"}, False),
        ({"source": ""}, True),
    ],
)
def test_null_is_no_place_and_nothing_else_is(pattern, holds):
    assert matches(pattern, NOWHERE) is holds


def test_a_place_that_is_not_in_the_registry_goes_by_its_raw_name():
    abroad = at(0, "transfer", to="XRAY^2")
    assert matches({"to": "XRAY^2"}, abroad)
    assert matches({"to": "XRAY*"}, abroad)
    assert not matches({"to": "kind:*"}, abroad)
    assert not matches({"to": "meso:hospital"}, abroad)


# -- where -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"n": 2}, True),
        ({"n": 2.0}, True),
        ({"n": 3}, False),
        ({"n": "2"}, False),
        ({"n": True}, False),
        ({"n": [1, 2]}, True),
        ({"n": [1, 3]}, False),
        ({"n": 2, "class": "inpatient"}, True),
        ({"n": 2, "class": "outpatient"}, False),
        ({"isolated": True}, True),
        ({"isolated": 1}, False),
        ({"isolated": "true"}, False),
        ({"class": "in*"}, False),
        ({"missing": 2}, False),
        ({"missing": [2]}, False),
    ],
)
def test_an_attribute_is_equal_to_the_value_or_to_one_of_a_list(where, holds):
    assert matches({"where": where}) is holds


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ({"lt": 3}, True),
        ({"lt": 2}, False),
        ({"le": 2}, True),
        ({"le": 1}, False),
        ({"gt": 1}, True),
        ({"gt": 2}, False),
        ({"ge": 2}, True),
        ({"ge": 3}, False),
        ({"ge": 2, "lt": 3}, True),
        ({"ge": 2, "lt": 2}, False),
        ({"ne": 3}, True),
        ({"ne": 2}, False),
        ({"ne": "2"}, True),
        ({"in": [2, 4]}, True),
        ({"in": [4]}, False),
        ({"not_in": [4]}, True),
        ({"not_in": [2, 4]}, False),
        ({"exists": True}, True),
        ({"exists": False}, False),
        ({"lt": "3"}, False),
        ({"gt": "1"}, False),
    ],
)
def test_comparisons_of_a_number(test, holds):
    assert matches({"where": {"n": test}}) is holds


@pytest.mark.parametrize(
    ("test", "holds"),
    [({"gt": "a"}, True), ({"lt": "a"}, False), ({"ge": "inpatient"}, True), ({"lt": 3}, False)],
)
def test_texts_are_compared_with_texts(test, holds):
    assert matches({"where": {"class": test}}) is holds


@pytest.mark.parametrize("test", [{"lt": 9}, {"le": 9}, {"gt": 0}, {"ge": 0}])
def test_truth_has_no_order(test):
    assert not matches({"where": {"isolated": test}})


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ({"exists": False}, True),
        ({"ne": 2}, True),
        ({"not_in": [2]}, True),
        ({"exists": True}, False),
        ({"lt": 2}, False),
        ({"le": 2}, False),
        ({"gt": 2}, False),
        ({"ge": 2}, False),
        ({"in": [2]}, False),
        ({"ne": 2, "lt": 3}, False),
    ],
)
def test_a_missing_attribute_fails_all_but_three_tests(test, holds):
    assert matches({"where": {"missing": test}}) is holds


# -- not, any ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ({"not": {"to": "icu"}}, False),
        ({"not": {"to": "ward"}}, True),
        ({"not": {"type": "transfer", "to": "ward"}}, True),
        ({"not": {}}, False),
        ({"not": {"where": {"n": {"gt": 1}}}}, False),
        ({"not": {"not": {"to": "icu"}}}, True),
        ({"type": "transfer", "not": {"from": None}}, True),
        ({"any": [{"to": "ward"}, {"to": "icu"}]}, True),
        ({"any": [{"to": "ward"}, {"to": "ed"}]}, False),
        ({"any": [{"where": {"n": 1}}, {"where": {"n": 2}}]}, True),
        ({"type": "admit", "any": [{"to": "icu"}]}, False),
        ({"any": [{"not": {"to": "icu"}}, {"to": "kind:icu", "where": {"n": 2}}]}, True),
    ],
)
def test_not_and_any(pattern, holds):
    assert matches(pattern) is holds


# -- at ----------------------------------------------------------------------------------------------------


def hours(minute, **local_time):
    return matches({"at": local_time}, at(minute, "x"))


@pytest.mark.parametrize(
    ("span", "holds"),
    [
        ("12:00-13:00", True),
        ("11:00-12:00", False),
        ("11:00-12:01", True),
        ("12:01-13:00", False),
        ("00:00-24:00", True),
        ("12:00-24:00", True),
        ("22:00-07:00", False),
        ("22:00-13:00", True),
        ("22:00-12:00", False),
    ],
)
def test_the_end_of_the_hours_is_excluded(span, holds):
    assert hours(0, hours=span) is holds


def test_days_alone_are_whole_days():
    assert hours(0, days=["mon"])
    assert not hours(0, days=["sat", "sun"])
    assert not hours(12 * 60, days=["mon"])


@pytest.mark.parametrize(
    ("hour", "day", "holds"),
    [
        (22, "mon", True),
        (27, "mon", True),
        (27, "tue", False),
        (31, "mon", False),
        (3, "mon", False),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_on_which_it_began(hour, day, holds):
    """`hour` counts from the midnight before Monday."""
    assert hours((hour - 12) * 60, hours="22:00-07:00", days=[day]) is holds


def test_the_early_hours_of_monday_belong_to_sunday_night():
    assert hours((3 - 12) * 60, hours="22:00-07:00", days=["sun"])


def test_a_span_that_ends_at_midnight_does_not_reach_into_the_next_day():
    assert hours(11 * 60, hours="20:00-24:00", days=["mon"])
    assert not hours(12 * 60, hours="20:00-24:00")


def test_its_own_zone_goes_first():
    assert hours(0, hours="13:00-14:00", tz="Europe/Paris")
    assert not hours(0, hours="12:00-13:00", tz="Europe/Paris")


@pytest.mark.parametrize(
    ("from_", "to", "local"),
    [
        ("paris", "tokyo", "13:00"),
        (None, "tokyo", "21:00"),
        ("here", "tokyo", "21:00"),
        ("paris", None, "13:00"),
        (None, None, "07:00"),
        ("here", "abroad", "07:00"),
    ],
)
def test_the_zone_is_that_of_from_else_of_to_else_of_the_registry(from_, to, local):
    registry = {
        "timezone": "America/New_York",
        "microsystems": [
            {"id": "paris", "timezone": "Europe/Paris"},
            {"id": "tokyo", "timezone": "Asia/Tokyo"},
            {"id": "here"},
        ],
    }
    pattern = {"at": {"hours": f"{local}-{local[:3]}01"}}
    assert matches(pattern, at(0, "x", from_=from_, to=to), registry=registry)


@pytest.mark.parametrize("utc_hour", [0, 1])
def test_an_hour_that_occurs_twice_is_inside_both_times(utc_hour):
    twice = datetime(2024, 10, 27, utc_hour, 30, tzinfo=UTC)
    event = Event(id="e", type="x", patient="p", occurred_at=twice, arrived_at=twice)
    late = (twice - NOON).total_seconds() / 60 + 1
    assert matches({"at": {"hours": "01:00-02:00", "tz": "Europe/London"}}, event, now=late)


def test_it_is_when_it_happened_that_counts_not_when_it_was_told():
    told_at_night = at(0, "x", recorded=700, arrived=700)
    assert matches({"at": {"hours": "12:00-13:00"}}, told_at_night)
    assert not matches({"at": {"hours": "22:00-24:00"}}, told_at_night)


# -- same --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "one", "other", "holds"),
    [
        ("to", {"to": "ICU^1"}, {"to": "icu"}, True),
        ("to", {"to": "icu"}, {"to": "ward"}, False),
        ("to", {}, {}, False),
        ("from", {"from_": "4W"}, {"from_": "ward"}, True),
        ("encounter", {"encounter": "a"}, {"encounter": "a"}, True),
        ("encounter", {"encounter": "a"}, {}, False),
        ("source", {"source": "s"}, {"source": "s"}, True),
        ("source", {"source": "s"}, {"source": "t"}, False),
        ("patient", {}, {}, True),
        ("type", {}, {}, False),
        ("order", {"attributes": {"order": 2}}, {"attributes": {"order": 2.0}}, True),
        ("order", {"attributes": {"order": 2}}, {"attributes": {"order": "2"}}, False),
        ("order", {"attributes": {"order": 1}}, {"attributes": {"order": True}}, False),
    ],
)
def test_same_is_equal_and_present_in_both(name, one, other, holds):
    found = verdict(expect(same=[name]), at(0, "ask", **one), at(5, "answer", **other), now=10)
    assert found == ("met" if holds else "open")


def test_all_that_same_names_must_be_equal():
    both = expect(same=["to", "order"])
    ask = at(0, "ask", to="icu", attributes={"order": 1})
    assert verdict(both, ask, at(5, "answer", to="icu", attributes={"order": 1}), now=10) == "met"
    assert verdict(both, ask, at(5, "answer", to="icu", attributes={"order": 2}), now=10) == "open"


def test_an_encounter_that_was_assigned_counts_for_same():
    events = [at(-5, "admit", encounter="a"), at(0, "ask"), at(5, "answer", encounter="a")]
    assert verdict(expect(same=["encounter"]), *events, now=10) == "met"


def test_patterns_see_the_place_and_encounter_that_an_event_was_given():
    moved = [at(-5, "admit", to="icu", encounter="a"), at(0, "transfer", to="ward")]
    pattern = {"type": "transfer", "from": "kind:icu", "encounter": "a"}
    assert verdicts(rule(never=pattern), *moved, now=1, registry=HOSPITAL) == ["violated"]
