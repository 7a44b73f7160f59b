"""A stack of containers started by hand, with Debian's Prometheus and Alertmanager, and Kafka as its image starts it."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import kafka_broker
from debian import movable, unpacked

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from by_hand import Stack, answer, eventually


class Watched(Stack):
    """Prometheus looks every second."""

    def __init__(self, path, folder):
        prometheus = unpacked("prometheus") / "usr/bin/prometheus"
        alertmanager = unpacked("prometheus-alertmanager") / "usr/bin/prometheus-alertmanager"
        self._working = {"alertmanager": alertmanager.parents[2]}
        programs = {
            "prom/prometheus": [prometheus],
            "prom/alertmanager": [movable(alertmanager, "/usr/share/prometheus/alertmanager")],
            "apache/kafka": [],
        }
        super().__init__(path, folder, programs)
        self.place("prometheus", 9090)
        self.place("alertmanager", 9093)

    def _command(self, name):
        command = super()._command(name)
        if name in self._ports and name in ("prometheus", "alertmanager"):
            [port] = self._ports[name].values()
            command.append(f"--web.listen-address=127.0.0.1:{port}")
        return command

    def start(self, name, cwd=None):
        super().start(name, cwd or self._working.get(name))

    def changed(self, text):
        for long in ("15s", "1m", "10m"):
            text = text.replace(f"interval: {long}\n", "interval: 1s\n")
        return text

    # Prometheus and Alertmanager

    def asked(self, path, **query):
        """What Prometheus answers."""
        status, body = answer(f"{self.url('prometheus', 9090)}{path}?{urlencode(query)}")
        assert status == 200, f"{query}: {body}"
        return json.loads(body)["data"]

    def value(self, expression):
        """The labels and value of each series of an expression now."""
        return [
            (each["metric"], float(each["value"][1]))
            for each in self.asked("/api/v1/query", query=expression)["result"]
        ]

    def groups(self, receiver):
        """What Alertmanager would tell a receiver of, by groups; a regular expression."""
        status, body = answer(f"{self.url('alertmanager', 9093)}/api/v2/alerts/groups")
        assert status == 200, body
        return [each for each in json.loads(body) if re.fullmatch(receiver, each["receiver"]["name"])]


class OnKafka(Watched):
    """The whole stack; each of the workers has a port of its own."""

    def __init__(self, path, folder, workers):
        super().__init__(path, folder)
        self.workers = workers
        self.place("kafka", 9092, 9093)
        for name in ("ingest", "notify", *workers):
            self.place(name, 8080, 2575)

    def changed(self, text):
        for port, here in self._ports["kafka"].items():
            text = text.replace(f"://:{port}", f"://127.0.0.1:{here}")
        targets = ", ".join(f'"{self.addresses[f"{name}:8080"]}"' for name in self.workers)
        return super().changed(
            re.sub(r"dns_sd_configs: .*", f"static_configs: [{{targets: [{targets}]}}]", text)
        )

    def _command(self, name):
        if name != "kafka":
            return super()._command(name)
        heap = self._environment(name)["KAFKA_HEAP_OPTS"].split()
        return [
            kafka_broker.java(),
            *heap,
            "-cp",
            f"{kafka_broker.jars()}/*",
            "kafka.Kafka",
            self._kafka("final/server.properties"),
        ]

    def _kafka(self, path):
        return self._root("kafka") / path

    def start_kafka(self):
        """As its image does: settings and environment become one file, by which the data folder is made."""
        self._lay_out("kafka")
        for folder in ("defaults", "final"):
            self._kafka(folder).mkdir()
        java = [kafka_broker.java(), "-cp", f"{kafka_broker.jars()}/*"]
        made = subprocess.run(
            [
                *java, "kafka.docker.KafkaDockerWrapper", "setup",
                "--default-configs-dir", self._kafka("defaults"),
                "--mounted-configs-dir", self._kafka("mnt/shared/config"),
                "--final-configs-dir", self._kafka("final"),
            ],
            env=self._environment("kafka"), capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        self.start("kafka")
        # The tool of the health check is not among the jars here; the address that it asks is.
        [shell, words] = self._of("kafka")["healthcheck"]["test"]
        assert shell == "CMD-SHELL"
        host, port = self._here("kafka", re.search(r"--bootstrap-server (\S+)", words)[1]).split(":")
        eventually(lambda: _listens(host, int(port)), lambda: self.said("kafka")[-4000:])


def _listens(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
