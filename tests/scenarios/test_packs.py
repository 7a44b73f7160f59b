"""Every rule of every pack, on small journeys: events in, verdicts out.

The journeys are in `packs/NAME.txt`: a line `RULE: what is shown`, below it the events of a journey, and after each `=>`
a verdict, or `no case`. Verdicts were derived by hand from the standard, never copied from what the engine says.
"""

import io
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pack_tables
import pytest
import yaml
from journey import MONDAY, PROJECT, alerts, all_rules, event, pack, pack_text, registry, verdicts

from monitor.cli import main
from monitor.core.event import rank
from monitor.core.rule import CaseRule, NeverRule
from monitor.runtime.population import evaluate
from monitor.runtime.replay import arrange, replay

PACKS = sorted(each.stem for each in (PROJECT / "rules").glob("*.yaml") if each.stem != "microsystems")
JOURNEYS = Path(__file__).with_name("packs")
KNOWN = registry()
RULES = {rule.id: (name, rule) for name in PACKS for rule in all_rules(pack_text(name), KNOWN)}
CASE_RULES = [name for name, (_, rule) in RULES.items() if isinstance(rule, CaseRule)]


class Journey(NamedTuple):
    """One journey of a pack's file."""

    pack: str
    title: str
    events: str
    expected: list[str]

    @property
    def rule(self):
        return self.title.partition(":")[0]


def journeys(name):
    for block in (JOURNEYS / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        title, *lines = [line.strip() for line in block.splitlines()]
        events = [line for line in lines if not line.startswith("=>")]
        expected = [line.removeprefix("=> ") for line in lines if line.startswith("=>")]
        assert expected, f"{name}: {title} says no verdict"
        yield Journey(name, title, "\n".join(events), [] if expected == ["no case"] else expected)


ALL = [each for name in PACKS for each in journeys(name)]


@pytest.mark.parametrize("journey", ALL, ids=[each.title for each in ALL])
def test_a_journey_gives_these_verdicts(journey):
    of_pack, rule = RULES[journey.rule]
    assert of_pack == journey.pack
    found = [line.replace(f" {rule.id}", "", 1) for line in verdicts([rule], KNOWN, journey.events)]
    assert found == journey.expected


def shown(rule):
    """What the journeys of a rule show: its verdicts, `overdue` for an open one that is late, `none` for no case."""
    for each in ALL:
        if each.rule == rule:
            yield from (line.split()[2] for line in each.expected)
            yield from ("overdue" for line in each.expected if "overdue" in line)
            yield from () if each.expected else ("none",)


@pytest.mark.parametrize("rule", CASE_RULES)
def test_every_rule_is_shown_kept_and_broken(rule):
    found = set(shown(rule))
    kept = "none" if isinstance(RULES[rule][1], NeverRule) else "met"
    assert kept in found
    assert found & {"late", "missed", "violated", "overdue"}


@pytest.mark.parametrize("rule", [each for each in CASE_RULES if getattr(RULES[each][1], "unless", [])])
def test_every_unless_is_shown(rule):
    assert "void" in set(shown(rule))


ALIKE = {
    ("ambulance-handover", "ambulance-handover-30m", "ambulance-handover-45m"): "all",
    ("ed-boarding", "ed-trolley-wait"): "all",
    ("icu-step-down", "icu-step-down-6h"): "all",
    ("psychiatric-followup-7d", "psychiatric-followup-30d"): "all",
    ("tcm-visit-high", "tcm-visit-moderate"): "expect unless same give_up",
    ("trc-discharge-information", "trc-engagement", "trc-medication"): "when unless same",
    ("trc-engagement", "trc-medication"): "give_up",
    (
        "sepsis-antimicrobial",
        "sepsis-antimicrobial-possible",
        "sepsis-lactate",
    ): "unless overlap same give_up",
    ("icu-readmission", "icu-readmission-72h"): "when forbid same",
}


@pytest.mark.parametrize(("family", "parts"), ALIKE.items(), ids=[each[0] for each in ALIKE])
def test_rules_of_one_family_are_alike(family, parts):
    names = "when expect unless same overlap give_up not_before strict" if parts == "all" else parts
    first, *others = [[getattr(RULES[rule][1], name) for name in names.split()] for rule in family]
    assert others == [first] * len(others)


def test_the_nights_of_intensive_care_differ_in_their_hours_only():
    nights = [rule.never for name, (_, rule) in RULES.items() if name.startswith("icu-night-discharge")]
    assert len(nights) == 4
    first, *others = [never.model_copy(update={"at": None}) for never in nights]
    assert others == [first] * 3


@pytest.mark.parametrize("name", PACKS)
def test_every_rule_says_who_answers_what_to_do_and_who_asks_for_it_since_when(name):
    for rule in all_rules(pack_text(name), KNOWN):
        assert rule.owner, rule.id
        assert rule.action, rule.id
        assert rule.source, rule.id
        dated = re.search(r"\b(19|20)\d\d\b|no year given; check|^local", rule.source)
        assert dated, f"{rule.id}: {rule.source}"


def test_who_is_alerted_at_once_has_a_contact_in_the_example_registry_and_by_the_same_name():
    owners = {rule.owner for _, rule in RULES.values()}
    critical = {rule.owner for _, rule in RULES.values() if rule.severity == "critical"}
    notified = {step.notify for _, rule in RULES.values() for step in getattr(rule, "escalate", [])}
    contacts = {role for each in [*KNOWN.microsystems, *KNOWN.mesosystems] for role in each.contacts}
    assert critical | notified <= contacts | {"treating doctor"}  # who that is the record says
    assert contacts <= owners | notified


def check(*arguments):
    out = io.StringIO()
    registry_file = str(PROJECT / "rules" / "microsystems.yaml")
    code = main(["check", *arguments, "--microsystems", registry_file], io.BytesIO(), out, out)
    return code, out.getvalue()


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_stands_alone(name):
    code, said = check(f"pack:{name}")
    assert code == 0
    assert said.endswith("no problems\n")


def test_all_packs_fit_together():
    code, said = check(*(f"pack:{name}" for name in PACKS))
    assert (code, said) == (0, f"{len(PACKS)} files, {len(RULES)} rules: no problems\n")


def test_the_page_of_packs_is_made_from_the_packs():
    page = PROJECT / "docs" / "reference" / "packs.md"
    if os.environ.get("UPDATE"):
        page.write_text(pack_tables.page(), encoding="utf-8")
    assert sorted(pack_tables.ORDER) == PACKS
    assert page.read_text(encoding="utf-8") == pack_tables.page()


def types(part):
    """All types of events that a part of a rule file names."""
    if isinstance(part, dict):
        named = part.get("type", [])
        yield from [named] if isinstance(named, str) else named
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from types(each)


def test_the_milestones_that_packs_use_are_those_of_the_reference():
    packs = [yaml.load(pack_text(name), yaml.BaseLoader) for name in PACKS]
    page = (PROJECT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    table = page.partition("## Milestones")[2].partition("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    used = {each for each in types(packs) if rank(each) == rank("triage")}
    assert used == {name for cell in rows for name in re.findall("`(.+?)`", cell)}


def test_a_septic_patient_is_warned_of_and_escalated():
    found = [rule for rule in pack("sepsis", KNOWN) if rule.id == "sepsis-antimicrobial"]
    journey = "Mon 10:00 sepsis_recognised likelihood=high\nMon 11:40 antimicrobial_given"
    assert alerts(found, KNOWN, journey) == [
        "Mon 10:45 sepsis-antimicrobial firing -1",
        "Mon 11:00 sepsis-antimicrobial firing 0",
        "Mon 11:30 sepsis-antimicrobial firing 1",
        "Mon 11:40 sepsis-antimicrobial resolved 1 (late)",
    ]


def populations(name, events, until):
    """What the rules of a pack about many journeys find."""
    found = all_rules(pack_text(name), KNOWN)
    taken = arrange(events, until=until, now=datetime(2026, 1, 1, tzinfo=UTC))
    cases = [rule for rule in found if isinstance(rule, CaseRule)]
    return evaluate(found, KNOWN, taken, replay(cases, KNOWN, taken))


def visits(lengths):
    """Patients who come to the emergency department a minute apart, each for so many hours of one day."""
    lines = []
    for number, hours in enumerate(lengths):
        came = MONDAY + timedelta(hours=8, minutes=number)
        lines.append(f"Mon {came:%H:%M} register -> ed patient=p{number}")
        lines.append(f"Mon {came + timedelta(hours=hours):%H:%M} discharge patient=p{number}")
    return [event(number, line) for number, line in enumerate(lines)]


def short(name, rule, events):
    """From when to when a reliability rule fell short."""
    found = populations(name, events, MONDAY + timedelta(days=1))
    [spans] = [each.short for of, each in found.reliability if of.id == rule]
    return spans


@pytest.mark.parametrize(
    ("rule", "kept", "broken"),
    [
        ("ed-four-hours-78", [4] * 78 + [5] * 22, [4] * 77 + [5] * 23),
        ("ed-four-hours-95", [4] * 95 + [5] * 5, [4] * 94 + [5] * 6),
        ("ed-twelve-hours-90", [12] * 90 + [13] * 10, [12] * 89 + [13] * 11),
    ],
)
def test_the_emergency_department_as_a_whole(rule, kept, broken):
    assert short("ed", rule, visits(kept)) == []
    assert len(short("ed", rule, visits(broken))) == 1
    assert short("ed", rule, visits(broken[1:])) == []  # too few to say


def leaving(hours):
    """Patients who came on Monday, each leaving at an hour of Tuesday."""
    lines = []
    for number, hour in enumerate(hours):
        lines.append(f"Mon 08:00 admit -> ward-4w patient=p{number}")
        lines.append(f"Tue {hour:02}:00 discharge disposition=home patient=p{number}")
    return [event(number, line) for number, line in enumerate(lines)]


def test_a_third_of_the_patients_is_home_before_midday():
    def spans(hours):
        found = populations("flow", leaving(hours), MONDAY + timedelta(days=2))
        [spans] = [each.short for _, each in found.reliability]
        return spans

    assert spans([11] * 33 + [15] * 67) == []
    assert len(spans([11] * 32 + [15] * 68)) == 1


def quiet(name, rule, text, until):
    """When an alert about silence began."""
    events = [event(number, line) for number, line in enumerate(text.strip().splitlines())]
    found = populations(name, events, MONDAY + until)
    [spans] = [spans for of, spans in found.silence if of.id == rule]
    return [f"{start:%H:%M}" for start, _ in spans]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ("Mon 10:00 transfer -> ward-4w", []),
        ("Mon 07:00 transfer -> ward-4w", []),
        ("Mon 02:00 transfer -> ward-4w", ["10:00"]),
        ("Mon 06:30 transfer -> ward-4w", ["10:30"]),
        ("Mon 09:00 transfer -> amu", ["10:00"]),  # the assessment unit is where they come from
        ("Mon 09:00 admit -> ward-5s", ["10:00"]),  # a planned operation
        ("Mon 09:00 pending_transfer -> ward-4w", ["10:00"]),  # ordered, not there
    ],
)
def test_the_first_patient_is_on_a_ward_by_ten(moves, expected):
    text = f"Mon 00:10 admit -> ward-4w\n{moves}"
    assert quiet("flow", "flow-first-patient-by-ten", text, timedelta(hours=11)) == expected


@pytest.mark.parametrize(("last", "expected"), [("08:01", []), ("08:00", ["11:00"]), ("04:00", ["09:00"])])
def test_an_emergency_department_where_nobody_registers_has_lost_its_feed(last, expected):
    text = f"Mon {last} register -> ed"
    until = timedelta(hours=11, seconds=1)
    assert quiet("data-quality", "data-nobody-registers", text, until) == expected
