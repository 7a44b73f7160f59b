"""What is measured: the logs, and the measures taken of each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.decode import BASE, DECODERS
from bench.hospital import Network, network_of
from bench.log import Log
from bench.measure import Task

DISORDER = ((0.0, 0.0), (0.01, 0.0), (0.1, 0.0), (0.0, 0.01), (0.0, 0.1), (0.1, 0.02))
"""Shares of events out of order, and of cancels. The last is the one that has a budget."""
RULES = (1, 10, 100, 1_000)
PLACES = (1, 10, 100, 1_000)
OPEN = (1_000, 10_000, 100_000, 1_000_000)
PEERS = {"script": 1, "duckdb": 1, "polars": 1, "bytewax": 5, "behave_rv": 10, "flink": 10}
"""Modules of `bench.peers`, each with the part of the log that it is given: one in so many events."""
BY_THE_CLOCK = ("duckdb", "polars", "flink")
"""Those that work in several threads."""
GROUPS = ("decode", "replay", "rules", "journeys", "disorder", "jobs", "peers", "hospital")


class Plan(NamedTuple):
    """The logs to write, by name, and the measures to take of them."""

    logs: dict[str, Log | Network]
    tasks: list[Task]


def named(disorder: float, cancels: float, how: str) -> str:
    """The name of a measure, or of its log, with such shares."""
    return f"disorder {disorder:.0%} cancels {cancels:.0%} {how}"


def log_of(events: int, **unlike: float) -> Log:
    """A log of the usual shape: of a shorter one fewer journeys are open, so that as large a part of them ends."""
    return Log(events, open_journeys=max(1, events // 50), **unlike)  # type: ignore[arg-type]


def plan(folder: Path, events: int, rounds: int, groups: set[str]) -> Plan:
    """All that is to be done, of the groups that are asked for; the base is always measured.

    Of the measures that are many, each on a log of its own, those logs are a fifth as long.
    """
    logs: dict[str, Log | Network] = {"log": log_of(events)}
    few = max(1, rounds - 1)
    tasks: list[Task] = []

    def take(
        name: str, module: str, function: str, times: int, log: str = "log", **arguments: object
    ) -> None:
        tasks.append(Task(name, module, function, {"path": str(folder / log), **arguments}, times))

    for decoder in DECODERS if "decode" in groups else [BASE]:
        times = 2 * rounds if decoder == BASE else rounds  # all ratios stand on the base
        take(f"decode {decoder}", "decode", "decoded", times, decoder=decoder)
    if groups & {"replay", "peers"}:
        take("replay", "replay", "in_process", rounds)
    if groups & {"replay", "jobs", "peers"}:
        take("program", "replay", "program", few)
    if groups & {"jobs", "peers"}:
        take("2 jobs", "replay", "program", few, jobs=2)
    if "peers" in groups:
        for peer, part in PEERS.items():
            log = "log" if part == 1 else f"peers {part}"
            logs[log] = log_of(events // part)
            ours = str(folder / f"{log} verdicts")
            times = 1 if peer == "flink" else few
            take(f"peer {peer}", "compare", "with_ours", times, log=log, peer=peer, ours=ours)
            if peer not in BY_THE_CLOCK or peer == "flink":
                take(f"beside {peer}", "compare", "ours_beside", few, log=log, peer=peer)
    if "rules" in groups:
        for number in RULES:
            take(f"rules {number}", "replay", "with_dormant_rules", few, rules=number)
        for number in PLACES:
            logs[f"places {number}"] = log_of(events // 5, places=number)
            name = f"places {number}"
            take(name, "replay", "with_rules_spread", few, log=name, places=number)
    if "disorder" in groups:
        for disorder, cancels in DISORDER:
            log = named(disorder, cancels, "log")
            logs[log] = log_of(events // 5, disorder=disorder, cancels=cancels)
            for how in ("recalled", "lived"):
                name = named(disorder, cancels, how)
                take(name, "replay", "history", few, log=log, alerts=how == "lived")
    if "journeys" in groups:
        for number in OPEN:
            if number <= events:
                arguments = {"open_journeys": number}
                times = few if number < 1_000_000 else 1
                tasks.append(Task(f"open {number}", "journeys", "cost", arguments, times))
        tasks.append(Task("memory", "journeys", "memory", {"journeys": 5_000}, 1))
    if "hospital" in groups:
        logs["hospital"] = network_of(events // 10)
        file = "hospital/events.jsonl"
        take("hospital decode", "decode", "decoded", few, log=file, decoder=BASE)
        take("hospital recalled", "hospital", "packs", few, log="hospital", alerts=False)
        take("hospital lived", "hospital", "packs", few, log="hospital", alerts=True)
    return Plan(logs, tasks)
