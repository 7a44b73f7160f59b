"""Who is told of what."""

import pytest
from notices import FIRING, later, resolved

from monitor.core.place import Registry
from monitor.core.rule import RuleFile
from monitor.notify.routing import Router, identifiers_of, notify_roles, problems
from monitor.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "sinks": {
            "log": {"log": "true"},
            "pager": {"webhook": "https://pager.example", "identifiers": "bed"},
            "post": {"email": "mail.example", "sender": "monitor@example.org", "identifiers": "none"},
        },
        "receivers": {
            "default": {"sinks": ["log"]},
            "Bed Manager": {"sinks": ["pager", "post"], "email": ["beds@example.org"], "identifiers": "full"},
            "site_manager": {"sinks": ["pager"]},
            "ward desk": {"sinks": ["pager"]},
        },
    }
)
REGISTRY = Registry.model_validate(
    {
        "mesosystems": [
            {
                "id": "hospital",
                "contacts": {"consultant on call": "on-call@example.org", "nurse in charge": "Site Manager"},
            },
            {"id": "medicine", "parent": "hospital", "contacts": {"nurse in charge": "bleep 4000"}},
        ],
        "microsystems": [
            {"id": "ed", "parent": "hospital"},
            {"id": "4w", "parent": "medicine", "contacts": {"Nurse In_Charge": "ward desk"}},
            {"id": "6e", "parent": "medicine"},
        ],
    }
)
RULE = RuleFile.model_validate(
    {
        "rules": [
            {
                "id": "boarding",
                "summary": "s",
                "severity": "warning",
                "owner": "nurse in charge",
                "when": {"type": "a"},
                "expect": {"type": "b"},
                "within": "4h",
                "escalate": [
                    {"after": "2h", "notify": "site manager"},
                    {"after": "-30m", "notify": "bed manager"},
                    {"after": "1h"},
                    {"after": "3h", "notify": "chief nurse"},
                ],
            }
        ]
    }
).rules[0]
ROUTER = Router(SETTINGS, REGISTRY)


def route(role, place=None, already=(), **changes):
    return ROUTER.route(later(owner=role, place=place, **changes), [], already)


def test_a_ladder_names_roles_up_to_the_level_reached():
    assert notify_roles(RULE, -1) == ["bed manager"]
    assert notify_roles(RULE, 0) == notify_roles(RULE, 1) == ["bed manager"]
    assert notify_roles(RULE, 2) == ["bed manager", "site manager"]
    assert notify_roles(RULE, 3) == ["bed manager", "site manager", "chief nurse"]


@pytest.mark.parametrize("role", ["bed manager", "BED_MANAGER", " Bed  manager"])
def test_the_owner_is_found_whatever_the_spelling(role):
    assert route(role) == [("pager", "Bed Manager"), ("post", "Bed Manager")]


def test_a_role_is_that_of_the_place_before_it_is_that_of_what_the_place_nests_in():
    assert route("nurse in charge", "4w") == [("pager", "ward desk")]


def test_a_contact_that_only_people_can_read_is_passed_over():
    assert route("nurse in charge", "6e") == [("pager", "site_manager")]


def test_an_address_as_contact_is_reached_by_email():
    assert route("consultant on call", "ed") == [("post", "on-call@example.org")]


def test_an_address_as_contact_is_only_a_text_without_a_sink_for_email():
    settings = SETTINGS.model_copy(update={"sinks": {"log": SETTINGS.sinks["log"]}})
    notice = later(owner="consultant on call", place="ed")
    assert Router(settings, REGISTRY).route(notice, [], []) == [("log", "default")]


@pytest.mark.parametrize("place", ["ed", "RAW^1^A", None])
def test_a_role_that_nobody_answers_for_goes_to_the_default(place):
    assert route("chief nurse", place) == [("log", "default")]
    assert route(None, place) == [("log", "default")]


def test_a_level_tells_the_owner_and_the_roles_of_the_ladder_each_once():
    told = ROUTER.route(later(owner="bed manager", level=2), ["site manager", "Bed manager"], [])
    assert told == [("pager", "Bed Manager"), ("post", "Bed Manager"), ("pager", "site_manager")]


def test_an_early_warning_is_for_its_own_role_alone():
    assert ROUTER.route(later(owner="chief nurse", level=-1), ["site manager"], []) == [
        ("pager", "site_manager")
    ]
    assert ROUTER.route(later(owner="bed manager", level=-1), [], [])[0] == ("pager", "Bed Manager")


@pytest.mark.parametrize("reason", ["late", "withdrawn", "charted_late"])
def test_an_end_is_told_to_those_who_were_told_and_to_nobody_else(reason):
    told = [("pager", "ward desk"), ("post", "on-call@example.org")]
    assert ROUTER.route(resolved(reason, owner="bed manager"), ["site manager"], told) == told
    assert ROUTER.route(resolved(reason), [], []) == []


def test_who_was_told_is_told_of_what_follows_though_the_patient_has_moved():
    assert route("nurse in charge", "6e", [("pager", "ward desk")]) == [
        ("pager", "ward desk"),
        ("pager", "site_manager"),
    ]


def test_a_sink_that_is_no_more_is_told_nothing():
    assert ROUTER.route(resolved(), [], [("gone", "default"), ("log", "default")]) == [("log", "default")]


def test_a_receiver_sees_what_it_may_or_else_what_its_sink_may():
    assert identifiers_of(SETTINGS, "post", "Bed Manager") == "full"
    assert identifiers_of(SETTINGS, "pager", "ward desk") == "bed"
    assert identifiers_of(SETTINGS, "post", "on-call@example.org") == "none"


def test_roles_that_nobody_answers_for_are_named_once_with_their_rules():
    assert problems(SETTINGS, [RULE, RULE.model_copy(update={"id": "other"})], REGISTRY) == [
        "no receiver or contact answers for these roles, so their alerts go to `default`: `chief nurse` (boarding, other)"
    ]


def test_an_installation_with_one_receiver_means_it_for_all_roles():
    assert problems(Settings(), [RULE], Registry()) == []


def test_receivers_that_cannot_be_reached_are_named():
    settings = Settings.model_validate(
        {
            "sinks": {"post": {"email": "mail.example", "sender": "m@example.org"}},
            "receivers": {"desk": {"sinks": ["post", "pager"]}},
        }
    )
    assert problems(settings, [], Registry()) == [
        "no receiver is called `default`: what names nobody else goes to every sink",
        "receiver `desk` names the sink `pager`, which is not among `sinks`",
        "receiver `desk` has a sink that sends e-mail, but no `email` addresses",
    ]
    assert Router(settings, Registry()).route(FIRING, [], []) == [("post", "default")]
