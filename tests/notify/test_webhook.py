"""What a web server gets of an alert."""

import asyncio
import hmac
import json
import ssl

import pytest
import trustme
from notices import FIRING, NOW, TRUST, WebServer, delivery, later, silent_port

from monitor.notify.notice import NotDelivered
from monitor.notify.webhook import WebhookSink


def send(url, *deliveries, sees="bed", **options):
    async def main():
        sink = WebhookSink("hook", url, lambda receiver: sees, lambda: NOW, **{"tls": TRUST} | options)
        try:
            await sink.send(deliveries)
        finally:
            await sink.close()

    asyncio.run(main())


@pytest.fixture
def server():
    with WebServer() as server:
        yield server


def test_the_body_is_the_alert_with_what_the_receiver_may_see(server):
    send(f"{server.url}/alerts?team=beds", delivery(receiver="bed manager"))
    [request] = server.requests
    body = json.loads(request.body)
    alert = body.pop("alert")
    assert request.path == "/alerts?team=beds"
    assert request.headers["Content-Type"] == "application/json"
    assert body == {
        "version": 1,
        "key": request.headers["Idempotency-Key"],
        "receiver": "bed manager",
        "title": "[warning] Emergency department: admitted patient still in the emergency department",
        "text": "[warning] Emergency department, ED, room 12, bed A, pseudonym k3j2abcdef: admitted patient still in the "
        "emergency department; due Tue 6 Jan 2026 18:43 GMT, late by less than a minute, and still open; to do: find a bed",
    }
    assert (alert["patient"], alert["encounter"], alert["pseudonym"]) == ("", None, "k3j2abcdef")
    assert (alert["state"], alert["level"], alert["from"]) == ("firing", 0, "ed")
    assert alert["due_at"] == "2026-01-06T18:43:00.000000Z"
    assert alert["sequence"] == [1, "2026-01-06T18:43:00.000000Z", 0]
    assert "1000091" not in request.body.decode()


def test_one_that_may_see_all_gets_the_patient(server):
    send(server.url, delivery(), sees="full")
    alert = json.loads(server.requests[0].body)["alert"]
    assert (alert["patient"], alert["encounter"]) == ("1000091", "V-77")


def test_a_body_is_signed_with_the_secret_that_the_file_has_at_that_time(server, tmp_path):
    file = tmp_path / "secret"
    for key in ("first", "second"):
        file.write_text(f"{key}\n")
        send(server.url, delivery(), secret_file=str(file))
        request = server.requests[-1]
        signed = request.headers["Handoff-Timestamp"].encode() + b"." + request.body
        expected = hmac.new(key.encode(), signed, "sha256").hexdigest()
        assert request.headers["Handoff-Timestamp"] == str(int(NOW.timestamp()))
        assert request.headers["Handoff-Signature"] == f"v1={expected}"


def test_a_token_is_sent_as_the_file_has_it(server, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    send(server.url, delivery(), token_file=str(tmp_path / "token"))
    assert server.requests[0].headers["Authorization"] == "Bearer s3cret"


def test_without_files_nothing_is_signed_and_no_token_sent(server):
    send(server.url, delivery())
    assert not {"Authorization", "Handoff-Signature"} & set(server.requests[0].headers)


def test_a_secret_that_cannot_be_read_is_waited_for_and_nothing_is_sent(server, tmp_path):
    for file in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(NotDelivered) as error:
            send(server.url, delivery(), secret_file=str(file))
        assert error.value.retry
    assert server.requests == []


def test_a_repeat_has_the_same_key_and_every_change_and_receiver_another(server):
    changes = [FIRING, later(), later(level=1), FIRING]
    for notice in changes:
        send(server.url, delivery(notice))
    send(server.url, delivery(receiver="other"))
    first, second, third, again, other = [request.headers["Idempotency-Key"] for request in server.requests]
    assert first == again
    assert second == third, "the sequence tells changes apart, not the content"
    assert len({first, second, other}) == 3


@pytest.mark.parametrize(
    ("status", "retry"),
    [
        *((status, False) for status in (400, 410, 413, 422)),
        *((status, True) for status in (401, 403, 404, 408, 429, 500, 503, 301, 307)),
    ],
)
def test_what_the_answer_means(server, status, retry):
    server.status = status
    server.headers = {"Location": f"{server.url}/elsewhere"} if status < 400 else {}
    with pytest.raises(NotDelivered, match=f"^answered with status {status}$") as error:
        send(server.url, delivery())
    assert error.value.retry is retry
    assert len(server.requests) == 1, "no redirect is followed"


def test_nobody_there_is_tried_again():
    with (
        silent_port() as port,
        pytest.raises(NotDelivered, match="no connection: ConnectError") as error,
    ):
        send(f"http://127.0.0.1:{port}/secret-path", delivery())
    assert error.value.retry
    assert "secret-path" not in str(error.value)


def test_only_a_certificate_of_those_it_trusts_will_do():
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with WebServer(tls) as server:
        send(server.url, delivery(), tls=trusting)
        with pytest.raises(NotDelivered):
            send(server.url, delivery(), tls=None)
        with pytest.raises(NotDelivered):
            send(server.url.replace("localhost", "127.0.0.1"), delivery(), tls=trusting)
        assert len(server.requests) == 1
