"""The server itself: who says nothing is not waited for, and who must show a certificate shows one."""

import socket
import ssl
import time
from contextlib import closing, suppress
from http.client import HTTPConnection

import httpx
import pytest
import trustme
from web import LONGEST_SECONDS, listener, parts, serving

from monitor.board import server
from monitor.board.app import make_app
from monitor.ingest.body import Limits
from monitor.settings import Tls

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=LONGEST_SECONDS)


def talk(address, said):
    """What the server says before it ends the connection, in whatever way, and were it before all was said."""
    with connected(address) as connection:
        with suppress(ConnectionError):
            connection.sendall(said)
        return heard(connection)


def heard(connection):
    """All that comes until the other side ends the connection."""
    found = b""
    with suppress(ConnectionError):
        while piece := connection.recv(4096):
            found += piece
    return found


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_who_does_not_finish_a_request_is_not_waited_for(monkeypatch, begun):
    monkeypatch.setattr(server.TimedProtocol, "head_seconds", 0.1)
    with serving(make_app(parts()[0])) as address:
        assert talk(address, begun) == b""


def test_who_does_not_finish_a_further_request_is_not_waited_for(monkeypatch):
    with serving(make_app(parts()[0])) as address:
        client = HTTPConnection(address.removeprefix("http://"), timeout=LONGEST_SECONDS)
        with closing(client):
            client.request("GET", "/healthz")
            with client.getresponse() as answer:
                assert (answer.status, answer.will_close) == (200, False)
                answer.read()
            monkeypatch.setattr(server.TimedProtocol, "head_seconds", 0.1)
            client.sock.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert heard(client.sock) == b""


def test_a_request_may_take_longer_than_its_head(monkeypatch):
    monkeypatch.setattr(server.TimedProtocol, "head_seconds", 0.05)
    body = b'{"id": "1", "type": "triage", "patient": "7", "occurred_at": "2026-03-03T10:00:00Z"}'
    head = (
        b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    listening = listener()
    with socket.create_connection(listening.getsockname(), timeout=LONGEST_SECONDS) as connection:
        connection.sendall(head)  # before anybody serves it, and so in time
        with serving(make_app(parts()[0]), listening=listening):
            for byte in body:
                connection.sendall(bytes([byte]))
                time.sleep(0.002)
            assert heard(connection).startswith(b"HTTP/1.1 202")


def test_who_goes_on_sending_a_body_that_was_refused_is_answered_and_then_ended(monkeypatch):
    monkeypatch.setattr(server.TimedProtocol, "head_seconds", 0.2)
    made, _ = parts(limits=Limits(largest_bytes=1_000))
    head = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90000000\r\n\r\n"
    listening = listener()
    with socket.create_connection(listening.getsockname(), timeout=LONGEST_SECONDS) as connection:
        connection.sendall(head + b" " * 50_000)
        with serving(make_app(made), listening=listening):
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
            with pytest.raises(OSError):  # noqa: PT012 - whichever piece meets the end
                for _ in range(100_000):
                    connection.sendall(b" ")
                    time.sleep(0.005)


def test_a_head_that_is_too_large_or_no_http_is_refused():
    with serving(make_app(parts()[0])) as address:
        for head in (
            b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000,
            b"MSH|^~\\&|PAS\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        ):
            assert talk(address, head).startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{address}/healthz", timeout=LONGEST_SECONDS).status_code == 200


def test_more_connections_than_allowed_are_answered_and_ended(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with serving(make_app(parts()[0])) as address:
        idle = [connected(address) for _ in range(3)]
        try:
            assert talk(address, HEALTH).startswith(b"HTTP/1.1 503")
        finally:
            for each in idle:
                each.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A certificate for the server, and the authority that signs those of clients."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    for name, blob in (
        ("ca", authority.cert_pem),
        ("key", certificate.private_key_pem),
        ("cert", certificate.cert_chain_pems[0]),
    ):
        blob.write_to_path(str(folder / name))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    known = ssl.create_default_context()
    authority.configure_trust(known)
    authority.issue_cert("client").configure_cert(known)
    return folder, context, known


def test_over_tls_it_is_the_same(files):
    folder, context, _ = files
    tls = Tls(certificate=str(folder / "cert"), key=str(folder / "key"))
    with serving(make_app(parts()[0]), tls) as address:
        assert httpx.get(f"{address}/healthz", verify=context, timeout=LONGEST_SECONDS).status_code == 200


def test_where_clients_need_a_certificate_no_one_is_answered_without(files):
    folder, context, known = files
    tls = Tls(certificate=str(folder / "cert"), key=str(folder / "key"), client_ca=str(folder / "ca"))
    with serving(make_app(parts()[0]), tls) as address:
        assert httpx.get(f"{address}/healthz", verify=known, timeout=LONGEST_SECONDS).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{address}/healthz", verify=context, timeout=LONGEST_SECONDS)
