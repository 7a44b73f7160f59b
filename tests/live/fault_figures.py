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

{runs} runs on {date}, seeds {first} to {last} of each kind, {kills} kills, on one broker of Kafka. Each has topics of its own with three partitions, one `handoff ingest`, and one to three `handoff worker`. For some
seconds events come over three connections of HTTP: early, late, twice and in disorder, with three records of poison among them. What befalls the workers meanwhile:

| | runs | kills | slowest, seconds |
| --- | --- | --- | --- |
{kinds}

*Slowest* is the longest time from the instant of a change until it was told. A worker that is killed or stands still is missed after ten seconds, its session.

| held in every run, when all had been told, and once more when all workers had ended | |
| --- | --- |
| events that were acknowledged and are not in the topic, or in the topic and nobody sent | 0 |
| cases whose last verdict differs in anything from one pass over the topic of events | 0 |
| alerts that fire in one pass and were not told, or that stand otherwise (state, level, reason, severity, patient) | 0 |
| alerts told under an id that one pass does not know, where nobody was merged | 0 |
| sequences of an alert that say two things, or that are told for the first time after a later one | 0 |
| alerts and cases whose last record, all that compaction leaves, is not the last word | 0 |
| alerts that came and went untold, where nothing befell the workers | 0 |

| | in all | of one run, median | largest |
| --- | --- | --- | --- |
{rows}

Where merges link patients of two partitions, their facts are on their way for a moment, and one of the partitions judges by what it has: an alert may then be told that one pass does not know. It is counted
here; each was taken back (`withdrawn`, `charted_late`, `void`, or `met` of a warning).
What came and went while no worker was there need not be told, and is counted here, too.

More about workers, with brokers over TLS and with passwords, other rules while they run, FHIR, offsets without records, and more workers than partitions, is in `tests/acceptance/test_worker_settings.py`.
"""
KINDS = {
    "kills": "one worker is killed three times, also while it joins, and another is started",
    "crowd": "workers join, leave and are killed; partitions move",
    "merges": "two workers are killed one after the other while merges move journeys between them",
    "pause": "one of two workers, or both, stand still (`SIGSTOP`) until the session is over, and go on",
    "asleep": "the same while merges move journeys between them",
    "broker": "the broker is killed and comes back",
    "outage": "the only worker is killed; deadlines pass while there is none",
    "idle": "nothing; but two of three partitions get no record any more, and deadlines pass",
    "compaction": "the changelog is compacted while it is written; then all workers are killed",
    "skew": "the clock of one of two workers is a second ahead, that of the other a second behind; one is killed",
    "disorder": "nothing; but events come up to 30 seconds late, each fifth twice, and half of all once more",
}
KAFKA_ROWS = {
    "kills": "kills of workers and of the broker",
    "moves": "workers that joined, left or stood still",
    "events": "events acknowledged",
    "records": "records of the topic of events",
    "cases": "cases",
    "alerts": "alerts told",
    "passing": "of these, told while facts were on their way, and taken back",
    "longest_passing": "seconds that such an alert fired",
    "untold": "alerts that came and went while no worker was there",
    "repeats": "notices that said again what had been said",
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
    if not runs:
        return ""
    seeds = [run["seed"] for run in runs]
    return KAFKA.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        runs=len(runs),
        first=min(seeds),
        last=max(seeds),
        kills=f"{sum(run['kills'] for run in runs):,}",
        kinds="\n".join(
            kind(words, [run for run in runs if run["kind"] == name]) for name, words in KINDS.items()
        ),
        rows="\n".join(row(words, [run[name] for run in runs]) for name, words in KAFKA_ROWS.items()),
    )


def kind(words, runs):
    slowest = max((run["slowest"] for run in runs), default=0)
    return f"| {words} | {len(runs)} | {sum(run['kills'] for run in runs)} | {slowest:.1f} |"


def read(folder):
    return [json.loads(each.read_text()) for each in sorted(folder.glob("*.json"))]


def row(words, numbers):
    numbers = sorted(numbers)
    return f"| {words} | {sum(numbers):,.0f} | {numbers[len(numbers) // 2]:,.0f} | {numbers[-1]:,.0f} |"


if __name__ == "__main__":
    folder, target = map(Path, sys.argv[1:])
    target.write_text(page(read(folder)) + kafka(read(folder / "kafka")))
    print(target)
