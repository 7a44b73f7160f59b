"""What a service shows and keeps of itself before anything has happened."""

import asyncio

import pytest

from monitor.runtime.clock import LiveClock
from monitor.runtime.reader import Reader
from monitor.runtime.rules import load
from monitor.runtime.service import Service
from monitor.settings import LogSink, Receiver, Settings, WebhookSink

RULES = "rules: [{id: r, summary: s, severity: info, never: {type: fall}}]\n"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Makes services in a directory, and ends them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "microsystems.yaml").write_text("microsystems: [{id: ed}]\n")
    made = []

    def serve(**settings):
        settings = Settings(data="data", rules=["rules.yaml"], **settings)
        loaded, _ = load(settings.rules, settings.microsystems)
        made.append(Service(settings, loaded, LiveClock()))
        return made[-1]

    yield serve
    for each in made:
        asyncio.run(each.stop())


def test_each_sink_has_no_delivery_that_waits_before_the_first(serve):
    service = serve(
        sinks={"log": LogSink(), "hook": WebhookSink(webhook="http://127.0.0.1:1/")},
        receivers={"default": Receiver(sinks=["log"])},
    )
    shown = service.metrics.exposition("")[0].decode()
    assert 'handoff_outbox_pending{sink="hook"} 0.0' in shown
    assert 'handoff_outbox_pending{sink="log"} 0.0' in shown


def test_where_the_registry_stands_is_kept_for_who_plans(serve, tmp_path):
    serve(microsystems="microsystems.yaml")
    reader = Reader(tmp_path / "data")
    assert reader.registry() == str(tmp_path / "microsystems.yaml")
    reader.close()


def test_that_there_is_no_registry_is_kept_too(serve, tmp_path):
    serve()
    reader = Reader(tmp_path / "data")
    assert reader.registry() == ""
    reader.close()
