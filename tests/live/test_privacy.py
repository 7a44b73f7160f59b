"""Nothing that the service writes for operators, or answers to those who may not see patients, tells who the patients are."""

import re
import sqlite3
from datetime import timedelta

from feeding import PACKS, feeds, hospital
from live_process import Service, eventually, put

from monitor.runtime.database import FILE

SETTINGS = """\
log_level: debug
link: https://hospital.example/{alert}/{journey}
sinks:
  log: {log: true, identifiers: none}
  nobody: {webhook: "http://127.0.0.1:9/alerts", identifiers: full}
  nowhere: {alertmanager: ["http://127.0.0.1:9"], identifiers: bed}
receivers: {default: {sinks: [log, nobody, nowhere]}}
"""
UNFIT = [
    ("/events", '{"id": "x", "patient": "%s", "occurred_at": "%s"}', "application/json"),
    ("/events", '{"id": "x", "type": "%s", "patient": "%s", "occurred_at": "yesterday"}', "application/json"),
    ("/events", '{"id": "%s", "precision": "%s"', "application/json"),
    ("/events", "%s,%s", "text/csv"),
    ("/hl7", "MSH|^~\\&|PAS|RGH|||||ADT^A01|m|P|2.5\rEVN||%s\rPID|1||%s\r", "x-application/hl7-v2+er7"),
    ("/hl7", "%s|%s", "x-application/hl7-v2+er7"),
    ("/fhir", '{"resourceType": "Encounter", "id": "%s", "status": "%s"}', "application/fhir+json"),
    ("/fhir", '{"resourceType": "%s", "id": "%s"', "application/fhir+json"),
]
QUESTIONS = [
    "/api/journeys/%s",
    "/api/alerts/%s",
    "/api/alerts?place=%s&patient=%s",
    "/api/verdicts?journey=%s&verdict=%s",
    "/%s/%s",
    "/readyz?%s=%s",
]


def who_they_are(sent):
    """Each key, visit number, name and date of birth that occurs in HL7 messages."""
    found = set()
    for _, message in sent.adt:
        for segment in message.decode().split("\r"):
            fields = segment.strip().split("|")
            if fields[0] == "PID":
                found |= {each.split("^")[0] for each in fields[3].split("~")}
                family, given = fields[5].split("^")[:2]
                found |= {family, given, fields[7]}
                found.add(f"{fields[7][:4]}-{fields[7][4:6]}-{fields[7][6:]}")
            if fields[0] == "PV1":
                found.add(fields[19] if len(fields) > 19 else "")
            if fields[0] == "MRG":
                found |= {each.split("^")[0] for each in fields}
    return found - {"", "MRG"}


def pseudonyms(service):
    connection = sqlite3.connect(service.data / FILE)
    found = {name for (name,) in connection.execute("SELECT pseudonym FROM patients")}
    connection.close()
    return found


def told_of(names, text):
    """Those of the names that occur as words in a text."""
    return names & set(re.findall(r"[\w-]+", text))


def unfit(messages):
    """Messages about real patients that cannot be used."""
    for _, message in messages:
        yield message.replace(b"EVN|", b"EVX|").replace(b"|2026", b"|soon")
        yield message.replace(b"PID|1||", b"PID|1|")
        yield message[: len(message) // 2]


def test_no_line_no_metric_and_no_answer_tells_who_the_patients_are(tmp_path):
    sent = hospital(tmp_path / "hospital", 11, silent_after="2h", days=1, wards=2)
    names = who_they_are(sent)
    assert len(names) > 200
    last = sent.adt[-1][0] + timedelta(hours=1)
    answers = []
    with Service(
        tmp_path, rules=PACKS, registry=sent.registry, settings=SETTINGS, speed=3600, start=last
    ) as service:
        service.start()
        with feeds(service, sent, 11) as all_:
            for each in all_:
                each.end()
        eventually(lambda: len(service.logged("alert_told")) > 40, "the alerts")
        key, family = min(names), max(names)
        with service.sender() as sender:
            assert {sender.send(message)[0] for message in unfit(sent.adt[:20])} == {"AA"}
        for path, body, kind in UNFIT:
            for first, second in ((key, family), (family, key)):
                answers.append(service.post(path, body % (first, second), kind)[1])
        for question in QUESTIONS:
            answers += [service.get(question.replace("%s", name))[1] for name in (key, family)]
        answers += [service.get(path)[1] for path in ("/metrics", "/readyz", "/healthz", "/openapi.json")]
        answers += [service.get(path)[1] for path in ("/api/alerts", "/api/verdicts", "/api/rules")]
        eventually(lambda: service.logged("delivery_failed"), "a delivery that fails")
        said = service.text()
        service.kill()
        service.start()
        put(tmp_path / "microsystems.yaml", sent.registry.replace("RGH}", key + "}", 1))
        eventually(lambda: service.logged("rules_reloaded"), "the reload")
        said += service.text()
        assert service.terminate() == 0
        said += service.text()
        assert "message_rejected" in said
        assert "delivery_failed" in said
        assert told_of(names, said) == set()
        assert told_of(pseudonyms(service), said) == set()
        assert [answer for answer in answers if told_of(names, answer)] == []
