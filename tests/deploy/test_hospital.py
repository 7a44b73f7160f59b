"""The hospital of the demo: what lies behind is told at once, the rest in its time, and nothing is lost while nobody listens."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from compose import PROJECT

sys.path.insert(0, str(PROJECT / "deploy/compose"))
import hospital


@pytest.fixture
def server():
    """Takes lines; answers with the codes of `codes`, then with 202."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            code = server.codes.pop(0) if server.codes else 202
            server.asked.append((code, [json.loads(line)["id"] for line in body.splitlines()]))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.codes, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}/events"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def milestones(tmp_path, now, *seconds):
    file = tmp_path / "milestones.jsonl"
    lines = (
        {"id": f"{number}", "arrived_at": (now + timedelta(seconds=each)).isoformat().replace("+00:00", "Z")}
        for number, each in enumerate(seconds)
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_what_lies_behind_is_told_in_large_bodies_and_the_rest_one_by_one_when_it_happens(
    server, tmp_path, monkeypatch
):
    slept = []
    monkeypatch.setattr(hospital.time, "sleep", slept.append)
    monkeypatch.setattr(hospital, "AT_ONCE", 2)
    now = datetime.now(UTC)
    hospital.tell(milestones(tmp_path, now, -30, -20, -10, 3600, 7200), server.address, now)
    assert server.asked == [(202, ["0", "1"]), (202, ["2"]), (202, ["3"]), (202, ["4"])]
    assert 0 < slept[0] <= 3600 < slept[1] <= 7200


def test_what_cannot_be_taken_now_is_told_again_and_what_is_refused_is_not(server, monkeypatch, capsys):
    monkeypatch.setattr(hospital, "RETRY_SECONDS", 0)
    server.codes = [503, 202, 422]
    hospital.post(['{"id": "a"}'], server.address)
    hospital.post(['{"id": "b"}'], server.address)
    assert server.asked == [(503, ["a"]), (202, ["a"]), (422, ["b"])]
    assert capsys.readouterr().err.count("trying again") == 1


def test_while_nobody_listens_it_waits(server, monkeypatch):
    unused = server.address.replace(str(server.server_port), "1")
    waits = []

    def listen_at_last(seconds):
        waits.append(seconds)
        assert len(waits) < 3, "tried long enough"

    monkeypatch.setattr(hospital.time, "sleep", listen_at_last)
    with pytest.raises(AssertionError, match="long enough"):
        hospital.post(['{"id": "a"}'], unused)


def test_messages_of_a_feed_are_told_apart_by_when_they_were_sent(tmp_path):
    simulate = [
        sys.executable,
        "-m",
        "monitor",
        "simulate",
        "--out",
        tmp_path,
        "--days",
        "2",
        "--start",
        "2026-03-02",
    ]
    subprocess.run([*simulate, "--format", "hl7", "--no-truth"], check=True, capture_output=True)
    feed = (tmp_path / "adt.hl7").read_bytes()
    noon = datetime(2026, 3, 3, 12, tzinfo=UTC)
    behind, ahead = hospital.split(feed, noon)
    assert behind
    assert ahead
    assert len(behind) + len(ahead) == feed.count(b"MSH|")
    assert max(map(hospital.sent_at, behind)) <= noon < min(map(hospital.sent_at, ahead))
    assert all(each.startswith(b"MSH|") and b"\rPID|" in each for each in behind + ahead)
