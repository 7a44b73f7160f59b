"""Events over HTTP, to a real server: what is answered with 202 was taken, all else is said, and nothing fills the memory."""

import asyncio
import gzip
import http.client
import json
import socket
from contextlib import closing
from types import SimpleNamespace

import pytest
from web import LONGEST_SECONDS, asking, eventually, listener, parts, serving

from monitor.board.app import make_app
from monitor.ingest.body import Bodies, Limits
from monitor.ingest.intake import LARGEST_BATCH, NotTaken
from monitor.ingest.problem import Refused

EVENT = {"id": "1", "type": "triage", "patient": "7001", "occurred_at": "2026-03-03T10:00:00Z"}
LINES = {"content-type": "application/x-ndjson"}
SMALL = Limits(largest_bytes=200_000, held_bytes=400_000)


@pytest.fixture(scope="module")
def served():
    made, seen = parts(limits=SMALL)
    with serving(make_app(made)) as address, asking(address) as client:
        yield SimpleNamespace(
            client=client, intake=made.intake, host=address.removeprefix("http://"), faults=seen.faults
        )


@pytest.fixture(autouse=True)
def _nothing_taken_yet(served):
    served.intake.__init__()
    yield
    assert served.faults == []


def lines(count, start=0):
    return b"".join(
        json.dumps(EVENT | {"id": str(number)}).encode() + b"\n" for number in range(start, start + count)
    )


def test_an_event_is_taken_over_as_it_was_sent(served):
    answer = served.client.post("/events", json=EVENT | {"from": "ED", "attributes": {"acuity": 2}})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": 0, "rejects": []})
    [event] = served.intake.events
    assert (event.id, event.patient, event.from_, event.attributes) == ("1", "7001", "ED", {"acuity": 2})


def test_of_an_array_each_item_is_taken_or_rejected_by_its_index(served):
    answer = served.client.post(
        "/events", json=[EVENT, EVENT | {"occurred_at": "now"}, {}, EVENT | {"id": "2"}]
    )
    assert answer.status_code == 202
    assert [event.id for event in served.intake.events] == ["1", "2"]
    said = answer.json()
    assert (said["accepted"], said["rejected"]) == (2, 2)
    assert [(each["index"], each["reason"], each["field"]) for each in said["rejects"]] == [
        (1, "not-an-event", "occurred_at"),
        (2, "not-an-event", None),
    ]


def test_what_is_rejected_is_kept_with_its_bytes(served):
    served.client.post("/events?source=portal", content=b'[{"id":"1", "patient":"7001"}, 3]', headers={"content-type": "application/json"})  # fmt: skip
    assert [(each.content, each.where, each.source) for each in served.intake.rejects] == [
        (b'{"id":"1", "patient":"7001"}', "item 0", "portal"),
        (b"3", "item 1", "portal"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b"3", b'{"id":"1"}', b"\xff\xfe"])
def test_a_body_of_which_nothing_can_be_used_is_422_and_kept(served, body):
    answer = served.client.post("/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (0, 1)
    assert [each.content for each in served.intake.rejects] == [body]


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "application/json"), (b"", LINES["content-type"]), (b"\n \n", LINES["content-type"])])  # fmt: skip
def test_no_events_at_all_are_no_mistake(served, body, kind):
    answer = served.client.post("/events", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 0)
    assert served.intake.batches == []


@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/jsonl; charset=utf-8", "Application/X-JSONLines"]
)
def test_json_lines_are_taken_one_by_one_and_bad_ones_are_told_by_number(served, kind):
    body = b"\xef\xbb\xbf" + lines(1) + b"\n{\r\n" + lines(1, start=1) + lines(1, start=2).rstrip(b"\n")
    answer = served.client.post("/events", content=body, headers={"content-type": kind})
    assert answer.status_code == 202
    assert [event.id for event in served.intake.events] == ["0", "1", "2"]
    assert [each["index"] for each in answer.json()["rejects"]] == [2]


def test_many_lines_are_handed_over_in_large_batches(served):
    answer = served.client.post("/events", content=lines(2 * LARGEST_BATCH), headers=LINES)
    assert answer.json()["accepted"] == 2 * LARGEST_BATCH
    assert [event.id for event in served.intake.events] == [
        str(number) for number in range(2 * LARGEST_BATCH)
    ]
    assert len(served.intake.batches) <= 3


def test_of_many_rejects_the_first_are_told_and_all_are_counted_and_kept(served):
    answer = served.client.post("/events", content=b"{}\n" * 250, headers=LINES)
    assert (answer.status_code, answer.json()["rejected"], len(answer.json()["rejects"])) == (422, 250, 100)
    assert len(served.intake.rejects) == 250


def chunked(host, headers=()):
    """A connection on which the head of a chunked request was sent."""
    connection = http.client.HTTPConnection(host, timeout=LONGEST_SECONDS)
    connection.putrequest("POST", "/events")
    for name, value in [("Transfer-Encoding", "chunked"), *headers]:
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def send(connection, piece):
    connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))


def test_lines_are_taken_while_the_body_is_still_coming(served):
    connection = chunked(served.host, LINES.items())
    send(connection, lines(LARGEST_BATCH))
    eventually(lambda: len(served.intake.events) == LARGEST_BATCH)
    send(connection, lines(1, start=LARGEST_BATCH))
    send(connection, b"")
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["accepted"]) == (202, LARGEST_BATCH + 1)
    connection.close()


def test_of_a_body_that_breaks_off_no_half_line_is_taken(served):
    connection = chunked(served.host, LINES.items())
    send(connection, lines(LARGEST_BATCH) + b'{"id": "x", "ty')
    eventually(lambda: len(served.intake.events) == LARGEST_BATCH)
    connection.close()
    assert served.client.post("/events", json=EVENT).status_code == 202
    assert len(served.intake.events) == LARGEST_BATCH + 1
    assert served.intake.rejects == []


def test_of_a_json_body_that_breaks_off_nothing_is_taken(served):
    with socket.create_connection(served.host.split(":")) as connection:
        head = f"POST /events HTTP/1.1\r\nHost: {served.host}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
        connection.sendall(head.encode() + json.dumps(EVENT).encode())
    assert served.client.get("/healthz").status_code == 200
    assert served.intake.batches == []


def test_a_body_that_stops_coming_is_given_up():
    made, _ = parts(limits=Limits(idle_seconds=0.1))
    listening = listener()
    host, port = listening.getsockname()
    with closing(chunked(f"{host}:{port}", LINES.items())) as connection:
        send(connection, lines(1))  # before anybody serves it, and so in time
        with serving(make_app(made), listening=listening):
            answer = connection.getresponse()
            assert (answer.status, json.load(answer)["accepted"]) == (408, 1)
            assert answer.headers["connection"] == "close"


def test_a_gzipped_body_is_unzipped_as_it_comes_member_after_member(served):
    body = gzip.compress(lines(600)) + gzip.compress(lines(600, start=600))
    answer = served.client.post("/events", content=body, headers=LINES | {"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1200)


def test_a_small_body_that_unzips_to_a_huge_one_is_refused(served):
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < SMALL.largest_bytes
    for kind in ("application/json", "application/x-ndjson"):
        answer = served.client.post(
            "/events", content=bomb, headers={"content-type": kind, "content-encoding": "gzip"}
        )
        assert answer.status_code == 413
    assert served.intake.batches == []


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(lines(5))[:-3], gzip.compress(lines(5)) + b"more", b""]
)
def test_broken_gzip_is_said_to_be(served, body):
    answer = served.client.post("/events", content=body, headers=LINES | {"content-encoding": "gzip"})
    assert answer.status_code == 400


def test_an_encoding_that_is_not_read_is_refused_and_the_one_that_is_named(served):
    answer = served.client.post("/events", content=b"", headers=LINES | {"content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip")


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(served):
    connection = http.client.HTTPConnection(served.host, timeout=LONGEST_SECONDS)
    connection.putrequest("POST", "/events")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(100 * 2**20))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    connection.close()


def test_a_body_that_turns_out_too_large_is_refused_and_what_was_taken_is_said(served):
    connection = chunked(served.host, LINES.items())
    piece = lines(500)
    while len(piece) <= SMALL.largest_bytes:
        piece += lines(500, start=500)
    send(connection, piece)
    answer = connection.getresponse()
    said = json.load(answer)
    assert answer.status == 413
    assert 0 < said["accepted"] == len(served.intake.events)
    connection.close()


def test_a_body_of_a_hundred_megabytes_fills_no_memory():
    async def endless():
        for _ in range(1600):
            yield (b"x" * 1023 + b"\n") * 64

    async def count():
        bodies = Bodies(Limits(largest_bytes=100 * 2**20, held_bytes=2**21))
        return sum([len(each) async for each in bodies.lines(endless(), "", None, at_most=1000)])

    assert asyncio.run(count()) == 1600 * 64 + 1


@pytest.mark.parametrize("kind", ["application/json", LINES["content-type"]])
def test_a_body_of_a_hundred_megabytes_is_refused_and_the_next_request_is_served(kind):
    made, seen = parts()
    with serving(make_app(made)) as address, asking(address) as client:
        answer = client.post("/events", content=iter([b" " * 2**20] * 100), headers={"content-type": kind})
        assert answer.status_code == 413
        assert client.post("/events", json=EVENT).status_code == 202
    assert (len(made.intake.events), seen.faults) == (1, [])


def test_bodies_in_memory_together_are_bounded_and_given_back():
    async def body(size):
        yield b"x" * size

    async def stuck(event):
        yield b"x" * 80
        await event.wait()

    async def story():
        bodies = Bodies(Limits(largest_bytes=100, held_bytes=100))
        event = asyncio.Event()
        first = asyncio.create_task(bodies.whole(stuck(event), "", None))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await bodies.whole(body(30), "", None)
        event.set()
        await first
        return refused.value.status, len(await bodies.whole(body(100), "", None))

    assert asyncio.run(story()) == (503, 100)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "application/json; charset=latin-1"])  # fmt: skip
def test_a_body_that_a_form_of_another_site_could_send_is_refused(served, kind):
    answer = served.client.post(
        "/events", content=json.dumps(EVENT), headers={"content-type": kind} if kind else {}
    )
    assert answer.status_code == 415
    assert served.intake.batches == []


def test_fhir_sent_to_the_wrong_address_is_shown_the_right_one(served):
    answer = served.client.post("/events", content=b"{}", headers={"content-type": "application/fhir+json"})
    assert answer.status_code == 415
    assert "/fhir" in answer.json()["detail"]


def test_a_source_is_given_to_events_that_name_none(served):
    served.client.post("/events?source=portal", json=[EVENT, EVENT | {"id": "2", "source": "lab"}])
    assert [event.source for event in served.intake.events] == ["portal", "lab"]


def test_a_misspelt_parameter_is_an_error(served):
    answer = served.client.post("/events?sorce=portal", json=EVENT)
    assert answer.status_code == 422
    assert "source" in answer.json()["detail"]
    assert served.intake.batches == []


CLOUD = {
    "specversion": "1.0",
    "id": "7",
    "source": "/adt",
    "type": "adt.admit",
    "time": "2026-03-03T10:00:00Z",
    "data": {"patient": "7001"},
}


def test_a_cloudevent_in_structured_mode_is_taken(served):
    headers = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    assert served.client.post("/events", content=json.dumps(CLOUD), headers=headers).status_code == 202
    assert [(event.source, event.id, event.type) for event in served.intake.events] == [
        ("/adt", "7", "admit")
    ]


def test_a_batch_of_cloudevents_is_taken(served):
    headers = {"content-type": "application/cloudevents-batch+json"}
    answer = served.client.post("/events", content=json.dumps([CLOUD, CLOUD | {"id": 3}]), headers=headers)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejects"][0]["index"]) == (
        202,
        1,
        1,
    )


def test_a_cloudevent_in_binary_mode_is_taken_and_kept_whole_when_it_is_none(served):
    headers = {f"ce-{name}": CLOUD[name] for name in ("specversion", "id", "source", "type", "time")}
    assert served.client.post("/events", json=CLOUD["data"], headers=headers).status_code == 202
    assert served.intake.events[0].patient == "7001"
    assert served.client.post("/events", json={}, headers=headers).status_code == 422
    assert json.loads(served.intake.rejects[0].content)["id"] == "7"


def test_what_cannot_be_made_durable_is_not_acknowledged_and_to_be_sent_again(served):
    served.intake.refuse_after, served.intake.refusal = 0, NotTaken("the disk is full")
    answer = served.client.post("/events", json=EVENT)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["accepted"]) == (503, "5", 0)
    assert "disk is full" in answer.json()["detail"]


def test_what_was_taken_before_the_trouble_is_said(served):
    served.intake.refuse_after, served.intake.refusal = 1, NotTaken("the disk is full")
    answer = served.client.post("/events", content=lines(LARGEST_BATCH + 1), headers=LINES)
    assert (answer.status_code, answer.json()["accepted"]) == (503, LARGEST_BATCH)


def test_what_should_not_happen_says_nothing_of_it_but_is_told_to_the_service(served):
    served.intake.refuse_after, served.intake.refusal = 0, RuntimeError("patient 7001")
    answer = served.client.post("/events", json=EVENT)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "7001" not in answer.text
    assert [str(fault) for fault in served.faults] == ["patient 7001"]
    served.faults.clear()


@pytest.mark.parametrize("header", [{"x-forwarded-for": "10.0.0.1"}, {"forwarded": "for=10.0.0.1"}, {"host": "evil.example"}, {"host": "127.0.0.1.evil.example:80"}])  # fmt: skip
def test_without_tokens_only_this_machine_itself_may_post(served, header):
    answer = served.client.post("/events", json=EVENT, headers=header)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="handoff-monitor"')
    assert "tokens" in answer.json()["detail"]
    assert served.intake.batches == []


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8080"]
)
def test_this_machine_has_several_names(served, host):
    assert served.client.post("/events", json=EVENT, headers={"host": host}).status_code == 202


def test_errors_of_the_protocol_have_the_same_shape(served):
    for method, path, status in [("GET", "/events", 405), ("POST", "/nothing", 404), ("GET", "/docs", 404)]:
        answer = served.client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
    assert served.client.get("/events").headers["allow"] == "POST"


def test_every_answer_keeps_browsers_from_harm(served):
    for path in ("/readyz", "/nothing"):
        headers = served.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
