"""What goes wrong around the live service loses nothing, tells nothing twice, and does not stop the rest."""

from datetime import UTC, datetime, timedelta

import pytest
from living import Service

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import RuleFile

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture
def serve(tmp_path):
    """Begins a service with some rules and a registry; its plug is pulled at the end."""
    services = []

    def begin(rules, registry=Registry()):  # noqa: B008 - nobody changes it
        services.append(Service(tmp_path / "data", rules, registry, START))
        return services[-1]

    yield begin
    for service in services:
        service.pull_the_plug()


def rule(**fields):
    return RuleFile.model_validate(
        {"rules": [{"id": "r", "summary": "s", "severity": "warning", **fields}]}
    ).rules[0]


def event(id_, kind, patient="p", at=START, **fields):
    return Event(id=id_, type=kind, patient=patient, occurred_at=at, **fields)


ARRIVES = {"when": {"type": "depart"}, "expect": {"type": "arrive"}, "within": "30m"}


def test_hours_in_which_a_feed_was_heard_all_the_time_are_no_silence_after_a_restart(serve):
    registry = Registry.model_validate({"sources": {"PAS": {"silent_after": "15m"}}})
    service = serve([rule(**ARRIVES)], registry)
    service.take(event("1", "depart", source="PAS"))
    for number in range(200):
        service.now += timedelta(seconds=20)
        service.take(event(str(number), "update", "q", service.now, source="PAS"))
    service.settle()
    before = service.live._engine.stands("p")
    service.pull_the_plug()
    service.start()
    service.settle()
    assert service.live._engine.stands("p") == before
    assert [each.at for each in service.notices()] == [START + timedelta(minutes=30)]
