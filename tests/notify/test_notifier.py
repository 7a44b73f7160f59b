"""What keeps Alertmanager told while the service runs."""

import asyncio
import json

from notices import FIRING, NOW, TRUST, WebServer, until

from monitor.notify.alertmanager import AlertmanagerSink
from monitor.notify.notifier import Notifier


class Empty:
    """An outbox in which nothing ever is due."""

    async def due(self, sink, limit):
        return []


def keep(url, firing, done, **options):
    """Let a notifier run until `done(results)`; the results."""
    results = []

    async def main():
        sink = AlertmanagerSink(
            "am", [url], lambda _: "bed", lambda: NOW, firing, tls=TRUST, refresh_seconds=0.01, **options
        )
        running = asyncio.create_task(Notifier({"am": sink}, Empty(), results.append).run())
        await until(lambda: done(results))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    return results


def test_what_fires_is_told_at_the_start_and_again_and_again():
    async def firing(_):
        return [("default", FIRING)]

    with WebServer() as server:
        assert keep(server.url, firing, lambda _: len(server.requests) > 2) == []
        assert all(
            json.loads(request.body)[0]["labels"]["alert"] == FIRING.alert for request in server.requests
        )


def test_it_goes_on_when_what_fires_cannot_be_read_or_told_for_a_while():
    looks = []

    async def firing(_):
        looks.append(1)
        if len(looks) == 1:
            raise OSError("disk of patient 1000091")
        return [("default", FIRING)]

    with WebServer() as server:
        server.answer = lambda _: 503 if len(server.requests) < 2 else 200
        results = keep(server.url, firing, lambda _: len(server.requests) > 2)
    assert [(result.outcome, result.why) for result in results] == [
        ("outbox", "OSError"),
        ("retry", "answered with status 503"),
    ]
