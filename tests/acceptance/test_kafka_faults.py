"""Real workers on a real Kafka under what befalls them, against one pass over what lies in the topic of events."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
import kafka_faults

pytestmark = [
    pytest.mark.cluster,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
SEEDS = os.environ.get("HANDOFF_FAULT_SEEDS")
FIGURES = os.environ.get("HANDOFF_FAULT_FIGURES")
"""A folder for what each run came to."""
FEW = [("kills", 0), ("outage", 0)]
RUNS = FEW
if SEEDS is not None:  # a run takes most of a minute: one for every five of the service on one machine
    kinds = kafka_faults.KINDS
    RUNS = [(kinds[number % len(kinds)], number) for number in range(max(len(kinds), int(SEEDS) // 5))]


@pytest.mark.parametrize(("kind", "seed"), RUNS)
def test_workers_in_trouble_tell_what_one_pass_tells(broker, tmp_path, kind, seed):
    figures = kafka_faults.run(broker, tmp_path, seed, kind)
    assert figures.kills + figures.moves >= 1
    assert figures.alerts > 100
    if FIGURES is not None:
        folder = Path(FIGURES) / "kafka"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}{seed}.json").write_text(json.dumps(figures._asdict()))
