"""What a service has told is what a replay of its record tells, by the commands that users have."""

import json
import sqlite3
from datetime import timedelta

from faults import settled
from feeding import PACKS, feeds, hospital
from live_process import Service, eventually, handoff

from monitor.runtime.database import FILE


def told(service):
    """Every change of an alert that was to be told, in order, as `handoff replay --alerts` would write it."""
    connection = sqlite3.connect(service.data / FILE)
    rows = connection.execute("SELECT body FROM outbox ORDER BY number").fetchall()
    connection.close()
    return [change(json.loads(body)) for (body,) in rows]


def change(fields):
    """What makes a change of an alert what it is."""
    names = ("alert", "rule", "severity", "state", "level", "reason", "at", "due_at", "encounter", "summary")
    moments = {name: (fields[name] or "").replace(".000000", "") for name in ("at", "due_at")}
    return tuple((fields | moments)[name] for name in names), fields["patient"] or "", fields["sequence"][2]


def test_a_replay_of_what_was_recorded_gives_the_alerts_that_were_told(tmp_path):
    sent = hospital(tmp_path / "hospital", 5, silent_after="2h", days=1, wards=2)
    start = sent.adt[0][0] - timedelta(minutes=10)
    with Service(tmp_path, rules=PACKS, registry=sent.registry, speed=20_000, start=start) as service:
        service.start()
        with feeds(service, sent, 5) as all_:
            for each in all_:
                each.end()
            eventually(lambda: service.now() > start + timedelta(days=1), "the end of the day")
        settled(service)
        assert service.terminate() == 0
        code, out, said = handoff("export", "--data", "data", folder=tmp_path)
        assert code == 0
        until = said.split("--until ")[1].strip()
        arguments = ["--rules", *PACKS, "--microsystems", "microsystems.yaml", "--until", until]
        code, _, said = handoff(
            "replay", *arguments, "--alerts", "alerts.jsonl", "-", folder=tmp_path, given=out.encode()
        )
        assert code == 0, said
    lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    # those about many patients together are told by Prometheus, of the metrics of the service
    replayed = [change(line) for line in lines if line["patient"] or line["rule"] == "feed"]
    assert len(replayed) > 50
    assert sorted(told(service)) == sorted(replayed)
