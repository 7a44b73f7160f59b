"""What `handoff ingest` takes a second: all of it with the broker when it is acknowledged."""

from __future__ import annotations

from pathlib import Path

from bench.kafka.site import Program, Site
from bench.live.table import Row, Section
from bench.live.taking import ms, rate, taken

MESSAGES = 12_000
CONNECTIONS = 32
EVENTS = 100_000


def measured(folder: Path, servers: str) -> list[Section]:
    ingest = Site(folder, servers, "ways-in").ingest()
    try:
        ingest.until_ready()
        return [Section("Into Kafka, acknowledged once the broker has it", [_mllp(ingest), _http(ingest)])]
    finally:
        ingest.kill()


def _mllp(ingest: Program) -> Row:
    port, used = ingest.port_of("service_started"), ingest.cpu
    how = {"messages": MESSAGES, "connections": CONNECTIONS, "outstanding": 1}
    found = taken("senders", "mllp", port=port, name="k-", **how)
    each = (ingest.cpu - used) / MESSAGES
    waits = f"{ms(found.facts['p50'])}, {ms(found.facts['p99'])}"
    speed = f"{rate(found):,.0f} messages/s ({waits}), {each * 1e6:,.0f} µs of the processor each"
    return Row(f"HL7 v2 over MLLP, {CONNECTIONS} connections, one outstanding on each", speed)


def _http(ingest: Program) -> Row:
    used = ingest.cpu
    found = taken("senders", "jsonl", port=ingest.port, events=EVENTS, batch=1_000, connections=4, name="k-")
    each = (ingest.cpu - used) / EVENTS
    speed = f"{rate(found):,.0f} events/s, {each * 1e6:,.0f} µs of the processor each"
    return Row("canonical events over HTTP, 4 connections, 1,000 a request", speed)
