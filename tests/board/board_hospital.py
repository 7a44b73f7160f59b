"""A small hospital in a real store, served to whoever has a token."""

from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

from web import NOW, MemoryIntake, asking, parts, serving

from monitor.board.app import make_app
from monitor.board.auth import Access, Tokens
from monitor.board.desk import Desk
from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import ExpectRule, ReliabilityRule
from monitor.notify.notice import Notice
from monitor.runtime.batch import Batch, Kept
from monitor.runtime.database import StoreError
from monitor.runtime.ledger import Ledger
from monitor.runtime.reader import Reader
from monitor.runtime.store import Store

HOSPITAL = Registry.model_validate(
    {
        "microsystems": [
            {"id": "ed", "name": "Emergency", "kind": "ed", "locations": ["ED^*"]},
            {"id": "ward", "name": "Ward 4 West", "kind": "ward", "locations": ["4W^*"]},
        ]
    }
)
RULES = [
    ExpectRule.model_validate(
        {
            "id": "boarding",
            "summary": "still in the emergency department",
            "severity": "warning",
            "owner": "bed manager",
            "when": {"type": "admit"},
            "expect": {"type": "transfer"},
            "within": "4h",
        }
    ),
    ReliabilityRule.model_validate(
        {
            "id": "boarding-95",
            "summary": "too many board",
            "severity": "info",
            "reliability": {"of": ["boarding"], "target": "95%", "over": "24h", "min": 20},
        }
    ),
]
VIEWER, CLINICIAN, ADMIN = (
    {"authorization": f"Bearer the-token-of-the-{name}"} for name in ("viewer", "clinician", "admin")
)
SECRETS = ("MRN-7001", "MRN-7002", "visit-1", "m-1", "Ann")
"""What a viewer must not see: keys, visits, ids of events, attributes."""


def at(minutes):
    return NOW - timedelta(hours=10) + timedelta(minutes=minutes)


def event(number, kind, minutes, patient="MRN-7001", **fields):
    moment = at(minutes)
    given = {"source": "PAS", "encounter": "visit-1", "arrived_at": moment}
    return Event(id=f"m-{number}", type=kind, patient=patient, occurred_at=moment, **given | fields)


EVENTS = [
    event(11, "register", 0, to="ED^1^2", attributes={"name": "Ann"}),
    event(12, "admit", 10),
    event(13, "transfer", 20, to="ICU"),
    event(14, "cancel_transfer", 20, cancels="m-13", recorded_at=at(25)),
    event(15, "transfer", 260, to="4W^3^1"),
    event(16, "transfer", 270, to="4W^3^1", replaces="m-15", recorded_at=at(275)),
    event(17, "discharge", 900),
    event(18, "triage", 5, patient="MRN-7002", encounter=None),
    event(19, "merge", 300, patient="MRN-7002", encounter=None, attributes={"into": "MRN-7001"}),
    event(20, "admit", 0, patient="MRN-7003", encounter="visit-1"),
]


def verdict(trigger, patient="MRN-7001", verdict="late", **fields):
    given = {
        "encounter": "visit-1",
        "trigger_at": at(10),
        "overdue": False,
        "reason": None,
        "due_at": at(250),
        "decided_at": at(270),
        "delay_seconds": 1200.0,
        "from_": "ed",
        "to": "ward",
        "step": None,
        "evidence": ["m-15"],
        "source": "PAS",
    }
    return CaseVerdict(rule="boarding", patient=patient, trigger=trigger, verdict=verdict, **given | fields)


def notice(case, **fields):
    given = {
        "rule": case.rule,
        "severity": "warning",
        "state": "resolved" if case.verdict == "late" else "firing",
        "level": 0,
        "reason": "late" if case.verdict == "late" else None,
        "at": at(250),
        "sequence": (0, at(250), 0),
        "summary": "still in the emergency department",
        "place": "ed",
        "location": "ED^1^2",
        "patient": case.patient,
        "encounter": case.encounter,
    }
    return Notice(alert=case.case, **given | fields)


CASES = [
    verdict("m-12"),
    verdict("m-20", "MRN-7003", "open", overdue=True, decided_at=None, delay_seconds=None, evidence=[]),
]


@contextmanager
def serving_hospital(folder):
    """The application over a store in which two patients are known; tokens of all roles."""
    tokens = folder / "tokens.yaml"
    tokens.write_text(
        "tokens:\n"
        + "".join(
            f"  - {{name: {name}-1, role: {name}, token: the-token-of-the-{name}}}\n"
            for name in ("viewer", "clinician", "admin")
        )
    )
    store = Store.open(folder)
    patients = ("MRN-7001", "MRN-7003")
    notices = [
        notice(case, pseudonym=store.pseudonym(patient))
        for case, patient in zip(CASES, patients, strict=True)
    ]
    rejects = [
        Kept(
            origin="mllp",
            where="10.1.1.7",
            source="PAS",
            reason=reason,
            detail="PID-3 is empty",
            segment="PID",
            field="PID-3",
            content=b"MSH|MRN-7001",
            arrived_at=at(5),
        )
        for reason in ("no-patient", "no-time")
    ]
    store.write(Batch(clock=NOW, facts=EVENTS, verdicts=CASES, notices=notices, rejects=rejects))
    reader, ledger = Reader(folder), Ledger(folder)
    intake = MemoryIntake()
    intake.registry = HOSPITAL
    made, seen = parts(
        intake=intake,
        access=Access(Tokens(tokens)),
        desk=Desk(reader, ledger, StoreError),
        rules=lambda: RULES,
    )
    with serving(make_app(made)) as address, asking(address) as client:
        yield SimpleNamespace(
            client=client,
            address=address,
            intake=intake,
            reader=reader,
            folder=folder,
            faults=seen.faults,
            pseudonym=store.pseudonym,
        )
    reader.close()
    ledger.close()
    store.close()
