"""Real workers on a real Kafka under what befalls them, against one pass over what lies in the topic of events."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
import kafka_faults

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
SEEDS = os.environ.get("HANDOFF_FAULT_SEEDS")
FIGURES = os.environ.get("HANDOFF_FAULT_FIGURES")
"""A folder for what each run came to."""
TOGETHER = [[("disorder", 0), ("pause", 0)]]
"""Runs (kind, seed), by those that go on at one time: most of a run is waiting."""
if SEEDS is not None:
    TOGETHER = [[(kind, seed)] for seed in range(max(1, int(SEEDS) // 20)) for kind in kafka_faults.KINDS]


@pytest.mark.parametrize("runs", TOGETHER, ids=lambda runs: "+".join(f"{kind}{seed}" for kind, seed in runs))
def test_workers_in_trouble_tell_what_one_pass_tells(broker, tmp_path, runs):
    def run(kind, seed):
        folder = tmp_path / f"{kind}{seed}"
        folder.mkdir()
        return kafka_faults.run(broker, folder, seed, kind)

    with ThreadPoolExecutor() as pool:
        under_way = [pool.submit(run, *each) for each in runs]
    for figures in [each.result() for each in under_way]:
        if FIGURES is not None:
            folder = Path(FIGURES) / "kafka"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{figures.kind}{figures.seed}.json").write_text(json.dumps(figures._asdict()))
