"""`handoff simulate`: what it writes, and that the command which it prints can be run."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from monitor.commands.simulate_options import DIALECTS as NAMES
from monitor.simulation.hl7 import DIALECTS

SMALL = ("simulate", "--wards", 1, "--days", 2)


def cases(lines):
    keys = ("rule", "patient", "encounter", "trigger", "trigger_at", "verdict", "overdue")
    return sorted(tuple(str(case[key]) for key in keys) for case in map(json.loads, lines))


@pytest.mark.parametrize("feed", [(), ("--format", "hl7")])
def test_the_command_that_it_prints_finds_the_truth_that_it_wrote(handoff, tmp_path, feed):
    made = handoff(*SMALL, *feed, "--out", "small")
    assert (made.code, made.err) == (0, "")
    program, *argv = shlex.split(made.out)
    assert program == "handoff"
    found = handoff(*argv, "--format", "json")
    assert found.code == 0
    assert argv[argv.index("--truth") + 1] == "small/truth.jsonl"
    said = found.err.splitlines()[-1]
    assert re.fullmatch(r"handoff: truth: \d+ cases agree; \d+ rules of the truth were not loaded", said)
    judged = {json.loads(line)["rule"] for line in found.out.splitlines()}
    truth = [
        line
        for line in (tmp_path / "small/truth.jsonl").read_text().splitlines()
        if json.loads(line)["rule"] in judged
    ]
    assert cases(found.out.splitlines()) == cases(truth) != []


def test_a_folder_with_a_space_in_its_name_can_be_replayed(handoff):
    made = handoff(*SMALL, "--no-truth", "--out", "my hospital")
    assert handoff(*shlex.split(made.out)[1:]).code == 0


def test_without_truth_none_is_written(handoff, tmp_path):
    made = handoff(*SMALL, "--no-truth", "--out", "small")
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"events.jsonl", "microsystems.yaml"}
    assert "--truth" not in made.out


def test_a_single_verdict_that_the_truth_has_otherwise_is_found(handoff, tmp_path):
    made = handoff(*SMALL, "--out", "small")
    truth = tmp_path / "small/truth.jsonl"
    text = truth.read_text()
    assert '"ed-boarding"' in text
    first, middle, last = text.partition('"rule":"ed-boarding"')
    truth.write_text(first + middle + last.replace('"verdict":"met"', '"verdict":"late"', 1))
    found = handoff(*shlex.split(made.out)[1:])
    assert found.code == 1
    assert " agree, 1 does not" in found.err


def test_events_can_go_to_stdout_alone(handoff, tmp_path):
    handoff(*SMALL, "--out", "small")
    assert handoff(*SMALL, "--out", "-").out == (tmp_path / "small/events.jsonl").read_text()


@pytest.mark.parametrize("feed", [(), ("--format", "hl7", "--dialect", "epic")])
def test_another_process_writes_the_same_bytes(tmp_path, feed):
    written = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        words = ["-m", "monitor", *map(str, SMALL), "--updates", "0.3", *feed, "--out", str(folder)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert {"microsystems.yaml", "truth.jsonl"} < set(written[0])


def test_the_truth_is_in_order(handoff, tmp_path):
    handoff(*SMALL, "--out", "small")
    found = [json.loads(line) for line in (tmp_path / "small/truth.jsonl").read_text().splitlines()]
    keys = [(case["trigger_at"], case["rule"], case["patient"], case["trigger"]) for case in found]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--dialect", "zbe", "--out", "x"), "say --format hl7"),
        (("--format", "hl7", "--out", "-"), "name a directory"),
        (("--days", "0", "--out", "x"), "`0` is not a whole number from 1 to 366"),
        (("--hospitals", "101", "--out", "x"), "`101` is not a whole number from 1 to 100"),
        (("--hospitals", "2", "--wards", "1", "--out", "x"), "not allowed with"),
        (("--start", "yesterday", "--out", "x"), "`yesterday` is not a date"),
        (("--updates", "1", "--out", "x"), "`1` is not a share from 0 to 0.99"),
        (("--cancels", "many", "--out", "x"), "`many` is not a share from 0 to 0.5"),
        (("--out", ""), "names no directory"),
        ((), "--out"),
    ],
)
def test_wrong_options_are_told(handoff, argv, said):
    result = handoff("simulate", *argv)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize("name", ["microsystems.yaml", "events.jsonl"])
def test_the_files_of_a_real_hospital_are_not_overwritten(handoff, write, tmp_path, name):
    write(f"real/{name}", "# ours\n")
    result = handoff(*SMALL, "--out", "real")
    assert (result.code, result.out) == (2, "")
    assert f"real/{name} is no simulation's" in result.err
    assert {path.name: path.read_text() for path in (tmp_path / "real").iterdir()} == {name: "# ours\n"}


def test_nothing_of_an_earlier_simulation_stays_beside_a_new_one(handoff, tmp_path):
    handoff(*SMALL, "--format", "hl7", "--out", "small")
    handoff(*SMALL, "--no-truth", "--out", "small")
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"events.jsonl", "microsystems.yaml"}


def test_a_file_in_the_place_of_the_folder_is_told(handoff, write):
    write("taken", "a file")
    result = handoff(*SMALL, "--out", "taken")
    assert (result.code, result.out) == (3, "")
    assert "cannot write taken" in result.err


def test_the_dialects_that_can_be_named_are_those_that_there_are():
    assert set(NAMES) == set(DIALECTS)
