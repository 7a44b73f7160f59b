"""The drawing of one case: what a reader sees, to the character."""

from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from report_making import at

from monitor.report.cases import Alarm, Happening, Story, Visit
from monitor.report.line import ASCII, UNICODE, plain
from monitor.report.timeline import Label, _labelled, draw

H = 60


def happening(what, minutes, charted=None, known=None):
    charted = minutes if charted is None else charted
    return Happening(what, at(minutes), at(charted), at(charted if known is None else known))


def story(**fields):
    base = {
        "rule": "r",
        "step": None,
        "summary": "s",
        "action": None,
        "severity": "critical",
        "patient": "p",
        "verdict": "late",
        "overdue": False,
        "false_alarm": False,
        "trigger": happening("decision to admit", 8 * H),
        "due_at": at(12 * H),
        "came": None,
        "settled_at": None,
        "ended_at": None,
        "reason": None,
        "care_delay_seconds": None,
        "alarms": [],
        "places": [],
        "also": [],
        "next_move": None,
        "left": None,
        "until": at(100 * H),
    }
    return Story(**(base | fields))


def alarm(minutes, role, level=0, ended=None):
    return Alarm(at(minutes), "resolved" if ended else "firing", level, role, ended)


def visit(place, entered, left=None):
    return Visit(place, at(entered), None if left is None else at(left))


LATE = story(
    came=happening("moved to Ward 4 West", 15 * H + 29, 15 * H + 31),
    care_delay_seconds=(3 * H + 29) * 60,
    alarms=[
        alarm(11 * H, "bed manager", -1),
        alarm(12 * H, "bed manager"),
        alarm(15 * H + 31, "bed manager", ended="late"),
    ],
    places=[visit("Emergency department", 6 * H, 15 * H + 29), visit("Ward 4 West", 15 * H + 29)],
)
CHARTED_LATE = story(
    verdict="met",
    false_alarm=True,
    trigger=happening("sepsis recognised", 8 * H),
    due_at=at(9 * H),
    came=happening("antimicrobial given", 8 * H + 40, 11 * H),
    settled_at=at(11 * H),
    alarms=[alarm(9 * H, "treating doctor"), alarm(11 * H, "treating doctor", ended="charted_late")],
    places=[visit("Emergency department", 7 * H + 50)],
)
SENT_LATE = story(
    verdict="met",
    false_alarm=True,
    trigger=happening("sepsis recognised", 22 * H),
    due_at=at(23 * H),
    came=happening("antimicrobial given", 22 * H + 40, 23 * H, 26 * H),
    settled_at=at(26 * H),
)
OVERDUE = story(
    verdict="open",
    overdue=True,
    until=at(15 * H),
    care_delay_seconds=3 * H * 60,
    alarms=[alarm(12 * H, "bed manager")],
    places=[visit("Emergency department", 7 * H)],
)
GIVEN_UP = story(verdict="missed", reason="gave_up", ended_at=at(36 * H), care_delay_seconds=24 * H * 60)
FORBIDDEN = story(
    verdict="violated",
    due_at=at(80 * H),
    trigger=happening("moved to Ward 5 South", 30 * H),
    came=happening("moved to Intensive care", 50 * H),
    alarms=[alarm(50 * H + 5, "ICU lead consultant"), alarm(74 * H, "ICU lead consultant", ended="expired")],
    places=[
        visit("Intensive care", 0, 30 * H),
        visit("Ward 5 South", 30 * H, 50 * H),
        visit("Intensive care", 50 * H),
    ],
)


def drawn(of, width=100, glyphs=UNICODE, zone="UTC"):
    return "".join(plain(line) + "\n" for line in draw(of, ZoneInfo(zone), width, glyphs))


def test_late_handoff_shows_where_the_patient_was_the_deadline_and_how_late_the_move_came():
    assert (
        drawn(LATE)
        == """\
          Mon 5 Jan
            06:00            08:00           10:00            12:00            14:00           16:00
where       █ Emergency department ████████████████████████████████████████████████████████▓▓▓▓▓▓▓▓▓
                                                              ┊                Ward 4 West ╯
happened                     ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┃▒▒▒▒▒ 3 h 29 min late ▒▒▒▒▒▒◆
                             ╰ 08:00 decision to admit        ╰ 12:00 deadline             │
                                                              ┊ 15:29 moved to Ward 4 West ╯
alarm                                                 △───────▲━━━━━━━━━━━━━━━━━━━━━━━━━━━━■
                                                      │       ╰ 12:00 alarm to bed manager │
                                                      ╰ 11:00 warning to bed manager       │
                                                             15:31 ends: it came, too late ╯
"""
    )


def test_what_was_done_in_time_shows_how_long_charting_took_and_the_alarm_that_it_cost():
    assert (
        drawn(CHARTED_LATE)
        == """\
          Mon 5 Jan
                08:00        08:30       09:00       09:30        10:00       10:30       11:00
where       █ Emergency department █████████████████████████████████████████████████████████████████
happened        ●━━━━━━━━━━━━━━━━◆┄┄┄┄┄┄┄┃
                │                │       ╰ 09:00 deadline
                │                ╰ 08:40 antimicrobial given
                ╰ 08:00 sepsis recognised
charted                          ◆┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ 2 h 20 min until charted ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄○
                                         ┊                                  11:00 charted ╯
alarm                                    ▲━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━■
                                         ╰ 09:00 alarm to treating doctor                 │
                                         ┊        11:00 ends: done in time, a false alarm ╯
"""
    )


def test_what_was_charted_but_not_sent_shows_both():
    assert (
        drawn(SENT_LATE, 80)
        == """\
          Mon 5 Jan                       Tue 6 Jan
            22:00          23:00          00:00          01:00          02:00
happened    ●━━━━━━━━━◆┄┄┄┄┃
            │         │    ╰ 23:00 deadline
            │         ╰ 22:40 antimicrobial given
            ╰ 22:00 sepsis recognised
charted               ◆┄┄┄┄○┄┄ 3 h 20 min until sent by the feed ┄┄┄┄┄┄┄○
                           ╰ 23:00 charted   Tue 02:00 sent by the feed ╯
"""
    )


def test_an_overdue_case_is_open_to_the_right():
    assert (
        drawn(OVERDUE, 80)
        == """\
          Mon 5 Jan
                   08:00          10:00           12:00          14:00
where       █ Emergency department ██████████████████████████████████████
happened           ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┃▒ 3 h, not recorded ▒▒
                   ╰ 08:00 decision to admit      ╰ 12:00 deadline
alarm                                             ▲━━━━━━━━━━━━━━━━━━━━━━
                                                  ╰ 12:00 alarm to bed manager
"""
    )


def test_what_never_came_ends_where_it_was_given_up():
    assert (
        drawn(GIVEN_UP, 80)
        == """\
          Mon 5 Jan                           Tue 6 Jan
                    12:00        18:00        00:00        06:00        12:00
happened    ●━━━━━━━┃▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ 1 day, not recorded ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒✗
            │       ╰ 12:00 deadline                                    │
            ╰ 08:00 decision to admit                                   │
                    ┊  Tue 12:00 nothing recorded; no longer waited for ╯
"""
    )


def test_the_alarm_of_what_was_given_up_says_so():
    alarms = [alarm(12 * H, "bed manager"), alarm(36 * H, "bed manager", ended="missed")]
    given_up = story(verdict="missed", reason="gave_up", ended_at=at(36 * H), alarms=alarms)
    abandoned = story(verdict="missed", reason="abandoned", ended_at=at(36 * H), alarms=alarms)
    assert "Tue 12:00 given up: still not recorded ╯" in drawn(given_up)
    assert "Tue 12:00 ends: it can no longer come ╯" in drawn(abandoned)


def test_a_label_that_has_no_room_on_one_line_goes_on_below_and_loses_no_word():
    alarms = [
        alarm(9 * H - 15, "nurse in charge of the resuscitation room", -1),
        alarm(9 * H, "treating doctor"),
        alarm(9 * H + 30, "consultant on call"),
        alarm(11 * H, "consultant on call", ended="late"),
    ]
    crowded = story(
        trigger=happening("sepsis recognised", 8 * H),
        due_at=at(9 * H),
        came=happening("antimicrobial given", 11 * H),
        alarms=alarms,
    )
    text = drawn(crowded, 90)
    assert "…" not in text
    assert (
        """\
alarm                        △─────▲━━━━━━━━━━▲━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━■
            08:45 warning to ╯     │          │    11:00 ends: it came, too late ╯
          nurse in charge of       │          │
           the resuscitation       │          │
                        room       │          │
           09:00 alarm to treating ╯          │
                            doctor ┊          │
            09:30 alarm to consultant on call ╯
"""
        in text
    )


def test_what_was_forbidden_is_marked_within_the_time_that_was_watched():
    assert (
        drawn(FORBIDDEN)
        == """\
          Tue 6 Jan                     Wed 7 Jan                            Thu 8 Jan
            06:00     12:00    18:00    00:00    06:00     12:00    18:00    00:00     06:00
where     ██▓ Ward 5 South ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓█ Intensive care ████████████████████████████████████████
          ╰ Intensive care                                                                ┊
happened    ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━◆┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┃
            ╰ 06:00 moved to Ward 5 South  ╰ Wed 02:00 moved to Intensive care            │
                                                             Thu 08:00 watched until here ╯
alarm                                      ▲━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━■         ┊
                                           │    Thu 02:00 ends: no longer shown ╯         ┊
                                           ╰ Wed 02:05 alarm to ICU lead consultant       ┊
"""
    )


def test_it_can_be_drawn_with_ascii_alone():
    assert (
        drawn(CHARTED_LATE, 60, ASCII)
        == """\
          Mon 5 Jan
             08:00         09:00         10:00        11:00
where      = Emergency department ==========================
happened     o---------*...|
             |         |   ` 09:00 deadline
             |         ` 08:40 antimicrobial given
             ` 08:00 sepsis recognised
charted                *.. 2 h 20 min until charted ..c
                           :            11:00 charted '
alarm                      A==========================]
                           ` 09:00 alarm to treating  |
                           : doctor                   |
              11:00 ends: done in time, a false alarm '
"""
    )


def test_times_are_local_and_another_day_is_named():
    assert "10:00 decision to admit" in drawn(LATE, zone="Europe/Helsinki")
    assert "Tue 12:00 nothing recorded; no longer waited for" in drawn(GIVEN_UP)


def test_the_axis_goes_on_over_the_hour_that_a_night_in_spring_has_not():
    spring = ZoneInfo("Europe/London")
    shift = at(83 * 24 * H) - at(0)  # Sunday 29 March, 01:00 does not exist
    late = story(
        trigger=Happening("x", at(0) + shift, at(0) + shift, at(0) + shift),
        due_at=at(3 * H) + shift,
        until=at(5 * H) + shift,
        overdue=True,
        verdict="open",
    )
    hours = plain(draw(late, spring, 100, UNICODE)[1]).split()
    assert hours[:3] == ["00:00", "02:00", "03:00"]


def test_no_drawing_is_wider_than_asked_for_and_ascii_is_ascii():
    for each in (LATE, CHARTED_LATE, SENT_LATE, OVERDUE, GIVEN_UP, FORBIDDEN):
        for width in (60, 80, 100, 200):
            text = drawn(each, width, ASCII)
            assert text.isascii()
            assert max(map(len, text.splitlines())) <= width


LABELS = st.lists(
    st.tuples(st.integers(0, 200), st.lists(st.integers(10, 45), min_size=1, max_size=2)),
    min_size=1,
    max_size=7,
)


@given(LABELS, st.integers(48, 110))
def test_every_label_hangs_on_a_line_from_its_mark_which_only_a_crowd_of_labels_breaks(labels, width):
    columns = {column % width: lengths for column, lengths in labels}
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    wanted = [
        Label(column, tuple((next(letters) * length, "") for length in lengths))
        for column, lengths in columns.items()
    ]
    rows = ["".join(row.chars) for row in _labelled(wanted, width, UNICODE)]
    for label in wanted:
        for text, _ in label.texts:
            (row,) = [number for number, row in enumerate(rows) if text[0] in row]
            assert rows[row][label.column] in "╰╯├┤"
            if len(wanted) < 4:
                assert all(above[label.column] in "│├┤" for above in rows[:row])
