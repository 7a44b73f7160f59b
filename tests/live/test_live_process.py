"""The service as its users start, feed, change, copy and stop it."""

import json
import os
import shutil
import signal
import socket
from datetime import UTC, datetime, timedelta

import pytest
from live_process import REGISTRY, RULES, Service, adt, event, eventually, handoff, put, running

from monitor.runtime.database import FILE
from monitor.runtime.reader import Reader


def stored(folder):
    """The ids of the facts in a data directory."""
    reader = Reader(folder)
    try:
        return [each.id for each in reader.events()]
    finally:
        reader.close()


def ended(folder, *options, **given):
    """What came of a `handoff run` that cannot begin: its exit code, and what it wrote."""
    with Service(folder, *options, **given) as service:
        service.launch()
        return service.ended(), service.text()


def minutes_ago(minutes):
    return datetime.now(UTC) - timedelta(minutes=minutes)


def told(service):
    """The changes of alerts that the log tells of: state and reason."""
    return [(line["state"], line["reason"]) for line in service.logged("alert_told")]


# Beginning and end


def test_a_signal_ends_it_in_order(tmp_path):
    with running(tmp_path) as service, service.sender() as sender:
        assert sender.send(adt("m-1")) == ("AA", "m-1")
        assert service.terminate() == 0
        assert [line["event"] for line in service.lines()][-2:] == ["service_stopping", "service_stopped"]
        assert not [line for line in service.lines() if line["level"] in ("warning", "error")]
        assert {each.name for each in service.data.iterdir()} == {FILE, "lock"}
        assert len(stored(service.data)) == 1


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path):
    with running(tmp_path) as service, service.sender() as sender:
        assert sender.send(adt("m-1")) == ("AA", "m-1")
        status, answer = service.post("/events", event("e-1", "triage"))
        assert (status, json.loads(answer)["accepted"]) == (202, 1)
        service.kill()
        facts = stored(service.data)
        assert len(facts) == 2
        assert facts[1] == "e-1"
        service.start()
        eventually(lambda: service.metric("handoff_journeys") == 1, "the journey, counted")


def test_a_deadline_fires_in_silence(tmp_path):
    with running(tmp_path, speed=600) as service, service.sender() as sender:
        sent_at = service.now()
        sender.send(adt("m-1", at=sent_at))
        [alert] = eventually(service.alerts, "the alert")
        assert (alert["rule"], alert["state"], alert["place"]) == ("triage", "firing", "ed")
        assert datetime.fromisoformat(alert["at"]) == sent_at.replace(microsecond=0) + timedelta(minutes=15)
        eventually(lambda: told(service) == [("firing", None)], "its line in the log")
        assert service.terminate(signal.SIGINT) == 0


def test_a_second_service_on_the_same_data_is_refused(tmp_path):
    with running(tmp_path) as service:
        code, text = ended(tmp_path)
        assert code == 3
        assert f"data is in use by another `handoff run` (process {service.process.pid})" in text
        assert service.get("/readyz")[0] == 200


@pytest.mark.parametrize("door", ["mllp", "http"])
def test_a_port_that_is_taken_is_named(tmp_path, door):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, text = ended(tmp_path, f"--{door}-port", str(port))
    assert code == 3
    [line] = [each for each in text.lower().splitlines() if "cannot listen" in each]
    assert str(port) in line
    assert "address already in use" in line
    assert "Traceback" not in text


def test_without_rules_it_says_how_to_name_them(tmp_path):
    code, _, text = handoff("run", "--data", "data", folder=tmp_path)
    assert code == 2
    assert "which rules? Name them with --rules" in text
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rules": RULES.replace("expect:", "expcet:")}, "rules.yaml:6:5: error[unknown-key]"),
        ({"registry": REGISTRY.replace("4W}]", "4W]")}, "microsystems.yaml:4:"),
        ({"settings": "mllp: {prot: 2575}\n"}, "handoff.yaml:1:8: error[unknown-key]"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(tmp_path, given, expected):
    code, text = ended(tmp_path, **given)
    assert code == 1
    assert expected in text
    assert not (tmp_path / "data").exists()


# Rules that change


def test_other_rules_are_taken_while_it_runs_and_wrong_ones_are_not(tmp_path):
    rules = tmp_path / "rules.yaml"
    with running(tmp_path, rules=RULES.replace("15m", "60m")) as service, service.sender() as sender:
        sender.send(adt("m-1", at=minutes_ago(30)))
        eventually(lambda: service.metric("handoff_open_cases", rule="triage") == 1, "the open case")
        assert service.alerts() == []

        put(rules, RULES)
        eventually(lambda: told(service) == [("firing", None)], "the alert of the new rule")
        eventually(lambda: service.logged("rules_reloaded"), "its line in the log")
        assert service.metric("handoff_rule_reloads_total", result="taken") == 1

        put(rules, RULES.replace("expect:", "expcet:"))
        eventually(lambda: service.logged("rules_refused"), "the refusal")
        assert service.get("/readyz")[0] == 200
        [warning] = service.ready()["warnings"]
        assert warning["what"] == "rules"
        assert "the old rules are in use: rules.yaml:6: unknown key `expcet`" in warning["why"]
        assert service.metric("handoff_rule_reloads_total", result="refused") == 1
        assert [alert["state"] for alert in service.alerts()] == ["firing"]
        sender.send(adt("m-2", patient="7002", at=minutes_ago(20)))
        eventually(lambda: told(service) == [("firing", None)] * 2, "an alert by the old rules")
        assert len(service.alerts(state="firing")) == 2

        put(rules, RULES.replace("15m", "2h"))
        eventually(lambda: told(service)[2:] == [("resolved", "withdrawn")] * 2, "the withdrawals")
        eventually(lambda: service.ready()["warnings"] == [], "the end of the warning")


def test_a_hangup_has_the_files_read_again(tmp_path):
    rules = tmp_path / "rules.yaml"
    with running(tmp_path, rules=RULES.replace("15m", "55m")) as service, service.sender() as sender:
        sender.send(adt("m-1", at=minutes_ago(30)))
        was = rules.stat()
        with rules.open("r+") as file:  # so that nothing but its content tells that it changed
            file.write(RULES)
        os.utime(rules, ns=(was.st_atime_ns, was.st_mtime_ns))
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: told(service) == [("firing", None)], "the alert of the new rule")


# Rejects, copies


def test_a_reject_is_kept_shown_and_taken_once_the_profile_is_mended(tmp_path):
    registry = REGISTRY + "    event_time: [EVN-6]\n"
    message = adt("m-1", at=minutes_ago(30)).replace(b"||||2", b"||||||2", 1)  # its time is not in EVN-6
    with running(tmp_path, registry=registry) as service, service.sender() as sender:
        assert sender.send(message) == ("AA", "m-1")
        code, out, _ = handoff("rejects", "list", "--data", "data", "--format", "json", folder=tmp_path)
        [reject] = map(json.loads, out.splitlines())
        assert (code, reject["reason"], reject["source"], reject["state"]) == (
            0,
            "no-time",
            "PAS/RGH",
            "kept",
        )
        code, out, _ = handoff("rejects", "show", "--data", "data", "1", "--content", folder=tmp_path)
        assert (code, out.encode()) == (0, message)
        assert stored(service.data) == []

        handoff("rejects", "retry", "--data", "data", "1", folder=tmp_path)
        eventually(lambda: tried(tmp_path) == ("kept", 1), "a first attempt")
        put(tmp_path / "microsystems.yaml", registry.replace("EVN-6", "EVN-6, EVN-2"))
        eventually(lambda: service.logged("rules_reloaded"), "the reload")
        code, out, _ = handoff("rejects", "retry", "--data", "data", "--all", folder=tmp_path)
        assert (code, out.startswith("1 reject will be tried again")) == (0, True)
        eventually(lambda: tried(tmp_path) == ("taken", 2), "a second attempt")
        eventually(lambda: told(service) == [("firing", None)], "the alert")
        assert len(stored(service.data)) == 1


def tried(folder):
    """State and attempts of the only reject."""
    reader = Reader(folder / "data")
    try:
        [reject] = reader.rejects()
    finally:
        reader.close()
    return reject.state, reject.attempts


def test_a_backup_of_a_running_service_is_one_to_start_from(tmp_path):
    with running(tmp_path) as service, service.sender() as sender:
        sender.send(adt("m-1", at=minutes_ago(30)))
        eventually(service.alerts, "the alert")
        code, out, _ = handoff("backup", "--data", "data", "copy.sqlite", folder=tmp_path)
        assert (code, "read through and sound" in out) == (0, True)
        sender.send(adt("m-2", patient="7002", at=minutes_ago(1)))
        assert len(stored(service.data)) == 2
    shutil.rmtree(service.data)
    service.data.mkdir()
    (tmp_path / "copy.sqlite").rename(service.data / FILE)
    with running(tmp_path) as service, service.sender() as sender:
        assert len(stored(service.data)) == 1
        assert [alert["state"] for alert in service.alerts()] == ["firing"]
        service.post("/events", event("e-1", "triage", at=minutes_ago(5)))
        eventually(lambda: told(service)[-1:] == [("resolved", "late")], "the end of the alert")
