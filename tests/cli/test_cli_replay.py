"""`handoff replay` and `handoff journeys`: a finished history in, tables, verdicts, alerts and stays out."""

import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.runtime.output import duration_text

SEPSIS = Path(__file__).parents[3] / "shared/data/sepsis/sepsis.csv.gz"

RULES = """
rules:
  - {id: arrive, summary: arrives within 30 min, severity: critical, when: {type: depart}, expect: {type: arrive}, within: 30m, give_up: 10h}
  - {id: sign, summary: signed before, severity: warning, when: {type: depart}, require: {type: handoff_signed}}
"""
REGISTRY = """
microsystems:
  - {id: icu, kind: icu, locations: [ICU]}
  - {id: ward, kind: ward, locations: [W1]}
"""
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def event(number, clock, what, patient="p", **fields):
    hours, minutes = map(int, clock.split(":"))
    moment = (DAY + timedelta(hours=hours, minutes=minutes)).isoformat()
    return (
        json.dumps({"id": str(number), "type": what, "patient": patient, "occurred_at": moment} | fields)
        + "\n"
    )


HISTORY = "".join(
    [
        event(1, "00:00", "admit", to="ICU", encounter="v"),
        event(2, "01:00", "handoff_signed", encounter="v"),
        event(3, "01:10", "depart", encounter="v", to="W1"),
        event(4, "01:30", "arrive", encounter="v", to="W1"),
        event(5, "02:00", "depart", "q"),
        event(6, "04:35", "arrive", "q"),
        event(7, "03:00", "depart", "r"),
        event(8, "20:00", "depart", "s", to="X9"),
        event(9, "20:31", "triage", "s"),
    ]
)


@pytest.fixture
def inputs(write):
    write("rules.yaml", RULES)
    write("microsystems.yaml", REGISTRY)
    write("events.jsonl", HISTORY)


TABLE = """\
rule    decided  met  met %  late  missed  violated  void  unknown  open  overdue  median delay  p90 delay
arrive        3    1   33.3     1       1         0     0        0     1        1          2h5m       2h5m
sign          4    1   25.0     0       0         3     0        0     0        0             -          -
met % is of the decided: met, late, missed, violated. Open includes overdue. The delay is that of the late, after the deadline.
"""


def test_the_text_is_a_table_of_rules(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "--microsystems", "microsystems.yaml", "events.jsonl")
    assert found == (
        0,
        TABLE,
        "handoff: events: 9 of 4 patients\nhandoff: unmapped locations: 1, in 1 event\n",
    )


def test_the_worst_are_listed_on_demand(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "events.jsonl", "--worst", "5")
    assert found.out == TABLE + (
        "\n"
        "latest  patient  trigger  trigger at         due at\n"
        "arrive  q        5        2024-01-01 02:00Z  2024-01-01 02:30Z  2h5m\n"
        "\n"
        "missing  patient  trigger  trigger at         due at\n"
        "arrive   r        7        2024-01-01 03:00Z  2024-01-01 03:30Z  missed\n"
        "arrive   s        8        2024-01-01 20:00Z  2024-01-01 20:30Z  overdue\n"
    )


def test_json_is_a_verdict_a_line_with_its_keys_in_order(handoff, inputs):
    code, out, _ = handoff(
        "replay",
        "--rules",
        "rules.yaml",
        "--microsystems",
        "microsystems.yaml",
        "--format",
        "json",
        "events.jsonl",
    )
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == (
        '{"rule":"arrive","patient":"p","encounter":"v","trigger":"3","trigger_at":"2024-01-01T01:10:00.000000Z",'
        '"verdict":"met","reason":null,"due_at":"2024-01-01T01:40:00.000000Z","decided_at":"2024-01-01T01:30:00.000000Z",'
        '"delay_seconds":null,"from":"icu","to":"ward","step":null,"evidence":["4"],'
        '"case":"8f2e7cf8-bd36-5e2e-a9b1-7ca9d2b0c1f3","overdue":false}'
    ).replace("8f2e7cf8-bd36-5e2e-a9b1-7ca9d2b0c1f3", json.loads(lines[0])["case"])
    found = [json.loads(line) for line in lines]
    assert [(each["trigger_at"], each["rule"], each["case"]) for each in found] == sorted(
        (each["trigger_at"], each["rule"], each["case"]) for each in found
    )
    assert [(each["rule"], each["trigger"], each["verdict"], each["overdue"]) for each in found] == [
        ("arrive", "3", "met", False),
        ("sign", "3", "met", False),
        ("arrive", "5", "late", False),
        ("sign", "5", "violated", False),
        ("arrive", "7", "missed", False),
        ("sign", "7", "violated", False),
        ("arrive", "8", "open", True),
        ("sign", "8", "violated", False),
    ]
    assert found[2]["delay_seconds"] == 7_500.0


def test_alert_changes_are_written_in_order(handoff, inputs, tmp_path):
    handoff("replay", "--rules", "rules.yaml", "--alerts", "alerts.jsonl", "events.jsonl")
    found = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert list(found[0]) == (
        [
            "alert",
            "rule",
            "severity",
            "state",
            "level",
            "reason",
            "at",
            "patient",
            "encounter",
            "due_at",
            "sequence",
            "summary",
        ]
    )
    assert [
        (each["at"][11:16], each["rule"], each["patient"], each["state"], each["reason"]) for each in found
    ] == [
        ("02:00", "sign", "q", "firing", None),
        ("02:30", "arrive", "q", "firing", None),
        ("03:00", "sign", "r", "firing", None),
        ("03:30", "arrive", "r", "firing", None),
        ("04:35", "arrive", "q", "resolved", "late"),
        ("13:30", "arrive", "r", "resolved", "missed"),
        ("20:00", "sign", "s", "firing", None),
        ("20:30", "arrive", "s", "firing", None),
    ]
    assert found[0]["sequence"] == [0, "2024-01-01T02:00:00.000000Z", 0]


def test_until_moves_the_clock_and_leaves_out_what_arrives_later(handoff, inputs):
    found = handoff(
        "replay",
        "--rules",
        "rules.yaml",
        "--format=json",
        "--until",
        "2024-01-01T03:00:00+00:00",
        "events.jsonl",
    )
    verdicts = {(each["rule"], each["trigger"]): each for each in map(json.loads, found.out.splitlines())}
    assert verdicts["arrive", "5"]["overdue"]
    assert ("arrive", "8") not in verdicts
    assert found.err == ("handoff: events: 9 of 4 patients\nhandoff: left out, for they arrive later: 3\n")


def test_what_lies_in_the_future_is_left_out(handoff, inputs):
    late = event(1, "00:00", "depart", occurred_at="2900-01-01T00:00:00Z").encode()
    assert handoff("replay", "--rules", "rules.yaml", "-", stdin=late).err == (
        "handoff: events: 1 of 1 patient\nhandoff: left out, for they arrive later: 1\n"
    )


def test_files_and_lines_may_come_in_any_order(handoff, inputs, write):
    whole = handoff("replay", "--rules", "rules.yaml", "--format", "json", "events.jsonl").out
    lines = HISTORY.splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    write("one.jsonl", "".join(lines[:4]))
    write("two.jsonl", "".join(lines[4:]))
    assert (
        handoff("replay", "--rules", "rules.yaml", "--format", "json", "two.jsonl", "one.jsonl").out == whole
    )


def test_as_received_events_arrive_in_the_order_of_the_file(handoff, inputs, write, tmp_path):
    lines = [event(1, "01:00", "depart"), event(3, "05:00", "triage"), event(2, "01:20", "arrive")]
    write("events.jsonl", "".join(lines))
    command = [
        "replay",
        "--rules",
        "rules.yaml",
        "--format",
        "json",
        "--alerts",
        "alerts.jsonl",
        "events.jsonl",
    ]
    sorted_, received = handoff(*command), handoff(*command, "--as-received")
    assert sorted_.out == received.out
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert reasons == [None, None, "charted_late"]


def test_rejects_and_copies_are_counted_on_stderr(handoff, inputs, write):
    write("events.jsonl", HISTORY + "nonsense\n{}\n" + HISTORY)
    found = handoff("replay", "--rules", "rules.yaml", "events.jsonl")
    assert (found.code, found.out) == (0, TABLE)
    assert found.err == (
        "handoff: events: 18 of 4 patients\nhandoff: rejects: 2 (not-an-event 1, not-json 1)\nhandoff: duplicates: 9\n"
    )


def test_a_file_that_breaks_off_is_said_last(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "events.jsonl", "gone.jsonl")
    assert (found.code, found.out) == (3, TABLE)
    assert found.err.endswith("handoff: cannot read gone.jsonl: No such file or directory\n")
    assert handoff("replay", "--rules", "rules.yaml", "gone.jsonl") == (
        3,
        "",
        "handoff: cannot read gone.jsonl: No such file or directory\n",
    )


def test_a_format_that_is_not_recognised_is_work_that_could_not_be_done(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "-", stdin=b"hello")
    assert (found.code, found.out) == (3, "")
    assert found.err.startswith("handoff: cannot read -: the format is not recognised; ")


def test_broken_rules_are_shown_and_nothing_is_replayed(handoff, inputs, write):
    write(
        "rules.yaml",
        "rules:\n  - {id: a, summary: a, severity: info, when: {type: x}, expect: {type: y}, within: soon}\n",
    )
    code, out, err = handoff("replay", "--rules", "rules.yaml", "events.jsonl")
    assert (code, out) == (1, "")
    assert err.startswith("rules.yaml:2:")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rules", "one.yaml", "two.yaml", "events.jsonl"],
        ["--rules", "one.yaml", "--rules", "two.yaml", "events.jsonl"],
        ["events.jsonl", "--rules", "one.yaml", "two.yaml"],
        ["--rules", "one.yaml", "two.yaml", "--format", "text", "events.jsonl"],
        ["--rules", "folder", "events.jsonl"],
    ],
)
def test_rules_are_files_or_folders_and_may_be_several(handoff, inputs, write, arguments):
    head, *rules = RULES.strip().splitlines()
    for folder in ("", "folder/"):
        write(f"{folder}one.yaml", f"{head}\n{rules[0]}\n")
        write(f"{folder}two.yaml", f"{head}\n{rules[1]}\n")
    write("folder/microsystems.yaml", REGISTRY)
    assert handoff("replay", *arguments).out == TABLE


def test_an_unknown_pack_is_named(handoff, inputs):
    found = handoff("replay", "--rules", "pack:nothing", "events.jsonl")
    assert (found.code, found.out) == (3, "")
    assert found.err.startswith("handoff: cannot read pack:nothing: there is no such pack")


@pytest.mark.parametrize("command", [["journeys"], ["replay", "--rules", "rules.yaml"]])
def test_an_input_of_rejects_alone_is_work_that_could_not_be_done(handoff, inputs, command):
    assert handoff(*command, "-", stdin=b"{}\n{\n") == (
        3,
        "",
        "handoff: rejects: 2 (not-an-event 1, not-json 1)\nhandoff: no message of the input could be used\n",
    )


def test_xes_that_breaks_off_is_a_file_that_breaks_off(handoff, inputs):
    log = (
        '<log><trace><string key="concept:name" value="A"/><event>'
        '<string key="concept:name" value="depart"/><date key="time:timestamp" value="2024-01-01T10:00:00Z"/>'
        "</event></trace><trace>"
    )
    found = handoff("replay", "--rules", "rules.yaml", "-", stdin=log.encode())
    assert (found.code, found.err) == (
        3,
        "handoff: events: 1 of 1 patient\nhandoff: cannot read -: no element found: line 1, column 180\n",
    )


def test_files_after_one_that_cannot_be_read_are_told(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "events.jsonl", "gone", "events.jsonl", "events.jsonl")
    assert found.err.endswith(
        "handoff: cannot read gone: No such file or directory; 2 more after it not read\n"
    )


def test_a_heartbeat_is_no_patient(handoff, inputs):
    beat = event(1, "00:00", "heartbeat", "-") + event(2, "00:00", "depart")
    found = handoff("replay", "--rules", "rules.yaml", "-", stdin=beat.encode())
    assert found.err == "handoff: events: 2 of 1 patient\n"


def test_alerts_that_cannot_be_written_are_known_before_the_work(handoff, inputs):
    assert handoff("replay", "--rules", "rules.yaml", "--alerts", "no/where", "events.jsonl") == (
        3,
        "",
        "handoff: cannot write no/where: No such file or directory\n",
    )


def test_alerts_take_the_place_of_an_older_file_when_all_is_done(handoff, inputs, write, tmp_path):
    (tmp_path / write("alerts.jsonl", "old\n")).chmod(0o640)
    (tmp_path / "link").symlink_to("alerts.jsonl")
    assert handoff("replay", "--rules", "rules.yaml", "--alerts", "link", "gone.jsonl").code == 3
    assert (tmp_path / "alerts.jsonl").read_text() == "old\n"
    assert handoff("replay", "--rules", "rules.yaml", "--alerts", "link", "events.jsonl").code == 0
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 8
    assert (tmp_path / "alerts.jsonl").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link").is_symlink()
    assert not list(tmp_path.glob(".handoff*"))


def test_alerts_that_failed_leave_no_file(handoff, inputs, tmp_path):
    handoff("replay", "--rules", "rules.yaml", "--alerts", "alerts.jsonl", "gone.jsonl")
    assert not (tmp_path / "alerts.jsonl").exists()


@pytest.mark.parametrize("path", ["events.jsonl", "rules/a.yaml", "microsystems.yaml", "alias.jsonl"])
def test_alerts_never_overwrite_what_is_read(handoff, inputs, write, tmp_path, path):
    write("rules/a.yaml", RULES)
    (tmp_path / "alias.jsonl").symlink_to("events.jsonl")
    before = (tmp_path / path).read_text()
    command = ["replay", "--rules", "rules", "--microsystems", "microsystems.yaml", "--alerts", path]
    found = handoff(*command, "events.jsonl")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"handoff: replay: --alerts {path} would overwrite what is read from ")
    assert (tmp_path / path).read_text() == before


def test_alerts_may_go_to_a_device(handoff, inputs):
    assert handoff("replay", "--rules", "rules.yaml", "--alerts", "/dev/null", "events.jsonl").code == 0
    assert handoff("replay", "--rules", "rules.yaml", "--alerts", "/dev/full", "events.jsonl") == (
        3,
        "",
        "handoff: cannot write /dev/full: No space left on device\n",
    )


def test_alerts_and_the_table_share_a_file_that_is_stdout(inputs, tmp_path):
    command = [sys.executable, "-m", "monitor", "replay", "--rules", "rules.yaml", "--alerts", "/dev/stdout"]
    with (tmp_path / "out").open("w") as out:
        subprocess.run([*command, "events.jsonl"], cwd=tmp_path, stdout=out, check=True, capture_output=False)
    lines = (tmp_path / "out").read_text().splitlines(keepends=True)
    assert [json.loads(line)["state"] for line in lines[:8]].count("firing") == 6
    assert "".join(lines[8:]) == TABLE


def test_no_events_are_no_cases(handoff, inputs):
    found = handoff("replay", "--rules", "rules.yaml", "-")
    assert (found.code, found.err) == (0, "handoff: events: 0 of 0 patients\n")
    assert "arrive        0    0      -" in found.out


def many_patients(seed):
    """Journeys with departures, arrivals, cancels and merges of patients, out of order."""
    chance = random.Random(seed)
    lines = []
    for number in range(600):
        patient = f"p{chance.randrange(40)}"
        clock = f"{chance.randrange(48)}:{chance.randrange(60):02}"
        what = chance.choice(["depart", "arrive", "handoff_signed", "cancel_depart", "admit", "merge"])
        fields = {"source": chance.choice(["A", "B"])}
        if what == "merge":
            if chance.random() < 0.9:
                continue
            fields["attributes"] = {"into": f"p{chance.randrange(40)}"}
        told = DAY + timedelta(minutes=chance.randrange(60 * 60))
        lines.append(event(number, clock, what, patient, recorded_at=told.isoformat(), **fields))
    return "".join(lines)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("heartbeats", [False, True])
def test_the_number_of_processes_changes_nothing(handoff, write, tmp_path, seed, heartbeats):
    write("rules.yaml", RULES)
    write("microsystems.yaml", "sources:\n  A: {silent_after: 45m}\n")
    beats = [event(f"h{n}", f"{n // 2}:{n % 2 * 30:02}", "heartbeat", "-", source="A") for n in range(60, 90)]
    write("events.jsonl", many_patients(seed) + "".join(beats if heartbeats else []))
    command = ["replay", "--rules", "rules.yaml", "--microsystems", "microsystems.yaml", "--format", "json"]
    found = set()
    for jobs in ("1", "2", "5"):
        result = handoff(*command, "--jobs", jobs, "--alerts", "alerts.jsonl", "events.jsonl")
        assert result.code == 0
        found.add((result, (tmp_path / "alerts.jsonl").read_text()))
    [(result, alerts)] = found
    assert len(result.out.splitlines()) > 50
    assert ('"rule":"feed"' in alerts) == heartbeats


def children_of(process):
    return [
        int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("signal_", "to_child", "code", "err"),
    [
        (
            signal.SIGKILL,
            True,
            3,
            "handoff: one of the processes was killed, perhaps for want of memory; try fewer --jobs\n",
        ),
        (signal.SIGINT, False, 130, "handoff: interrupted\n"),
    ],
)
def test_a_process_that_ends_ends_the_replay(inputs, write, tmp_path, signal_, to_child, code, err):
    write(
        "slow.jsonl",
        "".join(event(n, f"{n % 20}:{n % 60:02}", "depart", f"p{n % 40}") for n in range(60_000)),
    )
    command = [
        sys.executable,
        "-m",
        "monitor",
        "replay",
        "--rules",
        "rules.yaml",
        "--jobs",
        "2",
        "slow.jsonl",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(children := children_of(process)) < 2:
            assert process.poll() is None
        os.kill(children[0] if to_child else process.pid, signal_)
        out, said = process.communicate(timeout=120)
    assert (process.returncode, out, said.decode()) == (code, b"", err)


def test_journeys_are_stays_a_line(handoff, write):
    write("microsystems.yaml", REGISTRY)
    history = event(1, "00:00", "admit", to="ICU", encounter="v") + event(
        2, "02:00", "transfer", to="W1", encounter="v", **{"from": "ICU"}
    )
    assert handoff("journeys", "--microsystems", "microsystems.yaml", "-", stdin=history.encode()) == (
        0,
        (
            '{"patient":"p","encounter":"v","place":"icu","kind":"icu","entered_at":"2024-01-01T00:00:00.000000Z",'
            '"left_at":"2024-01-01T02:00:00.000000Z","from":null,"to":"ward"}\n'
            '{"patient":"p","encounter":"v","place":"ward","kind":"ward","entered_at":"2024-01-01T02:00:00.000000Z",'
            '"left_at":null,"from":"icu","to":null}\n'
        ),
        "handoff: events: 2 of 1 patient\n",
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.6, "1m"),
        (61, "1m1s"),
        (3600, "1h"),
        (3661, "1h1m"),
        (7500, "2h5m"),
        (86_400, "1d"),
        (86_460, "1d"),
        (90_000, "1d1h"),
        (86_400 * 800, "800d"),
    ],
)
def test_a_delay_is_shown_by_its_two_largest_units(seconds, text):
    assert duration_text(seconds) == text


SEPSIS_MAPPING = """
patient: Case ID
type: Activity
occurred_at: {column: Complete Timestamp, format: "%Y/%m/%d %H:%M:%S.%f", timezone: Europe/Amsterdam}
"""
SEPSIS_RULES = """
rules:
  - {id: antibiotics, summary: s, severity: critical, same: [], when: {type: ER Sepsis Triage}, expect: {type: IV Antibiotics}, within: 60m, give_up: 52w}
"""


@pytest.mark.skipif(not SEPSIS.exists(), reason="needs the public sepsis log in ../shared/data")
def test_a_real_log_gives_its_known_answers(handoff, write):
    write("rules.yaml", SEPSIS_RULES)
    write("map.yaml", SEPSIS_MAPPING)
    found = handoff(
        "replay", "--rules", "rules.yaml", "--mapping", "map.yaml", "--until", "2020-01-01T00:00Z", SEPSIS
    )
    assert found.out.splitlines()[1].split()[:6] == ["antibiotics", "1,049", "342", "32.6", "481", "226"]


def test_characters_that_steer_a_terminal_are_not_printed(handoff, write):
    rules = write(
        "r.yaml",
        "rules:\n  - {id: gone, summary: gone, severity: info, when: {type: a}, expect: {type: b}, within: 1m}\n",
    )
    event = {"id": "1\u001b[2J", "type": "a", "patient": "p\u0007\n", "occurred_at": "2024-01-01T00:00:00Z"}
    log = write("log.jsonl", json.dumps(event) + "\n")
    found = handoff("replay", "--rules", rules, "--worst", 1, "--until", "2024-01-02T00:00:00Z", log)
    assert "p??" in found.out
    assert "1?[2J" in found.out
    assert "\u001b" not in found.out
