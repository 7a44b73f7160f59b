"""What an installation of the service is told: one file `handoff.yaml`, the environment (`HANDOFF_...`), options; the later wins.

The models below are the definition of that file. Secrets are never in it: it names files, or variables of the environment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from monitor.core.text import Duration, Flag, Maybe, Model, Number

Identifiers = Literal["full", "bed", "none"]


class Tls(Model):
    """Certificates of something that listens."""

    certificate: str
    """A PEM file: the certificate, and those above it."""
    key: str
    """A PEM file: its private key."""
    client_ca: Maybe[str] = None
    """A PEM file: who must have signed the certificates of clients; without it clients need none."""


class Mllp(Model):
    """Where HL7 v2 messages come in over MLLP."""

    host: str = "127.0.0.1"
    port: Number = 2575
    tls: Maybe[Tls] = None
    connections: Number = 500
    """How many may be open at once."""
    largest_kilobytes: Number = 16_384
    """The largest message; a larger one is refused."""
    idle_after: Duration = timedelta(minutes=30)
    """A connection over which nothing comes for so long is closed."""
    message_within: Duration = timedelta(seconds=60)
    """A message that is not complete so long after its first byte is given up, and its connection closed."""


class Http(Model):
    """Where events, FHIR and questions come in over HTTP, and metrics are read."""

    host: str = "127.0.0.1"
    port: Number = 8080
    tls: Maybe[Tls] = None
    largest_kilobytes: Number = 65_536
    """The largest body; a larger one is refused."""
    tokens: Maybe[str] = None
    """A file of bearer tokens and their roles; without it nobody may read alerts, verdicts or journeys, and only loopback may post."""


class Follow(Model):
    """Files that grow, or a directory into which files are put."""

    path: str
    """A file, or a directory with all files below it that are not hidden."""


class Kafka(Model):
    """A topic of canonical events, or of HL7 messages."""

    brokers: list[str] = Field(min_length=1)
    topic: str
    group: str = "handoff-monitor"
    format: Literal["json", "hl7"] = "json"
    security: Literal["none", "tls", "sasl", "sasl-tls"] = "none"
    ca: Maybe[str] = None
    certificate: Maybe[str] = None
    key: Maybe[str] = None
    user: Maybe[str] = None
    password_file: Maybe[str] = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"


class LogSink(Model):
    """Alerts as lines of the program's own log."""

    log: Flag = True
    identifiers: Identifiers = "none"


class WebhookSink(Model):
    """Alerts as JSON, posted to an address."""

    webhook: str
    """The URL."""
    secret_file: Maybe[str] = None
    """A file with the key by which bodies are signed (HMAC-SHA256)."""
    token_file: Maybe[str] = None
    """A file with a bearer token to send."""
    identifiers: Identifiers = "bed"


class AlertmanagerSink(Model):
    """Alerts to Prometheus Alertmanager (API v2)."""

    alertmanager: list[str] = Field(min_length=1)
    """URLs of all members of one cluster; each gets every alert."""
    token_file: Maybe[str] = None
    identifiers: Identifiers = "bed"


class EmailSink(Model):
    """Alerts by e-mail."""

    email: str
    """The SMTP server, `host` or `host:port`."""
    sender: str
    """The address that they come from."""
    security: Literal["tls", "starttls", "none"] = "starttls"
    user: Maybe[str] = None
    password_file: Maybe[str] = None
    gather: Duration = timedelta(seconds=30)
    """Alerts for one receiver within so long go into one message."""
    identifiers: Identifiers = "bed"


class AppriseSink(Model):
    """Alerts to chats and pagers, by Apprise."""

    apprise_file: str
    """A file of Apprise URLs, one a line; they hold secrets."""
    identifiers: Identifiers = "none"


class Receiver(Model):
    """Who answers for a role, and how they are reached."""

    sinks: list[str] = Field(min_length=1)
    """Names of sinks."""
    email: list[str] = []
    """Addresses, for sinks that send e-mail."""
    identifiers: Maybe[Identifiers] = None
    """How much of the patient they may see; default: as the sink has it."""


class Settings(Model):
    """Everything that `handoff.yaml` says."""

    data: str = "handoff-data"
    """The directory in which facts, alerts and rejects are kept."""
    rules: list[str] = []
    """Rule files, directories, `pack:NAME`."""
    microsystems: Maybe[str] = None
    """The registry."""
    mllp: Mllp = Mllp()
    http: Http = Http()
    follow: list[Follow] = []
    kafka: list[Kafka] = []
    sinks: dict[str, LogSink | WebhookSink | AlertmanagerSink | EmailSink | AppriseSink] = {"log": LogSink()}
    """Ways out, by name."""
    receivers: dict[str, Receiver] = {"default": Receiver(sinks=["log"])}
    """By role: the `notify` of an escalation, or the `owner` of a rule. `default` gets what names nobody else."""
    link: Maybe[str] = None
    """What an alert links to, with `{alert}` and `{journey}` in it."""
    horizon: Duration = timedelta(days=45)
    """How long facts are kept at least after the last one of their patient."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
