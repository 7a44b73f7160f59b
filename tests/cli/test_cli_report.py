"""`handoff report`: a history in, what it teaches out."""

import io
import json
import re
import shlex
from xml.etree import ElementTree as ET

import pytest

from monitor.cli import main

RULES = """
rules:
  - {id: boarding, summary: still in the emergency department 4 hours after the decision, severity: critical, owner: bed manager, when: {type: decision_to_admit}, expect: {type: [admit, transfer]}, within: 4h, escalate: [{after: -30m, notify: ward clerk}, {after: 1h, notify: site manager}]}
  - {id: ed-stay, summary: long in the emergency department, severity: info, mode: shadow, stay: kind:ed, at_most: 6h}
  - {id: stroke, summary: not in the stroke unit, severity: critical, when: {type: stroke_arrival}, expect: {type: admit}, within: 4h}
"""
REGISTRY = """
timezone: Europe/London
microsystems:
  - {id: ed, name: Emergency department, kind: ed, locations: [ED]}
  - {id: w4, name: "Ward 4 West, medicine", kind: ward, locations: [4W]}
"""


def event(number, clock, what, patient, charted=None, **fields):
    made = {"id": str(number), "type": what, "patient": patient, "encounter": f"v-{patient}"}
    made["occurred_at"] = f"2025-03-03T{clock}:00Z"
    made["recorded_at"] = f"2025-03-03T{charted or clock}:00Z"
    return json.dumps(made | fields) + "\n"


HISTORY = "".join(
    [
        event(1, "08:00", "register", "MRN-ann", to="ED^1"),
        event(2, "09:00", "decision_to_admit", "MRN-ann"),
        event(3, "14:30", "admit", "MRN-ann", "14:32", to="4W^1"),  # an hour and a half late
        event(4, "09:00", "register", "MRN-bob", to="ED^2"),
        event(5, "10:00", "decision_to_admit", "MRN-bob"),
        event(6, "13:30", "admit", "MRN-bob", "15:40", to="4W^2"),  # in time, charted two hours later
        event(7, "10:00", "register", "MRN-cid", to="ED^3"),
        event(8, "11:00", "decision_to_admit", "MRN-cid"),  # still there
        event(9, "11:00", "register", "MRN-dot", to="ED^4"),
        event(10, "12:00", "decision_to_admit", "MRN-dot"),
        event(11, "12:50", "admit", "MRN-dot", to="4W^3"),
        event(12, "06:00", "register", "MRN-test", to="ED^5", attributes={"test": True}),
        event(13, "06:10", "decision_to_admit", "MRN-test", attributes={"test": True}),
        event(14, "16:50", "admit", "MRN-test", to="4W^5", attributes={"test": True}),
        event(15, "17:00", "register", "MRN-eve", to="XR^1"),
    ]
)
ARGUMENTS = ("--rules", "rules.yaml", "--microsystems", "microsystems.yaml", "events.jsonl")
NOTICED = "handoff: events: 15 of 6 patients\nhandoff: unmapped locations: 1, in 1 event\n"


@pytest.fixture
def inputs(write):
    write("rules.yaml", RULES)
    write("microsystems.yaml", REGISTRY)
    write("events.jsonl", HISTORY)


REPORT = """\
What the history says  Mon 3 Mar 2025
15 events of 6 patients (1 for tests, left out); local time (Europe/London)

1 Rules  met, of the decided; delays are after the deadline
            met     %  late  open  overdue  median    p90
rules
  boarding  2/3  66.7     1     1        1   1h30m  1h30m
s ed-stay   2/3  66.7     1     1        1     30m    30m
open: not yet decided, overdue: of these past the deadline; p90: 9 of 10 late ones came within it;
s: in shadow, counted and alerts no one
No case, for no event of type stroke_arrival was ever seen: stroke.

2 Handoffs  worst first, by the low end of the 95 % interval
The patient's move                  defects  % (interval)  IHI level  late  missing  delay
Emergency department → Ward 4 West   1 of 3     33 (6–79)   unstable     1        -  1h30m
    most often boarding (1 of 1)
1 overdue that led nowhere yet

3 Worst cases
a  still in the emergency department 4 hours after the decision
   critical · boarding · patient 758f078
   Care: 1 h 30 min after the deadline.
   Charting: 2 min after it happened.
          Mon 3 Mar
            08:00       09:00       10:00       11:00       12:00       13:00        14:00
where       █ Emergency department ████████████████████████████████████████████████████████▓▓▓▓▓▓▓▓▓
                                                                        ┊      Ward 4 West ╯
happened                ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┃ 1 h 30 min late ▒◆
                        ╰ 09:00 decision to admit                       ╰ 13:00 deadline   │
                                                             14:30 admitted to Ward 4 West ╯
alarm                                                             △─────▲━━━━━━━━━━━━▲━━━━━■
                                      12:30 warning to ward clerk ╯     │            │     │
                                             13:00 alarm to bed manager ╯            │     │
                                                          14:00 also to site manager ╯     │
                                                             14:32 ends: it came, too late ╯

b  False alarm: this deadline was met, only the charting was late
   critical · boarding · patient 80da0c8
   The alarm said: still in the emergency department 4 hours after the decision.
   Care: in time, 30 min before the deadline.
   Charting: 2 h 10 min after it happened.
          Mon 3 Mar
            09:00       10:00       11:00       12:00      13:00       14:00       15:00       16:00
where       █ Emergency department ██████████████████████████████▓ Ward 4 West ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
happened                ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━◆┄┄┄┄┄┃
                        ╰ 10:00 decision to admit                │     ╰ 14:00 deadline
                                                                 ╰ 13:30 admitted to Ward 4 West
charted                                                          ◆┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄○
                                                                       ┊     15:40 charted ╯
alarm                                                            △─────▲━━━━━━━━━━━▲━━━━━━━■
                                     13:30 warning to ward clerk ╯     │           │       │
                                            14:00 alarm to bed manager ╯           │       │
                                                        15:00 also to site manager ╯       │
                                                   15:40 ends: done in time, a false alarm ╯

c  still in the emergency department 4 hours after the decision
   critical · boarding · patient 04b3de6
   Record: nothing had come 2 h after the deadline; no later move of the patient is on record.
          Mon 3 Mar
            10:00      11:00       12:00      13:00      14:00      15:00       16:00      17:00
where       █ Emergency department ████████████████████████████████████████████████████████
happened               ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┃▒ 2 h, not recorded ▒▒
                       ╰ 11:00 decision to admit                    ╰ 15:00 deadline
alarm                                                          △────▲━━━━━━━━━━━▲━━━━━━━━━━
                                   14:30 warning to ward clerk ╯    │           │
                                         15:00 alarm to bed manager ╯           │
                                                     16:00 also to site manager ╯

4 Alarm load  what each role would have been told, by whole 12-hour shifts
              alarms  day: median          worst  night: median  worst  warnings
bed manager        3            3  3 (Mon 3 Mar)              0      -         -
site manager       3            3  3 (Mon 3 Mar)              0      -         -
ward clerk         0            0              -              0      -         3
all                6            6  6 (Mon 3 Mar)              0      -         3
3 alerts fired, 1 (33 %) of them falsely: 1 for what was done in time and charted late, 0 withdrawn
after a correction. An alert gives one alarm to each role that it reaches, and may give a warning
before it fires.
Rules in shadow would have fired 3 more: 3 a day shift, 0 a night shift.

5 What to try next
a  `XR^1` is named by 1 event and is in no microsystem of the registry: no rule about a kind of
   place sees who is there. Write it under `locations` of the microsystem that it belongs to.
   $ handoff journeys --microsystems microsystems.yaml events.jsonl | grep '"kind":null'

b  No event of type `stroke_arrival` was ever seen, so `stroke` judged nothing. Does a feed know it
   under another name? These are the types that came.
   $ handoff decode --microsystems microsystems.yaml events.jsonl | grep -o '"type":"[^"]*' | \\
       sort | uniq -c
"""


def test_a_report_says_what_the_history_teaches(handoff, inputs):
    assert handoff("report", *ARGUMENTS) == (0, REPORT, NOTICED)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_asked_for(handoff, inputs, width):
    found = handoff("report", *ARGUMENTS, "--width", width)
    assert found.code == 0
    assert max(map(len, found.out.splitlines())) <= width
    assert "MRN" not in found.out


def test_ascii_is_ascii(handoff, inputs):
    assert handoff("report", *ARGUMENTS, "--ascii").out.isascii()


def test_patients_have_their_keys_only_when_asked_for(handoff, inputs):
    for form in ("text", "json"):
        assert "MRN" not in handoff("report", *ARGUMENTS, "--format", form).out
        assert "MRN-ann" in handoff("report", *ARGUMENTS, "--format", form, "--identifiers", "full").out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_a_terminal(monkeypatch, **environment):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color", "COLORTERM": "truecolor"} | environment).items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    assert main(["report", *ARGUMENTS], io.BytesIO(), out, io.StringIO()) == 0
    return out.getvalue()


STYLE = re.compile(r"\x1b\[([\d;]*)m")


def test_a_terminal_shows_the_same_words_in_colour(handoff, inputs, monkeypatch):
    painted = on_a_terminal(monkeypatch)
    assert any("38;2;213;94;0" in codes for codes in STYLE.findall(painted))
    plain = [line.rstrip() for line in STYLE.sub("", painted).splitlines()]
    assert plain == REPORT.splitlines()


def test_a_terminal_of_sixteen_colours_gets_those(handoff, inputs, monkeypatch):
    found = set(STYLE.findall(on_a_terminal(monkeypatch, TERM="xterm", COLORTERM="")))
    assert "1;31" in found
    assert "31;41" in found
    assert not any("38;" in codes for codes in found)


def test_no_color_is_respected_on_a_terminal(handoff, inputs, monkeypatch):
    codes = {
        code for found in STYLE.findall(on_a_terminal(monkeypatch, NO_COLOR="1")) for code in found.split(";")
    }
    assert codes <= {"", "0", "1", "2"}  # bold and dim are no colours


def test_the_width_of_a_terminal_is_taken_within_reason(handoff, inputs, monkeypatch):
    for columns, widest in (("40", 60), ("80", 80), ("300", 120)):
        text = STYLE.sub("", on_a_terminal(monkeypatch, COLUMNS=columns))
        assert max(map(len, text.splitlines())) <= widest


def test_the_picture_is_an_svg_of_the_same_text_and_the_same_each_time(handoff, inputs, tmp_path):
    assert handoff("report", *ARGUMENTS, "--svg", "report.svg", "--format", "json").code == 0
    first = (tmp_path / "report.svg").read_text(encoding="utf-8")
    assert handoff("report", *ARGUMENTS, "--svg", "report.svg").out == REPORT
    assert (tmp_path / "report.svg").read_text(encoding="utf-8") == first
    text = "".join(ET.fromstring(first).itertext()).replace("\xa0", " ")
    assert "False alarm: this deadline was met, only the charting was late" in text
    assert "MRN" not in text
    assert "@font-face" not in first  # it fetches nothing from anywhere


def test_what_came_with_the_data_commands_no_terminal_and_breaks_no_picture(handoff, inputs, write, tmp_path):
    write("microsystems.yaml", "timezone: Europe/London\n")
    write("events.jsonl", HISTORY.replace("4W^1", "4W\\u001b[2J\\u202e^1"))
    out = handoff("report", *ARGUMENTS, "--svg", "report.svg").out
    assert "admitted to 4W?[2J?" in out
    assert all(char.isprintable() for line in out.splitlines() for char in line)
    ET.parse(tmp_path / "report.svg")


def test_parts_of_it_can_be_shown_alone(handoff, inputs):
    out = handoff("report", *ARGUMENTS, "--only", "handoffs", "--only", "next").out
    assert [line[:10] for line in out.splitlines() if re.match(r"\d [A-Z]", line)] == [
        "2 Handoffs",
        "5 What to ",
    ]


def test_rules_about_many_journeys_have_a_sentence_each(handoff, inputs, write):
    write(
        "many.yaml",
        RULES
        + """
  - {id: goal, summary: s, severity: warning, reliability: {of: [boarding], target: 95%, over: 24h}}
  - {id: hush, summary: s, severity: warning, silence: {to: kind:ward, for: 90m}}
""",
    )
    out = handoff("report", "--rules", "many.yaml", *ARGUMENTS[2:], "--only", "rules").out
    said = " ".join(out.split())
    # met at 12:50 and 13:30, late at 14:30: below it from then on
    assert (
        "goal: 66.7 % met of 3 in the last 24 h, target 95 %; once below its target, the last time since Mon 3 Mar 14:30."
        in said
    )
    # arrivals on the ward, with their messages: 12:50, 14:32, 15:40, 16:50; the first message of all came at 06:00
    assert "hush: 2 times silent for too long." in said


def test_overdue_cases_of_visits_that_nobody_writes_about_are_told_apart(handoff, inputs, write):
    later = "".join(
        event(number, "12:00", what, patient, to=to).replace("2025-03-03", "2025-03-04")
        for number, (what, patient, to) in enumerate(
            [
                ("update", "MRN-dot", None),
                ("register", "MRN-new", "ED^9"),
                ("decision_to_admit", "MRN-dot", None),
            ],
            100,
        )
    )
    write("events.jsonl", HISTORY + later)
    out = handoff("report", *ARGUMENTS, "--only", "rules").out
    said = " ".join(out.split())
    # cid is in the emergency department by the record: a decision and a stay that are overdue
    assert (
        "2 of the 2 overdue cases belong to 1 visit of which nothing was recorded for over 24 h: its discharge was "
        "probably never sent; `data-discharge-missing` of pack:data-quality watches for that." in said
    )
    write("events.jsonl", HISTORY)  # its end is less than a day after all that was recorded
    assert "nothing was recorded" not in handoff("report", *ARGUMENTS, "--only", "rules").out


def test_roles_that_find_no_room_are_counted_and_can_all_be_shown(handoff, inputs, write):
    rules = "".join(
        f"  - {{id: r{n}, summary: s, severity: warning, owner: role {n}, never: {{type: register}}}}\n"
        for n in range(10)
    )
    write("rules.yaml", "rules:\n" + rules)
    shown = handoff("report", *ARGUMENTS).out
    assert "role 7 " in shown
    assert "role 8 " not in shown
    assert "and 2 more roles with 10 alarms; --only load shows all" in shown
    alone = handoff("report", *ARGUMENTS, "--only", "load").out
    assert "role 9 " in alone
    assert "more role" not in alone


def test_the_alert_of_a_silent_feed_is_no_rules(handoff, inputs, write):
    write("microsystems.yaml", REGISTRY + "sources: {PAS: {silent_after: 15m}}\n")
    beats = "".join(
        event(f"h{hour}", f"{hour:02}:00", "heartbeat", "-", source="PAS")
        for hour in (9, 10, 11, 12, 13, 14, 15)
    )
    write("events.jsonl", HISTORY + beats)
    found = handoff("report", *ARGUMENTS, "--format", "json")
    assert (found.code, json.loads(found.out)["load"]["fired"]) == (0, 3)


def test_json_is_the_data(handoff, inputs):
    found = json.loads(handoff("report", *ARGUMENTS, "--format", "json").out)
    assert (found["events"], found["patients"], found["test_patients"]) == (15, 6, 1)
    (pack,) = found["packs"]
    assert (pack["name"], [each["rule"] for each in pack["rules"]]) == ("rules", ["boarding", "ed-stay"])
    assert found["unused"] == [{"rule": "stroke", "never_seen": ["stroke_arrival"]}]
    pair = found["handoffs"][0]
    assert (pair["from"], pair["to"], pair["defects"], pair["opportunities"]) == ("ed", "w4", 1, 3)
    assert [(each["verdict"], each["false_alarm"]) for each in found["cases"]] == [
        ("late", False),
        ("met", True),
        ("open", False),
    ]
    assert found["load"]["fired"] == 3


def test_a_change_of_a_rule_is_tried_without_a_file_being_touched(handoff, inputs, tmp_path):
    found = json.loads(handoff("report", *ARGUMENTS, "--format", "json", "--set", "boarding.grace=110m").out)
    assert (found["load"]["fired"], found["load"]["charted_late"]) == (1, 0)
    assert (tmp_path / "rules.yaml").read_text(encoding="utf-8") == RULES
    wrong = handoff("report", *ARGUMENTS, "--set", "boarding.graze=2h")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == (
        "handoff: report: --set: rule `boarding` has no key `graze` that could be changed; did you mean `grace`?\n"
    )


LETTER = """
  - {id: letter, summary: no letter, severity: warning, when: {type: admit}, expect: {type: letter_sent}, within: 1h}
"""


def test_what_must_go_with_a_move_is_judged_apart_from_the_move(handoff, inputs, write):
    write("letter.yaml", RULES + LETTER)
    write("events.jsonl", HISTORY + event(16, "14:40", "letter_sent", "MRN-ann"))
    out = handoff("report", "--rules", "letter.yaml", *ARGUMENTS[2:], "--only", "handoffs").out
    assert (
        """\
Emergency department → Ward 4 West   1 of 3     33 (6–79)   unstable     1        -  1h30m
    most often boarding (1 of 1)
What must go with it                defects  % (interval)  IHI level  late  missing  delay
Emergency department → Ward 4 West   2 of 3    67 (21–94)   unstable     -        2      -
    most often letter (2 of 2)
"""
        in out
    )


COMMAND = re.compile(r"^   \$ handoff ((?:.*\\\n)*.*)", re.MULTILINE)


def test_suggested_commands_run(handoff, inputs):
    out = handoff("report", *ARGUMENTS).out
    commands = COMMAND.findall(out)
    assert commands
    for command in commands:
        words = command.replace("\\\n", " ").split("|")[0].split()
        assert handoff(*words).code == 0, command


@pytest.mark.parametrize("width", range(60, 100, 5))
def test_a_suggested_command_is_never_broken_inside_a_word(handoff, inputs, write, width):
    name = write("all that was sent in 'March'.jsonl", HISTORY)
    out = handoff("report", *ARGUMENTS[:-1], name, "--only", "next", "--width", width).out
    commands = COMMAND.findall(out)
    assert commands
    for command in commands:
        assert name in shlex.split(command.replace("\\\n", "")), command


def test_what_a_suggestion_promises_is_what_its_command_gives(handoff, inputs, write):
    lines = []
    for number, minutes in enumerate((3, 4, 7, 9, 12, 25, 40, 90)):  # by which charting missed the deadline
        patient = f"g{number}"
        lines += [
            event(f"{patient}a", "08:00", "decision_to_admit", patient),
            event(
                f"{patient}b", "11:50", "admit", patient, f"{12 + minutes // 60}:{minutes % 60:02}", to="4W^1"
            ),
        ]
    write("events.jsonl", "".join(lines) + HISTORY)
    before = json.loads(handoff("report", *ARGUMENTS, "--format", "json").out)
    (grace,) = [each for each in before["suggestions"] if ".grace=" in each["command"]]
    spared = int(re.search(r"`grace: \w+` (\d+) of these", grace["finding"])[1])
    gone = int(re.search(r"(\d+) that were over by then not at all", grace["finding"])[1])
    after = json.loads(handoff(*grace["command"].split()[1:], "--format", "json").out)
    assert spared == before["load"]["charted_late"] - after["load"]["charted_late"] > 0
    assert spared + gone == before["load"]["fired"] - after["load"]["fired"]


PROMISES = """
rules:
  - {id: notice, summary: s, severity: warning, source: local, when: {type: signed}, expect: {type: sent}, within: 1h, unless: {type: dropped}, give_up: 3h}
  - {id: unheard, summary: s, severity: warning, when: {type: signed}, expect: {type: never_charted}, within: 1h}
  - {id: found, summary: s, severity: warning, mode: shadow, never: {type: sent}}
"""


@pytest.fixture
def promised(handoff, write):
    """The report of a history in which every kind of suggestion promises something, and what a suggestion's command gives."""
    lines = []
    ends = [("sent", minutes) for minutes in (20, 30, 40, 65, 75, 80, 85, 90, 100, 130, 170, 200)] * 2
    ends += [("dropped", minutes) for minutes in (30, 70, 85, 95, 200)] + [(None, 0)] * 3
    for number, (what, minutes) in enumerate(ends):
        patient = f"n{number}"
        lines.append(event(f"{patient}a", "08:00", "signed", patient))
        if what is not None:
            clock = f"{8 + minutes // 60:02}:{minutes % 60:02}"
            lines.append(event(f"{patient}b", clock, what, patient))
    for number, clock in enumerate(("10:20", "10:40", "12:30", "15:30")):
        lines.append(event(f"o{number}", clock, "signed", f"o{number}"))
    lines.append(event("end", "16:00", "triage", "z"))
    write("promises.yaml", PROMISES)
    write("promises.jsonl", "".join(lines))

    def run(*more):
        arguments = ("--rules", "promises.yaml", "promises.jsonl", "--format", "json", *more)
        return json.loads(handoff("report", *arguments).out)

    return run


def not_met(found, rule):
    (row,) = [each for pack in found["packs"] for each in pack["rules"] if each["rule"] == rule]
    return row["late"] + row["missed"] + row["overdue"]


def suggested(found, change):
    (made,) = [each for each in found["suggestions"] if change in (each["command"] or "")]
    return made["finding"], ("--set", made["command"].split("--set ")[1])


LIMIT = re.compile(r"`(\w+: \w+)`\.? (\d+) of all cases of this rule would not be met, instead of (\d+)")


@pytest.mark.parametrize("in_time", [0, 60])
def test_the_cases_that_a_longer_limit_is_said_to_leave_are_those_that_it_leaves(promised, write, in_time):
    """Of a rule that is mostly broken, and of one that is mostly met, for which the change itself is proposed."""
    met = [
        event(f"{number}{what}", clock, what, f"m{number}")
        for number in range(in_time)
        for what, clock in (("signed", "09:00"), ("sent", "09:10"))
    ]
    write("met.jsonl", "".join(met) or event("m", "09:00", "triage", "m"))
    before = promised("met.jsonl", "--set", "unheard.mode=shadow")
    (finding,) = [each["finding"] for each in before["suggestions"] if each["about"] == "notice"]
    limit, left, was = LIMIT.search(finding).groups()
    assert ("let it alert no one" in finding) == (in_time == 0)
    after = promised("met.jsonl", "--set", f"notice.{limit.replace(': ', '=')}")
    assert int(was) == not_met(before, "notice")
    assert int(left) == not_met(after, "notice") < int(was)


def test_the_alarms_that_a_rule_nothing_could_meet_is_said_to_have_given_are_gone_with_it(promised):
    before = promised()
    finding, change = suggested(before, "unheard.mode=shadow")
    gave = int(re.search(r"It gave (\d+) alarms", finding)[1])
    assert gave == before["load"]["fired"] - promised(*change)["load"]["fired"] > 0


def test_the_alarms_of_a_rule_that_can_be_turned_on_are_those_that_it_then_gives(promised):
    before = promised()
    finding, change = suggested(before, "found.mode=live")
    more = int(re.search(r"would have fired (\d+) times", finding)[1])
    assert more == promised(*change)["load"]["fired"] - before["load"]["fired"] > 0


def test_the_number_of_processes_changes_nothing(handoff, inputs):
    assert handoff("report", *ARGUMENTS, "--jobs", "3").out == REPORT


def test_where_all_rules_are_in_shadow_they_judge_the_handoffs(handoff, inputs):
    found = handoff("report", *ARGUMENTS, "--set", "boarding.mode=shadow", "--set", "stroke.mode=shadow")
    assert "Emergency department → Ward 4 West" in found.out
    assert "judged by rules in shadow, for there are no others" in found.out
    assert "Rules in shadow would have fired 6 more" in found.out


def test_without_a_registry_it_is_said_which_rules_cannot_be_trusted(handoff, inputs):
    found = handoff("report", "--rules", "rules.yaml", "events.jsonl")
    assert found.code == 0
    assert found.err.splitlines()[0] == (
        "handoff: no registry was given: places such as `kind:ed`, which 1 rule names, match nothing, so do not trust "
        "these rules; name it with --microsystems FILE"
    )
    assert found.out.splitlines()[2] == (
        "No registry of microsystems: places such as `kind:ed`, which 1 rule names, match nothing. Do not"
    )
    assert "no registry was given" in handoff("replay", "--rules", "rules.yaml", "events.jsonl").err


def test_rules_that_name_no_place_of_a_registry_need_none(handoff, inputs, write):
    write("rules.yaml", "\n".join(line for line in RULES.splitlines() if "kind:" not in line))
    found = handoff("report", "--rules", "rules.yaml", "events.jsonl")
    assert "registry" not in found.out + found.err


def test_an_empty_input_has_nothing_to_report_on(handoff, inputs):
    found = handoff("report", "--rules", "rules.yaml", "-")
    assert (found.code, found.out) == (0, "There is no event to report on.\n")
    assert handoff("report", "--rules", "rules.yaml", "--format", "json", "-").out == '{"events":0}\n'


def test_a_history_without_a_case_says_so(handoff, inputs):
    found = handoff("report", "--rules", "rules.yaml", "-", stdin=event(1, "08:00", "triage", "p").encode())
    assert found.code == 0
    assert "No case, for no event of type decision_to_admit was ever seen: boarding." in found.out
    assert "No rule judged a move between two places." in found.out
    assert "No case went wrong and raised an alarm." in found.out
    assert "No alarm would have fired." in found.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--rules", "rules.yaml"), 2, "report: which FILE? (`-` is stdin)"),
        (("--rules", "none.yaml", "events.jsonl"), 3, "cannot read none.yaml: No such file or directory"),
        ((*ARGUMENTS[:-1], "none.jsonl"), 3, "cannot read none.jsonl: No such file or directory"),
        (("--rules", "empty.yaml", "events.jsonl"), 2, "report: there is no rule in empty.yaml"),
        (
            (*ARGUMENTS, "--svg", "events.jsonl"),
            2,
            "report: --svg events.jsonl would overwrite what is read from events.jsonl",
        ),
        ((*ARGUMENTS, "--svg", "no/where.svg"), 3, "cannot write no/where.svg: No such file or directory"),
    ],
)
def test_wrong_input_is_said_and_nothing_is_printed(handoff, inputs, write, arguments, code, said):
    write("empty.yaml", "rules: []\n")
    assert handoff("report", *arguments) == (code, "", f"handoff: {said}\n")


@pytest.mark.parametrize("width", ["59", "x", "1000"])
def test_a_width_must_be_one_that_can_be_read(handoff, inputs, width):
    found = handoff("report", *ARGUMENTS, "--width", width)
    assert (found.code, found.out) == (2, "")
    assert f"`{width}` is not a" in found.err
