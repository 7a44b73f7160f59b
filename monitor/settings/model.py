"""The models of `handoff.yaml`, which are its definition. Secrets are never in it: it names files that hold them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from monitor.core.text import Duration, Flag, Maybe, Model, Number

Identifiers = Literal["full", "bed", "none"]
Port = Annotated[Number, Field(ge=0, le=65_535)]
"""0 is any that is free."""
Size = Annotated[Number, Field(ge=1)]


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
    """The address on which it listens; `0.0.0.0` or `::` for all."""
    port: Port = 2575
    """The port; 0 for any that is free."""
    tls: Maybe[Tls] = None
    """Certificates; without them messages cross the network as they are."""
    connections: Size = 500
    """How many may be open at once."""
    largest_kilobytes: Size = 16_384
    """The largest message; a larger one is refused."""
    idle_after: Duration = timedelta(minutes=30)
    """A connection over which nothing comes for so long is closed."""
    message_within: Duration = timedelta(seconds=60)
    """A message that is not complete so long after its first byte is given up, and its connection closed."""


class Http(Model):
    """Where events, FHIR and questions come in over HTTP, and metrics are read."""

    host: str = "127.0.0.1"
    """The address on which it listens; `0.0.0.0` or `::` for all."""
    port: Port = 8080
    """The port; 0 for any that is free."""
    tls: Maybe[Tls] = None
    """Certificates; without them tokens and patients cross the network as they are."""
    largest_kilobytes: Size = 65_536
    """The largest body; a larger one is refused."""
    tokens: Maybe[str] = None
    """A file of bearer tokens and their roles; without it nobody may read alerts, verdicts or journeys, and only loopback may post."""


class Follow(Model):
    """Files that grow, or a directory into which files are put."""

    path: str
    """A file, or a directory with all files below it that are not hidden."""


class Brokers(Model):
    """A Kafka cluster, and how it is reached."""

    brokers: list[str] = Field(min_length=1)
    """Some of the cluster's members, each `host:port`."""
    security: Literal["none", "tls", "sasl", "sasl-tls"] = "none"
    """How the connection is secured."""
    ca: Maybe[str] = None
    """A PEM file: who must have signed the brokers' certificates; by default those that the system trusts."""
    certificate: Maybe[str] = None
    """A PEM file: our certificate, where the brokers ask for one."""
    key: Maybe[str] = None
    """A PEM file: its private key."""
    user: Maybe[str] = None
    """The user, with `sasl`."""
    password_file: Maybe[str] = None
    """A file with the user's password."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is proven, with `sasl`."""


class Kafka(Brokers):
    """A topic of canonical events, or of HL7 messages."""

    topic: str
    """The topic."""
    group: str = "handoff-monitor"
    """The consumer group."""
    format: Literal["json", "hl7"] = "json"
    """What its messages are."""


Topic = Literal["events", "alerts", "verdicts", "rejects", "journeys"]


class Cluster(Brokers):
    """The Kafka cluster through which `handoff ingest`, `worker` and `notify` work together."""

    prefix: str = "handoff"
    """What the names of the topics begin with; one for each installation on a cluster."""
    partitions: Annotated[Number, Field(ge=1, le=1000)] = 12
    """Of the events: at most so many workers share the work. It cannot be changed once the topics are there."""
    replication: Annotated[Number, Field(ge=1, le=100)] = 3
    """How many brokers keep each message; a majority of them must have it before it is acknowledged. 1 where there is one broker."""
    retention: Duration = timedelta(days=7)
    """How long events stay in their topic; longer than all workers may ever be down."""
    keep: Duration = timedelta(days=90)
    """How long the last word on each alert and case, and each reject, stays in its topic."""
    secret_file: Maybe[str] = None
    """A file with the key by which pseudonyms are made of patients; the same for every worker."""
    store: Literal["memory", "rocksdb"] = "memory"
    """Where a worker has the journeys of its partitions: in memory, or in RocksDB below `data`, which has to last from one start to the next."""

    def topic(self, name: Topic) -> str:
        """The full name of a topic. That of the journeys is named as Faust would name the changelog of a table."""
        return f"{self.prefix}-journeys-changelog" if name == "journeys" else f"{self.prefix}.{name}"


class LogSink(Model):
    """Alerts as lines of the program's own log."""

    log: Flag = True
    """`true`."""
    identifiers: Identifiers = "none"
    """How much of the patient a line may show: `full` key and visit, the `bed` and a pseudonym, or `none`."""


class WebhookSink(Model):
    """Alerts as JSON, posted to an address."""

    webhook: str
    """The URL."""
    secret_file: Maybe[str] = None
    """A file with the key by which bodies are signed (HMAC-SHA256)."""
    token_file: Maybe[str] = None
    """A file with a bearer token to send."""
    identifiers: Identifiers = "bed"
    """How much of the patient it may show: `full` key and visit, the `bed` and a pseudonym, or `none`."""


class AlertmanagerSink(Model):
    """Alerts to Prometheus Alertmanager (API v2)."""

    alertmanager: list[str] = Field(min_length=1)
    """URLs of all members of one cluster; each gets every alert."""
    token_file: Maybe[str] = None
    """A file with a bearer token to send."""
    identifiers: Identifiers = "bed"
    """How much of the patient it may show: `full` key and visit, the `bed` and a pseudonym, or `none`."""


class EmailSink(Model):
    """Alerts by e-mail."""

    email: str
    """The SMTP server, `host` or `host:port`."""
    sender: str
    """The address that they come from."""
    security: Literal["tls", "starttls", "none"] = "starttls"
    """How the connection is secured."""
    user: Maybe[str] = None
    """The user, where the server asks for one."""
    password_file: Maybe[str] = None
    """A file with the user's password."""
    gather: Duration = timedelta(seconds=30)
    """Alerts for one receiver within so long go into one message."""
    identifiers: Identifiers = "bed"
    """How much of the patient it may show: `full` key and visit, the `bed` and a pseudonym, or `none`."""


class AppriseSink(Model):
    """Alerts to chats and pagers, by Apprise."""

    apprise_file: str
    """A file of Apprise URLs, one a line; they hold secrets."""
    identifiers: Identifiers = "none"
    """How much of the patient it may show: `full` key and visit, the `bed` and a pseudonym, or `none`."""


SINKS: Final[dict[str, type[Model]]] = {
    "log": LogSink,
    "webhook": WebhookSink,
    "alertmanager": AlertmanagerSink,
    "email": EmailSink,
    "apprise_file": AppriseSink,
}
"""The kinds of sinks, each by the key that tells it."""


def _kind_of_sink(value: Any) -> str | None:
    """The tag of a sink's model; errors then concern the kind that was meant."""
    if isinstance(value, BaseModel):
        return next((f"|{key}|" for key, model in SINKS.items() if type(value) is model), None)
    keys = [key for key in SINKS if isinstance(value, dict) and key in value]
    return f"|{keys[0]}|" if keys else None


Sink = Annotated[
    Annotated[LogSink, Tag("|log|")]
    | Annotated[WebhookSink, Tag("|webhook|")]
    | Annotated[AlertmanagerSink, Tag("|alertmanager|")]
    | Annotated[EmailSink, Tag("|email|")]
    | Annotated[AppriseSink, Tag("|apprise_file|")],
    Discriminator(
        _kind_of_sink,
        custom_error_type="wrong_shape",
        custom_error_message=f"expected a sink, a mapping with one of the keys {', '.join(SINKS)}",
    ),
]


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

    data: str = Field(default="handoff-data", min_length=1)
    """The directory in which facts, alerts and rejects are kept."""
    rules: list[str] = []
    """Rule files, directories, `pack:NAME`."""
    microsystems: Maybe[str] = None
    """The registry."""
    mllp: Mllp = Mllp()
    """HL7 v2 in."""
    http: Http = Http()
    """HTTP: events and FHIR in; questions, metrics and the board."""
    follow: list[Follow] = []
    """Files and directories to read from."""
    kafka: list[Kafka] = []
    """Topics to read from."""
    cluster: Maybe[Cluster] = None
    """Where the events are shared among workers; not for `handoff run`, which needs no Kafka."""
    sinks: dict[str, Sink] = {"log": LogSink()}
    """Ways out, by name."""
    receivers: dict[str, Receiver] = {"default": Receiver(sinks=["log"])}
    """By role: the `notify` of an escalation, or the `owner` of a rule. `default` gets what names nobody else."""
    link: Maybe[str] = None
    """What an alert links to, with `{alert}` and `{journey}` in it."""
    horizon: Duration = timedelta(days=45)
    """How long facts are kept at least after the last one of their patient."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged: this and what is graver."""
