"""What an installation of the service is told: `handoff.yaml`, the environment, options."""

from monitor.settings.load import load_settings, unreadable_files
from monitor.settings.model import (
    AlertmanagerSink,
    AppriseSink,
    Brokers,
    Cluster,
    EmailSink,
    Follow,
    Http,
    Identifiers,
    Kafka,
    LogSink,
    Mllp,
    Receiver,
    Settings,
    Sink,
    Tls,
    Topic,
    WebhookSink,
)
from monitor.settings.reference import settings_keys, settings_schema, variables_table

__all__ = [
    "AlertmanagerSink",
    "AppriseSink",
    "Brokers",
    "Cluster",
    "EmailSink",
    "Follow",
    "Http",
    "Identifiers",
    "Kafka",
    "LogSink",
    "Mllp",
    "Receiver",
    "Settings",
    "Sink",
    "Tls",
    "Topic",
    "WebhookSink",
    "load_settings",
    "settings_keys",
    "settings_schema",
    "unreadable_files",
    "variables_table",
]
