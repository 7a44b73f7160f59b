"""The made-up week: its files are the story, and each patient's trouble is told as it should be."""

import re
from datetime import UTC, datetime

import pytest
import week as story
from journey import PROJECT, pack, registry

from monitor.ingest.files import read
from monitor.runtime.replay import arrange, replay


@pytest.fixture(scope="module")
def week():
    known = registry()
    found = [rule for name in ("ed", "ed-us", "icu", "sepsis") for rule in pack(name, known)]
    files = [str(story.WEEK / name) for name in ("adt.hl7", "milestones.jsonl")]
    events = [event for _, _, messages in read(files, known, None, None) for event in messages]
    until = datetime(2025, 3, 10, tzinfo=UTC)
    return replay(found, known, arrange(events, until=until, now=until))


def verdict_of(week, patient, rule):
    return [case.verdict for case in week.verdicts if (case.patient, case.rule) == (patient, rule)]


def reasons(week, patient, rule):
    """How the alerts of a patient ended."""
    changes = [change for change in week.alerts if change.rule == rule and change.state == "resolved"]
    alerts = {case.case for case in week.verdicts if (case.patient, case.rule) == (patient, rule)}
    return [change.reason for change in changes if change.alert in alerts or change.patient == patient]


@pytest.mark.parametrize("name", ["adt.hl7", "milestones.jsonl"])
def test_the_files_are_the_story(name):
    assert (story.WEEK / name).read_text(encoding="utf-8") == story.files()[name]


@pytest.mark.parametrize(
    ("patient", "rule", "verdict"),
    [
        ("101", "ed-four-hours", "met"),
        ("102", "ed-boarding", "late"),
        ("103", "sepsis-antimicrobial", "met"),
        ("103", "icu-step-down", "late"),
        ("104", "sepsis-antimicrobial-possible", "late"),
        ("104", "sepsis-cultures-first", "violated"),
        ("105", "sepsis-antimicrobial", "missed"),
        ("105", "sepsis-icu", "late"),
        ("106", "ed-trolley-wait", "late"),
        ("107", "ed-boarding", "open"),
        ("109", "icu-night-discharge", "violated"),
        ("109", "icu-readmission", "violated"),
        ("113", "ed-boarding", "met"),
        ("114", "ed-triage", "met"),
        ("116", "ed-four-hours", "late"),
        ("118", "ed-room", "missed"),
    ],
)
def test_each_trouble_is_seen(week, patient, rule, verdict):
    assert verdict_of(week, patient, rule) == [verdict]


def test_what_was_cancelled_is_withdrawn(week):
    assert verdict_of(week, "108", "icu-night-discharge") == []
    assert reasons(week, "108", "icu-night-discharge") == ["withdrawn"]


def test_what_was_in_time_and_charted_late_is_said_to_be_so(week):
    assert reasons(week, "110", "ed-boarding") == ["charted_late"]
    assert verdict_of(week, "110", "ed-boarding") == ["met"]


def test_what_was_charted_under_two_numbers_is_met_once_they_are_merged(week):
    assert verdict_of(week, "T901", "sepsis-antimicrobial") == []
    assert verdict_of(week, "112", "sepsis-antimicrobial") == ["met"]
    assert reasons(week, "112", "sepsis-antimicrobial") == ["charted_late"]


def test_what_was_sent_twice_counts_once(week):
    assert week.counts["duplicates"] == 4
    assert verdict_of(week, "111", "ed-triage") == ["met"]


def test_planned_surgery_and_the_test_patient_alert_no_one(week):
    assert not [change for change in week.alerts if change.patient in ("115", "999")]


def test_rules_in_shadow_alert_no_one(week):
    shadows = re.findall(r"- id: (\S+)\n(?:    .*\n)*?    mode: shadow", all_packs())
    assert shadows
    assert not [change for change in week.alerts if change.rule in shadows]


def all_packs():
    return "".join(
        (PROJECT / "rules" / f"{name}.yaml").read_text() for name in ("ed", "ed-us", "icu", "sepsis")
    )
