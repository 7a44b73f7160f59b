"""`handoff plan` says what a reload would do to cases and alerts, and does nothing."""

import argparse
import asyncio
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from monitor.cli import main
from monitor.commands import plan
from monitor.commands.streams import Failed, Streams
from monitor.core.engine import Engine
from monitor.core.event import Event, canonical_bytes
from monitor.core.rule import CaseRule
from monitor.runtime.batch import Batch
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import FILE
from monitor.runtime.rules import load
from monitor.runtime.service import Service
from monitor.runtime.store import Store
from monitor.settings import Settings

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
REGISTRY = "microsystems: [{id: ed, locations: [ED^*]}, {id: icu, locations: [ICU^*]}]\n"
BOARDING = """
  - id: boarding
    summary: s
    severity: warning
    when: {type: decision_to_admit}
    expect: {type: admit}
    within: %s
"""
NEVER = "  - {id: falls, summary: s, severity: info, never: {type: fall}}\n"


def event(hours, kind, patient, **fields):
    at = START + timedelta(hours=hours)
    return Event(
        id=f"{patient}-{kind}-{hours}", type=kind, patient=patient, occurred_at=at, arrived_at=at, **fields
    )


EVENTS = [
    event(0, "decision_to_admit", "p-late", from_="ED^1"),
    event(0, "decision_to_admit", "p-waiting", from_="ED^2"),
    event(0, "decision_to_admit", "p-missing", from_="XRAY^1"),
    event(2, "decision_to_admit", "p-temporary", from_="ED^4"),
    event(3, "admit", "p-late", to="ICU^1"),
    event(4, "fall", "p-late"),
    event(5, "merge", "p-temporary", attributes={"into": "p-waiting"}),
    event(5, "decision_to_admit", "p-fresh", from_="ED^3"),
]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "microsystems.yaml").write_text(REGISTRY)
    (tmp_path / "events.jsonl").write_bytes(b"".join(canonical_bytes(each) + b"\n" for each in EVENTS))
    for name, rules in {
        "old": BOARDING % "4h",
        "new": BOARDING % "6h",
        "both": BOARDING % "4h" + NEVER,
        "falls": NEVER,
        "short": BOARDING % "2h",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(
            f"rules:{rules}" if rules.startswith("\n") else f"rules:\n{rules}"
        )
    store = Store.open(tmp_path / "data")
    store.write(Batch(clock=START + timedelta(hours=5), facts=EVENTS))
    store.close()
    return tmp_path


def run(*argv):
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    out, err = io.StringIO(), io.StringIO()
    args = parser.parse_args([*argv, "--microsystems", "microsystems.yaml"])
    code = plan.run(args, Streams(io.BytesIO(), out, err))
    return code, out.getvalue(), err.getvalue()


def planned(*argv):
    code, out, _ = run(*argv, "--format", "json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(params=[("--data", "data"), ("--events", "events.jsonl")], ids=["store", "files"])
def journeys(request):
    return request.param


def test_the_same_rules_change_nothing(disk, journeys):
    found = planned("old.yaml", "old.yaml", *journeys)
    assert found["changes"] is False
    assert (found["patients"], found["events"], found["clock"]) == (5, 8, "2026-03-02T13:00:00.000000Z")
    assert found["rules"][0]["cases"] == {"before": 5, "after": 5}
    assert found["rules"][0]["alerts"] == {"fire": 0, "resolve": {}, "change": 0, "stay": 2}


def test_an_alert_that_is_over_is_no_news(disk, journeys):
    rules = {each["rule"]: each for each in planned("short.yaml", "falls.yaml", *journeys)["rules"]}
    assert {"from": "late", "to": "none", "cases": 1} in rules["boarding"]["verdicts"]
    assert rules["boarding"]["alerts"] == {"fire": 0, "resolve": {"withdrawn": 3}, "change": 0, "stay": 0}


def test_a_higher_level_is_a_change(disk, journeys):
    (disk / "climbs.yaml").write_text("rules:" + BOARDING % "4h" + "    escalate: [{after: 10m}]\n")
    (rule,) = planned("old.yaml", "climbs.yaml", *journeys)["rules"]
    assert rule["alerts"] == {"fire": 0, "resolve": {}, "change": 2, "stay": 0}


def test_another_severity_is_a_change(disk, journeys):
    (disk / "grave.yaml").write_text("rules:" + (BOARDING % "4h").replace("warning", "critical"))
    (rule,) = planned("old.yaml", "grave.yaml", *journeys)["rules"]
    assert rule["alerts"] == {"fire": 0, "resolve": {}, "change": 2, "stay": 0}


def test_a_longer_limit_withdraws_alerts(disk, journeys):
    (rule,) = planned("old.yaml", "new.yaml", *journeys)["rules"]
    assert (rule["fate"], rule["keys"]) == ("changed", ["within"])
    assert rule["verdicts"] == [{"from": "overdue", "to": "open", "cases": 2}]
    assert rule["alerts"] == {"fire": 0, "resolve": {"withdrawn": 2}, "change": 0, "stay": 0}


def test_a_shorter_limit_fires_them(disk, journeys):
    (rule,) = planned("new.yaml", "old.yaml", *journeys)["rules"]
    assert rule["verdicts"] == [{"from": "open", "to": "overdue", "cases": 2}]
    assert rule["alerts"] == {"fire": 2, "resolve": {}, "change": 0, "stay": 0}


def test_a_new_rule_and_one_that_is_removed_are_told(disk, journeys):
    rules = {each["rule"]: each for each in planned("old.yaml", "both.yaml", *journeys)["rules"]}
    assert (rules["falls"]["fate"], rules["boarding"]["fate"]) == ("new", "same")
    assert rules["falls"]["verdicts"] == [{"from": "none", "to": "violated", "cases": 1}]
    assert (rules["falls"]["alerts"]["fire"], rules["boarding"]["alerts"]["stay"]) == (1, 2)
    rules = {each["rule"]: each for each in planned("both.yaml", "old.yaml", *journeys)["rules"]}
    assert rules["falls"]["verdicts"] == [{"from": "violated", "to": "none", "cases": 1}]
    assert rules["falls"]["cases"] == {"before": 1, "after": 0}
    assert rules["falls"]["alerts"]["resolve"] == {"withdrawn": 1}


def test_locations_that_go_elsewhere_are_told(disk, journeys):
    (disk / "before.yaml").write_text("microsystems: [{id: ed, locations: [ED^*, XRAY^*]}, {id: icu}]\n")
    found = planned("old.yaml", "old.yaml", *journeys, "--microsystems-old", "before.yaml")
    assert found["changes"] is True
    assert found["locations"] == [
        {"location": "ICU^1", "from": None, "to": "icu", "events": 1},
        {"location": "XRAY^1", "from": "ed", "to": None, "events": 1},
    ]


def test_people_read_it_rule_by_rule(disk):
    assert run("old.yaml", "new.yaml,pack:transit", "--data", "data")[1].startswith(
        "as of 2026-03-02T13:00:00.000000Z: 5 patients, 8 events\n"
        "\n"
        "boarding (changed: within)\n"
        "  cases     5 before, 5 after\n"
        "  verdicts  2 overdue to open\n"
        "  alerts    2 would be resolved (withdrawn)\n"
    )
    assert run("old.yaml", "old.yaml", "--data", "data")[1].endswith(
        "\nnothing changes: 1 rule\n\nalerts: 0 would fire, 0 would be resolved, 2 stay as they are\n"
    )


def test_nobody_is_named_and_nothing_is_written(disk):
    before = (disk / "data" / FILE).read_bytes()
    _, out, err = run("old.yaml", "new.yaml", "--data", "data")
    words = set((out + err).replace(",", " ").split())
    assert words.isdisjoint({each.patient for each in EVENTS})
    assert (disk / "data" / FILE).read_bytes() == before


def test_while_the_service_runs_it_can_be_asked(disk):
    store = Store.open(disk / "data")
    try:
        assert planned("old.yaml", "new.yaml", "--data", "data")["changes"] is True
    finally:
        store.close()


def test_without_a_registry_that_of_the_service_is_taken(disk):
    loaded, _ = load(["old.yaml"], "microsystems.yaml")
    settings = Settings(data="data", rules=["old.yaml"], microsystems="microsystems.yaml")
    asyncio.run(Service(settings, loaded, LiveClock()).stop())
    (disk / "in-icu.yaml").write_text("rules:\n" + NEVER.replace("fall}", "admit, to: icu}"))
    command = ["plan", "in-icu.yaml", "in-icu.yaml", "--data", "data"]
    out, err = io.StringIO(), io.StringIO()
    assert main(command, io.BytesIO(), out, err) == 0
    assert out.getvalue().endswith("alerts: 0 would fire, 0 would be resolved, 1 stay as they are\n")
    assert err.getvalue() == f"handoff: with the registry of the service: {disk / 'microsystems.yaml'}\n"
    (disk / "microsystems.yaml").unlink()
    assert main(command, io.BytesIO(), out, err) == 3
    assert "is not here: name it with --microsystems" in err.getvalue()


def test_rules_that_are_wrong_end_it_with_their_problems(disk):
    (disk / "new.yaml").write_text("rules: [{id: x}]")
    with pytest.raises(Failed) as failed:
        run("old.yaml", "new.yaml", "--data", "data")
    assert failed.value.code == 1


@pytest.mark.parametrize("data", ["nowhere", "."])
def test_a_directory_without_a_store_is_told(disk, data):
    with pytest.raises(Failed) as failed:
        run("old.yaml", "new.yaml", "--data", data)
    assert failed.value.code == 3
    assert "Traceback" not in failed.value.text


def test_on_a_simulated_hospital_it_is_what_a_replay_of_both_rules_differs_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    streams = io.BytesIO(), io.StringIO(), io.StringIO()
    assert main(["simulate", "--seed", "4", "--days", "3", "--wards", "1", "--out", "h"], *streams) == 0
    old, _ = load(["pack:flow", "pack:transit", "pack:discharge"], "h/microsystems.yaml")
    new, _ = load(["pack:ed", "pack:transit", "pack:discharge-us"], "h/microsystems.yaml")
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    out = io.StringIO()
    rules = ("pack:flow,pack:transit,pack:discharge", "pack:ed,pack:transit,pack:discharge-us")
    journeys = ("--events", "h/events.jsonl", "--microsystems", "h/microsystems.yaml")
    args = parser.parse_args([*rules, *journeys, "--format", "json"])
    assert plan.run(args, Streams(io.BytesIO(), out, io.StringIO())) == 0
    found = json.loads(out.getvalue())
    lines = (tmp_path / "h" / "events.jsonl").read_text().splitlines()

    def stands(loaded):
        events = sorted((json.loads(line) for line in lines), key=lambda each: each["arrived_at"])
        engine = Engine([rule for rule in loaded.rules if isinstance(rule, CaseRule)], loaded.registry)
        for each in events:
            engine.observe(msgspec.convert(each, Event))
        engine.advance(datetime.fromisoformat(found["clock"]))
        verdicts = {
            each.case: (each.rule, "overdue" if each.overdue else each.verdict) for each in engine.verdicts()
        }
        return verdicts, {each.alert: each.rule for each in engine.alerts() if each.state == "firing"}

    (before, firing_before), (after, firing_after) = stands(old), stands(new)
    nothing = ("", "none")
    expected = Counter(
        (
            (before.get(case) or after[case])[0],
            before.get(case, nothing)[1],
            after.get(case, nothing)[1],
        )
        for case in before.keys() | after.keys()
        if before.get(case, nothing)[1] != after.get(case, nothing)[1]
    )
    told = {
        (rule["rule"], each["from"], each["to"]): each["cases"]
        for rule in found["rules"]
        for each in rule["verdicts"]
    }
    assert told == expected
    assert len(told) > 20
    assert firing_after.keys() - firing_before.keys()
    assert sum(rule["alerts"]["fire"] for rule in found["rules"]) == len(
        firing_after.keys() - firing_before.keys()
    )
    assert sum(rule["alerts"]["stay"] for rule in found["rules"]) == len(
        firing_after.keys() & firing_before.keys()
    )
    assert sum(sum(rule["alerts"]["resolve"].values()) for rule in found["rules"]) == len(
        firing_before.keys() - firing_after.keys()
    )
