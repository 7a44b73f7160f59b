"""Starts what a compose file says without a container engine: the same arguments, environment and files, other hosts, ports and folders.

Each service gets a folder that stands for the root of its container. In its arguments and in copies of its files the paths
and addresses of the containers are replaced by those of this machine; nothing else is changed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from compose import PROJECT, files, named_volumes, services
from held_ports import held_port, port_of

BIN = Path(sys.executable).parent
ENTRYPOINT = json.loads(
    re.search(r"^ENTRYPOINT (.*)$", (PROJECT / "docker/Dockerfile").read_text(), re.MULTILINE)[1]
)
LONGEST_SECONDS = 180
FOLDER = re.compile(r"(?<![\w./}])/(?=(?:etc|var/lib|usr/local/lib|tmp|prometheus|alertmanager)\b)")
"""The beginning of a path in a container."""


def eventually(holds, what, seconds=LONGEST_SECONDS):
    """Wait for something to come true; what it then was. `what()` says what has not, if it does not."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, what()
        time.sleep(0.05)
    return found


def answer(url, body=None):
    """Status and body of an answer; 0 while nothing answers."""
    request = Request(url, body, {} if body is None else {"Content-Type": "application/x-ndjson"})
    try:
        with urlopen(request, timeout=60) as found:
            return found.status, found.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Stack:
    """The services of a compose file that a test starts; all are ended at the end of the block."""

    def __init__(self, path, folder, programs=None):
        """`programs`: by image, the command that stands for its entrypoint; of ours that of the Dockerfile does."""
        self.folder = folder
        self.addresses = {}
        """By those of the containers, such as `kafka:9092`, where they are here."""
        self._services = services(path)
        self._programs = programs or {}
        self._ports = {}
        self._held = ExitStack()
        self._running = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._held.close()
        for process in self._running.values():
            process.terminate()
        for name, process in self._running.items():
            try:
                process.wait(LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                print(f"{name} did not end by itself\n{self.said(name)}", file=sys.stderr)
            with suppress(ProcessLookupError):  # a container ends with all that runs in it
                os.killpg(process.pid, signal.SIGKILL)

    # Before

    def place(self, name, *ports):
        """Choose where the ports of a service are here, so that others can be told before it runs."""
        held = {port: self._held.enter_context(held_port()) for port in ports}
        self._ports[name] = {port: port_of(each) for port, each in held.items()}
        for port, here in self._ports[name].items():
            self.addresses[f"{name}:{port}"] = f"127.0.0.1:{here}"

    def url(self, name, port=8080):
        return f"http://{self.addresses[f'{name}:{port}']}"

    def changed(self, text):
        """What a test changes beyond addresses and paths: shorter intervals, say."""
        return text

    def _of(self, name):
        """What the file says; `worker#2` is another container of `worker`."""
        return self._services[name.partition("#")[0]]

    def _root(self, name):
        return self.folder / name

    def _here(self, name, text):
        """A text of a container as it has to be on this machine."""
        network = self._of(name).get("network_mode", "").removeprefix("service:")
        own = {
            f"{host}:{port}": f"127.0.0.1:{here}"
            for port, here in self._ports.get(network or name, {}).items()
            for host in ("127.0.0.1", "localhost")
        }
        for there, here in (self.addresses | own).items():
            text = re.sub(rf"(?<![\w.-]){re.escape(there)}\b", here, text)
        return FOLDER.sub(f"{self._root(name)}/", text)

    def _lay_out(self, name):
        """The files and volumes of a service, below its root."""
        service, root = self._of(name), self._root(name)
        for folder in ("tmp", "var/lib/handoff"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for inside, file in files(service).items():
            for each in (each for each in [file, *file.rglob("*")] if each.is_file()):
                copy = root / inside[1:] / each.relative_to(file)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(self.changed(self._here(name, each.read_text())))
        for volume, inside in named_volumes(service).items():
            kept, seen = self.folder / "volumes" / volume, root / inside[1:]
            kept.mkdir(parents=True, exist_ok=True)
            seen.parent.mkdir(parents=True, exist_ok=True)
            if not seen.is_symlink():
                if seen.exists():
                    seen.rmdir()
                seen.symlink_to(kept)

    def _command(self, name):
        service = self._of(name)
        words = [self._here(name, each) for each in service.get("command", [])]
        image = service["image"].partition(":")[0]
        if image in self._programs:
            return [*self._programs[image], *words]
        program, *more = service.get("entrypoint", ENTRYPOINT)
        return [BIN / program, *(self._here(name, each) for each in more), *words]

    def _environment(self, name):
        """That of the file alone, and what keeps services of ours apart on one machine."""
        ports = self._ports.get(name, {})
        apart = {f"HANDOFF_{kind}_HOST": "127.0.0.1" for kind in ("HTTP", "MLLP")}
        apart |= {
            f"HANDOFF_{kind}_PORT": f"{ports[port]}"
            for kind, port in (("HTTP", 8080), ("MLLP", 2575))
            if port in ports
        }
        return {"PATH": f"{BIN}:{os.environ['PATH']}"} | self._of(name).get("environment", {}) | apart

    # While

    def start(self, name, cwd=None):
        self._lay_out(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(name),
                cwd=cwd or self._root(name) / "var/lib/handoff",
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, name):
        """Run a service that ends by itself, and has to end well."""
        self.start(name)
        assert self._running.pop(name).wait(LONGEST_SECONDS) == 0, self.said(name)

    def up(self, *names):
        """Start services and wait until they are healthy."""
        for name in names:
            self.start(name)
        for name in names:
            eventually(
                lambda name=name: self.is_healthy(name),
                lambda name=name: f"{name} is not healthy:\n{self.said(name)[-4000:]}",
            )

    def stop(self, name):
        """As `docker compose stop` does; its exit code."""
        process = self._running.pop(name)
        process.terminate()
        return process.wait(LONGEST_SECONDS)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def is_healthy(self, name):
        """Whether the health check of a service holds."""
        assert self._running[name].poll() is None, self.said(name)[-4000:]
        how, *words = self._of(name)["healthcheck"]["test"]
        assert how == "CMD"
        words = [self._here(name, word) for word in words]
        if words[0] == "wget":  # in their images; not on every machine
            return answer(words[-1])[0] == 200
        return subprocess.run(words, capture_output=True, env=self._environment(name)).returncode == 0
