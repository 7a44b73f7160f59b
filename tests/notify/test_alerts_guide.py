"""What the guide to alerts shows is true."""

import asyncio
import json
import re
from pathlib import Path

import yaml
from msgspec import to_builtins
from notices import FIRING, NOW, TRUST, WebServer, delivery, later

from monitor.core.place import Registry
from monitor.notify.routing import Router, problems
from monitor.notify.text import _ENDS, plain
from monitor.notify.webhook import WebhookSink, body
from monitor.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs/guides/alerts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


def test_its_settings_and_registry_tell_those_whom_it_says_they_tell():
    settings, registry = (
        model.model_validate(yaml.load(text, yaml.BaseLoader))
        for model, text in zip((Settings, Registry), blocks("yaml")[:2], strict=True)
    )
    assert problems(settings, [], registry) == []
    router = Router(settings, registry)
    owned = later(owner="nurse in charge")
    assert router.route(later(owned, place="ed"), [], []) == [("chat", "ED desk")]
    assert router.route(later(owned, place="ward-4w"), [], []) == [("mail", "ward-4w@example.org")]
    assert router.route(later(owned, place="amu"), [], []) == [("log", "default"), ("prometheus", "default")]


def test_its_way_to_verify_a_webhook_knows_ours_from_others(tmp_path):
    made = {}
    exec(blocks("python")[0], made)
    is_ours = made["is_ours"]
    (tmp_path / "key").write_text("s3cret")

    async def main(url):
        sink = WebhookSink(
            "hook", url, lambda _: "bed", lambda: NOW, secret_file=str(tmp_path / "key"), tls=TRUST
        )
        await sink.send([delivery()])
        await sink.close()

    with WebServer() as server:
        asyncio.run(main(server.url))
        [request] = server.requests
    now = NOW.timestamp()
    assert is_ours(request.body, request.headers, "s3cret", now)
    assert not is_ours(request.body + b" ", request.headers, "s3cret", now)
    assert not is_ours(request.body, request.headers, "other", now)
    assert not is_ours(request.body, request.headers, "s3cret", now + 301)
    assert not is_ours(
        request.body, request.headers | {"Handoff-Timestamp": str(int(now) + 1)}, "s3cret", now
    )


def test_it_shows_what_a_webhook_gets():
    shown = json.loads(blocks("json")[0])
    sent = to_builtins(body(delivery(FIRING), "bed"))
    assert list(shown) == list(sent)
    assert set(shown["alert"]) == set(sent["alert"])


def test_it_shows_what_a_person_reads():
    raised = later(at=NOW, level=1, severity="critical", runbook=None, link=None)
    assert plain(raised, "bed") == blocks("text")[0]


def test_it_has_every_reason_with_its_words():
    table = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", GUIDE, re.MULTILINE))
    for reason, (_, words) in _ENDS.items():
        assert words in table[reason]
