"""Events, cases and alerts to store."""

from datetime import UTC, datetime, timedelta

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.notify.notice import Notice
from monitor.runtime.batch import Kept

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def fact(number, patient="7001", **fields):
    """The event of that number, which happened and arrived so many seconds after the start."""
    defaults = {"type": "transfer", "occurred_at": at(number), "arrived_at": at(number), "source": "PAS"}
    return Event(id=f"m-{number}", patient=patient, **(defaults | fields))


def case(number, patient="7001", verdict="open", *, rule="ed-four-hours", **fields):
    defaults = {
        "encounter": None,
        "trigger": f"m-{number}",
        "trigger_at": at(number),
        "overdue": False,
        "reason": None,
        "due_at": at(number + 60),
        "decided_at": None,
        "delay_seconds": None,
        "from_": "ed",
        "to": "ward-4w",
        "step": None,
        "evidence": [],
        "source": "PAS",
    }
    return CaseVerdict(rule=rule, patient=patient, verdict=verdict, **(defaults | fields))


def notice(alert, number=0, patient="7001", **fields):
    defaults = {
        "rule": "ed-four-hours",
        "severity": "warning",
        "state": "firing",
        "level": 0,
        "reason": None,
        "at": at(number),
        "sequence": (0, at(number), 0),
        "summary": "left the emergency department within four hours",
        "place": "ed",
    }
    return Notice(alert=alert, patient=patient, **(defaults | fields))


def kept(number, reason="no-patient", content=b"MSH|^~\\&|PAS", **fields):
    defaults = {
        "origin": "mllp",
        "where": "10.1.1.7",
        "source": "PAS",
        "detail": "PID-3 is empty",
        "field": "PID-3",
    }
    return Kept(reason=reason, content=content, arrived_at=at(number), **(defaults | fields))
