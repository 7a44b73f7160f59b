"""Writes what the runs of `make test-faults` came to as a page: `fault_figures.py FOLDER PAGE`."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

PAGE = """\
# Faults

What came of the runs of `make test-faults` on {date}: {runs} runs, seeds {first} to {last}, {kills} kills, on {cores} cores with Python {python}. In each run a simulated hospital sends a day of
HL7 v2 over four MLLP connections and of milestones over two of HTTP, to a real `handoff run` that is killed (`kill -9`) at random moments and started again; whoever
was not answered sends again, and the receiver of alerts, a webhook, fails one time in twenty. Two runs in three go on at the pace of a day that lasts twelve seconds; in every third all of two days is sent at
once. Four dialects of HL7 take turns, and in most runs the feeds count as silent after a while.

| held in every run | |
| --- | --- |
| messages that were acknowledged and are not in the store | 0 |
| facts in the store that nobody sent | 0 |
| cases whose verdict differs from a replay of what was recorded | 0 |
| alerts that fire in the replay and were not told, or that stand otherwise at the end | 0 |
| alerts told under an id that the replay does not know | 0 |
| alerts whose receiver heard states out of order, or two under one sequence, or not the last one | 0 |

A run in which one of these is not so fails the command, and this page is not written.

| | in all | of one run, median | largest |
| --- | --- | --- | --- |
{rows}

After a kill, what came and went between two batches need not have been told, but how each alert stands must be; where the service is stopped in order, every single
change is the same as in the replay (`tests/live/test_export.py`). The other faults that are tried, with what must hold, are in `tests/acceptance/test_faults.py`: full, read-only, damaged and locked disks, a process that stands
still, two hundred connections, half frames, slow senders, messages of 100 MB, and whatever bytes come.
"""
KAFKA = """
## On Kafka

{runs} runs on one broker. Events come by `handoff ingest`, early, late, twice and in disorder, with poison among them, and in some runs with merges across partitions; workers are killed,
join, leave and stand still for longer than their session, the broker is killed, and nobody works while deadlines pass. In each run, in the end:
all that was acknowledged lies in the topic of events, and nothing else; verdicts, and alerts by id and state, are those of one pass over that topic;
no sequence of an alert says two things. While facts are on their way between partitions an alert may be told that one pass does not know; it is withdrawn then, and counted here.

| | in all | of one run, median | largest |
| --- | --- | --- | --- |
{rows}
"""
KAFKA_ROWS = {
    "kills": "kills of workers and of the broker",
    "moves": "workers that joined, left or stood still",
    "events": "events acknowledged",
    "sent_again": "events sent again",
    "records": "records of the topic of events",
    "cases": "cases",
    "alerts": "alerts",
    "passing": "of these, withdrawn and unknown to one pass",
    "seconds": "seconds",
}
ROWS = {
    "kills": "kills",
    "messages": "messages acknowledged",
    "sent_again": "messages sent again",
    "facts": "facts",
    "cases": "cases",
    "alerts": "alerts",
    "told": "requests to the webhook",
    "seconds": "seconds",
}


def page(runs):
    """The page of some runs, each a mapping of what it came to."""
    seeds = [run["seed"] for run in runs]
    return PAGE.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        runs=len(runs),
        first=min(seeds),
        last=max(seeds),
        kills=f"{sum(run['kills'] for run in runs):,}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        rows="\n".join(row(words, [run[name] for run in runs]) for name, words in ROWS.items()),
    )


def kafka(runs):
    """What is said of the runs on Kafka."""
    rows = [row(words, [run[name] for run in runs]) for name, words in KAFKA_ROWS.items()]
    return KAFKA.format(runs=len(runs), rows="\n".join(rows)) if runs else ""


def read(folder):
    return [json.loads(each.read_text()) for each in sorted(folder.glob("*.json"))]


def row(words, numbers):
    numbers = sorted(numbers)
    return f"| {words} | {sum(numbers):,.0f} | {numbers[len(numbers) // 2]:,.0f} | {numbers[-1]:,.0f} |"


if __name__ == "__main__":
    folder, target = map(Path, sys.argv[1:])
    target.write_text(page(read(folder)) + kafka(read(folder / "kafka")))
    print(target)
