"""`handoff run` as its users have it: a process of its own, with senders and readers on real sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

HANDOFF = Path(sys.executable).with_name("handoff")
LONGEST_SECONDS = 120
"""For whatever is waited for: far more than it takes, since other tests run beside."""
RULES = """\
rules:
  - id: triage
    summary: registered and not triaged
    severity: warning
    when: {type: register}
    expect: {type: triage}
    within: 15m
"""
REGISTRY = """\
timezone: Europe/London
microsystems:
  - {id: ed, name: Emergency department, kind: ed, locations: [{point_of_care: ED}]}
  - {id: ward-4w, name: Ward 4 West, kind: ward, locations: [{point_of_care: 4W}]}
sources:
  PAS/RGH:
    timezone: Europe/London
"""
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
"""Where the clock of a service begins that runs faster than life."""


def eventually(holds, what="it"):
    """Wait for something to come true; what it then was."""
    until = time.monotonic() + LONGEST_SECONDS
    while not (found := holds()):
        assert time.monotonic() < until, f"{what} has not happened"
        time.sleep(0.01)
    return found


def put(file, text):
    """Have a file say something else, all at once: a service that watches it never sees half of it."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)


def handoff(*arguments, folder, given=b"", **options):
    """A command that ends: its exit code, stdout and stderr."""
    ended = subprocess.run(
        [HANDOFF, *map(str, arguments)],
        cwd=folder,
        input=given,
        capture_output=True,
        timeout=LONGEST_SECONDS,
        **options,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@contextmanager
def running(folder, *options, **given):
    """A service that is ready."""
    with Service(folder, *options, **given) as service:
        yield service.start()


class Service:
    """A `handoff run` in a folder of its own; may be started again after its end."""

    def __init__(
        self,
        folder,
        *options,
        rules=RULES,
        registry=REGISTRY,
        settings="",
        speed=None,
        start=START,
    ):
        """`rules`: the text of a file, or names of packs. `settings`: of `handoff.yaml`. `speed`: of its clock, which goes on while the service is down."""
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.errors = self.folder / "stderr"
        self._speed, self._start = speed, start
        self._launched = self._began = None
        self.rules = ["rules.yaml"] if isinstance(rules, str) else rules
        if isinstance(rules, str):
            (self.folder / "rules.yaml").write_text(rules)
        (self.folder / "microsystems.yaml").write_text(registry)
        (self.folder / "handoff.yaml").write_text(settings or "log_level: info\n")
        self._options = [
            *("--rules", *self.rules, "--microsystems", "microsystems.yaml", "--data", "data"),
            *("--mllp-port", "0", "--http-port", "0", "--open-to-loopback", *options),
        ]
        self.process = None
        self.mllp_port = self.http_port = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.kill()

    # Beginning and end

    def start(self):
        """Start it, and wait until it is ready."""
        self.launch()
        eventually(self._is_ready, "being ready")
        return self

    def launch(self, **options):
        """Start it, and do not wait. `options`: of the process."""
        self._seen = self.errors.stat().st_size if self.errors.exists() else 0
        if self._launched is not None:  # no clock may begin before the last one ended
            self._start += timedelta(seconds=(time.monotonic() - self._launched) * (self._speed or 1))
        self._launched, self._began = time.monotonic(), None
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [HANDOFF, "run", *self._options, *self._clock()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                **options,
            )
        self.mllp_port = self.http_port = 0

    def _clock(self):
        return (
            () if self._speed is None else ("--speed", str(self._speed), "--start", self._start.isoformat())
        )

    def now(self):
        """A time that the clock of the service has just passed."""
        if self._speed is None:
            return datetime.now(UTC)
        passed = 0 if self._began is None else time.monotonic() - self._began
        return self._start + timedelta(seconds=passed * self._speed)

    def _is_ready(self):
        assert self.process.poll() is None, self.text()
        if not self.http_port:
            return self._finds_ports() and False
        with suppress(OSError, HTTPException):
            return self.get("/readyz")[0] == 200
        return False

    def _finds_ports(self):
        ports = {line["event"]: line["port"] for line in self.lines() if "port" in line}
        self.mllp_port, self.http_port = ports.get("service_started", 0), ports.get("web_started", 0)
        self._began = self._began or (time.monotonic() if ports else None)

    def ended(self):
        """Its exit code, once it has ended by itself."""
        return self.process.wait(LONGEST_SECONDS)

    def terminate(self, number=signal.SIGTERM):
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.ended()

    def kill(self):
        """Pull its plug."""
        self.process.kill()
        self.process.wait()

    # What it says

    def text(self):
        """What it wrote to stdout and stderr since it was started; a line that is half written is left out."""
        with self.errors.open("rb") as file:
            file.seek(self._seen)
            return file.read().rpartition(b"\n")[0].decode()

    def lines(self):
        """The lines of its log since it was started."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def logged(self, event):
        """The lines of its log that tell of one event."""
        return [line for line in self.lines() if line["event"] == event]

    def get(self, path):
        """Status and body."""
        return self.ask("GET", path)

    def post(self, path, body, kind="application/x-ndjson"):
        """Status and body."""
        return self.ask("POST", path, body, {"content-type": kind})

    def ask(self, method, path, body=None, headers=None):
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout=LONGEST_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ready(self):
        """What /readyz answers."""
        return json.loads(self.get("/readyz")[1])

    def metric(self, name, **labels):
        """The sum of the series of a metric that have these labels."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return sum(float(value) for series, value in found if wanted <= set(series.split(",")))

    def alerts(self, **filters):
        """What the API says of alerts."""
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        status, body = self.get(f"/api/alerts?{query}")
        assert status == 200, body
        return json.loads(body)["alerts"]

    def sender(self):
        """A new MLLP connection to it."""
        return Sender(self.mllp_port)


class Sender:
    """An MLLP sender that waits for each answer, and remembers what was acknowledged."""

    def __init__(self, port, timeout=LONGEST_SECONDS):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.acknowledged = []
        """Control ids, in order."""
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, message):
        """Send a message and wait for its answer: the code and the control id. Raises `OSError` when there is none."""
        self.socket.sendall(b"\x0b" + message + b"\x1c\r")
        code, control_id = self.answer()
        if code in ("AA", "CA"):
            self.acknowledged.append(control_id)
        return code, control_id

    def answer(self):
        """The code and the control id of the next answer."""
        while b"\x1c\r" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed without an answer")
            self._buffer += data
        answer, self._buffer = self._buffer.split(b"\x1c\r", 1)
        [(code, control_id)] = re.findall(rb"\rMSA\|([^|\r]*)\|([^|\r]*)", answer)
        return code.decode(), control_id.decode()


def adt(
    number, trigger="A04", *, patient="7001", at=START, location="ED^WR^1", name="Doe^Jane", sender="PAS"
):
    """A small message whose control id is `number`."""
    written = f"{at:%Y%m%d%H%M%S+0000}"
    lines = (
        f"MSH|^~\\&|{sender}|RGH|HANDOFF|RGH|{written}||ADT^{trigger}|{number}|P|2.5.1",
        f"EVN|{trigger}|{written}||||{written}",
        f"PID|1||{patient}^^^RGH^MR||{name}||19500101|F",
        f"PV1|1|E|{location}||||||||||||||||V{patient}",
    )
    return "\r".join(lines).encode()


def event(id_, type_, *, patient="7001", at=START, **fields):
    """A line of a canonical event."""
    return json.dumps(
        {"id": id_, "type": type_, "patient": patient, "occurred_at": at.isoformat(), "source": "EPR"}
        | fields
    )
