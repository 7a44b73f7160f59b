"""FHIR and CloudEvents files, through whole commands."""

import gzip
import json

import pytest

REGISTRY = """
microsystems:
  - {id: ed, kind: ed, locations: ["ED"]}
  - {id: ward, kind: ward, locations: ["4W"]}
sources:
  fhir: {patient_id: {type: MR}}
"""
RULES = """
rules:
  - id: boarding
    summary: still in the emergency department
    severity: warning
    when: {type: register, to: ed}
    expect: {type: transfer, to: ward}
    within: 4h
"""
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "0817"}],
}


def moment(clock):
    return f"2024-03-04T{clock}:00Z"


def encounter(made, *stays, status="in-progress", **more):
    locations = [
        {"location": {"reference": f"Location/{place}"}, "period": {"start": moment(since)}}
        for place, since in stays
    ]
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "meta": {"lastUpdated": moment(made)},
        "status": status,
        "class": {"code": "EMER"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": moment("10:00")},
        "location": locations,
    } | more


ARRIVED = encounter("10:05", ("ED", "10:00"))
MOVED = encounter("15:10", ("ED", "10:00"), ("4W", "15:00"))
LEFT = encounter(
    "18:00",
    ("ED", "10:00"),
    ("4W", "15:00"),
    status="finished",
    period={"start": moment("10:00"), "end": moment("17:30")},
)


def bundle(*resources, kind="collection"):
    return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": each} for each in resources]}


def lines(*resources):
    return "".join(json.dumps(each) + "\n" for each in resources)


def events(out):
    return [(each["type"], each["occurred_at"][11:16]) for each in map(json.loads, out.splitlines())]


STORY = [("register", "10:00"), ("transfer", "15:00"), ("discharge", "17:30")]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(LEFT),
        json.dumps(LEFT, indent=2),
        "\ufeff\n" + json.dumps(LEFT),
        json.dumps(bundle(LEFT), indent=2),
        json.dumps(bundle(LEFT, MOVED, ARRIVED, kind="history")),
        lines(ARRIVED, MOVED, LEFT),
        lines(PATIENT, LEFT),
        gzip.compress(lines(ARRIVED, MOVED, LEFT).encode()),
        lines(ARRIVED) + "\n" + lines(MOVED, MOVED, LEFT, ARRIVED),
    ],
    ids=[
        "one",
        "indented",
        "byte order mark",
        "bundle",
        "history",
        "lines",
        "with patient",
        "gzip",
        "repeated",
    ],
)
def test_fhir_is_recognised_and_told_as_events(handoff, write, content):
    code, out, err = handoff("decode", write("encounters", content))
    assert (code, events(out), err) == (0, STORY, "")
    data = content if isinstance(content, bytes) else content.encode()
    assert handoff("decode", "-", stdin=data) == (0, out, "")


def test_what_was_told_is_known_from_file_to_file(handoff, write):
    code, out, _ = handoff("decode", write("1.json", json.dumps(ARRIVED)), write("2.json", json.dumps(MOVED)))
    assert (code, events(out)) == (0, STORY[:2])


def test_patients_of_a_file_before_are_known(handoff, write):
    write("m.yaml", REGISTRY)
    names = write("patients.ndjson", lines(PATIENT)), write("encounters.ndjson", lines(LEFT))
    out = handoff("decode", "--microsystems", "m.yaml", *names).out
    assert {json.loads(line)["patient"] for line in out.splitlines()} == {"0817"}


def test_a_line_that_cannot_be_used_is_a_reject_with_its_number(handoff, write):
    content = lines(ARRIVED) + "\n{nonsense\n" + lines(encounter("11:00", subject={}), LEFT)
    code, out, err = handoff("decode", write("a.ndjson", content))
    rejects = [(each["message"], each["reason"]) for each in map(json.loads, err.splitlines())]
    assert (code, events(out), rejects) == (1, STORY, [(3, "not-json"), (4, "no-patient")])


def test_a_first_line_that_is_broken_spoils_only_itself(handoff, write):
    code, out, err = handoff("decode", write("a.ndjson", '{"resourceType": "Encounter", \n' + lines(LEFT)))
    assert (code, events(out), json.loads(err)["message"]) == (1, STORY, 1)


def test_each_entry_of_a_bundle_that_cannot_be_used_is_a_reject(handoff, write):
    code, out, err = handoff(
        "decode", write("a.json", json.dumps(bundle(encounter("11:00", subject={}), LEFT)))
    )
    assert (code, events(out), json.loads(err)["reason"]) == (1, STORY, "no-patient")


def test_a_heartbeat_of_a_subscription_is_one(handoff):
    status = {"resourceType": "SubscriptionStatus", "type": "heartbeat"}
    document = bundle(status, kind="history") | {"timestamp": moment("12:00")}
    code, out, _ = handoff("decode", "-", stdin=json.dumps(document).encode())
    assert (code, events(out)) == (0, [("heartbeat", "12:00")])


def test_fhir_has_stays_and_verdicts(handoff, write):
    write("m.yaml", REGISTRY)
    write("r.yaml", RULES)
    data = write("a.ndjson", lines(ARRIVED, MOVED, LEFT))
    stays = handoff("journeys", "--microsystems", "m.yaml", data).out
    assert [json.loads(line)["place"] for line in stays.splitlines()] == ["ed", "ward"]
    found = handoff("replay", "--rules", "r.yaml", "--microsystems", "m.yaml", "--format", "json", data)
    [verdict] = map(json.loads, found.out.splitlines())
    assert (verdict["verdict"], verdict["delay_seconds"]) == ("late", 3600)


def test_a_corrected_version_withdraws_the_alert(handoff, write, tmp_path):
    write("m.yaml", REGISTRY)
    write("r.yaml", RULES)
    wrong = encounter("10:05", ("ED", "10:00"))
    right = encounter("15:10", ("4W", "10:00"))
    data = write("a.ndjson", lines(wrong, right))
    handoff("replay", "--rules", "r.yaml", "--microsystems", "m.yaml", "--alerts", "alerts.jsonl", data)
    states = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert [(each["state"], each["reason"]) for each in states] == [
        ("firing", None),
        ("resolved", "withdrawn"),
    ]


def test_fhir_is_reported_on(handoff, write):
    write("m.yaml", REGISTRY)
    write("r.yaml", RULES)
    data = write("a.ndjson", lines(ARRIVED, MOVED, LEFT))
    found = handoff("report", "--rules", "r.yaml", "--microsystems", "m.yaml", data)
    assert (found.code, "boarding" in found.out) == (0, True)


CLOUD = {
    "specversion": "1.0",
    "id": "c1",
    "source": "EPR",
    "type": "adt.triage",
    "time": "2024-03-04T10:00:00Z",
    "data": {"patient": "p1"},
}


@pytest.mark.parametrize(
    "content", [json.dumps(CLOUD), json.dumps(CLOUD, indent=1), lines(CLOUD), json.dumps([CLOUD]), json.dumps([CLOUD], indent=1)]
)  # fmt: skip
def test_cloudevents_are_recognised_one_a_line_alone_or_as_a_batch(handoff, content):
    code, out, err = handoff("decode", "-", stdin=content.encode())
    [event] = map(json.loads, out.splitlines())
    assert (code, event["type"], event["source"], err) == (0, "triage", "EPR", "")


def test_a_cloudevent_that_cannot_be_used_is_a_reject_with_its_line(handoff):
    code, out, err = handoff(
        "decode", "-", stdin=lines(CLOUD, CLOUD | {"data": {}}, CLOUD | {"id": "c2"}).encode()
    )
    assert (code, len(out.splitlines()), json.loads(err)["message"]) == (1, 2, 2)
