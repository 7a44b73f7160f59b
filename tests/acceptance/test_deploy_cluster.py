"""`docker-compose.yml`, started as compose would on a real Kafka: what each service is told is what it takes."""

import sys
from pathlib import Path

import pytest
from watched import OnKafka

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from by_hand import answer, eventually
from compose import WHOLE

pytestmark = pytest.mark.acceptance
WORKERS = ()


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
    eventually(lambda: stack.value("sum(handoff_events_total) > 500"), lambda: "no events")


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


def test_nobody_outside_of_the_container_posts_without_a_token(stack):
    assert answer(f"{stack.url('ingest')}/api/alerts")[0] in (401, 404)


def test_every_service_ends_well_when_it_is_stopped(stack):
    for name in (*WORKERS, "notify", "ingest"):
        assert stack.stop(name) == 0, stack.said(name)[-3000:]
