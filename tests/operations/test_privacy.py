"""A whole simulated day goes through the service: nothing in its log or metrics is a name, a number or a date of birth of it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

HANDOFF = Path(sys.executable).parent / "handoff"
PACKS = ("ed", "transit", "flow", "discharge", "data-quality")
SETTINGS = f"""
data: data
rules: [{", ".join(f"pack:{name}" for name in PACKS)}]
microsystems: hospital/microsystems.yaml
mllp: {{port: 0}}
http: {{port: 0}}
follow: [{{path: hospital/adt.hl7}}, {{path: hospital/milestones.jsonl}}, {{path: put}}]
log_level: debug
"""


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that in time")


def identifiers(hospital):
    """All that the messages say of who the patients are: names, dates of birth, numbers of patients and visits."""
    found = set()
    for segment in re.split(r"[\r\n]+", (hospital / "adt.hl7").read_text()):
        fields = segment.split("|")
        if fields[0] == "PID":
            found |= {part for field in (3, 5, 7) for part in re.split(r"[\^~]", fields[field])}
        elif fields[0] == "PV1":
            found.add(fields[19])
    for line in (hospital / "milestones.jsonl").read_text().splitlines():
        event = json.loads(line)
        found |= {event["patient"], event.get("encounter") or ""}
    return {word for word in found if len(word) > 3}


@pytest.fixture
def day(tmp_path):
    simulate = [HANDOFF, "simulate", "--seed", "6", "--days", "1", "--format", "hl7", "--start", "2026-01-05"]
    subprocess.run([*simulate, "--out", tmp_path / "hospital"], check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "handoff.yaml").write_text(SETTINGS)
    (tmp_path / "put").mkdir()
    return tmp_path


def rejected(patient, name):
    """Messages that cannot be used, each with a patient in it where it may do harm."""
    return {
        "a.hl7": f"MSH|^~\\&|PAS|RGH|||20260105100000||ADT^A01|{patient}|P|2.5\rPID|1||||{name}\r",
        "b.jsonl": json.dumps({"id": patient, "type": name, "patient": patient, "occurred_at": name}) + "\n",
        "c.jsonl": json.dumps(
            {
                "id": patient,
                "type": patient,
                "patient": patient,
                "source": name,
                "occurred_at": "2026-01-05T10:00:00Z",
            }
        )
        + "\n",
        "d": f"{name} {patient}\n",
    }


def test_no_patient_is_in_the_log_or_in_the_metrics(day):
    known = identifiers(day / "hospital")
    patient, name = (
        next(each for each in known if each.isdigit()),
        next(each for each in known if each.isalpha()),
    )
    for file, content in rejected(patient, name).items():
        (day / "put" / file).write_text(content, newline="")
    log = day / "log.jsonl"
    with log.open("w") as stderr:
        service = subprocess.Popen(
            [HANDOFF, "run", "--speed", "60", "--start", "2026-01-06T00:00:00Z"], cwd=day, stderr=stderr
        )

    def lines():
        return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]

    try:
        (web,) = until(lambda: [each for each in lines() if each["event"] == "web_started"])
        with httpx.Client(base_url=f"http://127.0.0.1:{web['port']}") as client:
            client.post("/events", json={"id": patient, "patient": name, "type": patient})
            client.post(f"/events?source={name}", content=f"{name}{patient}".encode())
            client.get(f"/api/journeys/{patient}", params={"name": name})

            def figures():
                text = client.get("/metrics").text
                events = re.findall(r"^handoff_events_total\{.*\} ([\d.]+)$", text, re.MULTILINE)
                rejects = re.findall(r"^handoff_rejects_total\{.*\} ([\d.]+)$", text, re.MULTILINE)
                alerts = "handoff_alerts_total{" in text
                return alerts and sum(map(float, events)) > 1000 and sum(map(float, rejects)) >= 4 and text

            shown = until(figures)
            shown += client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
            shown += client.get("/readyz").text + client.get("/healthz").text
        until(lambda: [each for each in lines() if each["event"] == "alert_told"])
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    assert len(known) > 100
    told = set(re.findall(r"[\w-]+", log.read_text() + shown))
    assert told & known == set()
    for event in ("alert_told", "message_rejected", "service_stopped"):
        assert event in told
