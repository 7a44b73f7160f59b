"""What Apprise's services get of an alert; here the one that posts JSON."""

import asyncio
import json

import pytest
from notices import WebServer, delivery, resolved, silent_port

from monitor.notify.apprise import AppriseSink
from monitor.notify.notice import NotDelivered


@pytest.fixture
def servers():
    with WebServer() as first, WebServer() as second:
        yield first, second


def address(server):
    return f"json://user:pass@127.0.0.1:{server.port}/"


def send(file, *deliveries, times=1, sees="none"):
    """Send so many times over one sink; what went wrong each time."""
    problems = []

    async def main():
        sink = AppriseSink("chat", str(file), lambda _: sees)
        for _ in range(times):
            try:
                await sink.send(deliveries)
            except NotDelivered as problem:
                problems.append(str(problem) if problem.retry else "given up")
        await sink.close()

    asyncio.run(main())
    return problems


def test_every_address_of_the_file_gets_the_alert(servers, tmp_path):
    (tmp_path / "urls").write_text(f"# the ward's chat\n{address(servers[0])}\n\n  {address(servers[1])}\n")
    assert send(tmp_path / "urls", delivery()) == []
    for server in servers:
        [request] = server.requests
        body = json.loads(request.body)
        assert (
            body["title"]
            == "[warning] Emergency department: admitted patient still in the emergency department"
        )
        assert "What to do: find a bed" in body["message"]
        assert body["type"] == "warning"
        assert "k3j2abcdef" not in request.body.decode()


def test_an_end_is_told_as_good_news(servers, tmp_path):
    (tmp_path / "urls").write_text(address(servers[0]))
    send(tmp_path / "urls", delivery(resolved()))
    assert json.loads(servers[0].requests[0].body)["type"] == "success"


def test_one_that_fails_is_tried_again_and_the_others_are_not_told_twice(servers, tmp_path):
    servers[0].answer = lambda _: 500 if len(servers[0].requests) < 3 else 200
    (tmp_path / "urls").write_text(f"{address(servers[0])}\n{address(servers[1])}\n")
    assert send(tmp_path / "urls", delivery(), times=3) == ["line 1 did not take it"] * 2
    assert [len(server.requests) for server in servers] == [3, 1]


def test_the_next_alert_goes_to_all_again(servers, tmp_path):
    (tmp_path / "urls").write_text(address(servers[0]))
    send(tmp_path / "urls", delivery(), times=2)
    assert len(servers[0].requests) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "line 1 is no address that Apprise knows"),
        ("\njson://secret@127.0.0.1:{port}/", "line 2 did not take it"),
    ],
)
def test_what_went_wrong_is_told_without_the_address(tmp_path, capfd, text, problem):
    with silent_port() as port:
        (tmp_path / "urls").write_text(text.format(port=port))
        assert send(tmp_path / "urls", delivery()) == [problem]
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_there_is_waited_for(tmp_path):
    assert send(tmp_path / "none", delivery()) == [
        f"cannot read {tmp_path / 'none'}: No such file or directory"
    ]
