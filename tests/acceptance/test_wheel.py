"""The product as its users get it: the wheel, installed beside nothing of ours, driven by its commands."""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance
PROJECT = Path(__file__).parents[2]

RULES = """\
rules:
  - id: arrive
    summary: arrives within half an hour of departing
    severity: critical
    when: {type: depart}
    expect: {type: arrive}
    within: 30m
"""
EVENTS = """\
{"id": "1", "type": "depart", "patient": "p", "occurred_at": "2024-01-01T10:00:00Z"}
{"id": "2", "type": "arrive", "patient": "p", "occurred_at": "2024-01-01T10:45:00Z"}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder outside the checkout with the wheel installed in `venv`."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "venv", with_pip=True)
    python = home / "venv/bin/python"
    build = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", home / "dist", PROJECT]
    subprocess.run(build, check=True, cwd=home)
    [wheel] = (home / "dist").glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, cwd=home)
    (home / "rules.yaml").write_text(RULES)
    (home / "events.jsonl").write_text(EVENTS)
    return home


@pytest.fixture
def handoff(home):
    def run(*argv, **options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [home / "venv/bin/handoff", *argv],
            cwd=home,
            capture_output=True,
            text=True,
            env=environment,
            **options,
        )

    return run


def test_the_installed_code_is_that_of_the_wheel(home):
    where = subprocess.run(
        [home / "venv/bin/python", "-c", "import monitor; print(monitor.__file__)"],
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(home))


def test_a_history_is_replayed(handoff, home):
    found = handoff(
        "replay", "--rules", "rules.yaml", "--format", "json", "--alerts", "alerts.jsonl", "events.jsonl"
    )
    assert (found.returncode, found.stderr) == (0, "handoff: events: 2 of 1 patient\n")
    [verdict] = map(json.loads, found.stdout.splitlines())
    assert (verdict["verdict"], verdict["delay_seconds"]) == ("late", 900.0)
    alerts = [json.loads(line) for line in (home / "alerts.jsonl").read_text().splitlines()]
    assert [(each["state"], each["reason"]) for each in alerts] == [("firing", None), ("resolved", "late")]


def test_two_processes_give_the_same(handoff):
    command = ["replay", "--rules", "rules.yaml", "--format", "json", "events.jsonl"]
    assert handoff(*command).stdout == handoff(*command, "--jobs", "2").stdout


def test_events_come_through_a_pipe(handoff):
    found = handoff("decode", "-", input=EVENTS)
    assert found.returncode == 0
    assert [json.loads(line)["type"] for line in found.stdout.splitlines()] == ["depart", "arrive"]


def test_every_rule_pack_travels_in_the_wheel(handoff):
    packs = sorted(each.stem for each in (PROJECT / "rules").glob("*.yaml") if each.stem != "microsystems")
    for pack in packs:
        found = handoff("check", f"pack:{pack}")
        assert (found.returncode, found.stderr) == (0, "")


def test_what_is_wrong_ends_with_its_exit_code(handoff):
    assert handoff("check", "events.jsonl").returncode == 1
    assert handoff("replay").returncode == 2
    assert handoff("decode", "gone").returncode == 3


def test_the_package_is_typed(home):
    lib = next((home / "venv/lib").iterdir())
    assert (lib / "site-packages/monitor/py.typed").exists()
