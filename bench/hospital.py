"""The simulated network of hospitals, with all that real feeds do, and all rule packs over it: what a user has."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.measure import Taken, timed
from bench.replay import count_of

DAYS = 2
EVENTS_A_DAY = 1_350
"""Of one hospital, about."""
COMMAND = "replay"
"""The file that holds the arguments of the replay, as `handoff simulate` suggests it."""


class Network(msgspec.Struct, frozen=True):
    """A folder with what `handoff simulate` writes."""

    hospitals: int
    seed: int = 2

    def write(self, folder: Path) -> None:
        """Simulate into a folder, without the truth, which is not measured."""
        options = ["--seed", str(self.seed), "--days", str(DAYS), "--hospitals", str(self.hospitals)]
        command = [sys.executable, "-m", "monitor", "simulate", *options, "--no-truth", "--out", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        (folder / COMMAND).write_text(done.stdout.strip().splitlines()[-1])


def network_of(events: int) -> Network:
    """So many hospitals that there are about so many events."""
    return Network(max(1, events // (DAYS * EVENTS_A_DAY)))


def packs(path: str, *, alerts: bool) -> Taken:
    """`handoff replay` of all packs over the network, from start to exit."""
    folder = Path(path)
    suggested = shlex.split((folder / COMMAND).read_text())
    command = [sys.executable, "-m", "monitor", *suggested[1:]]
    if alerts:
        command += ["--alerts", str(folder / "alerts.jsonl")]
    taken, done = timed(lambda: subprocess.run(command, check=False, capture_output=True))
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    taken.events = count_of(suggested[-1])
    return taken
