"""The sinks that the settings name."""

import asyncio
import json

from notices import NOW, WebServer, delivery

from monitor.notify.sinks import make_sinks
from monitor.settings import Settings


def sinks(told, log=None, receivers=None):
    settings = Settings.model_validate(
        {"sinks": told, "receivers": receivers or {"default": {"sinks": list(told)}}}
    )
    return make_sinks(settings, log=log or (lambda *_, **__: None), now=lambda: NOW, firing=nothing)


async def nothing(_):
    return []


def send(sink, *deliveries):
    async def main():
        await sink.send(deliveries)
        await sink.close()

    asyncio.run(main())


def test_there_is_a_sink_of_each_kind_by_its_name(tmp_path):
    made = sinks(
        {
            "lines": {"log": "true"},
            "hook": {"webhook": "https://hook.example"},
            "am": {"alertmanager": ["http://am.example"]},
            "mail": {"email": "mail.example", "sender": "m@example.org", "gather": "5s"},
            "chat": {"apprise_file": str(tmp_path / "urls")},
        }
    )
    assert [(name, type(sink).__name__, sink.name) for name, sink in made.items()] == [
        ("lines", "LogSink", "lines"),
        ("hook", "WebhookSink", "hook"),
        ("am", "AlertmanagerSink", "am"),
        ("mail", "EmailSink", "mail"),
        ("chat", "AppriseSink", "chat"),
    ]
    assert made["mail"].gather_seconds == 5.0
    asyncio.run(closed(made))


async def closed(made):
    for sink in made.values():
        await sink.close()


def test_a_receiver_sees_what_it_may_whatever_the_sink_shows_to_others():
    with WebServer() as server:
        receivers = {"default": {"sinks": ["hook"]}, "doctor": {"sinks": ["hook"], "identifiers": "full"}}
        for receiver in ("default", "doctor"):
            [hook] = sinks({"hook": {"webhook": server.url}}, receivers=receivers).values()
            send(hook, delivery(receiver=receiver))
        assert [json.loads(request.body)["alert"]["patient"] for request in server.requests] == [
            "",
            "1000091",
        ]


def test_a_logged_alert_names_no_patient_unless_the_settings_say_so():
    lines = []

    def log(event, **fields):
        lines.append((event, fields))

    for told in ({"log": "true"}, {"log": "true", "identifiers": "full"}):
        send(sinks({"lines": told}, log)["lines"], delivery())
    [(event, plain), (_, full)] = lines
    assert event == "alert_told"
    assert plain == {
        "sink": "lines",
        "receiver": "default",
        "alert": "0b9d6a4e-0000-5000-8000-000000000001",
        "rule": "ed-boarding",
        "severity": "warning",
        "state": "firing",
        "level": 0,
        "reason": None,
        "text": "[warning] Emergency department: admitted patient still in the emergency department; "
        "due Tue 6 Jan 2026 18:43 GMT, late by less than a minute, and still open; to do: find a bed",
    }
    assert "1000091" in full["text"]


def test_a_contact_that_is_an_address_gets_its_mail_there():
    [mail] = sinks({"mail": {"email": "mail.example", "sender": "m@example.org"}}).values()
    assert list(mail._addresses("on-call@example.org")) == ["on-call@example.org"]
    assert list(mail._addresses("nobody")) == []
    asyncio.run(mail.close())
