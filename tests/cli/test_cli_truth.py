"""`handoff replay --truth`: the verdicts of a replay against those of a file."""

import json

import pytest

RULES = """
rules:
  - {id: arrive, summary: arrives within 30 min, severity: critical, when: {type: depart}, expect: {type: arrive}, within: 30m}
  - {id: sign, summary: signed before, severity: warning, when: {type: depart}, require: {type: handoff_signed}}
"""
EVENTS = """
{"id": "1", "type": "depart", "patient": "SECRET-1", "encounter": "v", "occurred_at": "2024-01-01T01:00:00Z"}
{"id": "2", "type": "arrive", "patient": "SECRET-1", "encounter": "v", "occurred_at": "2024-01-01T01:40:30Z"}
{"id": "3", "type": "handoff_signed", "patient": "SECRET-2", "occurred_at": "2024-01-01T02:00:00Z"}
{"id": "4", "type": "depart", "patient": "SECRET-2", "occurred_at": "2024-01-01T02:10:00Z"}
{"id": "5", "type": "depart", "patient": "SECRET-3", "occurred_at": "2024-01-01T04:00:00Z"}
"""
LATE = {
    "rule": "arrive",
    "step": None,
    "patient": "SECRET-1",
    "encounter": "v",
    "trigger": "1",
    "trigger_at": "2024-01-01T01:00:00Z",
    "verdict": "late",
    "overdue": False,
    "delay_seconds": 630,
}
OVERDUE = LATE | {
    "patient": "SECRET-2",
    "encounter": None,
    "trigger": "4",
    "trigger_at": "2024-01-01T02:10:00+00:00",
    "verdict": "open",
    "overdue": True,
    "delay_seconds": None,
}
OPEN = OVERDUE | {
    "patient": "SECRET-3",
    "trigger": "5",
    "trigger_at": "2024-01-01T04:00:00Z",
    "overdue": False,
}
UNSIGNED = {**LATE, "rule": "sign", "verdict": "violated", "delay_seconds": None}
SIGNED = {**OVERDUE, "rule": "sign", "verdict": "met", "overdue": False}
ALSO_UNSIGNED = {**OPEN, "rule": "sign", "verdict": "violated"}
TRUTH = [LATE, OVERDUE, OPEN, UNSIGNED, SIGNED, ALSO_UNSIGNED]
READ = "handoff: events: 5 of 3 patients\n"


@pytest.fixture
def replayed(handoff, write):
    """Runs a replay against a truth of these lines."""

    def run(cases, *options):
        write("rules.yaml", RULES)
        write("events.jsonl", EVENTS)
        write("truth.jsonl", "".join(json.dumps(case) + "\n" for case in cases))
        return handoff("replay", "--rules", "rules.yaml", *options, "--truth", "truth.jsonl", "events.jsonl")

    return run


def without(case):
    return [each for each in TRUTH if each is not case]


def test_a_replay_that_agrees_says_so_in_one_line(replayed):
    found = replayed(TRUTH)
    assert (found.code, found.err) == (0, READ + "handoff: truth: 6 cases agree\n")


def test_the_order_of_the_truth_and_other_keys_of_it_mean_nothing(replayed):
    assert replayed([case | {"reason": None} for case in reversed(TRUTH)]).code == 0


def test_rules_that_were_not_loaded_are_counted_and_not_compared(replayed):
    other = LATE | {"rule": "other"}
    found = replayed([*TRUTH, other, other | {"trigger": "4"}])
    assert found.code == 0
    assert found.err.endswith("truth: 6 cases agree; 1 rule of the truth was not loaded\n")


def test_results_are_those_of_any_replay(replayed, handoff):
    told = replayed([], "--format", "json")
    assert told.out == handoff("replay", "--rules", "rules.yaml", "--format", "json", "events.jsonl").out


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            LATE,
            {"verdict": "met", "delay_seconds": None},
            "arrive, trigger 1 at 2024-01-01 01:00:00Z: met in the truth, late by 0:10:30 in the replay",
        ),
        (
            LATE,
            {"delay_seconds": 631},
            "arrive, trigger 1 at 2024-01-01 01:00:00Z: late by 0:10:31 in the truth, late by 0:10:30 in the replay",
        ),
        (
            OVERDUE,
            {"overdue": False},
            "arrive, trigger 4 at 2024-01-01 02:10:00Z: open in the truth, open and overdue in the replay",
        ),
        (
            SIGNED,
            {"patient": "SECRET-9", "encounter": "w"},
            "sign, trigger 4 at 2024-01-01 02:10:00Z: the replay has another patient and another encounter",
        ),
        (
            OPEN,
            {"trigger_at": "2024-01-01T03:59:00Z"},
            "arrive, trigger 5 at 2024-01-01 03:59:00Z: the replay has another time of the trigger",
        ),
    ],
)
def test_a_case_that_differs_is_told_without_its_patient(replayed, right, wrong, said):
    found = replayed([*without(right), right | wrong])
    assert found.code == 1
    assert found.err == READ + f"handoff: truth: 5 cases agree, 1 does not\nhandoff: {said}\n"
    assert "SECRET" not in found.err


def test_a_case_that_only_one_of_the_two_has_is_told(replayed):
    found = replayed([*without(UNSIGNED), LATE | {"trigger": "9", "step": "second"}])
    assert found.code == 1
    assert found.err == READ + (
        "handoff: truth: 5 cases agree, 2 do not\n"
        "handoff: arrive/second, trigger 9 at 2024-01-01 01:00:00Z: late by 0:10:30 in the truth; "
        "the replay has no such case\n"
        "handoff: sign, trigger 1 at 2024-01-01 01:00:00Z: violated in the replay; the truth has no such case\n"
    )


def test_a_case_told_twice_is_no_case_told_once(replayed):
    found = replayed([*TRUTH, LATE])
    assert found.code == 1
    assert found.err.endswith("late by 0:10:30 in the truth; the replay has no such case\n")


def test_a_rule_that_the_truth_does_not_have_is_one_difference(replayed):
    found = replayed([LATE, OVERDUE, OPEN])
    assert found.code == 1
    assert found.err == READ + (
        "handoff: truth: 3 cases agree\n"
        "handoff: sign: 3 cases in the replay, none in the truth; is it a rule of the packs?\n"
    )


def test_the_first_twenty_differences_are_told(replayed):
    found = replayed([*TRUTH, *(LATE | {"trigger": f"x{number}"} for number in range(23))])
    _, headline, *told, last = found.err.splitlines()
    assert headline == "handoff: truth: 6 cases agree, 23 do not"
    assert len(told) == 20
    assert last == "handoff: and 3 more"


def test_control_characters_of_a_truth_command_no_terminal(replayed):
    found = replayed([*TRUTH, LATE | {"trigger": "\x1b[2J"}])
    assert "trigger ?[2J at" in found.err
    assert "\x1b" not in replayed([LATE | {"verdict": "\x1b[2J"}]).err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>", "line 1 is no case of a truth: JSON is malformed"),
        (b"\xff\xfe", "line 1 is no case of a truth: "),
        (b"[1]", "line 1 is no case of a truth: Expected `object`, got `array`"),
        (EVENTS.encode(), "line 2 is no case of a truth: Object missing required field `rule`"),
        (json.dumps(LATE | {"verdict": "fine"}).encode(), "Invalid enum value 'fine' - at `$.verdict`"),
        (json.dumps(LATE | {"trigger_at": "2024-01-01T01:00:00"}).encode(), "at `$.trigger_at`"),
        (json.dumps(LATE | {"delay_seconds": 1e300}).encode(), "at `$.delay_seconds`"),
    ],
)
def test_a_file_that_is_no_truth_ends_the_replay_before_its_work(handoff, write, content, said):
    write("rules.yaml", RULES)
    write("events.jsonl", EVENTS)
    write("truth.jsonl", content)
    found = handoff("replay", "--rules", "rules.yaml", "--truth", "truth.jsonl", "events.jsonl")
    assert (found.code, found.out) == (3, "")
    assert found.err.startswith("handoff: cannot use truth.jsonl: ")
    assert said in found.err
    assert found.err.count("\n") == 1


def test_a_truth_that_is_not_there_is_told(handoff, write):
    write("rules.yaml", RULES)
    write("events.jsonl", EVENTS)
    found = handoff("replay", "--rules", "rules.yaml", "--truth", "none.jsonl", "events.jsonl")
    assert (found.code, found.out) == (3, "")
    assert found.err == "handoff: cannot read none.jsonl: No such file or directory\n"


def test_alerts_do_not_overwrite_the_truth(replayed, tmp_path):
    found = replayed(TRUTH, "--alerts", "truth.jsonl")
    assert found.code == 2
    assert len((tmp_path / "truth.jsonl").read_text().splitlines()) == len(TRUTH)
