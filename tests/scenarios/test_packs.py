"""Every rule of every pack, on small journeys: events in, verdicts out."""

import io

import pytest
from journey import PROJECT, alerts, pack, registry, verdicts

from monitor.cli import main

PACKS = ("ed", "ed-us", "icu", "icu-sweden", "sepsis")


def of(name, rule, events):
    """The verdicts of one rule of a pack, without its id."""
    known = registry()
    found = [each for each in pack(name, known) if each.id == rule]
    assert found
    return [line.replace(f" {rule}", "") for line in verdicts(found, known, events)]


ED = [
    ("ed-triage", "Mon 08:00 register -> ed\nMon 08:15 triage", ["Mon 08:00 met"]),
    ("ed-triage", "Mon 08:00 register -> ed\nMon 08:16 triage", ["Mon 08:00 late by 1m"]),
    ("ed-triage", "Mon 08:00 register -> ed\nMon 08:10 discharge", ["Mon 08:00 void (unless)"]),
    # moving inside the department is no way out of triage
    (
        "ed-triage",
        "Mon 08:00 register -> ed\nMon 08:05 transfer -> RESUS^1\nMon 08:40 now",
        ["Mon 08:00 open overdue"],
    ),
    # straight to the catheter laboratory or theatre
    ("ed-triage", "Mon 08:00 register -> ed\nMon 08:05 transfer -> theatre", ["Mon 08:00 void (unless)"]),
    # registered a second time by mistake: still one arrival
    ("ed-triage", "Mon 08:00 register -> ed\nMon 08:03 register -> ed\nMon 08:10 triage", ["Mon 08:00 met"]),
    ("ed-triage", "Mon 08:00 register -> family-practice\nMon 12:00 now", []),
    ("ed-room", "Mon 08:00 register -> ed\nMon 09:00 roomed", ["Mon 08:00 met"]),
    ("ed-room", "Mon 08:00 register -> ed\nMon 08:30 admit -> ward-4w", ["Mon 08:00 met"]),
    ("ed-room", "Mon 08:00 register -> ed\nMon 08:30 discharge", ["Mon 08:00 void (unless)"]),
    ("ed-room", "Mon 08:00 register -> ed\nMon 09:30 discharge", ["Mon 08:00 missed (abandoned)"]),
    ("ed-four-hours", "Mon 08:00 register -> ed\nMon 12:00 discharge", ["Mon 08:00 met"]),
    (
        "ed-four-hours",
        "Mon 08:00 register -> ed\nMon 09:00 transfer -> RESUS^1\nMon 12:30 admit -> ward-4w",
        ["Mon 08:00 late by 30m"],
    ),
    # two visits are two stays
    (
        "ed-four-hours",
        "Mon 08:00 register -> ed encounter=A\nMon 09:00 discharge encounter=A\nMon 20:00 register -> ed encounter=B\nTue 03:00 now",
        ["Mon 08:00 met", "Mon 20:00 open overdue"],
    ),
    # sent home, the discharge cancelled: one long stay
    (
        "ed-four-hours",
        "Mon 08:00 register -> ed\nMon 11:00 discharge\nMon 11:00 cancel_discharge recorded=Mon_11:20\nMon 13:00 discharge",
        ["Mon 08:00 late by 1h"],
    ),
    ("ed-eight-hours", "Mon 08:00 register -> ed\nMon 16:10 discharge", ["Mon 08:00 late by 10m"]),
    ("ed-twelve-hours", "Mon 08:00 register -> ed\nMon 20:00 discharge", ["Mon 08:00 met"]),
    (
        "ed-boarding",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 14:00 admit -> ward-4w",
        ["Mon 10:00 met"],
    ),
    # A06 before the move: the class changes, the patient does not
    (
        "ed-boarding",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 10:30 admit -> ed\nMon 15:00 transfer -> ward-4w",
        ["Mon 10:00 late by 1h"],
    ),
    (
        "ed-boarding",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 12:00 decision_to_admit\nMon 13:00 transfer -> icu",
        ["Mon 10:00 met"],
    ),
    (
        "ed-boarding",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 13:00 discharge",
        ["Mon 10:00 void (unless)"],
    ),
    # the decision is taken back
    (
        "ed-boarding",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 11:00 cancel_decision_to_admit\nMon 20:00 now",
        [],
    ),
    # decided in a clinic: not the emergency department's
    ("ed-boarding", "Mon 08:00 register -> family-practice\nMon 10:00 decision_to_admit\nMon 20:00 now", []),
    (
        "ed-trolley-wait",
        "Mon 08:00 register -> ed\nMon 10:00 decision_to_admit\nMon 22:01 transfer -> ward-4w",
        ["Mon 10:00 late by 1m"],
    ),
]

ICU = [
    ("icu-night-discharge", "Mon 08:00 admit -> icu\nTue 22:00 transfer -> ward-4w", ["Tue 22:00 violated"]),
    ("icu-night-discharge", "Mon 08:00 admit -> icu\nTue 06:59 transfer -> ward-4w", ["Tue 06:59 violated"]),
    ("icu-night-discharge", "Mon 08:00 admit -> icu\nTue 07:00 transfer -> ward-4w", []),
    ("icu-night-discharge", "Mon 08:00 admit -> icu\nTue 23:00 transfer -> theatre", []),
    (
        "icu-night-discharge",
        "Mon 08:00 admit -> icu\nTue 23:00 transfer -> ward-4w\nTue 23:00 cancel_transfer recorded=Tue_23:30",
        [],
    ),
    (
        "icu-step-down",
        "Mon 08:00 admit -> icu\nTue 09:00 fit_for_discharge\nTue 13:00 transfer -> ward-4w",
        ["Tue 09:00 met"],
    ),
    (
        "icu-step-down",
        "Mon 08:00 admit -> icu\nTue 09:00 fit_for_discharge\nTue 10:00 transfer -> ITU^2\nTue 15:00 transfer -> ward-4w",
        ["Tue 09:00 late by 2h"],
    ),
    (
        "icu-step-down",
        "Mon 08:00 admit -> icu\nTue 09:00 fit_for_discharge\nThu 13:00 now",
        ["Tue 09:00 open overdue"],
    ),
    (
        "icu-step-down",
        "Mon 08:00 admit -> icu\nTue 09:00 fit_for_discharge\nThu 13:01 now",
        ["Tue 09:00 missed (gave_up)"],
    ),
    ("icu-step-down", "Mon 08:00 admit -> ward-4w\nTue 09:00 fit_for_discharge\nWed 13:00 now", []),
    (
        "icu-handoff",
        "Mon 08:00 admit -> icu\nTue 09:00 handoff_signed\nTue 10:00 transfer -> ward-4w",
        ["Tue 10:00 met"],
    ),
    (
        "icu-step-down-6h",
        "Mon 08:00 admit -> icu\nTue 09:00 fit_for_discharge\nTue 15:00 transfer -> ward-4w",
        ["Tue 09:00 met"],
    ),
    # charted in the same minute as the move
    (
        "icu-handoff",
        "Mon 08:00 admit -> icu\nTue 10:00 transfer -> ward-4w\nTue 10:00 handoff_signed",
        ["Tue 10:00 met"],
    ),
    (
        "icu-handoff",
        "Mon 08:00 admit -> icu\nMon 20:00 handoff_signed\nTue 10:00 transfer -> ward-4w",
        ["Tue 10:00 violated"],
    ),
    (
        "icu-readmission",
        "Mon 08:00 admit -> icu\nTue 10:00 transfer -> ward-4w\nThu 10:00 transfer -> icu",
        ["Tue 10:00 violated"],
    ),
    (
        "icu-readmission",
        "Mon 08:00 admit -> icu\nTue 10:00 transfer -> ward-4w\nThu 10:01 transfer -> icu",
        ["Tue 10:00 met"],
    ),
    # under a new visit number
    (
        "icu-readmission",
        "Mon 08:00 admit -> icu encounter=A\nTue 10:00 transfer -> ward-4w encounter=A\nTue 18:00 discharge encounter=A\nWed 03:00 admit -> icu encounter=B",
        ["Tue 10:00 violated"],
    ),
    (
        "icu-readmission",
        "Mon 08:00 admit -> icu\nTue 10:00 transfer -> ward-4w\nWed 10:00 transfer -> icu planned=true\nFri 10:00 now",
        ["Tue 10:00 met"],
    ),
    (
        "icu-readmission-72h",
        "Mon 08:00 admit -> icu\nTue 10:00 transfer -> ward-4w\nFri 09:00 transfer -> icu",
        ["Tue 10:00 violated"],
    ),
]

SEPSIS = [
    (
        "sepsis-antimicrobial",
        "Mon 10:00 sepsis_recognised likelihood=high\nMon 11:00 antimicrobial_given",
        ["Mon 10:00 met"],
    ),
    (
        "sepsis-antimicrobial",
        "Mon 10:00 sepsis_recognised likelihood=possible shock=true\nMon 11:20 antimicrobial_given",
        ["Mon 10:00 late by 20m"],
    ),
    ("sepsis-antimicrobial", "Mon 10:00 sepsis_recognised likelihood=possible\nMon 14:00 now", []),
    (
        "sepsis-antimicrobial",
        "Mon 10:00 sepsis_recognised likelihood=high\nMon 10:40 sepsis_ruled_out",
        ["Mon 10:00 void (unless)"],
    ),
    # recognised again on the ward while the first is open: one case
    (
        "sepsis-antimicrobial",
        "Mon 10:00 sepsis_recognised likelihood=high\nMon 10:30 sepsis_recognised likelihood=high\nMon 10:50 antimicrobial_given",
        ["Mon 10:00 met"],
    ),
    (
        "sepsis-antimicrobial",
        "Mon 10:00 sepsis_recognised likelihood=high\nWed 10:00 now",
        ["Mon 10:00 missed (gave_up)"],
    ),
    (
        "sepsis-antimicrobial-possible",
        "Mon 10:00 sepsis_recognised likelihood=possible shock=false\nMon 13:00 antimicrobial_given",
        ["Mon 10:00 met"],
    ),
    (
        "sepsis-antimicrobial-possible",
        "Mon 10:00 sepsis_recognised likelihood=possible\nMon 12:00 sepsis_ruled_out",
        ["Mon 10:00 void (unless)"],
    ),
    (
        "sepsis-antimicrobial-possible",
        "Mon 10:00 sepsis_recognised likelihood=possible shock=true\nMon 14:00 now",
        [],
    ),
    (
        "sepsis-cultures-first",
        "Mon 10:20 blood_cultures_taken\nMon 10:30 antimicrobial_given indication=sepsis",
        ["Mon 10:30 met"],
    ),
    (
        "sepsis-cultures-first",
        "Mon 10:30 antimicrobial_given indication=sepsis\nMon 10:40 blood_cultures_taken",
        ["Mon 10:30 violated"],
    ),
    ("sepsis-cultures-first", "Mon 10:30 antimicrobial_given indication=prophylaxis", []),
    ("sepsis-lactate", "Mon 10:00 sepsis_recognised\nMon 11:10 lactate_measured", ["Mon 10:00 late by 10m"]),
    (
        "sepsis-icu",
        "Mon 08:00 register -> ed\nMon 10:00 icu_requested reason=sepsis\nMon 15:00 admit -> icu",
        ["Mon 10:00 met"],
    ),
    (
        "sepsis-icu",
        "Mon 08:00 register -> ed\nMon 10:00 icu_requested reason=sepsis\nMon 12:00 icu_declined",
        ["Mon 10:00 void (unless)"],
    ),
    ("sepsis-icu", "Mon 08:00 register -> ed\nMon 10:00 icu_requested reason=trauma\nTue 10:00 now", []),
]

PACK_OF = {rule.id: name for name in PACKS for rule in pack(name, registry())}
CASES = [(PACK_OF[each[0]], *each) for each in (*ED, *ICU, *SEPSIS)]


@pytest.mark.parametrize(("name", "rule", "events", "expected"), CASES)
def test_a_journey_gives_these_verdicts(name, rule, events, expected):
    assert of(name, rule, events) == expected


@pytest.mark.parametrize("name", PACKS)
def test_every_rule_has_a_journey(name):
    tested = {rule for of_pack, rule, _, _ in CASES if of_pack == name}
    assert {rule.id for rule in pack(name, registry())} == tested


@pytest.mark.parametrize("name", PACKS)
def test_every_rule_says_who_answers_what_to_do_and_who_asks_for_it(name):
    silent = [rule.id for rule in pack(name, registry()) if not (rule.owner and rule.action and rule.source)]
    assert silent == []


def test_the_packs_fit_the_example_registry():
    out = io.StringIO()
    arguments = ["check", "pack:ed", "pack:icu", "pack:sepsis"]
    registry_file = str(PROJECT / "rules" / "microsystems.yaml")
    assert main([*arguments, "--microsystems", registry_file], io.BytesIO(), out, out) == 0, out.getvalue()


def test_a_septic_patient_is_warned_of_and_escalated():
    known = registry()
    found = [rule for rule in pack("sepsis", known) if rule.id == "sepsis-antimicrobial"]
    journey = "Mon 10:00 sepsis_recognised likelihood=high\nMon 11:40 antimicrobial_given"
    assert alerts(found, known, journey) == [
        "Mon 10:45 sepsis-antimicrobial firing -1",
        "Mon 11:00 sepsis-antimicrobial firing 0",
        "Mon 11:30 sepsis-antimicrobial firing 1",
        "Mon 11:40 sepsis-antimicrobial resolved 1 (late)",
    ]
