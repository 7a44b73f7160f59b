"""A key of a rule changed for a replay, without a file being touched."""

import re
from datetime import timedelta

import pytest

from monitor.core.text import CalendarDuration
from monitor.rulefile.load import load_rules
from monitor.rulefile.what_if import with_changes

TEXT = b"""rules:
  - {id: board, summary: s, severity: warning, when: {type: x}, expect: {type: y}, within: 4h}
  - {id: ward.stay, summary: s, severity: warning, stay: kind:ward, at_most: 7d}
"""


def rules():
    return load_rules([("rules.yaml", TEXT)])[0]


def test_a_change_gives_another_rule_and_leaves_the_old_one():
    before = rules()
    board, stay = with_changes(before, ["board.within=2bd", "ward.stay.at_most=3d", "board.mode=shadow"])
    assert (board.within, board.mode) == (CalendarDuration(2, business=True), "shadow")
    assert stay.at_most == timedelta(days=3)
    assert (before[0].within, before[0].mode) == (timedelta(hours=4), "live")
    assert board.expect == before[0].expect


def test_of_two_changes_of_a_key_the_last_stands():
    assert with_changes(rules(), ["board.grace=5m", "board.grace=6m"])[0].grace == timedelta(minutes=6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("board", "`board` is no change: write RULE.KEY=VALUE"),
        ("within=5h", "`within=5h` is no change: write RULE.KEY=VALUE"),
        ("bord.within=5h", "there is no rule `bord`; did you mean `board`?"),
        ("zzz.within=5h", "there is no rule `zzz`"),
        (
            "board.whithin=5h",
            "rule `board` has no key `whithin` that could be changed; did you mean `within`?",
        ),
        ("board.id=other", "rule `board` has no key `id` that could be changed"),
        (
            "board.within=5x",
            "board.within: `5x` is not a duration: write 90s, 45m, 4h, 2d, 1w or a sum such as 1h30m",
        ),
        ("board.mode=loud", "board.mode: Input should be 'live' or 'shadow'"),
    ],
)
def test_what_cannot_be_changed_is_said(change, why):
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        with_changes(rules(), [change])
