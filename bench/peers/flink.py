"""Flink SQL in streaming mode: an interval join for each rule, which tells at the deadline what has not come.

It covers the rules whose cases need no `unless` and no late: what did not come in time is violated. `apache-flink` and
what it needs do not go with our own dependencies, so uv makes a place for it (some 300 MB, the first time), and there must be a Java.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from bench.measure import Taken

COVERS: Final = frozenset(
    {"triage", "four-hours", "icu-bed", "signed", "bounced", "night-move", "home/summary"}
)
WORDS: Final = {"late": "violated", "missed": "violated", "overdue": "violated"}
LIMITS: Final = {
    "triage": timedelta(minutes=15),
    "four-hours": timedelta(hours=4),
    "icu-bed": timedelta(hours=2),
    "home/summary": timedelta(hours=3),
    "bounced": timedelta(hours=48),
}
PACKAGE: Final = "apache-flink==2.3.0"
FIRST: Final = 5_000
"""Events of the log that is run before."""


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The job over a log: what it took by the clock, once it was warm, and the verdicts."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None or shutil.which("java") is None:
        raise RuntimeError("needs uv and a Java")
    command = [uv, "run", "--no-project", "--quiet", "--python", "3.11", "--with", PACKAGE, "python"]
    job = Path(__file__).with_name("flink_job.py")
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.jsonl"
        with Path(path).open() as lines:
            first.write_text("".join(islice(lines, FIRST)))
        done = subprocess.run(
            [*command, str(job), path, str(first), folder], capture_output=True, check=False, timeout=300
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        seconds = float(done.stdout.split()[-1])
        return Taken(seconds, seconds), dict(_verdicts(Path(folder) / "cases", _end_of(path)))


def _end_of(path: str) -> datetime:
    with Path(path).open("rb") as lines:
        *_, last = lines
    return datetime.fromisoformat(orjson.loads(last)["recorded_at"])


def _verdicts(folder: Path, until: datetime) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("part-*"):
        with file.open() as rows:
            for rule, trigger, opened, answered in csv.reader(rows):
                yield f"{rule}:{trigger}", _verdict(rule, opened, bool(answered), until)


def _verdict(rule: str, opened: str, is_answered: bool, until: datetime) -> str:
    """Flink ends its input at the end of all time; what is due only after the end of the log is still open."""
    if is_answered:
        return "violated" if rule in ("bounced", "night-move") else "met"
    limit = LIMITS.get(rule)
    if limit is not None and datetime.fromisoformat(opened).replace(tzinfo=UTC) + limit >= until:
        return "open"
    return "met" if rule == "bounced" else "violated"
