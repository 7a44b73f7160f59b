"""`handoff.yaml` for editors (JSON Schema) and for people (tables in Markdown), both made from the models."""

from __future__ import annotations

from typing import Any, Final

from monitor.rulefile.reference import keys_of
from monitor.rulefile.schema import schema_of
from monitor.settings.load import keys
from monitor.settings.model import Settings

_TITLES: Final = {
    "Mllp": "mllp",
    "Http": "http",
    "Tls": "tls",
    "Follow": "follow",
    "Kafka": "kafka",
    "Cluster": "cluster",
    "LogSink": "log sink",
    "WebhookSink": "webhook sink",
    "AlertmanagerSink": "Alertmanager sink",
    "EmailSink": "e-mail sink",
    "AppriseSink": "Apprise sink",
    "Receiver": "receiver",
}


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of `handoff.yaml`."""
    return schema_of(Settings, "Settings of handoff-monitor")


def settings_keys() -> str:
    """A table of the keys of `handoff.yaml`, and one for each part of it."""
    return keys_of(settings_schema(), "The file", _TITLES)


def variables_table() -> str:
    """A table of the variables of the environment, each with its key."""
    rows = ["| variable | key |", "| --- | --- |"]
    rows += [
        f"| `{key.variable}` | `{'.'.join(key.path)}`{', a list' if key.is_list else ''} |" for key in keys()
    ]
    return "\n".join(rows) + "\n"
