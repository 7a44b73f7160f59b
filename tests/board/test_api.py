"""Questions to a real store over a real server: what is shown to whom, page by page, and that it is written down."""

from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest
from web import NOW, MemoryIntake, parts, serving

from monitor.board.app import make_app
from monitor.board.auth import Access, Tokens
from monitor.board.desk import Desk
from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import ExpectRule, ReliabilityRule
from monitor.notify.notice import Notice
from monitor.runtime.batch import Batch
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


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
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
    store.write(Batch(clock=NOW, facts=EVENTS, verdicts=CASES, notices=notices))
    reader, ledger = Reader(folder), Ledger(folder)
    intake = MemoryIntake()
    intake.registry = HOSPITAL
    made, seen = parts(
        intake=intake,
        access=Access(Tokens(tokens)),
        desk=Desk(reader, ledger, StoreError),
        rules=lambda: RULES,
    )
    with serving(make_app(made)) as address, httpx.Client(base_url=address) as client:
        yield SimpleNamespace(
            client=client, reader=reader, folder=folder, faults=seen.faults, pseudonym=store.pseudonym
        )
    reader.close()
    ledger.close()
    store.close()


def ask(served, path, who=CLINICIAN):
    answer = served.client.get(path, headers=who)
    assert (answer.status_code, served.faults) == (200, [])
    return answer.json()


def audited(served):
    return [(line.who, line.role, line.action, line.what) for line in served.reader.audited()]


def test_a_clinician_sees_patients(served):
    [firing, resolved] = ask(served, "/api/alerts")["alerts"]
    assert (firing["state"], firing["patient"], firing["encounter"]) == ("firing", "MRN-7003", "visit-1")
    assert (resolved["state"], resolved["reason"], resolved["patient"]) == ("resolved", "late", "MRN-7001")
    [first, second] = ask(served, "/api/verdicts")["verdicts"]
    assert (first["overdue"], first["verdict"], first["patient"]) == (True, "open", "MRN-7003")
    assert (second["delay_seconds"], second["evidence"], second["case"]) == (1200, ["m-15"], CASES[0].case)


@pytest.mark.parametrize(
    "path", ["/api/alerts", "/api/alerts/{alert}", "/api/verdicts", "/api/journeys/{journey}"]
)
def test_a_viewer_sees_pseudonyms_places_and_beds_and_nothing_that_names_a_patient(served, path):
    journey = served.pseudonym("MRN-7001")
    answer = served.client.get(path.format(alert=CASES[0].case, journey=journey), headers=VIEWER)
    assert answer.status_code == 200
    assert journey in answer.text
    assert not [secret for secret in SECRETS if secret in answer.text]
    if "alerts" in path:
        assert '"location":"ED^1^2"' in answer.text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=firing", 1),
        ("state=resolved", 1),
        ("rule=boarding", 2),
        ("rule=other", 0),
        ("place=ed&severity=warning", 2),
        ("severity=critical", 0),
    ],
)
def test_alerts_are_filtered(served, query, count):
    assert len(ask(served, f"/api/alerts?{query}")["alerts"]) == count


@pytest.mark.parametrize(
    ("query", "count"),
    [("verdict=late", 1), ("verdict=open&overdue=true", 1), ("overdue=false", 1), ("rule=other", 0)],
)
def test_verdicts_are_filtered(served, query, count):
    assert len(ask(served, f"/api/verdicts?{query}")["verdicts"]) == count


def test_verdicts_of_a_journey_are_found_by_its_pseudonym(served):
    [case] = ask(served, f"/api/verdicts?journey={served.pseudonym('MRN-7003')}")["verdicts"]
    assert case["patient"] == "MRN-7003"


@pytest.mark.parametrize("what", ["alerts", "verdicts"])
def test_pages_follow_one_another(served, what):
    first = ask(served, f"/api/{what}?limit=1")
    second = ask(served, f"/api/{what}?limit=1&before={first['next']}")
    third = ask(served, f"/api/{what}?limit=1&before={second['next']}")
    assert [len(page[what]) for page in (first, second, third)] == [1, 1, 0]
    assert first[what] != second[what]
    assert third["next"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/alerts?state=open",
        "/api/alerts?severity=MRN-7001",
        "/api/alerts?limit=0",
        "/api/alerts?limit=501",
        "/api/alerts?limit=MRN-7001",
        "/api/alerts?before=0",
        "/api/alerts?rule=",
        "/api/alerts?rule=a%00b",
        "/api/alerts?patient=MRN-7001",
        "/api/alerts/MRN-7001",
        "/api/verdicts?verdict=overdue",
        "/api/verdicts?overdue=perhaps",
        "/api/verdicts?journey=MRN-7001",
        "/api/journeys/MRN-7001",
        "/api/audit?before=x",
    ],
)
def test_a_wrong_question_is_told_so_without_its_own_words(served, path):
    answer = served.client.get(path, headers=ADMIN)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "MRN-7001" not in answer.text
    assert "input" not in answer.json()


def test_what_is_not_there_is_404(served):
    for path in ("/api/alerts/00000000-0000-0000-0000-000000000000", "/api/journeys/aaaaaaaaaa"):
        assert served.client.get(path, headers=CLINICIAN).status_code == 404


def test_a_journey_tells_what_counts_and_what_undid_the_rest(served):
    found = ask(served, f"/api/journeys/{served.pseudonym('MRN-7001')}")
    assert found["patient"] == "MRN-7001"
    told = {each["id"]: each for each in found["events"]}
    undone = {
        name: (each["status"], each["undone_by"]) for name, each in told.items() if each["status"] != "counts"
    }
    assert undone == {
        "m-13": ("cancelled", told["m-14"]["number"]),
        "m-15": ("corrected", told["m-16"]["number"]),
        "m-17": ("coming", None),
    }
    assert [each["number"] for each in found["events"]] == list(range(9))
    assert [each["id"] for each in found["events"] if each["status"] == "counts"] == ["m-11", "m-18", "m-12", "m-14", "m-16", "m-19"]  # fmt: skip
    assert (told["m-11"]["place"], told["m-16"]["from"], told["m-16"]["place"]) == ("ed", "ed", "ward")
    assert told["m-11"]["attributes"] == {"name": "Ann"}


def test_a_journey_shows_stays_and_cases_with_the_events_they_rest_on(served):
    found = ask(served, f"/api/journeys/{served.pseudonym('MRN-7001')}")
    assert [(each["place"], each["name"], each["left_at"] is None) for each in found["stays"]] == [
        ("ed", "Emergency", False),
        ("ward", "Ward 4 West", True),
    ]
    [case] = found["cases"]
    by_number = {each["number"]: each["id"] for each in found["events"]}
    assert (case["verdict"], by_number[case["trigger_event"]]) == ("late", "m-12")
    assert [by_number[number] for number in case["evidence_events"]] == ["m-16"]


def test_a_patient_who_was_merged_away_leads_to_the_survivors_journey(served):
    found = ask(served, f"/api/journeys/{served.pseudonym('MRN-7002')}")
    assert (found["patient"], len(found["events"]), len(found["cases"])) == ("MRN-7001", 9, 1)


def test_the_rules_in_use_are_told(served):
    assert [(each["id"], each["form"], each["opens_cases"], each["owner"]) for each in ask(served, "/api/rules", VIEWER)["rules"]] == [
        ("boarding", "expect", True, "bed manager"),
        ("boarding-95", "reliability", False, None),
    ]  # fmt: skip


def test_every_reading_of_patients_is_written_down_with_whom_it_showed(served):
    one, three = served.pseudonym("MRN-7001"), served.pseudonym("MRN-7003")
    before = len(audited(served))
    ask(served, "/api/alerts?state=firing", VIEWER)
    ask(served, f"/api/alerts/{CASES[0].case}")
    ask(served, "/api/verdicts")
    ask(served, f"/api/journeys/{one}")
    ask(served, "/api/audit", ADMIN)
    assert audited(served)[: -before or None] == [
        ("admin-1", "admin", "read", "/api/audit"),
        ("clinician-1", "clinician", "read", f"/api/journeys/{one}"),
        ("clinician-1", "clinician", "read", f"/api/verdicts: {', '.join(sorted([one, three]))}"),
        ("clinician-1", "clinician", "read", f"/api/alerts/{CASES[0].case}: {one}"),
        ("viewer-1", "viewer", "read", f"/api/alerts?state=firing: {three}"),
    ]
    assert not [line for line in audited(served) if "MRN" in line[3]]


def test_an_admin_reads_the_audit_log_page_by_page(served):
    ask(served, "/api/alerts")
    ask(served, "/api/verdicts")
    page = ask(served, "/api/audit?limit=1", ADMIN)
    [last] = page["lines"]
    assert (last["who"], last["what"]) == ("clinician-1", f"/api/verdicts: {', '.join(sorted(map(served.pseudonym, ('MRN-7001', 'MRN-7003'))))}")  # fmt: skip
    assert (
        ask(served, f"/api/audit?limit=1&before={page['next']}", ADMIN)["lines"][0]["number"] < last["number"]
    )


def test_who_has_seen_an_alert_is_shown_and_written_down(served):
    path = f"/api/alerts/{CASES[1].case}/ack"
    first = served.client.post(path, json={"reason": "bed found"}, headers=CLINICIAN)
    assert (first.status_code, first.json()["state"]) == (200, "firing")
    served.client.post(path, json={"reason": "on the way", "who": "A. Lee"}, headers=CLINICIAN)
    marks = ask(served, f"/api/alerts/{CASES[1].case}")["acknowledged"]
    assert [(mark["who"], mark["reason"]) for mark in marks] == [
        ("clinician-1", "bed found"),
        ("A. Lee (clinician-1)", "on the way"),
    ]
    assert ("A. Lee (clinician-1)", "clinician", "acknowledge", CASES[1].case) in audited(served)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"reason": "x"}', "text/plain", 415),
        (b'{"reason": "x"}', "application/x-www-form-urlencoded", 415),
        (b'{"reason": ""}', "application/json", 422),
        (b'{"reason": "a\\nb"}', "application/json", 422),
        (b'{"reason": "x", "patient": "MRN-7001"}', "application/json", 422),
        (b'{"who": "x"}', "application/json", 422),
        (b'["MRN-7001"]', "application/json", 422),
        (b"", "application/json", 422),
        (b'{"reason": "MRN-7001', "application/json", 422),
        (b'{"reason": "%s"}' % (b"x" * 501), "application/json", 422),
        (b" " * 100_000, "application/json", 413),
    ],
)
def test_an_acknowledgment_that_is_none_changes_nothing(served, content, kind, status):
    path = f"/api/alerts/{CASES[0].case}/ack"
    answer = served.client.post(path, content=content, headers=CLINICIAN | {"content-type": kind})
    assert answer.status_code == status
    assert "MRN-7001" not in answer.text
    assert ask(served, f"/api/alerts/{CASES[0].case}")["acknowledged"] == []


def test_an_alert_that_is_not_there_cannot_be_acknowledged(served):
    path = "/api/alerts/00000000-0000-0000-0000-000000000000/ack"
    assert served.client.post(path, json={"reason": "x"}, headers=CLINICIAN).status_code == 404


class FullDisk:
    """A ledger that cannot write."""

    def audit(self, *line):
        raise StoreError("full", "cannot write to /data: the disk is full")


def test_what_cannot_be_written_down_is_not_shown(served):
    access = Access(Tokens(served.folder / "tokens.yaml"))
    made, seen = parts(access=access, desk=Desk(served.reader, FullDisk(), StoreError))
    with serving(make_app(made)) as address, httpx.Client(base_url=address, headers=CLINICIAN) as client:
        for path in ("/api/alerts", f"/api/journeys/{served.pseudonym('MRN-7001')}"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.headers["content-type"] == "application/problem+json"
            assert "MRN" not in answer.text
        assert client.post(f"/api/alerts/{CASES[0].case}/ack", json={"reason": "x"}).status_code == 503
    assert seen.faults == []
    assert ask(served, f"/api/alerts/{CASES[0].case}")["acknowledged"] == []


def test_readiness_says_what_is_wrong_and_health_whether_it_lives():
    made, _ = parts()
    with serving(make_app(made)) as address, httpx.Client(base_url=address) as client:
        assert client.get("/readyz").json() == {"ready": True, "problems": [], "warnings": []}
        made.health.odd = [("rules", "rules/ed.yaml:3:1: unknown key")]
        assert client.get("/readyz").status_code == 200
        made.health.wrong = [("store", "the disk is full")]
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["problems"] == [{"what": "store", "why": "the disk is full"}]
        assert client.get("/healthz").status_code == 200
        made.health.alive = False
        assert client.get("/healthz").status_code == 503
        assert client.get("/metrics").text == "handoff_journeys 3\n"
        assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
