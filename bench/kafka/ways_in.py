"""What `handoff ingest` takes a second: all of it with the broker when it is acknowledged."""

from __future__ import annotations

from pathlib import Path

from bench.kafka.site import Program, Site
from bench.live.table import Row, Section
from bench.live.taking import ms, rate, taken

MESSAGES = 12_000
CONNECTIONS = 32
OUTSTANDING = 50
EVENTS = 100_000
RATE = 5_000


def measured(folder: Path, servers: str) -> list[Section]:
    ingest = Site(folder, servers, "ways-in").ingest()
    try:
        ingest.until_ready()
        rows = [_mllp(ingest, 1), _mllp(ingest, OUTSTANDING), _http(ingest)]
        return [Section("Into Kafka, acknowledged once the broker has it", rows)]
    finally:
        ingest.kill()


def _mllp(ingest: Program, outstanding: int) -> Row:
    port, used = ingest.port_of("service_started"), ingest.cpu
    how = {"messages": MESSAGES, "connections": CONNECTIONS, "outstanding": outstanding}
    found = taken("senders", "mllp", port=port, name=f"k{outstanding}-", **how)
    each = (ingest.cpu - used) / MESSAGES
    waits = f"{ms(found.facts['p50'])}, {ms(found.facts['p99'])}"
    speed = f"{rate(found):,.0f} messages/s ({waits}), {each * 1e6:,.0f} µs of the processor each"
    what = f"HL7 v2 over MLLP, {CONNECTIONS} connections, {outstanding} outstanding on each"
    return Row(what, speed, "", f"{RATE:,}/s", rate(found) >= RATE)


def _http(ingest: Program) -> Row:
    used = ingest.cpu
    found = taken("senders", "jsonl", port=ingest.port, events=EVENTS, batch=1_000, connections=4, name="k-")
    each = (ingest.cpu - used) / EVENTS
    speed = f"{rate(found):,.0f} events/s, {each * 1e6:,.0f} µs of the processor each"
    what = "canonical events over HTTP, 4 connections, 1,000 a request"
    return Row(what, speed, "", f"{RATE:,}/s", rate(found) >= RATE)
