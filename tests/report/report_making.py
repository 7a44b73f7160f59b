"""Cases, alerts and stays for the tests of the report, written short: times are minutes after a Monday midnight in UTC."""

from datetime import UTC, datetime, timedelta

from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.journey import Stay
from monitor.core.place import Registry
from monitor.rulefile.load import load_rules

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)

REGISTRY = Registry.model_validate(
    {
        "timezone": "UTC",
        "microsystems": [
            {"id": "ed", "name": "Emergency department", "kind": "ed", "locations": ["ED"]},
            {"id": "icu", "name": "Intensive care", "kind": "icu", "locations": ["ICU"]},
            {"id": "w1", "name": "Ward 1, medicine", "kind": "ward", "locations": ["W1"]},
            {"id": "w2", "name": "Ward 2", "kind": "ward", "locations": ["W2"]},
        ],
    }
)


def at(minutes):
    return MONDAY + timedelta(minutes=minutes)


def rules_of(text):
    rules, problems = load_rules([("rules.yaml", f"rules:\n{text}".encode())])
    assert problems == []
    return rules


def case(rule, verdict, trigger=0, due=60, decided=None, patient="p", **fields):
    """A case; `late` has the delay that follows from `due` and `decided`."""
    late = verdict == "late"
    made = {
        "encounter": "v",
        "trigger": f"{rule}-{patient}-{trigger}",
        "reason": None,
        "from_": None,
        "to": None,
        "step": None,
        "evidence": [],
        "source": "",
        "overdue": False,
    } | fields
    return CaseVerdict(
        rule=rule,
        patient=patient,
        verdict=verdict,
        trigger_at=at(trigger),
        due_at=None if due is None else at(due),
        decided_at=None if decided is None else at(decided),
        delay_seconds=60.0 * (decided - due) if late else None,
        **made,
    )


def change(of, minutes, state="firing", level=0, reason=None):
    """A change of the alert of a case, or of the alert of that rule's name."""
    rule, alert, due_at = (of, of, None) if isinstance(of, str) else (of.rule, of.case, of.due_at)
    moment = at(minutes)
    return AlertChange(
        alert, rule, "warning", state, level, reason, moment, "p", None, due_at, (0, moment, 0), "summary"
    )


def stay(place, entered, left=None, to=None, from_=None, patient="p", encounter="v"):
    return Stay(patient, encounter, place, None, at(entered), None if left is None else at(left), from_, to)
