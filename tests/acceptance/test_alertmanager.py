"""Alerts reach the real Alertmanager, stay while they fire, climb, and end."""

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest
from debian import movable, unpacked
from held_ports import held_port, port_of

from monitor.notify.alertmanager import AlertmanagerSink
from monitor.notify.notice import Delivery

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
from notices import FIRING, LONGEST_SECONDS, WebServer, later, until

pytestmark = pytest.mark.acceptance

CONFIG = """\
route:
  receiver: pager
  group_by: [alert, receiver]
  group_wait: 0s
  group_interval: 100ms
  repeat_interval: 1h
receivers:
  - name: pager
    webhook_configs:
      - {url: "%s", send_resolved: true}
"""


@pytest.fixture(scope="module")
def binary():
    program = unpacked("prometheus-alertmanager") / "usr/bin/prometheus-alertmanager"
    return movable(program, "/usr/share/prometheus/alertmanager")


@pytest.fixture
def pager():
    with WebServer() as server:
        yield server


@pytest.fixture
def alertmanager(binary, pager, tmp_path):
    """The address of a running Alertmanager that notifies `pager`."""
    (tmp_path / "config.yml").write_text(CONFIG % pager.url)
    held = held_port()
    port = port_of(held)
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={tmp_path}/config.yml",
            f"--storage.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        cwd=binary.parents[2],
        stdout=log,
        stderr=log,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(until(lambda: process.poll() is not None or is_ready(url)))
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(LONGEST_SECONDS)
        log.close()
        held.close()


def is_ready(url):
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def active(url):
    """The alerts that fire there now, by level; by the API, as its own pages show them."""
    with urlopen(f"{url}/api/v2/alerts", timeout=LONGEST_SECONDS) as answer:
        return {alert["labels"]["level"]: alert for alert in json.load(answer)}


def notified(pager):
    """All that was told on: level, receiver and state of each alert in each notification."""
    return [
        (alert["labels"]["level"], alert["labels"]["receiver"], alert["status"])
        for request in pager.requests
        for alert in json.loads(request.body)["alerts"]
    ]


class World:
    """A sink on Alertmanager, and what fires by the monitor."""

    def __init__(self, url, refresh_seconds):
        self.firing = []
        self.sink = AlertmanagerSink(
            "am",
            [url],
            lambda _: "bed",
            lambda: datetime.now(UTC),
            self._firing,
            refresh_seconds=refresh_seconds,
        )

    async def _firing(self, _):
        return self.firing

    async def tell(self, notice, receiver="default"):
        await self.sink.send([Delivery(1, "am", receiver, notice)])
        self.firing = [("default", notice)] if notice.state == "firing" else []


@asynccontextmanager
async def world(url, refresh_seconds=60.0):
    made = World(url, refresh_seconds)
    try:
        yield made
    finally:
        await made.sink.close()


NOW = datetime.now(UTC).replace(microsecond=0)
FIRES = later(at=NOW)


def test_an_alert_fires_and_resolves_with_what_people_need_and_without_the_patient(alertmanager, pager):
    async def main():
        async with world(alertmanager) as monitor:
            await monitor.tell(FIRES)
            await until(lambda: notified(pager) == [("0", "default", "firing")])
            await monitor.tell(later(FIRES, state="resolved", reason="late", place="ward-4w"))
            await until(lambda: notified(pager)[1:] == [("0", "default", "resolved")])
            assert active(alertmanager) == {}

    asyncio.run(main())
    [fired, _] = [json.loads(request.body)["alerts"][0] for request in pager.requests]
    assert fired["labels"]["alertname"] == "ed-boarding"
    assert fired["labels"]["alert"] == FIRING.alert
    assert fired["annotations"]["action"] == "find a bed"
    assert fired["generatorURL"].startswith("https://board.example/alerts/")
    assert "1000091" not in json.dumps(fired)


def test_what_fires_goes_on_while_it_is_told_again_and_ends_when_the_monitor_is_gone(alertmanager, pager):
    lasts = 5 * 2.0

    async def main():
        async with world(alertmanager, refresh_seconds=2.0) as monitor:
            await monitor.tell(FIRES)
            first_end = datetime.fromisoformat(active(alertmanager)["0"]["endsAt"])
            for _ in range(22):
                await asyncio.sleep(0.5)
                await monitor.sink.refresh()
            alert = active(alertmanager)["0"]
            assert (datetime.fromisoformat(alert["endsAt"]) - first_end).total_seconds() > lasts
            assert datetime.fromisoformat(alert["startsAt"]) == NOW
            assert notified(pager) == [("0", "default", "firing")], "told again, it is no new alert"
            await until(lambda: notified(pager)[1:] == [("0", "default", "resolved")])

    asyncio.run(main())


def test_an_escalation_is_a_new_alert_and_ends_the_one_before_it(alertmanager, pager):
    async def main():
        async with world(alertmanager) as monitor:
            await monitor.tell(FIRES)
            await until(lambda: ("0", "default", "firing") in notified(pager))
            raised = later(FIRES, level=1, severity="critical")
            await monitor.tell(raised)
            await monitor.tell(raised, "site manager")
            await until(lambda: ("1", "site manager", "firing") in notified(pager))
            await until(
                lambda: {("0", "default", "resolved"), ("1", "default", "firing")} <= set(notified(pager))
            )
            assert set(active(alertmanager)) == {"1"}
            ended = later(raised, state="resolved", reason="withdrawn")
            await monitor.tell(ended)
            await monitor.tell(ended, "site manager")
            await until(lambda: ("1", "default", "resolved") in notified(pager))
            await until(lambda: ("1", "site manager", "resolved") in notified(pager))
            assert active(alertmanager) == {}

    asyncio.run(main())
