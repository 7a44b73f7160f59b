"""A whole notifier, its group played by a consumer of a few lines: records in, requests to a receiver out, and what it answers."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from test_notifying import CLUSTER, topic  # noqa: F401 - a fixture

from monitor.board.app import make_app
from monitor.board.auth import Access, Tokens
from monitor.commands.notify import parts_of
from monitor.runtime.clock import LiveClock
from monitor.runtime.notify_service import NotifyService
from monitor.runtime.rules import load
from monitor.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
from notices import FIRING, WebServer, later, resolved, until

RULES = """\
rules:
  - id: ed-boarding
    summary: admitted patient still in the emergency department
    severity: warning
    owner: bed manager
    when: {type: admit}
    expect: {type: depart}
    within: 4h
    escalate:
      - {after: 1h, severity: critical, notify: site manager}
"""
TOKENS = """\
tokens:
  - {name: ward, role: clinician, token: a-word-of-the-ward}
"""
WARD = {"authorization": "Bearer a-word-of-the-ward"}
UNKNOWN = msgspec.structs.replace(
    FIRING, alert="0b9d6a4e-0000-5000-8000-0000000000ff", rule="gone", owner=None
)


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def service(topic, web, tmp_path):  # noqa: F811 - the fixture
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = Settings.model_validate(
        {
            "data": str(tmp_path / "data"),
            "rules": [str(tmp_path / "rules.yaml")],
            "sinks": {name: {"webhook": f"{web.url}/{name}"} for name in ("beds", "site", "rest")},
            "receivers": {
                "bed manager": {"sinks": ["beds"]},
                "site manager": {"sinks": ["site"]},
                "default": {"sinks": ["rest"]},
            },
        }
    )
    loaded, _ = load(settings.rules, None)
    return NotifyService(settings, CLUSTER, loaded, LiveClock())


@asynccontextmanager
async def running(service):
    service.start()
    try:
        await until(lambda: not service.problems())
        yield
    finally:
        await service.stop()


def told(web):
    """Path and state of each request."""
    found = [(each.path[1:], json.loads(each.body)["alert"]) for each in web.requests]
    return sorted((path, alert["state"], alert["level"]) for path, alert in found)


def test_roles_come_from_the_rules_and_who_was_told_hears_the_end(service, topic, web):  # noqa: F811
    async def scene():
        async with running(service):
            topic.send(FIRING)
            await until(lambda: told(web) == [("beds", "firing", 0)])
            web.requests.clear()
            topic.send(later(level=1, severity="critical"))
            await until(lambda: told(web) == [("beds", "firing", 1), ("site", "firing", 1)])
            web.requests.clear()
            topic.send(resolved(level=1))
            await until(lambda: told(web) == [("beds", "resolved", 1), ("site", "resolved", 1)])
            await until(lambda: topic.by_sink == {"beds": 3, "rest": 3, "site": 3})

    asyncio.run(scene())


def test_an_alert_of_a_rule_that_is_not_known_here_goes_to_default(service, topic, web):  # noqa: F811
    async def scene():
        async with running(service):
            topic.send(UNKNOWN)
            await until(lambda: told(web) == [("rest", "firing", 0)])

    asyncio.run(scene())


def test_a_sink_that_is_down_holds_up_only_its_own(service, topic, web):  # noqa: F811
    web.answer = lambda request: 503 if request.path == "/beds" else 200

    async def scene():
        async with running(service):
            topic.send(FIRING, UNKNOWN)
            await until(lambda: topic.by_sink == {"beds": 0, "rest": 2, "site": 2})
            web.answer = None
            await until(lambda: topic.by_sink["beds"] == 2)

    asyncio.run(scene())


def test_new_rules_count_for_what_comes_then(service, topic, web, tmp_path):  # noqa: F811
    async def scene():
        async with running(service):
            (tmp_path / "rules.yaml").write_text(RULES.replace("site manager", "nobody we know"))
            await until(lambda: service.rules[0].escalate[0].notify == "nobody we know")
            topic.send(later(level=1))
            await until(lambda: told(web) == [("beds", "firing", 1), ("rest", "firing", 1)])
            (tmp_path / "rules.yaml").write_text("rules: 5")
            await until(service.warnings)
            assert "the old rules are in use" in dict(service.warnings())["rules"]

    asyncio.run(scene())


def test_alerts_are_shown_and_acknowledged_and_nothing_else_is_answered(service, topic, tmp_path):  # noqa: F811
    (tmp_path / "tokens.yaml").write_text(TOKENS)

    async def scene():
        app = make_app(parts_of(service, Access(Tokens(tmp_path / "tokens.yaml"))))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://n", headers=WARD) as client:
            answer = (await client.get("/readyz")).json()
            assert [each["what"] for each in answer["problems"]] == ["kafka"]
            assert (await client.get("/healthz")).status_code == 503
            async with running(service):
                topic.send(FIRING)
                await until(service.reader.alerts)
                path = f"/api/alerts/{FIRING.alert}"
                acked = await client.post(f"{path}/ack", json={"reason": "bed at 15:30"})
                assert acked.status_code == 200
                [mark] = (await client.get(path)).json()["acknowledged"]
                assert (mark["who"], mark["reason"]) == ("ward", "bed at 15:30")
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                for each in ("/api/verdicts", "/api/journeys/k3j2abcdef", "/api/rejects"):
                    assert (await client.get(each)).status_code == 404
                assert (await client.post("/events", json={})).status_code == 404
                paths = (await client.get("/openapi.json")).json()["paths"]
                assert {"/api/alerts", "/api/alerts/{alert}/ack", "/metrics"} <= set(paths)
                assert "/api/verdicts" not in paths

    asyncio.run(scene())


def test_what_is_counted_is_that_of_the_live_service(service, topic, web):  # noqa: F811
    at = service.clock.now() - timedelta(seconds=2)
    fired = msgspec.structs.replace(FIRING, at=at, sequence=(1, at, 0))

    async def scene():
        async with running(service):
            topic.send(fired, fired, UNKNOWN)
            topic.records.append(b"nonsense")
            await until(lambda: topic.by_sink == {"beds": 4, "rest": 4, "site": 4})
            text = service.metrics.exposition("")[0].decode()
        of_rule = 'rule="ed-boarding",severity="warning",state="firing"'
        assert f'handoff_alerts_total{{reason="",{of_rule}}} 1.0' in text
        assert 'handoff_deliveries_total{result="delivered",sink="beds"} 1.0' in text
        assert 'handoff_alert_latency_seconds_count{sink="beds"} 1.0' in text
        assert 'handoff_rejects_total{reason="not-a-notice",source="other"} 1.0' in text

    asyncio.run(scene())
