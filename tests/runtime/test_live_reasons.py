"""What is kept of a case is how the facts have it, also where only the reason has changed."""

from datetime import UTC, datetime, timedelta

from living import Service

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import RuleFile

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
RULES = RuleFile.model_validate(
    {
        "rules": [
            {
                "id": "triage",
                "summary": "not triaged",
                "severity": "warning",
                "when": {"type": "register"},
                "expect": {"type": "triage"},
                "within": "15m",
                "give_up": "4h",
                "unless": {"type": "discharge"},
            }
        ]
    }
).rules


def event(id_, type_, minutes):
    return Event(id=id_, type=type_, patient="7001", occurred_at=START + timedelta(minutes=minutes))


def test_a_case_that_was_given_up_is_abandoned_once_that_is_heard(tmp_path):
    service = Service(tmp_path / "data", RULES, Registry(), START)
    try:
        service.take(event("r", "register", 0))
        service.wait(hours=5)
        assert [each[5] for each in service.verdicts()] == ["gave_up"]
        service.take(event("d", "discharge", 60))
        service.settle()
        assert [each[5] for each in service.verdicts()] == ["abandoned"]
        assert service.verdicts() == service.replayed()[0]
    finally:
        service.pull_the_plug()


def test_a_deadline_that_waits_for_a_leave_is_kept_as_it_is(tmp_path):
    rule = {
        "id": "stay",
        "summary": "too long",
        "severity": "info",
        "stay": "ward",
        "at_most": "2h",
        "pause": "leave",
    }
    rules = RuleFile.model_validate({"rules": [rule]}).rules
    service = Service(tmp_path / "data", rules, Registry(), START)
    try:
        admitted = event("a", "admit", 0)
        admitted.encounter, admitted.to = "V1", "ward"
        service.take(admitted)
        service.settle()
        assert service.verdicts() == service.replayed()[0]
        for minutes, type_ in ((30, "leave"), (60, "return")):
            moved = event(type_, type_, minutes)
            moved.encounter = "V1"
            service.now = START + timedelta(minutes=minutes)
            service.take(moved)
            service.settle()
            assert service.verdicts() == service.replayed()[0]
    finally:
        service.pull_the_plug()
