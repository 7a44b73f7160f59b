"""Messages and batches into a fresh service: how many a second are on disk and answered. HTTP has a service of its own for each number of senders, for a full one is slower."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.live.service import Service
from bench.live.table import Row, Section
from bench.live.taking import median, ms, rate, taken
from bench.live.traffic import REGISTRY
from bench.measure import Taken
from bench.replay import RULES

ACK_RATE = 2_000
ACK_P99 = 0.050
EVENT_RATE = 20_000
SENDERS = ((1, 1, 2_000, 1), (8, 1, 12_000, 3), (50, 1, 12_000, 1), (8, 20, 20_000, 1))
"""Connections, messages outstanding on each, messages, rounds."""
EVENTS = 100_000
ROUNDS = 3


def measured(folder: Path) -> list[Section]:
    """The sections on MLLP and on HTTP."""
    folder.mkdir()
    registry = folder / "microsystems.yaml"
    registry.write_text(REGISTRY)
    settings = {"rules": [str(RULES)], "microsystems": str(registry)}
    with _service(folder / "mllp", settings) as service:
        mllp = _mllp(service, folder)
    return [mllp, _http(folder, settings)]


@contextmanager
def _service(folder: Path, settings: dict[str, object]) -> Iterator[Service]:
    folder.mkdir()
    service = Service(folder, settings)
    try:
        yield service
    finally:
        service.kill()


def _mllp(service: Service, folder: Path) -> Section:
    rows = []
    with _echo() as echo_port:
        for connections, outstanding, messages, rounds in SENDERS:
            how = {"messages": messages, "connections": connections, "outstanding": outstanding}
            commits = taken("bases", "commits", folder=str(folder))
            echo = taken("senders", "mllp", port=echo_port, name="echo-", **how)
            found, cpu = median(service, rounds, "mllp", port=service.mllp_port, **how)
            rows += _rows_of(found, cpu, commits, echo, is_aim=(connections, outstanding) == (8, 1))
            what = f"{connections} connection{'s' * (connections > 1)}, {outstanding} outstanding on each"
            rows[-2] = rows[-2]._replace(what=what)
    return Section("HL7 v2 over MLLP, acknowledged once on disk", rows)


def _rows_of(found: Taken, cpu: float, commits: Taken, echo: Taken, *, is_aim: bool) -> list[Row]:
    beside = (
        f"{rate(found) / rate(commits):.2f} of bare commits, {rate(found) / rate(echo):.3f} of a bare echo"
    )
    speed = f"{rate(found):,.0f} messages/s, {cpu * 1e6:,.0f} µs of the processor each"
    waits = f"{ms(found.facts['p50'])}, {ms(found.facts['p99'])}"
    rows = [Row("", speed, beside), Row("acknowledged after: median, 99th percentile", waits)]
    if is_aim:
        rows[0] = rows[0]._replace(aim=f"{ACK_RATE:,}/s", is_held=rate(found) >= ACK_RATE)
        rows[1] = rows[1]._replace(aim=ms(ACK_P99), is_held=found.facts["p99"] < ACK_P99)
    return rows


def _http(folder: Path, settings: dict[str, object]) -> Section:
    base = taken("bases", "decoded", events=EVENTS)
    rows = []
    for connections in (1, 4):
        how = {"events": EVENTS, "batch": 1_000, "connections": connections}
        with _service(folder / f"http{connections}", settings) as service:
            found, cpu = median(service, ROUNDS, "jsonl", port=service.http_port, **how)
        what = f"{connections} connection{'s' * (connections > 1)}, 1,000 events a request"
        speed = f"{rate(found):,.0f} events/s, {cpu * 1e6:,.0f} µs of the processor each"
        rows.append(Row(what, speed, f"{rate(found) / rate(base):.3f} of the typed decode"))
    rows[-1] = rows[-1]._replace(aim=f"{EVENT_RATE:,}/s", is_held=rate(found) >= EVENT_RATE)
    return Section("Canonical events over HTTP, answered once on disk; ten rules, 0.4 cases an event", rows)


@contextmanager
def _echo() -> Iterator[int]:
    """The port of a server that only answers."""
    command = [sys.executable, "-m", "bench.live.bases"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
