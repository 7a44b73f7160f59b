"""How a measure is taken: alone in a process of its own, in several rounds of all measures in turn; the best counts.

    python -m bench.measure MODULE FUNCTION '{"argument": "value"}'

takes one measure and prints it as JSON. A process of its own, because what one measure leaves in memory would be in
the way of the next; rounds, because a shared machine has good and bad minutes; the best, because nothing makes a
program faster than it is.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")


class Taken(msgspec.Struct):
    """What a measure took, in seconds, and what it was taken of."""

    cpu: float
    """Processor time, with that of processes started and ended meanwhile."""
    wall: float
    events: int = 0
    facts: dict[str, Any] = {}

    @property
    def each(self) -> float:
        """Processor seconds an event."""
        return self.cpu / self.events

    @property
    def each_by_the_clock(self) -> float:
        """Seconds of the wall clock an event."""
        return self.wall / self.events


class Task(NamedTuple):
    """A measure to take: `function` of `bench.<module>`, with its arguments (JSON values)."""

    name: str
    module: str
    function: str
    arguments: dict[str, Any]
    rounds: int


def timed(work: Callable[[], T]) -> tuple[Taken, T]:
    """Do something once; how long it took, and what it gave."""
    gc.set_threshold(20_000_000, 50, 1_000)  # as the `handoff` program does
    gc.collect()
    cpu, wall = _cpu(), time.perf_counter()
    found = work()
    return Taken(_cpu() - cpu, time.perf_counter() - wall), found


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def take_all(tasks: Iterable[Task], say: Callable[[str], None]) -> dict[str, Taken]:
    """The best of each measure by name. One that cannot be taken is told, and left out."""
    best: dict[str, Taken] = {}
    waiting = list(tasks)
    for number in range(max((task.rounds for task in waiting), default=0)):
        for task in [task for task in waiting if task.rounds > number]:
            taken = take(task, say)
            if taken is None:
                waiting.remove(task)
                continue
            say(f"round {number + 1}: {task.name}: {taken.cpu:.2f} s of the processor, {taken.wall:.2f} s")
            best[task.name] = better(best.get(task.name), taken)
    return best


def take(task: Task, say: Callable[[str], None]) -> Taken | None:
    """Take one measure in a process of its own."""
    program = [sys.executable, "-m", "bench.measure", task.module, task.function, json.dumps(task.arguments)]
    done = subprocess.run(program, capture_output=True, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        say(f"{task.name}: not measured: {why[-1]}")
        return None
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Taken)


def better(one: Taken | None, other: Taken) -> Taken:
    """The shorter times of two takings of one measure."""
    if one is None:
        return other
    return msgspec.structs.replace(other, cpu=min(one.cpu, other.cpu), wall=min(one.wall, other.wall))


def main(module: str, function: str, arguments: str) -> None:
    taken = getattr(importlib.import_module(f"bench.{module}"), function)(**json.loads(arguments))
    print(msgspec.json.encode(taken).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
