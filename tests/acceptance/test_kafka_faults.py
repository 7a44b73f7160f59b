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
FEW = [("merges", 0), ("pause", 0)]
RUNS = FEW
if SEEDS is not None:  # each kind with as many seeds; a run takes most of a minute
    each = max(1, int(SEEDS) // 20)
    RUNS = [(kind, seed) for seed in range(each) for kind in kafka_faults.KINDS]


@pytest.mark.parametrize(("kind", "seed"), RUNS)
def test_workers_in_trouble_tell_what_one_pass_tells(broker, tmp_path, kind, seed):
    figures = kafka_faults.run(broker, tmp_path, seed, kind)
    if FIGURES is not None:
        folder = Path(FIGURES) / "kafka"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}{seed}.json").write_text(json.dumps(figures._asdict()))
