"""A hundred thousand journeys with open cases: alerts in time, restarts, memory, and what new rules cost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.live.journeys import FACTS, RULE, eleven_rules
from bench.live.receiver import Receiver, Told
from bench.live.service import Service
from bench.live.table import Row, Section
from bench.live.taking import ms, quantiles, rate, say, taken
from bench.live.traffic import REGISTRY

JOURNEYS = 100_000
MINUTE = 60.0
A_SECOND = 50
"""Cases that fall due in each second of the minute."""
STORM = 5_000
"""Cases that fall due within one second."""
AN_HOUR = 9_000
"""Messages of an hour: one large system sent 219,564 on a weekday."""
LATENCY = 1.0
START = 10.0
MEMORY = 500e6
_PATIENCE = 120.0


def measured(folder: Path, journeys: int = JOURNEYS) -> list[Section]:
    """The sections on alerts, restarts and memory, all of one data directory."""
    folder.mkdir()
    (folder / "microsystems.yaml").write_text(REGISTRY)
    (folder / "rules.yaml").write_text(eleven_rules())
    receivers = {"webhook": Receiver(), "alertmanager": Receiver()}
    settings = {
        "rules": [str(folder / "rules.yaml")],
        "microsystems": str(folder / "microsystems.yaml"),
        "sinks": {
            "webhook": {"webhook": f"http://127.0.0.1:{receivers['webhook'].port}/"},
            "alertmanager": {"alertmanager": [f"http://127.0.0.1:{receivers['alertmanager'].port}"]},
        },
        "receivers": {"default": {"sinks": ["webhook", "alertmanager"]}},
    }
    service = Service(folder, settings)
    memory: list[Row] = []
    try:
        memory.append(Row("before anything was told", _mb(service.resident)))
        near = int(MINUTE * A_SECOND) + STORM
        loaded = taken(
            "senders", "journeys", port=service.http_port, number=journeys, near=near, connections=4
        )
        alerts = _alerts(service, receivers, journeys)
        memory.append(_memory(f"{journeys:,} journeys of {FACTS} facts", service))
        hour = taken("senders", "moves", port=service.mllp_port, number=AN_HOUR, of=journeys, connections=8)
        memory.append(_memory(f"after {AN_HOUR:,} more messages, an hour's worth", service))
        service.kill()
        service = Service(folder, settings)
        starts = [_start("after `kill -9`", service)]
        memory.append(_memory("after the restart", service))
        stopped_after = service.stop()
        service = Service(folder, settings)
        starts += [_start("after SIGTERM", service), Row("from SIGTERM to the end", ms(stopped_after))]
        starts += _reload(service, folder, journeys)
        memory.append(_memory("after the reload", service))
    finally:
        service.kill()
    on_disk = sum(file.stat().st_size for file in (folder / "data").iterdir())
    memory.append(Row("on disk", _mb(on_disk)))
    told = Section(
        "Messages into it",
        [
            Row("journeys over HTTP", f"{rate(loaded):,.0f} events/s"),
            Row(
                "moves over MLLP, 8 connections, of patients who are on disk alone",
                f"{rate(hour):,.0f} messages/s; {ms(hour.facts['p50'])}, {ms(hour.facts['p99'])}",
            ),
        ],
    )
    return [told, alerts, Section("Until ready", starts), Section("Resident memory", memory)]


def _alerts(service: Service, receivers: dict[str, Receiver], journeys: int) -> Section:
    """A minute in which cases fall due one after the other, beside a light load; then many at once."""
    begins = time.time() + 5
    storm = begins + MINUTE + 3
    due = int(MINUTE * A_SECOND)
    port = service.http_port
    taken("senders", "falling_due", port=port, first=0, number=due, begins=begins, lasts=MINUTE)
    taken("senders", "falling_due", port=port, first=due, number=STORM, begins=storm, lasts=1.0)
    time.sleep(max(0.0, begins - time.time()))
    paced = taken("senders", "paced", port=service.mllp_port, of=journeys, per_second=20, seconds=MINUTE)
    rows = [Row("acknowledged meanwhile, at 20 messages/s", _waits(paced.facts))]
    until = storm + _PATIENCE
    while any(len(_fired(each)) < due + STORM for each in receivers.values()) and time.time() < until:
        time.sleep(2.0)  # to look costs what the service should have
    for name, receiver in receivers.items():
        fired = _fired(receiver)
        say(f"{name} was told of {len(fired)} alerts of {due + STORM}")
        found = quantiles([each.latency for each in fired if each.at < storm - 1])
        aim = Row(f"{A_SECOND} a second, {name}", _waits(found), "", ms(LATENCY), found["p99"] < LATENCY)
        at_once = quantiles([each.latency for each in fired if each.at >= storm - 1])
        rows += [aim, Row(f"{STORM:,} in one second, {name}", _waits(at_once))]
    title = f"From deadline to sink, {journeys:,} open cases: median, 99th percentile, longest"
    return Section(title, rows)


def _fired(receiver: Receiver) -> list[Told]:
    """The first notice of each alert of the rule that is measured."""
    first: dict[str, Told] = {}
    for each in receiver.told():
        if each.rule == RULE and each.state == "firing":
            first.setdefault(each.alert, each)
    return list(first.values())


def _reload(service: Service, folder: Path, journeys: int) -> list[Row]:
    """Other rules over all journeys; how long it takes, and how long messages wait meanwhile."""
    before = service.metrics("handoff_rule_reloads_total")
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(
            taken, "senders", "paced", port=service.mllp_port, of=journeys, per_second=20, seconds=5.0
        )
        time.sleep(2)
        began = time.perf_counter()
        (folder / "rules.yaml").write_text(eleven_rules().replace("within twelve hours", "in time"))
        while service.metrics("handoff_rule_reloads_total") == before:
            time.sleep(0.1)
        took = time.perf_counter() - began
        longest = waiting.result().facts["longest"]
    return [
        Row("other rules, while it runs: all journeys are lived again", ms(took)),
        Row("longest wait for an acknowledgment meanwhile", ms(longest)),
    ]


def _start(how: str, service: Service) -> Row:
    return Row(
        f"from the start to /readyz, {how}",
        ms(service.ready_after),
        "",
        ms(START),
        service.ready_after < START,
    )


def _memory(when: str, service: Service) -> Row:
    return Row(when, _mb(service.resident), "", _mb(MEMORY), service.resident < MEMORY)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def _waits(found: dict[str, float]) -> str:
    return ", ".join(ms(found[each]) for each in ("p50", "p99", "longest"))
