"""`deploy/single`, started as compose would: the real service, its hospital, the real Prometheus and Alertmanager, each panel asked for."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from watched import Watched

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from by_hand import answer, eventually
from compose import SINGLE
from test_watching import DASHBOARD, asked, rules

pytestmark = pytest.mark.acceptance


def stay(number, now):
    """A patient who came two hours ago, was seen in time, and left."""
    told = (
        ("register", 120, {"to": "ED^WR^1^RGH"}),
        ("triage", 112, {}),
        ("roomed", 100, {}),
        ("discharge", 20, {}),
    )
    for type_, minutes, more in told:
        yield json.dumps(
            {
                "id": f"{number}-{type_}",
                "type": type_,
                "source": "EPR",
                "patient": f"new-{number}",
                "encounter": f"v-{number}",
                "occurred_at": (now - timedelta(minutes=minutes)).isoformat(),
                "attributes": {"class": "E"},
            }
            | more
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """All of it, after the hospital has told of yesterday, and some more patients have come and gone since."""
    with Watched(SINGLE, tmp_path_factory.mktemp("single")) as stack:
        stack.place("handoff", 8080, 2575)
        stack.up("alertmanager", "prometheus", "handoff")
        stack.start("hospital")
        eventually(lambda: "messages sent in" in stack.said("hospital"), lambda: stack.said("hospital"))
        eventually(lambda: stack.value("sum(handoff_cases_total) > 100"), lambda: "no cases")
        lines = [line for number in range(30) for line in stay(number, datetime.now(UTC))]
        status, body = answer(f"{stack.url('handoff')}/events", "\n".join(lines).encode())
        assert (status, json.loads(body)["accepted"]) == (202, 120), body
        eventually(
            lambda: stack.value('increase(handoff_cases_total{verdict="met"}[1h]) > 0'), lambda: "no case met"
        )
        yield stack


def test_prometheus_reads_the_service_and_itself(stack):
    def targets():
        found = stack.asked("/api/v1/targets")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in found}

    expected = {"handoff-run": "up", "prometheus": "up", "alertmanager": "up", "grafana": "down"}
    eventually(lambda: targets() == expected, lambda: f"{targets()}")


def test_every_rule_is_evaluated_without_an_error(stack):
    eventually(
        lambda: all(
            rule["health"] == "ok" and rule["evaluationTime"]
            for group in stack.asked("/api/v1/rules")["groups"]
            for rule in group["rules"]
        ),
        lambda: f"{stack.asked('/api/v1/rules')}",
    )
    groups = stack.asked("/api/v1/rules")["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {
        rule.get("alert") or rule["record"] for rule in rules()
    }


SILENT = {
    "How late what came late came (9 of 10 within)",
    "Rejects in the hour before",
    "Lost on the way, in the hour before",
    "Locations that no microsystem owns",
    "Alerts about the monitor",
    "Outbox",
    "Partitions of each worker",
}
"""Panels that are empty while all is well, or while nothing new came late since Prometheus looks."""


@pytest.mark.parametrize(
    "panel", [each for each in DASHBOARD["panels"] if each["type"] != "row"], ids=lambda panel: panel["title"]
)
def test_every_panel_can_be_asked_for_and_shows_something(stack, panel):
    for query in asked(panel, "10s"):
        if panel["title"] in SILENT:
            stack.value(query)
        else:
            eventually(lambda query=query: stack.value(query), lambda query=query: f"nothing for {query}")


def test_a_share_is_between_nothing_and_all_and_goes_with_its_number_of_cases(stack):
    shares = eventually(lambda: stack.value("rule:handoff_cases_met:ratio1d"), lambda: "no shares")
    decided = {
        labels["rule"]: value for labels, value in stack.value("rule:handoff_cases_decided:increase1d")
    }
    assert all(0 <= value <= 1 and decided[labels["rule"]] > 0 for labels, value in shares)


def test_alerts_about_patients_reach_alertmanager_and_are_grouped_by_place(stack):
    groups = eventually(
        lambda: [each for each in stack.groups("patients.*") if "place" in each["labels"]],
        lambda: "no alert about a patient",
    )
    for group in groups:
        assert set(group["labels"]) == {"receiver", "place"}
        assert all(alert["labels"]["place"] == group["labels"]["place"] for alert in group["alerts"])


def test_only_the_watchdog_fires_about_a_monitor_that_is_well(stack):
    firing = eventually(
        lambda: stack.value('ALERTS{alertname=~"Handoff.+",alertstate="firing"}'), lambda: "none fires"
    )
    assert [labels["alertname"] for labels, _ in firing] == ["HandoffWatchdog"]
    [group] = eventually(lambda: stack.groups("watchdog"), lambda: stack.said("prometheus")[-3000:])
    assert [alert["labels"]["alertname"] for alert in group["alerts"]] == ["HandoffWatchdog"]


def test_a_service_that_is_stopped_ends_well_and_prometheus_says_so(stack):
    assert stack.stop("handoff") == 0
    eventually(lambda: stack.value('up{job="handoff-run"} == 0'), lambda: "it seems to be up")
    eventually(
        lambda: stack.value('ALERTS{alertname="HandoffDown",alertstate="pending"}'),
        lambda: "nothing is pending",
    )
