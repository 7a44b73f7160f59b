"""`handoff run` as a process of its own over a data directory, as its users start it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PATIENCE = 300.0


class Service:
    """Starts when made. `ready_after` says how long it took until it was ready, in seconds."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """`settings`: as in handoff.yaml; `data` and ports are chosen here."""
        folder.mkdir(exist_ok=True)
        told = {
            "data": str(folder / "data"),
            "mllp": {"port": 0},
            "http": {"port": 0},
            "log_level": "info",
            **settings,
        }
        (folder / "handoff.yaml").write_text(json.dumps(told))
        self._log = folder / "log.jsonl"
        command = [sys.executable, "-m", "monitor", "run", "--settings", str(folder / "handoff.yaml")]
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log)
        self.mllp_port = self._port("service_started")
        self.http_port = self._port("web_started")
        while self.get("/readyz")[0] != 200:
            self._check(began)
            time.sleep(0.01)
        self.ready_after = time.perf_counter() - began

    @property
    def resident(self) -> int:
        """Resident memory now, in bytes."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE

    @property
    def cpu(self) -> float:
        """Processor time used until now, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> tuple[int, bytes]:
        """What a GET gives: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of a metric that begin with a name, by name and labels."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return {
            key: float(value)
            for key, _, value in (each.rpartition(" ") for each in lines)
            if key.startswith(name)
        }

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> float:
        """End it in order; seconds until it was gone."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_PATIENCE)
        return time.perf_counter() - began

    def _port(self, event: str) -> int:
        began = time.perf_counter()
        while True:
            for line in self._log.read_text().splitlines():
                if f'"{event}"' in line:
                    return int(json.loads(line)["port"])
            self._check(began)
            time.sleep(0.01)

    def _check(self, began: float) -> None:
        if self._process.poll() is not None or time.perf_counter() - began > _PATIENCE:
            raise RuntimeError(f"the service does not start: {self._log.read_text()[-500:]}")
