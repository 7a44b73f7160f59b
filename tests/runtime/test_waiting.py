"""The open cases of partitions, counted by rule."""

from datetime import UTC, datetime, timedelta

from monitor.core.change import CaseVerdict
from monitor.runtime.reader import OpenCases
from monitor.runtime.waiting import Waiting, counted

DUE = datetime(2026, 3, 2, 12, tzinfo=UTC)


def verdict(rule, state="open", overdue=False, due_at=DUE):
    return CaseVerdict(
        rule, "p", None, "t", DUE - timedelta(hours=1), state, overdue, None, due_at, None, None, None, None, None, [], ""
    )  # fmt: skip


def test_open_cases_are_counted_by_rule_over_partitions_with_the_first_that_was_due():
    one, two = Waiting(), Waiting()
    one.note("a", verdict("boarding"))
    one.note("b", verdict("boarding", overdue=True))
    two.note("c", verdict("boarding", overdue=True, due_at=DUE - timedelta(hours=2)))
    two.note("d", verdict("transit"))
    assert counted([one, two], ["boarding", "quiet"]) == [
        OpenCases("boarding", 3, 2, DUE - timedelta(hours=2)),
        OpenCases("quiet", 0, 0, None),
        OpenCases("transit", 1, 0, None),
    ]


def test_what_is_decided_or_gone_waits_no_more_and_what_falls_due_is_overdue():
    waiting = Waiting()
    for case in "abc":
        waiting.note(case, verdict("boarding"))
    waiting.note("a", verdict("boarding", "met"))
    waiting.note("b", None)
    waiting.note("c", verdict("boarding", overdue=True))
    waiting.note("never seen", None)
    assert counted([waiting], []) == [OpenCases("boarding", 1, 1, DUE)]
