"""Questions to a real store over a real server: what is shown to whom, page by page, and that it is written down."""

import pytest
from board_hospital import ADMIN, CASES, CLINICIAN, SECRETS, VIEWER, serving_hospital
from web import asking, parts, serving

from monitor.board.app import make_app
from monitor.board.auth import Access, Tokens
from monitor.board.desk import Desk
from monitor.runtime.database import StoreError


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_hospital(tmp_path_factory.mktemp("data")) as world:
        yield world


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
        "/api/rejects?state=MRN-7001",
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


def test_an_admin_sees_why_messages_were_rejected_and_not_what_they_were(served):
    answer = served.client.get("/api/rejects", headers=ADMIN)
    assert "MRN" not in answer.text
    assert [
        (each["id"], each["reason"], each["field"], each["size"]) for each in answer.json()["rejects"]
    ] == [
        (2, "no-time", "PID-3", 12),
        (1, "no-patient", "PID-3", 12),
    ]
    assert [each["id"] for each in ask(served, "/api/rejects?reason=no-patient", ADMIN)["rejects"]] == [1]
    assert ask(served, "/api/rejects?limit=1", ADMIN)["next"] == 2
    assert served.client.get("/api/rejects", headers=CLINICIAN).status_code == 403


def test_an_admin_may_have_a_reject_tried_again(served):
    assert served.client.post("/api/rejects/2/retry", headers=CLINICIAN).status_code == 403
    assert ask(served, "/api/rejects?state=asked", ADMIN)["rejects"] == []
    assert served.client.post("/api/rejects/2/retry", headers=ADMIN).status_code == 202
    assert [each["id"] for each in ask(served, "/api/rejects?state=asked", ADMIN)["rejects"]] == [2]
    assert ("admin-1", "admin", "retry", "reject 2") in audited(served)
    assert served.client.post("/api/rejects/9/retry", headers=ADMIN).status_code == 404


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
    with serving(make_app(made)) as address, asking(address, headers=CLINICIAN) as client:
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
    with serving(make_app(made)) as address, asking(address) as client:
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
