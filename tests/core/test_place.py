"""The registry: which microsystem owns a location, and what it nests in (contract, section 2; HL7 PL)."""

from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from monitor.core.place import PARTS, Registry

FULL = "4W^101^2^GH^occupied^N^main^3"
"""A location with all eight parts of a PL."""


def registry(*microsystems, **keys):
    return Registry.model_validate({"microsystems": list(microsystems)} | keys)


def owns(location, raw):
    return registry({"id": "m", "locations": [location]}).place(raw) == "m"


@pytest.mark.parametrize(
    ("location", "raw", "holds"),
    [
        ("4W", "4W", True),
        ("4W", "4W^101^2", True),
        ("4W", "4W2", False),
        ("4W", "4w", False),
        ("4*", "4W^101", True),
        ("*W", "4W", True),
        ("4W^101", "4W^101^2", True),
        ("4W^101", "4W^102", False),
        ("4W^101", "4W", False),
        ("4W^1*", "4W^101", True),
        ("4W^^2", "4W^101^2", True),
        ("4W^^2", "4W^101^3", False),
        ("^^^GH", "5S^1^1^GH", True),
        ("^^^GH", "5S^1^1^SH", False),
        ("4W^*^*^GH", "4W^101^2^GH", True),
        ("4W.1", "4WX1", False),
        ("4W^*", "4W", True),
    ],
)
def test_parts_that_are_left_out_match_anything(location, raw, holds):
    assert owns(location, raw) is holds


@pytest.mark.parametrize("position", range(len(PARTS)))
def test_a_microsystem_may_be_told_by_any_part_of_a_location(position):
    own = FULL.split("^")[position]
    assert owns({PARTS[position]: own}, FULL)
    assert owns({PARTS[position]: own[0] + "*"}, FULL)
    assert not owns({PARTS[position]: "other"}, FULL)


def test_all_parts_that_are_given_must_match():
    assert owns({"point_of_care": "4W", "facility": "GH"}, FULL)
    assert not owns({"point_of_care": "4W", "facility": "SH"}, FULL)


def test_of_those_that_own_a_location_the_first_stands():
    rooms, whole = {"id": "rooms", "locations": ["4W^1*"]}, {"id": "whole", "locations": ["4W"]}
    assert registry(rooms, whole).place("4W^101") == "rooms"
    assert registry(rooms, whole).place("4W^201") == "whole"
    assert registry(whole, rooms).place("4W^101") == "whole"


def test_an_id_is_itself_whoever_owns_the_name_as_a_location():
    other, named = {"id": "other", "locations": ["icu"]}, {"id": "icu"}
    assert registry(other, named).place("icu") == "icu"


def test_a_location_that_maps_to_none_keeps_its_name():
    known = registry({"id": "icu", "locations": ["ICU"]})
    assert known.place("XRAY^2") == "XRAY^2"
    assert not known.is_mapped("XRAY^2")
    assert known.is_mapped("ICU^1")


def test_no_location_is_no_place():
    assert registry().place(None) is None


def test_places_nest_at_any_depth():
    nested = registry(
        {"id": "bay", "parent": "icu"},
        {"id": "icu", "parent": "surgery"},
        mesosystems=[{"id": "surgery", "parent": "hospital"}, {"id": "hospital"}],
    )
    assert [nested.within("bay", above) for above in ("icu", "surgery", "hospital")] == [True] * 3
    assert not nested.within("icu", "bay")
    assert not nested.within("icu", "icu")
    assert not nested.within("XRAY", "hospital")


def test_places_that_nest_in_each_other_end_somewhere():
    ring = registry({"id": "a", "parent": "b"}, {"id": "b", "parent": "a"})
    assert ring.within("a", "b")
    assert not ring.within("a", "c")


def test_the_zone_is_that_of_the_first_place_that_has_one_else_the_registrys():
    zones = registry(
        {"id": "paris", "timezone": "Europe/Paris"},
        {"id": "tokyo", "timezone": "Asia/Tokyo"},
        {"id": "here"},
        timezone="Europe/London",
    )
    assert zones.timezone_of("paris", "tokyo") == ZoneInfo("Europe/Paris")
    assert zones.timezone_of(None, "tokyo") == ZoneInfo("Asia/Tokyo")
    assert zones.timezone_of("here", "XRAY") == ZoneInfo("Europe/London")


def test_the_registrys_own_zone_is_utc_unless_it_says_otherwise():
    assert registry().timezone == ZoneInfo("UTC")


def test_a_source_that_is_not_listed_follows_the_standard():
    profile = registry(sources={"lab": {"grace": "10m"}}).source("adt")
    assert (profile.grace, profile.silent_after, profile.a12_restored) == (None, None, "PV1-3")


@pytest.mark.parametrize(
    "keys",
    [
        {"microsystems": [{"id": "icu"}, {"id": "icu"}]},
        {"microsystems": [{"id": "icu"}], "mesosystems": [{"id": "icu"}]},
        {"calendar": "england"},
        {"timezone": "Mars/Olympus"},
        {"microsystems": [{"id": ""}]},
        {"microsystems": [{"id": "icu", "locations": [{"ward": "4W"}]}]},
        {"microsystem": []},
    ],
)
def test_what_a_registry_must_not_say(keys):
    with pytest.raises(ValidationError):
        Registry.model_validate(keys)
