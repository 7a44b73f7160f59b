"""`docker-compose.yml`, started as compose would on a real Kafka: what each service is told is what it takes."""

import sys
from pathlib import Path

import pytest
from watched import OnKafka

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from by_hand import answer, eventually
from compose import WHOLE, services
from test_watching import DASHBOARD, asked

pytestmark = pytest.mark.acceptance
WORKERS = ("worker#1", "worker#2")
ON_KAFKA = {
    "Partitions of each worker",
    "Records that wait for each worker",
    "Last recovery",
    "What went wrong on the stream, in the hour before",
    "Overdue",
    "Deliveries",
    "Last heard",
    "Ready",
}
"""Panels to which more than one kind of service has something to say."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with OnKafka(WHOLE, tmp_path_factory.mktemp("whole"), WORKERS) as stack:
        stack.start_kafka()
        stack.run("keys")
        stack.run("topics")
        stack.up("alertmanager", "prometheus", "ingest", "notify", *WORKERS)
        stack.start("hospital")
        eventually(lambda: "messages sent in" in stack.said("hospital"), lambda: stack.said("hospital"))
        yield stack


def test_topics_that_are_there_are_left_as_they_are(stack):
    made = stack.said("topics")
    assert made.count(" made\n") == 5
    stack.run("topics")
    assert stack.said("topics").removeprefix(made) == "5 topics, all as they have to be\n"


def test_the_hospital_is_heard(stack):
    assert " AA" in stack.said("hospital")
    assert "HTTP Error" not in stack.said("hospital")
    eventually(
        lambda: len(stack.value("sum by (source) (handoff_events_total) > 100")) == 2,
        lambda: f"{stack.value('sum by (source) (handoff_events_total)')}",
    )


def test_prometheus_reads_every_service(stack):
    targets = eventually(
        lambda: [
            (each["labels"]["job"], each["health"])
            for each in stack.asked("/api/v1/targets")["activeTargets"]
            if each["health"] != "unknown"
        ],
        lambda: "no targets",
    )
    assert sorted(each for each in targets if each[1] == "up") == sorted(
        (name, "up")
        for name in (
            "alertmanager",
            "handoff-ingest",
            "handoff-notify",
            "prometheus",
            *("handoff-worker" for _ in WORKERS),
        )
    )


def test_there_are_as_many_workers_as_are_started_here():
    assert services(WHOLE)["worker"]["deploy"] == {"replicas": f"{len(WORKERS)}"}


def test_the_workers_share_all_partitions_and_judge(stack):
    eventually(
        lambda: stack.value("sum(handoff_partitions) == 12"), lambda: f"{stack.value('handoff_partitions')}"
    )
    eventually(
        lambda: (
            len(stack.value('sum by (instance) (handoff_partitions{job="handoff-worker"}) > 0'))
            == len(WORKERS)
        ),
        lambda: f"{stack.value('handoff_partitions')}",
    )
    eventually(lambda: stack.value("sum(handoff_cases_total) > 100"), lambda: "no cases")
    eventually(lambda: stack.value("sum(handoff_overdue_cases) > 0"), lambda: "nothing is overdue")


def test_alerts_about_patients_reach_alertmanager_and_are_grouped_by_place(stack):
    groups = eventually(
        lambda: [each for each in stack.groups("patients.*") if "place" in each["labels"]],
        lambda: "no alert about a patient",
    )
    for group in groups:
        assert set(group["labels"]) == {"receiver", "place"}
        assert all(alert["labels"]["place"] == group["labels"]["place"] for alert in group["alerts"])


@pytest.mark.parametrize(
    "panel",
    [each for each in DASHBOARD["panels"] if each["title"] in ON_KAFKA],
    ids=lambda panel: panel["title"],
)
def test_panels_about_kafka_show_something(stack, panel):
    for query in asked(panel, "10s"):
        eventually(lambda query=query: stack.value(query), lambda query=query: f"nothing for {query}")


def test_only_the_watchdog_fires_about_a_monitor_that_is_well(stack):
    firing = stack.value('ALERTS{alertname=~"Handoff.+",alertstate="firing"}')
    assert [labels["alertname"] for labels, _ in firing] == ["HandoffWatchdog"]


def test_nobody_asks_without_a_token(stack):
    assert answer(f"{stack.url('notify')}/api/alerts")[0] == 401


def test_every_service_ends_well_when_it_is_stopped(stack):
    for name in (*WORKERS, "notify", "ingest"):
        assert stack.stop(name) == 0, stack.said(name)[-3000:]
